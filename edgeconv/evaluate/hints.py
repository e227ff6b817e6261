"""Signs that labels and a file are not of one numbering or one form: what looks wrong beside the figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.evaluate.classes import Classes
from edgeconv.metrics import class_rows, is_scores

MOST_PAIRS = 5


def class_hints(counted: Classes, label: Callable[[int], str]) -> list[str]:
    """Return what looks wrong about true classes; ``label`` names one of the truth."""
    if counted.shift:
        return [shifted("pictures", counted.shift)]
    if (chance := counted.by_chance) is not None and not counted.renumbered:
        return [
            f"TOP-1 IS NO BETTER THAN CHANCE, which is {100 * chance:.1f} %: are these the classes of these pictures, and "
            "are they prepared as for its training?"
        ]
    if not counted.renumbered:
        return []
    pairs = ", ".join(f"{label(a)} is its class {b}" for a, b in counted.renumbered[:MOST_PAIRS])
    return [
        f"THE CLASSES LOOK NUMBERED OTHERWISE by the file: {pairs}; does the truth name its classes, or their numbers?"
    ]


def truth_hints(
    arrays: Mapping[str, NDArray[Any]],
    truth: NDArray[np.integer[Any]] | None,
    labels: Sequence[str] | None,
) -> list[str]:
    """Return what looks wrong about true classes by what a float net gives, name -> (pictures, ...)."""
    names, said = labels or (), dict[str, None]()
    for array in arrays.values():
        if truth is None or len(array) != len(truth) or not is_scores(array):
            continue
        rows = class_rows(array)
        if int(truth.max()) < rows.shape[1]:
            counted = Classes(rows.shape[1])
            counted.add(rows, truth.astype(np.int64))
            hints = class_hints(counted, lambda k: names[k] if k < len(names) else f"class {k}")
            said |= dict.fromkeys(hints)
    return list(said)


def unseen(boxes: Sequence[int], least: float, who: str) -> str | None:
    """Return what to look at where ``who`` finds no box of score ``least`` in most pictures; ``boxes`` are those of each.

    >>> unseen([1, 0, 3], 0.25, "it") is None, unseen([0, 0, 1], 0.25, "it")[:38]
    (True, 'in 2 of 3 pictures it finds no box of ')
    """
    without = sum(not count for count in boxes)
    if 2 * without <= len(boxes):
        return None
    return (
        f"in {without} of {len(boxes)} pictures {who} finds no box of score {least:g} or more: are they prepared as "
        "for its training (--preprocessing, --channel-order, --crop), and do they show what it looks for?"
    )


def shifted(what: str, shift: int) -> str:
    """Return what a ``shift`` of classes by one means, of pictures or boxes."""
    beside = "before" if shift > 0 else "behind"
    return (
        f"THE LABELS LOOK SHIFTED: most {what} are given the class {beside} theirs; does the truth count "
        "from another number, or one of both have a background class?"
    )
