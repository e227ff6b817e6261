"""Which runtime runs a file: here, with every variant, and on a board. The one decider."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import refuse_weights_alone
from edgeconv.runtimes.table import ARM32, RUNTIMES, Runtime


@dataclass(frozen=True)
class Way:
    """A runtime here (or in another Python, whose path is given) with options, as reports call it."""

    runtime: Runtime
    options: Mapping[str, Any]
    label: str
    python: str = ""


def named(name: str, offered: Iterable[str] = RUNTIMES) -> Runtime:
    """Return the row of a name. Raises UsageError with the ``offered`` ones for one that is none."""
    if name not in RUNTIMES:
        raise UsageError(f"no runtime is called {name}: {', '.join(offered)}")
    return RUNTIMES[name]


def check_also(paths: Sequence[Path], also: Sequence[str]) -> None:
    """Raise UsageError for a runtime in ``also`` that is none, or that runs none of ``paths``."""
    for name in also:
        row = named(name, [r.name for r in RUNTIMES.values() if r.asked])
        if not any(path.suffix.lower() in row.suffixes for path in paths):
            row.check_takes(paths[0])


def listed(timed: bool = False) -> str:
    """Return the names for a help text; ``timed``: of those whose latency means something.

    >>> listed(timed=True)
    'onnxruntime, ai-edge-litert, tflite-runtime, coreml-runtime, executorch, ncnn or openvino'
    """
    names = [row.name for row in RUNTIMES.values() if (row.timed or not timed) and not row.apart]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def fitting(path: Path) -> list[Runtime]:
    """Return the runtimes for a file's suffix, installed or not. Raises UsageError where none is."""
    suffix = path.suffix.lower()
    found = [runtime for runtime in RUNTIMES.values() if suffix in runtime.suffixes]
    if not found:
        refuse_weights_alone(path)
        known = ", ".join(sorted({s for runtime in RUNTIMES.values() for s in runtime.suffixes}))
        what = suffix or ("a folder" if path.is_dir() else "a file without suffix")
        raise UsageError(f"{path}: no runtime here runs {what}; they run {known}")
    return found


def choose(path: Path, runtime: str | None = None) -> Runtime:
    """Return the row that runs ``path``: the one asked for, else the first that is installed.

    Raises UsageError for an unknown suffix or name and for one that runs other files, EdgeconvError
    naming the extra to install where none is here.
    """
    rows = [row for row in fitting(path) if not row.asked]
    if runtime is not None:
        named(runtime).check_takes(path)
        rows = [RUNTIMES[runtime]]
    for row in rows:
        if row.installed():
            return row
    raise EdgeconvError(_missing(path, rows, runtime))


def way(path: Path, runtime: str | None = None) -> Way:
    """Return how ``path`` runs here: as ``choose`` says, or in the other Python that alone has ``runtime``.

    Raises as ``choose``, and EdgeconvError for a runtime of another Python where none is named.
    """
    if runtime is not None:
        row = named(runtime)
        row.check_takes(path)
        if elsewhere := _elsewhere(row):
            return elsewhere
        if row.apart:
            raise EdgeconvError(_missing(path, [row], runtime))
    row = choose(path, runtime)
    return Way(row, {}, row.name)


def _elsewhere(row: Runtime) -> Way | None:
    """Return the way of a runtime that this Python has not, where the variable names one that has it."""
    if row.installed() and not row.apart:
        return None
    python = os.environ.get(row.other_python or "-")
    if python and shutil.which(python) is None:
        raise UsageError(f"{row.other_python} names {python}, which is no program here")
    return Way(row, {}, row.name, python) if python else None


def ways(path: Path, also: Sequence[str] = ()) -> list[Way]:
    """Return every way to run ``path`` here, variants and other Pythons included.

    Runtimes that are ``asked`` for take part where ``also`` names them. Raises as ``choose``, and
    EdgeconvError for one in ``also`` that is not installed.
    """
    for name in also:
        row = named(name, [r.name for r in RUNTIMES.values() if r.asked])
        missing = (not row.installed() or row.apart) and _elsewhere(row) is None
        if missing and path.suffix.lower() in row.suffixes:
            raise EdgeconvError(_missing(path, [row], name))
    rows = [row for row in fitting(path) if not row.asked or row.name in also]
    found: list[Way] = []
    for row in rows:
        if row.installed() and not row.apart:
            found += [Way(row, v.options, row.name + v.suffix) for v in row.variants]
        elif elsewhere := _elsewhere(row):
            found.append(elsewhere)
    if not found:
        raise EdgeconvError(_missing(path, rows))
    return found


def _missing(path: Path, rows: list[Runtime], asked: str | None = None) -> str:
    apart = [
        f"name a Python that has {row.packages[0]}, such as its newest version, in {row.other_python}"
        for row in rows
        if row.apart
    ]
    extras = [f"pip install 'edgeconv[{row.extra}]'" for row in rows if not row.apart]
    lacks = f"nothing installed runs {path.name}" if asked is None else f"{asked} is not installed"
    return f"{lacks}: {' or '.join([*extras, *apart])}"


def for_board(suffix: str, processor: str) -> Runtime:
    """Return the preferred runtime for files of ``suffix`` on a board. Raises UsageError without one."""
    rows = [row for row in fitting(Path(f"model{suffix}")) if not row.asked]
    for row in rows:
        if processor in row.boards:
            return row
    known = sorted({s for row in on_board(processor) for s in row.suffixes})
    title = "32-bit ARM" if processor == ARM32 else processor
    raise UsageError(f"{title} has no {rows[0].name}: bench a {' or '.join(known)} there")


def on_board(processor: str) -> list[Runtime]:
    """Return the runtimes that have wheels for a board's processor."""
    return [row for row in RUNTIMES.values() if processor in row.boards]


def problem(
    row: Runtime, numpy: str, present: bool, python: tuple[int, int], processor: str
) -> str | None:
    """Why a runtime cannot work with that numpy, Python and processor; ``present``: it is installed."""
    others = [r for r in RUNTIMES.values() if r.suffixes == row.suffixes and r is not row]
    if row.last_python is not None and python > row.last_python:
        version = ".".join(map(str, row.last_python))
        return f"ends at Python {version}; {others[0].name} is its successor"
    if present and "numpy<2" in row.packages and int(numpy.partition(".")[0]) >= 2:
        return f"needs numpy below 2 and {numpy} is installed"
    if row.boards and processor.startswith("armv") and ARM32 not in row.boards:
        instead = "".join(f"; use {r.name}" for r in on_board(ARM32)[:1])
        return f"has no wheel for 32-bit ARM{instead}"
    return None
