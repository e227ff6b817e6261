"""Average regions of a picture by two products: no target but ONNX has RoiAlign.

    Given:   x (N, C, H, W), regions (R, 4), pictures (R,) -> RoiAlign(avg) -> y (R, C, h, w)
    Result:  regions -> where each sample lies -> how near each row and column is, averaged over a bin's
             samples -> (R, 1, h, H) and (R, 1, W, w);
             rows x Gather(x, pictures) x columns -> y

Linear sampling is a sum over rows of a sum over columns, and so is the average of the samples of a bin.
Emitters call this for the node that they are at, because ONNX has the operator itself.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

FLOAT = 1  # TensorProto.FLOAT of the ONNX format


def why_no_regions(graph: Graph, node: Node) -> str | None:
    """Say why a RoiAlign cannot be written as products; None where it can."""
    if node.str("mode", "avg") != "avg":
        return "it takes maxima, not averages"
    if _samples(graph, node, 0) is None:
        return "the size of each computed region decides how many samples it has (sampling_ratio 0)"
    return None


def align_regions(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    steps = Steps(graph, node)
    x, _, pictures = node.inputs
    size, made = graph.shape(x), graph.shape(node.output)
    rows = _shares(steps, 1, size[2], made[2])
    columns = _shares(steps, 0, size[3], made[3])
    if size[0] > 1:
        x = steps.do("Gather", x, pictures, shape=(made[0], *size[1:]), axis=0)
    thin = (*made[:3], size[3])
    lines = steps.do("MatMul", rows, x, shape=thin)
    turned = (made[0], 1, size[3], made[3])
    columns = steps.do("Transpose", columns, shape=turned, perm=[0, 1, 3, 2])
    return steps.ended("MatMul", lines, columns)


def _samples(graph: Graph, node: Node, axis: int) -> "np.typing.NDArray[np.int64] | None":
    """Return how many samples a bin has along an axis (0: x), of each region (R,) or of all (1,)."""
    fixed = node.int("sampling_ratio", 0)
    if fixed > 0:
        return np.array([fixed], np.int64)
    regions = graph.constant(node, 1)
    if regions is None:
        return None
    bins = graph.shape(node.output)[3 - axis]
    scale = np.float32(node.float("spatial_scale", 1.0))
    spans = regions[:, 2 + axis] * scale - regions[:, axis] * scale
    if not _half_pixel(node):
        spans = np.maximum(spans, np.float32(1))
    counts: np.typing.NDArray[np.int64] = np.ceil(spans / np.float32(bins)).astype(np.int64)
    return np.maximum(counts, 0)


def _half_pixel(node: Node) -> bool:
    return node.str("coordinate_transformation_mode", "half_pixel") == "half_pixel"


def _shares(steps: Steps, axis: int, size: int, bins: int) -> str:
    """Return how much of each row (axis 1) or column (0) a bin averages: (R, 1, bins, size)."""
    graph, node = steps.graph, steps.node
    counts = _samples(graph, node, 1 if axis else 0)
    assert counts is not None
    most, regions = max(int(counts.max(initial=1)), 1), graph.shape(node.inputs[1])[0]
    scale, offset = node.float("spatial_scale", 1.0), 0.5 if _half_pixel(node) else 0.0
    column, places = (regions, 1), (regions, bins * most)
    first, last = (_bound(steps, axis + 2 * end, scale, offset) for end in (0, 1))
    span = steps.do("Sub", last, first, shape=column)
    if not _half_pixel(node):
        span = steps.do("Max", span, steps.constant(1.0), shape=column)
    each = np.maximum(counts, 1).reshape(-1, 1, 1)  # of a region without a sample all shares are 0
    ticks = np.arange(bins).reshape(1, -1, 1) + (np.arange(most) + 0.5) / each
    along = steps.constant((ticks / bins).reshape(len(each), -1))
    at = steps.do("Add", steps.do("Mul", span, along, shape=places), first, shape=places)
    inside = steps.do("Clip", at, *map(steps.constant, (0.0, size - 1.0)), shape=places)
    wide, spread = (regions, bins * most, 1), (regions, bins * most, size)
    near = steps.do("Reshape", inside, steps.integers(wide), shape=wide)
    pixels = steps.constant(np.arange(size).reshape(1, 1, -1))
    far = steps.do("Abs", steps.do("Sub", near, pixels, shape=spread), shape=spread)
    share = steps.do("Sub", steps.constant(1.0), far, shape=spread)
    share = steps.do("Relu", share, shape=spread)
    real = _beside(steps, at, size, places)
    used = (np.arange(most) < counts.reshape(-1, 1, 1)) / each  # (R or 1, 1, samples of a bin)
    weight = np.broadcast_to(used, (len(each), bins, most)).reshape(len(each), -1)
    real = steps.do("Mul", real, steps.constant(weight), shape=places)
    real = steps.do("Reshape", real, steps.integers(wide), shape=wide)
    share = steps.do("Mul", share, real, shape=spread)
    apart, one = (regions, bins, most, size), (regions, bins, 1, size)
    made = (regions, 1, bins, size)
    share = steps.do("Reshape", share, steps.integers(apart), shape=apart)
    share = steps.do("ReduceSum", share, steps.integers([2]), shape=one, keepdims=1)
    return steps.do("Reshape", share, steps.integers(made), shape=made)


def _bound(steps: Steps, column: int, scale: float, offset: float) -> str:
    """Return a side of all regions in pixels: (R, 1)."""
    shape = (steps.graph.shape(steps.node.inputs[1])[0], 1)
    cut = map(steps.integers, ([column], [column + 1], [1]))
    side = steps.do("Slice", steps.node.inputs[1], *cut, shape=shape)
    side = steps.do("Mul", side, steps.constant(scale), shape=shape)
    return steps.do("Sub", side, steps.constant(offset), shape=shape)


def _beside(steps: Steps, at: str, size: int, places: tuple[int, ...]) -> str:
    """Return 1 where a sample is at most a pixel outside of the picture, else 0."""
    low, high = map(steps.constant, (-1.0, float(size)))
    bounds = [
        steps.do("GreaterOrEqual", at, low, shape=places, kind=np.bool_),
        steps.do("LessOrEqual", at, high, shape=places, kind=np.bool_),
    ]
    both = steps.do("And", *bounds, shape=places, kind=np.bool_)
    return steps.do("Cast", both, shape=places, to=FLOAT)
