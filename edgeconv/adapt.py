"""From the hub's tensors (NCHW float32) to what a file declares, and back.

A file may want NHWC, int8 or uint8. The hub's ``float32`` arrays may be normalised values or, where
preprocessing is embedded, raw 0..255 pixels; an integer input without quantization takes them as
they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.tensors import Layout, TensorSpec

Array = NDArray[Any]


def swap_layout(array: Array, from_layout: Layout, to_layout: Layout) -> Array:
    """Return a rank-4 array in ``to_layout``; anything else, or the same layout, unchanged.

    >>> swap_layout(np.zeros((1, 3, 8, 9)), "nchw", "nhwc").shape
    (1, 8, 9, 3)
    """
    if array.ndim != 4 or from_layout == to_layout or "other" in (from_layout, to_layout):
        return array
    order = (0, 2, 3, 1) if to_layout == "nhwc" else (0, 3, 1, 2)
    placed: Array = np.ascontiguousarray(array.transpose(order))
    return placed


def quantize(array: Array, spec: TensorSpec) -> Array:
    """Round reals to the integers of ``spec`` (half to even, saturating at the type's limits).

    Without quantization the values are counted as they are (raw pixels, indices): they must then
    lie inside the type, else EdgeconvError.
    """
    kind = np.dtype(spec.dtype)
    limits = np.iinfo(kind)
    if spec.quantization is None:
        steps = np.rint(array) if array.dtype.kind == "f" else array.astype(np.int64)
        if steps.size and not (steps.min() >= limits.min and steps.max() <= limits.max):
            raise EdgeconvError(
                f"input {spec.name} takes {spec.dtype} as it is; values from {steps.min():g} to "
                f"{steps.max():g} do not fit"
            )
        return steps.astype(kind)
    q = spec.quantization
    # float32 division, as the runtimes' own QUANTIZE does: float64 rounds other ties
    shifted = np.asarray(array, np.float32) - np.float32(q.offset)
    steps = np.rint(shifted / np.float32(q.scale)) + q.zero_point
    integers: Array = np.clip(steps, limits.min, limits.max).astype(kind)
    return integers


def adapt_inputs(array: Array, from_layout: Layout, spec: TensorSpec) -> Array:
    """Turn one input (pictures, ...) in ``from_layout`` into what ``spec`` declares.

    The first axis may hold any number of pictures. Layout is swapped first, then the values are
    quantized (integer ``spec``) or cast. An array that is already of the wanted integer type is
    taken as stored. Raises EdgeconvError, with both shapes, where the rest does not fit.

    >>> from edgeconv.tensors import Quantization
    >>> spec = TensorSpec("x", (1, 1, 2, 1), "int8", "nhwc", Quantization(0.5, -1))
    >>> adapt_inputs(np.array([[[[1.0, 2.0]]]]), "nchw", spec).ravel()
    array([1, 3], dtype=int8)
    """
    placed = swap_layout(np.asarray(array), from_layout, spec.layout)
    if not placed.ndim:  # Core ML has no scalars
        placed = placed.reshape(spec.shape)
    if placed.shape[1:] != spec.shape[1:]:
        raise EdgeconvError(
            f"input {spec.name} is {list(spec.shape)} ({spec.layout}), "
            f"got {list(array.shape)} ({from_layout})"
        )
    kind = np.dtype(spec.dtype)
    if placed.dtype == kind:
        return placed
    return quantize(placed, spec) if kind.kind in "iu" else placed.astype(kind)


def numbers(array: Array) -> Array:
    """Return real numbers as float32, and indices, labels and masks as whole numbers (int64).

    >>> numbers(np.array([True, False])), numbers(np.array([1.5]))
    (array([1, 0]), array([1.5], dtype=float32))
    """
    whole = array.dtype.kind in "biu"
    return array.astype(np.int64 if whole else np.float32, copy=False)


def adapt_outputs(array: Array, spec: TensorSpec) -> Array:
    """Turn one output as stored into ``numbers`` in the hub's layout (NCHW).

    >>> from edgeconv.tensors import Quantization
    >>> spec = TensorSpec("y", (1, 2), "int8", "other", Quantization(0.5, -128))
    >>> adapt_outputs(np.array([[-128, 0]], np.int8), spec)
    array([[ 0., 64.]], dtype=float32)
    """
    if spec.quantization is not None and array.dtype.kind in "iu":
        q = spec.quantization
        array = (array.astype(np.int32) - q.zero_point) * np.float32(q.scale) + np.float32(q.offset)
    return numbers(swap_layout(array, spec.layout, "nchw"))


def match_names(wanted: Sequence[str], given: Sequence[str], what: str) -> dict[str, str]:
    """Map each wanted name to a given one: by name, else one to one by position.

    Raises EdgeconvError where the counts differ and the names do not say which is which.

    >>> match_names(["logits"], ["StatefulPartitionedCall:0"], "output")
    {'logits': 'StatefulPartitionedCall:0'}
    """
    if set(wanted) <= set(given):
        return {name: name for name in wanted}
    if len(wanted) != len(given):
        raise EdgeconvError(
            f"{what}s cannot be matched: {list(wanted)} on one side, {list(given)} on the other"
        )
    return dict(zip(wanted, given, strict=True))


def feeds_for(
    specs: Sequence[TensorSpec], hub: Mapping[str, Array], from_layout: Layout = "nchw"
) -> dict[str, Array]:
    """Turn all hub inputs, name -> (pictures, ...), into a file's inputs, name -> stored array."""
    names = match_names([spec.name for spec in specs], list(hub), "input")
    return {spec.name: adapt_inputs(hub[names[spec.name]], from_layout, spec) for spec in specs}
