"""Where finished exports are kept: a folder each, bounded in size, believed by its hashes alone.

``CACHE/exports/KEY/`` holds the files as they were published and ``kept.json``: their digests, the
report, and a digest of both. It comes there whole, by one rename; one that is torn or altered nevertheless is no entry.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.cache import cache_dir
from edgeconv.errors import EdgeconvError
from edgeconv.files import digest, temporary_folder
from edgeconv.foreign import open_file, read_bytes

LIMIT = "EDGECONV_KEPT_MIB"
"""The variable that says how much is kept; 0 keeps nothing."""
USUAL_MIB = 1024
ENTRY, FILES = "kept.json", "files"


@dataclass(frozen=True)
class Shelf:
    """The place of one export; ``most`` is the bytes that all together may take."""

    place: Path
    most: int

    @property
    def holds(self) -> bool:
        """Whether something is there that may be an entry."""
        return (self.place / ENTRY).is_file()

    def take(self, into: Path) -> Mapping[str, Any] | None:
        """Copy the kept files into an empty folder and return their report's data; None where there is none."""
        try:
            entry = _whole(read_bytes(self.place / ENTRY))
            for name, wanted in entry["files"].items():
                copy = into / name
                if not copy.resolve().is_relative_to(into.resolve()):
                    raise ValueError(name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with open_file(self.place / FILES / name) as held, copy.open("wb") as made:
                    shutil.copyfileobj(held, made)
                if digest(copy) != wanted:
                    raise ValueError(name)
            report: Mapping[str, Any] = entry["report"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            shutil.rmtree(self.place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(self.place / ENTRY)  # the one used longest ago goes first
        return report

    def keep(self, folder: Path, report: Mapping[str, Any]) -> None:
        """Keep a copy of the files in ``folder``; where that fails the export is no worse for it."""
        files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not _hidden(p, folder)]
        if sum(file.stat().st_size for file in files) > self.most // 2:
            return
        with contextlib.suppress(OSError, EdgeconvError, TypeError):
            self.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with temporary_folder(self.place.parent, ".new-") as made:
                names = [file.relative_to(folder).as_posix() for file in files]
                for file, name in zip(files, names, strict=True):
                    copy = made / "whole" / FILES / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
                entry = {"files": {n: digest(folder / n) for n in names}, "report": report}
                text = json.dumps(entry, default=lambda value: value.item())
                noted = {"sha256": _sha256(text), "entry": json.loads(text)}
                (made / "whole" / ENTRY).write_bytes(json.dumps(noted).encode())
                shutil.rmtree(self.place, ignore_errors=True)
                (made / "whole").rename(self.place)
            _make_room(self.place.parent, self.most)


def most_bytes() -> int:
    """Return how many bytes all entries together may take; 0 where nothing is to be kept."""
    try:
        return max(0, int(os.environ.get(LIMIT, "") or USUAL_MIB) << 20)
    except ValueError:
        raise EdgeconvError(
            f"{LIMIT} is how many MiB of finished exports are kept, a whole number, not "
            f"{os.environ[LIMIT]!r}"
        ) from None


def shelf_of(key: str) -> Shelf | None:
    """Return the place of ``key``; None where nothing is to be kept."""
    most = most_bytes()
    return Shelf(cache_dir() / "exports" / key, most) if most else None


def _whole(text: bytes) -> Any:
    """Return what ``keep`` noted; raises ValueError, TypeError or LookupError for any other text."""
    noted = json.loads(text)
    if _sha256(json.dumps(noted["entry"])) != noted["sha256"]:
        raise ValueError(ENTRY)
    return noted["entry"]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _make_room(shelves: Path, most: int) -> None:
    """Remove what was used longest ago until the rest fits."""
    found = []
    for place in shelves.iterdir():
        with contextlib.suppress(OSError):  # another run may remove it
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
            found.append(((place / ENTRY).stat().st_mtime_ns, size, place))
    total = sum(size for _, size, _ in found)
    for _, size, place in sorted(found):
        if total <= most:
            return
        shutil.rmtree(place, ignore_errors=True)
        total -= size
