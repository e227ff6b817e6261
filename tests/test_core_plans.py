"""What the quantization decides about small graphs, by hand: what stays in float, what a batch may be, what is copied."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from graph_kit import graph_of, ints
from quant_nets import NetBuilder

from edgeconv.export.graph import Graph
from edgeconv.export.integer.counts import has_integer_layers
from edgeconv.export.quant.apart import kept_apart
from edgeconv.export.quant.batching import batched, channels_last_io, set_batch
from edgeconv.export.quant.enclosed import enclosed
from edgeconv.export.quant.gather import TensorStats
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.relative import relative

Ranges = dict[str, tuple[Any, Any]]


def seen_of(ranges: Ranges) -> Observation:
    """Return what was seen of tensors: the least and the largest value, of all or of each channel."""
    seen = Observation(1)
    for name, (low, high) in ranges.items():
        lows, highs = (np.atleast_2d(np.asarray(end, np.float32)) for end in (low, high))
        places = np.arange(lows.shape[1])
        seen.tensors[name] = TensorStats(lows, highs, highs, places, places)
    return seen


def ops_of(graph: Graph, found: Any) -> list[str]:
    """Return the operators of the nodes that were found, in the graph's order."""
    return [node.op for node in graph.nodes if node.name in found]


def vector_net(figures: int, tail: str = "y = Relu(h)") -> Graph:
    """Return a Gemm to ``figures`` and what comes behind it."""
    return graph_of(
        f"(float[1,4] x) => (float[1,{figures}] y) {{ h = Gemm<transB=1>(x, w, b) {tail} }}",
        w=np.ones((figures, 4), np.float32),
        b=np.zeros(figures, np.float32),
    )


MOVES = "its values move by less than 1/8 of what 8 bits would cover"
UNEVEN = "one of its figures moves by less than 1/8 of what another does"


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        ([480, 490], [520, 520], MOVES), ([-520, -500], [-480, -500], MOVES), ([-50, 480], [-45, 520], MOVES),
        ([455, 455], [520, 520], None),  # 65 is an eighth of 520
        ([455.5, 455.5], [520, 520], MOVES), ([0, 0], [9, 1], UNEVEN), ([0, 0], [8, 1], None),
        ([0, 1], [9, 1], None),  # the other one stands still
        ([5, 5], [5, 5], None), ([0] * 16, [9] + [1] * 15, UNEVEN), ([0] * 17, [9] + [1] * 16, None),
    ],
)  # fmt: skip
def test_figures_that_one_scale_cannot_hold_are_made_in_float(
    low: list[float], high: list[float], reason: str | None
) -> None:
    graph = vector_net(len(low), "")
    graph.outputs = ["h"]
    found = kept_apart(graph, seen_of({"h": (low, high)}))
    assert list(found.values()) == ([reason] if reason else [])
    assert kept_apart(graph, seen_of({})) == {}


@pytest.mark.parametrize(
    ("tail", "moved", "found"),
    [
        ("y = Softmax<axis=1>(h)", 0.1, ["Softmax"]), ("y = Softmax<axis=1>(h)", 0.125, []),
        ("s = Softmax<axis=1>(h) y = Reshape(s, shape)", 0.1, ["Softmax", "Reshape"]),
        ("y = Reshape(h, shape)", 0.02, ["Gemm", "Reshape"]), ("m = Mul(h, h) y = Add(m, c)", 0.02, ["Mul", "Add"]),
        ("e = Exp(h) y = Add(e, c)", 0.02, ["Add"]),
    ],
)  # fmt: skip
def test_the_cheap_end_of_a_net_computes_in_float(
    tail: str, moved: float, found: list[str]
) -> None:
    """What is prescribed is held against 1, all else against the largest value."""
    graph = vector_net(4, tail)
    graph.constants |= {"shape": ints(1, 4), "c": np.ones(4, np.float32)}
    seen = seen_of({"y": ([0.25] * 4, [0.25 + moved] * 4)})
    assert ops_of(graph, kept_apart(graph, seen)) == found
    if found == ["Mul", "Add"]:
        graph.outputs.append("m")  # another output is read by who knows whom
        assert ops_of(graph, kept_apart(graph, seen)) == ["Add"]


@pytest.mark.parametrize(("width", "found"), [(64, ["Add"]), (65, [])])
def test_a_large_end_stays_in_integers(width: int, found: list[str]) -> None:
    net = NetBuilder((1, 1, 64, width))
    conv = net.conv("input", 1)
    graph = net.finish(
        net.add("Add", [conv, net.constant("c", np.ones(1, np.float32))], (1, 1, 64, width))
    )
    seen = seen_of({graph.outputs[0]: (480, 520)})
    assert ops_of(graph, kept_apart(graph, seen)) == found


