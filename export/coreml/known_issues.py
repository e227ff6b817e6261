"""Public reports of wrong results or refusals by Core ML, matched against a graph.

They are hearsay to us: nothing here ran on an Apple device. A match is a reason to verify on the
device, no more; where an exact rewrite avoids the reported pattern, ``avoid`` applies it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import WEIGHTED


@dataclass(frozen=True)
class Target:
    """What is emitted: "fp32", "fp16" or "int8"; half-precision compute; the oldest iOS."""

    precision: str
    half: bool
    min_ios: int
    weights_only: bool = False
    avoiding: bool = False


@dataclass(frozen=True)
class KnownIssue:
    """One report: ``find`` gives the names of matching nodes; ``cure`` is "" where there is none."""

    key: str
    link: str
    says: str
    find: Callable[[Graph, Target], list[str]]
    cure: str = ""


@dataclass(frozen=True)
class Warned:
    """A report that a graph matches."""

    issue: KnownIssue
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.nodes) - 1} more" if len(self.nodes) > 1 else ""
        cure = f"; --avoid-known-issues {self.issue.cure}" if self.issue.cure else ""
        return (
            f"verify on device: {self.issue.says} ({self.issue.link}); "
            f"here {self.nodes[0]}{more}{cure}"
        )


def known_issues(graph: Graph, target: Target) -> list[Warned]:
    """Return every report whose pattern the graph to be emitted holds."""
    found = [(issue, issue.find(graph, target)) for issue in KNOWN]
    return [Warned(issue, tuple(nodes)) for issue, nodes in found if nodes]


def _grouped(graph: Graph, node: Node) -> bool:
    return 1 < node.int("group", 1) < graph.shape(node.inputs[0])[1]


def _grouped_with_activation(graph: Graph, target: Target) -> list[str]:
    del target
    return [n.name for n in graph.of("Conv") if n.clamp is not None and _grouped(graph, n)]


def _even_padded_stride(graph: Graph, target: Target) -> list[str]:
    del target
    return [
        node.name
        for node in graph.of("Conv")
        if any(node.ints("pads", ()))
        and max(node.ints("strides", (1,))) > 1
        and any(size % 2 == 0 for size in node.ints("kernel_shape", ()))
    ]


def _wide_average(graph: Graph, target: Target) -> list[str]:
    del target
    return [
        node.name
        for node in graph.of("AveragePool")
        if any(node.ints("pads", ())) and max(node.ints("kernel_shape", (1,))) > 3
    ]


def _ceil_average(graph: Graph, target: Target) -> list[str]:
    del target
    return [n.name for n in graph.of("AveragePool") if n.int("ceil_mode", 0)]


def _signed_weights(graph: Graph, target: Target) -> list[str]:
    if target.precision != "int8" or target.min_ios >= 18:
        return []
    if target.weights_only or target.avoiding:  # written as uint8
        return []
    return [node.name for node in graph.of(*WEIGHTED)]


def _compressed_weights(graph: Graph, target: Target) -> list[str]:
    if target.precision != "int8":
        return []
    return [node.name for node in graph.of(*WEIGHTED)]


def _half_mish(graph: Graph, target: Target) -> list[str]:
    return [n.name for n in graph.of("Mish", "Softplus")] if target.half else []


def _half_hard_swish(graph: Graph, target: Target) -> list[str]:
    return [n.name for n in graph.of("HardSwish")] if target.half else []


def _half_slope(graph: Graph, target: Target) -> list[str]:
    return [n.name for n in graph.of("LeakyRelu", "PRelu")] if target.half else []


COREMLTOOLS = "https://github.com/apple/coremltools/issues"

KNOWN: tuple[KnownIssue, ...] = (
    KnownIssue(
        "grouped-conv-activation",
        "https://pypi.org/project/onnx2coreml/",
        "a grouped convolution fused with an activation was reported to compute wrong values on "
        "macOS 26, in fp32 too (test-suite note of onnx2coreml 1.1.0, a single source)",
        _grouped_with_activation,
        "moves the activation behind the channel shuffle where one follows",
    ),
    KnownIssue(
        "even-kernel-stride",
        f"{COREMLTOOLS}/2515",
        "a strided, padded convolution with an even kernel side was reported wrong in its last pixel",
        _even_padded_stride,
        "pads in front of the convolution instead",
    ),
    KnownIssue(
        "wide-average-pool",
        f"{COREMLTOOLS}/1901",
        "a padded average pool of 7x7 at stride 4 was reported to give sums instead of averages",
        _wide_average,
        "averages by a depthwise convolution instead, where padding is counted",
    ),
    KnownIssue(
        "ceil-average-pool",
        f"{COREMLTOOLS}/2772",
        "average pools with ceil_mode count the overhang as padding; we divide by our own counts "
        "where that differs",
        _ceil_average,
    ),
    KnownIssue(
        "signed-int8-weights",
        f"{COREMLTOOLS}/2114",
        "int8 weights with zero point 0 gave wrong results on GPU and Neural Engine when activations "
        "were not quantized",
        _signed_weights,
        "stores the same weights as uint8 with zero point 128 (--min-ios 18 avoids them as well)",
    ),
    KnownIssue(
        "compressed-weights-on-cpu",
        "https://github.com/kasper0406/stablehlo-coreml/pull/110",
        "layers with int8 constexpr weights were seen planned for the CPU alone on an M4: look at "
        "the compute plan",
        _compressed_weights,
    ),
    KnownIssue(
        "half-mish",
        f"{COREMLTOOLS}/2359",
        "Mish in float16 was reported far off on the Neural Engine",
        _half_mish,
    ),
    KnownIssue(
        "half-hard-swish",
        f"{COREMLTOOLS}/2625",
        "MobileNetV3, whose activation this is, was reported far off in float16",
        _half_hard_swish,
    ),
    KnownIssue(
        "half-leaky-relu",
        f"{COREMLTOOLS}/1671",
        "leaky ReLU behind a convolution was reported to differ between GPU and CPU in float16",
        _half_slope,
    ),
)
"""The table; the newest coremltools that these reports are about is 9.0."""


def avoid(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """Return ``graph`` with the reported patterns rewritten exactly, where that is possible.

    Tensor names are kept wherever a tensor keeps its values. The mapping gives, for each new
    tensor, the one whose scale it shares.
    """
    changed = graph.clone()
    _move_activations(changed)
    shared = _pad_in_front(changed)
    _average_by_convolution(changed)
    changed.sort()
    return changed, shared


def _move_activations(graph: Graph) -> None:
    """Conv(grouped, clamp) -> ChannelShuffle becomes Conv -> ChannelShuffle(clamp).

    A clamp acts on each element alone, so it commutes with a permutation of channels.
    """
    readers = graph.consumers()
    for node in graph.of("Conv"):
        if node.clamp is None or not _grouped(graph, node) or node.output in graph.outputs:
            continue
        after = readers.get(node.output, [])
        if len(after) == 1 and after[0].op == "ChannelShuffle" and after[0].clamp is None:
            after[0].clamp, node.clamp = node.clamp, None
            unclamped = graph.fresh(f"{node.output}_unclamped")
            graph.rename(node.output, unclamped)


def _pad_in_front(graph: Graph) -> dict[str, str]:
    """Conv(pads) with an even kernel side and a stride becomes Pad -> Conv(no pads)."""
    shared: dict[str, str] = {}
    chosen = set(_even_padded_stride(graph, Target("fp32", False, 16)))
    for node in graph.of("Conv"):
        if node.name not in chosen:
            continue
        axes = len(node.ints("kernel_shape", ()))
        pads = node.ints("pads", [0] * 2 * axes)
        widths = [0, 0, *pads[:axes], 0, 0, *pads[axes:]]
        source = node.inputs[0]
        shape = list(graph.shape(source))
        for axis in range(axes):
            shape[axis + 2] += pads[axis] + pads[axis + axes]
        padded = graph.declare(graph.fresh(f"{source}_padded"), shape, graph.dtype(source))
        constant = graph.add_constant(f"{node.name}_pads", np.array(widths, np.int64))
        place = graph.nodes.index(node)
        name = graph.fresh(f"{node.name}_pad")
        graph.nodes.insert(place, Node("Pad", name, [source, constant], [padded]))
        node.inputs[0], node.attrs["pads"] = padded, [0] * 2 * axes
        shared[padded] = source
    return shared


def _average_by_convolution(graph: Graph) -> None:
    """A padded AveragePool that counts its padding becomes a depthwise Conv of 1/size weights."""
    chosen = set(_wide_average(graph, Target("fp32", False, 16)))
    for node in graph.of("AveragePool"):
        if node.name not in chosen or not node.int("count_include_pad", 0):
            continue
        if node.int("ceil_mode", 0):
            continue
        kernel = node.ints("kernel_shape", ())
        channels = graph.shape(node.inputs[0])[1]
        share = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
        node.inputs.append(graph.add_constant(f"{node.name}_weight", share))
        node.op = "Conv"
        node.attrs = {
            "kernel_shape": kernel,
            "strides": node.ints("strides", [1] * len(kernel)),
            "pads": node.ints("pads", ()),
            "dilations": [1] * len(kernel),
            "group": channels,
        }
