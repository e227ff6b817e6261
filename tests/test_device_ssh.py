"""A board over SSH: an OpenSSH server on loopback, with this machine's own Python behind it."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_kit import write_model
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.device import board as boards
from edgeconv.device import job as jobs
from edgeconv.device import provision
from edgeconv.device.remote import bench_on, side_by_side
from edgeconv.device.ssh import Connection, ConnectionLostError, Host
from edgeconv.errors import EdgeconvError


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
        """End the server and every connection it holds; a second time does nothing."""
        if self.process.poll() is not None:
            return
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
    # this test's own packages are on the "board"; what resolve fetches, test_device_arm.py checks
    monkeypatch.setattr(provision, "resolve", lambda *_: [])
    monkeypatch.setattr(jobs, "PAUSE_S", 0.5)
    running = Server(folder)
    yield running
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


@pytest.mark.long  # test_device_arm.py pulls one beside a board that fails
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


@pytest.mark.slow
def test_an_interrupt_brings_the_figures_so_far_back_and_cleans_up(
    server: Server, tmp_path: Path
) -> None:
    model, stopping = write_model(tmp_path, "a.onnx"), threading.Event()
    rounds = set[str]()

    def say(text: str) -> None:
        if "%" in text and "opening" not in text:
            rounds.add(text)
        if len(rounds) > 1:  # the first has come to its end
            stopping.set()

    report = bench_on(
        server.connection(), [model], ["--seconds", "40"], tmp_path / "c", say, stopping
    )
    assert report.partial
    assert report.rows[0].summary is not None
    assert list((server.folder / "cache/edgeconv-device/jobs").iterdir()) == []


@pytest.mark.slow
def test_against_and_every_file_work_on_a_board_too(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_model(tmp_path, "a.onnx")
    large = write_model(tmp_path, "b.onnx", channels=64, size=32)
    options = server.connection().options
    monkeypatch.setattr("edgeconv.device.ssh.Connection", lambda host: Connection(host, options))
    monkeypatch.setenv("EDGECONV_CACHE", str(tmp_path / "cache"))
    files = {name: tmp_path / f"out.{name}" for name in ("html", "csv")}
    said = CliRunner().invoke(
        main,
        ["bench", str(small), "--against", str(large), "--runs", "400", "--warmup", "3", "--json"]
        + ["--device", f"ssh://{getpass.getuser()}@127.0.0.1:{server.port}", "-q"]
        + [f"--{name}={path}" for name, path in files.items()]
        + ["--history", str(tmp_path / "history")],
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    (report,) = json.loads(said.stdout).values()
    row = next(row for row in report["rows"] if row["label"].startswith("a.onnx"))
    assert row["ratio"]["value"] < 0.9
    assert "Round by round" in files["html"].read_text()
    assert files["csv"].read_text().count("127.0.0.1") == 2
    assert len(list((tmp_path / "history").glob("*.json"))) == 1
