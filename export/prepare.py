"""The two fixed lists of exact passes: to the hub graph, and from it to what emitters read."""

from dataclasses import dataclass

from edgeconv.export.graph import Graph
from edgeconv.export.passes.axis_by_axis import axis_by_axis
from edgeconv.export.passes.base import Pass, run_passes
from edgeconv.export.passes.certain_outputs import certain_outputs
from edgeconv.export.passes.complete_pads import complete_pads
from edgeconv.export.passes.complete_resize import complete_resize
from edgeconv.export.passes.computed_indices import computed_indices
from edgeconv.export.passes.computed_weights import computed_weights
from edgeconv.export.passes.constant_indices import constant_indices
from edgeconv.export.passes.crop_by_slice import crop_by_slice
from edgeconv.export.passes.dilated_pools import dilated_pools
from edgeconv.export.passes.divide_by_constant import divide_by_constant
from edgeconv.export.passes.drop_empty import drop_empty
from edgeconv.export.passes.drop_nan_guards import drop_nan_guards
from edgeconv.export.passes.drop_noops import drop_noops
from edgeconv.export.passes.embed_preprocessing import embed_preprocessing
from edgeconv.export.passes.exact_pixels import (
    can_take_pixels,
    exact_pixels,
    give_border_back,
    pixel_step,
)
from edgeconv.export.passes.expand_einsum import expand_einsum
from edgeconv.export.passes.expand_rare import expand_rare
from edgeconv.export.passes.explicit_padding import explicit_padding
from edgeconv.export.passes.find_shuffles import find_shuffles
from edgeconv.export.passes.find_unpools import find_unpools
from edgeconv.export.passes.finite_masks import finite_masks
from edgeconv.export.passes.flatten_convolutions import flatten_convolutions
from edgeconv.export.passes.flatten_pools import flatten_pools
from edgeconv.export.passes.fold_affine import fold_affine
from edgeconv.export.passes.fold_batchnorm import fold_batchnorm
from edgeconv.export.passes.fold_constants import fold_constants
from edgeconv.export.passes.fold_hard_sigmoid import fold_hard_sigmoid
from edgeconv.export.passes.fuse_activations import fuse_activations
from edgeconv.export.passes.fuse_clamps import fuse_clamps
from edgeconv.export.passes.fuse_norms import fuse_norms
from edgeconv.export.passes.fuse_softmax import fuse_softmax
from edgeconv.export.passes.global_pool import global_pool
from edgeconv.export.passes.join_windows import join_windows
from edgeconv.export.passes.lift_scalars import lift_scalars
from edgeconv.export.passes.merge_axes import merge_axes
from edgeconv.export.passes.normalize_gemm import normalize_gemm
from edgeconv.export.passes.normalize_reshapes import normalize_reshapes
from edgeconv.export.passes.one_type_powers import one_type_powers
from edgeconv.export.passes.pool_places import pool_places
from edgeconv.export.passes.pool_to_depthwise import pool_to_depthwise
from edgeconv.export.passes.product_to_conv import product_to_conv
from edgeconv.export.passes.reverse_sequences import reverse_sequences
from edgeconv.export.passes.tokens_to_gemm import tokens_to_gemm
from edgeconv.export.passes.unpool import unpool

HUB: tuple[Pass, ...] = (
    certain_outputs,
    fold_constants,
    drop_empty,
    drop_noops,
    complete_resize,
    complete_pads,
    finite_masks,
    drop_nan_guards,
    expand_rare,
    one_type_powers,
    find_unpools,
    unpool,
    expand_einsum,
    join_windows,
    fuse_norms,
    fuse_softmax,
    explicit_padding,
    crop_by_slice,
    dilated_pools,
    normalize_gemm,
    fold_batchnorm,
    fold_affine,
    global_pool,
    normalize_reshapes,
    fuse_activations,
)
"""What makes the hub graph: still plain ONNX, the same function."""

