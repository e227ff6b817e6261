"""The sweep: its cells, its store, its choice, and a whole one from the command line."""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulate_adaptive
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from page_kit import look_at
from simulate_adaptive import least_seen, read_samples, repeat, write_samples

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder
from edgeconv.sweep.adaptive import HALVING, narrow, unlikely
from edgeconv.sweep.beside import build
from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.cell import ON_A_MAC, Cell
from edgeconv.sweep.choose import (
    adjusted,
    difference,
    dominated_by,
    dominates,
    equals,
    lost,
    pick,
    pictures_needed,
    smaller,
    told_apart,
)
from edgeconv.sweep.data import Evaluation, choose
from edgeconv.sweep.draws import Left, outlook
from edgeconv.sweep.engine import Here, Outcome, Task, kept_result
from edgeconv.sweep.figures import judge
from edgeconv.sweep.forms import Form, expand
from edgeconv.sweep.inputs import Inputs, unpack, wanted
from edgeconv.sweep.job import job_from, listed, read_job
from edgeconv.sweep.page import page
from edgeconv.sweep.point import Point
from edgeconv.sweep.progress import Progress
from edgeconv.sweep.results import SweepReport
from edgeconv.sweep.run import check_output
from edgeconv.sweep.store import Store, key_of, write_result
from edgeconv.sweep.tasks import _as_at_home, planned_arena, timed
from edgeconv.sweep.text import accuracy_text, print_sweep, remark
from edgeconv.tables import open_console

EXPORTED = {
    "artifacts": {"onnx": {"file": "m.onnx", "bytes": 3, "verification": {"missed": []}}},
    "refused": {},
    "assumed": None,
}


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["sweep", *words])


def point(label: str, ms: tuple[float, float, float] | None, right: Any, size: int = 1) -> Point:
    return Point(label, ms, None if right is None else np.array(right, bool), size)


def shares(right: int, of: int) -> list[bool]:
    return [i < right for i in range(of)]


def test_an_axis_a_net_does_not_have_makes_no_second_form() -> None:
    job = job_from(
        {"nets": ["mobilenet_v2", "shufflenet_v1"], "groups": ["3,3"], "io": ["float,int8"]}
    )
    forms, impossible = expand(job)
    labels = [form.label for form in forms]
    assert impossible == []
    assert len(labels) == len(set(labels)) == 2 * (2 + 2 * 2)  # fp32, and int8 with two borders
    assert all(form.groups is None for form in forms if form.net == "mobilenet_v2")


def test_weights_are_for_the_nets_that_take_some() -> None:
    """A user compares nets of several widths with an .onnx file, which holds its own."""
    job = job_from({"nets": ["mobilenet_v1", "m.onnx"], "weights": "random", "precision": "fp32"})
    forms, impossible = expand(job)
    assert not impossible
    assert {(form.net, form.weights) for form in forms} == {
        ("mobilenet_v1", "random"), ("m.onnx", None)
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"--weights: m\.onnx holds its own weights"):
        expand(job_from({"nets": ["m.onnx"], "weights": "w/{net}.pth"}))


def test_what_cannot_be_is_listed_with_its_reason_before_any_work(tmp_path: Path) -> None:
    there = tmp_path / "mobilenet_v1_0.5.pth"
    there.write_bytes(b"")
    job = job_from(
        {
            "nets": ["mobilenet_v1"],
            "width": "0.25,0.5",
            "precision": "fp16,int8",
            "weights": str(tmp_path / "{net}_{width}.pth"),
        }
    )
    forms, impossible = expand(job)
    assert [(f.width, f.precision, f.target) for f in forms] == [(0.5, "fp16", "tflite")]
    reasons = {(i.form.width, i.form.precision, i.form.target): i.reason for i in impossible}
    assert "0.25.pth does not exist" in reasons[0.25, "fp16", "tflite"]
    assert "fp16 is for TFLite" in reasons[0.5, "fp16", "onnx"]
    assert "--calib" in reasons[0.5, "int8", "onnx"]
    halves = {"nets": ["mobilenet_v1"], "precision": "fp16", "target": "executorch,tflite"}
    made, refused = expand(job_from(halves))
    assert [form.target for form in made] == ["tflite"]
    assert [i.form.target for i in refused] == ["executorch"]
    bundled = expand(job_from({"nets": ["mobilenet_v1"], "width": ["0.25"]}))[1]
    assert "no bundled weights of width 0.25" in bundled[0].reason


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nets": ["mobilnet_v2"]}, "mobilenet_v2"),
        ({"nets": ["ghostnet"], "width": ["a"]}, "--width takes numbers"),
        ({"nets": ["ghostnet"], "threads": ["1.5"]}, "--threads takes whole numbers, not '1.5'"),
        ({"nets": ["ghostnet"], "precision": ["int4"]}, "--precision int4"),
        ({"nets": ["ghostnet"], "weights": "{nett}.pth"}, "may hold {net}"),
        ({"nets": ["ghostnet"], "budget_arena": "5Q"}, "--budget-arena"),
        ({"nets": ["ghostnet"], "bench": False, "budget_ms": 1.0}, "--no-bench"),
        ({"nets": ["ghostnet"], "seconds": math.nan}, "--seconds must be positive"),
        ({"nets": ["ghostnet"], "resolution": ["0"]}, "--resolution must be at least 1"),
        ({"nets": ["ghostnet"], "cpu": ["foo"]}, "--cpu foo is unknown: any"),
        ({"nets": ["ghostnet"], "recipe": ["slow"]}, "--recipe slow: fast, std, best or a .json"),
        ({"nets": ["ghostnet"], "recipe": ["gone.json"]}, "gone.json does not exist"),
        ({"nets": ["ghostnet"], "truth": "gone.csv"}, "gone.csv does not exist"),
        ({"nets": ["ghostnet"], "device": ["pi"]}, "--device: a board is ssh://"),
        ({"nets": ["ghostnet"], "crop": "wide"}, "--crop is a fraction in (0, 1] or letterbox"),
        ({"nets": ["ghostnet"], "channel_order": "gbr"}, "--channel-order gbr is unknown: rgb"),
        ({"nets": ["ghostnet"], "preprocessing": "unit", "mean": ["0"]}, "leave --mean"),
        ({"nets": ["ghostnet"], "budget_arena": "-5"}, "--budget-arena -5"),
        ({"nets": ["ghostnet"], "budget_arena": "inf"}, "--budget-arena inf"),
        ({"nets": ["ghostnet"], "precision": []}, "precision is empty"),
        ({"nets": ["ghostnet"], "precision": ["fp32,"]}, "'fp32,' has an empty part"),
        ({"nets": ["ghostnet,"]}, "the net 'ghostnet,' has an empty part"),
        ({"nets": ["ghostnet"], "precision": ["fp32"], "io": ["int8"]}, "--io is about INT8 files"),
        (
            {"nets": ["a.onnx"], "precision": ["fp16"], "recipe": ["fast"]},
            "--precision fp16 makes none",
        ),
        ({"nets": ["a.onnx"], "precision": ["fp32"], "cpu": ["pi5"]}, "--cpu is about INT8 files"),
        ({"nets": ["ghostnet"], "weights": ""}, "weights is empty"),
        ({"nets": ["ghostnet"], "truth": __file__}, "give --data too"),
        (
            {"nets": ["ghostnet"], "threads": ["2"], "bench": False},
            "--threads is about timing files, and --no-bench",
        ),
        ({"nets": ["ghostnet"], "seconds": 1.0, "bench": False}, "--seconds is about timing"),
        ({"nets": ["a.onnx", "ghostnet"], "groups": ["3"]}, "--groups is an option of some"),
        ({"nets": ["ghostnet"], "csv": __file__ + "/x"}, "test_sweep.py is a file, not a folder"),
        ({"nets": ["ghostnet"], "csv": "x", "html": "x"}, "--html and --csv both name x"),
        ({}, "name at least one net"),
    ],
)
def test_a_job_that_cannot_be_is_one_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=None) as caught:
        expand(job_from(given))
    assert says in str(caught.value)


