"""The verdict: every output, every part of it, both questions, and one truth in export and parity."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import parity_kit as kit
import pytest
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.kinds import Precision
from edgeconv.judge.advice import advice, said_once
from edgeconv.judge.budget import DEFAULTS, RANDOM, held_in, parse_budget
from edgeconv.judge.outputs import Outputs
from edgeconv.judge.parts import find_parts
from edgeconv.judge.run import run_feeds
from edgeconv.judge.text import figures_text, judgement
from edgeconv.judge.verdict import Finding, compare, no_integers
from edgeconv.parity.cells import Cell, Stage
from edgeconv.parity.facts import described
from edgeconv.parity.matrix import Samples, Settings, judge
from edgeconv.recipe import PLACES
from edgeconv.tensors import TensorSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Array = NDArray[Any]
INT8 = DEFAULTS["int8"]


def detections(count: int = 24, noise: float = 0.0, seed: int = 0) -> Array:
    """Return (count, 50, 8): boxes of some hundred pixels in channels 0 to 3, scores beside them."""
    rng = np.random.default_rng(seed)
    wanted: Array = rng.normal(size=(count, 50, 8)) * np.array([150.0] * 4 + [2.0] * 4) + 300.0 * (
        np.arange(8) < 4
    )
    noisy: Array = wanted + noise * np.random.default_rng(seed + 1).normal(size=wanted.shape)
    return noisy


def test_scores_that_are_lost_beside_boxes_are_named() -> None:
    wanted, got = detections(), detections(noise=2.0)
    assert metrics.sqnr_db(wanted, got) > 35  # which is all that one figure sees
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8)
    assert not verdict
    assert not verdict.good_enough
    assert verdict.converted
    assert "y, channels 4 to 7" in judgement(verdict, integer=True)
    assert "worst: y, channels 4 to 7" in figures_text(verdict)
    assert compare({"y": wanted}, {"y": detections(noise=0.05)}, budget=INT8)


def test_operands_in_half_precision_are_no_departure_from_the_promise() -> None:
    read = np.random.default_rng(0).normal(size=(60, 24))
    wanted = np.linalg.norm(read, axis=1, keepdims=True)
    exact = held_in(INT8, "mil-reference")
    for share, ok in ((0.0, True), (0.01, False)):
        other = read.astype(np.float16).astype(np.float64)
        other[:, 0] *= 1.0 + share
        got = np.linalg.norm(other, axis=1, keepdims=True)
        assert bool(compare({"y": wanted}, {"y": got}, budget=exact, floor={"y": wanted})) is ok


def test_parts_come_from_the_graph_where_it_knows_them() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(30, 6))
    got = wanted.copy()
    got[:, 4:] = 0.0
    cuts = {"y": (1, 0, 4)}
    assert [str(part) for part in find_parts("y", wanted, cuts)] == [
        "channels 0 to 3",
        "channels 4 to 5",
    ]
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8, cuts=cuts)
    assert any(f.part == "channels 4 to 5" for f in verdict.missed)


def test_channels_that_happen_to_differ_are_one_part() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 32, 4, 4)) * rng.lognormal(sigma=1.5, size=(32, 1, 1))
    assert find_parts("y", features, None) == ()


def test_a_frozen_output_is_no_good_whatever_its_mean() -> None:
    rng = np.random.default_rng(0)
    wanted = 100.0 + rng.normal(size=(40, 12))
    frozen = np.repeat(wanted.mean(axis=0)[None], 40, axis=0)
    assert metrics.sqnr_db(wanted, frozen) > 39
    verdict = compare({"y": wanted}, {"y": frozen}, budget=INT8, scores=())
    assert verdict.figures["y"]["sqnr_centred_db"] == pytest.approx(0.0, abs=0.2)
    assert {f.metric for f in verdict.missed} >= {"sqnr_centred_db", "lost_channels"}


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1), (6, 2, 1, 3), (6, 2, 1, 2, 2)])
def test_outputs_of_every_number_of_axes_are_measured(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    assert compare({"y": values}, {"y": values}, floor={"y": values})


def test_one_lost_channel_of_many_is_counted() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(40, 64))
    got = wanted + 0.02 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": got}, budget=INT8, scores=())
    got[:, 17] = 0.0
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8, scores=())
    assert [f.metric for f in verdict.missed] == ["lost_channels"]


@pytest.mark.parametrize("shape", [(40, 4, 16), (40, 6, 4, 4), (40, 84, 4)])
def test_a_place_that_stands_still_is_named_and_one_that_hardly_moves_is_not(
    shape: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(0)
    axis = 2 if shape == (40, 84, 4) else 1
    wanted = np.moveaxis(rng.normal(size=shape), axis, 1)
    wanted[:, :, 0] *= 0.01  # a border
    sound = np.round(wanted * 8) / 8
    got = sound.copy()
    got[:, :, 1] = 0.0
    wanted, sound, got = (np.moveaxis(side, 1, axis) for side in (wanted, sound, got))
    budget = replace(INT8, limits={"dead_places": 0})
    assert compare({"y": wanted}, {"y": sound}, budget=budget, floor={"y": sound})
    said = str(compare({"y": wanted}, {"y": got}, budget=budget, floor={"y": sound}))
    assert said.startswith("y: dead_places is ")
    assert compare({"y": wanted[:4]}, {"y": got[:4]}, budget=budget, floor={"y": sound[:4]})


def test_a_place_of_a_map_that_is_nearly_all_still_may_round_away_its_one_active_sample() -> None:
    rng = np.random.default_rng(0)
    wanted = np.zeros((40, 1, 32, 32))
    seen = rng.random(wanted.shape) < 0.01
    wanted[seen] = rng.normal(size=seen.sum())
    got = wanted + 0.3 * seen * rng.normal(size=wanted.shape)
    once = np.argwhere(seen.sum(axis=0)[0] == 1)[0]
    got[:, 0, once[0], once[1]] = 0.0
    budget = replace(INT8, limits={"dead_places": 0})
    assert compare({"y": wanted}, {"y": got}, budget=budget, floor={"y": wanted})


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("levels", [12, 24])
def test_an_output_that_keeps_few_levels_is_named(kind: Precision, levels: int) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(40, 6, 12))
    coarse = 0.1 * rng.normal(size=wanted.shape) * (kind == "int8")
    step = np.ptp(wanted) / (256 if kind == "int8" else 1e5)
    floor = np.rint((wanted + coarse) / step) * step
    budget = replace(DEFAULTS[kind], limits={k: 1.0 for k in ("lost_bits", "lost_float_bits")})
    if kind == "int8":
        budget = replace(budget, limits={"lost_bits": 1.0})
    about: dict[str, Any] = {"floor": {"y": floor}} if kind == "int8" else {}
    assert compare({"y": wanted}, {"y": floor}, budget=budget, **about)
    wide = np.ptp(wanted) / levels
    said = str(compare({"y": wanted}, {"y": np.rint(floor / wide) * wide}, budget=budget, **about))
    assert "bits is " in said
    assert not compare(
        {"y": wanted}, {"y": np.rint(floor / wide) * wide}, budget=DEFAULTS[kind], **about
    )


def test_one_channel_of_few_that_keeps_few_levels_is_named() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(80, 4))
    floor = wanted + 0.1 * rng.normal(size=wanted.shape)
    got = floor.copy()
    got[:, 2] = np.rint(got[:, 2] * 2) / 2
    budget = replace(INT8, limits={"lost_bits": 1.0})
    assert compare({"y": wanted}, {"y": floor}, budget=budget, floor={"y": floor})
    assert not compare({"y": wanted}, {"y": got}, budget=budget, floor={"y": floor})


def test_a_recipe_of_integers_promises_no_more_than_their_eight_bits() -> None:
    """As a sigmoid in half precision, of which every third level is left: 9.8 bits where 11 were promised."""
    wanted = np.random.default_rng(0).uniform(0.01, 0.4, (50, 2, 8, 8))
    floor = wanted + 0.005 * np.random.default_rng(1).normal(size=wanted.shape)
    budget = replace(INT8, limits={"lost_bits": 1.0})
    asked = {
        bits: bool(
            compare(
                {"y": wanted},
                {"y": np.round(floor * 2**bits) / 2**bits},
                budget=budget,
                floor={"y": floor},
            )
        )
        for bits in (12, 10, 9, 6)
    }
    assert asked == {12: True, 10: True, 9: True, 6: False}


def test_levels_that_half_precision_or_a_relu_takes_are_not_missed() -> None:
    rng = np.random.default_rng(0)
    wanted = (500 + 20 * rng.normal(size=(40, 32))).astype(np.float32)
    halves = wanted.astype(np.float16).astype(np.float32)
    assert compare({"y": wanted}, {"y": halves}, budget=DEFAULTS["fp16"])
    rare = np.maximum(rng.normal(size=(40, 32)) - 2, 0).astype(np.float32)
    noisy = rare + np.float32(1e-3) * (rare > 0)
    limits = {"lost_bits": 1.0, "lost_float_bits": 1.0}
    assert compare(
        {"y": rare}, {"y": noisy}, budget=replace(INT8, limits=limits), floor={"y": rare}
    )


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("place", [0, -1])
def test_a_border_row_that_copies_the_next_is_named(axis: int, place: int) -> None:
    rng = np.random.default_rng(0)
    wanted = np.cumsum(rng.normal(size=(60, 4, 16, 16)), axis=axis) / 3  # neighbours are alike
    floor = wanted + 0.2 * rng.normal(size=wanted.shape)
    sound = floor + 0.05 * rng.normal(size=wanted.shape)
    wrong = np.moveaxis(sound.copy(), axis, 0)
    wrong[place] = wrong[1 if place == 0 else -2] + 0.2 * (wrong[place] > 0)
    wrong = np.moveaxis(wrong, 0, axis)
    about: Any = {"budget": INT8, "floor": {"y": floor}, "scores": ()}
    assert compare({"y": wanted}, {"y": sound}, **about)
    found = compare({"y": wanted}, {"y": wrong}, **about)
    assert "odd_place_beyond_db" in {f.metric for f in found.missed}
    assert "worst_row_beyond_db" not in {f.metric for f in found.missed}


@pytest.mark.parametrize("count", [1, 2])
def test_tokens_that_are_their_neighbours_are_named(count: int) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(60, 16, 24)) * 0.6 + rng.normal(size=(60, 1, 24))
    floor = wanted + 0.35 * rng.normal(size=wanted.shape)
    sound = floor + 0.05 * rng.normal(size=wanted.shape)
    wrong = sound.copy()
    wrong[:, :count] = wrong[:, 8 : 8 + count]
    about: Any = {
        "budget": replace(INT8, limits={"odd_place_beyond_db": 6.0}),
        "floor": {"y": floor},
    }
    assert compare({"y": wanted}, {"y": sound}, **about)
    assert not compare({"y": wanted}, {"y": wrong}, **about)


def test_outputs_of_another_shape_from_sample_to_sample_are_a_sentence() -> None:
    class Growing:
        made = 0

        def infer(self, feed: Any) -> dict[str, Array]:
            self.made += 1
            return {"y": np.zeros((self.made + 1, 4))}

    spec = TensorSpec("x", (1, 3), "float32")
    feeds = [{"x": np.zeros((1, 3))}] * 2
    out = [TensorSpec("y", (-1, 4), "float32")]
    with pytest.raises(EdgeconvError, match=r"output y has another shape.*\[2, 4\] and \[3, 4\]"):
        run_feeds(cast(Any, Growing()), feeds, [spec], out)


def test_classes_that_a_softmax_never_finds_are_not_lost() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.random((40, 64)) * 1e-5
    wanted[:, :3] = rng.dirichlet([1, 1, 1], 40)
    wanted /= wanted.sum(axis=1, keepdims=True)
    got = np.round(wanted * 256) / 256
    assert metrics.lost_channels(wanted, got) > 50
    assert compare({"y": wanted}, {"y": got}, budget=INT8)
    got[:, 1] = got[:, 1].mean()
    missed = compare({"y": wanted}, {"y": got}, budget=INT8, scores=()).missed
    assert "lost_channels" in {f.metric for f in missed}


def test_a_float_output_that_hardly_varies_may_round_its_value() -> None:
    rng = np.random.default_rng(0)
    wanted = (30.0 + 1e-3 * rng.normal(size=(8, 16))).astype(np.float32)
    rounded = wanted + np.float32(1e-4)
    assert metrics.relative_error(wanted, rounded) > 1e-2
    assert compare({"y": wanted}, {"y": rounded}, scores=())
    assert not compare({"y": wanted}, {"y": wanted + np.float32(1e-2)}, scores=())
    scores = rng.normal(size=(8, 16)).astype(np.float32)
    assert not compare({"y": scores}, {"y": scores + np.float32(1e-3)})
    apart = np.linspace(0, 2, 16, dtype=np.float32) + 4e-4 * scores  # each hardly varies
    assert compare({"y": apart}, {"y": apart + np.float32(2e-5)}, scores=())
    assert not compare(
        {"y": apart}, {"y": 0.9 * apart + 0.1 * np.roll(apart, 1, axis=0)}, scores=()
    )


def _no_classes() -> dict[str, NDArray[Any]]:
    """Return outputs (50, values) whose largest value names no class, each in our own words."""
    rng = np.random.default_rng(0)
    place = rng.uniform(-1, 1, (50, 1))
    curve = np.cumsum(rng.normal(size=(50, 24)), axis=1)
    face = rng.uniform(0, 1, 136) + np.tile(0.1 * rng.normal(size=(50, 2)), 68)
    bins = np.exp(-0.5 * ((np.linspace(-1, 1, 40) - place) / 0.15) ** 2)
    return {
        "a forecast of 24 hours": curve,
        "a sound of 500 values": np.sin(np.arange(500) / 9 + 6 * place)
        + 0.1 * rng.normal(size=(50, 500)),
        "landmarks, x and y in turn": face + 0.02 * rng.normal(size=face.shape),
        "depth in 40 bins": 10 * bins + rng.normal(size=bins.shape),
        "a histogram of 40 bins": bins / bins.sum(axis=1, keepdims=True),
        "coordinates that keep their order": np.linspace(0, 9, 10)
        + 0.2 * rng.normal(size=(50, 10)),
        "an embedding of 128": rng.normal(size=(50, 128)),
        "tags, each 0 to 1": 1 / (1 + np.exp(-3 * rng.normal(size=(50, 20)))),
    }


@pytest.mark.parametrize("kind", _no_classes())
def test_outputs_that_name_no_class_are_held_to_no_agreement(kind: str) -> None:
    wanted = _no_classes()[kind]
    noise = 0.05 * wanted.std(axis=0) * np.random.default_rng(1).normal(size=wanted.shape)
    verdict = compare({"y": wanted}, {"y": wanted + noise}, budget=INT8)
    assert "agreement_top1" not in verdict.figures["y"]
    assert verdict, str(verdict)
    classes = np.arange(50) % 2  # which the output has, if the user says so
    assert "top1" in compare({"y": wanted}, {"y": wanted}, truth=classes).figures["y"]


def _classes() -> dict[str, NDArray[Any]]:
    """Return class scores (60, classes), confident ones among them."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(60, 12)) + 9 * np.eye(12)[rng.integers(12, size=60)]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    families = np.kron(np.eye(20), np.full((5, 5), 0.6)) + 0.4 * np.eye(100)
    return {
        "logits": logits,
        "shares": shares,
        "shares of a hundred": 100 * shares,
        "logarithms of shares": np.log(shares),
        "one class in all samples": rng.normal(size=(60, 12)) + 9 * np.eye(12)[3],
        "two classes, one of them rare": np.stack([v := rng.normal(4, 2, 60), -v], axis=1),
        "classes that lie beside their like": rng.multivariate_normal(np.zeros(100), families, 60),
    }


