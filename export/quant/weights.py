"""Per-channel integer weights: scales, round to nearest, and GPTQ's closed-form rounding.

GPTQ: arXiv 2210.17323. A weight column is rounded at a time, and the error it makes on the
calibration inputs is pushed into the columns not yet rounded.
"""

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import output_axis

Floats = NDArray[np.float32]

DAMPING = 0.01
BLOCK = 64
SMALLEST_RATIO = 2.0**-16
"""No channel's scale is smaller than this share of the layer's largest: TFLite's kernels refuse
rescaling factors below 2^-32."""


def rows(node: Node, weights: Floats) -> Floats:
    """Return weights as (output channels, weights each); see unrows for the way back."""
    if node.op != "ConvTranspose":
        return weights.reshape(weights.shape[0], -1)
    group = node.int("group", 1)
    inputs, outputs = weights.shape[:2]
    split = weights.reshape(group, inputs // group, outputs, -1)
    return np.moveaxis(split, 2, 1).reshape(group * outputs, -1)


def unrows(node: Node, flat: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Undo ``rows``."""
    if node.op != "ConvTranspose":
        return flat.reshape(shape)
    group = node.int("group", 1)
    split = flat.reshape(group, shape[1], shape[0] // group, -1)
    return np.ascontiguousarray(np.moveaxis(split, 1, 2)).reshape(shape)


def weight_scales(
    node: Node, weights: Floats, bias: Floats, input_scale: float, limit: int = 127
) -> Floats:
    """Return one scale an output channel: its largest weight becomes ``limit``.

    A channel whose bias is large against its weights gets a wider scale, so that the int32 bias
    fits: s_w >= |b| / (s_in * 2^30). A grouped ConvTranspose gets one scale for all channels,
    which is all that ONNX can store.
    """
    flat = np.abs(rows(node, weights))
    scales = (flat.max(axis=1) / limit).astype(np.float64)
    widest = scales.max()
    if widest == 0.0:
        scales[:] = widest = 1.0 / limit
    scales[scales == 0.0] = widest  # any scale is exact for zeros; this one suits every kernel
    floor = np.abs(bias.astype(np.float64)) / (input_scale * 2.0**30)
    wide: Floats = np.maximum(np.maximum(scales, widest * SMALLEST_RATIO), floor).astype(np.float32)
    return np.full_like(wide, wide.max()) if _one_scale(node) else wide


def _one_scale(node: Node) -> bool:
    return node.op == "ConvTranspose" and node.int("group", 1) > 1


def round_nearest(flat: Floats, scales: Floats, limit: int = 127) -> NDArray[np.int8]:
    """Round (out, k) weights to int8, half to even."""
    rounded: NDArray[np.int8] = np.clip(np.rint(flat / scales[:, None]), -limit, limit).astype(
        np.int8
    )
    return rounded


def gptq(flat: Floats, hessian: Floats, scales: Floats, limit: int = 127) -> NDArray[np.int8]:
    """Round (out, k) weights to int8 so that the layer's output on its inputs changes least.

    ``hessian`` is (groups, k, k), the sum of x x^T over input columns of each group, whose output
    channels are consecutive rows of ``flat``; or (blocks, k / blocks, k / blocks), each of consecutive
    columns, whose errors do not make up for each other's. Columns with the most input energy go first.
    """
    groups, size = hessian.shape[:2]
    if size < flat.shape[1]:
        blocks = np.split(flat, groups, axis=1)
        parts = [gptq(b, h[None], scales, limit) for b, h in zip(blocks, hessian, strict=True)]
        return np.concatenate(parts, axis=1)
    work = flat.reshape(groups, -1, size).astype(np.float32)
    step = scales.reshape(groups, -1, 1).astype(np.float32)
    diagonal = np.einsum("gkk->gk", hessian).astype(np.float64)
    order = np.argsort(diagonal, axis=1, kind="stable")  # ascending: factored from the far end
    damped = hessian.astype(np.float64)
    eye = np.arange(size)
    damped[:, eye, eye] += DAMPING * diagonal.mean(axis=1, keepdims=True) + 1e-8
    damped = np.take_along_axis(damped, order[:, :, None], axis=1)
    damped = np.take_along_axis(damped, order[:, None, :], axis=2)
    lower = np.linalg.cholesky(damped).astype(np.float32)
    work = np.take_along_axis(work, order[:, None, :], axis=2)
    integers = _round_columns(work, lower, step, limit)
    back = np.argsort(order, axis=1, kind="stable")
    return np.take_along_axis(integers, back[:, None, :], axis=2).reshape(flat.shape)


def _round_columns(work: Floats, lower: Floats, step: Floats, limit: int) -> NDArray[np.int8]:
    """Round from the last column to the first.

    With H = L L^T the error is |L^T e|^2: entry j of L^T e is L_jj e_j + sum of L_kj e_k over the
    columns k > j already rounded, so rounding w_j + that sum / L_jj is the best for entry j.
    """
    groups, outputs, size = work.shape
    integers = np.empty((groups, outputs, size), np.int8)
    errors = np.zeros_like(work)
    for stop in range(size, 0, -BLOCK):
        start = max(0, stop - BLOCK)
        carried = errors[:, :, stop:] @ lower[:, stop:, start:stop]
        for column in range(stop - 1, start - 1, -1):
            own = lower[:, column, column][:, None, None]
            inside = errors[:, :, column + 1 : stop] @ lower[:, column + 1 : stop, column, None]
            push = (carried[:, :, column - start, None] + inside) / own
            value = work[:, :, column : column + 1]
            rounded = np.clip(np.rint((value + push) / step), -limit, limit)
            integers[:, :, column] = rounded[:, :, 0]
            errors[:, :, column] = (value - rounded * step)[:, :, 0]
    return integers


def dequantized(graph: Graph, node: Node, values: NDArray[np.int8], scales: Floats) -> Floats:
    """Return the real weights that the integers stand for, in the ONNX layout."""
    shape = [1] * values.ndim
    axis = output_axis(node)
    if scales.size == values.shape[axis]:
        shape[axis] = -1
        scales = scales.reshape(shape)
    else:
        scales = scales[:1]
    real: Floats = values.astype(np.float32) * scales
    return real