def test_a_toml_job_names_the_nearest_key_and_the_wrong_type(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('nets = ["ghostnet"]\nresolution = [32, 64]\nmin-top1 = 70\n')
    job = job_from(read_job(path))
    assert job.resolution == (32, 64)
    assert job.min_top1 == 70
    path.write_text('nets = "ghostnet"\nworkers = 2\nhtml = "page.html"\nforce = true\n')
    job = job_from(read_job(path))
    assert (job.nets, job.workers, job.html, job.force) == (
        ("ghostnet",),
        2,
        Path("page.html"),
        True,
    )
    path.write_text('nets = "ghostnet"\nbudget-arena = 524288\n')
    assert job_from(read_job(path)).arena_bytes() == 512 * 1024
    path.write_text("budget-ms = 5\nbudget_ms = 6\n")
    with pytest.raises(UsageError, match="budget_ms stands there twice"):
        read_job(path)
    path.write_text("resolutions = 3\n")
    with pytest.raises(UsageError, match="did you mean resolution"):
        read_job(path)
    path.write_text('seconds = "long"\n')
    with pytest.raises(UsageError, match="seconds takes a number, not 'long'"):
        read_job(path)
    for text, says in (("precision = []", "precision is empty"), ("[x]", "x is a table")):
        path.write_text(text)
        with pytest.raises(UsageError, match=f"job.toml: {says}"):
            read_job(path)
    for text in ("nets = [", "count = " + "9" * 5000):
        path.write_text(text)
        with pytest.raises(UsageError, match="is not TOML"):
            read_job(path)
    assert listed("mean", ["0.5,0.5"]) == (0.5, 0.5)


def test_a_key_and_an_option_that_do_not_go_together_are_named_where_each_was_said(
    tmp_path: Path,
) -> None:
    path = tmp_path / "job.toml"
    pairs = {
        ('seconds = 0.5', "--no-bench"): "job.toml's seconds is about timing files, and --no-bench (command line) times none",
        ("bench = false", "--budget-ms=5"): "--budget-ms (command line) is about timing files, and job.toml's bench = false times none",
        ("bench = false\nthreads = 2", ""): "job.toml's threads is about timing files, and job.toml's bench = false times none",
        ("workers = 2", "--scheduler=tcp://x:1"): "job.toml's workers starts processes here, --scheduler (command line) joins",
        ('mean = 0', "--preprocessing=unit"): "--preprocessing (command line) names a mean and a std: leave job.toml's mean and --std out",
        ('csv = "x"', "--html=x"): "--html (command line) and job.toml's csv both name x",
        ("width = 9", ""): "width from",
        ("recipe = 'slow'", ""): "job.toml's recipe slow: fast, std, best",
        ("min-top1 = 70", f"--data={tmp_path}"): "job.toml's min-top1 needs pictures",
        ("seconds = 3", "--seconds=-1"): "--seconds must be positive",
    }  # fmt: skip
    (tmp_path / "1.png").touch()
    for (text, option), said in pairs.items():
        path.write_text(f'nets = "mobilenet_v1"\n{text}\n')
        done = run(str(path), *([option] if option else []), "--output", str(tmp_path / "o"))
        assert done.exit_code == 2, done.output
        assert said in " ".join(done.output.split())
    assert "(command line)" not in run("ghostnet", "--seconds", "1", "--no-bench").output


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = key_of("export", {"net": "a"}, {})
    with pytest.raises(RuntimeError):
        _half(store, key)
    assert store.get(key) is None
    with store.making(key) as part:
        write_result(part, {"ok": 1})
        (part / "model.bin").write_bytes(b"whole")
    with store.making(key) as part:  # a second process with the same work
        write_result(part, {"ok": 1})
    assert store.get(key) == {"ok": 1}
    assert (store.place(key) / "model.bin").read_bytes() == b"whole"
    assert not list(tmp_path.glob("??/.*"))
    (store.place(key) / "result.json").write_text("{broken")
    assert store.get(key) is None
    assert key != key_of("export", {"net": "a"}, {"torch": "2"})


def _half(store: Store, key: str) -> None:
    with store.making(key) as part:
        (part / "half.bin").write_bytes(b"half")
        raise RuntimeError


def test_inputs_are_named_by_their_content_and_travel(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "m.onnx", tmp_path / "two" / "m.onnx"
    for path in (first, second):
        path.parent.mkdir()
        path.write_bytes(b"model")
    inputs = Inputs()
    name = inputs.add(first)
    assert name == inputs.add(second)
    assert wanted({"a": [name]}) == {name[1:].partition("/")[0]}
    unpack(inputs.pack(name[1:].partition("/")[0]), tmp_path / "there")
    assert (tmp_path / "there" / "m.onnx").read_bytes() == b"model"
    with pytest.raises(EdgeconvError, match="does not exist"):
        inputs.add(tmp_path / "gone")


def test_only_intervals_dominate() -> None:
    slow, fast = (2.0, 2.1, 2.2), (1.0, 1.1, 1.2)
    good, poor = shares(95, 100), shares(60, 100)
    assert dominates(point("a", fast, good), point("b", slow, poor))
    many = shares(570, 600)  # right on the same pictures, so many that half a point would show
    assert dominates(point("a", fast, many), point("b", slow, many))
    assert not dominates(point("a", fast, good), point("b", slow, good))
    first, second = (
        replace(p, function="one") for p in (point("a", fast, good), point("b", slow, good))
    )
    assert dominates(first, second)
    assert not dominates(point("a", fast, good), point("b", (1.1, 1.2, 1.3), poor))
    nearly = [*shares(94, 99), True]
    assert not dominates(point("a", fast, good), point("b", slow, nearly))
    assert not dominates(point("a", fast, poor), point("b", slow, good))
    assert dominates(point("a", None, many, 1), point("b", None, many, 2))
    assert not dominates(point("a", None, good, 1), point("b", slow, good, 2))
    assert dominated_by([point("a", fast, good), point("b", slow, poor)]) == [None, 0]


def test_paired_differences_and_the_pictures_that_would_tell() -> None:
    first, second = np.array(shares(90, 100), bool), np.array(shares(80, 100), bool)
    low, middle, high = difference(first, second)
    assert middle == pytest.approx(0.10)
    assert 0 < low < middle < high < 0.2
    wins = np.array([True] * 6 + [False] * 4 + [True] * 90, bool)
    losses = np.array([False] * 6 + [True] * 4 + [True] * 90, bool)
    # six and four of a hundred: 977 are judged as different, 976 are not, 100 are there
    assert pictures_needed(wins, losses) == 877
    middle, reach = adjusted(0.06 * 976, 0.04 * 976, 976)
    assert middle < reach
    middle, reach = adjusted(0.06 * 977, 0.04 * 977, 977)
    assert middle > reach
    # one alone: six in 600 are told apart, five in 500 are not
    assert pictures_needed(np.eye(1, 100, dtype=bool)[0], np.zeros(100, bool)) == 427
    assert difference(np.arange(600) < 6, np.zeros(600, bool))[0] > 0
    assert difference(np.arange(500) < 5, np.zeros(500, bool))[0] < 0
    # 1.96 * sqrt(2 / 555) / sqrt(555) is just below half a point, two of them are the adjustment
    assert pictures_needed(first, first) == 453
    low, _, high = difference(np.ones(552, bool), np.ones(552, bool))
    assert max(-low, high) > 0.005
    low, _, high = difference(np.ones(553, bool), np.ones(553, bool))
    assert max(-low, high) < 0.005
    a, b = point("a", None, wins), point("b", None, losses)
    assert (
        told_apart(a, b) == "a and b cannot be told apart with these 100 pictures: 877 more would"
    )
    assert told_apart(point("a", None, first), point("b", None, second)) is None
    few = shares(9, 10)
    assert told_apart(point("a", None, few), point("b", None, few)) == (
        "a and b cannot be told apart with these 10 pictures: they are right equally often, "
        "543 more would show that within half a point"
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "m.onnx").unlink(),
        lambda place: os.mkfifo(place / "pipe"),
        lambda place: (place / "link").symlink_to("/etc/passwd"),
        lambda place: write_result(place, {"artifacts": {"onnx": {"file": "m.onnx"}}}),
        lambda place: write_result(place, {**EXPORTED, "refused": [1]}),
    ],
)
def test_a_kept_result_that_no_task_leaves_is_made_again(damage: Any, tmp_path: Path) -> None:
    store, task = Store(tmp_path / "cells"), Task("export", {})
    store.put(task.key, EXPORTED, {"m.onnx": b"abc"})
    assert kept_result(store, task) is not None
    damage(store.place(task.key))
    assert kept_result(store, task) is None
    assert not store.place(task.key).exists()


