"""Memory and quantized pictures that several layer-by-layer runs share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.integer.rules import is_pixel_shift
from edgeconv.export.quant.observe import SUMMED, Feeds
from edgeconv.recipe import Activation, Recipe, quantize_values

Tensor = NDArray[Any]


class Workspace:
    """What runs over (a head of) the same pictures reuse.

    Fresh pages from the system cost more than the layer that fills them, so tensors that are done
    with give their memory to later ones. Pictures are stored as integers once a scale.
    """

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._free: list[NDArray[np.uint8]] = []
        self._inputs: dict[tuple[str, str, Activation | None], Tensor] = {}

    def pictures(self, graph: Graph, recipe: Recipe, count: int) -> dict[str, Tensor]:
        """Return the graph's inputs over the first ``count`` pictures as they are stored.

        That is (n, ...) for inputs of (1, ...), else (n, the input's own shape). Centred pixels,
        which are stored at once, are there under their own name too.
        """
        made = {name: self._stored(recipe, name, name, None) for name in graph.inputs}
        for node in graph.nodes:
            if is_pixel_shift(graph, node) and node.output in recipe.activations:
                shift = graph.constants[node.inputs[1]]
                made[node.output] = self._stored(recipe, node.inputs[0], node.output, shift)
        return {name: value[:count] for name, value in made.items()}

    def _stored(self, recipe: Recipe, source: str, name: str, shift: Tensor | None) -> Tensor:
        key = (source, name, recipe.activations.get(name))
        if key not in self._inputs:
            pieces = (np.asarray(feed[source]) for feed in self._feeds)
            parts = [store(real if shift is None else real - shift, key[2]) for real in pieces]
            joined = parts[0].shape[:1] == (1,)
            self._inputs[key] = np.concatenate(parts) if joined else np.stack(parts)
        return self._inputs[key]

    def take(self, shape: Sequence[int], kind: DTypeLike, *, turn: bool = False) -> Tensor:
        """Return memory of any content; ``turn``: (n, C, H, W) lies with its channels last."""
        dtype = np.dtype(kind)
        size = int(np.prod(shape)) * dtype.itemsize
        fitting = [buffer for buffer in self._free if buffer.nbytes >= size]
        buffer = min(fitting, key=lambda b: b.nbytes, default=None)
        if buffer is None:
            buffer = np.empty(size, np.uint8)
        else:
            self._free = [other for other in self._free if other is not buffer]
        flat = buffer[:size].view(dtype)
        if not turn or len(shape) != 4:
            return flat.reshape(shape)
        n, channels, height, width = shape
        return np.moveaxis(flat.reshape(n, height, width, channels), 3, 1)

    def give(self, tensor: Tensor) -> None:
        """Take back what ``take`` returned."""
        buffer = tensor
        while isinstance(buffer.base, np.ndarray):
            buffer = buffer.base
        self._free.append(buffer)


def store(real: Tensor, quantization: Activation | None) -> Tensor:
    """Return real values (n, ...) as a run keeps them: uint8, or as they are without a scale."""
    if quantization is None:
        return np.asarray(real)
    return quantize_values(real, quantization).view(np.uint8) ^ np.uint8(128)


def real(stored: Tensor, quantization: Activation | None) -> Tensor:
    """Undo ``store`` but for the rounding."""
    if quantization is None:
        return np.array(stored)
    steps = stored.astype(np.float32) - (quantization.zero_point + 128)
    return steps * np.float32(quantization.scale)


def channels_last(tensor: Tensor) -> Tensor:
    """Return a view of (n, C, H, W) as (n, H, W, C); of other ranks the tensor itself."""
    return np.moveaxis(tensor, 1, 3) if tensor.ndim == 4 else tensor


def mean(stored: Tensor) -> NDArray[np.float64]:
    """Return the mean over the pictures of uint8 (n, ...), of shape (1, ...)."""
    rows = channels_last(stored)
    total = np.zeros((1, *rows.shape[1:]), np.uint32)
    for start in range(0, len(rows), SUMMED):
        total += np.add.reduce(rows[start : start + SUMMED], axis=0, dtype=np.uint16, keepdims=True)
    result: NDArray[np.float64] = total / np.float64(len(stored))
    return np.moveaxis(result, 3, 1) if stored.ndim == 4 else result