def joined(tail: str, **constants: Any) -> Graph:
    return graph_of(
        f"(float[1,4] x) => (float[1,8] y) {{ a = Gemm<transB=1>(x, w, b) g = Gemm<transB=1>(x, w, b) s = Sigmoid(g) {tail} }}",
        w=np.ones((4, 4), np.float32),
        b=np.zeros(4, np.float32),
        **constants,
    )


def test_outputs_of_very_different_size_are_joined_in_float() -> None:
    graph = joined("c = Concat<axis=1>(a, s) y = Reshape(c, shape)", shape=ints(1, 8))
    wide: Ranges = {
        "a": ([-50] * 4, [100] * 4),
        "s": ([0] * 4, [0.5] * 4),
        "y": ([-50] * 8, [100] * 8),
    }
    found = kept_apart(graph, seen_of(wide))
    assert ops_of(graph, found) == ["Sigmoid", "Concat", "Reshape"]
    assert set(found.values()) == {"it joins outputs of very different size"}
    assert kept_apart(graph, seen_of(wide | {"a": ([-2] * 4, [1] * 4)})) == {}  # four times
    assert len(kept_apart(graph, seen_of(wide | {"a": ([-2.5] * 4, [1] * 4)}))) == 3
    far = kept_apart(graph, seen_of(wide | {"a": ([480] * 4, [520] * 4)}))
    assert ops_of(graph, far) == ["Gemm", "Sigmoid", "Concat", "Reshape"]
    assert far[graph.nodes[0].name] == MOVES
    graph.outputs.append("s")  # it makes more than a part
    assert ops_of(graph, kept_apart(graph, seen_of(wide))) == ["Concat", "Reshape"]


def test_constants_count_among_what_is_joined_and_what_computes_behind_ends_it() -> None:
    wide = seen_of({"a": ([0] * 4, [1] * 4), "s": ([0] * 4, [1] * 4)})
    for value, count in ((-9.0, 2), (4.0, 0), (0.0, 0)):
        graph = joined("y = Concat<axis=1>(a, s, k)", k=np.full((1, 4), value, np.float32))
        assert len(kept_apart(graph, wide)) == count
    empty = joined("y = Concat<axis=1>(a, s, k)", k=np.zeros((1, 0), np.float32))
    assert kept_apart(empty, seen_of({"a": (0, 100), "s": (0, 100)})) == {}
    graph = joined("c = Concat<axis=1>(a, s) y = Mul(c, c)")
    assert kept_apart(graph, seen_of({"a": (0, 100), "s": (0, 1)})) == {}


PLANE = "(float[1,4,6] x, float[1,4,6] v) => (float[{out}] y) {{ {node} }}"