def test_classes_of_two_lengths_are_no_kept_evaluation(tmp_path: Path) -> None:
    store, task = Store(tmp_path / "cells"), Task("evaluate", {})
    for predicted, kept in (([1, 2], True), ([1], False), (None, False)):
        store.drop(task.key)
        store.put(task.key, {"classifier": True, "predicted": predicted, "wanted": [1, 2]}, {})
        assert (kept_result(store, task) is not None) is kept


def test_a_figure_of_a_busy_machine_is_timed_again(tmp_path: Path) -> None:
    store, task = Store(tmp_path / "cells"), Task("bench", {})
    row = {"latency_ms": 1.0, "interval_ms": [0.9, 1.1], "arena_mib": None, "peak_mib": None}
    for busy in (True, False):
        store.put(task.key, {**row, "busy": busy, "emulated": False}, {})
        assert (kept_result(store, task) is None) is busy


def test_a_sweep_that_was_stopped_judges_no_cell_whose_figures_are_not_all_there() -> None:
    forms, _ = expand(job_from({"nets": ["mobilenet_v2", "ghostnet"], "precision": ["fp32"]}))
    known: dict[str, Any] = {"path": "file", "within": True}
    cells = [
        Cell(forms[0], 1, **known, bytes=9, correct=shares(8, 10)),
        Cell(forms[1], 1, **known, bytes=5),
        Cell(forms[2], 1),
    ]
    job = job_from({"nets": ["ghostnet"], "bench": False})
    stopped = SweepReport(job, cells, truth=True, pictures=10, partial=True)
    assert [stopped.status(cell) for cell in cells] == ["front", "open", "open"]
    assert stopped.unmade() == ["2 of 3 cells are not done: the same command goes on"]
    timed = SweepReport(job_from({"nets": ["ghostnet"]}), cells, True, 10, partial=True)
    assert [timed.status(cell) for cell in cells] == ["open", "open", "open"]


def test_a_cell_dropped_after_fewer_pictures_is_neither_the_answer_nor_in_a_sentence() -> None:
    forms, _ = expand(job_from({"nets": ["mobilenet_v2", "ghostnet"], "precision": ["fp32"]}))
    known: dict[str, Any] = {"path": "file", "within": True, "bytes": 5}
    cells = [Cell(form, 1, **known, correct=shares(8, 10)) for form in forms[:3]]
    cells[0].correct, cells[0].dropped = shares(4, 4), True  # by luck the most accurate
    job = job_from({"nets": ["ghostnet"], "budget_mb": 1.0, "data": "photos"})
    report = SweepReport(job, cells, truth=True, pictures=10)
    # without it an export keeps pictures from the calibration to verify on, and makes other integers
    assert str(report.command()).endswith("--verify photos")
    assert report.answer is cells[1]
    assert f"0.0 points [-23.1, 23.1] above {cells[2].label}" in report.sentences()[0]
    cells[1].bytes = cells[2].bytes = 600_000
    assert "0.60 MB, 40 % below the budget" in SweepReport(job, cells, True, 10).sentences()[0]
    least = job_from({"nets": ["ghostnet"], "min_top1": 40.0, "budget_arena": "2M"})
    for cell in cells:
        cell.timing = {"latency_ms": None, "interval_ms": None, "arena_mib": 1.0}
    said = SweepReport(least, cells, True, 10).sentences()[0]
    for cell in cells:
        cell.timing = None
    assert "80.0 % [49.0, 94.3], at least 9.0 points above the 40 % wanted" in said
    assert "arena 1024 KiB, 50 % below the budget" in said
    assert not any(cells[0].label in text for text in report.to_json()["sentences"])
    assert told_apart(point("a", None, shares(3, 4)), point("b", None, shares(8, 10))) is None
    assert remark(report, cells[0]) == "dropped early · 4 of 10 pictures seen"


def test_a_cell_that_missed_its_verdict_shows_the_accuracy_that_it_has() -> None:
    forms, _ = expand(job_from({"nets": ["ghostnet"], "precision": ["int8"], "target": ["onnx"]}))
    made: dict[str, Any] = {"path": "file", "within": False, "missed": "9.4 dB"}
    cell = Cell(forms[0], 1, **made, correct=shares(8, 10))
    report = SweepReport(job_from({"nets": ["ghostnet"]}), [cell], truth=True, pictures=20)
    assert report.status(cell) == "missed"
    assert accuracy_text(cell) == "80.0 [49.0, 94.3]"
    assert remark(report, cell) == "MISSED: 9.4 dB · 10 of 20 pictures seen"
    assert report.to_json()["cells"][0]["accuracy"] == 0.8


def test_a_cell_that_missed_its_verdict_is_hollow_in_the_charts_and_never_on_the_front(
    tmp_path: Path,
) -> None:
    """A user who looks for the cell that is gone finds it, and sees that it is none to ship."""
    pytest.importorskip("jinja2")
    nets = ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1"]
    forms, _ = expand(job_from({"nets": nets, "target": ["onnx"]}))
    made: dict[str, Any] = {"path": "file", "within": True}
    cells = [Cell(form, 1, **made, bytes=10**6 * place) for place, form in enumerate(forms, 1)]
    for place, cell in enumerate(cells):
        cell.correct = shares(500 + 60 * place, 1000)
        low, ms, high = (1 + place + d for d in (-0.2, 0.0, 0.2))
        cell.timing = {"latency_ms": ms, "interval_ms": [low, high], "arena_mib": 1.0, "peak_mib": None, "busy": False, "emulated": False}  # fmt: skip
    cells[-1].within, cells[-1].missed = False, "9.4 dB"  # the most accurate of all
    written = page(SweepReport(job_from({"nets": nets}), cells, truth=True, pictures=1000))
    assert written.count('class="cell missed"') == 3  # against latency, size and arena
    assert "MISSED: 9.4 dB</title>" in written
    assert "Hollow and crossed: MISSED its verification" in written
    assert "<legend>verdict</legend>" in written
    front = re.search(r'<polyline class="front" points="([^"]*)"', written)
    missed = re.search(
        r'class="cell missed".*?<path class="bars[^"]*" d="M[0-9.]+ ([0-9.]+)', written, re.DOTALL
    )
    assert front is not None
    assert missed is not None
    assert missed[1] not in front[1]
    cells[-1].within = True
    assert "crossed" not in page(SweepReport(job_from({"nets": nets}), cells, True, 1000))
    (tmp_path / "p.html").write_text(written, encoding="utf-8")
    look_at(tmp_path / "p.html", tmp_path, 390, dark=True)


