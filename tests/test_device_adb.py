"""An Android phone by adb: a program of that name that runs the shell here, and Debian's adb with a device of ours."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import adb_kit
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.device.adb import Phone
from edgeconv.device.ssh import Connection, ConnectionLostError, parse_host
from edgeconv.errors import EdgeconvError, UsageError

FAKE = """#!/bin/sh
[ "$1" = -s ] || exit 9
case "$2" in
  phone|127.0.0.1:5555) ;;
  sleeping) echo "error: device offline" >&2; exit 1 ;;
  *) echo "error: device '$2' not found" >&2; exit 1 ;;
esac
[ "$3 $4" = "shell -T" ] || exit 9
shift 4
HOME=/ PATH={bin}:/usr/bin:/bin exec sh -c "$*"
"""
"""adb joins its arguments with spaces and hands them to the phone's shell; Android's home is /."""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the program onto the path; return the folder that stands for /data/local/tmp."""
    there, folder = tmp_path / "there", tmp_path / "bin"
    there.mkdir()
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    (folder / "adb").write_text(FAKE.replace("{bin}", str(folder)))
    (folder / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr("edgeconv.device.adb.PREPARE", f"export HOME={there}; ")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return there


def test_a_phone_is_named_by_its_serial() -> None:
    assert parse_host("adb://R58M-12.a") == Phone("R58M-12.a")
    assert parse_host("adb://127.0.0.1:5555") == Phone("127.0.0.1:5555")
    for text in ("adb://", "adb://-s", "adb://a b", "adb://a;reboot"):
        with pytest.raises(UsageError, match="adb://SERIAL"):
            parse_host(text)


def test_a_phone_that_is_not_there_is_told_by_adbs_first_call_too() -> None:
    """That call starts a server, and says so before it says what is wrong."""
    missing = "error: device 'A' not found\n"
    for said in (
        missing,
        "* daemon not running; starting now at tcp:5037\n* daemon started successfully\n" + missing,
    ):
        assert Phone("A").is_lost(1, said)
    assert not Phone("A").is_lost(1, "* ls: x: No such file\n")


def test_bytes_exit_codes_and_words_come_back(adb: Path) -> None:
    connection = Connection(parse_host("adb://phone"))
    every = bytes(range(256))
    assert connection.run("cat", every) == every
    assert (
        connection.run("echo \"$HOME 'two  blanks' $((1+1))\"")
        == f"{adb} 'two  blanks' 2\n".encode()
    )
    with pytest.raises(EdgeconvError, match="phone: it went wrong") as failed:
        connection.run("echo it went wrong >&2; exit 3")
    assert not isinstance(failed.value, ConnectionLostError)
    with pytest.raises(ConnectionLostError, match="gone: adb knows no such device: adb devices"):
        Connection(parse_host("adb://gone")).run("true")
    with pytest.raises(ConnectionLostError, match="sleeping: it is offline"):
        Connection(parse_host("adb://sleeping")).run("true")


def test_what_a_phone_is_comes_back_as_of_a_board(adb: Path) -> None:
    done = CliRunner().invoke(main, ["device", "info", "adb://127.0.0.1:5555", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in json.dumps(said)


def test_without_adb_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeconvError, match="apt install adb"):
        Connection(parse_host("adb://phone")).run("true")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[adb_kit.Device]:
    """A device that the system's own adb talks to, by a server of its own."""
    if shutil.which("adb") is None:
        pytest.skip("needs adb: apt install adb")
    there, folder = tmp_path / "there", tmp_path / "bin"
    there.mkdir()
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("HOME", str(tmp_path))  # adb keeps its key there
    monkeypatch.setattr("edgeconv.device.adb.PREPARE", f"export HOME={there}; ")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with adb_kit.device({"HOME": "/", "PATH": f"{folder}:{os.defpath}"}) as found:
        yield found


def test_debians_adb_hands_bytes_exit_codes_and_errors_through(phone: adb_kit.Device) -> None:
    connection = Connection(parse_host(f"adb://{phone.serial}"))
    every = bytes(range(256)) * 4096
    assert connection.run("cat", every) == every
    assert connection.run("echo \"'two  blanks' $((1+1))\"") == b"'two  blanks' 2\n"
    with pytest.raises(EdgeconvError, match="it went wrong") as failed:
        connection.run("echo it went wrong >&2; exit 3")
    assert not isinstance(failed.value, ConnectionLostError)
    assert all(name.startswith("shell,v2") and "raw" in name for name in phone.opened)
    with pytest.raises(ConnectionLostError, match="gone: adb knows no such device: adb devices"):
        Connection(parse_host("adb://gone")).run("true")


def test_debians_adb_says_what_a_phone_is_and_that_it_went(phone: adb_kit.Device) -> None:
    done = CliRunner().invoke(main, ["device", "info", f"adb://{phone.serial}", "--json"])
    assert done.exit_code == 0, done.output
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in json.dumps(json.loads(done.stdout))
    phone.close()
    with pytest.raises(ConnectionLostError, match=phone.serial):
        Connection(parse_host(f"adb://{phone.serial}")).run("sleep 0.1; true")