@pytest.mark.parametrize(
    ("out", "node", "apart"),
    [
        ("1,24", "y = Reshape(x, flat)", True), ("1,24", "y = Reshape<allowzero=1>(x, flat)", True), ("1,0", "y = Reshape(x, flat)", False),
        ("1,6,4", "y = Transpose<perm=[0,2,1]>(x)", True), ("4,1,6", "y = Transpose<perm=[1,0,2]>(x)", False), ("6,4,1", "y = Transpose(x)", False),
        ("1,8,6", "y = Concat<axis=1>(x, v)", True), ("1,8,6", "y = Concat<axis=-2>(x, v)", True), ("2,4,6", "y = Concat<axis=0>(x, v)", False),
        ("2,4,6", "y = Concat<axis=-3>(x, v)", False), ("1,8,6", "y = Concat<axis=1>(x, one)", False),
        ("1,4,2", "y = Gather<axis=2>(x, places)", True), ("2,4,6", "y = Gather(x, places)", False), ("1,2,6", "y = Gather<axis=1>(one, places)", False),
        ("1,4,6", "y = Softmax(x)", True), ("1,4,6", "y = Softmax<axis=0>(x)", False), ("1,4,6", "y = LogSoftmax<axis=1>(x)", True),
        ("1,4,6", "y = LayerNormalization(x, scale6)", True), ("1,1,6", "y = ArgMax<axis=1>(x)", True), ("1,4,6", "y = ArgMax(x)", False), ("1,4,6", "y = ArgMin(x)", False),
        ("1,2,6", "y = Slice(x, zero, two, axis1)", True), ("0,4,6", "y = Slice(x, one1, two, zero)", False), ("1,4,6", "y = Slice(x, zero, two, minus3)", False),
        ("1,1,6", "y = ReduceMean(x, axis1)", True), ("1,4,6", "y = ReduceMean(x, zero)", False), ("1,1,1", "y = ReduceMax(x)", False),
        ("1,1,6", "y = ReduceMin(x, axis1)", True), ("1,1,6", "y = ReduceSum(x, axis1)", True), ("1,4,6", "y = ReduceSum(x, zero)", False),
        ("1,6,6", "y = Pad(x, inside)", True), ("2,4,6", "y = Pad(x, before)", False), ("2,4,6", "y = Pad(x, after)", False), ("1,4,7", "y = Pad(x, short, , axes12)", False), ("1,6,6", "y = Pad(x, inside, single)", True),
        ("1,8,6", "y = Tile(x, twice)", True), ("2,4,6", "y = Tile(x, again)", False), ("1,4,6", "y = Expand(x, shape)", False),
        ("1,4,6", "y = Add(x, v)", True), ("1,4,6", "y = Add(x, row)", True), ("1,4,6", "y = Add(x, one)", True), ("2,4,6", "y = Add(x, pair)", False),
        ("1,4,6", "y = Mul(x, single)", True), ("1,4,4", "y = MatMul(x, turned)", True), ("1,4,6", "y = CumSum(x, single)", False),
    ],
)  # fmt: skip
def test_pictures_are_run_together_where_none_sees_another(
    out: str, node: str, apart: bool
) -> None:
    constants: dict[str, Any] = {
        "flat": ints(1, 24), "one": np.ones((1, 4, 6), np.float32), "pair": np.ones((2, 4, 6), np.float32), "row": np.ones(6, np.float32),
        "single": np.array(1, np.float32), "places": ints(0, 1), "scale6": np.ones(6, np.float32), "zero": ints(0), "one1": ints(1), "two": ints(2),
        "axis1": ints(1), "axes12": ints(1, 2), "minus3": ints(-3), "inside": ints(0, 1, 0, 0, 1, 0), "before": ints(1, 0, 0, 0, 0, 0),
        "after": ints(0, 0, 0, 1, 0, 0), "short": ints(0, 1, 0, 1), "twice": ints(1, 2, 1), "again": ints(2, 1, 1), "shape": ints(1, 4, 6),
        "turned": np.ones((6, 4), np.float32),
    }  # fmt: skip
    used = {
        name: value
        for name, value in constants.items()
        if name in node.replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    graph = graph_of(PLANE.format(out=out, node=node), **used)
    graph.shapes["y"] = tuple(int(size) for size in out.split(","))
    wide = batched(graph)
    assert (wide is not None) is apart
    if wide is not None and wide.nodes[0].op == "Reshape":
        assert wide.constants[wide.nodes[0].inputs[1]].tolist() == [-1, 24]
        assert wide.nodes[0].attrs == {}
        assert graph.constants["flat"].tolist() == [1, 24]


def test_products_of_two_tensors_keep_pictures_apart_by_their_first_axis() -> None:
    three = graph_of("(float[1,4,6] x, float[1,6,3] v) => (float[1,4,3] y) { y = MatMul(x, v) }")
    assert batched(three) is not None
    two = graph_of("(float[1,6] x, float[6,3] v) => (float[1,3] y) { y = MatMul(x, v) }")
    assert batched(two) is None
    same = graph_of("(float[1,1] x, float[1,1] v) => (float[1,1] y) { y = MatMul(x, v) }")
    assert batched(same) is None
    spread = graph_of("(float[1,6] x, float[2,6] v) => (float[2,6] y) { y = Add(x, v) }")
    assert batched(spread) is None
    less = graph_of("(float[1,6] x, float[6] v) => (float[1,6] y) { y = Add(x, v) }")
    assert batched(less) is None
    for turned, apart in ((0, True), (1, False)):
        gemm = graph_of(
            f"(float[4,4] x) => (float[4,4] y) {{ y = Gemm<transA={turned}>(x, w) }}",
            w=np.ones((4, 4), np.float32),
        )
        assert (batched(gemm) is not None) is apart
    given = graph_of("(float[1,4] x, float[4,4] w) => (float[1,4] y) { y = Gemm(x, w) }")
    assert batched(given) is None
    for node, apart in (("MatMul(x, w)", True), ("MatMul(w, x)", False), ("Gemm(x, w)", True)):
        narrow = graph_of(
            f"(float[1,1] x) => (float[1,1] y) {{ y = {node} }}", w=np.ones((1, 1), np.float32)
        )
        assert (batched(narrow) is not None) is apart
    rows = graph_of(
        "(float[2,6] x) => (float[2,6] y) { y = Add(x, c) }", c=np.ones((2, 6), np.float32)
    )
    assert batched(rows) is None
    bare = graph_of("(float x) => (float y) { y = Relu(x) }")
    assert batched(bare) is None


@pytest.mark.parametrize(
    ("scales", "sizes", "out", "attrs", "factors"),
    [
        ([1, 1, 2, 2], None, (1, 2, 8, 8), "", None), ([2, 1, 1, 1], None, (2, 2, 4, 4), "", False), (None, [1, 2, 8, 6], (1, 2, 8, 6), "", [1, 1, 2, 1.5]),
        (None, [1, 2, 8, 6], (1, 2, 8, 6), ", keep_aspect_ratio_policy=\"not_larger\"", False), (None, [8, 6], (1, 2, 8, 6), ", axes=[2,3]", False),
        (None, [3, 2, 4, 4], (3, 2, 4, 4), "", False),
    ],
)  # fmt: skip
def test_resizes_to_sizes_get_factors(
    scales: Any, sizes: Any, out: tuple[int, ...], attrs: str, factors: Any
) -> None:
    inputs = "x, , s" if scales else "x, , , s"
    s = np.array(scales, np.float32) if scales else np.array(sizes, np.int64)
    graph = graph_of(
        f'(float[1,2,4,4] x) => (float[{",".join(map(str, out))}] y) {{ y = Resize<mode="nearest"{attrs}>({inputs}) }}',
        s=s,
    )
    graph.shapes["y"] = out
    wide = batched(graph)
    assert (wide is None) is (factors is False)
    if factors and wide is not None:
        (node,) = wide.nodes
        assert node.inputs[:2] == ["x", ""]
        assert wide.constants[node.inputs[2]].tolist() == factors


def test_the_borders_of_a_batch_are_named_and_turned() -> None:
    from edgeconv.export.hub.onnx_io import to_onnx

    graph = graph_of(
        "(float[1,3,4,5] x, float[2,3,4,5] z, float[1,7] v) => (float[1,3,4,5] y, float[2,3,4,5] w, float[1,7] u) { y = Relu(x) w = Relu(z) u = Relu(v) }"
    )
    model = set_batch(to_onnx(graph))

    def dims(values: Any) -> list[list[Any]]:
        return [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]

    assert dims(model.graph.input) == [
        ["pictures", 3, 4, 5],
        ["2_pictures", 3, 4, 5],
        ["pictures", 7],
    ]
    names = channels_last_io(model)
    assert names == {
        "x": "x_channels_last",
        "z": "z",
        "v": "v",
        "y": "y_channels_last",
        "w": "w",
        "u": "u",
    }
    assert dims(model.graph.input)[0] == dims(model.graph.output)[0] == ["pictures", 4, 5, 3]
    first, last = model.graph.node[0], model.graph.node[-1]
    assert (list(first.input), list(first.output), list(first.attribute[0].ints)) == (
        ["x_channels_last"],
        ["x"],
        [0, 3, 1, 2],
    )
    assert (list(last.input), list(last.output), list(last.attribute[0].ints)) == (
        ["y"],
        ["y_channels_last"],
        [0, 2, 3, 1],
    )
    assert [node.op_type for node in model.graph.node] == [
        "Transpose",
        "Relu",
        "Relu",
        "Relu",
        "Transpose",
    ]


BETWEEN = "it lies between operators that compute in float"
FEEDS = "only operators that compute in float read it"


@pytest.mark.parametrize(
    ("body", "floats", "found"),
    [
        ("e = Exp(x) m = Mul(e, e) y = Exp(m)", "Exp", {"Mul": BETWEEN}), ("m = Mul(x, x) y = Exp(m)", "Exp", {"Mul": FEEDS}),
        ("e = Exp(x) y = Mul(e, e)", "Exp", {}), ("e = Exp(x) y = Reshape(e, shape)", "Exp", {"Reshape": BETWEEN}),
        ("r = Reshape(x, shape) y = Exp(r)", "Exp", {"Reshape": BETWEEN}), ("e = Exp(x) m = Gemm<transB=1>(e, w) y = Exp(m)", "Exp", {}),
        ("e = Exp(x) m = MatMul(e, w) y = Exp(m)", "Exp", {}), ("e = Exp(x) m = Mul(e, e) y = Gemm<transB=1>(m, w)", "Exp", {}), ("m = Mul(x, x) s = Sigmoid(m) a = Add(s, s) y = Reciprocal(a)", "Reciprocal", {"Mul": FEEDS, "Sigmoid": FEEDS, "Add": FEEDS}),
        ("m = Relu(x) y = Exp(m)", "Exp", {}), ("m = Mul(x, x) y = Softmax(m)", "Softmax", {}), ("m = Mul(x, x) e = Exp(m) y = Add(e, m)", "Exp", {}),
        ("m = Mul(x, x) s = ReduceSum(m, first) y = Exp(s)", "Exp", {"ReduceSum": FEEDS}), ("t = Tanh(x) y = ReduceProd(t, first)", "ReduceProd", {"Tanh": FEEDS}),
        ("e = Exp(x) p = Sigmoid(e) q = Mul(p, c) y = Exp(q)", "Exp", {"Sigmoid": BETWEEN, "Mul": BETWEEN}),
    ],
)  # fmt: skip
def test_what_lies_between_floats_computes_in_float(
    body: str, floats: str, found: dict[str, str]
) -> None:
    used: dict[str, Any] = {
        "shape": ints(1, 4),
        "first": ints(0),
        "w": np.ones((4, 4), np.float32),
        "c": np.ones(4, np.float32),
    }
    graph = graph_of(f"(float[1,4] x) => (float[1,4] y) {{ {body} }}", **used)
    said = enclosed(graph, {node.name: "kept" for node in graph.nodes if node.op == floats})
    assert {node.op: said[node.name] for node in graph.nodes if node.name in said} == found


def test_an_output_is_no_inside_of_floats() -> None:
    graph = graph_of("(float[1,4] x) => (float[1,4] y, float[1,4] m) { m = Mul(x, x) y = Exp(m) }")
    assert enclosed(graph, {graph.nodes[1].name: "kept"}) == {}
    inner = graph_of(
        "(float[1,4] x) => (float[1,4] y, float[1,4] m) { e = Exp(x) m = Mul(e, e) y = Exp(m) }"
    )
    floats = {node.name: "kept" for node in inner.nodes if node.op == "Exp"}
    assert enclosed(inner, floats) == {}
    moved = graph_of(
        "(float[1,4] x) => (float[1,4] y, float[1,4] m) { e = Exp(x) m = Reshape(e, s) y = Exp(m) }",
        s=ints(1, 4),
    )
    floats = {node.name: "kept" for node in moved.nodes if node.op == "Exp"}
    assert ops_of(moved, enclosed(moved, floats)) == ["Reshape"]
    assert enclosed(moved, {}) == {}


WIDE, NARROW = (0.1, 1.0), (0.2, 1.0)


@pytest.mark.parametrize(
    ("body", "ranges", "found"),
    [
        ("m = Mul(x, x) r = ReduceMean(m, axes) a = Add(r, c) s = Sqrt(a) y = Div(x, s)", {"r": WIDE, "a": WIDE, "s": WIDE}, ["Mul", "ReduceMean", "Add"]),
        ("m = Mul(x, x) r = ReduceMean(m, axes) a = Add(r, c) s = Sqrt(a) y = Div(x, s)", {"r": NARROW, "a": NARROW, "s": NARROW}, []),
        ("a = Add(x, c) y = Log(a)", {"a": (0.125, 1.0)}, []), ("a = Add(x, c) y = Log(a)", {"a": (0.12, 1.0)}, ["Add"]), ("a = Add(x, c) y = Log(a)", {"a": (-1, 0.0)}, ["Add"]),
        ("a = Add(x, c) y = Reciprocal(a)", {"a": (-1.0, -0.1)}, ["Add"]), ("a = Add(x, c) y = Reciprocal(a)", {"a": (-1.0, -0.2)}, []), ("a = Add(x, c) y = Reciprocal(a)", {}, []),
        ("a = Add(x, c) y = Floor(a)", {"a": (0.0, 1.0)}, ["Add"]), ("a = Add(x, c) y = Ceil(a)", {"a": (0.0, 1.0)}, ["Add"]), ("a = Add(x, c) y = Round(a)", {"a": (0.0, 1.0)}, ["Add"]),
        ("a = Add(x, c) y = Div(a, c)", {"a": (0.0, 1.0)}, []), ("a = Add(x, c) b = Tanh(a) y = Log(b)", {"b": (0.0, 1.0)}, []),
        ("r = ReduceSum(x, axes) y = Div(x, r)", {"r": NARROW}, ["ReduceSum"]), ("r = ReduceMean(x, axes) y = Div(x, r)", {"r": NARROW}, ["ReduceMean"]),
        ("r = ReduceMax(x, axes) y = Div(x, r)", {"r": NARROW}, []), ("r = Abs(x) y = Div(x, r)", {"r": NARROW}, []), ("y = Relu(x)", {"y": (0, 0.5)}, []), ("m = Mul(x, x) r = ReduceSum(m, axes) y = Div(x, r)", {"r": NARROW}, []),
        ("a = Add(x, c) i = Cast<to=7>(a) y = Cast<to=1>(i)", {}, ["Add"]), ("a = Add(x, c) i = Cast<to=11>(a) y = Cast<to=1>(i)", {}, []),
        ("y = Tanh(x)", {"y": (-0.49, 0.3)}, ["Tanh"]), ("y = Tanh(x)", {"y": (-0.5, 0.3)}, []), ("y = Sigmoid(x)", {"y": (0, 0.12)}, ["Sigmoid"]), ("y = Sigmoid(x)", {"y": (0, 0.125)}, []),
        ("y = Softmax(x)", {"y": (0, 0.12)}, ["Softmax"]), ("y = Softmax(x)", {"y": (0, 0.125)}, []), ("y = HardSigmoid(x)", {"y": (0, 0.12)}, ["HardSigmoid"]), ("y = HardSigmoid(x)", {}, []),
        ("a = Add(x, c) b = Mul(x, x) y = Sub(a, b)", {"a": (0, 4.1), "b": (-5, 1), "y": (-1, 1)}, ["Add", "Mul", "Sub"]),
        ("t = Transpose<perm=[1,0]>(x) m = MatMul(x, t) y = Div(x, m)", {"m": WIDE}, ["MatMul"]), ("t = Transpose<perm=[1,0]>(x) m = MatMul(x, t) y = Div(x, m)", {"m": NARROW}, []),
        ("m = Max(x, low) y = Sub(low, m)", {"m": (-1, 1)}, ["Max"]), ("m = Max(x, low) y = Sub(low, m)", {"m": (-11, 1)}, []), ("m = Max(x, low) y = Min(low, m)", {"m": (-1, 1), "y": (-1, 1)}, []),
        ("a = Add(x, c) b = Mul(x, x) y = Sub(a, b)", {"a": (0, 4.0), "b": (-5, 1), "y": (-1, 1)}, []), ("a = Add(x, c) y = Sub(a, c)", {"a": (0, 9), "y": (0, 1)}, []),
    ],
)  # fmt: skip
def test_small_values_that_count_are_computed_in_float(
    body: str, ranges: Ranges, found: list[str]
) -> None:
    graph = graph_of(
        f"(float[1,4] x) => (float[1,4] y) {{ {body} }}",
        axes=ints(1),
        c=np.ones(4, np.float32),
        low=np.full(4, -1001, np.float32),
    )
    assert ops_of(graph, relative(graph, seen_of({"x": (-1, 1)} | ranges))) == found


@pytest.mark.parametrize(
    ("squared", "power", "low", "found"),
    [
        ("Mul(h, h)", "Log(c)", 0.1, ["Conv", "Mul", "MatMul", "Clip"]),
        ("Pow(h, two)", "Pow(c, third)", 0.1, ["Conv", "Pow", "MatMul", "Clip"]),
        ("Mul(h, h)", "Log(c)", 0.2, []),
        ("Mul(h, h)", "Pow(c, two)", 0.1, []),
        ("Relu(h)", "Log(c)", 0.1, ["Clip"]),
    ],
)
def test_the_spectrum_that_a_logarithm_is_taken_of_is_computed_in_float(
    squared: str, power: str, low: float, found: list[str]
) -> None:
    graph = graph_of(
        "(float[1,1,9] x) => (float[1,3,2] y) { h = Conv<strides=[2]>(x, w) "
        f"p = {squared} m = MatMul(p, mel) c = Clip(m, least) y = {power} }}",
        w=np.ones((3, 1, 3), np.float32),
        mel=np.ones((4, 2), np.float32),
        least=np.array(0.1, np.float32),
        two=np.array(2.0, np.float32),
        third=np.array(1 / 3, np.float32),
    )
    said = relative(graph, seen_of({"c": (low, 1.0)}))
    assert ops_of(graph, said) == found
    last = graph.nodes[-1]
    assert set(said.values()) <= {f"{last.op} asks for a share of each value, not of the largest"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("p = Mul(a, b) q = Mul(b, c) y = Sub(p, q)", ["Mul", "Mul", "Sub"]),
        ("p = Mul(a, b) q = Mul(b, c) s = Sub(p, q) y = Sub(q, s)", ["Mul", "Mul", "Sub", "Sub"]),
        ("p = Mul(a, b) q = Mul(b, c) y = Add(p, q)", []),
        ("p = Mul(a, two) q = Mul(b, c) y = Sub(p, q)", []),  # of one computed value
        ("p = Mul(a, b) y = Sub(p, c)", []),
    ],
)
def test_a_difference_of_products_computes_in_float(body: str, found: list[str]) -> None:
    for places, wanted in ((4, found), (8192, [])):  # a determinant's numbers, not a picture's
        graph = graph_of(
            f"(float[{places}] a, float[{places}] b, float[{places}] c) => (float[{places}] y) {{ {body} }}",
            **({"two": np.array(2.0, np.float32)} if "two" in body else {}),
        )
        seen = seen_of({"p": (-1, 1), "q": (-1, 1)})
        assert ops_of(graph, relative(graph, seen)) == wanted