def test_nets_of_one_name_are_two_functions_of_two_names(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "m,1.onnx" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"")
    job = job_from({"nets": [str(path) for path in paths], "precision": "fp32", "target": "tflite"})
    forms, _ = expand(job)
    assert [form.label for form in forms] == ["a/m,1 fp32 tflite", "b/m,1 fp32 tflite"]
    made: dict[str, Any] = {"path": "file", "within": True, "correct": shares(8, 10)}
    cells = [Cell(form, 1, **made, bytes=size) for size, form in enumerate(forms, 5)]
    assert not SweepReport(job, cells, truth=True, pictures=10).dominated


def test_a_cell_that_was_not_timed_or_not_evaluated_is_a_failure_that_is_said() -> None:
    forms, _ = expand(job_from({"nets": ["ghostnet"], "precision": ["fp32"], "target": ["onnx"]}))
    for reason, failed in (("No space left on device", True), (ON_A_MAC, False), (None, False)):
        cell = Cell(forms[0], 1, path="file", within=True, bytes=5, untimed=reason)
        assert SweepReport(job_from({"nets": ["ghostnet"]}), [cell], False, 0).failed() is failed
    task = Task("evaluate", {})
    right = {"classifier": True, "predicted": [1, 2], "wanted": [1, 1]}
    judge(cell, [Outcome(task, right), Outcome(task, right)])
    assert cell.correct == [True, False, True, False]
    judge(cell, [Outcome(task, right), Outcome(task, None, "a.png is not a readable picture")])
    report = SweepReport(job_from({"nets": ["ghostnet"]}), [cell], True, 4)
    assert report.failed()
    assert report.unmade() == ["failed: ghostnet fp32 onnx: a.png is not a readable picture"]


def test_an_emulated_board_gives_an_arena_and_no_latency() -> None:
    row: dict[str, Any] = {"error": None, "summary": {"median": 1.0}, "arena_mib": 2.0, "peak_mib": None, "marks": [], "runtime": "litert", "version": "1"}  # fmt: skip
    machine = {"processor": "Cortex-A76", "emulated": True}
    row["marks"] = [{"code": "load", "reason": "other work was running"}]
    found = timed({"rows": [row], "machine": machine, "load_before": 0.0})
    assert (found["latency_ms"], found["arena_mib"]) == (None, 2.0)
    assert not found["busy"]  # it would be timed again by each sweep, for no latency
    cell = Cell(Form("ghostnet", None, None, None, None, None, "fp32", None, "onnx", "any", None), 1, "ssh://pi5", path="m.onnx", within=True)  # fmt: skip
    report = SweepReport(job_from({"nets": ["ghostnet"]}), [cell], True, 4, {"processor": "Xeon"})
    real = {**found, "latency_ms": 1.0, "interval_ms": None}
    for cell.timing, where in ((None, 0), (found, 0), (real, 1)):
        assert page(report).count("timed on ssh://pi5") == where
        assert "Xeon" not in page(report)


def test_time_left_counts_what_is_still_to_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Progress, "seconds", 8.0)
    guess = {"export": 10.0, "evaluate": 1.0, "bench": 4.0}
    progress = Progress(said.append, 4, lambda: 2, guess)
    progress.expect(export=4, evaluate=4, bench=4)
    assert list(progress.watch(Here(Store(tmp_path), Inputs()), [])) == []
    assert said == ["0 of 4 cells done, 2 running"]
    for _ in range(2):
        progress.ended(Outcome(Task("export", {}), {}, None, 8.0))
    # 16 s of work took 8: two exports as long as those two, and eight others as guessed
    assert progress.left() == (2 * 8.0 + 4 * 1.0 + 4 * 4.0) / 2
    progress.ended(Outcome(Task("evaluate", {}), {}))  # kept: the others may be, too
    assert progress.left() == (2 * 8.0 + 4 * 4.0) / 2
    progress.settle(1, failed=True)
    progress.settle(1)
    progress.stage = "timing: "
    progress.expect(export=0, evaluate=0, bench=1)
    progress.ended(Outcome(Task("bench", {}), {}, None, 4.0))
    progress.finish()
    assert said[-1] == "timing: 1 of 4 cells done, 2 running, 1 failed"


def test_a_budget_is_kept_only_by_what_surely_keeps_it() -> None:
    good, poor = shares(190, 200), shares(150, 200)
    cells = [
        point("sure", (0.8, 0.9, 1.0), poor, 10),
        point("may be", (0.9, 1.0, 1.1), good, 10),
        point("better", (0.8, 0.9, 1.0), good, 20),
    ]
    assert pick(cells, Budgets(ms=1.05)) == 2
    assert pick(cells, Budgets(ms=1.05, size=15)) == 0
    assert pick(cells, Budgets(ms=0.5)) is None
    assert pick(cells, Budgets(top1=90)) == 1  # equally right, latencies overlap: the smaller
    cells[1] = replace(cells[1], latency_ms=(1.01, 1.05, 1.1))
    assert pick(cells, Budgets(top1=90)) == 2  # equally right: the faster
    cells[1] = replace(cells[1], latency_ms=(0.9, 1.0, 1.1))
    assert Budgets(ms=1.05).missed(cells[1]) == "it may take up to 1.1 ms of 1.05"
    assert Budgets(ms=0.7).missed(cells[1]) == "it takes at least 0.9 ms of 0.7"
    assert Budgets(ms=1.09999).missed(cells[1]) == "it may take up to 1.1 ms of 1.09999"
    assert Budgets(ms=1.0999999).missed(point("", (1, 1, 1.1), good)) is not None
    assert str(Budgets(top1=90).missed(cells[0])).startswith("it has at most 80.")
    assert str(Budgets(top1=94).missed(cells[1])).startswith("it may have only 91.")
    worst = Budgets(ms=1.05, top1=90)  # of two the one that is missed by more
    assert str(worst.missed(point("", (1, 1, 1.1), poor))).startswith("it has at most")
    order = sorted(cells, key=Budgets(ms=1.05, size=15).excess)
    assert [cell.label for cell in order] == ["sure", "may be", "better"]
    assert Budgets(arena=5).missed(cells[0]) == "its arena is not known"


