"""Weights and biases of convolutions and matrix products, in float, float16 or int8."""

from collections.abc import Callable

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Array, Node
from edgeconv.export.tflite.builder import ChannelScales
from edgeconv.export.tflite.emission import Emission

HALF_LIMIT = 65504.0  # the largest float16


def weight_operands(
    em: Emission, node: Node, arrange: Callable[[Array], Array], axis: int, channels: int
) -> tuple[int, int]:
    """Return weight and bias constants of a weighted node.

    ``arrange`` turns ONNX's layout into TFLite's, whose output channels are then on ``axis``.
    Integers, scales and bias come from the recipe bit for bit.
    """
    name = node.inputs[1]
    biased = len(node.inputs) > 2 and node.inputs[2]
    bias_name = node.inputs[2] if biased else f"{node.name}_bias"
    if em.recipe is not None and (em.integer or _ends_in_float(em, node)):
        w = em.recipe.weights[node.name]
        source = em.recipe.activations[node.inputs[0]]
        values = arrange(w.values)
        if len(w.scales) != channels or len(w.bias) != channels:
            raise EdgeconvError(
                f"the recipe has {len(w.scales)} scales for {node.name}, "
                f"which has {channels} output channels"
            )
        steps = np.float32(source.scale) * w.scales
        if not em.integer:
            return (
                _dequantized(em, name, values, ChannelScales(w.scales, axis)),
                em.builder.shared(
                    bias_name, (w.bias * steps.astype(np.float64)).astype(np.float32)
                ),
            )
        return (
            em.builder.constant(name, values, ChannelScales(w.scales, axis)),
            em.builder.constant(bias_name, w.bias, ChannelScales(steps, 0)),
        )
    if (own := em.alone.get(node.name)) is not None:
        stored = _dequantized(em, name, arrange(own.values), ChannelScales(own.scales, axis))
        return stored, em.builder.shared(bias_name, own.float_bias)
    weight = em.graph.constants[name].astype(np.float32)
    bias = (
        em.graph.constants[bias_name].astype(np.float32).reshape(-1)
        if biased
        else np.zeros(channels, np.float32)
    )
    bias = np.ascontiguousarray(np.broadcast_to(bias, (channels,)))
    return _half(em, name, arrange(weight)), em.builder.shared(bias_name, bias)


def _ends_in_float(em: Emission, node: Node) -> bool:
    """Whether an integer layer gives an output of the net in float."""
    assert em.recipe is not None
    held = em.recipe.activations
    integer = node.name in em.recipe.weights and node.inputs[0] in held
    return integer and node.output in em.graph.outputs and node.output not in held


def _dequantized(em: Emission, name: str, values: Array, scales: ChannelScales) -> int:
    """Store integer weights behind a DEQUANTIZE, which runtimes do once, when they load the file.

    FULLY_CONNECTED takes int8 weights on real values too, but tensorflow 2.14 reads no more than one
    scale there, without a word.
    """
    stored = em.builder.constant(f"{name}_int8", values, scales)
    full = em.builder.tensor(name, values.shape, np.float32)
    em.builder.op("DEQUANTIZE", [stored], [full], "DequantizeOptions")
    return full


def _half(em: Emission, name: str, weight: Array) -> int:
    """Store weights as float16 behind a DEQUANTIZE, which runtimes fold, where asked to."""
    if em.precision != "fp16" or float(np.abs(weight).max(initial=0.0)) > HALF_LIMIT:
        return em.builder.shared(name, weight)
    half = em.builder.shared(f"{name}_fp16", weight.astype(np.float16))
    full = em.builder.tensor(name, weight.shape, np.float32)
    em.builder.op("DEQUANTIZE", [half], [full], "DequantizeOptions")
    return full
