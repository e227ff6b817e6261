"""Average regions of a picture by two products: no target but ONNX has RoiAlign.

    Given:   x (N, C, H, W), regions (R, 4), pictures (R,) -> RoiAlign(avg) -> y (R, C, h, w)
    Result:  regions -> where each sample lies -> how near each row and column is, averaged over a bin's
             samples -> (R, 1, h, H) and (R, 1, W, w);
             rows x Gather(x, pictures) x columns -> y

    Given:   the same -> RoiAlign(max) -> y
    Result:  regions -> where each sample lies -> the four pixels around it, each times its share -> the
             largest of them all: what onnxruntime and ONNX's own reference take the maximum of

Linear sampling is a sum over rows of a sum over columns, and so is the average of the samples of a bin.
Where the size of a computed region says how many samples a bin has, there are as many as the largest
region inside the picture has, and those that a smaller one lacks count for nothing; of a larger region
they lie further apart. Emitters call this for the node that they are at, because ONNX has the operator
itself.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

FLOAT, INT64 = 1, 7  # of the ONNX format's TensorProto


class _Side(NamedTuple):
    """How bins are sampled along an axis.

    ``at``: places inside the picture, (R, bins * most); ``share``: what each sample counts, 0 outside
    of the picture; ``most``: how many samples a bin has.
    """

    at: str
    share: str
    most: int


def align_regions(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    if node.str("mode", "avg") == "max":
        return _maxima(Steps(graph, node))
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


def _maxima(steps: Steps) -> list[Node]:
    """Return the nodes of a RoiAlign of maxima."""
    graph, node = steps.graph, steps.node
    count, channels, *sides = graph.shape(node.inputs[0])
    regions, _, *bins = graph.shape(node.output)
    pixels, flat = (count, *sides, channels), (count * sides[0] * sides[1], channels)
    rows = steps.do("Transpose", node.inputs[0], shape=pixels, perm=[0, 2, 3, 1])
    rows = steps.do("Reshape", rows, steps.integers(flat), shape=flat)
    down = _side(steps, 1, sides[0], bins[0])
    along = _side(steps, 0, sides[1], bins[1])
    lines, places = bins[0] * down.most, bins[1] * along.most
    grid = (regions, lines, places)
    high = _corners(steps, down, sides[0], (regions, lines, 1))
    wide = _corners(steps, along, sides[1], (regions, 1, places))
    first = _picture_starts(steps, sides) if count > 1 else None
    largest = ""
    for (row, near_row), (column, near_column) in product(high, wide):
        start = steps.do(
            "Mul", row, steps.integers([sides[1]]), shape=graph.shape(row), kind=np.int64
        )
        if first is not None:
            start = steps.do("Add", start, first, shape=graph.shape(row), kind=np.int64)
        number = steps.do("Add", start, column, shape=grid, kind=np.int64)
        read = steps.do("Gather", rows, number, shape=(*grid, channels), axis=0)
        near = steps.do("Mul", near_row, near_column, shape=grid)
        near = steps.do("Reshape", near, steps.integers((*grid, 1)), shape=(*grid, 1))
        read = steps.do("Mul", read, near, shape=(*grid, channels))
        largest = steps.do("Max", largest, read, shape=(*grid, channels)) if largest else read
    bands, cells = regions * bins[0], regions * bins[0] * bins[1]
    for shape in ((bands, down.most, places * channels), (cells, along.most, channels)):
        largest = steps.do("Reshape", largest, steps.integers(shape), shape=shape)
        less = (shape[0], shape[2])
        largest = steps.do("ReduceMax", largest, steps.integers([1]), shape=less, keepdims=0)
    last = (regions, *bins, channels)
    largest = steps.do("Reshape", largest, steps.integers(last), shape=last)
    return steps.ended("Transpose", largest, perm=[0, 3, 1, 2])


def _picture_starts(steps: Steps, sides: list[int]) -> str:
    """Return the number of the first pixel of each region's picture: (R, 1, 1)."""
    pictures = steps.node.inputs[2]
    shape = (steps.graph.shape(pictures)[0], 1, 1)
    wide = steps.do("Reshape", pictures, steps.integers(shape), shape=shape, kind=np.int64)
    area = steps.integers([sides[0] * sides[1]])
    return steps.do("Mul", wide, area, shape=shape, kind=np.int64)


def _corners(
    steps: Steps, side: _Side, size: int, shape: tuple[int, int, int]
) -> list[tuple[str, str]]:
    """Return the pixels before and behind each place, and how near each is, seen with ``shape``."""
    flat = steps.graph.shape(side.at)
    low = steps.do("Floor", side.at, shape=flat)
    part = steps.do("Sub", side.at, low, shape=flat)
    high = steps.do("Add", low, steps.constant(1.0), shape=flat)
    high = steps.do("Clip", high, *map(steps.constant, (0.0, size - 1.0)), shape=flat)
    found = []
    for whole, near in (
        (low, steps.do("Sub", steps.constant(1.0), part, shape=flat)),
        (high, part),
    ):
        number = steps.do("Cast", whole, shape=flat, kind=np.int64, to=INT64)
        number = steps.do("Reshape", number, steps.integers(shape), shape=shape, kind=np.int64)
        near = steps.do("Mul", near, side.share, shape=flat)
        found.append((number, steps.do("Reshape", near, steps.integers(shape), shape=shape)))
    return found


