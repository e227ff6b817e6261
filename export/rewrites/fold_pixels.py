"""Let the first convolution read neighbouring pixels of a row as one position with more channels.

    Given:   pixels (1, 3, H, W) -> Conv(3 x 3, stride 2) -> y (1, O, H', W')
    Result:  four neighbours a position, (1, 12, H, W/4) -> Conv(3 x 2, stride 2 x 1)
             -> two windows a position, (1, 2 O, H', W'/2) -> y

Exact to the bit: every output is the same sum, with products by zero added. Integer kernels take
channels in fours or eights, which three colours leave partly empty.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.integer.pair import Pair
from edgeconv.recipe import Weights

FOUR = 4
STRIDE = 2


@dataclass(frozen=True)
class Columns:
    """How windows of ``kernel`` columns, ``stride`` apart, lie on positions of ``pixels`` columns.

    The first window starts ``pad`` columns left of the picture.
    """

    kernel: int
    stride: int
    pad: int
    pixels: int

    @property
    def windows(self) -> int:
        """Windows that start in one position."""
        return self.pixels // self.stride

    @property
    def before(self) -> int:
        """Positions that they read left of their own."""
        return -(-self.pad // self.pixels)

    @property
    def taps(self) -> int:
        """Positions that they read in all."""
        last = (self.windows - 1) * self.stride - self.pad + self.kernel - 1
        return self.before + last // self.pixels + 1

    def fold(self, kernels: Array) -> Array:
        """Return kernels (O, C, kh, kw) as (windows, O, C, pixels, kh, taps)."""
        outputs, colours, height, width = kernels.shape
        shape = (self.windows, outputs, colours, self.pixels, height, self.taps)
        folded = np.zeros(shape, kernels.dtype)
        for window in range(self.windows):
            for column in range(width):
                at = self.before * self.pixels + window * self.stride - self.pad + column
                tap, pixel = divmod(at, self.pixels)
                folded[window, :, :, pixel, :, tap] = kernels[:, :, :, column]
        return folded


def fold_four(pair: Pair) -> int:
    """Fold four pixels and two windows a position, for onnxruntime; return how many inputs were folded.

    Channels are ordered by colour, then pixel: four bytes that stay together move faster than one.
    """
    graph, count = pair.graph, 0
    for picture, conv in _stems(pair):
        columns = _fitting(graph, conv, FOUR)
        if columns is None or columns.stride != STRIDE or graph.shape(picture)[1] >= FOUR:
            continue
        n, colours, height, width = graph.shape(picture)
        moves = _Moves(pair, picture, graph.nodes.index(conv))
        moves.reshape((n, colours, height, width // FOUR, FOUR))
        moves.transpose((0, 2, 3, 1, 4))
        moves.reshape((n, height, width // FOUR, colours * FOUR))
        _read_folded(pair, conv, columns, moves.transpose((0, 3, 1, 2)), (0, 1, 2, 3, 4, 5))
        _unfold_windows(pair, conv, columns.windows)
        count += 1
    return count


def fold_stride(pair: Pair) -> int:
    """Fold as many pixels as the stride, one window a position, for TFLite; return how many inputs.

    Channels are ordered by pixel, then colour: channels last, nothing moves at all.
    """
    graph, count = pair.graph, 0
    for picture, conv in _stems(pair):
        columns = _fitting(graph, conv, conv.ints("strides", [])[1])
        if columns is None or not _saves(columns, graph.shape(picture)[1]):
            continue
        n, colours, height, width = graph.shape(picture)
        moves = _Moves(pair, picture, graph.nodes.index(conv))
        moves.transpose((0, 2, 3, 1))
        moves.reshape((n, height, width // columns.pixels, columns.pixels * colours))
        _read_folded(pair, conv, columns, moves.transpose((0, 3, 1, 2)), (0, 1, 3, 2, 4, 5))
        count += 1
    return count


def _stems(pair: Pair) -> Iterator[tuple[str, Node]]:
    """Yield each border picture that one integer convolution reads, and that convolution."""
    for picture in pair.border_pictures():
        conv = pair.graph.sole_reader(picture)
        if conv is None or conv.op != "Conv" or conv.int("group", 1) != 1:
            continue
        if pair.is_integer(conv) and max(conv.ints("dilations", [1])) == 1:
            yield picture, conv


def _fitting(graph: Graph, conv: Node, pixels: int) -> Columns | None:
    """Return how a stem's windows lie on positions of ``pixels``; None where they do not."""
    width, made = graph.shape(conv.inputs[0])[3], graph.shape(conv.output)[3]
    stride, pad = conv.ints("strides", [])[1], conv.ints("pads", [])[1]
    columns = Columns(graph.shape(conv.inputs[1])[3], stride, pad, pixels)
    if pixels == 1 or pixels % stride or width % pixels:
        return None
    return columns if made == width // pixels * columns.windows else None


