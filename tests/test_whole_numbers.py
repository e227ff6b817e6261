"""Outputs of whole numbers: labels are equal or not, amounts may be near, and the graph says which they are."""

import re
from pathlib import Path
from typing import Any

import graph_kit as kit
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgeconv import check_parity, export_model
from edgeconv.export.hub.decisions import Decision, decisions, opened
from edgeconv.export.hub.whole import whole_outputs
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.labels import Margins
from edgeconv.judge.verdict import compare
from edgeconv.judge.whole import Whole

INT8 = DEFAULTS["int8"]
AMOUNTS: dict[str, Whole] = {"y": "amounts"}


def counts(rows: int = 60) -> NDArray[np.int64]:
    """Return pixels of four classes, (rows, 4), that add up to 1024."""
    rng = np.random.default_rng(0)
    found: NDArray[np.int64] = rng.integers(20, 200, (rows, 4))
    found[:, 0] = 1024 - found[:, 1:].sum(axis=1)
    return found


@pytest.mark.parametrize("told", [AMOUNTS, None], ids=["by the graph", "by the values"])
def test_amounts_beside_by_a_few_are_sound_and_a_dead_one_is_named(
    told: dict[str, Whole] | None,
) -> None:
    wanted = counts()
    near = wanted + np.random.default_rng(2).integers(-2, 3, wanted.shape)
    assert (near == wanted).mean() < 0.3
    verdict = compare({"y": wanted}, {"y": near}, budget=INT8, floor={"y": near}, whole=told)
    assert verdict
    assert verdict.figures["y"]["quanta_max"] == 2
    near[:, 1] = np.median(wanted[:, 1])
    assert not compare({"y": wanted}, {"y": near}, budget=INT8, floor={"y": wanted}, whole=told)


def test_an_amount_of_three_values_is_sound_where_nearly_all_are_equal() -> None:
    wanted = np.random.default_rng(0).integers(0, 3, (100, 1))
    other = wanted.copy()
    other[:6] = (wanted[:6] + 1) % 3
    verdict = compare({"y": wanted}, {"y": other}, budget=INT8, floor={"y": other}, whole=AMOUNTS)
    assert verdict
    assert verdict.figures["y"]["equal"] == 0.94  # its SQNR is below 12 dB
    dead = np.ones_like(wanted)
    assert not compare({"y": wanted}, {"y": dead}, budget=INT8, floor={"y": other}, whole=AMOUNTS)


def test_one_step_beside_is_no_error_of_a_float_file_and_ten_are() -> None:
    wanted = counts()
    beside = wanted.copy()
    beside[0, 0] += 1
    assert compare({"y": wanted}, {"y": beside}, whole=AMOUNTS)
    beside[0, 0] += 9
    assert not compare({"y": wanted}, {"y": wanted + 10}, whole=AMOUNTS)


def test_labels_that_a_file_gives_as_floats_are_no_signal() -> None:
    wanted = np.random.default_rng(0).integers(0, 9, (100, 6)).astype(np.float32)
    other = wanted.copy()
    other.flat[::25] = (wanted.flat[::25] + 4) % 9  # 4 % of them: 10 dB
    assert not compare({"y": wanted}, {"y": other}, budget=INT8)
    verdict = compare({"y": wanted}, {"y": other}, budget=INT8, whole={"y": "labels"})
    assert verdict
    assert verdict.figures["y"]["equal"] == 0.96


GIVEN = "(float[1,4,6,6] x) => "
ARGMAX = "a = ArgMax<axis=1, keepdims=0>(x)"
PEAKS = "m = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x) b = Equal(m, x)"
KINDS: dict[str, tuple[str, Whole | None]] = {
    "(int64[1,6,6] y) { y = ArgMax<axis=1, keepdims=0>(x) }": ("y", "labels"),
    f"(float[1,36] y) {{ {ARGMAX} b = Cast<to=1>(a) y = Reshape(b, flat) }}": ("y", "labels"),
    f"(int64[1,6,6] y) {{ {ARGMAX} y = Add(a, one) }}": ("y", "labels"),
    f"(int64[1,6,6] y) {{ {ARGMAX} y = Gather(table, a) }}": ("y", "labels"),
    "(uint8[1,4,6,6] y) { b = Greater(x, zero) y = Cast<to=2>(b) }": ("y", "labels"),
    "(bool[1,4,6,6] y) { y = Greater(x, zero) }": ("y", "labels"),
    "(float[1,4,2,6] v, int64[1,4,2,6] y) { v, y = TopK<axis=2>(x, two) }": ("y", "labels"),
    f"(int64[1] y) {{ {ARGMAX} b = Equal(a, one) c = Cast<to=7>(b) y = ReduceSum<keepdims=0>(c, axes) }}": (
        "y",
        "amounts",
    ),
    f"(int64[1,6,6] y) {{ {ARGMAX} y = Mul(a, one) }}": ("y", "amounts"),
    "(uint8[1,4,6,6] y) { b = Round(x) y = Cast<to=2>(b) }": ("y", "amounts"),
    "(float[1,4,6,6] y) { y = Relu(x) }": ("y", None),
    f"(float[1,4,36] y) {{ {PEAKS} c = Cast<to=1>(b) d = Mul(x, c) y = Reshape(d, rows) }}": (
        "y",
        "kept",
    ),
    f"(float[1,4,6,6] y) {{ {PEAKS} c = Not(b) y = Where(c, zero, x) }}": ("y", "kept"),
    f"(float[1,4,6,6] y) {{ {PEAKS} y = Where(b, x, m) }}": ("y", None),
    "(float[1,4,6,6] y) { b = Greater(x, zero) c = Cast<to=1>(b) y = Mul(x, c) }": ("y", None),
    "(float[1,4,2,6] y, int64[1,4,2,6] i) { y, i = TopK<axis=2>(x, two) }": ("y", None),
    "(float[1,36] y) { a = Conv(x, sum) b = Tanh(a) c = Mul(b, zero) y = Reshape(c, flat) }": (
        "y",
        "signal",
    ),
    "(float[1,36] y) { a = Conv(x, sum) b = Reshape(a, flat) y = Softmax(b) }": ("y", None),
    "(float[1,1,6,6] y) { y = Conv(x, sum) }": ("y", None),  # a map
    "(float[1,5] y) { a = GlobalAveragePool(x) b = Conv(a, five) y = Flatten(b) }": ("y", None),
}


