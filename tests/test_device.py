"""What goes to a board and comes back, without a board: addresses, wheels, archives, bundles."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import report_of, row_of, write_model
from click.testing import CliRunner

from edgeconv.bench.history import keep
from edgeconv.bench.html import devices_page
from edgeconv.bench.read import report_from_json
from edgeconv.bench.statistics import Interval, Ratio
from edgeconv.bench.text import devices_to_csv
from edgeconv.bench.watch import Mark
from edgeconv.cli import main
from edgeconv.device import board as boards
from edgeconv.device import provision, wheels
from edgeconv.device.ssh import Connection, Host, parse_host
from edgeconv.errors import EdgeconvError, UsageError


def test_a_host_is_read_as_ssh_writes_it() -> None:
    assert parse_host("ssh://pi@raspberrypi:2222") == Host("raspberrypi", "pi", 2222)
    assert parse_host("ssh://board") == Host("board")
    for text in ("pi@board", "ssh://", "ssh://a b", "ssh://-oProxyCommand=x", "ssh://h;reboot"):
        with pytest.raises(UsageError, match="--device"):
            parse_host(text)


def test_wheels_are_named_for_every_glibc_and_numpy_is_the_systems_on_32_bits() -> None:
    pi = wheels.Platform("aarch64", "3.11")
    assert "manylinux2014_aarch64" in pi.tags()
    assert "manylinux_2_28_aarch64" in pi.tags()
    assert "numpy" in wheels.requirements(["onnxruntime"], pi)
    assert "numpy<2" in wheels.requirements(["tflite-runtime"], pi)
    small = wheels.Platform("armv7l", "3.11")
    assert wheels.runtime_for([".tflite"], small) == ["tflite-runtime"]
    assert not any("numpy" in item for item in wheels.requirements(["tflite-runtime"], small))
    with pytest.raises(UsageError, match="32-bit"):
        wheels.runtime_for([".onnx"], small)
    with pytest.raises(UsageError, match="riscv64"):
        wheels.Platform("riscv64", "3.11").tags()


def test_a_report_comes_back_from_its_json() -> None:
    row = row_of(
        "a", [1.0, 2.0] * 50, ratio=Ratio(0.5, Interval(0.4, 0.6)), marks=(Mark("hot", "x"),)
    )
    report = report_of(row, references={"a": "b"})
    text = json.dumps(report.to_json())
    assert json.dumps(report_from_json(json.loads(text)).to_json()) == text
    with pytest.raises(EdgeconvError, match="no report"):
        report_from_json({"edgeconv_bench": 1})


def test_a_bundle_runs_with_one_command_and_its_results_are_read_here(tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    target = tmp_path / "b.tar.gz"
    cli = CliRunner()
    packed = cli.invoke(main, ["bundle", str(model), "--output", str(target)])
    assert packed.exit_code == 0, packed.output
    first = target.read_bytes()
    again = cli.invoke(main, ["bundle", str(model), "--output", str(target)])
    assert again.exit_code == 2
    assert "--force" in again.output
    cli.invoke(main, ["bundle", str(model), "--output", str(target), "--force"])
    assert target.read_bytes() == first
    with tarfile.open(target) as tar:
        tar.extractall(tmp_path / "board", filter="data")
    ran = subprocess.run(
        [sys.executable, "run.py", "--runs", "40", "--warmup", "1"],
        cwd=tmp_path / "board" / "b",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    results = tmp_path / "board" / "b" / "results.json"
    check = json.loads(results.read_text())["checks"]["a.onnx"]
    assert check["outputs"]["y"]["max_difference"] == 0
    told = json.loads(cli.invoke(main, ["bundle", "--show", str(results), "--json"]).output)
    assert told["checks"].keys() == json.loads(results.read_text())["checks"].keys()
    shown = cli.invoke(main, ["bundle", "--show", str(results)])
    assert shown.exit_code == 0, shown.output
    assert "same top-1 in 100 %" in shown.output


def test_a_bundle_refuses_what_no_board_runs(tmp_path: Path) -> None:
    cli = CliRunner()
    assert cli.invoke(main, ["bundle"]).exit_code == 2
    assert (
        cli.invoke(main, ["bundle", "x.mlpackage", "--output", str(tmp_path / "b")]).exit_code == 2
    )
    bad = cli.invoke(main, ["bundle", "--show", str(tmp_path / "none.json")])
    assert bad.exit_code == 2
    assert "none.json does not exist" in bad.output


def test_recorded_outputs_tell_a_changed_model_apart(tmp_path: Path) -> None:
    from edgeconv.device.checks import compare, record

    model = write_model(tmp_path, "a.onnx")
    recorded = record(model, 3)
    assert recorded["input:x"].shape == (3, 1, 8, 8, 8)
    same: dict[str, Any] = compare(model, recorded)
    assert same["outputs"]["y"] == {"max_difference": 0.0, "equal": 1.0, "same_top1": 1.0}
    recorded["output:y"] = recorded["output:y"] + np.float32(1)
    assert compare(model, recorded)["outputs"]["y"]["max_difference"] == pytest.approx(1, rel=1e-5)


def test_wheels_that_would_fill_the_disk_are_not_sent(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("thing.py", b"#" * (3 << 20))
    full = boards.Board(wheels.Platform("aarch64", "3.11"), "", free_mib=2)
    with pytest.raises(EdgeconvError, match=r"pi@board: its disk is full: thing .* 3 MiB, 2 MiB"):
        provision._copy_wheels(Connection(Host("board", "pi")), full, [wheel], lambda _: None)


def test_an_answer_of_the_index_serves_until_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def index(runtimes: list[str], _platform: wheels.Platform, folder: Path) -> list[Path]:
        asked.append(runtimes)
        wheel = folder / f"{runtimes[0]}-{len(asked)}.whl"
        folder.mkdir(parents=True, exist_ok=True)
        wheel.touch()
        return [wheel]

    monkeypatch.setattr(wheels, "download", index)
    pi = wheels.Platform("aarch64", "3.11")
    first = wheels.resolve(["onnxruntime"], pi, tmp_path)
    assert wheels.resolve(["onnxruntime"], pi, tmp_path) == first
    assert len(asked) == 1
    again = wheels.resolve(["onnxruntime"], pi, tmp_path, fresh=True)
    assert again != first
    again[0].write_bytes(b"another")
    with pytest.raises(EdgeconvError, match=r"2\.whl is not the file that was downloaded"):
        wheels.resolve(["onnxruntime"], pi, tmp_path)
    for path in tmp_path.rglob("*.whl"):
        path.unlink()  # someone emptied the cache
    assert all(path.is_file() for path in wheels.resolve(["onnxruntime"], pi, tmp_path))


def test_the_figures_of_two_boards_are_no_repeats_of_each_other(tmp_path: Path) -> None:
    report = report_of(row_of("a", [1.0 + 0.001 * (i % 7) for i in range(400)]))
    for _ in range(3):
        keep(report, tmp_path, "pi@one")
    (judged,) = keep(report, tmp_path, "pi@one").regressions
    assert judged["earlier"] == 3
    (judged,) = keep(report, tmp_path, "pi@two").regressions
    assert judged["earlier"] == 0


def test_one_page_and_one_csv_hold_several_boards() -> None:
    report = report_of(row_of("a", [1.0, 2.0] * 50))
    page = devices_page([("pi@one", report), ("pi@two", report)])
    assert page.count("<h1>") == 2
    assert page.count("<h2>Machine") == 2
    lines = devices_to_csv([("pi@one", report), ("pi@two", report)]).splitlines()
    assert [line.partition(",")[0] for line in lines] == ["device", "pi@one", "pi@two"]