def test_what_surely_cannot_be_the_answer_is_dropped_and_nothing_else() -> None:
    good, poor = shares(190, 200), shares(120, 200)
    cells = [
        point("keeps", (0.8, 0.9, 1.0), good),
        point("late", (1.2, 1.3, 1.4), good),
        point("less accurate", (0.5, 0.6, 0.7), poor),
        point("cannot be told", (0.8, 0.9, 1.0), shares(188, 200)),
        point("may be late", (0.9, 1.0, 1.2), good),
    ]
    ahead = outlook(cells, Budgets(ms=1.1), Left(400, np.full(5, 1 / 8)))
    gone, spent = unlikely(ahead.answer, 0.01)
    assert gone == [False, True, True, False, False]
    assert spent < 0.01
    assert ahead.in_time[[1, 2]].tolist() == [0.0, 1.0]
    assert 0.02 < ahead.in_time[4] < 0.98
    whole = outlook(cells, Budgets(ms=1.1), Left(400, np.ones(5)))
    assert whole.in_time.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]  # what was timed whole stands
    assert lost(cells, 0.99)[2] is False  # the fastest has no rival


def test_where_all_is_seen_the_answer_is_the_one_that_is_picked() -> None:
    """What drops cells draws the end of a sweep and asks the rule that the report asks."""
    generator = np.random.default_rng(0)
    for _ in range(40):
        cells = []
        for name in "abcdef":
            ms = float(generator.uniform(1, 1.3))
            right = generator.random(300) < generator.choice([0.9, 0.91, 0.99])
            size = int(generator.integers(1, 9))
            cells.append(Point(name, (ms, ms, ms), right, size, size))
        budgets = Budgets(ms=1.25, size=7, arena=8, top1=float(generator.choice([50, 88])))
        found = outlook(cells, budgets, Left(300, np.ones(6))).answer
        chosen = pick(cells, budgets)
        assert found.tolist() == [float(place == chosen) for place in range(6)]


def test_pictures_still_to_come_may_turn_an_answer_and_what_was_seen_decides_how_likely() -> None:
    better, worse = (
        point("a", (1, 1, 1), shares(16, 20), 9),
        point("b", (2, 2, 2), shares(15, 20), 9),
    )
    found = [
        outlook([better, worse], Budgets(size=9), Left(n, np.ones(2))).answer[1]
        for n in (20, 24, 2000)
    ]
    assert found[0] == 0.0
    assert 0.0 < found[1] < found[2] < 0.5
    one = [
        replace(cell, function="one") for cell in (better, replace(worse, correct=better.correct))
    ]
    assert outlook(one, Budgets(size=9), Left(2000, np.ones(2))).answer.tolist() == [1.0, 0.0]


def narrowed(
    right: NDArray[np.bool_], halves: tuple[float, float]
) -> tuple[list[int], list[dict[int, float]]]:
    """Narrow two cells of 1 and 2 ms down for a budget of 2.4; return what is left, and what each rung asked of timings."""
    asked: list[dict[int, float]] = []

    def measure(live: Sequence[int], rung: float, timed: Mapping[int, float]) -> list[Point | None]:
        asked.append(dict(timed))
        seen = right[:, : round(right.shape[1] * rung)]
        reach = {place: halves[place] / share**0.5 for place, share in timed.items()}
        return [
            point("ab"[at], (1 + at - reach[at], 1 + at, 1 + at + reach[at]), seen[at])
            for at in live
        ]

    return narrow(2, right.shape[1], Budgets(ms=2.4), HALVING, measure), asked


def test_of_two_nets_that_are_equal_the_answer_is_lost_in_one_of_twenty_sweeps_at_most() -> None:
    """The worst case: who leads does so by chance."""
    generator = np.random.default_rng(0)
    sweeps = [generator.random((2, 200)) < 0.8 for _ in range(20)]
    lost_answers = sum(
        right.sum(axis=1).argmax() not in narrowed(right, (0.01, 0.01))[0] for right in sweeps
    )
    assert lost_answers <= len(sweeps) / 20


def test_what_may_be_the_answer_and_may_miss_the_budget_is_timed_whole_at_once_and_once() -> None:
    right = np.stack([np.arange(400) % 5 > 0, np.arange(400) % 5 < 4])
    _, asked = narrowed(right, (0.01, 0.15))
    assert [timed[1] for timed in asked] == [1 / 8, *[1.0] * 10]
    assert [timed[0] for timed in asked] == [*[1 / 8] * 10, 1.0]
    _, asked = narrowed(right, (0.01, 0.01))
    assert asked[1] == {0: 1 / 8, 1: 1 / 8}


def test_of_files_that_cannot_be_told_apart_the_smaller_is_named() -> None:
    good, nearly = shares(940, 1000), shares(938, 1000)
    cells = [
        point("fp32", (0.9, 1.0, 1.1), good, 20),
        point("fp16", (0.95, 1.05, 1.15), nearly, 10),
        point("slower", (1.2, 1.3, 1.4), good, 5),
        point("worse by a point", (0.9, 1.0, 1.1), shares(930, 1000), 4),
    ]
    same = equals(cells, Budgets(ms=2))
    assert same == [1, 0]
    told = "fp16 cannot be told apart in latency and accuracy from fp32: the smaller file is named"
    assert smaller([cells[index] for index in same]) == told
    assert smaller([cells[0]]) is None
    assert pick(cells, Budgets(ms=1.12)) == 0  # the smaller one is not sure to keep it
    forms, _ = expand(job_from({"nets": ["ghostnet"], "precision": ["fp32"]}))
    made: dict[str, Any] = {"path": "file", "within": True, "correct": good}
    twins = [Cell(form, 1, **made, bytes=size) for form, size in zip(forms, (7, 6), strict=True)]
    report = SweepReport(job_from({"nets": ["ghostnet"], "budget_mb": 1.0}), twins, True, 1000)
    assert report.answer is twins[1]
    assert report.sentences()[1].startswith(
        f"{twins[1].label} cannot be told apart in accuracy from"
    )


