"""Pooling and reductions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.coreml.lowering import Lower, Lowering, integers_of, interleave
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry


def _window(node: Node) -> dict[str, Any]:
    kernel = node.ints("kernel_shape", ())
    pads = node.ints("pads", [0] * 2 * len(kernel))
    arguments: dict[str, Any] = {
        "kernel_sizes": kernel,
        "strides": node.ints("strides", [1] * len(kernel)),
        "ceil_mode": bool(node.int("ceil_mode", 0)),
        "pad_type": "valid",
    }
    if any(pads):
        arguments |= {"pad_type": "custom", "pad": interleave(pads)}
    return arguments


def _max_pool(c: Lowering, node: Node, name: str) -> Any:
    arguments = _window(node)
    if arguments["ceil_mode"] and "pad" in arguments:
        # MIL wants equal padding with ceil_mode; padding out to the last window needs none
        arguments |= {"ceil_mode": False, "pad": interleave(_reaching(c.graph, node))}
    return c.mb.max_pool(x=c.read(node), name=name, **arguments)


def _reaching(graph: Graph, node: Node) -> list[int]:
    """Return ONNX's pads with what the last window of each axis sticks out added behind."""
    over = _overflow(graph, node)
    pads = node.ints("pads", [0] * 2 * len(over))
    return [*pads[: len(over)], *(a + b for a, b in zip(pads[len(over) :], over, strict=True))]


def _average_pool(c: Lowering, node: Node, name: str) -> Any:
    if node.int("count_include_pad", 0) and any(_overflow(c.graph, node)):
        return _counted_average(c, node, name)
    arguments = _window(node)
    if arguments["ceil_mode"] and "pad" in arguments:
        arguments |= {"ceil_mode": False, "pad": interleave(_reaching(c.graph, node))}
    exclude = not node.int("count_include_pad", 0)
    return c.mb.avg_pool(
        x=c.read(node), exclude_padding_from_average=exclude, name=name, **arguments
    )


def _overflow(graph: Graph, node: Node) -> list[int]:
    """Return by how much the last window of each axis sticks out of the padded input."""
    kernel = node.ints("kernel_shape", ())
    strides, pads = (
        node.ints("strides", [1] * len(kernel)),
        node.ints("pads", [0] * 2 * len(kernel)),
    )
    before, after = pads[: len(kernel)], pads[len(kernel) :]
    sizes, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    return [
        max((out - 1) * stride + k - (size + low + high), 0)
        for out, stride, k, size, low, high in zip(
            outs, strides, kernel, sizes, before, after, strict=True
        )
    ]


def _counted_average(c: Lowering, node: Node, name: str) -> Any:
    """Sum by a depthwise convolution of ones, then divide by each window's own count.

    MIL counts the overhang of ceil_mode as padding, ONNX never counts it
    (https://github.com/apple/coremltools/issues/2772).
    """
    kernel = node.ints("kernel_shape", ())
    strides, pads = (
        node.ints("strides", [1] * len(kernel)),
        node.ints("pads", [0] * 2 * len(kernel)),
    )
    channels = c.shape(node.inputs[0])[1]
    total = c.mb.conv(
        x=c.read(node),
        weight=np.ones((channels, 1, *kernel), np.float32),
        strides=strides,
        groups=channels,
        pad_type="custom",
        pad=interleave(_reaching(c.graph, node)),
        name=c.name(f"{name}_total"),
    )
    shares = _shares(c.graph, node, kernel, strides, pads)
    return c.mb.mul(x=total, y=shares, name=name)


def _shares(
    graph: Graph, node: Node, kernel: list[int], strides: list[int], pads: list[int]
) -> NDArray[np.float32]:
    shares = np.ones((1, 1), np.float64)
    sizes, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    for axis, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        padded = size + pads[axis] + pads[axis + len(kernel)]
        starts = np.arange(out) * strides[axis]
        counts = np.minimum(starts + kernel[axis], padded) - starts
        shares = shares[..., None] / counts
    return shares.astype(np.float32)


