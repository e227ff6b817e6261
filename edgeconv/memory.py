"""Whether a file fits into memory, asked before anything reads it."""

from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.machine import ROOT, meminfo_mib


def missing_mib(path: Path, root: Path = ROOT) -> tuple[int, int] | None:
    """Return (its size, what is free), MiB, where a file is larger than free memory; else None."""
    if not path.is_file():
        return None
    size, free = path.stat().st_size >> 20, meminfo_mib(root, "MemAvailable")
    return (size, free) if free is not None and size > free else None


def check_fits(path: Path, root: Path = ROOT) -> None:
    """Raise EdgeconvError where a file is larger than the memory that is free here."""
    found = missing_mib(path, root)
    if found is not None:
        raise EdgeconvError(f"{path} has {found[0]} MiB and only {found[1]} MiB of memory are free")