@pytest.mark.parametrize("kind", _classes())
def test_class_scores_are_held_to_their_largest_value(kind: str) -> None:
    wanted = _classes()[kind]
    turned = np.concatenate([-wanted[:3], wanted[3:]])
    figures = compare({"y": wanted}, {"y": turned}).figures["y"]
    assert figures["agreement_top1"] == pytest.approx(57 / 60)


def _one_for_all() -> dict[str, NDArray[Any]]:
    """Return outputs (60, values) whose largest value is in one place in every sample."""
    rng = np.random.default_rng(4)
    far = rng.normal(size=(60, 3)) * 0.3
    far[:, 2] += 5.0
    return {
        "where something is, far along one axis": far,
        "the values of a TopK": -np.sort(-rng.normal(size=(60, 5)) - 3, axis=1),
        "classes, of which all samples are one": rng.normal(size=(60, 12)) + 9 * np.eye(12)[3],
        "the same in every sample": np.repeat(rng.normal(size=(1, 10)), 60, axis=0),
    }


@pytest.mark.parametrize("kind", _one_for_all())
def test_where_one_place_is_largest_in_every_sample_agreement_is_no_figure(kind: str) -> None:
    wanted = _one_for_all()[kind]
    noise = 0.1 * wanted.std(axis=0) * np.random.default_rng(1).normal(size=wanted.shape)
    outputs = {"y": wanted}, {"y": wanted + noise}
    verdict = compare(*outputs, budget=INT8)
    assert verdict, str(verdict)
    assert not any(name.startswith(("agreement", "flips")) for name in verdict.figures["y"])
    (said,) = verdict.notes
    place = f"y: place {wanted[0].argmax()} is largest in all 60 samples, so agreement says nothing"
    assert said.startswith((place, "y: float gives the same in all 60 samples"))
    assert "agreement" not in figures_text(verdict)
    if "the same" not in kind:  # which is no scores
        asked = compare(*outputs, budget=parse_budget({"agreement_top1": 0.9}, "b", INT8))
        assert asked.figures["y"]["agreement_top1"] == 1.0
    few = compare({"y": wanted[:7]}, {"y": wanted[:7]}, budget=INT8)
    assert not few.notes


