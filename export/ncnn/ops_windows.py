"""Convolutions and pools as ncnn's layers, over pictures and over lines, which are pictures of one row."""

from collections.abc import Callable
from math import prod
from typing import Any

from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.say import Blob, Emission, Parameter, activation, floats
from edgeconv.export.op_table import Entry, first_failing, needs_constant
from edgeconv.formats.ncnn_file import Shape

Say = Callable[[Emission, Node], None]


def one_picture(graph: Graph, node: Node) -> str | None:
    """Say why a node is none over the pixels of one picture."""
    axes = len(graph.shape(node.inputs[0]))
    if axes != 4:
        return f"its input has {axes} axes, not the four of a picture"
    return alone(graph, node)


def _few_axes(graph: Graph, node: Node) -> str | None:
    shape = graph.shape(node.inputs[0])
    if len(shape) not in (3, 4):
        return f"its input has {len(shape)} axes"
    return alone(graph, node)


def alone(graph: Graph, node: Node) -> str | None:
    """Say why a node is over more than one sample."""
    batch = graph.shape(node.inputs[0])[0]
    if batch != 1:
        return f"its batch is {batch} and ncnn has no axis for one: export it with a batch of one"
    return None


def _window(node: Node, axes: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return (h, w) of strides, dilations and output padding, and pads (top, left, bottom, right).

    ``axes`` is 2 for a picture, 1 for a line, which is a picture of one row.
    """
    strides, dilations = (node.ints(key, [1] * axes) for key in ("strides", "dilations"))
    more, pads = node.ints("output_padding", [0] * axes), node.ints("pads", [0] * 2 * axes)
    if axes == 1:
        return [1, *strides], [1, *dilations], [0, *more], [0, pads[0], 0, pads[1]]
    return strides, dilations, more, pads


def _as_picture(shape: Shape) -> Shape:
    """Return the shape in which a picture or a line, batch first, is a picture: (c, h, w)."""
    return (shape[1], 1, shape[2]) if len(shape) == 3 else (shape[1], shape[2], shape[3])


def biased(em: Emission, node: Node) -> tuple[int, bytes]:
    """Return whether there is a bias, and its bytes."""
    bias = em.graph.constant(node, 2)
    return (0, b"") if bias is None else (1, floats(bias.reshape(-1)))


def _picture(em: Emission, node: Node) -> Blob:
    return em.read(node.inputs[0], _as_picture(em.graph.shape(node.inputs[0])))


def _filters(em: Emission, node: Node) -> tuple[NDArray[Any], tuple[list[int], ...]]:
    """Return the weights of four axes, and the window."""
    weights = em.graph.constants[node.inputs[1]]
    window = _window(node, weights.ndim - 2)
    return weights.reshape(*weights.shape[:2], -1, weights.shape[-1]), window


def _conv(em: Emission, node: Node) -> None:
    weights, (strides, dilations, _, pads) = _filters(em, node)
    group, (has_bias, bias) = node.int("group", 1), biased(em, node)
    parameters: dict[int, Parameter] = {
        0: weights.shape[0],
        **{1: weights.shape[3], 11: weights.shape[2]},
        **{2: dilations[1], 12: dilations[0]},
        **{3: strides[1], 13: strides[0]},
        **{4: pads[1], 14: pads[0], 15: pads[3], 16: pads[2]},
        **{5: has_bias, 6: weights.size},
        **({7: group} if group > 1 else {}),
        **activation(node),
    }
    kind = "ConvolutionDepthWise" if group > 1 else "Convolution"
    data = em.flagged(node.inputs[1], weights) + bias
    made = em.add(kind, node, [_picture(em, node)], parameters, data)
    em.write(node, made, _as_picture(em.graph.shape(node.output)), clamped=True)


def _conv_transpose(em: Emission, node: Node) -> None:
    weights, (strides, dilations, more, pads) = _filters(em, node)
    group, (has_bias, bias) = node.int("group", 1), biased(em, node)
    into, out, height, width = weights.shape
    # ONNX has (in, out of a group), ncnn (out, in of a group)
    turned = weights.reshape(group, into // group, out, height, width).swapaxes(1, 2)
    parameters: dict[int, Parameter] = {
        0: out * group,
        **{1: width, 11: height, 2: dilations[1], 12: dilations[0], 3: strides[1], 13: strides[0]},
        **{4: pads[1], 14: pads[0], 15: pads[3], 16: pads[2], 18: more[1], 19: more[0]},
        **{5: has_bias, 6: weights.size},
        **({7: group} if group > 1 else {}),
        **activation(node),
    }
    kind = "DeconvolutionDepthWise" if group > 1 else "Deconvolution"
    data = em.flagged(node.inputs[1], turned) + bias
    made = em.add(kind, node, [_picture(em, node)], parameters, data)
    em.write(node, made, _as_picture(em.graph.shape(node.output)), clamped=True)


def _fits(graph: Graph, node: Node) -> str | None:
    strides, dilations, more, pads = _window(node, len(graph.shape(node.output)) - 2)
    before, after = (_as_picture(graph.shape(n))[1:] for n in (node.inputs[0], node.output))
    kernel = _as_picture(graph.shape(node.inputs[1]))[1:]
    for axis in (0, 1):
        reach = (before[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        if reach + more[axis] - pads[axis] - pads[axis + 2] != after[axis]:
            return "its output has another size than its padding says"
    return None


def _pool(kind: int) -> Say:
    def say(em: Emission, node: Node) -> None:
        size, strides, pads = _pooled(node)
        more = _overhang(em.graph, node)
        parameters: dict[int, Parameter] = {
            **{0: kind, 1: size[1], 11: size[0], 2: strides[1], 12: strides[0]},
            **{3: pads[1], 13: pads[0], 14: pads[3] + more[1], 15: pads[2] + more[0], 5: 1},
            **({6: node.int("count_include_pad", 0)} if kind else {}),
        }
        made = em.add("Pooling", node, [_picture(em, node)], parameters)
        em.write(node, made, _as_picture(em.graph.shape(node.output)))

    return say


def _pooled(node: Node) -> tuple[list[int], list[int], list[int]]:
    """Return (h, w) of a pool's windows and strides, and its pads (top, left, bottom, right)."""
    size = node.ints("kernel_shape", [])
    strides, _, _, pads = _window(node, len(size))
    return [1, *size] if len(size) == 1 else size, strides, pads


def _overhang(graph: Graph, node: Node) -> list[int]:
    """Return by how much the last windows leave the padded picture, below and to the right."""
    size, strides, pads = _pooled(node)
    before, after = (_as_picture(graph.shape(n))[1:] for n in (node.inputs[0], node.output))
    return [
        max(0, (after[a] - 1) * strides[a] + size[a] - before[a] - pads[a] - pads[a + 2])
        for a in (0, 1)
    ]


def _plain_pool(graph: Graph, node: Node) -> str | None:
    if set(node.ints("dilations", [1, 1])) != {1}:
        return "it dilates"
    if len(node.outputs) > 1 and node.outputs[1]:
        return "it gives the places of its maxima"
    return None


def _counted(graph: Graph, node: Node) -> str | None:
    if node.int("count_include_pad", 0) and any(_overhang(graph, node)):
        return "its windows leave the padding, and it counts the padding"
    return None


def _global_pool(kind: int) -> Say:
    def say(em: Emission, node: Node) -> None:
        _, channels, *rest = em.graph.shape(node.inputs[0])
        x = em.read(node.inputs[0], (channels, 1, prod(rest)) if len(rest) != 2 else None)
        em.write(node, em.add("Pooling", node, [x], {0: kind, 4: 1}), (channels,))

    return say


_with_weights = first_failing(_few_axes, needs_constant(1, "weight"), needs_constant(2, "bias"))

OPS: dict[str, Entry[Say]] = {
    "AveragePool": Entry(
        _pool(1), "Pooling", check=first_failing(_few_axes, _plain_pool, _counted)
    ),
    "Conv": Entry(_conv, "Convolution, ConvolutionDepthWise", check=_with_weights),
    "ConvTranspose": Entry(
        _conv_transpose,
        "Deconvolution, DeconvolutionDepthWise",
        check=first_failing(_with_weights, _fits),
    ),
    "GlobalAveragePool": Entry(_global_pool(1), "Pooling", check=alone),
    "GlobalMaxPool": Entry(_global_pool(0), "Pooling", check=alone),
    "MaxPool": Entry(_pool(0), "Pooling", check=first_failing(_few_axes, _plain_pool)),
}
"""Operator -> entry."""
