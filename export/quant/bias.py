"""Bias correction: give each output channel the mean that the float net has (arXiv 1906.04721).

A linear operator's mean output is its output on the mean picture, so no layer has to be run over
all pictures for it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import to_onnx
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.quant.sessions import session

Floats = NDArray[np.float32]


class MeanOutput:
    """The mean over the plane of a weighted node's output, before its activation."""

    def __init__(self, graph: Graph, node: Node) -> None:
        weights, bias = float_weights(graph, node)
        source, out = node.inputs[0], node.output
        part = Graph("mean", graph.opset, [source, "weights", "bias"], [out])
        part.nodes = [
            Node(node.op, node.name, [source, "weights", "bias"], [out], dict(node.attrs))
        ]
        part.declare(source, graph.shape(source), np.float32)
        part.declare("weights", weights.shape, np.float32)
        part.declare("bias", bias.shape, np.float32)
        part.declare(out, graph.shape(out), np.float32)
        self._session: Any = session(to_onnx(part), optimize=False)
        self._source, self._node = source, node

    def __call__(self, picture: Floats, weights: Floats, bias: Floats) -> Floats:
        """Return (out channels,) for one sample of the input's shape, real weights and real bias."""
        fed = {self._source: picture, "weights": weights, "bias": bias}
        (out,) = self._session.run(None, fed)
        return channel_means(self._node, np.asarray(out))


def channel_means(node: Node, made: NDArray[Any]) -> Floats:
    """Return the mean of each output channel of a weighted node: axis 1, of a Gemm the last."""
    axis = made.ndim - 1 if node.op == "Gemm" else 1
    others = tuple(other for other in range(made.ndim) if other != axis)
    means: Floats = made.mean(axis=others, dtype=np.float64).astype(np.float32)
    return means