SAMPLES = sorted((Path(__file__).parents[1] / "docs" / "sweep").glob("*.json"))
MEASURED_AFTER = {"upper", "shoes"}
"""What the rule of --adaptive was not chosen on."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=pytest.mark.slow if path.stem in MEASURED_AFTER else pytest.mark.long
        )
        for path in SAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_adaptive_gives_the_answer_of_the_full_sweep_at_less_of_its_cost(path: Path) -> None:
    found = read_samples(path)
    generator = np.random.default_rng(0)
    made = [repeat(found, generator) for _ in range(20)]
    assert sum(one.same for one in made) >= 19
    *spent, least = np.mean([(one.pictures, one.seconds, one.least) for one in made], axis=0)
    assert max(spent) < 0.5
    row = f"| {found.correct.shape[0]} | {found.correct.shape[1]} | {sum(one.same for one in made)} of 20 | "
    row += f"{100 * spent[0]:.0f} % | {100 * spent[1]:.0f} % | {100 * least:.0f} % |"
    assert row in Path(SAMPLES[0].parents[1], "sweep.md").read_text(encoding="utf-8")


def test_what_even_a_rule_that_knows_the_leads_has_to_see() -> None:
    """The answer whole, what is right as often whole, a rival by its lead, what is too slow a first look."""
    right = np.arange(400)
    points = [
        point("answer", (1.0, 1.0, 1.0), right < 300),
        point("equal", (5.0, 5.0, 5.0), right >= 100),
        point("behind", (1.0, 1.0, 1.0), (right >= 20) & (right < 280)),
        point("slow", (9.0, 9.0, 9.0), right < 300),
    ]
    z2, differ, lead = 1.6448536**2, 40, 40
    shares = (1, 1, z2 * differ / (lead**2 + z2 * differ), 1 / 32)
    assert least_seen(points, Budgets(ms=6.0), 0.05) == pytest.approx(sum(shares) / 4)
    assert least_seen(points, Budgets(ms=0.5), 0.05) == 1 / 32


def test_a_simulated_interval_holds_what_was_measured_as_often_as_it_says() -> None:
    found = replace(read_samples(SAMPLES[0]), ms=np.array([2.5]), below=np.array([0.05]), above=np.array([5.1]))  # fmt: skip
    for share in (1 / 8, 1.0):
        for z in (-5.0, -1.97, -1.95, 0.0, 1.95, 1.97, 5.0):
            low, middle, high = simulate_adaptive.timed(found, 0, share, z)
            assert low < middle < high
            assert (low <= 2.5 <= high) == (abs(z) < 1.96)
    assert simulate_adaptive.timed(found, 0, 1.0, 0.0) == pytest.approx((2.45, 2.5, 7.6))


def test_samples_of_a_sweep_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = read_samples(SAMPLES[0])
    write_samples(found, tmp_path / "again.json")
    again = read_samples(tmp_path / "again.json")
    assert np.array_equal(again.correct, found.correct)
    assert (again.labels, again.functions) == (found.labels, found.functions)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.default_rng(0)
    for name in ("bag", "coat"):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


SMALL = (
    "mobilenet_v1",
    "--width",
    "0.25",
    "--resolution",
    "32",
    "--weights",
    "random",
    "--classes",
    "2",
)


def small(photos: Path, output: Path, *more: str) -> Result:
    data = ("--data", str(photos), "--calib", str(photos), "--target", "tflite", "--no-bench")
    return run(*SMALL, *data, "--output", str(output), "-q", *more)


@pytest.mark.slow
def test_a_sweep_is_the_same_again_free_and_goes_on_where_it_stopped(
    photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "sweep"
    first = small(photos, output, "--precision", "fp32", "--html", str(tmp_path / "p.html"))
    assert first.exit_code == 0, first.output
    made = json.loads((output / "results.json").read_text())
    cell = made["cells"][0]
    assert made["truth"] is True  # one folder a class
    assert made["pictures"] == 12
    arena = planned_arena(output / cell["file"])
    assert arena is not None
    assert 32 * 32 * 3 * 4 < arena * (1 << 20) < 1 << 20
    assert cell["accuracy"] is not None
    assert cell["status"] == "front"
    page = (tmp_path / "p.html").read_text()
    assert "mobilenet_v1 0.25 32 fp32 tflite" in page
    assert "src=" not in page
    look_at(tmp_path / "p.html", tmp_path, 390, dark=True)
    second = small(photos, output, "--precision", "fp32,fp16", "--json")
    assert second.exit_code == 0, second.output
    again = json.loads(second.stdout)
    assert (again["run"]["made"], again["run"]["kept"]) == (2, 3)
    assert again["cells"][0] == cell
    assert "cannot be told apart with these 12 pictures" in again["sentences"][0]
    third = json.loads(small(photos, output, "--precision", "fp32,fp16", "--json").stdout)
    assert (third["run"]["made"], third["run"]["kept"]) == (0, 5)
    assert third["cells"] == again["cells"]
    os.truncate(output / cell["file"], 1000)
    mended = json.loads(small(photos, output, "--precision", "fp32,fp16", "--json").stdout)
    assert (mended["run"]["made"], mended["run"]["kept"]) == (1, 4)
    assert mended["cells"] == again["cells"]
    refused = run(*SMALL, "--output", str(photos))
    assert refused.exit_code == 1
    assert "holds other files" in refused.output


def test_a_picture_that_cannot_be_read_is_named_before_anything_is_made(
    photos: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    os.truncate(data / "coat" / "4.png", 200)
    output = tmp_path / "sweep"
    refused = small(data, output, "--precision", "fp32")
    assert refused.exit_code == 2, refused.output
    told = f"Error: {data}/coat/4.png is not a readable picture: image file is truncated"
    assert refused.output.strip() == told
    assert not output.exists()


@pytest.mark.slow
def test_workers_make_the_same_bytes_as_one_process(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs edgeconv[sweep]")
    words = ("--precision", "fp32,int8", "--recipe", "fast", "--shard", "5", "--json")
    alone = small(photos, tmp_path / "alone", *words)
    assert alone.exit_code in (0, 3), alone.output
    shared = small(photos, tmp_path / "shared", *words, "--workers", "2")
    assert shared.exit_code == alone.exit_code, shared.output
    assert json.loads(shared.stdout)["cells"] == json.loads(alone.stdout)["cells"]


@pytest.mark.slow
def test_pictures_without_labels_are_held_against_the_float_net(
    photos: Path, tmp_path: Path
) -> None:
    words = ("--precision", "fp32", "--json", "--budget-mb", "0.001")
    done = small(photos / "bag", tmp_path / "o", *words)
    assert done.exit_code == 3, done.output  # one object on standard output all the same
    found = json.loads(done.stdout)
    assert found["truth"] is False
    assert found["cells"][0]["accuracy"] == 1.0


def test_a_cell_that_fails_names_the_users_file(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x0a\x12")
    words = ("--precision", "fp32", "--target", "onnx", "--no-bench", "-q", "--json")
    done = run(str(tmp_path / "cut.onnx"), *words, "--output", str(tmp_path / "o"))
    assert done.exit_code == 1, done.output
    reason = json.loads(done.stdout)["cells"][0]["reason"]
    assert "cut.onnx" in reason
    assert "/cut.onnx" not in reason


def test_a_picture_is_named_by_its_path_wherever_it_was_read(tmp_path: Path) -> None:
    """A worker sees it in a folder that is named by a hash."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"none")
    inputs = Inputs()
    spec = {"data": inputs.add_pictures(tmp_path / "photos", ["a.png"])}
    (key,) = wanted(spec)
    told = inputs.in_words(f"{key}/a.png is not a readable picture", wanted(spec))
    assert told == f"{tmp_path}/photos/a.png is not a readable picture"
    spec = {"data": inputs.add_some(tmp_path / "photos", ["a.png"])}
    (key,) = wanted(spec)
    told = inputs.in_words(f"{key}/photos/a.png is not a readable picture", wanted(spec))
    assert told == f"{tmp_path}/photos/a.png is not a readable picture"


def test_what_cannot_be_made_as_it_was_asked_is_wrong_usage(tmp_path: Path) -> None:
    """Where an export finds that out, nothing is made and the exit code is that of a wrong option all the same."""
    output = ("--output", str(tmp_path / "o"), "-q", "--no-bench")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "bad.csv").write_text("none")
    (tmp_path / "net.py").write_text("")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    one = ("ghostnet", "--precision", "fp32", "--target", "onnx")
    for words, code, says in (
        ((str(tmp_path / "notes.txt"),), 2, "is no net that is read here"),
        ((str(tmp_path / "gone.onnx"), "--dry-run", "--precision", "fp32"), 2, "gone.onnx does not exist"),
        (("ghostnet", "--calib", "gone", "--dry-run"), 2, "gone does not exist"),
        (("ghostnet", "--labels", "gone", "--dry-run"), 2, "gone does not exist"),
        ((*one, "--weights", "random", "--classes", "0"), 2, "--classes must be at least 1"),
        ((*one, "--input-shape", "1,3,5"), 2, "failed: ghostnet fp32 onnx: ghostnet takes one input"),
        ((f"{tmp_path / 'net.py'}:make", "--precision", "fp32"), 2, "net.py defines no make"),
        ((*one, "--data", str(tmp_path / "photos"), "--truth", str(tmp_path / "bad.csv")), 1, "names no picture"),
    ):  # fmt: skip
        done = run(*words, *output, "--html", str(tmp_path / "page.html"))
        assert done.exit_code == code, done.output
        assert says in " ".join(done.output.split())
        assert not (tmp_path / "page.html").exists()
        assert not (tmp_path / "o").exists()


