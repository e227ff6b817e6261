"""What precision a file without a manifest has."""

from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.inspection import inspect_file


def shown_precision(path: Path, notes: list[str]) -> str | None:
    """Return "int8" of a file whose convolutions and products compute in integers, and note it; else None."""
    try:
        found = inspect_file(path)
    except EdgeconvError:  # whoever runs it says what is wrong
        return None
    if not found.int8_compute:
        return None
    notes.append(
        f"{path.name} has no manifest, and {found.int8_compute} of its {found.compute} convolutions and products "
        "compute in integers: it is judged as int8 (--precision says otherwise)"
    )
    return "int8"
