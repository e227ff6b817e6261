"""A runtime that is named runs the file, in the Python that has it, or is refused in a sentence."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from parity_kit import fp32_export

from edgeconv.cli import main
from edgeconv.runtimes.table import RUNTIMES

pytest.importorskip("onnxruntime")
pytest.importorskip("PIL")

NEWEST = RUNTIMES["onnxruntime-newest"]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A float classifier with a manifest, whose evidence is not asked for here."""
    return fp32_export(tmp_path / "made")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for number in range(2):
        (folder / f"class{number}").mkdir(parents=True)
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"class{number}" / "p.png")
    return folder


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name another Python for the newest onnxruntime; the file that this returns has a line for each start."""
    log, program = tmp_path / "started", tmp_path / "other-python"
    program.write_text(f'#!/bin/sh\necho started >> "{log}"\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv(NEWEST.other_python, str(program))
    return log


FED = ("--preprocessing", "unit")


def test_run_starts_the_python_that_has_the_newest_onnxruntime(
    model: Path, photos: Path, other: Path
) -> None:
    picture = str(photos / "class0" / "p.png")
    result = run("run", str(model), picture, "--runtime", NEWEST.name, *FED)
    assert result.exit_code == 0, result.output
    assert f"({NEWEST.name} " in result.output
    assert other.read_text().count("started") == 2  # what it takes, and the picture
    run("run", str(model), picture, *FED)
    assert other.read_text().count("started") == 2


def test_eval_does_too_and_workers_are_refused(
    model: Path, photos: Path, other: Path, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("file,class\nclass0/p.png,0\nclass1/p.png,1\n", encoding="utf-8")
    words = ("eval", str(model), "--data", str(photos), "--truth", str(truth), "--runtime")
    result = run(*words, NEWEST.name, *FED, "--json")
    assert result.exit_code == 0, result.output
    assert NEWEST.name in json.dumps(json.loads(result.output))
    assert "started" in other.read_text()
    pytest.importorskip("dask")
    shared = run(*words, NEWEST.name, *FED, "--workers", "1")
    assert shared.exit_code == 2, shared.output
    assert "is in another Python, which workers do not start" in said(shared)


def test_without_such_a_python_it_is_refused_by_name(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NEWEST.other_python, raising=False)
    for words in (
        ("run", str(model), str(photos)),
        ("eval", str(model), "--data", str(photos), "--truth", "folders"),
    ):
        result = run(*words, "--runtime", NEWEST.name, *FED)
        assert result.exit_code == 1, result.output
        assert (
            f"name a Python that has onnxruntime, such as its newest version, in {NEWEST.other_python}"
            in said(result)
        )


def test_bench_times_no_runtime_that_only_checks_and_names_none(model: Path) -> None:
    unknown = run("bench", str(model), "--runtime", "nothing", "--runs", "1")
    assert unknown.exit_code == 2
    for row in RUNTIMES.values():
        assert (row.name in said(unknown).replace(",", "").split()) == row.timed, row.name
    refused = run("bench", str(model), "--runtime", NEWEST.name, "--runs", "1")
    assert refused.exit_code == 2
    assert "only checks numbers" in said(refused)


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ("tflite-micro", "tflite-micro runs .tflite, not"),
        ("executorch", "executorch runs .pte, not"),
        ("ncnn", "ncnn runs .param, not"),
        ("nothing", "no runtime is called nothing"),
    ],
)
def test_a_runtime_that_takes_none_of_the_files_is_refused(
    model: Path, also: str, says: str
) -> None:
    result = run("parity", str(model), "--also", also, "--count", "2")
    assert result.exit_code == 2, result.output
    assert says in said(result)


def test_a_file_that_a_named_runtime_does_not_take_is_told(
    model: Path, tmp_path: Path, other: Path
) -> None:
    from edgeconv.parity.cells import plan

    (tmp_path / "any.tflite").write_bytes(b"\0\0\0\0TFL3")
    cells, notes = plan([model, tmp_path / "any.tflite"], also=[NEWEST.name], precision="fp32")
    assert [c.path.suffix for c in cells if c.runtime == NEWEST.name] == [".onnx"]
    assert f"any.tflite does not run in {NEWEST.name}: it takes .onnx" in notes


def test_a_file_that_a_board_has_no_runtime_for_is_told() -> None:
    from edgeconv.judge.outputs import Outputs
    from edgeconv.parity.cells import Cell
    from edgeconv.parity.places import Found, left_out

    def cell(name: str, board: str | None) -> Cell:
        return Cell(name, "int8", Path(name), "onnxruntime", board=board)

    ran: Found = [
        (cell("a.onnx", None), Outputs({}, {})),
        (cell("a.onnx", "pi5"), Outputs({}, {})),
        (cell("a.onnx", "off"), "it does not answer"),
    ]
    files = [Path("a.onnx"), Path("b.mlpackage")]
    assert left_out(files, ran) == ["b.mlpackage does not run on pi5, which has no runtime for it"]


def test_a_32_bit_board_refuses_what_only_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv.device import places
    from edgeconv.errors import UsageError
    from edgeconv.parity.cells import Cell

    monkeypatch.setattr(places, "check_host", lambda: None)
    board = places.EmulatedBoard("pi-32bit")
    nothing: object = None
    with pytest.raises(
        UsageError, match=r"pi-32bit: none of the files runs there: .* runs \.tflite$"
    ):
        board.run([Cell("a", "int8", Path("a.onnx"), "onnxruntime")], nothing, nothing, Path())  # type: ignore[arg-type]


def test_a_python_that_is_none_is_named(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NEWEST.other_python, "/no/such/python")
    result = run("run", str(model), str(photos), "--runtime", NEWEST.name, *FED)
    assert result.exit_code == 2
    assert f"{NEWEST.other_python} names /no/such/python, which is no program" in said(result)
