"""What precision a file without a manifest has."""

from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.inspection import Inspection, inspect_file


def shown_precision(path: Path, notes: list[str]) -> str | None:
    """Return "int8" of a file that rounds what its convolutions and products read, and note it; else None."""
    try:
        found = inspect_file(path)
    except EdgeconvError:  # whoever runs it says what is wrong
        return None
    if not found.int8_compute and found.compute and (types := _types(found)):
        notes.append(
            f"{path.name} has no manifest; it rounds to {', '.join(types)}, and none of its {found.compute} "
            "convolutions and products computes in integers: it is judged by the limits of int8 "
            "(--precision says otherwise)"
        )
        return "int8"
    if not found.int8_compute:
        return None
    notes.append(
        f"{path.name} has no manifest, and {found.int8_compute} of its {found.compute} convolutions and products "
        "compute in integers: it is judged as int8 (--precision says otherwise)"
    )
    return "int8"


def _types(found: Inspection) -> list[str]:
    """Return the types that values are rounded to, without the wide one of biases and sums."""
    return sorted({note.dtype for note in found.quantization} - {"int32"})
