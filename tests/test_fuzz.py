"""Our own readers on some hundred mutated files, a process each, and what fuzzing found before.

``make fuzz N=1000 SEED=7`` runs whole commands for as long as one likes.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("PIL")
if not sys.platform.startswith("linux"):
    pytest.skip("cases are forked, with Linux's limits", allow_module_level=True)

from dataclasses import replace

from fuzz import (
    archives,
    commands,
    foreign,
    guided,
    harness,
    healthy,
    kills,
    more_lines,
    readers,
    run,
    tasks,
)  # fmt: skip
from fuzz.harness import Result, judge, run_case
from fuzz.kind import Kind
from fuzz.partly import partly_refused
from fuzz.subjects import KINDS, build_base
from fuzz.warm import forked_children

from edgeconv import isolate
from edgeconv.errors import EdgeconvError

READERS = (
    "PIL.Image", "edgeconv.bench.html", "edgeconv.bench.read", "edgeconv.device.bundle",
    "edgeconv.export.hub.onnx_io", "edgeconv.export.quant.explain", "edgeconv.export.tflite.inspect",
    "edgeconv.inspection", "edgeconv.inspection_mil", "edgeconv.models.checkpoint",
    "edgeconv.models.onnx_summary", "edgeconv.parity.baseline", "edgeconv.runtimes.base",
    "edgeconv.runtimes.mil_reference", "edgeconv.truth", "onnx.shape_inference", "safetensors.torch",
)  # fmt: skip

READ = {name: replace(kind, fast=True) for name, kind in KINDS.items() if kind.reader}
EACH, EACH_ONNX = 28, 10
"""Cases of each kind that a reader of ours takes, 500 in all; onnx is asked in a process that is started."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_base(folder)
    for module in READERS:  # loaded once, before the forks; to run one would start its threads
        importlib.import_module(module)
    return folder


@pytest.mark.parametrize("kind", READ)
def test_our_readers_raise_our_errors_alone(kind: str, base: Path, tmp_path: Path) -> None:
    if READ[kind].make and not (base / READ[kind].source).exists():
        pytest.skip(f"{READ[kind].make.split(' --output')[0]} needs a package that is not here")
    count = EACH_ONNX if READ[kind].reader is readers.graph else EACH
    results = [run_case(7_000_000 + n, base, tmp_path / "work", [READ[kind]]) for n in range(count)]
    faulty = [f"seed {r.seed}: {r.faults} {r.said}" for r in results if r.faults]
    assert not faulty, "\n".join(faulty)
    assert {r.code for r in results} & {1, 2}, "the mutations do no harm"


