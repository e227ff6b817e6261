"""The layers of an ncnn model while they are written: blobs, parameters, weights."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.formats.ncnn_file import HALF, SIDES, Shape, own_shape

WIDEST = float(np.finfo(np.float32).max)

Parameter = int | float | Sequence[int] | Sequence[float]


@dataclass(eq=False)
class Blob:
    """What one layer gives. It has its name when the model is complete."""

    name: str = ""


@dataclass
class Layer:
    """A line of the .param, and its weights in the .bin."""

    kind: str
    name: str
    reads: list[Blob]
    gives: list[Blob]
    parameters: Mapping[int, Parameter]
    weights: bytes = b""


@dataclass
class Emission:
    """A model that grows by layers. ``half``: weights of layers that take them are float16."""

    graph: Graph
    half: bool = False
    layers: list[Layer] = field(default_factory=list)
    blobs: dict[str, Blob] = field(default_factory=dict)
    _before: dict[Blob, tuple[Blob, Shape]] = field(default_factory=dict)
    _seen: dict[tuple[str, Shape], Blob] = field(default_factory=dict)

    def layer(
        self,
        kind: str,
        node: str,
        reads: Sequence[Blob],
        parameters: Mapping[int, Parameter] | None = None,
        weights: bytes = b"",
        gives: int = 1,
    ) -> list[Blob]:
        """Add a layer and return what it gives."""
        made = [Blob() for _ in range(gives)]
        self.layers.append(Layer(kind, node, list(reads), made, parameters or {}, weights))
        return made

    def add(
        self,
        kind: str,
        node: Node,
        reads: Sequence[Blob],
        parameters: Mapping[int, Parameter] | None = None,
        weights: bytes = b"",
    ) -> Blob:
        """Add a layer of one output."""
        return self.layer(kind, node.name, reads, parameters, weights)[0]

    def own(self, name: str) -> Shape:
        """Return the shape that a tensor has in ncnn."""
        return own_shape(self.graph.shape(name))

    def read(self, name: str, shape: Shape | None = None) -> Blob:
        """Return a tensor or constant, in its own shape or in another one of as many values."""
        own = self.own(name)
        wanted = own if shape is None else shape
        if (name, wanted) in self._seen:
            return self._seen[name, wanted]
        if name in self.graph.constants:
            made = self.stored(name, self.graph.constants[name], wanted)
        else:
            made = self.reshaped(name, self.blobs[name], own, wanted)
        self._seen[name, wanted] = made
        return made

    def stored(self, name: str, value: NDArray[Any], shape: Shape) -> Blob:
        """Return a constant as a blob."""
        flat = np.ascontiguousarray(value, np.float32).reshape(shape)
        sides = dict(zip(SIDES[len(shape)], shape, strict=True))
        return self.layer("MemoryData", name, [], sides, flat.tobytes())[0]

    def reshaped(self, name: str, blob: Blob, shape: Shape, wanted: Shape) -> Blob:
        """Return ``blob``, which has ``shape``, in the shape ``wanted``."""
        if prod(shape) != prod(wanted):
            raise EdgeconvError(f"{name} gives {list(shape)} where the graph says {list(wanted)}")
        if shape == wanted:
            return blob
        source, first = self._before.get(
            blob, (blob, shape)
        )  # of two in a row the first is left out
        if first == wanted:
            return source
        sides = dict(zip(SIDES[len(wanted)], wanted, strict=True))
        (made,) = self.layer("Reshape", name, [source], sides)
        self._before[made] = source, first
        return made

    def write(
        self, node: Node, blob: Blob, shape: Shape, place: int = 0, *, clamped: bool = False
    ) -> None:
        """Give the node's output ``place``, which ``blob`` holds in ``shape``; clamp it unless it is ``clamped``."""
        name = node.outputs[place]
        if node.clamp is not None and not clamped:
            blob = self.clamp(node, blob)
        self.blobs[name] = self.reshaped(node.name, blob, shape, self.own(name))

    def clamp(self, node: Node, blob: Blob) -> Blob:
        """Return ``blob`` within the bounds of the node's clamp."""
        assert node.clamp is not None
        low, high = bounded(*node.clamp)
        if low == 0.0 and high == WIDEST:
            return self.add("ReLU", node, [blob])
        return self.add("Clip", node, [blob], {0: low, 1: high})

    def flagged(self, name: str, value: NDArray[Any]) -> bytes:
        """Return weights as a layer reads them that takes either type: a word that says which, and the values.

        Raises EdgeconvError for a value that float16 has not.
        """
        if not self.half:
            return bytes(4) + np.ascontiguousarray(value, np.float32).tobytes()
        most = float(np.abs(value).max(initial=0.0))
        if most > float(np.finfo(np.float16).max):
            raise EdgeconvError(
                f"{name} holds {most:.3g}, which float16 has not: export it with --fp32"
            )
        data = np.ascontiguousarray(value, np.float16).tobytes()
        return HALF.to_bytes(4, "little") + data + bytes(-len(data) % 4)


def bounded(low: float, high: float) -> tuple[float, float]:
    """Return bounds without infinities, which a .param cannot say."""
    return max(low, -WIDEST), min(high, WIDEST)


def activation(node: Node) -> dict[int, Parameter]:
    """Return the parameters of a weighted layer for the node's clamp."""
    if node.clamp is None:
        return {}
    low, high = bounded(*node.clamp)
    if low == 0.0 and high == WIDEST:
        return {9: 1}
    return {9: 3, 10: [low, high]}


def floats(value: NDArray[Any]) -> bytes:
    """Return weights as a layer reads them that takes float32 alone."""
    return np.ascontiguousarray(value, np.float32).tobytes()


def plain_name(name: str, most: int = 200) -> str:
    """Return a name as a .param can hold it: no spaces, and not too long.

    >>> plain_name("a b"), plain_name("")
    ('a_b', '_')
    """
    return re.sub(r"[\s\x00-\x1f]", "_", name)[-most:] or "_"
