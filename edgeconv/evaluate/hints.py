"""Signs that labels and a file are not of one numbering or one form: what looks wrong beside the figures."""

from collections.abc import Callable, Sequence

from edgeconv.evaluate.classes import Classes

MOST_PAIRS = 5


def class_hints(counted: Classes, label: Callable[[int], str]) -> list[str]:
    """Return what looks wrong about true classes; ``label`` names one of the truth."""
    if counted.shift:
        return [shifted("pictures", counted.shift)]
    if not counted.renumbered:
        return []
    pairs = ", ".join(f"{label(a)} is its class {b}" for a, b in counted.renumbered[:MOST_PAIRS])
    return [
        f"THE CLASSES LOOK NUMBERED OTHERWISE by the file: {pairs}; does the truth name its classes, or their numbers?"
    ]


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