@pytest.mark.parametrize("target", guided.READERS)
def test_a_guided_run_reads_each_format_and_swallows_our_errors_alone(
    target: str, base: Path, tmp_path: Path
) -> None:
    healthy = base / guided.READERS[target][0]
    if not healthy.exists():
        healthy = tmp_path / healthy.name  # one that only whole commands' files hold
        healthy.write_text("{}")
    guided.seeded(tmp_path / "corpus", healthy)
    read = guided.one_input(target, healthy, tmp_path / "place")
    data = (tmp_path / "corpus" / "healthy").read_bytes()
    for found in (data, data[: len(data) // 2], b"", b"\xff" * 64):
        read(found)


def test_a_guided_run_finds_what_a_reader_must_not_raise(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs atheris")
    words = ["truth", "--runs", "50", "--base", str(base), "--corpus", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.guided", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert b"Done 50 runs" in done.stderr


def test_a_healthy_case_has_no_fault_and_a_broken_command_has(base: Path, tmp_path: Path) -> None:
    """The harness sees what it looks for."""
    work = tmp_path / "work"
    work.mkdir()
    (work / ".err").write_text('File "/x/edgeconv/a.py", line 3\nKeyError: 1\nTraceback')
    (work / ".out").write_text("NaN")
    (work / "out").mkdir()
    (work / "out" / "net.onnx").touch()
    (work / "out" / ".edgeconv-set-x").mkdir()
    (work / "PWNED").touch()
    found = judge(Result(1, "onnx", ["inspect", "--json"], 1, 0.1, 9.0), work, set())
    assert [fault.partition(":")[0] for fault in found] == [
        "traceback", "json", "left behind", "final name", "code",
    ]  # fmt: skip
    assert judge(Result(1, "onnx", [], None, 80.0, 9.0), work, set()) == ["hang: over 60 s"]
    assert judge(Result(1, "onnx", [], -11, 0.1, 9.0), work, set())[0] == "signal: SIGSEGV"


def test_files_beside_a_target_refused_by_name_are_no_fault_and_any_others_are() -> None:
    made = ["out/a.evidence", "out/a.evidence/recipe.json", "out/a.onnx", "out/a.onnx.json"]
    verified, refused = "verify     onnx · within budget", "REFUSED    coreml · it has no such"
    closing = "verdict    all within budget; not written: coreml"
    whole = f"{verified}\n{refused}\n{closing}\n"
    told = {"refused": {"coreml": "no"}, "artifacts": [{"target": "onnx"}]}
    assert partly_refused(whole, made)
    assert partly_refused(whole.replace("verify     onnx ·", "verdict    onnx"), made)  # --quiet
    assert partly_refused(json.dumps(told), made)
    assert partly_refused(whole.replace("coreml", "ncnn"), made)
    ncnn = ["out/a.bin", "out/a.evidence", "out/a.param", "out/a.param.json"]
    assert partly_refused(whole.replace("onnx", "ncnn"), ncnn)
    assert not partly_refused(whole.replace("onnx", "ncnn"), ncnn[1:])
    for line in (verified, refused, closing):
        assert not partly_refused(whole.replace(line, ""), made)
    assert not partly_refused(json.dumps({**told, "refused": {}}), made)
    assert not partly_refused(whole.replace("onnx · within", "onnx · cannot be verified"), made)
    for others in (made[:-1], made[2:], [*made, "out/a.mlpackage"], [*made, "out/b.txt"], made[:2]):
        assert not partly_refused(whole, others)


def test_a_run_is_resumed_and_says_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[int] = []

    def fake(seed: int, base: Path, work: Path, kinds: Sequence[Kind]) -> Result:
        ran.append(seed)
        faults = ["hang: over 60 s"] if seed % 4 == 2 else []
        return Result(seed, "onnx", [], 1, 1.0, 100.0 + seed % 10, "", faults)

    monkeypatch.setattr(run, "run_case", fake)
    monkeypatch.setattr(run, "load_all", lambda: None)
    base = tmp_path / "base" / "weights"
    base.mkdir(parents=True)
    (base / "weights.safetensors").touch()
    out = tmp_path / "out.jsonl"
    arguments = ["--seed", "2", "--base", str(base.parent), "--out", str(out)]
    assert run.main([*arguments, "--count", "2"]) == 0
    with out.open("a") as file:
        file.write('{"seed": 20000')  # killed in the middle of a line
    assert run.main([*arguments, "--count", "5"]) == 1
    assert ran == [
        2_000_000,
        2_000_001,
        2_000_002,
        2_000_002,
        2_000_003,
        2_000_004,
    ]  # a fault: again
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("5 cases, 1 with a fault of 1 kinds, highest memory 104 MiB")
    assert said[-1] == "      1 x hang: over 60 s (seed 2000002)"


def test_the_same_seed_makes_the_same_case(base: Path, tmp_path: Path) -> None:
    def made(name: str, place: str) -> tuple[list[str], bytes]:
        work = tmp_path / place
        work.mkdir()
        command = KINDS[name].prepare(Random(5), base, work)
        return command, (work / Path(KINDS[name].source).name).read_bytes()

    for name in ("onnx", "tflite", "manifest"):
        assert made(name, f"{name} a") == made(name, f"{name} b")


def test_a_healthy_line_that_tries_nothing_is_found(base: Path, tmp_path: Path) -> None:
    kind = KINDS["calib npy"]
    dead = replace(kind, commands=("inspect gone.onnx", *kind.commands))
    found = list(healthy.refused(base, tmp_path / "work", [dead]))
    assert [(result.code, result.command) for result in found] == [(2, ["inspect", "gone.onnx"])]


@pytest.mark.long
def test_every_healthy_line_does_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is refused before it reads what its cases change tries nothing: some seventy did once."""
    assert healthy.main(["--base", str(tmp_path / "base")]) == 0, capsys.readouterr().out


def test_later_lines_are_changed_and_logged_at_levels(base: Path, tmp_path: Path) -> None:
    words = "run {base}/int8/tiny_int8.tflite {base}/pics/p00.png"
    made = []
    for seed in range(40):
        own = tmp_path / str(seed)
        shutil.copytree(base / "pics", own / "base" / "pics")
        shutil.copytree(base / "int8", own / "base" / "int8")
        healthy_words = words.format(base=own / "base").split()
        made.append(more_lines.logged(Random(seed), healthy_words, own / "base", own))
    assert all(line[0].startswith("--log-level") for line in made)
    assert any(line[-3:] != made[0][-3:] for line in made)
    assert {line[0] for line in made} & {f"--log-level={level}" for level in more_lines.LEVELS[:4]}


def test_the_files_of_every_task_are_made(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "base"
    shutil.copytree(base, whole)
    asked: list[str] = []
    monkeypatch.setattr(tasks, "_training", lambda *_: None)  # seconds; a campaign begins with it
    tasks.build(whole, asked.append)
    assert "--output" in asked[0]
    later = {
        "unfinished",
        "trained",
        "pte",
        "timed",
        "sweep",
    }  # what trainings and other commands make
    sources = {kind.source for kind in KINDS.values()}
    later |= {"kept", *foreign.FOLDERS}
    assert {s for s in sources if not (whole / s).exists()} <= {
        s for s in sources if s.split("/")[0] in later
    }


def test_archives_tables_and_texts_are_changed_and_stay_of_their_kind(
    base: Path, tmp_path: Path
) -> None:
    """What is said of files of other makers is healthy enough to be read beyond its first bytes."""
    packed = tmp_path / "net.tflite"
    packed.write_bytes((base / "int8/tiny_int8.tflite").read_bytes())
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("labels.txt", "a\nb\n")
        archive.writestr("about.json", "{}")
    (tmp_path / "rows.csv").write_text("file,class\np00.png,1\n")
    (tmp_path / "said.json").write_text(
        json.dumps({"labels": ["a"], "inputs": [{"name": "x"}], "outputs": [{"name": "y"}]})
    )
    for folder in "01":
        (tmp_path / "classes" / folder).mkdir(parents=True)
        (tmp_path / "classes" / folder / "p.png").write_bytes(b"x")
    for mutate, name in ((archives.archive_of, "net.tflite"), (archives.tables_of, "net.tflite"),
                         (foreign.segments_of, "net.tflite"), (foreign.truth_of, "rows.csv"),
                         (foreign.script_of, "said.json"), (foreign.classes_of, "classes")):  # fmt: skip
        made = []
        for seed in range(12):
            target = tmp_path / f"{mutate.__name__}{seed}"
            mutate(Random(seed), tmp_path / name, target)
            made.append(target)
        if name == "classes":
            continue
        assert len({path.read_bytes() for path in made}) > 4
        if mutate is archives.archive_of:
            assert sum(map(zipfile.is_zipfile, made)) > 6
        if mutate is archives.tables_of:
            assert all(path.read_bytes()[4:8] == b"TFL3" for path in made)


def test_a_campaign_forks_the_children_that_isolate_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "only_here", lambda value: [os.getpid(), value], raising=False)
    with forked_children():
        child, value = isolate.call("os:only_here", {"a": 1}, "it")
    assert child != os.getpid()
    assert value == {"a": 1}
    with pytest.raises(EdgeconvError, match="only_here"):
        isolate.call("os:only_here", {}, "it")


def test_the_limits_of_a_case_hold(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that does not end is killed; one that asks for too much memory is told so."""

    def forever(path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr(harness, "LIMIT_S", 0.3)
    kind = replace(READ["truth"], reader=forever)
    assert run_case(1, base, tmp_path / "work", [kind]).faults == ["hang: over 0.3 s"]


def test_what_a_killed_command_says_leaves_and_wrote_is_judged(tmp_path: Path) -> None:
    command = commands.Command(tmp_path, tmp_path, "train it")
    err = tmp_path / ".err"
    err.write_text("epoch 1\nError: ended by SIGTERM\n")
    assert kills.told(143, signal.SIGTERM, command) == []
    assert kills.told(-15, signal.SIGTERM, command) == kills.told(0, signal.SIGTERM, command) == []
    assert kills.told(None, signal.SIGTERM, command)[0].startswith("hang")
    assert kills.told(1, signal.SIGTERM, command)[0].startswith("exit code: 1")
    assert kills.told(130, signal.SIGINT, command)[0].startswith("sentence")
    err.write_text("Traceback")
    assert kills.told(143, signal.SIGTERM, command)[0].startswith("traceback")
    whole = {"a.json": b"{}", "a.html": b"<html></html>\n", "a.xml": b"<a/>", "a.csv": b"a"}
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
        assert commands.sound(tmp_path / name)
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        assert not commands.sound(tmp_path / name)
    for name in ("a.npz", "a.safetensors", "none"):
        assert not commands.sound(tmp_path / name)


def test_what_a_killed_command_leaves_running_is_found_and_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "ORPHANS_S", 0.1)
    left = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(
        commands, "_children", lambda: {left.pid: "sleep"} if left.poll() is None else {}
    )
    assert commands.orphans() == ["sleep"]
    left.wait()
