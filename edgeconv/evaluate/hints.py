"""Signs that labels and a file are not of one numbering or one form: what looks wrong beside the figures."""

from collections.abc import Callable

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


def shifted(what: str, shift: int) -> str:
    """Return what a ``shift`` of classes by one means, of pictures or boxes."""
    beside = "before" if shift > 0 else "behind"
    return (
        f"THE LABELS LOOK SHIFTED: most {what} are given the class {beside} theirs; does the truth count "
        "from another number, or one of both have a background class?"
    )
