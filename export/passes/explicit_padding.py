"""Spell out what convolutions and pools leave implicit.

Given:   Conv | ConvTranspose | AveragePool | MaxPool with auto_pad or absent attributes
Result:  kernel_shape, strides, dilations and pads always present, auto_pad gone
"""

from edgeconv.export.graph import Graph, Node

OPS = ("Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool")


def explicit_padding(graph: Graph) -> bool:
    """Apply the rewrite to every node."""
    changed = False
    for node in graph.of(*OPS):
        before = dict(node.attrs)
        kernel = list(graph.shape(node.inputs[1])[2:]) if node.op.startswith("Conv") else []
        node.attrs["kernel_shape"] = node.ints("kernel_shape", kernel)
        rank = len(node.ints("kernel_shape", ()))
        node.attrs["strides"] = node.ints("strides", [1] * rank)
        if node.op not in {"AveragePool", "LpPool"}:  # they have none before opset 19
            node.attrs["dilations"] = node.ints("dilations", [1] * rank)
        if node.op.startswith("Conv"):
            node.attrs["group"] = node.int("group", 1)
        mode = node.attrs.pop("auto_pad", "NOTSET")
        if node.op == "ConvTranspose" and (mode != "NOTSET" or "output_shape" in node.attrs):
            pads, more = _transposed_pads(graph, node, str(mode))
            node.attrs["pads"], node.attrs["output_padding"] = pads, more
            node.attrs.pop("output_shape", None)
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            node.attrs["pads"] = _same_pads(graph, node, str(mode))
        node.attrs["pads"] = node.ints("pads", [0] * (2 * rank))
        changed |= node.attrs != before
    return changed


def _same_pads(graph: Graph, node: Node, mode: str) -> list[int]:
    sizes, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    begins, ends = [], []
    for size, out, kernel, stride, dilation in zip(
        sizes,
        outs,
        node.ints("kernel_shape", ()),
        node.ints("strides", ()),
        node.ints("dilations", [1] * len(sizes)),
        strict=True,
    ):
        total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins + ends


def _transposed_pads(graph: Graph, node: Node, mode: str) -> tuple[list[int], list[int]]:
    """Return pads and output padding: where the output is larger than its products reach, no pad is
    below zero and the rest is at the end."""
    sizes, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    extra = node.ints("output_padding", [0] * len(sizes))
    begins, ends, rest = [], [], []
    for size, out, kernel, stride, dilation, more in zip(
        sizes,
        outs,
        node.ints("kernel_shape", ()),
        node.ints("strides", ()),
        node.ints("dilations", ()),
        extra,
        strict=True,
    ):
        total = stride * (size - 1) + more + (kernel - 1) * dilation + 1 - out
        rest.append(more + max(0, -total))
        total = max(0, total)
        small = total // 2
        begins.append(small if mode == "SAME_UPPER" else total - small)
        ends.append(total - small if mode == "SAME_UPPER" else small)
    return begins + ends, rest