def test_what_is_called_figures_is_no_class_scores() -> None:
    wanted = np.random.default_rng(0).normal(size=(50, 3))
    for name, asked in (("translation", False), ("pose_logits", True), ("pose", False)):
        verdict = compare({name: wanted}, {name: wanted})
        assert ("agreement_top1" in verdict.figures[name]) is asked


def test_an_output_of_an_inputs_own_shape_holds_no_classes() -> None:
    wanted = np.random.default_rng(0).normal(size=(50, 1, 50))
    asked = {
        fed: "agreement_top1"
        in compare({"y": wanted}, {"y": wanted}, fed={"x": np.zeros((50, *fed))}).figures["y"]
        for fed in ((1, 50), (50,), (1, 49), (50, 50))
    }
    assert asked == {(1, 50): False, (50,): False, (1, 49): True, (50, 50): True}
    few = wanted[:, :, :16]  # a table has as many columns as classes by chance
    assert (
        "agreement_top1"
        in compare({"y": few}, {"y": few}, fed={"x": np.zeros((50, 16))}).figures["y"]
    )
    heard = compare({"y": wanted}, {"y": wanted}, whole={"y": "signal"}).figures["y"]
    assert "agreement_top1" not in heard
    assert "sqnr_db" in heard


def test_few_pictures_decide_no_share_and_say_so() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(12, 10))
    verdict = compare({"y": wanted}, {"y": wanted + 1e-3 * rng.normal(size=(12, 10))}, budget=INT8)
    assert verdict
    assert "too few samples to tell" in judgement(verdict, integer=True)
    many = rng.normal(size=(200, 10))
    verdict = compare({"y": many}, {"y": many + 1e-3 * rng.normal(size=(200, 10))}, budget=INT8)
    assert verdict.doubts == ()


