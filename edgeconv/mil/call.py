"""One call of an operation: its arguments with MIL's defaults, as a kernel reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.mil_types import TensorType
from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.program import Operation

Array = NDArray[Any]
Value = Any
"""An array; a string, list or dictionary for the few operators about labels."""


@dataclass(frozen=True)
class Call:
    """Arguments by parameter, floats in the dtype of computation."""

    operation: Operation
    arguments: dict[str, list[Value]]
    dtype: np.dtype[Any]

    def has(self, key: str) -> bool:
        """Whether a parameter was given."""
        return bool(self.arguments.get(key))

    def raw(self, key: str) -> Value:
        """Return a parameter as it is; raises CorruptFileError where it is missing."""
        if not self.has(key):
            raise CorruptFileError(f"{self.operation.what} lacks its parameter {key}")
        return self.arguments[key][0]

    def array(self, key: str = "x") -> Array:
        """Return a tensor parameter as it is stored."""
        value = self.raw(key)
        if not isinstance(value, np.ndarray):
            raise CorruptFileError(f"{self.operation.what}: {key} is no tensor")
        return value

    def real(self, key: str = "x") -> Array:
        """Return a tensor parameter in the dtype of computation."""
        return self.array(key).astype(self.dtype, copy=False)

    def optional(self, key: str) -> Array | None:
        """Return a tensor parameter in the dtype of computation, or None."""
        return self.real(key) if self.has(key) else None

    def ints(self, key: str, default: list[int] | None = None) -> list[int]:
        """Return an integer list parameter."""
        if default is not None and not self.has(key):
            return default
        return [int(item) for item in np.asarray(self.array(key)).reshape(-1)]

    def number(self, key: str, default: float | None = None) -> float:
        """Return a scalar parameter."""
        if default is not None and not self.has(key):
            return default
        value = np.asarray(self.raw(key)).reshape(-1)
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise CorruptFileError(f"{self.operation.what}: {key} is no single number")
        return float(value[0])

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer parameter."""
        return int(self.number(key, None if default is None else float(default)))

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a boolean parameter."""
        return bool(self.number(key, float(default)))

    def text(self, key: str, default: str) -> str:
        """Return a string parameter."""
        if not self.has(key):
            return default
        value = self.raw(key)
        if not isinstance(value, str):
            raise CorruptFileError(f"{self.operation.what}: {key} is no text")
        return value

    def declared(self, index: int = 0) -> TensorType:
        """Return the declared type of a result."""
        kind = self.operation.results[index][1]
        if not isinstance(kind, TensorType):
            raise CorruptFileError(f"{self.operation.what} does not declare a tensor")
        return kind


Kernel = Callable[[Call], Any]


@dataclass(frozen=True)
class Rule:
    """An entry of the evaluator's table.

    ``moves``: the result holds only values that an argument already held (or clamped), so that
    rounding it again would change nothing. ``result`` says what type the first result must be:
    "same" as the main argument's, "scale" that of scale, "dtype" the named one, "any" anything.
    """

    kernel: Kernel
    moves: bool = False
    result: str = "same"