@pytest.mark.parametrize(
    ("body", "has"),
    [
        ("y = Exp(x)", False),
        ("e = Exp(x) y = MatMul(e, x)", True),
        ("y = Conv(x, w)", True),
        ("y = Conv(x, x)", False),  # whose weights are computed
    ],
)
def test_a_net_has_layers_in_integers_where_one_has_such_a_form(body: str, has: bool) -> None:
    weights = {"w": np.ones((1, 1, 1, 1), np.float32)} if "w)" in body else {}
    body = f"(float[1,1,1,1] x) => (float[1,1,1,1] y) {{ {body} }}"
    assert has_integer_layers(graph_of(body, **weights)) is has


def test_why_small_values_count_is_said() -> None:
    graph = graph_of(
        "(float[1,4] x) => (float[1,4] y) { a = Add(x, c) y = Log(a) }", c=np.ones(4, np.float32)
    )
    add, _ = graph.nodes
    assert relative(graph, seen_of({"x": (-1, 1), "a": WIDE})) == {
        add.name: "Log asks for a share of each value, not of the largest"
    }
    graph.nodes.append(type(add)("Relu", "other", ["a"], ["z"]))
    graph.declare("z", (1, 4), np.float32)
    assert (
        relative(graph, seen_of({"x": (-1, 1), "a": WIDE})) == {}
    )  # another reader computes in steps of one size
    graph.nodes.pop()
    graph.outputs.append("a")
    assert relative(graph, seen_of({"x": (-1, 1), "a": WIDE})) == {}


