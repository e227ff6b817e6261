"""What verdicts, tables and pages say, from figures that are given: every word and number by value."""

import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeconv.judge.advice import advice
from edgeconv.judge.budget import DEFAULTS, Budget
from edgeconv.judge.doubts import doubts_of, is_open
from edgeconv.judge.measures import show
from edgeconv.judge.outputs import Outputs
from edgeconv.judge.text import figures_text, judgement, to_json, what_missed
from edgeconv.judge.verdict import BOXES, Finding, Verdict, compare
from edgeconv.parity import page, report
from edgeconv.parity.baseline import SLACK, compare_baseline, is_worse
from edgeconv.parity.junit import to_junit
from edgeconv.parity.layers.figures import Layer, LayerReport
from edgeconv.parity.matrix import Matrix, Row, Samples

CLASSES = {"agreement_top1": 0.9, "agreement_top1_low": 0.8, "agreement_top1_high": 0.95,
           "top1": 0.7, "top1_low": 0.6, "top1_high": 0.8, "reference_top1": 0.75}  # fmt: skip
NOISE = {"sqnr_db": 30.04, "sqnr_centred_db": 20.0, "max_abs_error": 0.5}


def missed(metric: str = "sqnr_db", got: float = 3.0, part: str = "") -> Finding:
    return Finding("y", metric, got, 10.0, ok=False, part=part)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"y": CLASSES}, "top-1 agreement with float 90.0 % [80.0, 95.0] · top-1 70.0 % (float 75.0 %)"),
        ({"y": NOISE}, "SQNR 30.0 dB, 20.0 with the mean removed · max error 0.5"),
        ({"y": {"sqnr_db": math.inf, "max_abs_error": 0.0}}, "SQNR inf dB · max error 0"),
        ({"y": NOISE, "z": {"sqnr_db": 25.0, "max_abs_error": 2.0}},
         "SQNR 30.0 dB, 20.0 with the mean removed (worst: y) · max error 2"),
        ({"m": {"equal": 0.9, "equal_low": 0.8, "equal_high": 1.0}, "n": {"equal": 0.5, "equal_low": 0.4, "equal_high": 0.6}},
         "n: 50.0 % [40.0, 60.0] of its values equal float's"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_figures_that_matter_are_said(figures: dict[str, dict[str, float]], said: str) -> None:
    assert figures_text(Verdict((), figures)) == said


def test_a_verdict_says_what_it_missed_and_what_stays_open() -> None:
    sound = Verdict((replace(missed(), ok=True),))
    assert judgement(sound, integer=True) == "within budget"
    assert judgement(replace(sound, doubts=("a", "b")), integer=True) == "nothing missed; a; b"
    floor, coarse = missed("below_floor_db", 20.0), missed("sqnr_centred_db", 5.0)
    verdict = Verdict((floor, missed(), coarse), {"y": {"below_floor_db": 20.0}})
    promised = "below_floor_db is 20.00, wanted at most 10.00"
    assert what_missed(verdict, integer=True) == (
        f"the file is not what its recipe promises (y: {promised}); "
        "what it gives is not good enough (y: sqnr_centred_db is 5.0, wanted at least 10.0, and 1 more)"
    )
    known = Verdict((missed(),), {"y": {"below_floor_db": 0.1}})
    coarse_recipe = "the recipe is not good enough (y: sqnr_db is 3.0, wanted at least 10.0)"
    assert (
        what_missed(known, integer=True) == f"the file is what its recipe promises; {coarse_recipe}"
    )
    assert what_missed(Verdict((missed(),)), integer=True) == coarse_recipe, "whose nobody knows"
    assert what_missed(Verdict((floor,)), integer=False) == f"y: {promised}"
    assert what_missed(Verdict((missed(),)), integer=False) == str(missed())
    told = to_json(
        Verdict((floor,), {"y": {"sqnr_db": math.inf}}, ("n",), {"y": {"p": NOISE}}, ("d",))
    )
    assert told == {
        "ok": False, "converted": False, "good_enough": True, "figures": {"y": {"sqnr_db": "inf"}},
        "parts": {"y": {"p": NOISE}}, "notes": ["n"], "doubts": ["d"],
        "missed": [{"output": "y", "part": "", "metric": "below_floor_db", "got": 20.0, "wanted": 10.0,
                    "text": f"y: {promised}"}],
    }  # fmt: skip


def test_figures_are_shown_each_in_its_form() -> None:
    got = [
        show("sqnr_db", 30.04),
        show("top1", 0.12345),
        show("kl", math.nan),
        show("flips", -math.inf),
    ]
    assert got == ["30.0", "0.1235", "nan", "-inf"]


BUDGET = Budget(
    {"sqnr_centred_db": 12.0, "agreement_top1_high": 0.95, "equal_high": 0.9},
    doubtful=DEFAULTS["int8"].doubtful,
)


@pytest.mark.parametrize(
    ("metric", "figures", "samples", "opened"),
    [
        ("sqnr_centred_db", {"sqnr_centred_db": 10.0, "sqnr_centred_high_db": 13.0}, 7, True),
        ("sqnr_centred_db", {"sqnr_centred_db": 10.0, "sqnr_centred_high_db": 12.0}, 7, True),
        ("sqnr_centred_db", {"sqnr_centred_db": 10.0, "sqnr_centred_high_db": 11.0}, 7, False),
        ("sqnr_centred_db", {"sqnr_centred_db": 12.0, "sqnr_centred_high_db": 13.0}, 7, False),
        ("sqnr_centred_db", {"sqnr_centred_db": 10.0}, 7, False),
        ("sqnr_centred_db", {"sqnr_centred_db": 10.0, "sqnr_centred_high_db": 13.0}, 200, True),
        ("agreement_top1_high", {}, 7, True),
        ("agreement_top1_high", {}, 8, False),
        ("sqnr_db", {"sqnr_db": 1.0}, 2, False),
    ],
)  # fmt: skip
def test_few_samples_leave_a_limit_open(
    metric: str, figures: dict[str, float], samples: int, opened: bool
) -> None:
    assert is_open(metric, "y", figures, BUDGET, samples) is opened


@pytest.mark.parametrize(
    ("low", "high", "samples", "said"),
    [
        (0.901, 0.99, 100, False),  # less than five points below what is wanted
        (0.85, 0.95, 100, True),
        (0.85, 0.94, 100, False),  # missed, not open
        (0.85, 0.94, 7, True),
    ],
)
def test_an_interval_around_what_is_wanted_is_a_doubt(
    low: float, high: float, samples: int, said: bool
) -> None:
    figures = {"agreement_top1_low": low, "agreement_top1_high": high}
    sentence = (
        "y: too few samples to tell whether 95 % agree, it may be "
        f"{100 * low:.1f} to {100 * high:.1f} %"
    )
    assert doubts_of("y", "", figures, BUDGET, samples) == ((sentence,) if said else ())
    noisy = {"sqnr_centred_db": 11.0, "sqnr_centred_high_db": 12.5}
    assert doubts_of("y", "channel 1", noisy, BUDGET, samples) == (
        f"y, channel 1: too few samples to tell whether 12 dB are reached: with the mean removed {samples} of "
        "them give 11.0 dB",
    )


@pytest.mark.parametrize(
    ("path", "got", "known", "begins"),
    [
        ("a.mlpackage", math.nan, {"precision": "fp16"}, ["--coreml-compute fp32", "--fp32"]),
        ("a.mlpackage", 3.0, {"precision": "fp16"}, ["--fp32"]),
        ("a.tflite", math.nan, {"precision": "fp16"}, ["--fp32"]),
        ("a.tflite", 3.0, {"precision": "fp32"}, []),
        ("a.tflite", 3.0, {}, ["edgeconv export --int8 --calib DIR of the float model"]),
        ("a.tflite", 3.0, {"calibration": {"count": 63}, "recipe": {"name": "best"}},
         ["more samples for --calib", "--keep-float worst", "--max-drop 1", "edgeconv parity a.tflite --layers",
          "--fp16", "edgeconv rescue a.tflite"]),
        ("a.tflite", 3.0, {"calibration": {"count": 64}, "recipe": {"name": "fast"}},
         ["--recipe best", "--keep-float worst", "--max-drop 1", "edgeconv parity a.tflite --layers", "--fp16",
          "edgeconv rescue a.tflite"]),
        ("a.tflite", 3.0, {"precision": "int8"},
         ["--keep-float worst", "--max-drop 1", "edgeconv parity a.tflite --layers", "--fp16", "edgeconv rescue a.tflite"]),
    ],
)  # fmt: skip
def test_what_to_try_follows_from_what_is_known(
    path: str, got: float, known: dict[str, object], begins: list[str]
) -> None:
    classes = {"y": {**NOISE, "agreement_top1": 0.9}}
    steps = advice(Verdict((missed(got=got),), classes), path, known)
    assert len(steps) == len(begins)
    assert all(step.startswith(begin) for step, begin in zip(steps, begins, strict=True)), steps
    others = advice(Verdict((missed(got=got),), {"y": NOISE}), path, known)
    assert list(others) == [step for step in steps if "--max-drop" not in step]
    lost = advice(Verdict((missed(BOXES[1], got),), classes), path, known)
    more = [step for step in lost if "which make boxes" in step]
    assert len(more) == ("--keep-float worst" in " ".join(begins)), lost
    two = {"y": classes["y"], "z": classes["y"]}  # which --max-drop refuses
    assert advice(Verdict((missed(got=got),), two), path, known) == others


def test_a_figure_is_worse_beyond_its_slack_alone() -> None:
    for name, (absolute, share) in SLACK.items():
        high = name in (
            "sqnr_db",
            "agreement_top1",
            "equal",
            "agreement_top5",
            "top1",
            "int8_share",
        )
        was, away = 64.0, -1 if high else 1
        room = absolute + share * was
        assert not is_worse(name, was, was + away * room), name
        assert is_worse(name, was, was + away * (room + 0.01)), name
        assert not is_worse(name, was, was - away * (room + 0.01)), name
    assert is_worse("kl", math.inf, math.nan) is False
    assert is_worse("sqnr_db", math.inf, 89.4)
    assert not is_worse("sqnr_db", math.inf, 89.6)
    assert [SLACK[name] for name in ("sqnr_db", "top1", "kl", "bytes")] == [
        (0.5, 0.0), (0.005, 0.0), (1e-6, 0.25), (0.0, 0.01)
    ]  # fmt: skip
    old: dict[str, Any] = {
        "rows": {"a": {"outputs": {"y": {"top1": 0.9}}, "file": {"bytes": 100}}},
        "slack": {"bytes": [0, 1]},
    }
    now = {"rows": {"a": {"outputs": {"y": {"top1": 0.8}}, "file": {"bytes": 150}}}}
    assert list(compare_baseline(old, now)) == ["a: y: top1 was 0.9000 and is 0.8000"]
    assert list(compare_baseline({"rows": old["rows"]}, now))[1:] == ["a: bytes was 100 and is 150"]


PICTURES = Samples(
    {"x": np.zeros((3, 1), np.float32)}, ("a", "b", "c"), np.array([0, 1, -1]), source="by hand",
    skipped=("d.png is no picture",), labels=("cat", "dog", "owl"),
)  # fmt: skip
WANTED = np.array([[5.0, 1.0, 0.0], [0.0, 4.0, 1.0], [1.0, 2.0, 9.0]], np.float32)
GOT = np.array([[5.0, 1.0, 0.0], [3.0, 2.0, 1.0], [1.0, 2.0, 8.0]], np.float32)
REFERENCE = Outputs({"y": WANTED}, {"label": "reference", "title": "net"})


def layer(node: str, own: float, *, departs: bool = False) -> Layer:
    return Layer(f"{node}_out", node, "Conv", 40.0, own, 0.01, 10 ** (-own / 10), departs=departs, clipped=0.25,
                 mean_quanta=0.125, beyond_share=0.5, max_quanta=3.0, weight_sqnr_db=33.33)  # fmt: skip


def matrix() -> Matrix:
    """Return two files, one that missed and one that did not run, and the layers of the first."""
    found = compare(
        {"y": WANTED}, {"y": GOT}, budget=Budget({"sqnr_db": 60.0}), truth=PICTURES.truth
    )
    layers = LayerReport("a.tflite", (layer("first", 30.0), layer("second", 10.0, departs=True)), 3)
    outputs = Outputs({"y": GOT}, {"infer_s": 1.25, "noise": {"t": 0.5, "u": 0.25}})
    rows = (
        Row("a.tflite", "int8", "a", outputs, None, found, layers=layers, advice=("do: it",)),
        Row("b.tflite", "int8", "b", error="it crashed"),
        Row("c.tflite", "fp32", "c", Outputs({"y": WANTED}, {}), None, compare({"y": WANTED}, {"y": WANTED})),
    )  # fmt: skip
    return Matrix(REFERENCE, rows, PICTURES, ("a note",))


def test_the_table_has_a_line_for_each_file_and_a_column_for_each_figure() -> None:
    header, lines = report.table(matrix())
    by_label = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert by_label["net"]["verdict"] == "reference"
    assert by_label["net"]["top-1"] == "100.0"
    assert by_label["net"]["agree"] == ""
    own = by_label["a.tflite"]
    assert own["verdict"] == "MISSED"
    assert own["max err"] == "3"
    assert own["agree"].startswith("66.7 [")
    assert own["top-1"].startswith("50.0 [")
    power = 10 * math.log10(np.square(WANTED).sum() / np.square(WANTED - GOT).sum())
    assert own["SQNR dB"] == f"{power:.1f}"
    assert by_label["b.tflite"]["verdict"] == "failed: it crashed"
    assert {by_label["b.tflite"][name] for name in header[1:-1]} == {""}
    assert by_label["c.tflite"]["verdict"] == "ok"
    assert by_label["c.tflite"]["SQNR dB"] == "inf"


@pytest.mark.parametrize(
    ("figures", "kind", "said"),
    [
        ({"quanta_max": 3.0, "relative_error": 0.5}, "ok", "max 3.0 quanta"),
        ({"relative_error": 0.5}, "ok", "rel 5.00e-01"),
        ({"relative_error": 0.5}, "file missed", "rel 5.00e-01 DEPARTS"),
        ({"sqnr_db": 1.0}, "ok", ""),
        ({}, "ok", ""),
    ],
)
def test_the_hop_before_is_said_in_quanta_where_there_are_some(
    figures: dict[str, float], kind: str, said: str
) -> None:
    bad = () if kind == "ok" else (missed(),)
    step = Verdict(bad, {"z": figures} if figures else {})
    row = Row("a", "fp32", "a", Outputs({"y": WANTED}), None, Verdict(bad, {"y": NOISE}), "b", step)
    header, (_, line) = report.table(Matrix(REFERENCE, (row,), PICTURES))
    assert dict(zip(header, line, strict=True))["against hop before"] == said


def test_the_summary_counts_what_held_what_missed_and_what_did_not_run() -> None:
    said = report.summary(matrix())
    assert said[0] == "first departure: a.tflite, against the reference: first layer: " + str(
        layer("second", 10.0, departs=True)
    )
    assert any(s.startswith("missed: a.tflite: the recipe is not good enough") for s in said)
    assert "note: a note" in said
    assert "skipped: d.png is no picture" in said
    assert "try: do: it" in said
    assert (
        said[-1]
        == "1 of 3 cells within budget, 1 failed to run, 3 samples (by hand), 1 more could not be read"
    )
    layers = [s for s in said if "layers of a.tflite" in s or "most noise" in s]
    assert layers[0].startswith(
        "layers of a.tflite (2, 3 samples): first layer that departs: Conv second"
    )
    assert layers[1:] == [
        f"  most noise of its own: Conv {node}: own SQNR {own} dB, inherited 40.0 dB, weights 33.3 dB, 25.00 % clipped"
        for node, own in (("second", "10.0"), ("first", "30.0"))
    ]
    short = report.summary(matrix(), layers=False)
    assert [s for s in said if s not in short] == layers


def test_junit_counts_failures_and_errors_apart() -> None:
    made = matrix()
    suite = ElementTree.fromstring(to_junit(replace(made, rows=(*made.rows, made.rows[0]))))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "2", "errors": "1"
    }  # fmt: skip
    first, second, third, _ = suite
    assert (first.get("time"), first.get("classname")) == ("1.250", "parity.int8")
    assert [child.tag for child in (*first, *second, *third)] == ["failure", "error"]
    assert first[0].get("message", "").startswith("layer Conv second")
    assert second[0].get("message") == "it crashed"
    told = report.to_json(matrix())
    assert told["samples"]["with_truth"] == 2
    assert told["first_departure"] == "a.tflite"
    assert [row["ok"] for row in told["rows"]] == [False, False, True]


