"""The input columns of a convolution at sampled places, and the Hessian that GPTQ needs."""

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.quant.workspace import channels_last
from edgeconv.recipe import Activation

MOST_ROWS = 4096
DEPTHWISE_ROWS = 1536
MOST_COLUMNS = 1536
"""Inputs of one output whose rounding is chosen together: the cost grows with their cube, and more
would be more than MOST_ROWS tells anything about."""
SLICE = 32
"""Pictures whose columns are held at once."""


def hessian(
    graph: Graph, node: Node, stored: NDArray[np.uint8], quantization: Activation
) -> NDArray[np.float32] | None:
    """Return (groups, k, k), the sum of x x^T over sampled input columns of a Conv or Gemm.

    A layer without groups that has more than MOST_COLUMNS inputs is cut into blocks of input
    channels: (blocks, k / blocks, k / blocks).
    ``stored`` is the uint8 input of all pictures, (pictures, ...) or (pictures, batch, ...); every
    row (token) of a Gemm's input is a sample. None for operators that GPTQ is not used on.
    """
    shape = graph.shape(node.inputs[0])
    if node.op == "Gemm":
        real = _real(stored.reshape(-1, shape[-1]), quantization)
        cut = np.ascontiguousarray(real.T).reshape(_blocks(shape[-1], 1), -1, len(real))
        return cut @ cut.transpose(0, 2, 1)
    if node.op != "Conv" or len(shape) != 4:
        return None
    stored = stored.reshape(-1, *shape[1:])  # the rows of a batch are pictures too
    weights = graph.constants[node.inputs[1]]
    group, size = node.int("group", 1), int(np.prod(weights.shape[1:]))
    wanted = DEPTHWISE_ROWS if size <= 64 else int(np.clip(4 * size, 1024, MOST_ROWS))
    places = _places(graph, node, max(1, -(-wanted // len(stored))))
    if group == 1:
        group = _blocks(weights.shape[1], size // weights.shape[1])
        size //= group
    total = np.zeros((group, size, size), np.float32)
    for start in range(0, len(stored), SLICE):
        columns = _columns(node, stored[start : start + SLICE], places, quantization)
        real = _real(columns, quantization).reshape(group, size, -1)
        total += real @ real.transpose(0, 2, 1)
    return total


def _blocks(channels: int, taps: int) -> int:
    """Return into how many equal blocks of whole channels a layer's inputs are cut."""
    fitting = (n for n in range(1, channels) if channels % n == 0)
    return next((n for n in fitting if channels * taps <= n * MOST_COLUMNS), 1)


def _real(stored: NDArray[np.uint8], quantization: Activation) -> NDArray[np.float32]:
    # in C order: products of other strides go past BLAS, ten times slower
    values = np.ascontiguousarray(stored).astype(np.float32)
    values -= np.float32(quantization.zero_point + 128)
    values *= np.float32(quantization.scale)
    return values


def _places(graph: Graph, node: Node, count: int) -> NDArray[np.int64]:
    """Return which output places to sample: rows of (pictures mod SLICE, count), flat indices."""
    height, width = graph.shape(node.output)[2:]
    size = height * width
    if count >= size:
        return np.tile(np.arange(size), (SLICE, 1))
    draw = np.random.default_rng(size).random((SLICE, count))
    return ((np.arange(count) + draw) * (size / count)).astype(np.int64)


def _columns(
    node: Node,
    stored: NDArray[np.uint8],
    places: NDArray[np.int64],
    quantization: Activation,
) -> NDArray[np.uint8]:
    """Return (channels, taps, columns) of the padded uint8 input."""
    kernel, strides = node.ints("kernel_shape", ()), node.ints("strides", [1, 1])
    dilations, pads = node.ints("dilations", [1, 1]), node.ints("pads", [0] * 4)
    n, channels = stored.shape[:2]
    zero = quantization.zero_point + 128
    rows = channels_last(stored)
    if any(pads):
        border = ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0))
        rows = np.pad(rows, border, constant_values=zero)
    wide = rows.shape[2]
    out_width = (wide - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    taps = [
        i * dilations[0] * wide + j * dilations[1]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    flat = rows.reshape(n, -1, channels)
    parts = []
    for i in range(n):
        row, column = np.divmod(places[i % len(places)], out_width)
        corner = row * strides[0] * wide + column * strides[1]
        met = flat[i][np.add.outer(np.array(taps), corner)]
        parts.append(np.ascontiguousarray(met.transpose(2, 0, 1)))  # while it is in the cache
    return np.concatenate(parts, axis=2)
