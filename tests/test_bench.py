"""bench measures what a bare loop measures, isolates what crashes, and refuses what cannot be right."""

import json
import os
import signal
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_kit import PEER, row_of, subject, write_model
from click.testing import CliRunner, Result

from edgeconv.bench import engine
from edgeconv.bench import plan as plans
from edgeconv.bench.engine import measure, to_row
from edgeconv.bench.loop import timed_runs, warm_up
from edgeconv.bench.plan import Plan, Subject
from edgeconv.bench.watch import (
    Sample,
    Spent,
    Watch,
    load_marks,
    machine_marks,
    sample_marks,
    thread_marks,
)
from edgeconv.bench.worker import hold
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.machine import describe


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def test_our_loop_adds_under_one_percent_or_five_microseconds_to_a_call() -> None:
    def call() -> object:
        return sum(range(2000))

    clock = time.perf_counter_ns
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(30):  # interleaved, so that both meet the same machine
        start = clock()
        for _ in range(50):
            call()
        bare.append((clock() - start) / 50)
        ours.append(statistics.mean(timed_runs(call, 50)))
    base = min(bare)
    assert min(ours) - base <= max(0.01 * base, 5000)


def test_a_warm_up_runs_as_often_or_as_long_as_asked() -> None:
    assert len(warm_up(lambda: None, 7)) == 7
    start = time.perf_counter()
    assert len(warm_up(lambda: None, None, 0.02)) >= 3
    assert time.perf_counter() - start >= 0.02


