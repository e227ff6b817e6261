"""Figures, budgets and the verdict that they give: no file is run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bench_kit import row_of

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.judge.budget import parse_budget
from edgeconv.judge.verdict import Finding
from edgeconv.parity import DEFAULTS, Budget, compare, load_budgets

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_a_verdict_is_truthy_and_says_output_metric_got_and_wanted() -> None:
    same = {"y": np.array([[1.0, 2.0, 3.0]])}
    assert compare(same, same)
    missed = compare(same, {"y": np.array([[1.0, 2.0, 3.5]])})
    assert not missed
    assert str(missed) == "y: float_error is 2.50e-01, wanted at most 1.00e-04"
    close = Finding("y", "sqnr_db", 9.96, 10.0, ok=False)
    assert str(close) == "y: sqnr_db is 9.96, wanted at least 10.0"
    finding = missed.missed[0]
    assert (finding.output, finding.metric) == ("y", "float_error")
    assert finding.got == pytest.approx(0.25, rel=1e-3)


def test_not_finite_values_fail_and_are_counted() -> None:
    good, bad = np.zeros((3, 4)), np.zeros((3, 4))
    bad[1] = np.nan
    verdict = compare({"y": good}, {"y": bad})
    assert not verdict
    assert "NaN or infinity in 1 samples, first 1" in str(verdict)


def test_class_counts_that_differ_offer_the_offset() -> None:
    with pytest.raises(EdgeconvError, match="--class-offset 1"):
        compare({"y": np.zeros((2, 4))}, {"y": np.zeros((2, 5))})
    shifted = np.concatenate([np.zeros((2, 1)), np.ones((2, 4))], axis=1)
    assert compare({"y": np.ones((2, 4))}, {"y": shifted}, class_offset=1)


def test_outputs_that_are_no_scores_get_the_metrics_that_apply() -> None:
    mask = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    figures = compare({"mask": mask}, {"mask": mask + 1e-9}).figures["mask"]
    assert "sqnr_db" in figures
    assert "agreement_top1" not in figures


def test_probabilities_against_logits_compare_classes_only_and_say_so() -> None:
    logits = np.array([[0.0, 3.0, 1.0]])
    chances = np.exp(logits) / np.exp(logits).sum()
    verdict = compare({"y": logits}, {"y": chances})
    assert verdict.figures["y"]["agreement_top1"] == 1.0
    assert "sqnr_db" not in verdict.figures["y"]
    assert "probabilities" in verdict.notes[0]


def test_the_float_margin_decides_whether_a_flip_is_a_defect() -> None:
    reference = np.tile(np.array([[5.0, 5.01, 0.0]]), (10, 1))
    other = np.tile(np.array([[5.01, 5.0, 0.0]]), (10, 1))
    figures = compare({"y": reference}, {"y": other}).figures["y"]
    assert (figures["flips"], figures["flips_beyond"]) == (10.0, 0.0)


def test_budgets_overlay_the_defaults_and_unknown_names_offer_near_ones(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("[int8]\nsqnr_db = 20\n[int8.outputs.logits]\nkl = 0.5\n")
    budgets = load_budgets(path)
    assert budgets["int8"].of("logits") == {"sqnr_db": 20.0, "kl": 0.5}
    assert budgets["fp32"] == DEFAULTS["fp32"]
    path.write_text("[int8]\nextend = true\nkl = 0.5\n")
    assert load_budgets(path)["int8"].of("y") == {**DEFAULTS["int8"].limits, "kl": 0.5}
    path.write_text("[int8]\nsqnr = 20\n")
    with pytest.raises(UsageError, match="did you mean sqnr_db"):
        load_budgets(path)
    path.write_text("[int4]\nsqnr_db = 20\n")
    with pytest.raises(UsageError, match="no kind of budget"):
        load_budgets(path)
    path.write_text("[int8\n")
    with pytest.raises(EdgeconvError, match="neither TOML nor JSON"):
        load_budgets(path)


def test_an_int8_budget_of_one_output_wins_over_the_general_one() -> None:
    budget = Budget({"relative_error": 1e-9}, {"y": {"relative_error": 1.0}})
    a = {"y": np.array([[1.0, 2.0]]), "z": np.array([[1.0, 2.0]])}
    b = {name: array + 0.1 for name, array in a.items()}
    assert [f.output for f in compare(a, b, budget=budget).missed] == ["z"]


def test_the_documentation_has_every_figure_and_default_limit() -> None:
    from edgeconv.judge.measures import MEASURES

    text = (Path(__file__).parents[1] / "docs" / "parity.md").read_text()
    for measure in MEASURES.values():
        says = measure.says.replace("||", "\\|\\|")
        assert f"| {measure.name} | {says} |" in text
    for kind, budget in DEFAULTS.items():
        for name, limit in budget.limits.items():
            bound = "at least" if MEASURES[name].better == "high" else "at most"
            shown = [f"{limit:g}", f"{limit:.0e}".replace("e-0", "e-")]
            assert any(f"| {kind} | {name} {bound} {value} |" in text for value in shown), name


def test_noise_below_one_quantum_is_no_loss_however_low_the_floor() -> None:
    """Two sound kernels may round an output apart; a floor of less than its step is not held to."""
    reference = {"y": np.linspace(0.0, 25.0, 400).reshape(4, 100)}
    floor = {"y": reference["y"] + 0.01}
    scales = {"y": 0.1}
    for error, below in ((0.09, 0.0), (0.2, 6.02), (0.02, 0.0)):
        other = {"y": reference["y"] + error}
        found = compare(reference, other, scales=scales, floor=floor, budget=Budget({}))
        assert found.figures["y"]["below_floor_db"] == pytest.approx(below, abs=0.01)


def test_accuracy_is_the_files_own_beside_the_references() -> None:
    """Ten pictures: float is right on nine, the file on six, all of them among the nine."""
    truth = np.array([0] * 10)
    right, wrong = [3.0, 1.0, 0.0], [1.0, 3.0, 0.0]
    reference = np.array([right] * 9 + [wrong])
    other = np.array([right] * 6 + [wrong] * 4)
    figures = compare({"y": reference}, {"y": other}, truth=truth).figures["y"]
    assert figures["top1"] == pytest.approx(0.6)
    assert figures["reference_top1"] == pytest.approx(0.9)
    assert figures["top1_drop"] == pytest.approx(0.3)
    assert figures["mcnemar_p"] == pytest.approx(0.25)  # 3 against 0: 2 / 2^3
    assert figures["top1_low"] == pytest.approx(0.3127, abs=1e-4)
    assert figures["top1_high"] == pytest.approx(0.8318, abs=1e-4)
    with pytest.raises(EdgeconvError, match="9 classes of truth for 10 samples"):
        compare({"y": reference}, {"y": other}, truth=truth[:9])


def test_latencies_are_shares_of_the_floats_that_took_turns_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reference's own median too; a reference that failed leaves medians alone, with its reason."""
    from edgeconv.bench import engine, subjects
    from edgeconv.bench.plan import Subject
    from edgeconv.parity.cells import Cell
    from edgeconv.parity.latency import measure_latencies

    artifact: Any = SimpleNamespace()
    cells = [
        Cell("int8", "int8", Path("a.tflite"), "ai-edge-litert", artifact=artifact),
        Cell("layers", "hub", Path("b.onnx"), "onnxruntime"),  # no file that anybody ships
    ]
    errors: dict[str, str] = {}
    took = {"float": [4.0, 4.0, 4.0], "int8": [1.0, 1.0, 1.0]}

    def measured(asked: list[Subject], *_: object) -> tuple[list[object], bool]:
        named = [subject.label for subject in asked]
        assert named == ["float", "int8"]
        turns = [
            SimpleNamespace(subject=subject, round_medians_ms=dict(enumerate(took[subject.label])))
            for subject in asked
        ]
        return list(turns), False

    def row(turn: Any, *_: object) -> Any:
        label = turn.subject.label
        return row_of(label, took[label], error=errors.get(label))

    monkeypatch.setattr(engine, "measure", measured)
    monkeypatch.setattr(engine, "to_row", row)
    monkeypatch.setattr(subjects, "reference_rows", lambda *_: [Subject("float", "pytorch", 1)])
    found, notes = measure_latencies(cells, threads=1)
    assert notes == []
    assert (found["int8"].median_ms, found["int8"].ratio, found["int8"].reference) == (
        1.0,
        0.25,
        "float",
    )
    assert (found["reference"].median_ms, found["reference"].ratio) == (4.0, None)
    errors["float"] = "it crashed"
    found, notes = measure_latencies(cells, threads=1)
    assert notes == ["latency of float: it crashed"]
    assert found.keys() == {"int8"}
    assert (found["int8"].median_ms, found["int8"].reference) == (1.0, None)


def test_a_share_of_percent_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"int8\.agreement_top1 is 99\.9.*99\.9 % is 0\.999"):
        parse_budget({"agreement_top1": 99.9}, "int8", DEFAULTS["int8"])
    assert parse_budget({"quanta_max": 2}, "int8", DEFAULTS["int8"]).limits == {"quanta_max": 2.0}
