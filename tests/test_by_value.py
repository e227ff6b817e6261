"""Figures by value: what a report says is worked out by hand here, not by the code that says it."""

import math
from typing import Any

import numpy as np
import pytest

from edgeconv import metrics
from edgeconv.bench.statistics import Interval
from edgeconv.errors import EdgeconvError
from edgeconv.judge.budget import DEFAULTS, parse_budget
from edgeconv.judge.context import Context
from edgeconv.judge.measure import measure
from edgeconv.judge.verdict import compare
from edgeconv.recipe import Activation, Recipe, Weights, choose_scale, quantize_values


def scores_of(classes: list[int], count: int = 4) -> np.ndarray:
    """Return rows of scores whose largest is at ``classes``."""
    rows = np.full((len(classes), count), 0.5, np.float32)
    rows[np.arange(len(classes)), classes] = 3.0
    return rows


TRUTH = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1], np.int64)
FLOAT = scores_of([0, 1, 2, 3, 0, 1, 2, 3, 1, 2])  # 8 of 10 right
OURS = scores_of([0, 1, 2, 3, 1, 2, 3, 3, 0, 2])  # 6 of 10 right: four lost less, one won


def test_accuracy_is_that_of_the_file_and_the_drop_that_from_the_reference() -> None:
    """All six figures, from rows that are known to be right and wrong."""
    figures, _ = measure("y", FLOAT, OURS, Context(truth=TRUTH))
    assert figures["top1"] == pytest.approx(0.6)
    assert figures["reference_top1"] == pytest.approx(0.8)
    assert figures["top1_drop"] == pytest.approx(0.2)
    # Wilson's interval of 6 in 10 at z = 1.96
    assert figures["top1_low"] == pytest.approx(0.3127, abs=2e-4)
    assert figures["top1_high"] == pytest.approx(0.8318, abs=2e-4)
    # the two differ in rows 4, 5, 6 (only float right) and 8 (only ours right): 2 * P(X <= 1; 4, 1/2)
    assert figures["mcnemar_p"] == pytest.approx(2 * (1 + 4) / 16)


def test_agreement_is_counted_by_picture() -> None:
    figures, _ = measure("y", FLOAT, OURS, Context())
    assert figures["agreement_top1"] == pytest.approx(0.6)
    assert figures["flips"] == 4.0
    assert "top1" not in figures, "nothing is said of truth where there is none"


def test_a_limit_on_what_was_not_measured_is_missed() -> None:
    """Top-1 without truth, or a figure that a change took away, has not passed."""
    logits = np.random.default_rng(0).normal(size=(6, 4))
    budget = parse_budget(
        {"top1": 0.5, "outputs": {"y": {"quanta_max": 1.0}}}, "int8", DEFAULTS["int8"]
    )
    verdict = compare({"y": logits}, {"y": logits}, budget=budget)
    assert [str(finding) for finding in verdict.missed] == [
        "top1 has a limit and was not measured", "y: quanta_max has a limit and was not measured",
    ]  # fmt: skip
    truth = logits.argmax(axis=1)
    assert compare({"y": logits}, {"y": logits}, budget=budget, truth=truth, scales={"y": 0.1})
    assert compare({"y": logits}, {"y": logits}, budget=DEFAULTS["int8"])


def test_truth_of_another_length_is_refused() -> None:
    with pytest.raises(EdgeconvError, match="9 classes of truth for 10 samples"):
        measure("y", FLOAT, OURS, Context(truth=TRUTH[:9]))


def test_errors_are_those_of_the_arrays() -> None:
    reference = np.array([[3.0, 4.0], [0.0, 0.0]])
    other = np.array([[3.0, 3.0], [0.0, 1.0]])
    figures, _ = measure("y", reference, other, Context(scores=False))
    assert figures["max_abs_error"] == 1.0
    assert figures["rms_error"] == pytest.approx(math.sqrt(2 / 4))
    assert figures["sqnr_db"] == pytest.approx(10 * math.log10(25 / 2))
    assert figures["cosine"] == pytest.approx(21 / (5 * math.sqrt(19)))


@pytest.mark.parametrize(("a", "b", "cosine"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0), (2, 2, 1.0)])
def test_cosine_against_zeros_is_no_agreement(a: int, b: int, cosine: float) -> None:
    assert metrics.cosine(np.full(3, float(a)), np.full(3, float(b))) == pytest.approx(cosine)


def test_an_intervals_half_width_is_half_of_it() -> None:
    assert Interval(2.0, 5.0).half_width == 1.5


def test_constants_reach_minus_128_and_weights_do_not() -> None:
    step = Activation(0.1, -128, 0.0, 25.5)
    assert quantize_values(np.array([-9.0, 0.0, 0.25, 99.0]), step).tolist() == [
        -128,
        -128,
        -126,
        127,
    ]
    assert quantize_values(np.array([-99.0]), Activation(0.1, 0, -12.8, 12.7)).tolist() == [-128]


