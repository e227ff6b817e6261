"""Norms along an axis or in windows, by operators that targets have (expand_rare.py).

Given:   x -> LpPool -> y
Result:  x -> Abs | Mul(x, x) | Abs -> Pow(p) -> Conv(depthwise, ones) [-> Sqrt | Pow(1/p)] -> y

Given:   x -> GlobalLpPool | LpNormalization -> y
Result:  x -> ReduceL1 | ReduceL2 [-> Max(tiny) -> Div(x)] -> y
"""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
TINY = 1e-30
"""What a norm is at least: a vector of zeros keeps its zeros."""


def lp_pool(graph: Graph, node: Node) -> bool:
    """Write an LpPool out."""
    order, channels = node.int("p", 2), graph.shape(node.inputs[0])[1]
    steps = Steps(graph, node)
    whole = graph.shape(node.inputs[0])
    powers = _power(steps, node.inputs[0], order, whole)
    ones = steps.constant(np.ones((channels, 1, *node.ints("kernel_shape", ()))))
    window = {name: node.attrs[name] for name in WINDOW if name in node.attrs}
    window["group"] = channels
    if node.int("ceil_mode", 0):
        window["pads"] = _pads_of_all_windows(node, whole[2:], graph.shape(node.output)[2:])
    _root(steps, order, steps.do("Conv", powers, ones, attributes=window))
    return True


def _pads_of_all_windows(node: Node, sizes: Sequence[int], windows: Sequence[int]) -> list[int]:
    """Return the pads at which ``windows`` fit exactly: zeros add nothing to a sum of powers."""
    axes = len(sizes)
    kernel, one = node.ints("kernel_shape", ()), [1] * axes
    strides, dilations = node.ints("strides", one), node.ints("dilations", one)
    before = node.ints("pads", [0] * (2 * axes))[:axes]
    reach = [
        (windows[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(axes)
    ]
    return [*before, *(reach[i] - sizes[i] - before[i] for i in range(axes))]


def _power(steps: Steps, x: str, order: int, shape: tuple[int, ...]) -> str:
    if order == 2:
        return steps.do("Mul", x, x, shape=shape)
    size = steps.do("Abs", x, shape=shape)
    return size if order == 1 else steps.do("Pow", size, steps.constant(order), shape=shape)


def _root(steps: Steps, order: int, total: str) -> None:
    if order > 1:  # what integers make of a sum may lie below zero
        total = steps.do("Relu", total)
    if order == 1:
        steps.finish("Identity", total)
    elif order == 2:
        steps.finish("Sqrt", total)
    else:
        steps.finish("Pow", total, steps.constant(1 / order))


def global_lp_pool(graph: Graph, node: Node) -> bool:
    """Write a GlobalLpPool out."""
    order, x = node.int("p", 2), node.inputs[0]
    steps, rank = Steps(graph, node), len(graph.shape(node.output))
    axes = steps.integers(list(range(2, rank)))
    if order in (1, 2):
        steps.finish(f"ReduceL{order}", x, axes, keepdims=1)
    else:
        powers = _power(steps, x, order, graph.shape(x))
        _root(steps, order, steps.do("ReduceSum", powers, axes, keepdims=1))
    return True


def lp_normalization(graph: Graph, node: Node) -> bool:
    """Write an LpNormalization out."""
    order = node.int("p", 2)
    steps, x = Steps(graph, node), node.inputs[0]
    shape = list(graph.shape(x))
    axis = node.int("axis", -1) % len(shape)
    shape[axis] = 1
    norm = steps.do(f"ReduceL{order}", x, steps.integers([axis]), shape=shape, keepdims=1)
    steps.finish("Div", x, steps.do("Max", norm, steps.constant(TINY), shape=shape))
    return True
