"""Small prepared graphs for the quantization tests, with seeded weights and pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Attribute, Clamp, Graph, Node

Floats = NDArray[np.float32]
RELU: Clamp = (0.0, float("inf"))


class NetBuilder:
    """Appends nodes to a prepared graph, working out their shapes for what the tests use."""

    def __init__(self, shape: Sequence[int] = (1, 3, 16, 16), seed: int = 0) -> None:
        self.graph = Graph("net", 18, ["input"], [])
        self.graph.declare("input", shape, np.float32)
        self.random = np.random.default_rng(seed)

    def add(
        self,
        op: str,
        inputs: list[str],
        shape: Sequence[int],
        clamp: Clamp | None = None,
        **attrs: Attribute,
    ) -> str:
        out = f"t{len(self.graph.nodes)}"
        self.graph.nodes.append(
            Node(op, f"{op}_{len(self.graph.nodes)}", inputs, [out], dict(attrs), clamp)
        )
        return self.graph.declare(out, shape, np.float32)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        return self.graph.add_constant(name, value)

    def conv(
        self,
        source: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        group: int = 1,
        clamp: Clamp | None = RELU,
    ) -> str:
        n, inside, height, width = self.graph.shape(source)
        fan = inside // group * kernel * kernel
        weights = self.random.normal(0, fan**-0.5, (channels, inside // group, kernel, kernel))
        pad = kernel // 2
        size = [(s + 2 * pad - kernel) // stride + 1 for s in (height, width)]
        return self.add(
            "Conv",
            [
                source,
                self.constant("weight", weights.astype(np.float32)),
                self.constant("bias", self.random.normal(0, 0.1, channels).astype(np.float32)),
            ],
            (n, channels, *size),
            clamp,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            dilations=[1, 1],
            pads=[pad] * 4,
            group=group,
        )

    def head(self, source: str, classes: int = 10) -> Graph:
        """Add global pool, reshape and Gemm, and return the graph."""
        channels = self.graph.shape(source)[1]
        pooled = self.add("GlobalAveragePool", [source], (1, channels, 1, 1))
        shape = self.constant("shape", np.array([1, channels], np.int64))
        flat = self.add("Reshape", [pooled, shape], (1, channels))
        weights = self.random.normal(0, channels**-0.5, (classes, channels)).astype(np.float32)
        logits = self.add(
            "Gemm",
            [
                flat,
                self.constant("weight", weights),
                self.constant("bias", np.zeros(classes, np.float32)),
            ],
            (1, classes),
            transB=1,
        )
        return self.finish(logits)

    def finish(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph


def residual_net() -> Graph:
    """A stem, a depthwise-separable residual block and a classifier."""
    net = NetBuilder()
    stem = net.conv("input", 8, stride=2)
    wide = net.conv(stem, 24, kernel=1, clamp=(0.0, 6.0))
    deep = net.conv(wide, 24, group=24, clamp=(0.0, 6.0))
    narrow = net.conv(deep, 8, kernel=1, clamp=None)
    return net.head(net.add("Add", [stem, narrow], net.graph.shape(stem)))


def shuffle_net() -> Graph:
    """Grouped convolutions, a channel shuffle, and a ReLU behind a Concat."""
    net = NetBuilder()
    stem = net.conv("input", 12)
    first = net.conv(stem, 12, kernel=1, group=3)
    mixed = net.add("ChannelShuffle", [first], net.graph.shape(first), groups=3)
    deep = net.conv(mixed, 12, stride=2, group=12, clamp=None)
    last = net.conv(deep, 12, kernel=1, group=3, clamp=None)
    pooled = net.add(
        "MaxPool",
        [stem],
        (1, 12, 8, 8),
        kernel_shape=[2, 2],
        strides=[2, 2],
        pads=[0] * 4,
        dilations=[1, 1],
    )
    return net.head(net.add("Concat", [pooled, last], (1, 24, 8, 8), RELU, axis=1))


def pictures(graph: Graph, count: int = 12, seed: int = 1) -> list[dict[str, Floats]]:
    """Smooth random pictures with different means, (1, ...) for every input."""
    random = np.random.default_rng(seed)
    feeds = []
    for _ in range(count):
        feed = {}
        for name in graph.inputs:
            shape = graph.shape(name)
            noise = random.normal(0, 0.5, shape) + random.normal(
                0, 0.5, (*shape[:2], *[1] * (len(shape) - 2))
            )
            feed[name] = np.clip(noise, -1, 1).astype(np.float32)
        feeds.append(feed)
    return feeds
