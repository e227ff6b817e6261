"""Boards over SSH for real: an arm64 OpenSSH server with a Pi's files, in a tree that qemu runs.

About two minutes; skipped by name where there is no root, apt, binfmt_misc or package index. The
order matters: the board is set up once, and every later test finds it ready.
"""

import csv
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import parity_kit
import pytest
from bench_kit import write_model
from board_kit import EmulatedPi, emulated_pi
from click.testing import CliRunner, Result

from edgeconv.cli import main
from edgeconv.device import job as jobs
from edgeconv.device.board import ask
from edgeconv.errors import EdgeconvError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedPi]:
    keys = tmp_path_factory.mktemp("keys")
    with emulated_pi(keys) as running:
        yield running


@pytest.fixture(autouse=True)
def ssh_config(pi: EmulatedPi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the user an ssh configuration in which the board is called raspberrypi."""
    pi.be_known(tmp_path, monkeypatch)
    monkeypatch.setattr(jobs, "PAUSE_S", 0.5)


def edgeconv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def ours(pi: EmulatedPi) -> Path:
    """Everything of ours on the board."""
    return pi.home() / ".cache/edgeconv-device"


def test_info_says_what_a_pi_is_and_copies_nothing(pi: EmulatedPi) -> None:
    said = edgeconv("device", "info", "ssh://raspberrypi")
    assert said.exit_code == 0, said.output
    for text in (
        "Raspberry Pi 4 Model B",
        "4 x Cortex-A72",
        "neon",
        "1800 MHz of 1800, ondemand",
        "51 °C",
        "throttled    no",
        "no latency of it will be shown",
    ):
        assert text in said.output
    assert not ours(pi).exists()


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("wrong-key", "it refuses the key: install yours with ssh-copy-id wrong-key"),
        ("unknown", "its host key is unknown or has changed: connect once by hand, ssh unknown"),
        ("off", "nothing listens on its SSH port"),
        ("small", "its disk is full"),
    ],
)
def test_what_keeps_a_board_from_working_is_one_sentence(host: str, sentence: str) -> None:
    said = edgeconv("device", "setup", f"ssh://{host}", "--onnx")
    assert said.exit_code == 1
    (line,) = [line for line in said.output.splitlines() if line.startswith("Error")]
    assert sentence in line


def test_a_full_disk_keeps_nothing_half_copied(pi: EmulatedPi) -> None:
    left = pi.connection(user="small").run("ls -A .cache/edgeconv-device", timeout_s=60.0)
    assert left == b""


def test_setup_copies_once_and_only_what_changed(pi: EmulatedPi) -> None:
    first = edgeconv("device", "setup", "ssh://raspberrypi", "--onnx")
    if "no wheels for" in first.output:
        pytest.skip(f"no package index here: {first.output}")
    assert first.exit_code == 0, first.output
    assert "copying code" in first.output
    assert "raspberrypi is ready: onnxruntime" in first.output
    there = ask(pi.connection()).there
    assert any(name.startswith("onnxruntime-") and "aarch64" in name for name in there)
    again = edgeconv("device", "setup", "ssh://raspberrypi", "--onnx")
    assert "copying" not in again.output


def pull_the_plug_once_it_runs(pi: EmulatedPi, pulled: list[str]) -> None:
    """Wait for a line of progress on the board, cut every connection, and come back later."""
    for _ in range(1200):
        logs = [p for p in (ours(pi) / "jobs").glob("*/log") if "%" in p.read_text()]
        if logs:
            pi.pull_the_plug()
            time.sleep(2.0)
            pulled.append(logs[0].read_text())
            pi.start()
            return
        time.sleep(0.1)


def test_a_bench_survives_a_pulled_plug_beside_a_board_that_fails(
    pi: EmulatedPi, tmp_path: Path
) -> None:
    model, pulled = (
        write_model(tmp_path, "a b.onnx"),
        list[str](),
    )  # a name that a shell would split
    hand = threading.Thread(target=pull_the_plug_once_it_runs, args=(pi, pulled))
    hand.start()
    files = [tmp_path / name for name in ("page.html", "table.csv")]
    said = edgeconv(
        "bench", model, "--seconds", 1, "--device", "ssh://raspberrypi", "--device",
        "ssh://wrong-key", "--html", files[0], "--csv", files[1], "--history", tmp_path / "h",
    )  # fmt: skip
    hand.join()
    assert said.exit_code == 1  # of the board that failed
    assert "Error: wrong-key: it refuses the key" in said.output
    assert pulled
    assert "connection lost, trying again (1)" in said.output
    assert "raspberrypi  a b.onnx" in said.output
    assert "emulated" in said.output
    assert "raspberrypi: Raspberry Pi 4 Model B Rev 1.4, Debian GNU/Linux 12" in said.output
    (row,) = csv.DictReader(files[1].read_text().splitlines())
    assert row["device"] == "raspberrypi"
    assert [row[k] for k in ("median_ms", "mean_ms", "throughput", "load_ms")] == [""] * 4
    assert "emulated" in files[0].read_text()
    assert not (tmp_path / "h").exists()  # emulated results are no history
    assert list((ours(pi) / "jobs").iterdir()) == []


@pytest.mark.long
def test_parity_over_ssh_finds_the_same_integers_and_shows_no_latency(tmp_path: Path) -> None:
    path = parity_kit.int8_export(tmp_path, count=2)
    said = edgeconv("parity", path, "--device", "ssh://raspberrypi", "--json")
    start = said.output.index("{")
    found = json.loads(said.output[start:])
    row = next(r for r in found["rows"] if r["label"].endswith("on raspberrypi"))
    assert row["error"] is None, row
    assert row["emulated"] == "raspberrypi"
    assert "_s" not in json.dumps(row["runtime"])
    assert said.exit_code == 0, said.output


def test_a_run_that_vanishes_is_told_from_a_lost_connection(pi: EmulatedPi) -> None:
    job = jobs.new_job(pi.connection())
    job.start("x", ["http.server", "--bind", "127.0.0.1", "0"])
    pi.connection().run(f"kill -s KILL -- -$(cat {job.folder}/session)", timeout_s=60.0)
    with pytest.raises(EdgeconvError, match="ended without a result"):
        job.wait(lambda _: None, 120.0)
    job.clean()
