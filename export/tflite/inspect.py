"""Read a .tflite file back: what proves an INT8 file, and a first look at anyone's."""

import json
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.export.tflite.builder import schema
from edgeconv.formats.census import COMPUTE, Census, Counted, count
from edgeconv.formats.flatbuffer import damage
from edgeconv.formats.tflite_file import check_whole

DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    UnicodeDecodeError,
)
"""What the generated reader raises on bytes that are no whole flatbuffer."""


@dataclass(frozen=True)
class TfliteTensor:
    """One tensor: ``shape`` as stored (NHWC), ``dtype`` in numpy's words ("int8").

    ``scales`` (float32, one or one a channel of ``axis``) and ``zero_points`` (int64) are empty
    for a real-valued tensor. ``data`` is None where the tensor is computed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None


@dataclass(frozen=True)
class TfliteOp:
    """One operator: its name, version, input tensors (-1: absent), output tensors and options."""

    code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TfliteSummary:
    """A model's first subgraph; tensors are referred to by index.

    ``signature`` maps the signature's input and output names to tensors. ``metadata`` holds the
    entries that are JSON, decoded, and the size in bytes of the others.
    """

    tensors: tuple[TfliteTensor, ...]
    ops: tuple[TfliteOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signature: dict[str, dict[str, int]]
    metadata: dict[str, Any]
    subgraphs: int

    def tensor(self, name: str) -> TfliteTensor:
        """Return the tensor called ``name``; raises EdgeconvError where there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise EdgeconvError(f"the model has no tensor {name}")

    @property
    def histogram(self) -> dict[str, int]:
        """Operator -> count, sorted by name."""
        return dict(sorted(Counter(op.code for op in self.ops).items()))

    @property
    def weighted(self) -> list[TfliteOp]:
        """The convolutions and matrix products."""
        return [op for op in self.ops if op.code in COMPUTE["tflite"]]

    def is_int8(self, op: TfliteOp) -> bool:
        """Say whether an operator reads and writes integers: data, weights and result."""
        data = [self.tensors[i] for i in self.operands(op)]
        made = [self.tensors[i] for i in op.outputs]
        return all(t.dtype in ("int8", "uint8") for t in [*data, *made])

    def operands(self, op: TfliteOp) -> tuple[int, ...]:
        """Return the data and weight inputs of a weighted operator."""
        return op.inputs[1:3] if op.code == "TRANSPOSE_CONV" else op.inputs[:2]

    def weights(self, op: TfliteOp) -> TfliteTensor:
        """Return the weight tensor of a weighted operator."""
        return self.tensors[op.inputs[1]]


def _per_channel(summary: TfliteSummary, op: TfliteOp) -> bool:
    """Say whether each output channel of an operator's weights has its own scale."""
    weights = summary.weights(op)
    channels = weights.shape[-1 if op.code == "DEPTHWISE_CONV_2D" else 0]
    return len(weights.scales) == channels


def read_tflite(data: bytes, name: str = "the file") -> TfliteSummary:
    """Return what a .tflite file holds; raises EdgeconvError naming ``name`` where it is damaged."""
    check_whole(data, name)
    s = schema()
    try:
        model = s.ModelT.InitFromPackedBuf(data, 0)
        graph = model.subgraphs[0]
        summary = TfliteSummary(
            tuple(_tensor(s, data, model, t) for t in graph.tensors),
            tuple(_op(s, model, o) for o in graph.operators or []),
            tuple(int(i) for i in graph.inputs),
            tuple(int(i) for i in graph.outputs),
            _signature(model),
            _metadata(data, model),
            len(model.subgraphs),
        )
    except DAMAGE as error:
        raise EdgeconvError(f"{name} {damage(error, len(data))}") from error
    _check_places(summary, name)
    for op in summary.weighted:
        if len(operands := summary.operands(op)) < 2 or -1 in operands:
            raise EdgeconvError(f"{name} is damaged: {op.code} lacks what it works on")
    return summary


