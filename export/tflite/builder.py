"""Write a TFLite flatbuffer: tensors, constants stored once, operators, signature, metadata.

Schema: tensorflow/lite/schema/schema.fbs, version 3, through the classes that ai-edge-litert ships.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.deps import require
from edgeconv.export.graph import Array
from edgeconv.export.tflite.versions import op_version
from edgeconv.tensors import Quantization

ALIGNMENT = 16  # schema.fbs: Buffer.data is force_aligned; NEON loads and TFLite Micro rely on it


def schema() -> Any:
    """Return the generated schema module; raises MissingDependencyError without it."""
    return require("ai_edge_litert.schema_py_generated", "export")


@dataclass(frozen=True)
class ChannelScales:
    """Symmetric per-channel quantization: float32 ``scales``, one for each index of ``axis``."""

    scales: Array
    axis: int


class _Buffer:
    """A Buffer table whose data is aligned; the generated Python code does not align it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def Pack(self, builder: Any) -> Any:  # noqa: N802  the name that ModelT.Pack calls
        s = schema()
        if self.data:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
        s.BufferStart(builder)
        if self.data:
            s.BufferAddData(builder, vector)
        return s.BufferEnd(builder)


class Builder:
    """One subgraph under construction. Tensors and operators are numbered in the order of calls."""

    def __init__(self, description: str) -> None:
        s = self._schema = schema()
        self._model = s.ModelT()
        self._model.version = 3
        self._model.description = description
        self._model.operatorCodes, self._model.buffers = [], [_Buffer(b"")]
        self._graph = s.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]
        self._codes: dict[str, int] = {}
        self._buffers: dict[bytes, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], int], int] = {}
        self._names: set[str] = set()
        self._quantization: list[Quantization | None] = []
        self._dtypes: list[np.dtype[np.generic]] = []
        self._per_channel: set[int] = set()
        self.op_counts: dict[str, int] = {}

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the stored shape of a tensor."""
        return tuple(self._graph.tensors[index].shape)

    def dtype(self, index: int) -> np.dtype[np.generic]:
        """Return the stored dtype of a tensor."""
        return self._dtypes[index]

    def quantization(self, index: int) -> Quantization | None:
        """Return the per-tensor quantization of a tensor; None for a real-valued one."""
        return self._quantization[index]

    def name(self, index: int) -> str:
        """Return the name that a tensor has in the file."""
        return str(self._graph.tensors[index].name)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: "np.dtype[np.generic] | type | str",
        quantization: Quantization | ChannelScales | None = None,
        data: bytes | None = None,
    ) -> int:
        """Add a tensor (a constant where ``data`` is given) and return its index.

        A name that is taken gets a number behind it: TFLite tools look tensors up by name.
        """
        t = self._schema.TensorT()
        t.name, t.shape = self._unique(name), [int(size) for size in shape]
        kind = np.dtype(dtype)
        t.type = getattr(self._schema.TensorType, kind.name.upper())
        t.buffer = 0 if data is None else self._buffer(data)
        if quantization is not None:
            t.quantization = self._pack_quantization(quantization)
        self._graph.tensors.append(t)
        per_tensor = quantization if isinstance(quantization, Quantization) else None
        self._quantization.append(per_tensor)
        self._dtypes.append(kind)
        if isinstance(quantization, ChannelScales):
            self._per_channel.add(len(self._dtypes) - 1)
        return len(self._graph.tensors) - 1

    def constant(
        self,
        name: str,
        value: Array,
        quantization: Quantization | ChannelScales | None = None,
    ) -> int:
        """Add a named constant; equal bytes are stored once in the file."""
        data = np.ascontiguousarray(value).tobytes()
        return self.tensor(name, value.shape, value.dtype, quantization, data)

    def shared(self, name: str, value: Array) -> int:
        """Add an unquantized constant that all its readers share: axes, shapes, paddings."""
        data = np.ascontiguousarray(value).tobytes()
        key = (value.dtype.name, value.shape, self._buffer(data))
        if key not in self._constants:
            self._constants[key] = self.constant(name, value)
        return self._constants[key]

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        **fields: Any,
    ) -> None:
        """Append an operator; ``options`` names its table of options, ``fields`` fill it.

        A field that is a string names a value of the enumeration of its field.
        """
        s, o = self._schema, self._schema.OperatorT()
        o.inputs, o.outputs = list(inputs), list(outputs)
        if options:
            o.builtinOptionsType = getattr(s.BuiltinOptions, options)
            o.builtinOptions = getattr(s, options + "T")()
            for key, value in fields.items():
                if not hasattr(o.builtinOptions, key):
                    raise AttributeError(f"{options} has no field {key}")
                setattr(o.builtinOptions, key, self._enumerated(key, value))
        kinds = [self._dtypes[i].name if i >= 0 else "" for i in inputs]
        shapes = [self.shape(i) if i >= 0 else () for i in inputs]
        per_channel = not self._per_channel.isdisjoint(inputs)
        o.opcodeIndex = self._opcode(code, op_version(code, kinds, shapes, fields, per_channel))
        self._graph.operators.append(o)
        self.op_counts[code] = self.op_counts.get(code, 0) + 1

    def custom(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: bytes
    ) -> None:
        """Append an operator that runtimes know by ``name``; ``options`` are its flexbuffer."""
        o = self._schema.OperatorT()
        o.inputs, o.outputs = list(inputs), list(outputs)
        o.customOptions = np.frombuffer(options, np.uint8)
        o.opcodeIndex = self._opcode("CUSTOM", 1, name)
        self._graph.operators.append(o)
        self.op_counts[name] = self.op_counts.get(name, 0) + 1

    def finish(
        self, inputs: Mapping[str, int], outputs: Mapping[str, int], metadata: Mapping[str, bytes]
    ) -> bytes:
        """Return the file: ``inputs`` and ``outputs`` map signature names to tensors."""
        s = self._schema
        self._graph.inputs, self._graph.outputs = list(inputs.values()), list(outputs.values())
        signature = s.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = self._map(inputs), self._map(outputs)
        self._model.signatureDefs = [signature]
        self._model.metadata = []
        for name, data in metadata.items():
            entry = s.MetadataT()
            entry.name, entry.buffer = name, self._buffer(data)
            self._model.metadata.append(entry)
        packer = require("flatbuffers", "export").Builder(1 << 20)
        packer.Finish(self._model.Pack(packer), b"TFL3")
        return bytes(packer.Output())

    def _map(self, tensors: Mapping[str, int]) -> list[Any]:
        entries = []
        for name, index in tensors.items():
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
        return entries

    def _unique(self, name: str) -> str:
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique

    def _buffer(self, data: bytes) -> int:
        if data not in self._buffers:
            self._model.buffers.append(_Buffer(data))
            self._buffers[data] = len(self._model.buffers) - 1
        return self._buffers[data]

    def _pack_quantization(self, quantization: Quantization | ChannelScales) -> Any:
        q = self._schema.QuantizationParametersT()
        if isinstance(quantization, ChannelScales):
            q.scale = np.asarray(quantization.scales, np.float32)
            q.zeroPoint = np.zeros(len(q.scale), np.int64)
            q.quantizedDimension = quantization.axis
        else:
            q.scale = np.array([quantization.scale], np.float32)
            q.zeroPoint = np.array([quantization.zero_point], np.int64)
        return q

    def _enumerated(self, key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        enumeration = {
            "padding": "Padding",
            "fusedActivationFunction": "ActivationFunctionType",
            "mode": "MirrorPadMode",
            "outputType": "TensorType",
            "inDataType": "TensorType",
            "outDataType": "TensorType",
        }[key]
        return getattr(getattr(self._schema, enumeration), value)

    def _opcode(self, code: str, version: int, custom: str | None = None) -> int:
        s, key = self._schema, custom or code
        if key not in self._codes:
            entry = s.OperatorCodeT()
            entry.customCode = custom
            entry.builtinCode = getattr(s.BuiltinOperator, code)
            # readers older than schema 3a look only here; 127 sends them to builtinCode
            entry.deprecatedBuiltinCode = min(entry.builtinCode, 127)
            entry.version = version
            self._codes[key] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(entry)
        entry = self._model.operatorCodes[self._codes[key]]
        entry.version = max(entry.version, version)
        return self._codes[key]