def _refuse_pool(graph: Graph, node: Node) -> str | None:
    if any(size != 1 for size in node.ints("dilations", ())):
        return "dilated windows have no Core ML form; a convolution has dilations"
    if len(node.outputs) > 1:
        return "the positions of the maxima have no Core ML form; its first output has"
    if node.str("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "auto_pad is not resolved; prepare the graph first"
    rank = len(graph.shape(node.inputs[0]))
    return None if rank in (3, 4, 5) else f"its input has rank {rank}; Core ML pools 1 to 3 axes"


def _global(mil: str) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        axes = list(range(2, len(c.shape(node.inputs[0]))))
        return getattr(c.mb, mil)(x=c.tensor(node.inputs[0]), axes=axes, keep_dims=True, name=name)

    return Entry(lower)


def _reduce(mil: str) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        return getattr(c.mb, mil)(
            x=c.tensor(node.inputs[0]),
            axes=_axes(c.graph, node),
            keep_dims=bool(node.int("keepdims", 1)),
            name=name,
        )

    return Entry(lower, check=_refuse_reduce)


def _axes(graph: Graph, node: Node) -> list[int]:
    """Return the reduced axes: all where none is named."""
    given = list(node.ints("axes", ()))
    if len(node.inputs) > 1 and node.inputs[1]:
        given = integers_of(graph, node, 1, "its axes")
    return given or list(range(len(graph.shape(node.inputs[0]))))


def _refuse_reduce(graph: Graph, node: Node) -> str | None:
    if len(node.inputs) > 1 and node.inputs[1] and graph.constant(node, 1) is None:
        return "its axes must be constant"
    given = graph.constant(node, 1) if len(node.inputs) > 1 else None
    named = len(node.ints("axes", ())) if given is None else given.size
    if node.int("noop_with_empty_axes", 0) and not named:
        return "it reduces no axis"
    if graph.dtype(node.inputs[0]) == np.bool_:
        return "its input is bool; a Cast to float has a form"
    return "its input is empty" if 0 in graph.shape(node.inputs[0]) else None


def _log_sum(c: Lowering, node: Node, name: str) -> Any:
    total = _reduce("reduce_sum").emit(c, node, c.name(f"{name}_total"))
    return c.mb.log(x=total, epsilon=np.float32(0), name=name)


def _argument(mil: str) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        return getattr(c.mb, mil)(
            x=c.tensor(node.inputs[0]),
            axis=node.int("axis", 0),
            keep_dims=bool(node.int("keepdims", 1)),
            name=name,
        )

    return Entry(lower, check=_refuse_last_index)


def _refuse_last_index(graph: Graph, node: Node) -> str | None:
    del graph
    last = node.int("select_last_index", 0)
    return "the last of equal values has no Core ML form; the first has" if last else None


def _top_k(c: Lowering, node: Node, name: str) -> Any:
    made = c.mb.topk(
        x=c.tensor(node.inputs[0]),
        k=integers_of(c.graph, node, 1, "its number of values")[0],
        axis=node.int("axis", -1),
        ascending=not node.int("largest", 1),
        name=name,
    )
    return list(made)


def _refuse_top_k(graph: Graph, node: Node) -> str | None:
    known = len(node.inputs) > 1 and graph.constant(node, 1) is not None
    return None if known else "its number of values must be a constant input"


def _cumulative_sum(c: Lowering, node: Node, name: str) -> Any:
    axis = integers_of(c.graph, node, 1, "its axis")[0]
    return c.mb.cumsum(
        x=c.tensor(node.inputs[0]),
        axis=axis % len(c.shape(node.inputs[0])),  # MIL counts back by one axis only
        exclusive=bool(node.int("exclusive", 0)),
        reverse=bool(node.int("reverse", 0)),
        name=name,
    )


def _refuse_cumulative_sum(graph: Graph, node: Node) -> str | None:
    return "its axis must be constant" if graph.constant(node, 1) is None else None


def _local_response(c: Lowering, node: Node, name: str) -> Any:
    return c.mb.local_response_norm(
        x=c.tensor(node.inputs[0]),
        size=node.int("size", 1),
        alpha=np.float32(node.float("alpha", 1e-4)),
        beta=np.float32(node.float("beta", 0.75)),
        k=np.float32(node.float("bias", 1.0)),
        name=name,
    )


def _refuse_even(graph: Graph, node: Node) -> str | None:
    del graph
    return None if node.int("size", 1) % 2 else "an even size has no Core ML form; an odd one has"


OPS = {
    "MaxPool": Entry(_max_pool, check=_refuse_pool),
    "AveragePool": Entry(_average_pool, check=_refuse_pool),
    "GlobalAveragePool": _global("reduce_mean"),
    "GlobalMaxPool": _global("reduce_max"),
    "ReduceMean": _reduce("reduce_mean"),
    "ReduceSum": _reduce("reduce_sum"),
    "ReduceMax": _reduce("reduce_max"),
    "ReduceMin": _reduce("reduce_min"),
    "ReduceProd": _reduce("reduce_prod"),
    "ReduceL1": _reduce("reduce_l1_norm"),
    "ReduceL2": _reduce("reduce_l2_norm"),
    "ReduceSumSquare": _reduce("reduce_sum_square"),
    "ReduceLogSum": Entry(_log_sum, check=_refuse_reduce),
    "ReduceLogSumExp": _reduce("reduce_log_sum_exp"),
    "ArgMax": _argument("reduce_argmax"),
    "ArgMin": _argument("reduce_argmin"),
    "TopK": Entry(_top_k, check=_refuse_top_k),
    "CumSum": Entry(_cumulative_sum, check=_refuse_cumulative_sum),
    "LRN": Entry(_local_response, check=_refuse_even),
}