@pytest.mark.parametrize(
    ("count", "scale", "passes"),
    [(5, 0.5, True), (5, 3.0, False), (20, 0.3, False), (20, 0.27, True)],
)
def test_twelve_decibels_must_be_reached_and_few_pictures_leave_it_open(
    count: int, scale: float, passes: bool
) -> None:
    rng = np.random.default_rng(0)
    wanted = 20.0 + rng.normal(size=(count, 4, 4))
    got = wanted + scale * rng.normal(size=wanted.shape)
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8, scores=())
    assert verdict.figures["y"]["sqnr_centred_db"] < 12
    assert bool(verdict) == passes
    if passes:
        said = judgement(verdict, integer=True)
        assert "within budget" not in said
        assert "too few samples to tell whether 12 dB are reached" in said


def test_a_recipe_that_is_too_coarse_is_not_excused_by_its_own_noise_floor() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(60, 10))
    coarse = wanted + 0.4 * rng.normal(size=(60, 10))
    verdict = compare({"y": wanted}, {"y": coarse}, budget=INT8, floor={"y": coarse})
    assert verdict.converted
    assert not verdict.good_enough
    assert "the file is what its recipe promises" in judgement(verdict, integer=True)
    broken = compare({"y": wanted}, {"y": coarse}, budget=INT8, floor={"y": wanted + 1e-2})
    assert not broken.converted


def test_what_floats_round_is_no_loss_where_nothing_is_integers() -> None:
    wanted = np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32)
    other = wanted * np.float32(1 + 1e-6)
    assert compare({"y": wanted}, {"y": other}, budget=INT8, floor={"y": wanted}).converted


def test_an_int8_file_without_integers_is_none() -> None:
    wanted = np.random.default_rng(0).normal(size=(30, 10))
    found = no_integers("int8", {"compute": 3, "int8_compute": 0})
    verdict = compare({"y": wanted}, {"y": wanted}, budget=INT8, found=found)
    assert "this is no INT8 file" in judgement(verdict, integer=True)
    assert not no_integers("int8", {"compute": 0})
    none = {"compute": 11, "int8_compute": 0, "integer_layers": 0}  # an LSTM, written as products
    assert not no_integers("int8", none)
    assert not no_integers("fp32", {"compute": 3, "int8_compute": 0})
    (step,) = advice(verdict, "net.mlpackage", {})  # whose layers compute what they should
    assert step.startswith("--fp16")


def test_what_a_file_computes_in_is_not_asked_of_its_recipe(tmp_path: Path) -> None:
    file = tmp_path / "net.mlpackage"
    file.write_bytes(b"")
    counts = {"compute": 1, "int8_compute": 0}
    artifact = Artifact(file, {"graph": counts, "evidence": {"files": {}}})
    ran = Outputs({"y": np.zeros((2, 3))}, {"delegation": {}})
    for stage, missed in (("recipe", False), ("int8", True)):
        cell = Cell(stage, cast(Stage, stage), file, "onnxruntime", artifact=artifact)
        found = described(cell, ran, "", False).about["file"]
        assert bool(no_integers(cell.kind, found)) is missed
    artifact = Artifact(file, {"graph": {**counts, "integer_layers": 0}, "evidence": {"files": {}}})
    cell = Cell("int8", "int8", file, "onnxruntime", artifact=artifact)
    assert not no_integers(cell.kind, described(cell, ran, "", False).about["file"])


def test_random_weights_ask_nothing_of_a_recipe_and_say_so() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(60, 10))
    verdict = compare({"y": wanted}, {"y": wanted + 0.2}, budget=RANDOM["int8"])
    assert "random weights have no task" in judgement(verdict, integer=True)


