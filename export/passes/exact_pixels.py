"""Move pixels off the rounding ties of INT8, half a step, into the first convolution's bias.

With x = pixel/127.5 - 1 and scale 2/255 every pixel lies exactly between two integers. Reading
x' = x - scale/2 instead makes q = pixel - 128 exact for all 256 values; the half step returns
through the bias. Only the border is touched: padding with x' = 0 stands for x = scale/2.

    Given:   x -> Conv(w, b) -> y
    Result:  x -> Sub(offset) -> x' -> Conv(w, b + offset * sum(w)) -> y

Where the model takes raw pixels p, the same with x' = p - 128 and the weights times 2/255.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def pixel_step(mean: float, std: float) -> tuple[float, float]:
    """Return (scale, offset): x - offset is scale times an integer in [-128, 127] for every pixel.

    x = (pixel/255 - mean)/std; the offset is smaller than one step and 0 where x needs none.

    >>> pixel_step(0.5, 0.5)
    (0.00784313725490196, 0.00392156862745098)
    >>> pixel_step(0.0, 1.0)[1]
    0.0
    """
    scale = 1.0 / (255.0 * std)
    zero = 255.0 * mean
    offset = (np.ceil(zero - 1e-9) - zero) * scale
    return scale, float(max(offset, 0.0)) if offset > 1e-9 * scale else 0.0


def can_take_pixels(graph: Graph, tensor: str) -> bool:
    """Whether input ``tensor`` is read by convolutions with constant weights alone."""
    readers = graph.consumers().get(tensor, [])
    return (
        bool(readers)
        and tensor not in graph.outputs
        and all(_takes_shift(graph, node) for node in readers)
    )


def _takes_shift(graph: Graph, node: Node) -> bool:
    weights, bias = graph.constant(node, 1), graph.constant(node, 2)
    known = weights is not None and (bias is not None or not any(node.inputs[2:]))
    return node.op == "Conv" and known


def exact_pixels(graph: Graph, tensor: str, shift: float, offset: float, scale: float = 1.0) -> str:
    """Apply the rewrite to input ``tensor`` (see can_take_pixels); return the tensor stored as int8.

    ``shift`` is subtracted from the input; the convolutions' weights are multiplied by ``scale``
    and ``offset`` times the sum of their old weights goes into the bias. With normalised values
    shift = offset and scale = 1; with raw pixels the weights take the scale of pixels in.
    """
    readers = graph.consumers()[tensor]
    for node in readers:
        weights = np.asarray(graph.constant(node, 1), np.float64)
        bias = graph.constant(node, 2)
        old = np.zeros(weights.shape[0]) if bias is None else np.asarray(bias, np.float64)
        shifted = (old + offset * weights.sum(axis=(1, 2, 3))).astype(np.float32)
        scaled = (weights * scale).astype(np.float32)
        node.inputs[1:] = [
            graph.add_constant(f"{node.name}.pixel_weight", scaled),
            graph.add_constant(f"{node.name}.pixel_bias", shifted),
        ]
    if not shift:
        return tensor
    centred = graph.declare(graph.fresh(f"{tensor}_centred"), graph.shape(tensor), np.float32)
    for node in readers:
        node.inputs[0] = centred
    step = graph.add_constant("pixel_offset", np.array(shift, np.float32))
    graph.nodes.insert(0, Node("Sub", graph.fresh("centre_pixels"), [tensor, step], [centred]))
    return centred


def give_border_back(graph: Graph, tensor: str, shift: float, zero: float) -> None:
    """Pad with ``zero`` what exact_pixels took from input ``tensor`` by ``shift``: with what 0 was before.

    What is left is the function that the rewrite was given, to the last bits of float sums.
    """
    for centred in graph.of("Sub"):
        offset = graph.constant(centred, 1)
        if centred.inputs[0] != tensor or offset is None or offset.size != 1:
            continue
        if abs(float(offset.reshape(-1)[0]) - shift) > 1e-6 * max(1.0, abs(shift)):
            continue
        for node in graph.consumers().get(centred.output, []):
            if node.op == "Conv" and any(node.ints("pads", [])):
                _pad_before(graph, node, zero)


def _pad_before(graph: Graph, node: Node, value: float) -> None:
    pads, source = node.ints("pads", []), node.inputs[0]
    half = len(pads) // 2
    rows = [
        b + d + a for b, d, a in zip(pads[:half], graph.shape(source)[2:], pads[half:], strict=True)
    ]
    wide = graph.declare(
        graph.fresh(f"{source}_padded"), (*graph.shape(source)[:2], *rows), np.float32
    )
    sides = graph.add_constant(
        "border", np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
    )
    filled = graph.add_constant("border_value", np.array(value, np.float32))
    pad = Node("Pad", graph.fresh("pad_border"), [source, sides, filled], [wide])
    graph.nodes.insert(graph.nodes.index(node), pad)
    node.inputs[0] = wide
    node.attrs["pads"] = [0] * len(pads)
