"""The runtimes: a row says all that the rest of edgeconv has to know of one; its module does the work.

A new runtime is a file here, with ``open`` (and ``open_model``, where it takes bytes), and a row.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError

DESKTOP, ARM64, ARM32 = "x86_64", "aarch64", "armv7l"


@dataclass(frozen=True)
class Variant:
    """A way to run a file: options of the module's ``open``, and what reports put after the name."""

    options: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True)
class Runtime:
    """What one runtime is.

    ``name`` is what users type, ``module`` its file here, ``imports`` what that imports, ``packages``
    what pip has to find for it (its own first), ``extra`` the extra that brings them and ``adds`` what
    that gives. ``options`` are the further ones of ``open``, with their types; ``as_written`` those
    that switch every rewriting off. Parity runs all ``variants``.

    ``timed``: its latency means something; ``lays_open``: its module opens edited models from bytes
    layer by layer; ``profiled``: it says what each operator takes; ``asked``: it runs only where it is
    named. It runs on ``system`` only
    (sys.platform; "": all), on boards with the processors ``boards``, up to Python ``last_python``;
    ``other_python`` names the variable with another Python that has it.
    """

    name: str
    module: str
    imports: str
    extra: str
    suffixes: tuple[str, ...]
    adds: str
    packages: tuple[str, ...] = ()
    options: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    as_written: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = (Variant(),)
    timed: bool = True
    lays_open: bool = False
    profiled: bool = False
    asked: bool = False
    boards: tuple[str, ...] = ()
    system: str = ""
    last_python: tuple[int, int] | None = None
    other_python: str = ""

    def installed(self) -> bool:
        """Whether it can be imported (without importing it) and runs on this system."""
        if self.system and self.system != sys.platform:
            return False
        return importlib.util.find_spec(self.imports.partition(".")[0]) is not None

    def load(self) -> ModuleType:
        """Import its module here, which imports nothing of its package yet."""
        return importlib.import_module(f"edgeconv.runtimes.{self.module}")

    def label(self, options: Mapping[str, Any]) -> str:
        """How reports call it with ``options``: its name, and the variant's suffix."""
        named = [v.suffix for v in self.variants if dict(v.options) == dict(options)]
        return self.name + (named[0] if named else "")

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError for an option that ``open`` does not have, or of the wrong type."""
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(["threads", "shapes", *self.options])
                raise UsageError(f"{self.name} has no option {name}: it takes {known}")
            kind = self.options[name]
            if not isinstance(value, kind):
                wanted = " or ".join(
                    k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,))
                )
                raise UsageError(f"{self.name}: {name} is a {wanted}, not {value!r}")

    def check_takes(self, path: Path) -> None:
        """Raise UsageError for a file of another format."""
        if path.suffix.lower() not in self.suffixes:
            raise UsageError(f"{self.name} runs {' and '.join(self.suffixes)}, not {path}")


UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
"""Core ML's compute units in the order of a report, the strictest first."""

XNNPACK = (Variant(), Variant({"xnnpack": False}, "/no-xnnpack"))

RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "onnxruntime",
            "onnxrt",
            "onnxruntime",
            "onnx",
            (".onnx",),
            "run, bench and check .onnx",
            packages=("onnxruntime", "numpy"),
            options={"optimize": bool, "profile": Path, "save_optimized": Path},
            as_written={"optimize": False},
            lays_open=True,
            profiled=True,
            boards=(DESKTOP, ARM64),
        ),
        Runtime(
            "ai-edge-litert",
            "litert",
            "ai_edge_litert.interpreter",
            "tflite",
            (".tflite",),
            "run, bench and check .tflite",
            packages=("ai-edge-litert", "numpy"),
            options={"xnnpack": bool},
            variants=XNNPACK,
            lays_open=True,
            profiled=True,
            boards=(DESKTOP, ARM64),
        ),
        Runtime(
            "tflite-runtime",
            "tflite_runtime",
            "tflite_runtime.interpreter",
            "tflite-runtime",
            (".tflite",),
            "run .tflite on older and 32-bit boards",
            packages=("tflite-runtime", "numpy<2"),
            options={"xnnpack": bool},
            profiled=True,
            boards=(DESKTOP, ARM64, ARM32),
            last_python=(3, 11),
            other_python="EDGECONV_TFLITE_RUNTIME_PYTHON",
        ),
        Runtime(
            "coreml-runtime",
            "coreml",
            "coremltools",
            "coreml",
            (".mlpackage",),
            "run, verify and bench .mlpackage on a Mac",
            packages=("coremltools",),
            options={"compute_unit": str},
            variants=tuple(Variant({"compute_unit": unit}, f"/{unit}") for unit in UNITS),
            system="darwin",
        ),
        Runtime(
            "mil-reference",
            "mil_reference",
            "numpy",
            "coreml",
            (".mlpackage",),
            "verify .mlpackage without a Mac",
            options={"rounding": str, "noise": (float, int)},
            timed=False,
            lays_open=True,
        ),
        Runtime(
            "openvino",
            "openvino",
            "openvino",
            "openvino",
            (".onnx", ".tflite"),
            "run, bench and check .onnx and .tflite in OpenVINO",
            packages=("openvino", "numpy"),
            asked=True,
        ),
        Runtime(
            "tflite-micro",
            "tflite_micro",
            "tflite_micro.python.tflite_micro.runtime",
            "mcu",
            (".tflite",),
            "check .tflite in TensorFlow Lite Micro (x86-64 Linux)",
            packages=("tflite-micro", "numpy"),
            timed=False,
            asked=True,
        ),
    )
}
"""Runtime name -> row, the preferred one of a suffix first."""


DISTRIBUTIONS = tuple(r.packages[0] for r in RUNTIMES.values() if r.packages)
"""The runtimes' packages, whose versions reports quote."""


@dataclass(frozen=True)
class Way:
    """A runtime here (or in another Python, whose path is given) with options, as reports call it."""

    runtime: Runtime
    options: Mapping[str, Any]
    label: str
    python: str = ""


def named(name: str) -> Runtime:
    """Return the row of a name. Raises UsageError with the known ones."""
    if name not in RUNTIMES:
        raise UsageError(f"no runtime is called {name}: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def listed(timed: bool = False) -> str:
    """Return the names for a help text; ``timed``: of those whose latency means something.

    >>> listed(timed=True)
    'onnxruntime, ai-edge-litert, tflite-runtime or coreml-runtime'
    """
    names = [row.name for row in RUNTIMES.values() if row.timed or not timed]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def fitting(path: Path) -> list[Runtime]:
    """Return the runtimes for a file's suffix, installed or not. Raises UsageError where none is."""
    suffix = path.suffix.lower()
    found = [runtime for runtime in RUNTIMES.values() if suffix in runtime.suffixes]
    if not found:
        known = ", ".join(sorted({s for runtime in RUNTIMES.values() for s in runtime.suffixes}))
        what = suffix or "a file without suffix"
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
    raise EdgeconvError(_missing(path, rows))


def ways(path: Path, also: Sequence[str] = ()) -> list[Way]:
    """Return every way to run ``path`` here, variants and other Pythons included.

    Runtimes that are ``asked`` for take part where ``also`` names them. Raises as ``choose``, and
    EdgeconvError for one in ``also`` that is not installed.
    """
    for name in also:
        if not named(name).installed() and path.suffix.lower() in RUNTIMES[name].suffixes:
            raise EdgeconvError(_missing(path, [RUNTIMES[name]]))
    rows = [row for row in fitting(path) if not row.asked or row.name in also]
    found: list[Way] = []
    for row in rows:
        if row.installed():
            found += [Way(row, v.options, row.name + v.suffix) for v in row.variants]
        elif python := os.environ.get(row.other_python or "-"):
            found.append(Way(row, {}, row.name, python))
    if not found:
        raise EdgeconvError(_missing(path, rows))
    return found


def _missing(path: Path, rows: list[Runtime]) -> str:
    extras = " or ".join(f"pip install 'edgeconv[{row.extra}]'" for row in rows)
    return f"nothing installed runs {path.name}: {extras}"


def for_board(suffix: str, processor: str) -> Runtime:
    """Return the preferred runtime for files of ``suffix`` on a board. Raises UsageError without one."""
    rows = fitting(Path(f"model{suffix}"))
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