def test_the_other_form_leaves_prescribed_and_last_scales_alone() -> None:
    """Softmax's 1/256 and exact pixels may not move; the bias follows the input's new scale."""
    weights = Weights(
        np.ones((1, 1), np.int8),
        np.full(1, 0.5, np.float32),
        np.zeros(1, np.int32),
        np.full(1, 2.0, np.float32),
    )
    prescribed = Activation(1 / 256, -128, 0.0, 1.0, fixed=True)
    last = Activation(0.3, 7, -3.0, 2.0, final=True)
    plain = choose_scale(-1.0, 3.0, "asymmetric")
    recipe = Recipe(
        "r", "asymmetric", {"x": plain, "p": prescribed, "y": last}, {"conv": weights}
    ).with_form("zero-point-free", {"conv": "x"})
    assert recipe.activations["p"] == prescribed
    assert recipe.activations["y"] == last
    moved = recipe.activations["x"]
    assert moved.zero_point == 0
    assert moved.scale == pytest.approx(3 / 127)
    assert recipe.weights["conv"].bias.tolist() == [round(2.0 / (0.5 * 3 / 127))]


def test_every_output_counts_alike_in_the_contest_and_indices_do_not() -> None:
    pytest.importorskip("onnx")
    from graph_kit import graph_of

    from edgeconv.export.quant.judge import score

    graph = graph_of(
        "(float[4] x) => (float[4] a, float[4] b, int64 i) { a = Relu(x)\n b = Neg(x)\n i = ArgMax<keepdims=0>(x) }"
    )
    real: dict[str, Any] = {
        "a": np.ones((2, 4), np.float32),
        "b": np.full((2, 4), 9, np.float32),
        "i": np.zeros(2, np.int64),
    }
    noisy = {
        "a": real["a"] * np.float32(1.1),
        "b": real["b"] * np.float32(1.001),
        "i": real["i"] + 1,
    }
    assert score(graph, real, noisy).noise == pytest.approx((1e-2 * 1e-6) ** 0.5, rel=1e-3)


def test_the_contest_measures_logits_without_their_mean_and_counts_agreement() -> None:
    pytest.importorskip("onnx")
    from graph_kit import graph_of

    from edgeconv.export.quant.judge import score

    graph = graph_of("(float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    real = np.array([[[1.0, 0.0, -1.0]], [[0.0, 2.0, -2.0]]], np.float32)
    same = score(graph, {"y": real}, {"y": real + 5.0})
    assert same.loss == pytest.approx(0.0, abs=1e-12), "softmax does not see what all classes gain"
    assert same.agreement == 100.0
    turned = real.copy()
    turned[1] = [[2.0, 0.0, -2.0]]
    found = score(graph, {"y": real}, {"y": turned})
    assert found.agreement == 50.0
    p, q = (np.exp(v) / np.exp(v).sum() for v in (real[1, 0], turned[1, 0]))
    assert found.loss == pytest.approx(float((p * np.log(p / q)).sum()) / 2, rel=1e-5)
    # noise as a share of the mean power of both pictures
    assert found.sqnr_db == pytest.approx(-10 * math.log10((8 / 5) / 2), abs=1e-5)


def test_a_channel_of_zeros_has_a_scale_that_half_precision_holds() -> None:
    pytest.importorskip("onnx")
    from graph_kit import graph_of

    from edgeconv.export.coreml.integers import stored_scales
    from edgeconv.export.integer.weights_alone import round_weights

    values = np.array([[1, -127], [0, 0]], np.int8)
    kept = stored_scales(values, np.array([0.25, 1e-20], np.float32), 0)
    assert kept.tolist() == [0.25, 1.0]
    weights = np.zeros((2, 1, 1, 1), np.float32)
    weights[0] = -2.54
    body = "(float[1,1,4,4] x) => (float[1,2,4,4] y) { y = Conv(x, w) }"
    graph = graph_of(body, w=weights)
    (made,) = round_weights(graph).weights.values()
    assert made.scales.tolist() == [pytest.approx(0.02), 1.0]
    assert made.values.ravel().tolist() == [-127, 0]


def test_rows_and_columns_have_dilations_of_their_own() -> None:
    """Most nets dilate both alike, which hides an exchange."""
    pytest.importorskip("onnx")
    from graph_kit import graph_of

    from edgeconv.export.tflite.windows import window

    body = """(float[1,1,9,9] x) => (float[1,1,7,3] y)
        { y = Conv<dilations = [1, 3], kernel_shape = [3, 3]>(x, w) }"""
    graph = graph_of(body, w=np.ones((1, 1, 3, 3), np.float32))
    _, strides, dilations = window(graph, graph.nodes[0], (3, 3))
    assert (list(strides), list(dilations)) == ([1, 1], [1, 3])


def test_a_clamp_from_one_is_no_relu6() -> None:
    pytest.importorskip("onnx")
    from edgeconv.export.coreml.lowering import Lowering

    class Builder:
        def __getattr__(self, name: str) -> object:
            return lambda **given: name

    made = object.__new__(Lowering)
    made.mb = Builder()
    bounds = [(0, math.inf), (0, 6), (1, 6), (0, 5), (-math.inf, 3), (1, math.inf)]
    said = [made.clamp(None, bound, "y") for bound in bounds]
    assert said == ["relu", "relu6", "clip", "clip", "minimum", "maximum"]
