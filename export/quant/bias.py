"""Bias correction: give each output channel the mean that the float net has (arXiv 1906.04721).

A linear operator's mean output is its output on the mean picture, so no layer has to be run over
all pictures for it. Where a picture is one vector, its mean over the pictures follows a few of them: there each
counts by itself, so that what may be chance is told from what is not.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import to_onnx
from edgeconv.export.quant.sessions import session

Floats = NDArray[np.float32]

SHARED = 0.5
"""The share of the variance between pictures that counts against a shift: torchvision's MobileNetV2 gains 2 dB by
the whole, MobileNetV1 0.25 loses 0.1; a third gives 1.3 and 0."""
DOUBT = 2.0
"""Variances of chance that a layer's mean shift must exceed to be taken at all."""


class MeanOutput:
    """The mean over the plane of a weighted node's output, before its activation."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node = graph, node
        self._by_taps = node.op == "Conv" and len(graph.shape(node.inputs[0])) == 4

    def __call__(self, picture: Floats, weights: Floats, bias: Floats) -> Floats:
        """Return (out channels,) for one sample of the input's shape, real weights and real bias."""
        if not self._by_taps:
            return channel_means(self._node, _run(self._graph, self._node, picture, weights, bias))
        group = self._node.int("group", 1)
        taps = tap_means(self._node, picture, self._graph.shape(self._node.output)[2:])
        flat = weights.reshape(group, len(bias) // group, -1)
        means: Floats = (flat @ taps.reshape(group, -1, 1)).ravel() + bias
        return means


def tap_means(node: Node, picture: Floats, plane: tuple[int, ...]) -> Floats:
    """Return (channels, kernel height, kernel width): the mean of what each weight of a Conv meets.

    ``picture`` is its input, (n, C, H, W), and ``plane`` (height, width) of its output.
    """
    height, width = node.ints("kernel_shape", ())
    (down, right), (tall, broad) = node.ints("strides", [1, 1]), node.ints("dilations", [1, 1])
    pads = node.ints("pads", [0] * 4)
    whole = np.pad(picture, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    means = np.empty((picture.shape[1], height, width), np.float32)
    for j in range(width):
        met = whole[..., j * broad :: right][..., : plane[1]].mean(axis=(0, 3), dtype=np.float64)
        for i in range(height):
            means[:, i, j] = met[:, i * tall :: down][:, : plane[0]].mean(axis=1)
    return means


def _run(graph: Graph, node: Node, picture: Floats, weights: Floats, bias: Floats) -> Floats:
    """Run the node alone, in float."""
    source, out = node.inputs[0], node.output
    part = Graph("mean", graph.opset, [source, "weights", "bias"], [out])
    part.nodes = [Node(node.op, node.name, [source, "weights", "bias"], [out], dict(node.attrs))]
    part.declare(source, graph.shape(source), np.float32)
    part.declare("weights", weights.shape, np.float32)
    part.declare("bias", bias.shape, np.float32)
    part.declare(out, graph.shape(out), np.float32)
    fed = {source: picture, "weights": weights, "bias": bias}
    (made,) = session(to_onnx(part), optimize=False).run(None, fed)
    return np.asarray(made)


def channel_axis(node: Node, rank: int) -> int:
    """Return where a weighted node's output has its channels: axis 1, of a Gemm the last."""
    return rank - 1 if node.op == "Gemm" else 1


def is_vector(graph: Graph, node: Node) -> bool:
    """Whether each picture is one vector to ``node``, (1, k) or (1, k, 1, ...), which a (out, k) matrix multiplies."""
    if node.op not in ("Conv", "Gemm") or node.int("group", 1) != 1:
        return False
    shape, weights = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    return shape[:2] == (1, math.prod(shape)) and math.prod(weights[1:]) == shape[1]


def likely(each: Floats, shift: Floats | None = None) -> Floats:
    """Return the mean shift of each channel over pictures (n, channels), less where they do not share it.

    ``shift`` is a better mean than that of ``each``. What clipping takes from the few pictures with extremes is
    in the mean of all, and moving all others by it does more harm than good. Where a few values are behind a
    mean (an output of one pixel, a channel that hardly ever fires) the plain mean follows the last bit of
    float sums.
    """
    mean, chance = _shift(each)
    wanted = mean if shift is None else shift.astype(np.float64)
    spread = chance * max(1.0, SHARED * (len(each) - 1))
    kept: Floats = (wanted**3 / np.maximum(wanted**2 + spread, 1e-30)).astype(np.float32)
    return kept


def likely_together(each: Floats) -> Floats:
    """Return the mean shift of each channel over pictures (n, channels), all less by the share that may be chance.

    Channels that read the same few values share their luck: together they say how much of it is in
    them (James and Stein's estimate).
    """
    shift, chance = _shift(each)
    share = DOUBT * float(chance.sum()) / max(float((shift**2).sum()), 1e-30)
    kept: Floats = (max(0.0, 1.0 - share) * shift).astype(np.float32)
    return kept


def _shift(each: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over pictures and the variance that chance gives it."""
    variance = each.var(axis=0, dtype=np.float64) / max(len(each) - 1, 1)
    return each.mean(axis=0, dtype=np.float64), variance


def channel_means(node: Node, made: NDArray[Any]) -> Floats:
    """Return the mean of each output channel of a weighted node."""
    others = tuple(other for other in range(made.ndim) if other != channel_axis(node, made.ndim))
    means: Floats = made.mean(axis=others, dtype=np.float64).astype(np.float32)
    return means