@pytest.mark.parametrize("body", KINDS)
def test_the_graph_says_what_whole_numbers_are(body: str) -> None:
    constants: dict[str, NDArray[Any]] = {
        "flat": kit.ints(1, 36),
        "rows": kit.ints(1, 4, 36),
        "one": np.array(1, np.int64),
        "two": kit.ints(2),
        "table": kit.ints(7, 3, 5, 1),
        "axes": kit.ints(1, 2),
        "zero": kit.scalar(0.0),
        "sum": np.ones((1, 4, 1, 1), np.float32),
        "five": np.ones((5, 4, 1, 1), np.float32),
    }
    used = {
        name: value for name, value in constants.items() if re.search(rf"[(, ]{name}[,)]", body)
    }
    output, kind = KINDS[body]
    assert whole_outputs(kit.graph_of(GIVEN + body, **used)).get(output) == kind


def test_labels_that_turned_although_they_were_sure_are_named() -> None:
    wanted = np.arange(100) % 8
    other = wanted.copy()
    other[:5] = 8 - wanted[:5]
    unsure = Margins(np.where(np.arange(100) < 5, 0.1, 3.0)[:, None], 0.5)
    floor = {"y": np.where(np.arange(100) < 4, 8 - wanted, wanted)}
    given = {"y": wanted}, {"y": other}
    assert compare(*given, budget=INT8, floor=floor, margins={"y": unsure})
    sure = Margins(np.full((100, 1), 3.0), 0.5)
    elsewhere = {"y": np.where((np.arange(100) >= 11) & (np.arange(100) < 15), 8 - wanted, wanted)}
    verdict = compare(*given, budget=INT8, floor=elsewhere, margins={"y": sure})
    assert [f.metric for f in verdict.missed] == ["flips_beyond_low"]
    assert compare(*given, budget=INT8, floor=floor, margins={"y": sure})  # it turns the same ones
    assert not compare(*given, margins={"y": sure})  # of a float file not one may


def test_the_scores_behind_labels_are_found_through_a_softmax_and_ordered_ones_have_two_neighbours() -> (
    None
):
    body = "(int64[4] y) { s = Softmax<axis=1>(x) a = ArgMin<axis=1, keepdims=1>(s) y = Reshape(a, flat) }"
    graph = kit.graph_of("(float[4,5] x) => " + body, flat=kit.ints(4))
    decided = decisions(graph)["y"]
    assert decided == Decision("x", -1, 1, -1)
    assert kit.run(opened(graph, {"y": decided}), {"x": kit.floats(4, 5)})[1].shape == (4, 5)
    scores = np.array([[3.0, 9.0, 7.0, 1.0]])
    assert decided.margins(scores) == [[2.0]]
    assert Decision("x", -1, 3, 1).margins(scores).tolist() == [[2.0, 2.0, 2.0]]
    wide = kit.graph_of(
        "(float[1,4,9,9] x) => (int64[1,9,9] y) { y = ArgMax<axis=1, keepdims=0>(x) }"
    )
    assert not decisions(wide)


def test_labels_of_tokens_that_are_no_batch_have_a_margin_each() -> None:
    # as a quantized autoencoder looks its codes up: rows of samples have one axis more than the scores
    body = "(int64[1,2,2] y) { t = Reshape(x, rows) a = ArgMax<axis=1, keepdims=0>(t) y = Reshape(a, map) }"
    graph = kit.graph_of("(float[1,20] x) => " + body, rows=kit.ints(4, 5), map=kit.ints(1, 2, 2))
    decided = decisions(graph)["y"]
    scores = kit.floats(3, 4, 5)
    best = np.sort(scores, -1)
    assert np.allclose(decided.margins(scores), best[..., -1] - best[..., -2])
    among = "(float[2,6] x) => (int64[2,2] y) { t = Reshape(x, rows) y = ArgMax<axis=1, keepdims=0>(t) }"
    assert decisions(kit.graph_of(among, rows=kit.ints(2, 3, 2)))["y"].axis == -2
    mixed = "(float[2,6] x) => (int64[2,3] y) { t = Reshape(x, rows) a = ArgMax<axis=1, keepdims=0>(t) y = Reshape(a, map) }"
    assert not decisions(kit.graph_of(mixed, rows=kit.ints(6, 2), map=kit.ints(2, 3)))


