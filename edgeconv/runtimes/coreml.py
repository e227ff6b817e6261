"""Core ML itself, on a Mac: one MLModel for each compute unit. Nothing here runs elsewhere.

Every call is checked against the signatures of the installed coremltools in
tests/test_coreml_signatures.py, because this path cannot run on the machines we develop on.
"""

import asyncio
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.mil import open_program
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import Shapes, check_shapes, check_threads, first_line
from edgeconv.runtimes.table import UNITS

Unit = Literal["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL"]


def open(
    path: Path, *, threads: int = 1, compute_unit: Unit = "CPU_ONLY", shapes: Shapes | None = None
) -> "CoremlRunner":
    """Compile and load an .mlpackage for one compute unit.

    Core ML chooses its own threads; ``threads`` is only checked. Raises EdgeconvError off macOS and
    for a package that Core ML refuses, UsageError for an unknown unit.
    """
    check_threads(threads)
    if compute_unit not in UNITS:
        raise UsageError(f"no compute unit is called {compute_unit}: {', '.join(UNITS)}")
    ct = _coremltools()
    program = open_program(path)
    check_shapes(path.name, program.input_specs(), shapes)
    if program.parsed.thinned:
        raise EdgeconvError(
            f"{path.name} ends in NMS, which gives another number of boxes each time: take the file "
            "without it that lies beside, or --runtime mil-reference"
        )
    try:
        model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[compute_unit])
    except Exception as error:  # Core ML's errors arrive as RuntimeError or plain Exception
        raise EdgeconvError(f"Core ML cannot open {path.name}: {first_line(error)}") from error
    return CoremlRunner(path, program, model, ct, compute_unit, threads)


def _coremltools() -> Any:
    if sys.platform != "darwin":
        raise EdgeconvError("Core ML runs on macOS only; mil-reference checks numbers elsewhere")
    return require("coremltools", "coreml")


class CoremlRunner(Closing):
    """An MLModel. Rank-4 tensors are NCHW; image inputs take 0..255 as floats."""

    def __init__(
        self, path: Path, program: Any, model: Any, ct: Any, unit: Unit, threads: int
    ) -> None:
        self.name = f"coreml-runtime/{unit}"
        self.version: str = ct.__version__
        self.threads = threads
        self.inputs = program.input_specs()
        self.outputs = program.output_specs()
        self._features = program.parsed.features
        self._labels = program.labels()
        self._path, self._model = path, model

    def _data(self, feeds: Feeds) -> dict[str, Any]:
        """Return feeds as Core ML takes them: image inputs as pictures."""
        check_feeds(self._path.name, self.inputs, feeds)
        found: dict[str, Any] = {}
        for name, array in feeds.items():
            feature = self._features.get(name)
            if feature is not None and feature.kind == "image":
                found[name] = _picture(array, feature.colours)
            else:
                found[name] = array
        return found

    def _predict(self, data: Mapping[str, Any]) -> dict[str, Any]:
        try:
            made: dict[str, Any] = self._model.predict(data)
        except Exception as error:  # as above
            raise EdgeconvError(
                f"Core ML failed on {self._path.name}: {first_line(error)}"
            ) from error
        return made

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        made = self._predict(self._data(feeds))
        found: Outputs = {}
        for spec in self.outputs:
            value = made[spec.name]
            if isinstance(value, dict):
                value = [value[label] for label in self._labels or value]
            found[spec.name] = np.asarray(value).astype(spec.dtype).reshape(spec.shape)
        return found

    def call(self, feeds: Feeds) -> PreparedCall:
        """Convert the feeds once; the call is MLModel.predict."""
        return functools.partial(self._predict, self._data(feeds))

    def last_predict_ms(self) -> float:
        """Milliseconds that Core ML itself spent in the last prediction."""
        return float(self._model.last_predict_duration_in_nano_seconds) / 1e6

    def benchmark(self, feeds: Feeds, iterations: int) -> list[float]:
        """Return the milliseconds of each prediction, by coremltools' benchmarker where it exists.

        Its namespace is experimental: without it, Core ML's own duration of each prediction.
        """
        data = self._data(feeds)
        try:
            from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker
        except ImportError:
            self._predict(data)
            return [self._timed(data) for _ in range(iterations)]
        measured = asyncio.run(
            MLModelBenchmarker(self._model).benchmark_predict(
                inputs=data, iterations=iterations, warmup=True
            )
        )
        return [float(sample) for sample in measured.samples]

    def _timed(self, data: Mapping[str, Any]) -> float:
        self._predict(data)
        return self.last_predict_ms()

    def close(self) -> None:
        """Let go of the model."""
        self._model = None


def _picture(array: np.ndarray[Any, Any], colours: str) -> Any:
    """Turn (1, C, H, W) values of 0..255, channels in the order of ``colours``, into a PIL picture."""
    image = require("PIL.Image", "images")
    pixels = np.clip(np.rint(array[0]), 0, 255).astype(np.uint8)
    if len(pixels) == 1:
        return image.fromarray(pixels[0])
    planes = pixels[::-1] if colours == "BGR" else pixels
    return image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


@dataclass(frozen=True)
class Placement:
    """Where Core ML plans to run one operation.

    ``device`` is "cpu", "gpu", "neural engine" or "" where it does not say; ``cost`` is the
    operation's share of the whole, 0 to 1.
    """

    kind: str
    output: str
    device: str
    supported: tuple[str, ...]
    cost: float


def compute_plan(path: Path, compute_unit: Unit = "ALL") -> list[Placement]:
    """Return where each operation of a package would run on this Mac.

    Raises EdgeconvError off macOS and where Core ML cannot compile the package.
    """
    ct = _coremltools()
    from coremltools.models.compute_plan import MLComputePlan

    try:
        compiled = ct.models.utils.compile_model(str(path))
        plan = MLComputePlan.load_from_path(
            path=str(compiled), compute_units=ct.ComputeUnit[compute_unit]
        )
    except Exception as error:  # Core ML's errors arrive as RuntimeError or plain Exception
        raise EdgeconvError(f"Core ML has no plan for {path.name}: {first_line(error)}") from error
    structure = plan.model_structure.program
    if structure is None:
        raise EdgeconvError(f"{path.name} is no ML Program")
    return [_placement(plan, op) for op in structure.functions["main"].block.operations]


def _placement(plan: Any, operation: Any) -> Placement:
    usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
    cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
    return Placement(
        operation.operator_name,
        operation.outputs[0].name if operation.outputs else "",
        "" if usage is None else _device(usage.preferred_compute_device),
        () if usage is None else tuple(_device(d) for d in usage.supported_compute_devices),
        0.0 if cost is None else float(cost.weight),
    )


DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "neural engine",
}


def _device(device: object) -> str:
    kind = type(device).__name__
    return DEVICES.get(kind, kind)
