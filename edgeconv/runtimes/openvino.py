"""OpenVINO on the CPU: takes .onnx and .tflite as they are, and rounds in its own way."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import load_artifact
from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.formats.tflite_file import check_whole
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    check_known_inputs,
    check_readable,
    check_threads,
    first_line,
    fixed_shape,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.openvino_doubts import doubted
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import Quantization, TensorSpec


def open(path: Path, *, threads: int = 1, shapes: Shapes | None = None) -> "OpenVinoRunner":
    """Compile an .onnx or .tflite file for the CPU.

    Sums stay in float32 where the file is in float (bfloat16 and float16 are off). Raises
    EdgeconvError for a file that OpenVINO refuses.
    """
    module = require("openvino", "openvino")
    check_threads(threads)
    check_readable(path)
    if path.suffix.lower() == ".tflite":
        check_whole(path, str(path))
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    problem: Exception | None = None
    with quiet_stderr():
        try:
            core = module.Core()
            model = core.read_model(str(path))
            _settle(model, path.name, shapes)
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # RuntimeError for whatever its frontends do not take
            problem = error
    if isinstance(problem, EdgeconvError):
        raise problem
    if problem is not None:
        raise unreadable(path, "openvino", why_refused(str(problem))) from problem
    running = compiled.get_runtime_model()
    doubts = doubted(model, running)
    version = str(module.__version__).partition("-")[0]
    return OpenVinoRunner(compiled, model, path, version, threads, doubts)


REFUSALS = {
    "Convolution input precision should be single": (
        "on ARM it wants one type for the input of a convolution, and cannot tell whether it is int8 "
        "or uint8 here; onnxruntime and LiteRT run it there"
    ),
    "object is not initialized": (
        "its kernels have no convolution of such types for this processor (on ARM it takes float16 where "
        "one of the input and the output of an INT8 convolution is int8 and the other uint8; a "
        "Cortex-A72, a Raspberry Pi 4, computes none); onnxruntime and LiteRT run it there"
    ),
}
"""What a refusal says -> why, where its own words name neither the layer nor the cause."""

WHERE = ("Exception from", "Check '", "While validating", "Summary:")


def why_refused(text: str) -> str:
    """Return the reason at the end of OpenVINO's message, whose lines before say where it was thrown."""
    known = [why for marker, why in REFUSALS.items() if marker in text]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("-- ") for line in lines if not line.startswith(WHERE)]
    return (known or said[-1:] or lines[-1:] or ["it says no reason"])[0]


def _settle(model: Any, name: str, shapes: Shapes | None) -> None:
    inputs = {port.get_any_name(): port for port in model.inputs}
    check_known_inputs(name, list(inputs), shapes)
    wanted = {}
    for key, port in inputs.items():
        dims = [int(dim.get_length()) if dim.is_static else -1 for dim in port.get_partial_shape()]
        wanted[port] = list(fixed_shape(name, key, dims, shapes))
    model.reshape(wanted)


class OpenVinoRunner(Closing):
    """A compiled model. Rank-4 tensors are as in the file: NCHW for .onnx, NHWC for .tflite."""

    name = "openvino"

    def __init__(
        self,
        compiled: Any,
        model: Any,
        path: Path,
        version: str,
        threads: int,
        doubts: tuple[str, ...],
    ) -> None:
        self.version, self.threads = version, threads
        self._request, self._model = compiled.create_infer_request(), path.name
        self._doubts = doubts
        layout = "nhwc" if path.suffix.lower() == ".tflite" else "nchw"
        artifact = load_artifact(path)
        known = {} if artifact is None else {s.name: s.quantization for s in _borders(artifact)}
        # the names are the model's: a compiled input may bear those of tensors that were fused into it
        self.inputs, self.outputs = (
            tuple(_spec(*pair, layout, known) for pair in zip(named, ports, strict=True))
            for named, ports in (
                (model.inputs, compiled.inputs),
                (model.outputs, compiled.outputs),
            )
        )

    def doubts(self) -> tuple[str, ...]:
        """Say which layers this version is known to compute wrongly."""
        return self._doubts

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        self._set(feeds)
        try:
            self._request.infer()
        except Exception as error:  # RuntimeError, by what fails
            raise EdgeconvError(f"openvino failed on {self._model}: {first_line(error)}") from error
        return {
            spec.name: np.array(self._request.get_output_tensor(place).data)
            for place, spec in enumerate(self.outputs)
        }

    def _set(self, feeds: Feeds) -> None:
        check_feeds(self._model, self.inputs, feeds)
        for place, spec in enumerate(self.inputs):
            self._request.get_input_tensor(place).data[...] = feeds[spec.name]

    def call(self, feeds: Feeds) -> PreparedCall:
        """Set the inputs once; the call is the request's own ``infer``."""
        self._set(feeds)
        invoke: PreparedCall = self._request.infer
        return invoke

    def close(self) -> None:
        """Let go of the model."""
        self._request = None


def _borders(artifact: Any) -> tuple[TensorSpec, ...]:
    return (*artifact.inputs, *artifact.outputs)


def _spec(named: Any, port: Any, layout: Any, known: dict[str, Quantization | None]) -> TensorSpec:
    name = named.get_any_name()
    shape = tuple(int(size) for size in port.shape)
    dtype = np.dtype(port.element_type.to_dtype()).name
    return TensorSpec(name, shape, dtype, picture_layout(shape, layout), known.get(name))
