"""How a clamp (ReLU and its like) is expressed: fused, implied, or as operators of its own."""

import numpy as np

from edgeconv.export.graph import Clamp
from edgeconv.tensors import Quantization

ACTIVATIONS: dict[Clamp, str] = {
    (0.0, float("inf")): "RELU",
    (0.0, 6.0): "RELU6",
    (-1.0, 1.0): "RELU_N1_TO_1",
}

FUSING = frozenset(
    [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "AVERAGE_POOL_2D",
        "MAX_POOL_2D",
    ]
)
"""Operators whose options have a fused activation that every kernel honours."""
OF_TWO = frozenset({"ADD", "SUB", "MUL", "DIV"})
"""Of these XNNPACK computes the activation in a pass of its own behind the kernel."""


def implied(clamp: Clamp, quantization: Quantization) -> bool:
    """Say whether the int8 range of a tensor cannot leave the clamp by half a quantum.

    >>> implied((0.0, 6.0), Quantization(6 / 255, -128))
    True
    >>> implied((0.0, float("inf")), Quantization(0.1, 0))
    False
    """
    low, high = (bound / np.float64(quantization.scale) for bound in clamp)
    zero = quantization.zero_point
    return bool(np.rint(low) + zero <= -128 and np.rint(high) + zero >= 127)


def clamp_steps(
    code: str, clamp: Clamp, quantization: Quantization | None
) -> tuple[str | None, list[tuple[str, float | None]]]:
    """Return the activation to fuse into ``code`` and the operators (with their bound) behind it.

    RELU_0_TO_1 is never used and an int8 RELU never stands alone: XNNPACK takes neither, which
    splits the net (facts measured on ShuffleNetV1: 1.5 ms becomes 4.1 ms).

    >>> clamp_steps("CONV_2D", (0.0, 6.0), None)
    ('RELU6', [])
    >>> clamp_steps("CONV_2D", (0.0, 1.0), None)
    ('RELU', [('MINIMUM', 1.0)])
    >>> clamp_steps("MEAN", (0.0, float("inf")), None)
    (None, [('RELU', None)])
    >>> clamp_steps("ADD", (0.0, float("inf")), Quantization(0.1, -128))
    (None, [])
    """
    low, high = clamp
    redundant = quantization is not None and implied(clamp, quantization)
    if code in FUSING and clamp in ACTIVATIONS and not (redundant and code in OF_TWO):
        return ACTIVATIONS[clamp], []
    if redundant:
        return None, []
    fused: str | None = None
    after: list[tuple[str, float | None]] = []
    if quantization is None and clamp in ACTIVATIONS:
        return None, [(ACTIVATIONS[clamp], None)]
    if low == 0.0 and code in FUSING:
        fused = "RELU"
    elif low != -np.inf:
        after.append(("MAXIMUM", low))
    if high != np.inf:
        after.append(("MINIMUM", high))
    return fused, after