def _check_places(summary: TfliteSummary, name: str) -> None:
    """Raise EdgeconvError where something reads or writes a tensor that is not there; -1 is an input left out."""
    most = len(summary.tensors)
    for who, least, places in (
        *((op.code, -1, op.inputs) for op in summary.ops),
        *((op.code, 0, op.outputs) for op in summary.ops),
        ("the model's border", 0, (*summary.inputs, *summary.outputs)),
    ):
        for place in places:
            if not least <= place < most:
                raise EdgeconvError(f"{name} is damaged: {who} names tensor {place} of {most}")


def _names(enumeration: Any) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if isinstance(v, int)}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _bytes(data: bytes, model: Any, number: int) -> bytes | None:
    buffer = model.buffers[number]
    if buffer.offset > 1:  # weights past 2 GB lie behind the flatbuffer
        return data[buffer.offset : buffer.offset + buffer.size]
    return None if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()


def _tensor(s: Any, data: bytes, model: Any, t: Any) -> TfliteTensor:
    kind = _names(s.TensorType)[t.type].lower()
    q = t.quantization
    scales = [] if q is None or q.scale is None else q.scale
    zeros = [] if q is None or q.zeroPoint is None else q.zeroPoint
    shape = tuple(int(size) for size in ([] if t.shape is None else t.shape))
    raw, value = _bytes(data, model, t.buffer), None
    if raw and kind in ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"):
        value = np.frombuffer(raw, np.dtype(kind)).reshape(shape)
    return TfliteTensor(
        _text(t.name),
        shape,
        kind,
        np.asarray(scales, np.float32),
        np.asarray(zeros, np.int64),
        0 if q is None else int(q.quantizedDimension),
        value,
    )


def _op(s: Any, model: Any, o: Any) -> TfliteOp:
    code = model.operatorCodes[o.opcodeIndex]
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    name = _names(s.BuiltinOperator).get(number, str(number))
    if name == "CUSTOM":
        name = f"CUSTOM:{_text(code.customCode)}"
    options = {} if o.builtinOptions is None else dict(vars(o.builtinOptions))
    places = [[] if ends is None else ends for ends in (o.inputs, o.outputs)]
    inputs, outputs = (tuple(int(i) for i in ends) for ends in places)
    return TfliteOp(name, int(code.version), inputs, outputs, options)


def _signature(model: Any) -> dict[str, dict[str, int]]:
    found = (model.signatureDefs or [None])[0]
    if found is None:
        return {}
    return {
        side: {_text(entry.name): int(entry.tensorIndex) for entry in entries or []}
        for side, entries in (("inputs", found.inputs), ("outputs", found.outputs))
    }


def _metadata(data: bytes, model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in model.metadata or []:
        raw = _bytes(data, model, entry.buffer) or b""
        try:
            found[_text(entry.name)] = json.loads(raw)
        except (ValueError, RecursionError):
            found[_text(entry.name)] = len(raw)
    return found


def tflite_census(summary: TfliteSummary) -> Census:
    """Count what a file holds; an integer operator reads and writes integers."""
    weighted = COMPUTE["tflite"]
    full = {
        op.outputs[0] for op in summary.ops if op.code == "DEQUANTIZE" and _is_stored(summary, op)
    }
    return count(
        "tflite",
        (
            Counted(
                op.code,
                summary.is_int8(op),
                _per_channel(summary, op),
                not full.isdisjoint(op.inputs),
            )
            if op.code in weighted
            else Counted(op.code)
            for op in summary.ops
        ),
    )


def _is_stored(summary: TfliteSummary, op: TfliteOp) -> bool:
    source = summary.tensors[op.inputs[0]]
    return source.data is not None and source.dtype == "int8"


def tflite_stats(data: bytes) -> dict[str, Any]:
    """Return the census of a file as manifests hold it, and the types of its borders."""
    return summary_stats(read_tflite(data))


def summary_stats(summary: TfliteSummary) -> dict[str, Any]:
    """Return what tflite_stats does, of a file that was read."""
    return {
        **tflite_census(summary).to_json(),
        "inputs": [summary.tensors[i].dtype for i in summary.inputs],
        "outputs": [summary.tensors[i].dtype for i in summary.outputs],
    }