HEAT = "h = Conv<kernel_shape=[1,1]>(x, w) s = Sigmoid(h) p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(s) e = Equal(p, s) f = Cast<to=1>(e) y = Mul(s, f)"


@pytest.mark.parametrize("limits", ["", " s = Clip(g, c, d)"])
def test_peaks_are_computed_in_float(limits: str) -> None:
    body = HEAT.replace(" s = Sigmoid(h)", f" g = Sigmoid(h){limits}") if limits else HEAT
    heat = graph_of(
        f"(float[1,4,6,6] x) => (float[1,2,6,6] y) {{ {body} }}",
        w=np.ones((2, 4, 1, 1), np.float32),
        c=np.array(1e-4, np.float32),
        d=np.array(0.9999, np.float32),
    )
    found = relative(heat, seen_of({}))
    assert ops_of(heat, found) == ["Sigmoid", *(["Clip"] if limits else []), "MaxPool", "Mul"]
    assert set(found.values()) == {"Equal asks for all digits"}


def test_choices_are_computed_in_float() -> None:
    fixed = graph_of(
        "(float[1,4] x) => (float[1,4] y) { s = Sigmoid(x) e = Equal(s, c) y = Cast<to=1>(e) }",
        c=np.ones(4, np.float32),
    )
    assert relative(fixed, seen_of({})) == {}

    def experts(
        count: int, rows: int = 1, read: str = "y = Cast<to=1>(i)", op: str = "ArgMax<axis=1>"
    ) -> list[str]:
        out = f"float[{rows},1] y" if read else f"int64[{rows},1] i"
        graph = graph_of(
            f"(float[{rows},4] x) => ({out}) {{ h = Gemm<transB=1>(x, w, b) s = Softmax(h) i = {op}(s) {read} }}",
            w=np.ones((count, 4), np.float32),
            b=np.zeros(count, np.float32),
        )
        return ops_of(graph, relative(graph, seen_of({})))

    assert experts(64) == ["Gemm", "Softmax"]
    assert experts(64, op="ArgMin<axis=1>") == ["Gemm", "Softmax"]
    assert experts(65) == []
    assert experts(64, read="") == []  # what nobody reads chooses nothing
    assert experts(64, rows=64) == ["Gemm", "Softmax"]
    assert experts(64, rows=65) == []
    assert experts(64, rows=65, op="ArgMax") == experts(65, rows=64, op="ArgMax") == []
    assert experts(60, rows=64, op="ArgMax") == ["Gemm", "Softmax"]
    for width, chosen in ((64, 1), (65, 0)):
        top = graph_of(
            f"(float[1,{width}] x) => (float[1,2] y) {{ s = Softmax(x) v, i = TopK(s, k) y = Cast<to=1>(i) }}",
            k=ints(2),
        )
        assert len(relative(top, seen_of({}))) == chosen
    for size, summed in ((4096, 1), (4097, 0)):
        whole = graph_of(
            f"(float[1,{size}] x) => (float[1,{size}] y) {{ r = ReduceSum(x, axes) y = Div(x, r) }}",
            axes=ints(1),
        )
        assert len(relative(whole, seen_of({"r": NARROW}))) == summed
    few = graph_of(
        "(float[1,4] x) => (float[1,2] v, float[1,2] y) { s = Softmax(x) v, i = TopK(s, k) y = Cast<to=1>(i) }",
        k=ints(2),
    )
    said = relative(few, seen_of({}))
    assert said == {few.nodes[0].name: "TopK chooses among few by small differences"}