FORMS = (
    ("fp32", ("onnx", "tflite"), "float"),
    ("int8", ("onnx", "tflite", "coreml"), "float"),
    ("int8", ("onnx", "tflite"), "uint8"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixed", "strange"])
def test_export_and_parity_come_to_the_same_verdict(kind: str, tmp_path: Path) -> None:
    """On the same file, in the same runtime: every figure of every output and part, and the same misses.

    The pictures are sorted, and more than Core ML's files are judged on; the strange net takes a second input.
    """
    from edgeconv import export_model
    from edgeconv.parity.api import check_parity

    make, forms = {"mixed": (mixed_output, FORMS), "strange": (strange_outputs, STRANGE)}[kind]
    model = make(tmp_path / "net [v1].onnx")
    seen = kit.pictures(80)
    arrays = {"input": seen[np.argsort(seen.mean(axis=(1, 2, 3)))]}
    if kind == "strange":
        arrays["hint"] = np.random.default_rng(6).normal(size=(80, 24)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", allow_pickle=False, **arrays)
    for precision, targets, io in forms:
        out = tmp_path / f"{precision}_{io}"
        more: dict[str, Any] = {"calib": str(tmp_path / "calib.npz"), "output": out, "threads": 1}
        if precision == "int8":
            more |= {"recipe": "fast", "io": io, "calib_count": 20, "allow_poor_calibration": True}
        report = export_model(
            str(model), precision=cast(Precision, precision), targets=targets, **more
        )
        assert len(report.artifacts) == len(targets)
        matrix = check_parity([made.path for made in report.artifacts]).matrix
        for made in report.artifacts:
            runtime = made.verdict.runtime.split()[0]
            row = next(r for r in matrix.rows if r.label == f"{made.path.name} · {runtime}")
            kit.agree(made.verdict.verdict, row.verdict, f"{precision} {made.target} {io}")
            assert made.verdict.pictures == (50 if made.target == "coreml" else made.verdict.of)


STRANGE = (("fp16", ("coreml",), "float"), ("int8", ("coreml", "tflite"), "float"))


def strange_outputs(path: Path) -> Path:
    """Write the small net with figures around 500 that a second input moves, probabilities and a constant, in square brackets."""
    from edgeconv.export.graph import Node
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = kit.small_net()
    rng = np.random.default_rng(5)
    graph.constants["place.weight"] = rng.normal(size=(4, 24)).astype(np.float32)
    graph.constants["place.bias"] = np.full(4, 500, np.float32)
    graph.constants["anchors"] = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    names = ("/place [v1]/Gemm_output_0", "/class[0]/Softmax_output_0", "/anchors [v1]")
    for name, shape in zip(names, ((1, 4), (1, 10), (1, 4, 2)), strict=True):
        graph.declare(name, shape, np.float32)
    gemm: dict[str, Any] = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    graph.inputs.append("hint")
    for name in ("hint", "hinted"):
        graph.declare(name, (1, 24), np.float32)
    graph.nodes.append(Node("Add", "hinting", ["flat", "hint"], ["hinted"]))
    inputs = ["hinted", "place.weight", "place.bias"]
    graph.nodes.append(Node("Gemm", "place", inputs, [names[0]], gemm))
    graph.nodes.append(Node("Softmax", "class", ["logits"], [names[1]], {"axis": 1}))
    graph.nodes.append(Node("Identity", "anchor", ["anchors"], [names[2]]))
    graph.outputs = list(names)
    path.write_bytes(save_model(to_onnx(graph)))
    return path


def mixed_output(path: Path) -> Path:
    """Write the small net with a Concat of its logits and four other sums, some hundred times larger."""
    from edgeconv.export.graph import Node
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = kit.small_net()
    rng = np.random.default_rng(3)
    graph.constants["box.weight"] = (400.0 * rng.normal(size=(4, 24))).astype(np.float32)
    graph.constants["box.bias"] = np.zeros(4, np.float32)
    gemm: dict[str, Any] = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    inputs = ["flat", "box.weight", "box.bias"]
    graph.nodes.append(Node("Gemm", "box", inputs, ["boxes"], gemm))
    graph.nodes.append(Node("Concat", "both", ["boxes", "logits"], ["both"], {"axis": 1}))
    graph.declare("boxes", (1, 4), np.float32)
    graph.declare("both", (1, 14), np.float32)
    graph.outputs = ["both"]
    path.write_bytes(save_model(to_onnx(graph)))
    return path


def test_a_missed_verdict_says_what_to_try_in_the_order_of_its_figures() -> None:
    wanted = {"y": detections()}
    coarse = compare(wanted, {"y": detections(noise=2.0)}, budget=INT8)
    known = {"recipe": {"name": "fast"}, "calibration": {"count": 12}}
    steps = advice(coarse, "net.tflite", known)
    for halves, option in ((True, "--fp16:"), (False, "--fp16 --target tflite:")):
        said = advice(coarse, "net.pte", known, halves=halves)
        assert any(step.startswith(option) for step in said)
    assert steps[0].startswith("more samples for --calib: there were 12")
    assert steps[1].startswith("--recipe best")
    assert "parts as outputs of their own" in steps[2]
    assert advice(
        coarse, "net.tflite", {**known, "preprocessing_better": {"preprocessing": "unit"}}
    )[0].startswith("--preprocessing unit")
    broken = compare(wanted, {"y": detections(noise=2.0)}, budget=INT8, floor=wanted)
    assert advice(broken, "net.tflite", {})[0].startswith("edgeconv parity net.tflite --layers")
    both = compare(wanted, {"y": detections(noise=2.0)}, budget=INT8, floor=wanted)
    assert sum("--layers" in step for step in advice(both, "net.mlpackage", {})) == 1
    steps = (
        "rescue a.onnx: tries these",
        "parity a.onnx: shows layers",
        "rescue b.tflite: tries these",
    )
    assert said_once(steps) == list(steps[:2])
    assert advice(compare(wanted, wanted, budget=INT8), "net.tflite", known) == ()
    shown = advice(broken, "net.tflite", known, layers_shown=True)
    assert not any("--layers" in step for step in shown)
    assert any("ranked here" in step for step in shown)


def test_samples_beyond_the_calibrated_ranges_are_the_first_thing_to_try() -> None:
    """So is what a warning says of the pictures; a better preprocessing comes before."""
    wanted = {"y": detections()}
    coarse = compare(wanted, {"y": detections(noise=2.0)}, budget=INT8)
    left = {"calibration": {"count": 12, "beyond": {"tensor": "x", "share": 0.724}}}
    first, second, *_ = advice(coarse, "net.tflite", {"recipe": {"name": "fast"}, **left})
    assert first == (
        "--calib with samples like those that verify: 72 % of the values of x lie beyond the calibrated ranges"
    )
    assert second.startswith("more samples for --calib")
    known: dict[str, Any] = {**left, "preprocessing_better": {"preprocessing": "unit"}}
    steps = advice(coarse, "net.tflite", known)
    assert steps[0].startswith("--preprocessing unit")
    assert steps[1] == first
    warned: dict[str, Any] = {"recipe": {"name": "fast"}, "warnings": ["PICTURES LOOK WRONG"]}
    assert advice(coarse, "net.tflite", warned)[0].startswith("other pictures for --calib")


def test_lost_boxes_lead_and_box_operators_that_are_in_float_are_not_advised() -> None:
    lost = Finding(
        "", "boxes_kept", 0.0, 0.5, False, "0.0 % of the boxes kept, wanted at least 50 %"
    )
    coarse = compare({"y": detections()}, {"y": detections(noise=2.0)}, budget=INT8, found=(lost,))
    assert "not good enough (0.0 % of the boxes kept, wanted at least 50 %, and " in judgement(
        coarse, integer=True
    )
    for reason, advised in (("it has no INT8 form", True), (PLACES, False)):
        known = {"recipe": {"name": "fast", "notes": {"float": {"mul": reason}}}}
        steps = advice(coarse, "net.tflite", known)
        assert any("which make boxes" in step for step in steps) is advised


def test_a_file_that_departs_from_a_recipe_that_would_do_is_not_told_to_change_it() -> None:
    wanted = {"y": detections()}
    departed = {"y": detections(noise=2.0)}
    known = {"precision": "int8", "recipe": {"name": "fast"}, "calibration": {"count": 12}}
    fine = compare(wanted, departed, budget=INT8, floor={"y": detections(noise=0.05)})
    assert not fine.good_enough
    assert not fine.blames_recipe
    assert "; what it gives is not good enough (y, channels 4 to 7" in judgement(fine, integer=True)
    steps = advice(fine, "net.tflite", known)
    assert [step.split(":")[0] for step in steps] == [
        "edgeconv parity net.tflite --layers",
        "another --target, or another runtime",
    ]
    coarse = {"y": detections(noise=1.0, seed=0)}
    both = compare(wanted, {"y": detections(noise=3.0)}, budget=INT8, floor=coarse)
    assert not both.converted
    assert both.blames_recipe
    assert "; the recipe is not good enough (" in judgement(both, integer=True)
    assert any(step.startswith("--recipe best") for step in advice(both, "net.tflite", known))


def test_an_output_around_500_in_half_precision_is_what_its_arithmetic_gives() -> None:
    """Core ML rounds it to quarters: no fault of the file, said with what keeps its digits."""
    rng = np.random.default_rng(0)
    wanted = 500.0 + 4.0 * rng.normal(size=(60, 4))
    floor = wanted + 0.05 * rng.normal(size=wanted.shape)
    halves = floor.astype(np.float16).astype(np.float32)
    verdict = compare({"y": wanted}, {"y": halves}, budget=INT8, floor={"y": floor})
    assert verdict, str(verdict)
    assert ["--coreml-compute fp32" in note for note in verdict.notes] == [True]
    broken = (floor + 1.5 * (floor > 500)).astype(np.float16).astype(np.float32)
    worse = compare({"y": wanted}, {"y": broken}, budget=INT8, floor={"y": floor})
    assert not worse.converted
    sound = compare({"y": wanted}, {"y": floor}, budget=INT8, floor={"y": floor})
    assert sound.notes == ()


@pytest.mark.slow
def test_parity_holds_no_file_against_graphs_that_take_other_inputs(tmp_path: Path) -> None:
    """The raw graph takes no pixels and has no softmax: a sound file with both was missed by it."""
    from edgeconv import export_model
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.parity.api import check_parity

    (tmp_path / "net.onnx").write_bytes(save_model(to_onnx(kit.small_net())))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "pixels.npz", input=pixels)
    report = export_model(
        tmp_path / "net.onnx", embed_preprocessing=True, softmax=True, preprocessing="imagenet",
        verify=tmp_path / "pixels.npz", output=tmp_path / "out",
    )  # fmt: skip
    assert report
    result = check_parity([report.artifacts[0].path])
    labels = [row.label.partition(" · ")[0] for row in result.matrix.rows]
    assert labels == ["hub ONNX", "prepared ONNX", report.artifacts[0].path.name]
    assert result.exit_code == 0


KINDS = ("fp32", "fp16", "int8")


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_varies_by_less_than_its_rounding_may_not_be_frozen(kind: str) -> None:
    spread = {"fp32": 0.0036, "fp16": 0.3, "int8": 0.3}[kind]
    wanted = 500.0 + spread * np.random.default_rng(0).uniform(-1, 1, size=(100, 4))
    budget = DEFAULTS[cast(Precision, kind)]
    assert not compare({"y": wanted}, {"y": np.full_like(wanted, 500.0)}, budget=budget)
    rounded = wanted + spread / 30 * np.random.default_rng(1).uniform(-1, 1, size=wanted.shape)
    assert compare({"y": wanted}, {"y": rounded}, budget=budget)


@pytest.mark.parametrize("sizes", [(100.0, 1.0), (100.0, 100.0, 0.5), (1.0, 40.0, 40.0, 40.0)])
def test_a_small_figure_of_a_vector_does_not_hide_beside_large_ones(sizes: tuple[float]) -> None:
    wanted = np.random.default_rng(0).normal(size=(100, len(sizes))) * np.array(sizes)
    step = np.ptp(wanted) / 255
    verdict = compare({"y": wanted}, {"y": np.rint(wanted / step) * step}, budget=INT8)
    assert f"channel {int(np.argmin(sizes))}" in str(verdict)
    fine = wanted + 0.05 * np.array(sizes) * np.random.default_rng(1).normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": fine}, budget=INT8)


def test_classes_of_uneven_liveliness_are_of_one_piece() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(100, 10)) * rng.uniform(0.5, 3.0, size=10)
    verdict = compare({"y": wanted}, {"y": wanted + 0.02}, budget=INT8)
    assert verdict
    assert not verdict.parts
    assert "agreement_top1" in verdict.figures["y"]


def test_rare_classes_that_are_lost_to_the_commonest_one_are_named() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(400, 5)) * 2.0
    wanted[:, 0] += 12.0
    wanted[:16, 1] = wanted[:16, 0] + rng.uniform(0.1, 0.4, size=16)
    shifted = wanted.copy()
    shifted[:, 0] += 0.5
    verdict = compare({"y": wanted}, {"y": shifted}, budget=INT8)
    assert verdict.figures["y"]["agreement_top1"] > 0.95
    assert [finding.metric for finding in verdict.missed] == ["agreement_rare_high"]
    noisy = wanted + 0.02 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": noisy}, budget=INT8)


