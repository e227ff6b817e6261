"""What a layer costs, and what the standard convolution in its place would: plain arithmetic."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ConvShape:
    """A convolution: ``positions`` is batch times output pixels (input pixels if transposed)."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    groups: int
    positions: int

    @property
    def weights(self) -> int:
        """Parameters without bias.

        >>> ConvShape(4, 8, (3, 3), 2, 1).weights
        144
        """
        return self.in_channels * self.out_channels * math.prod(self.kernel) // self.groups

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds: each position uses each weight once."""
        return self.weights * self.positions

    @property
    def depthwise(self) -> bool:
        """Whether each group is a single input channel."""
        return self.groups == self.in_channels > 1

    def standard(self) -> "ConvShape":
        """Return the same convolution without groups."""
        return dataclasses.replace(self, groups=1)


@dataclass(frozen=True)
class Comparison:
    """What ``layers`` cost against the standard convolution ``standard`` that they stand for."""

    layers: tuple[str, ...]
    standard: str
    parameters: int
    multiply_adds: int
    standard_parameters: int
    standard_multiply_adds: int

    @property
    def ratio(self) -> float:
        """Multiply-adds over the standard convolution's; 1 where neither computes anything."""
        if not self.standard_multiply_adds:
            return 1.0
        return self.multiply_adds / self.standard_multiply_adds


@dataclass(frozen=True)
class Layer:
    """One row: ``output_shape`` NCHW as the framework has it, ``activation_bytes`` of the output."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    input_bytes: int
    against_standard: Comparison | None = None


@dataclass(frozen=True)
class Summary:
    """A net layer by layer, in the order it runs."""

    title: str
    inputs: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """All parameters; those used twice count once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one run."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all outputs together, as if none were freed."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def peak_bytes(self) -> int:
        """Bytes of the input and output of the one layer where both together are largest."""
        return max((x.activation_bytes + x.input_bytes for x in self.layers), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return the whole summary as JSON data."""
        rows = [dataclasses.asdict(layer) for layer in self.layers]
        for row, layer in zip(rows, self.layers, strict=True):
            if layer.against_standard is not None:
                row["against_standard"]["ratio"] = layer.against_standard.ratio
        return {
            "title": self.title,
            "inputs": [list(shape) for shape in self.inputs],
            "layers": rows,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "activation_bytes": self.activation_bytes or None,  # of a script no layer is seen
            "peak_bytes": self.peak_bytes or None,
        }


def compare_with_standard(
    convolutions: Sequence[tuple[str, ConvShape]],
) -> dict[str, Comparison]:
    """Return, by layer name, what grouped and depthwise-separable convolutions save.

    ``convolutions`` in the order they run. A 1x1 convolution right after a depthwise one on the
    same channels and positions completes a depthwise-separable pair: it carries the pair's
    comparison, the depthwise layer its own.
    """
    found: dict[str, Comparison] = {}
    for index, (name, conv) in enumerate(convolutions):
        if conv.groups > 1:
            found[name] = _compare((name,), [conv], conv.standard())
        before, depthwise = convolutions[index - 1] if index else ("", conv)
        if (
            depthwise.depthwise
            and depthwise.out_channels == conv.in_channels
            and depthwise.positions == conv.positions
            and math.prod(conv.kernel) == 1
        ):
            whole = dataclasses.replace(depthwise, out_channels=conv.out_channels, groups=1)
            found[name] = _compare((before, name), [depthwise, conv], whole)
    return found


def _compare(names: tuple[str, ...], parts: Sequence[ConvShape], standard: ConvShape) -> Comparison:
    kernel = "x".join(map(str, standard.kernel))
    return Comparison(
        names,
        f"{kernel} convolution, {standard.in_channels} to {standard.out_channels} channels",
        sum(part.weights for part in parts),
        sum(part.multiply_adds for part in parts),
        standard.weights,
        standard.multiply_adds,
    )