NEIGHBOURS = "t = Transpose<perm=[1,0]>(x) m = MatMul(x, t) q = Pow(t, two) r = ReduceSum(q, axes) n = Neg(m) s = Sub(n, r) d = Mul(s, half)"


@pytest.mark.parametrize("count", [64, 65])
@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("v, i = TopK(d, k) y = Cast<to=1>(i)", True), ("v, i = TopK(d, k) y = Relu(v)", True), ("i = ArgMin<axis=1>(d) y = Cast<to=1>(i)", True),
        ("y = Relu(d)", False), ("v, i = TopK(d, k) y = Identity(x)", False),
    ],
)  # fmt: skip
def test_the_distances_of_neighbours_are_computed_in_float(
    count: int, chosen: str, found: bool
) -> None:
    graph = graph_of(
        f"(float[{count},3] x) => (float[?,?] y) {{ {NEIGHBOURS} {chosen} }}",
        two=np.array(2.0, np.float32),
        half=np.array(0.5, np.float32),
        axes=ints(0),
        k=ints(2),
    )
    said = relative(graph, seen_of({}))
    # what is stored as integers for the product is moved for it
    assert ops_of(graph, said) == (["Pow", "ReduceSum", "Neg", "Sub", "Mul"] if found else [])
    among = "among few " if count == 64 else ""
    assert all(f"chooses {among}by small differences" in why for why in said.values())