def test_an_export_of_labels_keeps_how_sure_they_are_and_parity_judges_by_it(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(0, 0.3, (16, 16)), "b": rng.normal(0, 0.3, (16, 6))}
    body = "(float[1,16] x) => (int64[1] y) { h = Gemm(x, a) r = Relu(h) s = Gemm(r, b) y = ArgMax<axis=1, keepdims=0>(s) }"
    net = tmp_path / "labels.onnx"
    constants = {n: w.astype(np.float32) for n, w in weights.items()}
    onnx.save(kit.model_of(body, 17, **constants), net)
    for name in ("calib", "verify"):
        np.savez(tmp_path / name, x=rng.normal(size=(40, 16)).astype(np.float32))
    report = export_model(
        net,
        targets=("onnx",),
        precision="int8",
        recipe="fast",
        calib=str(tmp_path / "calib.npz"),
        verify=str(tmp_path / "verify.npz"),
        output=tmp_path / "out",
    )
    (made,) = report.artifacts
    figures = made.verdict.figures["y"]
    assert 0 < figures["margin_explained"] < 2
    assert figures["flips_beyond"] == 0
    shown = check_parity([made.path]).matrix.rows[-1].figures["y"]
    assert shown == figures


def scene_labels(count: int = 60) -> NDArray[np.int64]:
    """Return maps (count, 24, 24) of 0 with a patch of another label in each."""
    rng = np.random.default_rng(0)
    found = np.zeros((count, 24, 24), np.int64)
    for one in found:
        y, x = rng.integers(2, 17, 2)
        one[y : y + 5, x : x + 5] = rng.integers(1, 4)
    return found


def test_pictures_that_lose_all_they_show_and_rows_that_change_places_are_named() -> None:
    wanted = scene_labels()
    sound = wanted.copy()
    sound[:, 8, 8] = 0  # kernels round apart here and there
    given = {"y": wanted}, {"y": sound}
    assert compare(*given, budget=INT8, floor={"y": wanted})
    gone = sound.copy()
    gone[::10] = 0
    verdict = compare({"y": wanted}, {"y": gone}, budget=INT8, floor={"y": wanted})
    assert [f.metric for f in verdict.missed] == ["lost_samples_low"]
    swapped = sound.copy()
    swapped[:, [10, 13]] = sound[:, [13, 10]]
    verdict = compare({"y": wanted}, {"y": swapped}, budget=INT8, floor={"y": wanted})
    assert "turned_row_low" in [f.metric for f in verdict.missed]


def test_rows_of_a_map_that_change_places_are_named_where_they_are_little_of_it() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(40, 3, 64))
    promise = wanted + 0.1 * rng.normal(size=wanted.shape)
    other = promise + 0.05 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": other}, budget=INT8, floor={"y": promise})
    other[:, :, [30, 31]] = 0.5 * other[:, :, [30, 31]] + 0.5 * other[:, :, [31, 30]]
    verdict = compare({"y": wanted}, {"y": other}, budget=INT8, floor={"y": promise})
    rows = {"worst_row_beyond_db", "odd_place_beyond_db"}
    assert rows <= {f.metric for f in verdict.missed}


def test_an_amount_of_many_values_is_never_held_as_labels() -> None:
    wanted = counts()
    other = wanted.copy()
    other[0] -= 1024  # half a percent of all values, each wrong by all that there is
    assert not compare({"y": wanted}, {"y": other}, budget=INT8, floor={"y": wanted}, whole=AMOUNTS)


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
def test_near_ties_that_turn_in_a_float_file_are_no_error_and_many_or_other_values_are(
    kind: str,
) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.random((50, 2, 16, 16)) * (rng.random((50, 2, 16, 16)) < 0.1)
    kept = np.argwhere(wanted)

    def turned(count: int, scale: float = 1.0) -> dict[str, NDArray[Any]]:
        other = wanted * scale
        for place in rng.permutation(kept)[:count]:
            other[tuple(place)] = 0.0
        return {"y": other}

    def judged(other: dict[str, NDArray[Any]], told: dict[str, Whole] | None) -> list[str]:
        verdict = compare({"y": wanted}, other, budget=DEFAULTS[kind], whole=told)
        return [finding.metric for finding in verdict.missed]

    peaks: dict[str, Whole] = {"y": "kept"}
    assert judged(turned(8), peaks) == []
    assert judged(turned(8), None) != []
    assert judged(turned(len(kept) // 10), peaks) == ["differs_low"]
    assert judged(turned(0, 0.9), peaks) != []