def test_one_steep_place_of_half_precision_is_no_fault() -> None:
    rng = np.random.default_rng(0)
    wanted = np.eye(8)[rng.integers(8, size=(20, 40))]
    steep, dead = wanted.copy(), wanted.copy()
    steep[3, 7] = 0.9 * steep[3, 7] + 0.01
    dead[:, :4] = 0.9 * dead[:, :4]
    assert compare({"y": wanted}, {"y": steep}, budget=DEFAULTS["fp16"])
    assert not compare({"y": wanted}, {"y": dead}, budget=DEFAULTS["fp16"])


def test_half_precision_that_overflows_is_told_what_to_try() -> None:
    wanted = np.full((8, 4), 7e4)
    missed = compare({"y": wanted}, {"y": np.full((8, 4), np.inf)}, budget=INT8)
    steps = [advice(missed, name, {}) for name in ("net.mlpackage", "net.tflite")]
    assert [any("--coreml-compute fp32" in step for step in each) for each in steps] == [
        True,
        False,
    ]


def test_rare_classes_that_noise_turns_both_ways_are_not_lost() -> None:
    """As in a raw embedding of which one element is mostly the largest: near the border every other row changes."""
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=(1000, 16))
    wanted[:, 5] += 12.0
    wanted[:24, 7] = wanted[:24, 5] + np.tile([0.05, -0.05], 12)
    got = wanted + 0.1 * rng.normal(size=wanted.shape)
    got[:16, 5], got[:16, 7] = wanted[:16, 7], wanted[:16, 5]
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8)
    assert verdict, verdict
    assert "agreement_rare_high" not in verdict.figures["y"]


