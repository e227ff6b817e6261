"""A tiny .onnx model without the onnx package: what measures a machine's peak on a bare board."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.onnx_file import ELEMENT_TYPES

CODES = {name: code for code, name in ELEMENT_TYPES.items()}
IR_VERSION, OPSET = 8, 13

Border = tuple[str, str, tuple[int, ...]]
"""Name, numpy's type and shape of an input or output."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def tensor_bytes(name: str, array: NDArray[np.generic]) -> bytes:
    """A TensorProto with raw data."""
    dims = b"".join(_number(1, size) for size in array.shape)
    kind = _number(2, CODES[array.dtype.name])
    return dims + kind + _text(8, name) + _bytes(9, array.tobytes())


def _border(border: Border) -> bytes:
    name, dtype, shape = border
    dims = b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor = _number(1, CODES[dtype]) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def model_bytes(
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    constants: Sequence[bytes],
    source: Border,
    target: Border,
) -> bytes:
    """A ModelProto of nodes without attributes: (operator, inputs, outputs) each."""
    graph = b""
    for op, inputs, outputs in nodes:
        ends = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
        graph += _bytes(1, b"".join(ends) + _text(4, op))
    graph += _text(2, "peak") + b"".join(_bytes(5, constant) for constant in constants)
    graph += _bytes(11, _border(source)) + _bytes(12, _border(target))
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))