def test_what_is_wrong_with_a_file_is_said_once() -> None:
    job = job_from({"nets": ["cut.onnx", "mobilenet_v1"], "calib": str(Path(__file__).parent)})
    forms, _ = expand(job)
    cells = [Cell(form, 1, error="cut.onnx is no net") for form in forms if form.net == "cut.onnx"]
    own = [Cell(form, 1, path="x", within=True) for form in forms if form.net != "cut.onnx"]
    own[0].error = own[1].error = own[2].error = "no space"
    assert SweepReport(job, [*cells, *own], truth=False, pictures=0).unmade() == [
        "failed: cut (all 4 cells): cut.onnx is no net",
        f"failed: {own[0].label}, {own[1].label} and 1 more cell: no space",
    ]


def test_a_file_of_ones_own_says_what_was_assumed_and_which_target_refuses_it(
    tmp_path: Path,
) -> None:
    """Nothing in an .onnx file says how its pictures are scaled; what one target cannot is no other's fault."""
    import onnx

    helper = onnx.helper
    node = helper.make_node("Det", ["x"], ["y"])
    shapes = {"x": [1, 3, 12, 12], "y": [1, 3]}
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, tmp_path / "own.onnx")
    words = ("--precision", "fp32", "--no-bench", "-q", "--json", "--output", str(tmp_path / "o"))
    done = run(str(tmp_path / "own.onnx"), *words)
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    made, refused = found["cells"]
    assert (made["target"], made["status"]) == ("onnx", "front")
    assert refused["status"] == "failed"
    assert "edgeconv has no TFLite form of Det" in refused["reason"]
    (assumed,) = found["sentences"]
    assert assumed.startswith("own: pictures imagenet: mean 0.485")
    assert "ASSUMED, say --preprocessing" in assumed


def test_weights_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    words = ("mobilenet_v1", "ghostnet", "--width", "0.5", "--output", str(tmp_path / "o"), "-q")
    nothing = run(*words, "--weights", str(tmp_path / "{net}_{width}.pth"))
    assert nothing.exit_code == 2
    assert "{width}.pth names no file that is there" in nothing.output
    assert "mobilenet_v1_0.5.pth" in nothing.output
    half = run(*words, "--weights", "{net}_{width")
    assert half.exit_code == 2
    assert "it may hold {net}, {width}, {groups}, {ratio} and {resolution}, each whole" in " ".join(
        half.output.split()
    )
    bundled = run(*words)
    assert bundled.exit_code == 2
    assert "nothing can be made" in bundled.output
    assert "no bundled weights of width 0.5" in bundled.output


def test_weights_of_another_net_width_or_number_of_classes_are_no_form(tmp_path: Path) -> None:
    """What contradicts itself is told before any work, as wrong usage; a damaged file is a failure."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from edgeconv.models import build as build_net

    torch.save(build_net("mobilenet_v1", width=0.25, classes=3).state_dict(), tmp_path / "w.pth")
    (tmp_path / "cut.pth").write_bytes(b"cut")
    (tmp_path / "w.txt").write_bytes(b"")
    words = (
        "mobilenet_v1",
        "--precision",
        "fp32",
        "--target",
        "onnx",
        "--output",
        str(tmp_path / "o"),
        "-q",
    )
    weights = ("--weights", str(tmp_path / "w.pth"))
    for more, says in (
        ((*weights, "--width", "0.5"), "give weights for the width asked for"),
        ((*weights, "--width", "0.25", "--classes", "4"), "are for 3 classes, not 4"),
        (("--weights", str(tmp_path / "w.txt")), "does not look like weights"),
        (("--weights", "imagenet", "--width", "0.5"), "no imagenet weights of width 0.5"),
        (("--classes", "7"), "are for 10 classes, not 7"),
    ):  # fmt: skip
        done = run(*words, *more)
        assert done.exit_code == 2, done.output
        assert says in " ".join(done.output.split())
        assert not (tmp_path / "o").exists()
    listed_only = run(*words, *weights, "--width", "0.25,0.5", "--dry-run")
    assert listed_only.exit_code == 0, listed_only.output
    assert "1 form, 1 cell, 1 impossible" in listed_only.output
    broken = run(*words, "--no-bench", "--weights", str(tmp_path / "cut.pth"))
    assert broken.exit_code == 1, broken.output


@pytest.mark.parametrize("name", ["mine.pt", "mine.pth", "mine.safetensors"])
def test_weights_alone_are_no_net(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs edgeconv[torch]")
    path = tmp_path / name
    torch.save({"a": torch.zeros(2)}, path)
    listed = run(str(path), "--dry-run")
    assert listed.exit_code == 2
    assert "holds weights, not a net: edgeconv sweep NET --weights" in " ".join(
        listed.output.split()
    )


@pytest.mark.parametrize("name", ["gone.onnx", "gone.pt", "gone.pt2", "gone.py:make"])
def test_a_net_that_is_not_there_is_refused_by_the_plan_too(name: str) -> None:
    listed = run(name, "--precision", "fp32", "--dry-run")
    assert listed.exit_code == 2
    assert f"{name.partition(':')[0]} does not exist" in listed.output


def test_a_sweep_that_was_stopped_before_its_first_result_goes_on(tmp_path: Path) -> None:
    """Its table is written all the same, and is no reason to refuse the folder to the same command."""
    output = tmp_path / "o"
    for wrote in (False, True):
        with Store(output / "cells").held():
            if wrote:
                (output / "results.json").write_text("{}")
        assert output.exists() == wrote
    check_output(output)


def test_two_sweeps_on_one_folder_and_a_full_disk_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"")
    words = (str(tmp_path / "cut.onnx"), "--no-bench", "-q", "--output", str(tmp_path / "o"))
    store = Store(tmp_path / "o" / "cells")
    with store.held():
        second = run(*words)
        assert second.exit_code == 1
        assert "another sweep is at work in" in second.output
    assert "another sweep" not in run(*words).output

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    key = key_of("export", {"net": "b"}, {})
    store.put(key, {"ok": 1}, {"a.bin": b"kept"})
    monkeypatch.setattr("edgeconv.sweep.store.os.replace", full)
    with pytest.raises(EdgeconvError, match=r"cannot write .*: No space left on device"):
        store.put(key_of("export", {"net": "c"}, {}), {"ok": 1}, {"a.bin": b"lost"})
    assert store.get(key) == {"ok": 1}
    assert not list(store.folder.glob("??/.*"))
    part = temporary_folder(store.place(key).parent, f".{key[:8]}.")
    with part as made, store.held():  # what a killed run left
        staged = made / ".edgeconv-set-ab12cd34" / "net.onnx"
        told = store.in_words(f"cannot write {staged}: No space left on device")
        assert told == f"cannot write {store.folder}/net.onnx: No space left on device"
        store.sweep_parts()
        assert not made.exists()


def test_bad_options_and_the_plan(tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert run("ghostnet", "--workers", "2", "--scheduler", "tcp://x:1").exit_code == 2
    for address in (
        "foo",
        "tcp://",
        "tcp://host",
        "http://host:80",
        "tcp://host:port",
        "host:8786",
    ):
        malformed = run("ghostnet", "--scheduler", address, "--output", str(tmp_path / "o"))
        assert malformed.exit_code == 2
        assert f"--scheduler {address}: write tcp://HOST:PORT" in malformed.output
    assert run("no_net", "--output", str(tmp_path / "new" / "o")).exit_code == 2
    assert list(tmp_path.iterdir()) == []  # nor is a folder left where nothing can be made
    assert run("ghostnet", "--resolution", "big").exit_code == 2
    absent = run(str(tmp_path / "gone.toml"))
    assert absent.exit_code == 2
    assert "gone.toml does not exist" in absent.output.replace("\n", "")
    nothing = run("ghostnet", "--precision", "fp16", "--target", "onnx", "--dry-run")
    assert nothing.exit_code == 2
    assert "impossible ghostnet fp16 onnx" in nothing.output
    assert "nothing can be made: ghostnet fp16 onnx: --fp16 is for" in nothing.output
    own = tmp_path / "own.onnx"
    own.write_bytes(b"")
    for place, says in ((own, "is a file, not a folder"), (tmp_path, "holds other files")):
        taken = run("ghostnet", "--output", str(place), "--dry-run")  # as without it
        assert taken.exit_code == (2 if place == own else 1)
        assert says in " ".join(taken.output.split())
    for more in (("--dry-run",), ("--output", str(tmp_path / "o"))):
        idle = run(str(own), "--precision", "fp32", "--no-bench", "--adaptive", *more)
        assert idle.exit_code == 2
        assert "--adaptive saves pictures and seconds" in idle.output
        assert not (tmp_path / "o").exists()
    planned = run("ghostnet", "--resolution", "32,64", "--target", "onnx", "--dry-run")
    assert planned.exit_code == 0
    assert "4 forms, 4 cells, 0 impossible" in planned.output
    (tmp_path / "file").write_text("")
    taken = run("ghostnet", "--output", str(tmp_path / "file"))
    assert taken.exit_code == 2
    assert "is a file" in taken.output


def test_class_folders_without_a_picture_that_is_asked_are_named(tmp_path: Path) -> None:
    for name in ("0_cat", "1_dog", "2_eel"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    asked = Evaluation(tmp_path, ("0_cat/a.png", "2_eel/a.png"), 2, "folders")
    told = "class 1_dog: none of its pictures was asked, so nothing is known of it"
    assert asked.unasked() == told
    assert replace(asked, truth="").unasked() is None
    assert SweepReport(job_from({"nets": ["ghostnet"]}), [], True, 2, unasked=told).sentences() == [
        told
    ]


def test_a_name_begins_no_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    form = Form("a\nb.onnx", None, None, None, None, None, "fp32", None, "onnx", "any", None)
    cells = [Cell(form, 1, path="x.onnx", within=True, bytes=2_000_000)]
    print_sweep(SweepReport(job_from({"nets": ["a"]}), cells, False, 0), open_console())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["cell", "as", "float", "%", "ms", "MB"],
        ["a\\nb", "fp32", "onnx", "-", "-", "2.00", "worth", "shipping"],
    ]


def test_a_task_sees_no_picture_but_those_that_it_is_told_of(tmp_path: Path) -> None:
    """A worker elsewhere gets the pictures of its shard with their classes, not the folder they lie in."""
    photos = tmp_path / "photos"
    for kind in ("bag", "coat"):
        (photos / kind).mkdir(parents=True)
        for index in range(3):
            (photos / kind / f"{index}.png").write_bytes(kind.encode() + bytes([index]))
    inputs = Inputs()
    evaluation = choose(job_from({"nets": ["n.onnx"], "data": str(photos)}), inputs, bundled=False)
    assert evaluation is not None
    assert evaluation.names is not None
    told = evaluation.part(inputs, 1, 3, None)
    assert told["truth"] == {name: int(name[:4] == "coat") for name in evaluation.names[1:3]}
    (key,) = wanted(told)
    inputs.known[key].lay(tmp_path / "laid")
    unpack(inputs.pack(key), tmp_path / "sent")
    for place in ("laid", "sent"):
        assert Inputs().pictures(tmp_path / place / "photos") == sorted(told["truth"])


CODE = """
from pathlib import Path
import torch
from layers import make
from safetensors import safe_open
from safetensors.torch import load_file
def beside():
    net = make()
    net.load_state_dict(torch.load(Path(__file__).with_name("w.pt")))
    return net