@pytest.mark.parametrize("name", ["image_embeds", "y"])
def test_outputs_that_say_that_they_hold_no_classes_are_judged_by_their_values(name: str) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(100, 64)) * 0.2 + (0.0 if name == "image_embeds" else 3.0)
    got = wanted + 0.03 * rng.normal(size=wanted.shape)
    verdict = compare({name: wanted}, {name: got}, budget=INT8)
    assert verdict, verdict
    assert "agreement_top1" not in verdict.figures[name]
    labelled = compare({name: wanted}, {name: got}, budget=INT8, truth=wanted.argmax(axis=1))
    assert "top1" in labelled.figures[name]


def test_a_net_that_gives_the_class_itself_has_an_accuracy() -> None:
    truth = np.array([0, 1, 2, 2, -1])
    wanted, got = np.array([0, 1, 2, 1, 7]), np.array([0, 1, 1, 1, 7])
    alone = compare({"label": wanted}, {"label": got[:, None]}, truth=truth).figures["label"]
    assert (alone["top1"], alone["reference_top1"]) == (0.5, 0.75)
    both = {"label": wanted, "count": wanted + 3}
    assert not any("top1" in f for f in compare(both, both, truth=truth).figures.values())


def test_the_largest_element_of_an_embedding_is_no_class() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(100, 256))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    verdict = compare(
        {"y": wanted}, {"y": wanted + 4e-3 * rng.normal(size=wanted.shape)}, budget=INT8
    )
    assert verdict
    assert "agreement_top1" not in verdict.figures["y"]
    assert not compare({"y": wanted}, {"y": wanted[::-1]}, budget=INT8)


def test_a_small_class_that_leaves_a_map_is_named() -> None:
    """At 20 dB and with every channel alive, which is what the other figures see."""
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(20, 3, 32, 32))
    wanted[:, 0] += 6.0
    wanted[:, 1, 4:6, 4:6] += 8.0
    got = wanted.copy()
    got[:, 1, 4:6, 4:6] -= 4.0
    verdict = compare({"y": wanted}, {"y": got}, budget=INT8, floor={"y": got})
    assert verdict.converted
    assert [finding.metric for finding in verdict.missed] == ["lost_classes"]
    noisy = wanted + 0.2 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": noisy}, budget=INT8)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_a_label_that_leaves_a_map_is_named_though_98_of_100_values_are_equal(kind: str) -> None:
    wanted: Array = np.zeros((30, 8, 8), np.int64)
    wanted[::3, 0, :4] = 1
    wanted[1::3, 3:6, 2:6] = 2
    got = np.where(wanted == 1, 0, wanted)
    floor = {"y": wanted} if kind == "int8" else None
    verdict = compare({"y": wanted}, {"y": got}, budget=DEFAULTS[kind], floor=floor)
    assert verdict.figures["y"]["equal"] > 0.97
    assert "lost_labels" in [finding.metric for finding in verdict.missed]
    assert not verdict.converted
    if kind == "int8":  # a recipe that loses it too is not told apart from the file that does
        assert compare({"y": wanted}, {"y": got}, budget=INT8, floor={"y": got}).converted


@pytest.mark.parametrize("kind", [np.int64, np.bool_])
def test_whole_numbers_are_equal_or_not(kind: type) -> None:
    wanted: Array = np.random.default_rng(0).integers(0, 2, (40, 8, 8)).astype(kind)
    got = wanted.copy()
    got[:, 0, :4] = 1 - got[:, 0, :4]
    verdict = compare({"mask": wanted}, {"mask": got}, budget=INT8, floor={"mask": got})
    figures = verdict.figures["mask"]
    assert figures["equal"] == 1 - 4 / 64
    assert figures["equal_low"] < figures["equal"] < figures["equal_high"] < 1
    assert not any(name.endswith("_db") for name in figures)
    assert "mask: 93.8 % [" in figures_text(verdict)
    assert verdict
    other = compare({"mask": wanted}, {"mask": got}, budget=INT8, floor={"mask": wanted})
    assert [f.metric for f in other.missed] == ["turned_beyond_low", "turned_row_low"]
    assert not other.converted
    wrong = compare({"mask": wanted}, {"mask": 1 - wanted.astype(np.int64)}, budget=INT8)
    assert [f.metric for f in wrong.missed] == ["equal_high", "lost_labels", "lost_samples_low"]
    assert not compare({"mask": wanted}, {"mask": got})
    half: Array = np.where(np.arange(40)[:, None, None] < 20, wanted, ~wanted.astype(bool)).astype(
        kind
    )
    broken = compare({"mask": wanted}, {"mask": half}, budget=INT8, floor={"mask": wanted})
    assert not broken.converted


