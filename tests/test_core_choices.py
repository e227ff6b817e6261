"""What calibration chooses, by hand: ranges, scores and the best of them, copies, islands, pictures, words."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_kit import floats, graph_of, ints
from quant_nets import RELU, NetBuilder

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.quant import bounds as bounds_of
from edgeconv.export.quant import (
    budget,
    copies,
    engine,
    explain,
    islands,
    judge,
    ranges,
    report,
    stream,
)
from edgeconv.export.quant.calibration import check_pictures, clip_rates, stability
from edgeconv.export.quant.clip import clip_search
from edgeconv.export.quant.differences import differences
from edgeconv.export.quant.gather import TensorStats
from edgeconv.export.quant.observe import Observation, observe
from edgeconv.export.quant.workspace import Workspace
from edgeconv.recipe import Activation, Recipe, Weights, choose_scale

INF = float("inf")
UNIT = Activation(0.5, -28, -50.0, 77.5)


def seen_of(**spans: Any) -> Observation:
    """Return what was seen of tensors: (low, high), or (low, high, sample)."""
    seen = Observation(1)
    for name, (low, high, *sample) in spans.items():
        ends = [np.atleast_2d(np.asarray(end, np.float32)) for end in (low, high)]
        values = np.atleast_2d(np.asarray(sample[0] if sample else high, np.float32))
        places = np.arange(values.shape[1])
        seen.tensors[name] = TensorStats(
            ends[0], ends[1], values, places % ends[0].shape[1], places
        )
    return seen


def test_tensors_of_integer_nodes_are_stored() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y, int64[2] n) { c = Sub(x, half) a = Add(c, row) e = Exp(a) m = Mul(e, row) y = Clip(m, half) n = Shape(y) }",
        half=np.array(0.5, np.float32),
        row=np.ones(2, np.float32),
    )
    assert ranges.quantized_tensors(graph, frozenset()) == ["c", "row", "a", "e", "m", "y"]
    floats = frozenset({graph.nodes[1].name, graph.nodes[3].name})
    assert ranges.quantized_tensors(graph, floats) == ["m", "y"]


def test_prescribed_scales_are_those_of_gates_and_pixels() -> None:
    net = NetBuilder((1, 2, 2, 2))
    conv = net.conv("input", 2, kernel=1, clamp=(0.0, 1.0))
    added = net.add("Add", [conv, conv], (1, 2, 2, 2), clamp=(0.0, 1.0))
    soft = net.add("Softmax", [added], (1, 2, 2, 2), axis=1)
    turned = net.add("Tanh", [soft], (1, 2, 2, 2))
    graph = net.finish(turned)
    found = ranges.fixed_scales(graph, {"input": (0.02, -3)}, frozenset())
    assert {name: (held.scale, held.zero_point) for name, held in found.items()} == {
        "input": (pytest.approx(0.02), -3), conv: (pytest.approx(1 / 255), -128), soft: (1 / 256, -128), turned: (1 / 128, 0),
    }  # fmt: skip
    assert all(held.fixed for held in found.values())
    assert (found["input"].low, found["input"].high) == pytest.approx((-125 * 0.02, 130 * 0.02))
    assert (found[turned].low, found[turned].high) == (-1.0, 127 / 128)
    assert list(
        ranges.fixed_scales(graph, {}, frozenset({graph.nodes[0].name, graph.nodes[2].name}))
    ) == [turned]


@pytest.mark.parametrize(
    ("body", "apart"),
    [
        ("a = Sigmoid(x) b = Tanh(x) y = Concat<axis=1>(a, b)", True), ("a = Sigmoid(x) b = Softmax(x) y = Concat<axis=1>(a, b)", False),
        ("a = Sigmoid(x) y = Concat<axis=1>(a, x)", True), ("a = Relu(x) y = Concat<axis=1>(a, x)", False), ("a = Sigmoid(x) y = Concat<axis=1>(a)", False),
        ("a = Sigmoid(x) b = Tanh(x) y = Add(a, b)", False), ("a = Sigmoid(x) r = Reshape(x, s) y = Max(a, r)", True),
    ],
)  # fmt: skip
def test_prescribed_scales_that_differ_are_not_joined(body: str, apart: bool) -> None:
    graph = graph_of(
        f"(float[1,2] x) => (float[1,?] y) {{ {body} }}".replace(
            "?", "4" if ("(a, " in body and "Concat" in body) else "2"
        ),
        s=ints(1, 2),
    )
    found = ranges.conflicts(graph, ranges.fixed_scales(graph, {}, frozenset()))
    last = graph.nodes[-1]
    assert found == (
        {last.name: "it joins tensors whose prescribed scales differ"} if apart else {}
    )


def choose(
    graph: Graph, seen: Observation, form: Any = "asymmetric", method: Any = "minmax", **more: Any
) -> dict[str, Activation]:
    return ranges.choose_ranges(
        graph, seen, form=form, method=method, **{"fixed": {}, "float_nodes": frozenset(), **more}
    )


def test_a_group_has_the_range_of_all_its_tensors() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,4] y) { a = Mul(x, x) c = Concat<axis=1>(a, x) y = Relu(c) }"
    )
    seen = seen_of(x=(-1, 2), a=(-3, 4), c=(-3, 4), y=(0, 4))
    found = choose(graph, seen)
    # a ReLU behind the Concat hides what is below 0 of a and c; x is an input
    assert found["x"] == found["a"] == found["c"] == choose_scale(-1.0, 4.0, "asymmetric")
    assert found["y"] == replace(choose_scale(0.0, 4.0, "asymmetric"), final=True)
    free = choose(graph, seen, form="zero-point-free")
    assert (free["x"].scale, free["x"].zero_point) == pytest.approx((4 / 127, 0))
    held = choose(graph, seen, fixed={"a": UNIT})
    assert held["x"] == held["a"] == held["c"] == UNIT
    assert choose(graph, seen, float_nodes=frozenset({graph.nodes[1].name}))["a"] == replace(
        choose_scale(0.0, 4.0, "asymmetric"), final=True
    )


def test_what_is_clipped_is_never_an_output() -> None:
    """A little less of the largest value, of which there is one, for finer steps of all others: 2 % of it."""
    values = np.append(np.linspace(-1, 1, 100_000), 2.0).astype(np.float32)
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y) { a = Mul(x, x) y = Neg(a) z = Mul(a, a) y2 = Mul(z, z) }"
    )
    graph.nodes[1].op = "Clip"
    seen = seen_of(**{name: (-1, 2, values) for name in ("x", "a", "y", "z", "y2")})
    found = choose(graph, seen, method="mse3")
    assert found["a"].high == pytest.approx(1.96)
    assert found["y"].high == 2.0
    assert choose(graph, seen)["a"].high == 2.0


def cube(values: Any, low: float, high: float, form: Any) -> float:
    held = choose_scale(low, high, form)
    steps = np.clip(np.rint(values / held.scale) + held.zero_point, -128, 127)
    return float((np.abs((steps - held.zero_point) * held.scale - values) ** 3).mean())


@pytest.mark.parametrize("form", ["asymmetric", "zero-point-free"])
def test_no_end_near_the_chosen_one_is_better(form: Any) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 20000), rng.normal(0, 6, 60)]).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    found = clip_search(values, low, high, form)
    factors = np.linspace(1.0, 0.2, 41)
    ends = [min(np.abs(factors - found[i] / end)) for i, end in enumerate((low, high))]
    assert max(ends) < 1e-6
    best = min(cube(values, low * a, high * b, form) for a in factors[::2] for b in factors[::2])
    assert cube(values, *found, form) <= 1.1 * best
    assert cube(values, *found, form) < cube(values, low, high, form)
    positive = np.abs(values)
    assert clip_search(positive, 0.5, float(positive.max()), form)[0] == 0.0
    assert clip_search(positive, 0.0, 0.0, form) == (0.0, 0.0)
    few = np.linspace(-1, 1, 999).astype(
        np.float32
    )  # what a sample missed is cut to a fifth at most
    assert clip_search(few, -1.0, 50.0, form)[1] == pytest.approx(10.0)
    assert clip_search(few, -50.0, 1.0, form)[0] == pytest.approx(-10.0)
    even = np.linspace(-1, 1, 20001).astype(np.float32)
    assert clip_search(even, -1.0, 1.0, form) == (-1.0, 1.0)


def pooled(
    made: tuple[float, float],
    given: tuple[float, float],
    form: Any = "asymmetric",
    fixed: bool = False,
    readers: str = "",
) -> tuple[Activation, Activation]:
    graph = graph_of(
        f"(float[1,2,3,3] x) => (float[1,2,1,1] y) {{ t = Mul(x, x) p = GlobalAveragePool(t) y = Mul(p, p) {readers} }}"
    )
    for node in graph.nodes:
        graph.shapes.setdefault(node.output, (1, 2, 1, 1))
        graph.dtypes.setdefault(node.output, np.dtype(np.float32))
    spans = {name: (-1, 1) for node in graph.nodes for name in node.outputs} | {
        "x": (-1, 1),
        "t": given,
        "p": made,
    }
    held = {"t": replace(choose_scale(*given, "asymmetric"), fixed=True)} if fixed else {}
    found = choose(graph, seen_of(**spans), form=form, fixed=held)
    return found["t"], found["p"]


def test_an_average_has_a_step_that_divides_its_inputs_shift() -> None:
    """Of 128 zero points at 0.01: 326.4 steps of 1/255 become 326 and a 512th."""
    given, made = pooled((0.0, 1.0), (0.0, 2.55))
    assert given.scale == pytest.approx(0.01)
    assert made.high == pytest.approx(326.4 / (326 + 2**-9), rel=1e-5)
    assert 128 * given.scale / made.scale == pytest.approx(326 + 2**-9, abs=1e-3)
    less, as_it_is = pooled((0.0, 400.0), (0.0, 2.55))
    assert (as_it_is.high, less.high) == pytest.approx(
        (400.0, 2.55)
    )  # a shift of less than one step
    small, kept = pooled((0.0, 1.275), (-1.27, 1.28))
    assert (small.low, small.high, kept.high) == pytest.approx((-1.28, 1.28, 1.275))
    fixed, wide = pooled((0.0, 1.275), (-1.27, 1.28), fixed=True)
    assert (fixed.low, wide.high) == pytest.approx((-1.27, 1.275 * 2 / (1 + 2**-9)), rel=1e-4)
    both, wide = pooled((0.0, 1.275), (-1.27, 1.28), readers="q = GlobalAveragePool(t)")
    assert (both.low, wide.high) == pytest.approx((-1.27, 1.275 * 2 / (1 + 2**-9)), rel=1e-4)
    _free, made = pooled((0.0, 1.0), (0.0, 2.55), form="zero-point-free")
    assert made.high == pytest.approx(326.4 / (326 + 2**-9), rel=1e-5)


@pytest.mark.parametrize(
    ("body", "low", "found"),
    [
        ("s = Add(x, mask) y = Softmax(s)", -1e9, {"mask": -10.0}), ("s = Add(mask, x) y = Softmax(s)", -1e9, {"mask": -10.0}),
        ("m = Mul(v, v) s = Add(x, m) y = Softmax(s)", -1e9, {"m": -10.0}), ("m = Mul(v, v) s = Add(x, m) y = Softmax(s)", -1000.0, {}),
        ("m = Mul(v, v) s = Add(x, m) y = Softmax(s)", -1001.0, {"m": -10.0}), ("m = Mul(v, v) r = Reshape(m, shape) s = Add(x, r) y = Softmax(s)", -1e9, {"r": -10.0, "m": -10.0}),
        ("m = Mul(v, v) s = Add(x, m) e = Exp(m) y = Softmax(s)", -1e9, {}), ("m = Mul(v, v) s = Mul(x, m) y = Softmax(s)", -1e9, {}),
        ("m = Mul(v, v) s = Add(x, m) t = Add(v, m) z = Softmax(t) y = Softmax(s)", -1e9, {"m": -11.0}),
    ],
)  # fmt: skip
def test_masks_end_where_they_hide_all(body: str, low: float, found: dict[str, float]) -> None:
    """Below the largest value of a row, 5, less 12, less the largest score, 3 (of v: 4)."""
    graph = graph_of(
        f"(float[1,4] x, float[1,4] v) => (float[1,4] y) {{ {body} }}",
        mask=np.array([[0.0, -1e9, 0, 0]], np.float32),
        shape=ints(1, 4),
    )
    seen = seen_of(
        **{name: (low, 0) for name in ("m", "r")},
        **{name: (-1, 3) for name in ("x", "s", "t")},
        v=(-1, 4),
    )
    bounds = {"s": (5.0 - 12.0, INF), "t": (-7.0, INF), "y": (-INF, INF)}
    bounds |= {
        name: (-INF, INF) for node in graph.nodes for name in node.outputs if name not in bounds
    }
    made = bounds_of.mask_bounds(graph, seen, bounds)
    assert {name: bound for name, bound in made.items() if name != "v" and name != "x"} == {
        name: (floor, INF) for name, floor in found.items()
    }


def test_fills_that_no_maximum_is_count_for_nothing() -> None:
    for fill, found in ((-1e30, True), (-0.9e30, False)):
        graph = graph_of(
            "(float[1,4] x) => (float[1,4] y) { p = Pad(x, pads, fill) y = Slice(p, one, five, one) z = Exp(p) }",
            pads=ints(0, 1, 0, 1), fill=np.array(fill, np.float32), one=ints(1), five=ints(5),
        )  # fmt: skip
        assert bounds_of.fill_bounds(graph, seen_of(x=(-2, 3))) == (
            {"p": (-2.0, INF), "y": (-2.0, INF)} if found else {}
        )
    bare = graph_of("(float[1,4] x) => (float[1,6] y) { y = Pad(x, pads) }", pads=ints(0, 1, 0, 1))
    assert bounds_of.fill_bounds(bare, seen_of(x=(-2, 3))) == {}
    assert bounds_of.ends(bare, seen_of(x=(-2, 3)), "x") == (-2.0, 3.0)
    bare.constants["k"] = np.array([4.0, -5.0], np.float32)
    assert bounds_of.ends(bare, seen_of(), "k") == (-5.0, 4.0)
    bare.constants["none"] = np.zeros((0, 3), np.float32)
    assert bounds_of.ends(bare, seen_of(), "none") == (0.0, 0.0)


def test_limits_that_are_never_reached_count_for_nothing() -> None:
    graph = graph_of(
        "(float[1,4] x) => (float[1,4] y, float[1,4] z, float[1,4] u) "
        "{ y = Max(x, k) z = Min(x, k) u = Max(x, both) v = Add(u, both) }",
        k=np.array([[-1e9, 1.0, -0.5, 1e9]], np.float32),
        both=np.array([[-65504.0]], np.float32),
    )
    seen = seen_of(x=(-2, 3), y=(-1, 8), z=(-9, 2))
    assert bounds_of.limit_bounds(graph, seen) == {"k": (-9.0, 8.0)}


def scored(*noise: float) -> list[judge.Score]:
    return [judge.Score(each, 0.0, 0.0, None) for each in noise]


def db(value: float) -> float:
    return float(10 ** (value / 10))


@pytest.mark.parametrize(
    ("noise", "unclipped", "wanted"),
    [
        ((0.0, 1.0), (), 1), ((0.29, 0.0), (), 0), ((0.31, 0.0), (), 1), ((0.31, 0.29, 0.0), (), 1), ((0.0, 0.04, 3.0), (1, 2), 1), ((0.0, 0.06, 3.0), (1, 2), 0),
        ((0.0, 0.06, 0.04), (1, 2), 2), ((math.nan, 0.0), (), 1), ((math.nan, math.inf), (), 0), ((math.inf, 0.5, 0.3), (2,), 2),
    ],
)  # fmt: skip
def test_the_first_that_is_near_to_the_best_is_taken(
    noise: Any, unclipped: Any, wanted: int
) -> None:
    """Noise in dB; the first two of equals are 0 dB and 1 dB, in the first row the other way round."""
    values = [db(each) for each in noise]
    if noise == (0.0, 1.0):
        values = values[::-1]
    assert judge.best(scored(*values), unclipped) == wanted


def test_what_is_said_of_forms_and_noises() -> None:
    assert judge.form_is_too_dear(*scored(db(0.19), 1.0)) is None
    assert (
        judge.form_is_too_dear(*scored(db(0.26), 1.0))
        == "zero points take 0.3 dB of the noise away"
    )
    assert judge.form_is_too_dear(*scored(1.0, db(0.3))) is None
    assert judge.decibels(100.0, 1.0) == pytest.approx(20.0)
    assert judge.decibels(1e-20, 1e-15) == 0.0
    assert judge.decibels(1e-11, 0.0) == pytest.approx(10.0)
    assert judge.decibels(0.0, 1e-11) == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("outputs", "most"),
    [((10,), 96), ((64,), 64), ((1000,), 32), ((50, 14), 64), ((0,), 96), ((42,), 96), ((43,), 95)],
)
def test_so_many_pictures_judge(outputs: tuple[int, ...], most: int) -> None:
    graph = Graph("net", 18, [], [])
    graph.outputs = [
        graph.declare(f"y{i}", (1, size), np.float32) for i, size in enumerate(outputs)
    ]
    assert judge.judging(graph) == most


@pytest.mark.parametrize(
    ("shape", "kind", "outputs", "scores"),
    [((1, 2), np.float32, 1, True), ((1, 1), np.float32, 1, False), ((2, 2), np.float32, 1, False), ((1, 2, 1), np.float32, 1, False), ((1, 2), np.int64, 1, False), ((1, 2), np.float32, 2, False)],
)  # fmt: skip
def test_class_scores_are_one_row(shape: Any, kind: Any, outputs: int, scores: bool) -> None:
    graph = Graph("net", 18, [], [])
    graph.outputs = [graph.declare(f"y{i}", shape, kind) for i in range(outputs)]
    assert judge.class_scores(graph) is scores


def entropy(real: Any, other: Any) -> float:
    return float((real * np.log(real / other)).sum(axis=1).mean())


def softmax(logits: Any) -> Any:
    made = np.exp(logits - logits.max(axis=1, keepdims=True))
    return made / made.sum(axis=1, keepdims=True)


def test_scores_are_measured_by_divergence_agreement_and_noise() -> None:
    graph = graph_of("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    real = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 0.0]], np.float32)[:, None]
    got = np.array([[1.5, 2.0, 4.5], [1.0, 3.0, 0.5]], np.float32)[:, None]
    found = judge.score(graph, {"y": real}, {"y": got})
    flat, other = real[:, 0].astype(float), got[:, 0].astype(float)
    assert found.loss == pytest.approx(entropy(softmax(flat), softmax(other)), rel=1e-5)
    assert found.agreement == 50.0
    noise = ((flat - other) ** 2).sum(axis=1)
    assert found.sqnr_db == pytest.approx(
        -10 * math.log10(noise.mean() / (flat**2).sum(axis=1).mean()), abs=1e-4
    )
    centred = [each - each.mean(axis=1, keepdims=True) for each in (flat, other)]
    shares = ((centred[0] - centred[1]) ** 2).sum(axis=1) / (centred[0] ** 2).sum(axis=1).mean()
    assert found.noise == pytest.approx(math.sqrt(shares[0] * shares[1]), rel=1e-4)
    ends = graph_of("(float[1,3] x) => (float[1,3] y) { y = Softmax(x) }")
    likely, quantized = softmax(flat), np.array([[0.0, 0.25, 0.75], [0.5, 0.5, 0.0]])
    told = judge.score(
        ends,
        {"y": likely.astype(np.float32)[:, None]},
        {"y": quantized.astype(np.float32)[:, None]},
    )
    floor = np.maximum(quantized, 1 / 512)
    assert told.loss == pytest.approx(
        entropy(likely, floor / floor.sum(axis=1, keepdims=True)), rel=1e-4
    )
    shares = ((likely - quantized) ** 2).sum(axis=1) / (likely**2).sum(axis=1).mean()
    assert told.noise == pytest.approx(math.sqrt(shares[0] * shares[1]), rel=1e-4)
    assert set(told.as_notes()) == {"noise", "loss", "sqnr_db", "agreement"}


def test_outputs_that_are_no_scores_count_alike_and_indices_only_alone() -> None:
    graph = Graph("net", 18, [], [])
    graph.outputs = [
        graph.declare("y", (1, 2), np.float32),
        graph.declare("z", (1, 2), np.float32),
        graph.declare("i", (1,), np.int64),
    ]
    y, z = np.array([[3.0, 4.0]] * 2), np.array([[6.0, 8.0]] * 2)
    wanted: Any = {"y": y, "z": z, "i": np.array([1, 2])}
    got: Any = {"y": y + 0.5, "z": z + 2.0, "i": np.array([1, 3])}
    found = judge.score(graph, wanted, got)
    assert found.noise == pytest.approx(math.sqrt((0.5 / 25) * (8 / 100)))
    assert found.loss == pytest.approx((0.02 + 0.08 + 0.5) / 3)
    assert found.sqnr_db == pytest.approx(-10 * math.log10(found.loss))
    assert found.agreement is None
    graph.outputs = ["i"]
    assert judge.score(graph, wanted, got).noise == pytest.approx(math.sqrt(1.0 * 5e-4))
    graph.outputs = ["y", "z"]
    assert judge.score(graph, wanted, {**wanted, "z": got["z"]}).noise == pytest.approx(
        math.sqrt(1e-8 * 0.08)
    )
    assert judge.score(graph, wanted, wanted).sqnr_db == pytest.approx(120.0)


def test_noise_of_stored_tensors_is_that_of_their_rounding() -> None:
    graph = graph_of("(float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    values = np.array([[0.3, -0.2, 1.6, 2.0], [1.0, 0.6, 0.1, -3.0]], np.float32)
    held = {name: Activation(0.5, -28, -50.0, 77.5) for name in ("x", "y")}
    recipe = Recipe("r", "asymmetric", held, {})
    seen = observe(graph, [{"x": row[None]} for row in values])
    rounded = np.rint(values / 0.5) * 0.5

    def share(real: Any, other: Any) -> float:
        return float(((real - other) ** 2).sum() / (real**2).sum())

    fed = [{"x": row[None]} for row in values]
    found = report.layer_noise(graph, recipe, seen, fed, {}, 1)
    assert found == {
        "x": pytest.approx(share(values, rounded)),
        "y": pytest.approx(share(values.clip(0), rounded.clip(0))),
    }
    bounded = report.layer_noise(graph, recipe, seen, fed, {"x": (0.0, 1.0)}, 1)
    assert bounded["x"] == pytest.approx(share(values.clip(0, 1), rounded.clip(0, 1)))
    assert report.layer_noise(graph, Recipe("r", "asymmetric", {}, {}), seen, fed, {}, 1) == {}
    one = np.ones(2, np.float32)
    node = graph_of(
        "(float[1,2] x) => (float[1,2] y) { y = Gemm<transB=1>(x, w) }",
        w=np.zeros((2, 2), np.float32),
    )
    name = node.nodes[0].name
    whole = Weights(np.array([[3, 0], [0, 4]], np.int8), one, np.zeros(2, np.int32), one)
    notes = report.layer_notes(node, replace(recipe, weights={name: whole}), seen_of(), {})
    assert notes[name] == {
        "clip_rate": 0.0,
        "weight_error": pytest.approx(2.5e30),
        "noise": 0.0,
        "added": 0.0,
    }
    assert (
        report.layer_notes(node, replace(recipe, weights={name: whole}), seen_of(), {"y": 0.5})[
            name
        ]["added"]
        == 0.5
    )
    still = observe(graph, [{"x": np.zeros((1, 4), np.float32)}])
    assert report.layer_noise(graph, recipe, still, fed[:1], {}, 1)["y"] == 0.0


def test_histograms_cover_what_was_seen_and_what_can_be_held() -> None:
    seen = seen_of(
        a=(0, 0, [[-60.0, 0.0, 0.1, 1e30]]), b=(0, 0, [[100.0, 100.0]]), c=(0, 0, [[-2e30, 1e31]])
    )
    found = report.histograms(seen, {"a": UNIT, "b": UNIT, "c": UNIT, "unknown": UNIT})
    assert list(found) == ["a", "b"]
    assert (found["a"]["low"], found["a"]["high"]) == (-60.0, 77.5)
    assert (len(found["a"]["counts"]), sum(found["a"]["counts"]), found["a"]["counts"][0]) == (
        48,
        3,
        1,
    )
    assert (found["b"]["low"], found["b"]["high"], found["b"]["counts"][-1]) == (-50.0, 100.0, 2)
    assert report.ranked({"a": {"added": 1.0}, "c": {"added": 2.0}, "b": {"added": 2.0}}) == [
        "b",
        "c",
        "a",
    ]
    assert report.MOST_NOTED == 8


def test_what_is_kept_of_the_float_run() -> None:
    graph = graph_of(
        "(float[1,2,1,2] x) => (float[1,2,1,2] y) { t = Relu(x) m = ReduceMax(t, axes) y = Softmax<axis=1>(t) z = Add(m, m) }",
        axes=ints(1),
    )
    values = np.array([[[1, -2], [3, 4]], [[5, 6], [-7, 8]], [[0, 9], [1, 1]]], np.float32).reshape(
        3, 1, 2, 1, 2
    )
    feeds = [{"x": each} for each in values]
    told: list[float] = []
    seen = observe(
        graph, feeds, summed={"t"}, counts={1, 3}, averaged={"t": 1}, progress=told.append
    )
    rectified = values.clip(0)
    assert seen.tensors["x"].low.tolist() == values.min(axis=(1, 3, 4)).tolist()
    assert seen.tensors["t"].high.tolist() == rectified.max(axis=(1, 3, 4)).tolist()
    assert seen.sums["t", 1].tolist() == rectified[0].tolist()
    assert seen.sums["t", 3].tolist() == rectified.sum(axis=0).tolist()
    assert ("x", 1) not in seen.sums
    assert seen.mean("t", 3) == pytest.approx(rectified.mean(axis=0))
    assert seen.means["t"].tolist() == rectified.mean(axis=(1, 3, 4)).tolist()
    assert seen.outputs["y"].shape == (3, 2, 1, 2)
    least = float(rectified.max(axis=2).min())
    assert seen.peaks == {"t": least}
    assert told[-1] == 1.0
    assert (
        "n"
        not in observe(
            graph_of("(float[1,2] x) => (float[1,2] y, int64[2] n) { y = Relu(x) n = Shape(y) }"),
            [{"x": np.zeros((1, 2), np.float32)}],
        ).tensors
    )
    some = observe(graph, feeds, whole=1, averaged={"t": 1})
    assert some.tensors["t"].high.tolist() == seen.tensors["t"].high.tolist()
    assert some.tensors["t"].sample.shape == (1, 4)
    assert some.means["t"].tolist() == seen.means["t"][:1].tolist()
    assert some.peaks == {"t": least}
    assert some.outputs["y"] == pytest.approx(seen.outputs["y"])


def test_a_net_is_cut_before_each_layer_with_integers() -> None:
    net = NetBuilder((1, 3, 4, 4))
    first = net.conv("input", 4)
    pooled_ = net.add("MaxPool", [first], (1, 4, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    second = net.conv(pooled_, 4)
    added = net.add("Add", [second, pooled_], (1, 4, 2, 2))
    kept = net.conv(added, 4)
    graph = net.finish(kept, pooled_)
    names = [node.name for node in graph.nodes]
    recipe = Recipe("r", "asymmetric", dict.fromkeys(graph.shapes, UNIT), {}, (names[4],))
    pieces = list(stream._pieces(graph, recipe, {}))
    assert [[node.name for node in piece.nodes] for piece in pieces] == [names[:2], names[2:]]
    assert [(piece.inputs, piece.outputs) for piece in pieces] == [
        (("input",), (pooled_,)),
        ((pooled_,), (kept,)),
    ]
    ready = list(stream._pieces(graph, recipe, {first: np.zeros(1)}))
    assert [[node.name for node in piece.nodes] for piece in ready] == [names[1:2], names[2:]]
    part = stream._subgraph(graph, pieces[1])
    assert (part.inputs, part.outputs, len(part.constants)) == ([pooled_], [kept], 4)
    live = {pooled_: np.zeros((9, 1 << 20), np.uint8), kept: np.zeros((9, 1 << 19), np.uint8)}
    assert stream._step(pieces[1], live, 9) == 2
    assert stream._step(pieces[1], live, 1) == 1
    assert stream._step(pieces[1], {name: np.zeros((9, 0)) for name in live}, 9) == 9
    assert (
        stream._step(pieces[1], {name: np.zeros((9, 1 << 23), np.uint8) for name in live}, 9) == 1
    )


def test_tensors_of_pictures_lie_as_the_model_takes_them() -> None:
    graph = Graph("net", 18, [], [])
    graph.declare("one", (1, 2, 3, 4), np.float32)
    graph.declare("two", (2, 5), np.float32)
    five = np.zeros((5, 2, 3, 4), np.float32)
    assert stream._as_run(graph, "one", five, True).shape == (5, 3, 4, 2)
    assert stream._as_run(graph, "two", np.zeros((3, 2, 5)), True).shape == (6, 5)
    assert stream._as_run(graph, "one", five[:1], False).shape == (1, 2, 3, 4)
    assert stream._as_run(graph, "two", np.zeros((1, 2, 5)), False).shape == (2, 5)
    space = Workspace([])
    recipe = Recipe("r", "asymmetric", {"one": UNIT}, {})
    made = stream._memory(space, graph, recipe, "one", 7, True)
    assert (made.shape, made.dtype.name, np.moveaxis(made, 1, 3).flags.c_contiguous) == (
        (7, 2, 3, 4),
        "uint8",
        True,
    )
    flat = stream._memory(space, graph, recipe, "one", 7, False)
    assert flat.flags.c_contiguous
    rows = stream._memory(space, graph, recipe, "two", 7, True)
    assert (rows.shape, rows.dtype.name) == ((7, 2, 5), "float32")


def chain() -> Graph:
    """Return dense -> depthwise -> dense -> head."""
    net = NetBuilder((1, 3, 8, 8))
    return net.head(net.conv(net.conv(net.conv("input", 4, kernel=1), 4, group=4), 6, kernel=1))


def held_by(graph: Graph, **more: Any) -> Recipe:
    weights = {}
    for node in graph.of("Conv", "Gemm"):
        shape = graph.shape(node.inputs[1])
        one = np.ones(shape[0], np.float32)
        weights[node.name] = Weights(
            np.full(shape, 3, np.int8), one, np.zeros(shape[0], np.int32), one
        )
    return replace(Recipe("r", "asymmetric", dict.fromkeys(graph.shapes, UNIT), weights), **more)


def test_copies_go_where_they_take_most_noise_away() -> None:
    graph = chain()
    recipe = held_by(graph)
    first, deep, last, gemm = (node for node in graph.nodes if node.op in ("Conv", "Gemm"))
    counts = [copies.products(graph, node) for node in (first, deep, last, gemm)]
    assert counts == [4 * 64 * 3, 4 * 64 * 9, 6 * 64 * 4, 60]
    assert copies.multiply_adds(graph) == sum(counts)
    assert [found.makers for found in copies.chains(graph, recipe)] == [(first, deep)]
    noise = {
        first.output: np.array([1.0, 0.0, 0.3, 0.0]),
        deep.output: np.array([0.0, 0.0, 0.1, 0.05]),
    }
    each = sum(counts[:3]) / 4
    whole = sum(counts)

    def planned(room: float, given: Any = noise) -> Any:
        return copies.plan(graph, recipe, given, room * each / whole)

    assert planned(0.9) == {}
    assert planned(1.01) == {first.output: (2, 1, 1, 1)}  # takes 3/4 of 1 away
    assert planned(2.01) == {first.output: (2, 1, 2, 1)}  # 3/4 of 0.4, then 5/36 of 1
    assert planned(3.01) == {first.output: (3, 1, 2, 1)}
    assert planned(99.0) == {first.output: (4, 1, 4, 4)}
    assert planned(99.0, {}) == {}
    assert copies._worth(36.0, 1) == 27.0
    assert copies._worth(36.0, 2) == pytest.approx(5.0)
    assert copies.shifts(3).tolist() == pytest.approx([-1 / 3, 0, 1 / 3])
    assert list(copies.chains(graph, replace(recipe, weights={}))) == []
    fixed = {**recipe.activations, deep.output: replace(UNIT, fixed=True)}
    assert list(copies.chains(graph, replace(recipe, activations=fixed))) == []
    del fixed[deep.output]
    assert list(copies.chains(graph, replace(recipe, activations=fixed))) == []
    turned = graph_of(
        "(float[1,4,3,3] x) => (float[1,2,6,6] y) { y = ConvTranspose<strides=[2,2]>(x, w) }",
        w=np.ones((4, 2, 2, 2), np.float32),
    )
    assert copies.products(turned, turned.nodes[0]) == 4 * 9 * 2 * 4


def test_copied_channels_are_moved_against_each_other() -> None:
    graph = chain()
    recipe = held_by(graph, free_bias={"a": np.ones(1, np.float32)})
    first, deep, last = list(graph.of("Conv"))
    each = (1, 3, 1, 2)
    made, held = copies.copied(graph, recipe, {first.output: each})
    moved = np.array([0, -1 / 3, 0, 1 / 3, 0, -0.25, 0.25]) * 0.5
    assert held.weights[first.name].float_bias.tolist() == pytest.approx((1 + moved).tolist())
    assert held.weights[deep.name].float_bias.tolist() == pytest.approx((1 - moved).tolist())
    assert (
        held.weights[first.name].bias.tolist()
        == np.rint((1 + moved.astype(np.float32)) / 0.5).tolist()
    )
    assert held.weights[last.name].values[0, :, 0, 0].tolist() == [3, 1, 1, 1, 3, 2, 1]
    assert (held.copies, held.free_bias) == ({first.output: each}, {})
    assert [made.shape(node.output)[1] for node in made.of("Conv")] == [7, 7, 6]
    assert [node.int("group", 1) for node in made.of("Conv")] == [1, 7, 1]
    for wrong in ((1, 1), (1, 0, 1, 1)):
        with pytest.raises(
            EdgeconvError, match=f"copies channels of {first.output}, which this net cannot"
        ):
            copies.widen(graph, {first.output: wrong})
    with pytest.raises(EdgeconvError, match="copies channels of input"):
        copies.widen(graph, {"input": (1, 1, 1)})


def test_islands_lie_between_dense_layers() -> None:
    net = NetBuilder((1, 3, 8, 8))
    first = net.conv("input", 4, kernel=1, clamp=None)
    swish = net.add("HardSwish", [first], (1, 4, 8, 8))
    deep = net.conv(swish, 4, group=4)
    last = net.conv(deep, 6, kernel=1)
    graph = net.head(last)
    recipe = held_by(graph)
    names = [node.name for node in graph.nodes]
    whole = copies.multiply_adds(graph)
    found = list(islands.islands(graph, recipe))
    assert [(each.nodes, each.inner) for each in found] == [
        (tuple(names[:3]), (first, swish)), (tuple(names[3:6]), (last, graph.nodes[4].output)),
    ]  # fmt: skip
    assert found[0].share == pytest.approx((4 * 64 * 3 + 4 * 64 * 9) / whole)
    assert found[1].share == pytest.approx(6 * 64 * 4 / whole)
    apart = list(islands.islands(graph, replace(recipe, float_nodes=(names[1],))))
    assert [each.nodes for each in apart] == [tuple(names[3:6])]
    graph.outputs.append(first)
    assert next(iter(islands.islands(graph, recipe))).nodes == tuple(names[1:3])
    recurrent = graph_of(
        "(float[1,1,8] x) => (float[1,3] y) { all, h = LSTM<hidden_size = 4>(x, w, r)\n g = Relu(h)\n"
        " s = Reshape(g, two)\n y = Gemm<transB = 1>(s, m, b) }",
        w=floats(1, 16, 8), r=floats(1, 16, 4), two=ints(1, 4), m=floats(3, 4), b=floats(3),
    )  # fmt: skip
    assert "all" not in recurrent.consumers()
    assert list(islands.islands(recurrent, held_by(recurrent))) == []
    assert islands.picked_score(Recipe("r", "asymmetric", {}, {}, (), {"picked": "b", "candidates": [{"candidate": "a"}, {"candidate": "b", "noise": 1}]})) == {
        "candidate": "b", "noise": 1,
    }  # fmt: skip


def test_pictures_that_are_learnt_from_leave_every_fifth() -> None:
    assert engine._learnt(4) == [0, 1, 2, 3]
    assert engine._learnt(5) == [0, 1, 2, 3]
    assert engine._learnt(11) == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert engine._thinned([3, 5, 7, 9, 11], 3) == [3, 7, 11]
    assert engine._thinned([3, 5], 9) == [3, 5]
    assert engine._thinned([], 9) == []
    graph = graph_of(
        "(float[1,4] x) => (float[1,2] y) { a = Concat<axis=1>(x, x) y = Gemm<transB=1>(a, w, b) }",
        w=np.ones((2, 8), np.float32),
        b=np.ones(2, np.float32),
    )
    assert engine._widest(graph) == 4 + 4 + 8


def test_outputs_that_no_picture_changes_are_left_alone() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y, float[2] k, float[1,2] x2, float[2] c) { y = Relu(x) k = Exp(c) x2 = Identity(x) }",
        c=np.ones(2, np.float32),
    )
    graph.outputs.append("x")
    core = engine._computed(graph)
    assert core.outputs == ["y", "x2"]
    assert [node.output for node in core.nodes] == ["y", "x2"]
    whole = engine._restored(core, graph)
    assert whole.outputs == ["y", "k", "x2", "c", "x"]
    assert [node.output for node in whole.nodes] == ["k", "y", "x2"]
    assert (whole.shape("k"), whole.dtype("k").name, "c" in whole.constants) == (
        (2,),
        "float32",
        True,
    )


def test_means_are_wanted_of_what_layers_read_and_of_bounded_outputs() -> None:
    net = NetBuilder((1, 4, 2, 2))
    conv = net.conv("input", 4)
    open_ = net.conv(conv, 4, clamp=None)
    graph = net.head(open_)
    weighted = list(graph.of("Conv", "Gemm"))
    flat = weighted[-1].inputs[0]
    assert engine._averaged(graph, weighted, after=False) == {"input": 1, conv: 1, flat: 1}
    weighted[-1].clamp = RELU
    assert engine._averaged(graph, weighted, after=True) == {
        "input": 1,
        conv: 1,
        flat: 1,
        weighted[-1].output: 1,
    }


def test_feeds_and_nodes_that_do_not_belong_are_named() -> None:
    graph = graph_of("(float[1,2] x) => (float[1,2] y) { e = Exp(x) y = Relu(e) }")
    good = {"x": np.zeros((1, 2), np.float32)}
    for feeds, said in (
        ([], "calibration needs at least one picture"), ([good, {}], "calibration sample 1 lacks the input x"),
        ([good, {"x": np.zeros((1, 3), np.float32)}], r"calibration sample 1: x is \[1, 2\], got \[1, 3\]"),
        ([{"x": np.array([[0, np.inf]], np.float32)}], "calibration sample 0 holds NaN or Inf in x"),
    ):  # fmt: skip
        with pytest.raises(EdgeconvError, match=said):
            engine._check_feeds(graph, feeds)
    exp, relu = (node.name for node in graph.nodes)
    assert engine.float_nodes(graph) == {exp: "it has no INT8 form"}
    assert engine.float_nodes(graph, [relu, exp]) == {
        exp: "kept in float on request",
        relu: "kept in float on request",
    }
    with pytest.raises(UsageError, match="gone"):
        engine.float_nodes(graph, ["gone"])
    joined = graph_of(
        "(float[1,2] x) => (float[1,4] y) { a = Sigmoid(x) b = Tanh(x) y = Concat<axis=1>(a, b) }"
    )
    assert list(engine.float_nodes(joined)) == [joined.nodes[2].name]
    assert (
        list(
            engine.float_nodes(
                graph_of("(float[1,2] x) => (float[1,2] y) { y = Max(x, x) }"), (), {"x": (0.5, 0)}
            )
        )
        == []
    )


def test_halves_of_the_pictures_are_compared() -> None:
    seen = seen_of(
        a=([[0, -1], [0, 0], [0, -3], [0, 0]], [[1, 1], [2, 2], [3, 1], [2, 2]]),
        b=([[0]] * 2, [[4], [8]]),
        c=([[0]], [[9]]),
        d=([[0]] * 2, [[0], [7]]),
    )
    # a: even pictures from -3 to 3, odd ones from 0 to 2
    assert stability(seen) == {
        "median_ratio": 2.0,
        "worst_ratio": 3.0,
        "worst_tensor": "a",
        "unstable_tensors": 2,
    }
    assert stability(seen_of(c=([[0]], [[9]]))) == {}
    near = stability(seen_of(a=([[1]] * 2, [[2], [3]])))
    assert (near["worst_ratio"], near["unstable_tensors"]) == (1.5, 0)
    below = stability(seen_of(a=([[-2], [-4]], [[-1], [-1]])))
    assert below["worst_ratio"] == 2.0


def test_values_beyond_half_a_step_of_the_ends_are_clipped() -> None:
    sample = [[-50.2, -50.3, 77.7, 77.8, 0.0]]
    assert clip_rates(seen_of(a=(0, 0, sample)), {"a": UNIT, "b": UNIT}) == {
        "a": pytest.approx(2 / 5)
    }
    assert clip_rates(seen_of(a=(0, 0, sample)), {"a": UNIT}, {"a": (0.0, INF)}) == {
        "a": pytest.approx(1 / 5)
    }


def test_poor_pictures_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    smooth = [np.cumsum(rng.normal(size=(1, 1, 8, 8)), axis=3).astype(np.float32) for _ in range(3)]
    assert check_pictures([{"x": each} for each in smooth]).warnings == ()
    figures = check_pictures([{"x": each} for each in smooth], expected={"x": (-1e3, 1e3)})
    assert figures.warnings[0].startswith("the pictures use little")
    assert figures.figures == {
        "count": 3,
        "ranges": {"x": [float(min(s.min() for s in smooth)), float(max(s.max() for s in smooth))]},
    }
    for feeds, said in (
        ([smooth[0]], "one picture cannot calibrate"), ([np.ones((1, 1, 8, 8), np.float32)] * 2, "are constant"), ([smooth[0]] * 2, "are all the same"),
        ([rng.normal(size=(1, 1, 8, 8)).astype(np.float32) for _ in range(3)], "look random"),
    ):  # fmt: skip
        with pytest.raises(
            EdgeconvError, match=f"{said}.*; give real pictures, or --allow-poor-calibration"
        ):
            check_pictures([{"x": each} for each in feeds])
        allowed = check_pictures([{"x": each} for each in feeds], allow_poor=True)
        assert len(allowed.warnings) == 1
        assert said in allowed.warnings[0]
    for shape in ((1, 1, 7, 8), (1, 4, 8, 8)):  # too small to say; no picture
        noise = [rng.normal(size=shape).astype(np.float32) for _ in range(3)]
        assert check_pictures([{"x": each} for each in noise]).warnings == ()
    masks = [(rng.random((1, 1, 8, 8)) < 0.5).astype(np.float32) for _ in range(3)]
    levels = [np.full((1, 1, 8, 8), 0.1 * n, np.float32) for n in range(3)]
    for beside in (masks, levels):  # what a net takes beside its picture
        both = [{"x": x, "m": m} for x, m in zip(smooth, beside, strict=True)]
        assert check_pictures(both).warnings == ()
    with pytest.raises(EdgeconvError, match="m are constant"):
        check_pictures([{"x": x, "m": levels[0]} for x in smooth])
    with pytest.raises(EdgeconvError, match="there are no calibration pictures"):
        check_pictures([])
    one_moves = [np.ones((1, 1, 8, 8), np.float32), smooth[0], np.ones((1, 1, 8, 8), np.float32)]
    assert check_pictures([{"x": each} for each in one_moves]).warnings == ()


def words(**changes: Any) -> Recipe:
    one = np.ones(1, np.float32)
    each = Weights(np.ones((1, 1), np.int8), one, np.ones(1, np.int32), one)
    layers = {
        "a": {"clip_rate": 0.01234, "weight_error": 0.000123, "noise": 0.01, "added": 0.001},
        "b": {"clip_rate": 0.0, "weight_error": 0.5, "noise": None, "added": 0.1},
    }
    notes = {
        "picked": "min/max", "why": "because", "form": "not needed", "training": "trained", "copies": {"said": "3 copies"}, "layers": layers,
        "candidates": [{"candidate": "q", "form": "f", "loss": 0.5, "sqnr_db": 9.04, "agreement": 50.0}, {"candidate": "r", "form": "f", "noise": 0.05, "loss": 0.5, "sqnr_db": 9.06}],
        "histograms": {"t": {"low": -1.0, "high": 3.0, "counts": [1, 2, 3, 4]}, "u": {"low": 0.0, "high": 1.0, "counts": [0, 0]}},
    }  # fmt: skip
    held = {
        "t": Activation(0.0123456, 3, -0.5, 2.0),
        "u": Activation(1.0, -128, 0.0, 1.0),
        "v": UNIT,
    }
    made = Recipe(
        "std",
        "asymmetric",
        held,
        {"a": each, "b": each, "c": each},
        ("n", "m"),
        notes,
        float_outputs={"onnx": ("y", "z"), "tflite": ()},
    )
    return replace(made, **changes)


def test_a_recipe_is_put_into_words() -> None:
    found = explain.explain(words())
    assert [row["name"] for row in found.layers] == ["b", "a", "c"]
    assert found.why == (
        "because",
        "not needed",
        "trained",
        "3 copies",
        "  q (f): loss 0.50000 · 9.0 dB · agreement 50.0 %",
        "  r (f): typically 13.0 dB · loss 0.50000 · 9.1 dB",
    )
    assert [explain._layer_cells(row) for row in found.layers] == [
        ["b", "0.000%", "50.0000%", "-", "-10.0"], ["a", "1.234%", "0.0123%", "-20.0", "-30.0"], ["c", "0.000%", "0.0000%", "-", "-"],
    ]  # fmt: skip
    assert next(explain._range_cells(row) for row in found.ranges) == [
        "t",
        "-0.5",
        "2",
        "0.01235",
        "3",
    ]
    text = found.text().splitlines()
    assert text[0] == "recipe std · asymmetric · min/max"
    assert "in float: n, m" in text
    assert [line for line in text if "float outputs" in line] == ["float outputs in onnx: y, z"]
    assert text.count("") == 2
    assert found.to_json()["ranges"][1] == {
        "tensor": "u",
        "low": 0.0,
        "high": 1.0,
        "scale": 1.0,
        "zero_point": -128,
    }
    # middles at -0.5, 0.5, 1.5, 2.5: only the last lies outside of -0.5 to 2
    assert [(name, share) for name, share, _ in explain._spread(found)] == [
        ("t", "40.0% outside"),
        ("u", "0.0% outside"),
    ]
    assert "dashed lines" in explain._spread(found)[0][2]
    swapped = replace(found, ranges=found.ranges[::-1])
    assert [name for name, _, _ in explain._spread(swapped)] == ["t", "u"]
    noisy = {"t": {"share": 0.5, "channels": 3, "worst_channel": 1, "worst_share": 0.25}}
    said = explain.explain(words(notes={**words().notes, "noise": noisy})).text().splitlines()
    heads = [said[place + 1].split()[:2] for place, line in enumerate(said) if not line]
    assert heads == [["tensor", "share"], ["layer", "clipped"], ["tensor", "low"]]
    assert any(line.startswith("b ") for line in said)  # names from the left, figures to the right
    assert isinstance(found.to_json()["layers"], list)
    assert found.to_json()["name"] == "std"
    single = replace(found, histograms={"t": {"low": 2.0, "high": 6.0, "counts": [0, 1]}})
    assert explain._spread(single)[0][1] == "100.0% outside"
    bare = explain.explain(Recipe("x", "asymmetric", {}, {}))
    assert (bare.picked, bare.why, bare.noise) == ("", (), ())


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        ("s = Softmax(x) y = Reshape(s, shape)", ("y", "s")), ("s = Sigmoid(x) t = Reshape(s, shape) y = Concat<axis=1>(t, k)", ("y", "t", "s")),
        ("s = Sigmoid(x) y = Concat<axis=1>(s, x)", ()), ("s = Neg(x) y = Reshape(s, shape)", ()), ("s = Sigmoid(x) y = Reshape(s, shape) e = Exp(s)", ()),
        ("s = Sigmoid(x) y = Add(s, k)", ()), ("y = Reshape(x, shape)", ()),
    ],
)  # fmt: skip
def test_probabilities_end_a_net_behind_moves(body: str, ends: tuple[str, ...]) -> None:
    from edgeconv.export.quant.float_outputs import probabilities, unread

    used: Any = {"shape": ints(1, 4), "k": np.ones((1, 4), np.float32)}
    graph = graph_of(
        f"(float[1,4] x) => (float[1,?] y) {{ {body} }}".replace(
            "?", "8" if "Concat" in body else "4"
        ),
        **used,
    )
    recipe = Recipe("r", "asymmetric", dict.fromkeys("xsyt", UNIT), {})
    assert probabilities(graph, recipe) == ends
    assert unread(graph, recipe) == ("y",)
    assert unread(graph, replace(recipe, activations={})) == ()
    if ends:
        graph.nodes[0].clamp = (0.0, 0.5)
        assert probabilities(graph, recipe) == ()
        graph.nodes[0].clamp = None
        graph.outputs.append("s")
        assert probabilities(graph, recipe) == ()


def test_many_probabilities_stay_integers() -> None:
    from edgeconv.export.quant.float_outputs import probabilities

    for size, ends in ((4096, ("y",)), (4097, ())):
        graph = graph_of(f"(float[1,{size}] x) => (float[1,{size}] y) {{ y = Sigmoid(x) }}")
        assert probabilities(graph, Recipe("r", "asymmetric", {"y": UNIT}, {})) == ends


def test_layers_of_a_budget_are_the_noisiest() -> None:
    made = words()
    assert budget.without_worst(made, 1).float_nodes == ("n", "m", "b")
    worst = budget.without_worst(made, 2)
    assert (worst.float_nodes, list(worst.weights)) == (("n", "m", "b", "a"), ["c"])
    assert budget.without_worst(replace(made, weights={"a": made.weights["a"]}), 1).float_nodes == (
        "n",
        "m",
        "a",
    )
    table = budget.table([budget.Step("a", 5.0, 2.5, 0.01)]).splitlines()
    assert table[1].split() == ["a", "5.00", "2.50", "1.00e-02"]
    assert len(table[0]) - len(table[0].lstrip()) == 0


@pytest.mark.parametrize(("classes", "truth"), [(2, None), (2, [0, 1]), (1, None)])
def test_a_budget_asks_for_two_classes_and_says_what_it_measured(
    classes: int, truth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(f"(float[1,{classes}] x) => (float[1,{classes}] y) {{ y = Relu(x) }}")
    wanted: Any = {"y": np.eye(2, dtype=np.float32)[:, None, :classes]}
    monkeypatch.setattr(budget, "run_recipe", lambda *_: {"y": wanted["y"][::-1]})
    feeds: Any = [{}] * 2
    recipe = Recipe("r", "asymmetric", {}, {})
    if classes == 1:
        with pytest.raises(UsageError, match="one output of class scores"):
            budget.meet_budget(graph, recipe, feeds, wanted, max_drop=100.0, truth=truth)
        return
    notes = budget.meet_budget(graph, recipe, feeds, wanted, max_drop=100.0, truth=truth).notes[
        "budget"
    ]
    assert notes == {
        "max_drop": 100.0,
        "measure": "top-1" if truth else "agreement",
        "drop": 100.0,
        "pictures": 2,
        "steps": [],
    }


def test_what_differs_between_recipes_is_a_line_each() -> None:
    one = words()
    values = one.weights["a"]
    moved = replace(values, values=np.array([[4]], np.int8), bias=np.array([9], np.int32))
    two = replace(
        one, form="zero-point-free", float_nodes=("m",), weights={"a": moved, "b": values, "d": values},
        activations={"t": replace(one.activations["t"], scale=0.5, zero_point=4), "u": one.activations["u"], "w": UNIT},
    )  # fmt: skip
    assert differences(one, two) == [
        "form: asymmetric -> zero-point-free", "tensor v: only in the first", "tensor w: only in the second", "layer c: only in the first",
        "layer d: only in the second", "tensor t: scale 0.0123456 -> 0.5, zero point 3 -> 4", "layer a: 1 of 1 weights, by up to 3, 1 of 1 biases",
        "in float: n, m -> m",
    ]  # fmt: skip
    wide = replace(values, values=np.ones((2, 1), np.int8))
    assert differences(one, replace(one, weights={**one.weights, "a": wide})) == [
        "layer a: shape [1, 1] -> [2, 1]"
    ]
    assert differences(one, replace(one, float_nodes=("m", "n"))) == []


def test_a_form_moves_ranges_that_are_read_and_biases_with_them() -> None:
    one = np.array([2.0], np.float32)
    weights = {
        "c": Weights(
            np.ones((1, 1), np.int8), np.array([0.5], np.float32), np.array([7], np.int32), one
        )
    }
    held = {
        "x": choose_scale(-1.0, 1.54, "asymmetric"),
        "y": replace(UNIT, final=True),
        "g": replace(UNIT, fixed=True),
    }
    recipe = Recipe(
        "r",
        "asymmetric",
        held,
        weights,
        free_bias={"c": np.array([4.0], np.float32)},
        float_outputs={"onnx": ("y",)},
    )
    free = recipe.with_form("zero-point-free", {"c": "x"})
    step = 1.54 / 127
    assert (free.form, free.activations["x"].zero_point) == ("zero-point-free", 0)
    assert free.activations["x"].scale == pytest.approx(step)
    assert (free.activations["y"], free.activations["g"], free.free_bias) == (
        held["y"],
        held["g"],
        {},
    )
    assert free.weights["c"].float_bias.tolist() == [4.0]
    assert free.weights["c"].bias.tolist() == [round(4.0 / (step * 0.5))]
    same = recipe.with_form("asymmetric", {"c": "x"})
    assert (same.weights["c"].float_bias.tolist(), same.weights["c"].bias.tolist()) == (
        [2.0],
        [round(2.0 / (held["x"].scale * 0.5))],
    )
    assert set(recipe.on("onnx").activations) == {"x", "g"}
    assert recipe.on("onnx").float_outputs == {}
    assert (
        set(recipe.on("onnx", False).activations)
        == set(recipe.on("tflite").activations)
        == {"x", "y", "g"}
    )
    assert recipe.on("coreml").form == "asymmetric"
    assert recipe.on("coreml", True, {"c": "x"}).form == "zero-point-free"
    assert recipe.on("tflite", True, {"c": "x"}).weights["c"].bias.tolist() == [7]