def named():
    net = make()
    net.load_state_dict(torch.load("nets/w.pt"))
    return net
def sealed():
    net = make()
    net.load_state_dict(load_file(Path(__file__).with_name("w.safetensors")))
    return net
def opened():
    net = make()
    with safe_open("nets/w.safetensors", "pt") as file:
        net.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
    return net
def script():
    return torch.jit.load("nets/w.jit")
def by_chance():
    return make()
"""
NAMES = ("beside", "named", "sealed", "opened", "script", "by_chance")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_code_travels_with_what_it_reads_and_is_known_by_what_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    nets = tmp_path / "nets"
    nets.mkdir()
    (nets / "net.py").write_text(CODE)
    (nets / "layers.py").write_text("import torch\ndef make():\n    return torch.nn.Linear(3, 2)\n")
    net = torch.nn.Linear(3, 2)
    torch.save(net.state_dict(), nets / "w.pt")
    save_file(net.state_dict(), nets / "w.safetensors")
    torch.jit.script(net).save(nets / "w.jit")
    monkeypatch.chdir(tmp_path)
    inputs = Inputs()
    told = {name: inputs.add_net(f"nets/net.py:{name}") for name in NAMES}
    assert Inputs().add_net("nets/net.py:by_chance") == told["by_chance"]
    assert [spec["state"] for spec in told.values()].count(told["beside"]["state"]) == 5
    assert told["by_chance"]["state"] != told["beside"]["state"]
    away = tmp_path / "away"
    for key in wanted(list(told.values())):
        unpack(inputs.pack(key), away / key)
    monkeypatch.chdir(away)
    for spec in told.values():
        there = {name: value.removeprefix("@") for name, value in spec.items()}
        _as_at_home(there)
        built = build(there["net"])
        assert built is not None
        assert built.state == spec["state"]
    with pytest.raises(EdgeconvError, match="builds another net where the task ran"):
        _as_at_home({"net": there["net"], "state": told["beside"]["state"]})
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(3, 2).state_dict(), nets / "w.pt")
    assert Inputs().add_net("nets/net.py:beside")["state"] != told["beside"]["state"]


def test_weights_beside_an_onnx_file_count_and_travel(tmp_path: Path) -> None:
    import onnx

    weights = np.ones((4, 3), np.float32)

    def save() -> dict[str, str]:
        made = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1, 4])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, 3])],
            [onnx.numpy_helper.from_array(weights, "w")],
        )
        told: dict[str, Any] = {
            "all_tensors_to_one_file": True,
            "location": "m.bin",
            "size_threshold": 0,
        }
        model = onnx.helper.make_model(made)
        onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, **told)
        inputs = Inputs()
        spec = inputs.add_net(str(tmp_path / "m.onnx"))
        (key,) = wanted(spec)
        unpack(inputs.pack(key), tmp_path / key)
        assert sorted(p.name for p in (tmp_path / key).iterdir()) == ["m.bin", "m.onnx"]
        return spec

    first = save()
    (tmp_path / "m.bin").unlink()
    weights *= 2
    assert save() != first
