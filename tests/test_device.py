"""A board over SSH, here an OpenSSH server on loopback, and a board without a network."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import report_of, row_of, write_model
from click.testing import CliRunner

from edgeconv.bench.read import report_from_json
from edgeconv.bench.statistics import Interval, Ratio
from edgeconv.bench.watch import Mark
from edgeconv.cli import main
from edgeconv.device import board as boards
from edgeconv.device import job as jobs
from edgeconv.device import wheels
from edgeconv.device.payload import archive, sources
from edgeconv.device.remote import bench_on, side_by_side
from edgeconv.device.ssh import Connection, ConnectionLostError, Host, parse_host
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


def test_our_code_packs_into_the_same_bytes_and_holds_no_weights() -> None:
    found = sources()
    assert archive(found) == archive(list(reversed(found)))
    names = [name for name, _ in found]
    assert "edgeconv/bench/worker.py" in names
    assert "edgeconv/export/__init__.py" in names
    assert all(name.endswith(".py") for name in names)
    assert sum(len(content) for _, content in found) < 4_000_000


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
    assert bad.exit_code == 1
    assert "results.json" in bad.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "python", "runtime"),
    [
        ("aarch64", "3.11", "onnxruntime"),
        ("aarch64", "3.12", "ai-edge-litert"),
        ("aarch64", "3.13", "ai-edge-litert"),
        ("aarch64", "3.13", "onnxruntime"),
        ("armv7l", "3.11", "tflite-runtime"),
    ],
)
def test_every_board_gets_its_wheels(
    architecture: str, python: str, runtime: str, tmp_path: Path
) -> None:
    platform = wheels.Platform(architecture, python)
    try:
        found = wheels.download([runtime], platform, tmp_path)
    except EdgeconvError as error:
        if "connection" in str(error).lower():
            pytest.skip("no package index here")
        raise
    names = " ".join(wheel.name for wheel in found)
    assert runtime.replace("-", "_") in names
    assert "click" in names


@pytest.mark.slow
def test_a_board_that_has_no_wheel_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"no wheels for Python 3\.13 on armv7l"):
        wheels.download(["tflite-runtime"], wheels.Platform("armv7l", "3.13"), tmp_path)


class Server:
    """An OpenSSH server on loopback whose clients find this test's Python as python3."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "user", "stranger"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                check=True,
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "bin").mkdir()
        python = folder / "bin" / "python3"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        key = (folder / "host.pub").read_text().split()
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {key[0]} {key[1]}\n")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n"
            f"PermitRootLogin yes\nSetEnv XDG_CACHE_HOME={folder}/cache"
            f" HOME={folder} PATH={folder}/bin:/usr/bin:/bin\n"  # no .bashrc of ours moves PATH
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        command = [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.05)
        pytest.skip("sshd does not start here")

    def connection(self, key: str = "user", known: str = "known") -> Connection:
        options: tuple[str, ...] = (
            "-i",
            f"{self.folder}/{key}",
            "-o",
            "IdentitiesOnly=yes",
            "-F",
            "none",
        )
        options += ("-o", f"UserKnownHostsFile={self.folder}/{known}")
        return Connection(Host("127.0.0.1", getpass.getuser(), self.port), options)

    def stop(self) -> None:
        """End the server and every connection it holds."""
        os.killpg(self.process.pid, signal.SIGTERM)
        for child in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = child.read_text()
            except OSError:
                continue
            if "(sshd" in text and int(text.rpartition(")")[2].split()[1]) == self.process.pid:
                os.kill(int(child.parent.name), signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.process = self._start()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if not (shutil.which("sshd") or Path("/usr/sbin/sshd").exists()) or not shutil.which("ssh"):
        pytest.skip("no OpenSSH server here")
    folder = tmp_path / "ssh"
    folder.mkdir()
    # this test's own packages are on the "board"; what download would fetch is tested above
    monkeypatch.setattr(boards, "resolve", lambda *_: [])
    monkeypatch.setattr(jobs, "PAUSE_S", 0.5)
    running = Server(folder)
    yield running
    if running.process.poll() is None:
        running.stop()


def quiet(_text: str) -> None:
    """Say nothing."""


@pytest.mark.slow
def test_bench_over_ssh_brings_the_figures_back_and_leaves_no_job_behind(
    server: Server, tmp_path: Path
) -> None:
    model = write_model(tmp_path, "a b.onnx")  # a name that a shell would split
    said: list[str] = []
    for _ in range(2):
        said.clear()
        report = bench_on(
            server.connection(), [model], ["--runs", "40"], tmp_path / "c", said.append
        )
        assert report.rows[0].summary is not None
        assert report.rows[0].summary.count == 40
    assert not any("copying" in line for line in said)  # the second time nothing had changed
    assert list((server.folder / "cache/edgeconv-device/jobs").iterdir()) == []


@pytest.mark.slow
def test_a_pulled_plug_is_survived_and_the_run_goes_on(server: Server, tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    said: list[str] = []
    pulled = False

    def say(text: str) -> None:
        nonlocal pulled
        said.append(text)
        if "%" in text and not pulled:
            pulled = True
            server.stop()
        elif "connection lost" in text and server.process.poll() is not None:
            server.restart()

    report = bench_on(server.connection(), [model], ["--seconds", "3"], tmp_path / "c", say)
    assert pulled
    assert any("connection lost" in line for line in said)
    assert report.rows[0].summary is not None


@pytest.mark.slow
def test_a_board_that_stays_away_says_where_its_result_will_be(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RETRIES", 2)
    model = write_model(tmp_path, "a.onnx")

    def say(text: str) -> None:
        if "%" in text:
            server.stop()

    with pytest.raises(ConnectionLostError, match="its result will be in"):
        bench_on(server.connection(), [model], ["--seconds", "2"], tmp_path / "c", say)


@pytest.mark.slow
def test_wrong_keys_unknown_hosts_and_dead_ports_are_one_sentence_each(server: Server) -> None:
    cases: list[tuple[Connection, str]] = [
        (server.connection(key="stranger"), "refuses the key"),
        (server.connection(known="empty"), "host key is unknown"),
        (Connection(Host("127.0.0.1", "x", 1), ("-F", "none")), "nothing listens"),
        (Connection(Host("board.invalid"), ("-F", "none")), "no host of that name"),
    ]
    for connection, meaning in cases:
        with pytest.raises(EdgeconvError, match=meaning) as caught:
            boards.ask(connection)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_board_that_fails_leaves_the_others_figures(server: Server, tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx")
    both = [server.connection(), server.connection(key="stranger")]
    results = side_by_side(
        both, lambda c, stop: bench_on(c, [model], ["--runs", "40"], tmp_path / "c", quiet, stop)
    )
    assert not isinstance(results[0][1], EdgeconvError)
    assert isinstance(results[1][1], EdgeconvError)


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_half_copied_stays(server: Server, tmp_path: Path) -> None:
    disk = server.folder / "cache"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(EdgeconvError, match="disk is full"):
            bench_on(server.connection(), [write_model(tmp_path, "a.onnx")], [], tmp_path, quiet)
        left = [p.name for p in (disk / "edgeconv-device").glob("*")]
        assert left == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_recorded_outputs_tell_a_changed_model_apart(tmp_path: Path) -> None:
    from edgeconv.device.checks import compare, record

    model = write_model(tmp_path, "a.onnx")
    recorded = record(model, 3)
    assert recorded["input:x"].shape == (3, 1, 8, 8, 8)
    same: dict[str, Any] = compare(model, recorded)
    assert same["outputs"]["y"] == {"max_difference": 0.0, "equal": 1.0, "same_top1": 1.0}
    recorded["output:y"] = recorded["output:y"] + np.float32(1)
    assert compare(model, recorded)["outputs"]["y"]["max_difference"] == pytest.approx(1, rel=1e-5)
