"""A file opened up at chosen tensors: exposed as it is, and severed so that each layer can be fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeconv.parity.layers.codec import Codec, fits
from edgeconv.tensors import Quantization, TensorSpec

Array = NDArray[Any]
Kind = Literal["onnx", "tflite", "coreml"]

PROPORTIONAL = (0.3, 0.05)
"""Residual, as a share of a channel's own size, up to which it counts as rescaled, not as wrong: with
the errors that it inherits, and fed the reference's own inputs."""


class Infers(Protocol):
    """What a layer comparison needs of a runner."""

    @property
    def name(self) -> str:
        """The runtime, as figures quote it."""
        ...

    @property
    def version(self) -> str:
        """The runtime's version."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        ...

    def infer(self, feeds: Mapping[str, Array], /) -> dict[str, Array]:
        """Run once."""
        ...


@dataclass
class Opened:
    """A file exposed and severed at the tensors that have a counterpart in the reference.

    ``outs`` and ``feds`` map reference tensors to the file's own outputs and new inputs.
    """

    exposed: Infers | None
    severed: Infers
    outs: Mapping[str, str]
    feds: Mapping[str, str]
    known: Mapping[str, Quantization] = field(default_factory=dict)
    channels_first: bool = False
    kind: Kind = "onnx"
    orders: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    codecs: dict[str, Codec] = field(default_factory=dict)

    def plan_codecs(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        grids: Mapping[str, Quantization],
    ) -> None:
        """Say how each tensor is stored."""
        specs = {spec.name: spec for spec in self.severed.outputs}
        for tensor, out in self.outs.items():
            spec = specs[out]
            options = [
                last
                for last in fits(shapes[tensor], spec.shape)
                if not (last and self.channels_first)
            ]
            grid = grids.get(tensor)
            if grid is not None and spec.dtype == "uint8":
                grid = replace(grid, zero_point=grid.zero_point + 128)
            quantization = grid or self.known.get(out) or spec.quantization
            self.codecs[tensor] = Codec(
                shapes[tensor],
                spec.shape,
                spec.dtype,
                quantization,
                bool(options and options[0]),
                snap=grid if self.kind == "coreml" else None,
                order=None if options else self.orders[tensor],
            )

    def settle(self, reference: Mapping[str, Array], inherited: Mapping[str, Array]) -> None:
        """Where both layouts fit a shape, take the one whose values lie nearer the reference."""
        for tensor, codec in self.codecs.items():
            if self.channels_first or len(fits(codec.shape, codec.stored)) < 2:
                continue
            other = replace(codec, last=not codec.last)
            stored = inherited[self.outs[tensor]]
            wrong = [np.abs(c.decode(stored) - reference[tensor]).sum() for c in (codec, other)]
            if wrong[1] < wrong[0]:
                self.codecs[tensor] = other

    def rescale(
        self, runs: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]], tolerance: float
    ) -> None:
        """Find the factor of every channel that equalisation has scaled.

        ``runs`` are (reference's tensors, outputs) of some pictures. A channel that is proportional to
        the reference's holds the same numbers in another unit; one that is not keeps the factor that
        it has, at first 1, and shows as an error.
        """
        for tensor, codec in self.codecs.items():
            if len(codec.shape) < 2:
                continue
            plain, name = replace(codec, factors=None), self.outs[tensor]
            pairs = [(real[tensor], plain.decode(seen[name])) for real, seen in runs]
            wanted, got = (_by_channel(side) for side in zip(*pairs, strict=True))
            power = np.square(wanted).sum(axis=1)
            factors = (wanted * got).sum(axis=1) / np.where(power > 0, power, 1.0)
            left = np.square(got - factors[:, None] * wanted).sum(axis=1)
            same = left <= tolerance**2 * np.square(got).sum(axis=1)
            sound = (factors > 0) & (power > 0) & same
            known = np.ones_like(factors) if codec.factors is None else codec.factors
            self.codecs[tensor] = replace(codec, factors=np.where(sound, factors, known))

    def feeds(self, reference: Mapping[str, Array]) -> dict[str, Array]:
        """Return the severed model's new inputs, from the reference's own tensors."""
        own = {spec.name for spec in self.severed.inputs}
        fed = {}
        for tensor, name in self.feds.items():
            if name in own:
                fed[name] = self.codecs[tensor].encode(reference[tensor])
        return fed


def _by_channel(arrays: Sequence[Array]) -> Array:
    """Return (channels, values), float64, of (1, channels, ...) arrays."""
    moved = [np.moveaxis(a.astype(np.float64), 1, 0) for a in arrays]
    return np.concatenate([a.reshape(len(a), -1) for a in moved], axis=1)
