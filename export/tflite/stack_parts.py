"""Put a Concat's parts one above the other where a 1x1 convolution reads them: that is one copy a part.

    Given:   a, b (C, H, W) -> Concat of channels (2C, H, W) -> Conv(1 x 1) -> y
    Result:  a, b -> Concat of rows (C, 2H, W) -> Conv(2 x 1, rows H apart) -> y

Exact to the bit: the same products in the same sum. XNNPACK joins channels pixel by pixel, some 40
instructions for each part of each pixel, and rows as a whole.
"""

from dataclasses import replace

from edgeconv.export.graph import Node
from edgeconv.export.integer.pair import Pair
from edgeconv.export.rewrites.part_strides import VECTOR, joins_integers

COPY, PRODUCT, LOOKUP = 37, 0.25, 2.75
"""Instructions of a Pi 4 to copy one part of one pixel, for a product of bytes, and to look up a part for one output."""


def stack_parts(pair: Pair) -> int:
    """Apply the rewrite wherever it fits; return how many Concats were stacked."""
    return sum(_stack(pair, concat) for concat in list(pair.graph.of("Concat")))


def _stack(pair: Pair, concat: Node) -> bool:
    graph = pair.graph
    conv = graph.sole_reader(concat.output)
    if conv is None or conv.inputs[0] != concat.output or not _is_pointwise(pair, conv):
        return False
    if not joins_integers(pair, concat):
        return False
    widths = {graph.shape(name)[1] for name in concat.inputs}
    n, channels, height, width = graph.shape(concat.output)
    count, rows = len(concat.inputs), graph.shape(conv.output)[1]
    inside = channels // count
    if n != 1 or len(widths) != 1 or not _pays(inside, count, rows):
        return False
    stacked = pair.add_tensor(concat.output, "stacked", (n, inside, count * height, width))
    concat.outputs, concat.attrs["axis"] = [stacked], 2
    weights = pair.weights[conv.name]
    values = weights.values.reshape(rows, count, inside).swapaxes(1, 2)[..., None].copy()
    conv.inputs[0] = stacked
    pair.set_layer(conv, replace(weights, values=values))
    conv.attrs |= {"kernel_shape": [count, 1], "dilations": [height, 1]}
    return True


def _pays(inside: int, count: int, rows: int) -> bool:
    """Whether ``count`` copies cost more than what kernels fill each part's channels up with, and its lookup."""
    added = count * _filled(inside) - _filled(count * inside)
    return COPY * count > _filled(rows) * (PRODUCT * added + LOOKUP)


def _filled(channels: int) -> int:
    return -(-channels // VECTOR) * VECTOR


def _is_pointwise(pair: Pair, conv: Node) -> bool:
    if conv.op != "Conv" or conv.int("group", 1) != 1 or not pair.is_integer(conv):
        return False
    ones = [*conv.ints("kernel_shape", [1]), *conv.ints("strides", [1])]
    return max(ones) == 1 and max(conv.ints("pads", [0])) == 0
