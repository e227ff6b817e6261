"""Constants and results on the way to a node's output: what exists in the file only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeconv.export.graph import Array
from edgeconv.export.tflite.builder import Builder
from edgeconv.recipe import Activation, quantize_values
from edgeconv.tensors import Quantization


@dataclass(kw_only=True)
class Temporaries:
    """Writes operators whose results no tensor of the graph is; ``requantized`` counts changes of scale."""

    builder: Builder = field(default_factory=lambda: Builder("edgeconv"))
    requantized: int = 0

    def ints(
        self, values: Sequence[int] | Sequence[Sequence[int]] | Array, name: str = "integers"
    ) -> int:
        """Return an int32 constant."""
        return self.builder.shared(name, np.asarray(values, np.int32))

    def real(self, value: float, like: Quantization | None = None) -> int:
        """Return a constant of one element, stored as int8 where ``like`` is given."""
        array = np.array([value], np.float32)
        if like is None:
            return self.builder.shared(f"value_{value:g}", array)
        activation = Activation(like.scale, like.zero_point, 0.0, 0.0)
        return self.builder.constant(f"value_{value:g}", quantize_values(array, activation), like)

    def do(
        self,
        code: str,
        inputs: Sequence[int],
        options: str = "",
        *,
        shape: Sequence[int] | None = None,
        dtype: "np.dtype[np.generic] | type | None" = None,
        quantization: Quantization | None = None,
        **fields: Any,
    ) -> int:
        """Append an operator with a temporary result (by default broadcast, of the first dtype)."""
        b = self.builder
        if shape is None:
            shape = np.broadcast_shapes(*(b.shape(index) for index in inputs))
        kind = np.int8 if quantization else dtype or b.dtype(inputs[0])
        stem = f"{b.name(inputs[0])}/{code.lower()}"
        out = b.tensor(stem, shape, kind, quantization)
        b.op(code, inputs, [out], options, **fields)
        return out

    def reshape(self, index: int, shape: Sequence[int]) -> int:
        """Return the tensor under another shape."""
        if tuple(shape) == self.builder.shape(index):
            return index
        return self.do(
            "RESHAPE",
            [index, self.ints(shape, "shape")],
            "ReshapeOptions",
            shape=shape,
            quantization=self.builder.quantization(index),
            newShape=[int(size) for size in shape],
        )

    def transpose(self, index: int, permutation: Sequence[int]) -> int:
        """Return the tensor with its stored axes permuted."""
        shape = self.builder.shape(index)
        return self.do(
            "TRANSPOSE",
            [index, self.ints(permutation, "permutation")],
            "TransposeOptions",
            shape=[shape[axis] for axis in permutation],
            quantization=self.builder.quantization(index),
        )

    def requantize(self, index: int, wanted: Quantization | None) -> int:
        """Return the tensor stored with ``wanted`` (None: as real values)."""
        have = self.builder.quantization(index)
        if have == wanted:
            return index
        if have is not None and wanted is not None:
            self.requantized += 1
        code, options = border_op(wanted)
        shape = self.builder.shape(index)
        kind = np.int8 if wanted else np.float32
        return self.do(code, [index], options, shape=shape, dtype=kind, quantization=wanted)


def border_op(wanted: Quantization | None) -> tuple[str, str]:
    """Return the operator between integers and real values, and its options."""
    return ("QUANTIZE", "QuantizeOptions") if wanted else ("DEQUANTIZE", "DequantizeOptions")
