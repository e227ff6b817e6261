"""ONNX Runtime on the CPU."""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import manifest_path, spec_from_json
from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.foreign import read_text
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    Source,
    check_known_inputs,
    check_readable,
    check_threads,
    first_line,
    fixed_shape,
    label,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import Quantization, TensorSpec

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}


def open_model(
    source: Source,
    *,
    threads: int = 1,
    optimize: bool = True,
    integers: bool = True,
    shapes: Shapes | None = None,
    profile: Path | None = None,
    save_optimized: Path | None = None,
) -> "OnnxRunner":
    """Open a model from a path or from bytes.

    ``optimize=False`` switches every graph rewrite off: what the file says is what runs.
    ``integers=False`` computes in float between QuantizeLinear and DequantizeLinear.
    ``shapes`` settles dynamic inputs by name. ``profile`` is the prefix of the trace that
    ``OnnxRunner.end_profile`` writes; ``save_optimized`` receives the graph that really runs. Raises EdgeconvError for a file that onnxruntime refuses.
    """
    ort = require("onnxruntime", "onnx")
    check_threads(threads)
    check_readable(source)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors arrive as exceptions; nothing else is ours to print
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if save_optimized is not None:
        options.optimized_model_filepath = str(save_optimized)
    model = source if isinstance(source, bytes) else str(source)
    session_of = functools.partial(
        ort.InferenceSession,
        model,
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # to the same provider, and it prints so on standard output
    )
    try:
        session = session_of()
    except Exception as error:  # onnxruntime's exceptions share no base class but this
        raise unreadable(source, "onnxruntime", error) from error
    return OnnxRunner(
        session_of, session, ort, label(source), threads, shapes, _manifest_text(source)
    )


def _manifest_text(source: Source) -> str:
    """The manifest beside a file of ours, which knows what the format has no place for."""
    if isinstance(source, bytes):
        return "{}"
    beside = manifest_path(Path(source))
    try:
        return read_text(beside)
    except (OSError, UnicodeDecodeError):
        return "{}"


open = open_model


class OnnxRunner(Closing):
    """A session of ONNX Runtime. Rank-4 tensors are NCHW."""

    name = "onnxruntime"

    def __init__(
        self,
        session_of: Callable[[], Any],
        session: Any,
        ort: Any,
        model: str,
        threads: int,
        shapes: Shapes | None = None,
        manifest: str = "{}",
    ) -> None:
        self.version: str = ort.__version__
        self.threads = threads
        self.session = session
        self._session_of = session_of
        self._ort = ort
        self._model = model
        described = _described(
            session.get_modelmeta().custom_metadata_map.get("edgeconv", "{}")
        ) or _described(manifest)
        check_known_inputs(model, [item.name for item in session.get_inputs()], shapes)
        self.inputs = tuple(
            self._spec(item, fixed_shape(model, item.name, item.shape, shapes), described)
            for item in session.get_inputs()
        )
        self.outputs = self._output_specs(described)

    def _spec(
        self, item: Any, shape: Sequence[int], described: Mapping[str, Quantization]
    ) -> TensorSpec:
        if item.type not in DTYPES:
            raise EdgeconvError(f"{self._model}: {item.name} is a {item.type}, not a plain tensor")
        return TensorSpec(
            item.name,
            tuple(shape),
            DTYPES[item.type],
            picture_layout(shape, "nchw"),
            described.get(item.name),
        )

    def _output_specs(self, described: Mapping[str, Quantization]) -> tuple[TensorSpec, ...]:
        items = self.session.get_outputs()
        shapes = [item.shape for item in items]
        if not all(isinstance(d, int) for shape in shapes for d in shape):
            zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.inputs}
            shapes = [list(a.shape) for a in self._run(zeros)]  # what inference could not tell
        return tuple(
            self._spec(item, shape, described) for item, shape in zip(items, shapes, strict=True)
        )

    def _run(self, feeds: Feeds) -> Sequence[Any]:
        try:
            results: Sequence[Any] = self.session.run(None, dict(feeds))
        except Exception as error:  # as above
            raise EdgeconvError(
                f"onnxruntime failed on {self._model}: {first_line(error)}"
            ) from error
        return results

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        check_feeds(self._model, self.inputs, feeds)
        return dict(zip((s.name for s in self.outputs), self._run(feeds), strict=True))

    def call(self, feeds: Feeds) -> PreparedCall:
        """Bind inputs and outputs to memory once; the call runs the session on them."""
        check_feeds(self._model, self.inputs, feeds)
        return self._bound(self.session, feeds)

    def _bound(self, session: Any, feeds: Feeds) -> PreparedCall:
        binding = session.io_binding()
        for name, array in feeds.items():
            value = self._ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
            binding.bind_ortvalue_input(name, value)
        for spec in self.outputs:
            value = self._ort.OrtValue.ortvalue_from_shape_and_type(
                spec.shape, np.dtype(spec.dtype)
            )
            binding.bind_ortvalue_output(spec.name, value)
        return functools.partial(session.run_with_iobinding, binding)

    def providers(self) -> list[str]:
        """The execution providers that this session uses, the preferred one first."""
        return list(self.session.get_providers())

    def arena_bytes(self, feeds: Feeds) -> int | None:
        """Return what a second session says in its log, weights it packed included."""
        check_feeds(self._model, self.inputs, feeds)
        self._ort.set_default_logger_severity(1)  # the arena reports its growth at this level
        try:
            with quiet_stderr() as log:
                call = self._bound(self._session_of(), feeds)
                for _ in range(2):
                    call()
        finally:
            self._ort.set_default_logger_severity(2)
        return onnx_arena(log.text)

    def end_profile(self) -> Path:
        """Stop the profiler and return the trace it wrote."""
        return Path(self.session.end_profiling())

    def close(self) -> None:
        """Let go of the model."""
        self.session = None


def _described(metadata: str) -> dict[str, Quantization]:
    """Quantization of inputs and outputs from our own description, if there is any.

    The ONNX format has no place for the scale of an integer input.
    """
    try:
        manifest = json.loads(metadata)
        sides = [*manifest.get("inputs", []), *manifest.get("outputs", [])]
        specs = [spec_from_json(item) for item in sides if item.get("quantization")]
        return {spec.name: spec.quantization for spec in specs if spec.quantization is not None}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EdgeconvError):
        return {}  # someone else's metadata under our key says nothing to us


def onnx_arena(log: str) -> int | None:
    """Return the last total in onnxruntime's log, in bytes; what was reserved where it never grew.

    >>> onnx_arena("... Total allocated bytes: 7258192\\n... Total allocated bytes: 9355344")
    9355344
    """
    totals = re.findall(r"Total allocated bytes: (\d+)", log)
    if totals:
        return int(totals[-1])
    reserved = re.findall(r"Reserving memory in BFCArena for \w+ size: (\d+)", log)
    return sum(map(int, reserved)) if reserved else None