def test_the_pages_parts_are_drawn_from_the_rows() -> None:
    made = matrix()
    bars = page._bars(made)
    assert [(bar.name, bar.colour) for bar in bars] == [("a.tflite", 1), ("c.tflite", 0)]
    assert bars[0].said.startswith("66.7 % [")
    assert [bar.name for bar in page._noise(made)] == ["t", "u"]
    assert [bar.said for bar in page._noise(made)] == ["50.0%", "25.0%"]
    drawn = page._layers(made.rows[0].layers)
    assert drawn["key"] == ["own error", "inherited"]
    assert drawn["rows"] == [
        (node, "Conv", own, "40.0", "0.125", "25.00 %", "33.3")
        for node, own in (("second", "10.0"), ("first", "30.0"))
    ]
    assert drawn["kinds"] == ["bad", ""]
    bare = replace(layer("bare", 20.0), clipped=None, mean_quanta=None, weight_sqnr_db=None)
    assert page._ranked(bare) == ("bare", "Conv", "20.0", "40.0", "", "", "")
    worst = page._worst(made)
    assert [card["name"] for card in worst] == ["b", "c", "a"]
    assert worst[0]["truth"] == "dog"
    assert worst[1]["truth"] == ""
    assert [label for label, _ in worst[0]["lists"]] == ["reference", "a.tflite"]
    assert worst[0]["same"] == "c.tflite"
    assert page._confusion(made)[0][0] == "a.tflite"