def _samples(graph: Graph, node: Node, axis: int) -> NDArray[np.int64] | None:
    """Return how many samples a bin has along an axis (0: x): (R, 1), of all regions (1, 1), None: computed."""
    fixed = node.int("sampling_ratio", 0)
    if fixed > 0:
        return np.array([[fixed]], np.int64)
    regions = graph.constant(node, 1)
    if regions is None:
        return None
    bins = graph.shape(node.output)[3 - axis]
    scale = np.float32(node.float("spatial_scale", 1.0))
    spans = regions[:, 2 + axis] * scale - regions[:, axis] * scale
    if not _half_pixel(node):
        spans = np.maximum(spans, np.float32(1))
    counts: NDArray[np.int64] = np.ceil(spans / np.float32(bins)).astype(np.int64)
    return np.maximum(counts, 0).reshape(-1, 1)


def _half_pixel(node: Node) -> bool:
    return node.str("coordinate_transformation_mode", "half_pixel") == "half_pixel"


def _shares(steps: Steps, axis: int, size: int, bins: int) -> str:
    """Return how much of each row (axis 1) or column (0) a bin averages: (R, 1, bins, size)."""
    regions = steps.graph.shape(steps.node.inputs[1])[0]
    at, weight, most = _side(steps, axis, size, bins)
    wide, spread = (regions, bins * most, 1), (regions, bins * most, size)
    near = steps.do("Reshape", at, steps.integers(wide), shape=wide)
    pixels = steps.constant(np.arange(size).reshape(1, 1, -1))
    far = steps.do("Abs", steps.do("Sub", near, pixels, shape=spread), shape=spread)
    share = steps.do("Sub", steps.constant(1.0), far, shape=spread)
    share = steps.do("Relu", share, shape=spread)
    weight = steps.do("Reshape", weight, steps.integers(wide), shape=wide)
    share = steps.do("Mul", share, weight, shape=spread)
    apart, one = (regions, bins, most, size), (regions, bins, 1, size)
    made = (regions, 1, bins, size)
    share = steps.do("Reshape", share, steps.integers(apart), shape=apart)
    share = steps.do("ReduceSum", share, steps.integers([2]), shape=one, keepdims=1)
    return steps.do("Reshape", share, steps.integers(made), shape=made)


def _side(steps: Steps, axis: int, size: int, bins: int) -> _Side:
    graph, node = steps.graph, steps.node
    counts, regions = _samples(graph, node, axis), graph.shape(node.inputs[1])[0]
    scale, offset = node.float("spatial_scale", 1.0), 0.5 if _half_pixel(node) else 0.0
    column = (regions, 1)
    first, last = (_bound(steps, axis + 2 * end, scale, offset) for end in (0, 1))
    span = steps.do("Sub", last, first, shape=column)
    if not _half_pixel(node):
        span = steps.do("Max", span, steps.constant(1.0), shape=column)
    if counts is None:
        most = -(-(size + 1) // bins)
        along, weight = _computed_ticks(steps, span, bins, most)
    else:
        most = max(int(counts.max(initial=1)), 1)
        along, weight = _ticks(steps, counts, bins, most)
    places = (regions, bins * most)
    at = steps.do("Add", steps.do("Mul", span, along, shape=places), first, shape=places)
    inside = steps.do("Clip", at, *map(steps.constant, (0.0, size - 1.0)), shape=places)
    real = _beside(steps, at, size, places)
    return _Side(inside, steps.do("Mul", real, weight, shape=places), most)


def _ticks(steps: Steps, counts: NDArray[np.int64], bins: int, most: int) -> tuple[str, str]:
    """Return where samples lie in a region, as a part of its span, and what each counts of its bin.

    A region without a sample gives 0. Of maxima each sample counts 1, and those too many repeat the last.
    """
    each = np.maximum(counts, 1)  # (R or 1, 1)
    number = np.tile(np.arange(most), bins)
    bin_of = np.repeat(np.arange(bins), most)
    if steps.node.str("mode", "avg") == "max":
        number, weight = np.minimum(number, each - 1), (counts > 0) * np.ones(len(number))
    else:
        weight = (number < counts) / each
    along = (bin_of + (number + 0.5) / each) / bins
    return steps.constant(along), steps.constant(weight)


def _computed_ticks(steps: Steps, span: str, bins: int, most: int) -> tuple[str, str]:
    """Return the same of regions whose size is known when the net runs."""
    regions = steps.graph.shape(span)[0]
    column, places = (regions, 1), (regions, bins * most)
    one, zero, top = map(steps.constant, (1.0, 0.0, float(most)))
    count = steps.do("Div", span, steps.constant(float(bins)), shape=column)
    count = steps.do("Clip", steps.do("Ceil", count, shape=column), zero, top, shape=column)
    each = steps.do("Max", count, one, shape=column)
    number = steps.constant(np.tile(np.arange(most), bins).reshape(1, -1))
    bin_of = steps.constant(np.repeat(np.arange(bins), most).reshape(1, -1))
    if steps.node.str("mode", "avg") == "max":
        last = steps.do("Sub", each, one, shape=column)
        number = steps.do("Min", number, last, shape=places)
        some = steps.do("Clip", count, zero, one, shape=column)
        weight = steps.do("Mul", some, steps.constant(np.ones((1, places[1]))), shape=places)
    else:
        there = steps.do("Less", number, count, shape=places, kind=np.bool_)
        there = steps.do("Cast", there, shape=places, to=FLOAT)
        weight = steps.do("Div", there, each, shape=places)
    middle = steps.do("Add", number, steps.constant(0.5), shape=steps.graph.shape(number))
    along = steps.do("Div", middle, each, shape=places)
    along = steps.do("Add", along, bin_of, shape=places)
    return steps.do("Mul", along, steps.constant(1 / bins), shape=places), weight


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