def _saves(columns: Columns, colours: int) -> bool:
    """Whether a row takes fewer steps of eight channels than before."""
    wide = -(-colours * columns.pixels // 8)
    return columns.taps * wide < columns.kernel * -(-colours // 8)


def _read_folded(
    pair: Pair, conv: Node, columns: Columns, source: str, order: tuple[int, ...]
) -> None:
    """Make the convolution read ``source``; ``order`` arranges the axes of ``Columns.fold``."""
    weights, (top, _, bottom, _) = pair.weights[conv.name], conv.ints("pads", [])
    folded = columns.fold(weights.values).transpose(order)
    windows, outputs, first, second, height, taps = folded.shape
    values = folded.reshape(windows * outputs, first * second, height, taps)
    conv.inputs[0] = source
    pair.set_layer(conv, _repeated(replace(weights, values=values), windows))
    conv.attrs["kernel_shape"] = [height, taps]
    conv.attrs["strides"] = [conv.ints("strides", [])[0], 1]
    conv.attrs["pads"] = [top, columns.before, bottom, taps - 1 - columns.before]


def _repeated(weights: Weights, times: int) -> Weights:
    """Repeat everything but the values, once a window."""
    return replace(
        weights,
        scales=np.tile(weights.scales, times),
        bias=np.tile(weights.bias, times),
        float_bias=np.tile(weights.float_bias, times),
    )


def _unfold_windows(pair: Pair, conv: Node, windows: int) -> None:
    """Put the windows of a position, side by side in the channels, side by side in the row."""
    graph, made = pair.graph, conv.output
    n, channels, rows, columns = graph.shape(made)
    folded = (n, windows * channels, rows, columns // windows)
    conv.outputs[0] = pair.add_tensor(made, "folded", folded)
    moves = _Moves(pair, conv.output, graph.nodes.index(conv) + 1)
    moves.transpose((0, 2, 3, 1))
    moves.reshape((n, rows, columns, channels))
    moves.transpose((0, 3, 1, 2), made)


class _Moves:
    """Operators put in one behind the other, from ``tensor`` on, that only move its integers."""

    def __init__(self, pair: Pair, tensor: str, at: int) -> None:
        self._pair, self._graph, self._at = pair, pair.graph, at
        self._tensor = self._stem = tensor

    def reshape(self, shape: Sequence[int]) -> str:
        """Append a Reshape."""
        target = self._graph.add_constant("folded_shape", np.array(shape, np.int64))
        made = self._pair.add_tensor(self._stem, "reshaped", shape)
        return self._append(Node("Reshape", "", [self._tensor, target], [made]))

    def transpose(self, order: Sequence[int], made: str | None = None) -> str:
        """Append a Transpose, to the existing tensor ``made`` or a new one."""
        shape = [self._graph.shape(self._tensor)[axis] for axis in order]
        made = made or self._pair.add_tensor(self._stem, "transposed", shape)
        return self._append(Node("Transpose", "", [self._tensor], [made], {"perm": list(order)}))

    def _append(self, node: Node) -> str:
        node.name = self._graph.fresh(f"{node.output}_{node.op.lower()}")
        self._graph.nodes.insert(self._at, node)
        self._at, self._tensor = self._at + 1, node.output
        return node.output