@pytest.mark.parametrize("shape", [(60, 3000), (30, 12, 2100), (30, 2100, 6)])
def test_one_row_of_thousands_is_judged_by_itself(shape: tuple[int, ...]) -> None:
    """An anchor, a class or a time step that is its neighbour's or still; none of them by chance, of few samples either."""
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=shape)
    promise = wanted + 0.05 * rng.normal(size=shape)
    axis = int(np.argmax(shape))
    for count in (8, 30):
        heavy = 0.05 * rng.standard_t(3, size=(count, *shape[1:]))
        assert (
            metrics.worst_row_beyond_db(
                wanted[:count], promise[:count], promise[:count] + heavy, 0.0
            )
            < 12
        )
        assert (
            metrics.odd_place_beyond_db(
                wanted[:count], promise[:count], promise[:count] + heavy, 0.0
            )
            < 6
        )
    for shift in (0, 1):
        other = promise + 0.01 * rng.normal(size=shape)
        row = (slice(None),) * axis + (shape[axis] // 2,)
        other[row] = np.roll(other[row], shift, axis=0) * shift
        assert metrics.worst_row_beyond_db(wanted, promise, other, 0.0) > 12


@pytest.mark.parametrize("kind", ["another", "zero"])
def test_one_picture_of_a_hundred_that_is_wrong_is_named(kind: str) -> None:
    """At 15 dB it adds so little that no figure over all of them shows it."""
    rng = np.random.default_rng(4)
    wanted = rng.normal(size=(100, 24, 4))
    promise = wanted + 0.18 * rng.normal(size=wanted.shape)
    sound = promise + 0.1 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": sound}, floor={"y": promise}, budget=INT8)
    wrong = sound.copy()
    wrong[42] = wanted[41] if kind == "another" else 0.0
    found = compare({"y": wanted}, {"y": wrong}, floor={"y": promise}, budget=INT8)
    assert {f.metric for f in found.missed} == {"worst_sample_beyond_db"}


def test_half_precision_is_held_to_what_halves_can_say() -> None:
    """A scale that is 3 % beside is no rounding; a quarter of noise around 500 is."""
    rng = np.random.default_rng(6)
    wanted = rng.normal(size=(50, 8))
    missed = compare({"y": wanted}, {"y": 1.05 * wanted}, budget=DEFAULTS["fp16"]).missed
    assert "half_sqnr_db" in {f.metric for f in missed}
    near = wanted + 1e-3 * rng.normal(size=wanted.shape)
    assert compare({"y": wanted}, {"y": near}, budget=DEFAULTS["fp16"])
    far = 500.0 + wanted
    figures = compare({"y": far}, {"y": np.rint(far * 4) / 4}).figures["y"]
    assert figures["half_sqnr_db"] == np.inf
    assert figures["sqnr_centred_db"] < 25


def test_a_runtime_that_no_processor_changes_is_held_tighter() -> None:
    """A fault 3 dB beyond the promise is named there; a limit of a user's own stays what it is."""
    about = {"stage": "int8", "kind": "int8", "label": "a", "before": "recipe"}
    rng = np.random.default_rng(8)
    wanted = rng.normal(size=(60, 10))
    promise = wanted + 0.05 * rng.normal(size=wanted.shape)
    other = promise + 0.05 * 10 ** (3 / 20) * rng.normal(size=wanted.shape)
    samples = Samples({"x": np.zeros((60, 1))})
    budget = parse_budget({"beyond_promise_db": 5.0}, "b", INT8)
    for runtime, variant, budgets, missed in (
        (
            "mil-reference",
            "",
            DEFAULTS,
            ["below_floor_db", "beyond_promise_db", "below_floor_low_db"],
        ),
        ("onnxruntime", "", DEFAULTS, ["below_floor_low_db"]),
        ("ai-edge-litert", "/no-xnnpack", DEFAULTS, []),
        ("mil-reference", "", {**DEFAULTS, "int8": budget}, []),
    ):
        recipe = Outputs({"y": promise}, {"stage": "recipe", "kind": "int8"})
        ran = {**about, "runtime": runtime, "variant": variant}
        results = [("recipe", recipe, recipe.about), ("a", Outputs({"y": other}, ran), ran)]
        matrix = judge(results, Outputs({"y": wanted}), samples, Settings(budgets))
        verdict = matrix.rows[1].verdict
        assert verdict is not None
        held = [f.metric for f in verdict.missed if f.metric.endswith("_db")]
        assert held == missed, runtime


def test_what_is_alike_in_all_samples_is_no_rounding() -> None:
    """A sum that is cut instead of rounded stays within the other limits; one that rounds apart by as much is sound."""
    rng = np.random.default_rng(9)
    wanted = rng.normal(size=(60, 10))
    promise = wanted + 0.05 * rng.normal(size=wanted.shape)
    apart = wanted + 0.05 * rng.normal(size=wanted.shape)
    shifted = promise + 0.04
    budget = held_in(INT8, "onnxruntime")
    for got, missed in ((apart, []), (shifted, ["shift_to_floor"])):
        found = compare({"y": wanted}, {"y": got}, budget=budget, floor={"y": promise}, scores=())
        assert [f.metric for f in found.missed] == missed
    sides = [{"y": values[:7]} for values in (wanted, shifted, promise)]
    assert compare(*sides[:2], budget=budget, floor=sides[2], scores=())  # too few to tell


def test_truth_belongs_to_the_output_that_has_its_classes() -> None:
    rng = np.random.default_rng(0)
    outputs = {"pose": rng.normal(size=(8, 3)), "scores": rng.normal(size=(8, 5))}
    truth = np.arange(8) % 5
    figures = compare(outputs, outputs, truth=truth).figures
    assert ("top1" in figures["scores"], "top1" in figures["pose"]) == (True, False)
    with pytest.raises(EdgeconvError, match="class 5, counted from 0, and output scores has 5"):
        compare(outputs, outputs, truth=truth + 1)


@pytest.mark.parametrize("count", [4, 8, 16, 32])
def test_one_flip_of_few_pictures_is_chance_and_permuted_classes_are_named(count: int) -> None:
    """The first picture's best class lies further before the second than the recipe's noise explains."""
    rng = np.random.default_rng(count)
    wanted = rng.normal(size=(count, 10))
    wanted[np.arange(count), np.arange(count) % 10] += 6.0
    wanted[0, :2] = 6.6, 6.0
    floor = wanted + 0.1 * rng.normal(size=wanted.shape)
    once = floor.copy()
    once[0, :2] = 6.0, 6.1
    found = compare({"y": wanted}, {"y": once}, floor={"y": floor}, budget=INT8)
    assert found.figures["y"]["flips_beyond"] == 1
    assert found, found.missed
    half = floor[:, [1, 2, 3, 4, 0, 5, 6, 7, 8, 9]]
    assert not compare({"y": wanted}, {"y": half}, floor={"y": floor}, budget=INT8).converted
    kept = {"flips_beyond_low": INT8.limits["flips_beyond_low"]}
    alone = compare(
        {"y": wanted}, {"y": half}, floor={"y": floor}, budget=replace(INT8, limits=kept)
    )
    assert not alone, "these flips alone name it"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("logits", True),
        ("behind a ReLU", True),
        ("named", False),
        ("length 1", False),
        ("few", False),
    ],
)
def test_what_may_be_classes_after_all_is_said(kind: str, said: bool) -> None:
    """64 values a sample, or none below 0, are taken for no class scores: silence would look like agreement."""
    rows = np.random.default_rng(5).normal(size=(40, 63 if kind == "few" else 64))
    rows[np.arange(40), np.arange(40)] += 6.0
    if kind == "behind a ReLU":
        rows = np.maximum(rows[:, :40], 0.0)
    if kind == "length 1":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    name = "embedding" if kind == "named" else "y"
    notes = compare({name: rows}, {name: rows + 1e-7}).notes
    assert any("are not read as class scores" in note for note in notes) is said
    assert not compare({name: rows}, {name: rows}, truth=np.arange(40)).notes