LOWERING: tuple[Pass, ...] = (
    *HUB,
    pool_places,
    flatten_pools,
    flatten_convolutions,
    computed_weights,
    reverse_sequences,
    constant_indices,
    computed_indices,
    find_shuffles,
    axis_by_axis,
    merge_axes,
    lift_scalars,
    fuse_clamps,
)
"""What every emitter reads. fuse_activations must come before fuse_clamps takes its Clip."""

INTEGER: tuple[Pass, ...] = (
    *LOWERING,
    divide_by_constant,
    tokens_to_gemm,
    product_to_conv,
    fold_hard_sigmoid,
    pool_to_depthwise,
)
"""What is quantized; before calibration, so that every runtime shares it."""


@dataclass(frozen=True)
class PixelInput:
    """How an input's pixels become its values: x = (pixel/255 - mean)/std, one value or one a channel.

    ``embedded``: the graph takes the raw pixels and must do this itself.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    embedded: bool = False

    @property
    def uniform(self) -> bool:
        """Whether all channels share one mean and one std."""
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1


@dataclass(frozen=True)
class Prepared:
    """A graph ready for an emitter.

    ``exact_inputs`` maps a tensor to the (scale, int8 zero point) at which every pixel is an
    integer; the quantization engine takes them as they are.
    """

    graph: Graph
    exact_inputs: dict[str, tuple[float, int]]


def simplify_graph(graph: Graph) -> Graph:
    """Return the hub form of ``graph``; the argument stays as it is."""
    hub = graph.clone()
    run_passes(hub, HUB)
    return hub


def prepare(graph: Graph, *, int8: bool = False, pixels: PixelInput | None = None) -> Prepared:
    """Return what emitters read: clamps fused, shuffles whole; for INT8 also the shared rewrites.

    ``pixels`` describes the one picture input of ``graph``, which takes normalised values. Where
    they are to be embedded the result takes raw pixels. INT8 stores every pixel exactly where the
    zero point that this needs is -128 or 0 (the two that Core ML can take).
    """
    ready = graph.clone()
    run_passes(ready, INTEGER if int8 else LOWERING)
    exact: dict[str, tuple[float, int]] = {}
    if pixels is not None and len(ready.inputs) == 1:
        if int8:
            exact = _exact(ready, pixels)
        if pixels.embedded and not exact:
            embed_preprocessing(ready, pixels.mean, pixels.std, as_conv=int8)
            exact = {ready.inputs[0]: (1.0, -128)} if int8 else {}
        ready.prune()
    return Prepared(ready, exact)


def with_border(graph: Graph, pixels: PixelInput) -> Graph:
    """Return a graph prepared for INT8 with the border that exactly stored pixels move: the hub's function.

    The half step there is what this form promises to change; all that differs beside it is a fault.
    """
    whole = graph.clone()
    if pixels.uniform and len(whole.inputs) == 1:
        scale, offset = pixel_step(pixels.mean[0], pixels.std[0])
        shift = float(round(255.0 * pixels.mean[0] + offset / scale)) if pixels.embedded else offset
        zero = 255.0 * pixels.mean[0] - shift if pixels.embedded else -offset
        give_border_back(whole, whole.inputs[0], shift, zero)
    return whole


def _exact(graph: Graph, pixels: PixelInput) -> dict[str, tuple[float, int]]:
    tensor = graph.inputs[0]
    if not pixels.uniform or not can_take_pixels(graph, tensor):
        return {}
    scale, offset = pixel_step(pixels.mean[0], pixels.std[0])
    zero = round(255.0 * pixels.mean[0] + offset / scale)
    if zero - 128 not in (-128, 0):
        return {}
    if pixels.embedded:
        stored = exact_pixels(graph, tensor, float(zero), offset, scale)
        return {stored: (1.0, zero - 128)}
    return {exact_pixels(graph, tensor, offset, offset): (scale, zero - 128)}
