"""MIL's types as numpy's, and the value types of a program (MIL.proto of coremltools)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.formats.protobuf import CorruptFileError, Message

DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float32),
    12: np.dtype(np.float64),
    21: np.dtype(np.int8),
    22: np.dtype(np.int16),
    23: np.dtype(np.int32),
    24: np.dtype(np.int64),
    31: np.dtype(np.uint8),
    32: np.dtype(np.uint16),
    33: np.dtype(np.uint32),
    34: np.dtype(np.uint64),
}
"""MIL.proto's DataType -> numpy's; sub-byte integers are refused."""

STRING = 2
MAX_RANK, MAX_ELEMENTS = 8, 1 << 28


@dataclass(frozen=True)
class TensorType:
    """A tensor's element type and static shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype.name} {list(self.shape)}"


@dataclass(frozen=True)
class OtherType:
    """A value that is no tensor of numbers: "string", "list" or "dictionary"."""

    kind: str


ValueType = TensorType | OtherType


def read_type(message: Message | None, what: str) -> ValueType:
    """Return a ValueType; raises CorruptFileError naming ``what`` for one we cannot hold."""
    if message is None:
        raise CorruptFileError(f"{what} has no type")
    tensor = message.child(1)
    if tensor is not None:
        return _tensor_type(tensor, what)
    for field, kind in ((2, "list"), (4, "dictionary")):
        if field in message.fields:
            return OtherType(kind)
    raise CorruptFileError(f"{what} has a type that the evaluator does not know")


def _tensor_type(message: Message, what: str) -> ValueType:
    code = message.number(1)
    shape = tuple(_dimension(raw, what) for raw in message.children(3))
    if len(shape) != message.number(2) or len(shape) > MAX_RANK:
        raise CorruptFileError(
            f"{what} declares rank {message.number(2)} and {len(shape)} dimensions"
        )
    if code == STRING:
        return OtherType("string" if not shape else "list")
    if code not in DTYPES:
        raise CorruptFileError(f"{what} has element type {code}, which the evaluator lacks")
    elements = 1
    for size in shape:
        elements *= size
    if elements > MAX_ELEMENTS:
        raise CorruptFileError(f"{what} declares {elements} elements, more than {MAX_ELEMENTS}")
    return TensorType(DTYPES[code], shape)


def _dimension(message: Message, what: str) -> int:
    constant = message.child(1)
    if constant is None:
        raise CorruptFileError(f"{what} has a flexible shape; the evaluator needs static ones")
    size = constant.number(1)
    if not 0 <= size <= MAX_ELEMENTS:
        raise CorruptFileError(f"{what} declares a dimension of {size}")
    return size