def test_places_that_a_picture_is_read_at_are_computed_in_float() -> None:
    body = "a = Gemm<transB=1>(z, w) r = Reshape(a, s) m = Mul(g, r) b = Add(m, g) t = Transpose<perm=[0,2,3,1]>(b) p = Abs(x) y = GridSample(p, t)"
    graph = graph_of(
        f"(float[1,2,4,4] x, float[1,4] z) => (float[1,2,4,4] y) {{ {body} }}",
        w=np.ones((2, 4), np.float32),
        s=ints(1, 2, 1, 1),
        g=np.ones((1, 2, 4, 4), np.float32),
    )
    said = relative(graph, seen_of({"m": (-1, 1)}))
    assert ops_of(graph, said) == ["Reshape", "Mul", "Add", "Transpose"]
    assert set(said.values()) == {"GridSample reads at these places"}


def test_windows_that_are_summed_before_a_root_are_summed_in_float() -> None:
    for weights, found in (
        (np.ones((2, 1, 3, 3)), ["Mul", "Conv"]),
        (np.ones((2, 1, 1, 1)), []),
        (np.arange(18).reshape(2, 1, 3, 3), []),
    ):
        graph = graph_of(
            "(float[1,2,6,6] x) => (float[1,2,6,6] y) { m = Mul(x, x) h = Conv<group=2, pads=[1,1,1,1]>(m, w) y = Sqrt(h) }",
            w=weights.astype(np.float32),
        )
        assert ops_of(graph, relative(graph, seen_of({"h": WIDE}))) == found
    one = graph_of(
        "(float[1,1,6,6] x) => (float[1,1,6,5] y) { m = Mul(x, x) h = Conv(m, w) y = Sqrt(h) }",
        w=np.ones((1, 1, 1, 2), np.float32),
    )
    assert ops_of(one, relative(one, seen_of({"h": WIDE}))) == ["Mul", "Conv"]
    dense = graph_of(
        "(float[1,2,6,6] x) => (float[1,1,4,4] y) { m = Mul(x, x) h = Conv(m, w) y = Sqrt(h) }",
        w=np.ones((1, 2, 3, 3), np.float32),
    )
    assert relative(dense, seen_of({"h": WIDE})) == {}