def test_rows_hold_exactly_the_runs_asked_for_and_what_really_ran(tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    watch = Watch()
    turns, partial = measure([subject(model)], Plan(runs=53, warmup=2), watch)
    row = to_row(turns[0], watch, describe())
    assert not partial
    assert row.error is None
    assert row.summary is not None
    assert row.summary.count == 53
    assert row.warmup_runs == 2
    assert row.threads_ran in (1, None)
    assert row.runtime == "onnxruntime"
    assert row.load_ms is not None
    assert row.first_ms is not None
    assert row.peak_mib is not None
    assert row.peak_mib > 10


def test_a_model_that_cannot_be_opened_takes_only_its_own_row_with_it(tmp_path: Path) -> None:
    good = write_model(tmp_path, "good.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"garbage")
    result = bench(str(bad), str(good), "--runs", "40", "--warmup", "1", "--json", "-q")
    assert result.exit_code == 1
    rows = {Path(r["label"].partition(" (")[0]).name: r for r in json.loads(result.output)["rows"]}
    assert "cannot open" in rows["bad.onnx"]["error"]
    assert "\n" not in rows["bad.onnx"]["error"]
    assert rows["good.onnx"]["summary"]["count"] == 40


def test_a_runtime_that_dies_is_named_with_its_signal(tmp_path: Path) -> None:
    worker = hold(subject(write_model(tmp_path, "a.onnx")))
    try:
        worker.receive(60.0)
        os.kill(worker.process.pid, signal.SIGSEGV)
        with pytest.raises(EdgeconvError, match=r"a\.onnx crashed with SIGSEGV"):
            worker.ask({"do": "warm", "runs": 1}, 60.0)
    finally:
        worker.close()


def test_a_worker_that_hangs_is_given_up_and_killed(tmp_path: Path) -> None:
    worker = hold(subject(write_model(tmp_path, "a.onnx")))
    try:
        worker.receive(60.0)
        os.kill(worker.process.pid, signal.SIGSTOP)
        with pytest.raises(EdgeconvError, match="did not answer within"):
            worker.ask({"do": "warm", "runs": 1}, 0.3)
        assert worker.process.poll() is not None
    finally:
        worker.close()


def test_an_interrupt_ends_with_the_figures_so_far(tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    seen = 0

    def stop(text: str, share: float) -> None:
        nonlocal seen
        seen += 1
        if seen > 5:
            raise KeyboardInterrupt

    turns, partial = measure([subject(model)], Plan(runs=400, warmup=1), Watch(), stop)
    assert partial
    assert 0 < len(turns[0].times_ms) < 400


def test_after_ctrl_c_nobody_waits_for_a_child_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    class AtWork:
        process = SimpleNamespace(pid=os.getpid())

        def receive(self, timeout_s: float, tick: object = None) -> dict[str, object]:
            return {}

        def ask(self, value: dict[str, object], timeout_s: float, tick: object = None) -> object:
            if value["do"] == "warm":
                return {"warmup_ns": [10**6], "first_ns": 10**6}
            if value["do"] == "block":
                raise KeyboardInterrupt
            limits.append(timeout_s)
            raise EdgeconvError("it did not answer")

        def close(self, patience_s: float) -> None:
            limits.append(patience_s)

    monkeypatch.setattr(engine, "hold", lambda _: AtWork())
    subjects = [Subject(name, "onnxruntime", 1) for name in "abc"]
    turns, partial = measure(subjects, Plan(runs=4, warmup=1), Watch())
    assert partial
    assert limits == [engine.HURRIED_S, 0.0] * 3
    assert [turn.error for turn in turns] == [None] * 3  # it was not asked for long


def test_against_gives_a_ratio_with_an_interval(tmp_path: Path) -> None:
    small, large = write_model(tmp_path, "s.onnx"), write_model(tmp_path, "l.onnx", 64, 48)
    result = bench(
        str(large), "--against", str(small), "--seconds", "0.4", "--warmup", "5", "--json"
    )
    rows = {row["label"].partition(" ")[0]: row for row in json.loads(result.output)["rows"]}
    ratio = rows["l.onnx"]["ratio"]
    assert ratio["interval"]["low"] <= ratio["value"] <= ratio["interval"]["high"]
    assert ratio["value"] > 2
    assert rows["s.onnx"]["ratio"] is None


def test_tflite_rows_say_what_the_delegate_took() -> None:
    pytest.importorskip("ai_edge_litert")
    if not PEER.exists():
        pytest.skip("../shared/peers is not beside this checkout")
    result = bench(str(PEER), "--runs", "40", "--warmup", "1", "--json", "--threads", "1")
    row = json.loads(result.output)["rows"][0]
    assert row["delegation"]["delegated"] > 0
    assert row["about"]["sha256"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--runs", "0"], "--runs"),
        (["--threads", "0"], "threads"),
        (["--threads", "10000"], "threads"),
        (["--threads", "two"], "--threads"),
        (["--seconds", "-1"], "--seconds"),
        (["--warmup", "-1"], "--warmup"),
        (["--affinity", "x"], "--affinity"),
        (["--affinity", "4095"], "--affinity"),
        (["--shape", "1,two"], "--shape"),
        (["--sustained", "soon"], "soon"),
        (["--runtime", "nothing"], "nothing"),
    ],
)
def test_options_that_cannot_be_right_are_one_sentence_and_exit_2(
    arguments: list[str], word: str, tmp_path: Path
) -> None:
    result = bench(str(write_model(tmp_path, "a.onnx")), *arguments)
    assert result.exit_code == 2, result.output
    assert word in result.output
    assert result.output.count("Error:") == 1


def test_an_unknown_net_offers_the_nearest_names() -> None:
    result = bench("mobilenet_v3")
    assert result.exit_code == 2
    assert "mobilenet_v2" in result.output
    assert bench("missing.onnx").exit_code == 2


def test_durations_and_lists_are_read_as_people_write_them() -> None:
    assert plans.parse_duration("90s") == 90
    assert plans.parse_duration("1.5h") == 5400
    assert plans.parse_threads("1,2,2,4") == [1, 2, 4]
    assert plans.parse_cpus("0-2,5") == [0, 1, 2, 5]
    assert plans.parse_shapes(("x=1,3,8,8", "2,3")) == {"x": (1, 3, 8, 8), "": (2, 3)}
    with pytest.raises(UsageError):
        plans.parse_duration("0s")
    with pytest.raises(UsageError, match="--affinity takes processors"):
        plans.parse_cpus("0-99999999999")


def test_mlperf_asks_for_both_minima() -> None:
    plan = plans.mlperf(Plan())
    assert plan.runs == 1024
    rounds, runs = plan.blocks(0.001)
    assert rounds * runs * 0.001 >= 60
    rounds, runs = plan.blocks(1.0)
    assert rounds * runs >= 1024


def test_a_hot_throttled_or_slowed_machine_marks_its_rows() -> None:
    cool = [Sample(0.0, (1000.0, 2400.0), 55.0, 0)] * 3
    assert machine_marks(cool, 2400.0) == []
    bad = [Sample(0.0, (600.0, 1500.0), 82.0, 0x4)] * 3
    assert [m.code for m in machine_marks(bad, 2400.0)] == ["throttled", "hot", "clock"]


def test_a_busy_stolen_or_interrupting_machine_marks_its_rows() -> None:
    assert load_marks(Spent(10.0, 10.1, 0.0, 10.0, 3), 1000, 4.0) == []
    bad = load_marks(Spent(10.0, 19.0, 0.5, 10.0, 500), 1000, 4.0)
    assert [m.code for m in bad] == ["load", "steal", "switched"]


def test_few_wide_or_drifting_runs_mark_their_row() -> None:
    steady = row_of("a", [1.0 + 0.001 * (i % 7) for i in range(200)])
    assert steady.summary is not None
    assert sample_marks(steady.summary, steady.rounds_ms) == []
    few = row_of("a", [1.0, 3.0, 1.0, 9.0, 1.0, 2.0, 5.0, 1.0, 1.0, 1.0])
    assert few.summary is not None
    assert {m.code for m in sample_marks(few.summary, few.rounds_ms)} >= {"few", "wide"}
    drifting = row_of("a", [1.0 + 0.01 * i for i in range(200)])
    assert drifting.summary is not None
    assert "drift" in {m.code for m in sample_marks(drifting.summary, drifting.rounds_ms)}


def test_threads_that_did_not_run_are_marked() -> None:
    assert thread_marks(2, 2, 4.0) == []
    assert thread_marks(4, 1, 4.0)[0].reason.startswith("1 of the 4 threads")
    assert "share 2" in thread_marks(4, 4, 2.0)[0].reason


def test_strict_turns_a_mark_into_exit_3(tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    result = bench(str(model), "--runs", "5", "--warmup", "1", "--strict")
    assert result.exit_code == 3
    assert "only 5 runs" in result.output


@pytest.mark.slow
def test_a_net_in_pytorch_is_the_reference_of_its_table() -> None:
    pytest.importorskip("torch")
    result = bench(
        "mobilenet_v1", "--width", "0.25", "--resolution", "64", "--runs", "40", "--json"
    )
    row = json.loads(result.output)["rows"][0]
    assert row["runtime"] == "pytorch"
    assert row["inputs"][0]["shape"] == [1, 3, 64, 64]


def test_the_library_call_takes_what_the_command_takes_by_name(tmp_path: Path) -> None:
    from edgeconv.bench import bench_models

    model = write_model(tmp_path, "a.onnx")
    report = bench_models(model, runs=4, warmup=1, threads=(1, 2), reference=False)
    assert [row.threads for row in report.rows] == [1, 2]
    assert all(row.summary is not None and row.summary.count == 4 for row in report.rows)
    wrong: Any = {"thread": 2}
    with pytest.raises(UsageError, match=r"no option thread: did you mean threads\?"):
        bench_models(model, **wrong)
    with pytest.raises(UsageError, match="runs must be at least 1"):
        bench_models(model, runs=0)
