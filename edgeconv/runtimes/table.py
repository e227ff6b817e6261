"""The runtimes: a row says all that the rest of edgeconv has to know of one; its module does the work.

A new runtime is a file here, with ``open`` (and ``open_model``, where it takes bytes), and a row.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeconv.errors import UsageError

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
    that switch every rewriting off, ``in_float`` those that compute a recipe in float. Parity runs all ``variants``.

    ``timed``: its latency means something; ``lays_open``: its module opens edited models from bytes
    layer by layer; ``profiled``: it says what each operator takes; ``asked``: it runs only where it is
    named; ``slow``: tenths of a second a picture; ``exact``: it computes what is written, with the same result on
    every machine; ``once``: its first variant rounds what an INT8 operator sums once, to the nearest. It runs on ``system`` only
    (sys.platform; "": all), on boards with the processors ``boards``, up to Python ``last_python``;
    ``other_python`` names the variable with another Python that has it, and ``apart`` says that parity
    runs it there alone. ``board_packages`` is what a board gets for it in place of ``packages``: all of it, in a
    folder of its own where the board is emulated.
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
    in_float: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = (Variant(),)
    timed: bool = True
    lays_open: bool = False
    profiled: bool = False
    asked: bool = False
    slow: bool = False
    exact: bool = False
    once: bool = False
    boards: tuple[str, ...] = ()
    system: str = ""
    last_python: tuple[int, int] | None = None
    other_python: str = ""
    apart: bool = False
    board_packages: tuple[str, ...] = ()

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
            options={"optimize": bool, "integers": bool, "profile": Path, "save_optimized": Path},
            as_written={"optimize": False},
            in_float={"integers": False},
            lays_open=True,
            profiled=True,
            once=True,
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
            once=True,
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
            slow=True,
            exact=True,
            once=True,
            lays_open=True,
        ),
        Runtime(
            "executorch",
            "executorch",
            "executorch.runtime",
            "executorch",
            (".pte",),
            "export, run and check .pte",
            packages=("executorch", "torch"),
            boards=(ARM64,),
            # it imports PyTorch, whose wheels for ARM hold CUDA from 2.11 on (2.7 GB with its
            # libraries); 2.10 is 0.15 GB, and 1.2 an ExecuTorch that runs with it. A Pi 4 lacks
            # instructions that PyTorch uses
            board_packages=("executorch==1.2.0", "torch==2.10.0", "numpy", "typing-extensions"),
        ),
        Runtime(
            "ncnn",
            "ncnn",
            "ncnn",
            "ncnn",
            (".param",),
            "export, run, bench and check .param",
            packages=("ncnn", "numpy"),
            options={"half": bool},
            boards=(ARM64,),
            board_packages=("ncnn", "numpy"),  # what else its wheel asks for fetches models
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
            boards=(ARM64,),
            board_packages=("openvino", "numpy"),
        ),
        Runtime(
            "onnxruntime-newest",
            "onnxrt",
            "onnxruntime",
            "onnx",
            (".onnx",),
            "check .onnx in a newer onnxruntime, of another Python",
            packages=("onnxruntime", "numpy"),
            options={"optimize": bool, "integers": bool, "profile": Path, "save_optimized": Path},
            timed=False,
            asked=True,
            boards=(ARM64,),
            other_python="EDGECONV_NEWEST_ONNXRUNTIME_PYTHON",
            apart=True,
            board_packages=("onnxruntime", "numpy"),
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


BOARD_SUFFIXES = tuple(
    dict.fromkeys(suffix for r in RUNTIMES.values() if ARM64 in r.boards for suffix in r.suffixes)
)
"""The files that a board runs: what is bundled, and what is benched and compared there."""


def off_board(suffixes: tuple[str, ...] = BOARD_SUFFIXES) -> str:
    """Return the sentence that says which files boards run, or one that runs ``suffixes``."""
    return f"a board runs {' and '.join(filter(None, (', '.join(suffixes[:-1]), suffixes[-1])))}"


DISTRIBUTIONS = tuple(dict.fromkeys(r.packages[0] for r in RUNTIMES.values() if r.packages))
"""The runtimes' packages, whose versions reports quote."""
