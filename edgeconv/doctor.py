"""What is installed here, what each missing part would add, and what this machine can do.

Nothing heavy is imported: versions come from the installed packages' metadata.
"""

import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeconv import __version__
from edgeconv.deps import version_of
from edgeconv.machine import INT8_DOT, Machine, describe
from edgeconv.runtimes.choose import problem
from edgeconv.runtimes.table import RUNTIMES

Kind = Literal["runtime", "converter"]


@dataclass(frozen=True)
class Part:
    """An optional package: its distribution name, the extra that brings it and what it adds."""

    name: str
    kind: Kind
    extra: str
    adds: str


PARTS = (
    *(Part(r.packages[0], "runtime", r.extra, r.adds) for r in RUNTIMES.values() if r.packages and not (r.apart or r.system)),
    Part("torch", "runtime", "torch", "build the nets, trace modules, the float reference"),
    Part("coremltools", "converter", "coreml", "write Core ML packages (x86-64 Linux; run them on a Mac)"),
    Part("onnx", "converter", "export", "read and write ONNX graphs"),
    Part("onnxsim", "converter", "export", "simplify ONNX graphs before our own passes"),
    Part("flatbuffers", "converter", "export", "write .tflite"),
    Part("safetensors", "converter", "export", "read weights"),
    Part("onnxscript", "converter", "torch", "torch's newer ONNX exporter, for modules that tracing cannot take"),
    Part("pillow", "converter", "images", "read pictures"),
    Part("jinja2", "converter", "pages", "report pages and snippets"),
    Part("ethos-u-vela", "converter", "mcu", "what an Ethos-U NPU takes of a .tflite"),
    Part("pycocotools", "converter", "coco", "mAP of detectors"),
    Part("dask", "converter", "sweep", "sweep over processes and machines"),
    Part("distributed", "converter", "sweep", "sweep over several machines"),
    Part("edgeconv-demo", "converter", "demo", "bundled weights and pictures"),
)  # fmt: skip
"""Every optional package, in the order of the report."""


@dataclass(frozen=True)
class Finding:
    """A part as it is here: its version, or None with the pip line; ``problem`` where it cannot work."""

    name: str
    kind: Kind
    adds: str
    version: str | None
    pip: str
    problem: str | None = None


@dataclass(frozen=True)
class Examination:
    """Everything ``edgeconv doctor`` says."""

    edgeconv: str
    machine: Machine
    findings: tuple[Finding, ...]
    cache: Path
    int8: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "edgeconv": self.edgeconv,
            "machine": self.machine.to_json(),
            "packages": [asdict(finding) for finding in self.findings],
            "cache": str(self.cache),
            "int8": self.int8,
        }


def examine() -> Examination:
    """Look at this Python environment and this machine; nothing is installed or imported."""
    from edgeconv.cache import cache_dir

    machine = describe()
    return Examination(
        __version__,
        machine,
        tuple(_find(part) for part in PARTS),
        cache_dir(),
        int8_outlook(machine),
    )


def _find(part: Part) -> Finding:
    version = version_of(part.name)
    numpy = version_of("numpy") or "0"
    problem = _problem(part.name, version, numpy, sys.version_info[:2], platform.machine())
    return Finding(
        part.name, part.kind, part.adds, version, f"pip install 'edgeconv[{part.extra}]'", problem
    )


def _problem(
    name: str, version: str | None, numpy: str, python: tuple[int, int], architecture: str
) -> str | None:
    """Why a part cannot work here, whatever pip says."""
    for row in RUNTIMES.values():
        if row.packages[:1] == (name,):
            return problem(row, numpy, version is not None, python, architecture)
    if architecture.startswith("armv") and name == "torch":
        return "has no wheel for 32-bit ARM"
    return None


def int8_outlook(machine: Machine) -> str:
    """Say in one sentence what INT8 can gain from this processor's instructions."""
    have = set(machine.features)
    if machine.emulated:
        return "emulated: results are exact, latency means nothing"
    if machine.int8_dot_product:
        return f"INT8 dot products in hardware ({', '.join(f for f in machine.features if f in INT8_DOT)})"
    if "neon" in have:
        return "NEON without dot products: INT8 gains in TFLite, less or nothing in onnxruntime"
    if "avx2" in have:
        return (
            "AVX2 without VNNI: INT8 gains little, and 8-bit sums of unsigned weights can saturate"
        )
    return "no vector instructions that INT8 kernels use were found"
