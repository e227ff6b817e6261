"""The wheels that a board needs, resolved here for its processor and its Python.

They are unpacked on the board, not installed: Debian splits venv and pip off its Python, and a
minimal image has neither.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import sha256, temporary_folder, write_text
from edgeconv.foreign import read_bytes
from edgeconv.runtimes.choose import for_board
from edgeconv.runtimes.table import RUNTIMES

GLIBC = ("2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34", "2_35", "2_36")
"""Every level is named, for pip does not infer the lower ones; 2.36 is Raspberry Pi OS bookworm's."""

COMMON = ("click>=8.1", "rich>=13")


@dataclass(frozen=True)
class Platform:
    """A board's processor as uname says it, and its Python ("3.11")."""

    architecture: str
    python: str

    def tags(self) -> list[str]:
        """Return pip's platform tags, the oldest first."""
        known = {"aarch64": "aarch64", "arm64": "aarch64", "armv7l": "armv7l", "x86_64": "x86_64"}
        if self.architecture not in known:
            raise UsageError(
                f"no runtime has wheels for {self.architecture}: {', '.join(sorted(known))}"
            )
        arch = known[self.architecture]
        return [f"manylinux2014_{arch}", *(f"manylinux_{level}_{arch}" for level in GLIBC)]


def runtime_for(suffixes: Sequence[str], platform: Platform) -> list[str]:
    """Return the runtimes that a board needs for files of these suffixes.

    Raises UsageError where the board's processor has none.
    """
    processor = platform.tags()[0].removeprefix("manylinux2014_")
    return [for_board(suffix, processor).name for suffix in dict.fromkeys(suffixes)]


def requirements(runtimes: Sequence[str], platform: Platform) -> list[str]:
    """Return what pip resolves; on 32-bit ARM numpy is the system's (python3-numpy), for it has no wheel."""
    found = list(COMMON)
    for runtime in runtimes:
        row = RUNTIMES[runtime]
        for item in row.board_packages or row.packages:
            if platform.architecture == "armv7l" and item.startswith("numpy"):
                continue
            found.append(item)
    return list(dict.fromkeys(found))


def download(runtimes: Sequence[str], platform: Platform, folder: Path) -> list[Path]:
    """Fetch the wheels for a board into ``folder``, where earlier ones serve again; return them.

    Raises EdgeconvError with pip's last line where something has no wheel for the board.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = requirements(runtimes, platform)
    # 32-bit ARM has the system's numpy, and what is listed whole brings nothing along
    whole = platform.architecture == "armv7l" or any(RUNTIMES[r].board_packages for r in runtimes)
    with temporary_folder(folder) as fresh:
        command = [sys.executable, "-P", "-m", "pip", "download", "--quiet"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", platform.python, "--dest", str(fresh)]
        command += ["--find-links", str(folder)]
        for tag in platform.tags():
            command += ["--platform", tag]
        if whole:
            command.append("--no-deps")
            names = [*names, "markdown-it-py", "mdurl", "pygments"]
        said = subprocess.run(
            [*command, *names], capture_output=True, encoding="utf-8", errors="replace"
        )
        if said.returncode != 0:
            lines = [line for line in said.stderr.splitlines() if line.startswith("ERROR")]
            reason = (lines or said.stderr.splitlines() or ["pip failed"])[-1]
            raise EdgeconvError(
                f"no wheels for Python {platform.python} on {platform.architecture}:"
                f" {reason.removeprefix('ERROR: ')}"
            )
        found = []
        for wheel in sorted(Path(fresh).glob("*.whl")):
            found.append(folder / wheel.name)
            wheel.replace(found[-1])
    return found


def resolve(
    runtimes: Sequence[str],
    platform: Platform,
    cache: Path,
    fresh: bool = False,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Return the wheels a board needs for ``runtimes``: as found last time, else from the index.

    ``fresh`` asks the index again. Raises EdgeconvError as ``download`` does, and where a wheel is not what
    it was when it was downloaded.
    """
    folder = cache / f"{platform.architecture}-{platform.python}"
    found: list[Path] = []
    for runtime in runtimes:
        names = requirements([runtime], platform)
        note = folder / f"{runtime}.json"
        wheels = [] if fresh else _noted(note, names)
        if not wheels:
            if say is not None:
                say(f"resolving {runtime} for {platform.architecture}")
            wheels = download([runtime], platform, folder)
            listed = {"requirements": names, "wheels": {w.name: sha256(w) for w in wheels}}
            write_text(note, json.dumps(listed, indent=1) + "\n")
        found += [wheel for wheel in wheels if wheel not in found]
    return found


def _noted(note: Path, names: Sequence[str]) -> list[Path]:
    """Return the wheels of an earlier answer to the same question, if all are still there."""
    try:
        known = json.loads(read_bytes(note))
        hashes = {note.parent / str(name): str(digest) for name, digest in known["wheels"].items()}
        complete = known["requirements"] == list(names) and all(w.is_file() for w in hashes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    if not complete:
        return []
    for wheel, digest in hashes.items():
        if sha256(wheel) != digest:
            raise EdgeconvError(
                f"{wheel} is not the file that was downloaded (SHA-256 {digest}): delete it and try again"
            )
    return list(hashes)
