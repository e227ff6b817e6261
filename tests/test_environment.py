"""Odd surroundings: no HOME, no TMPDIR, streams closed or full, a folder that is gone, names of any bytes.

Every command ends by itself with one of our exit codes, without a traceback, and does its work where
it can be done. ``--long`` runs the real commands; make test a cut of those that load nothing.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("surroundings of POSIX", allow_module_level=True)


@dataclass(frozen=True)
class Place:
    """``environment``: variables set, or taken away (None). ``shell``: what runs before the command, in
    whose words {edgeconv} stands for it. ``works``: whether the command is to succeed.
    """

    environment: dict[str, str | None] = field(default_factory=dict)
    shell: str = "exec {edgeconv}"
    works: bool = True


PLACES = {
    "plain": Place(),
    "no HOME": Place({"HOME": None, "XDG_CACHE_HOME": None}),
    "a HOME that is not there": Place({"HOME": "/nonexistent/home", "XDG_CACHE_HOME": None}),
    "a HOME that is a file": Place({"HOME": "/etc/passwd", "XDG_CACHE_HOME": None}),
    "a cache that is a device": Place({"EDGECONV_CACHE": "/dev/null"}),
    "no TMPDIR there": Place({"TMPDIR": "/nonexistent/tmp"}),
    "nothing but PATH": Place(shell='exec env -i PATH="$PATH" {edgeconv}'),
    "LANG=C": Place({"LC_ALL": "C", "LANG": "C"}),
    "ASCII streams": Place({"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}),
    "one column": Place({"COLUMNS": "1"}),
    "columns that are none": Place({"COLUMNS": "wide", "LINES": "-3"}),
    "a dumb terminal": Place({"TERM": "dumb", "NO_COLOR": "1"}),
    "stdin closed": Place(shell="exec {edgeconv} <&-"),
    "stdout closed": Place(shell="exec {edgeconv} >&-"),
    "stderr closed": Place(shell="exec {edgeconv} 2>&-"),
    "all closed": Place(shell="exec {edgeconv} <&- >&- 2>&-"),
    "stdout full": Place(shell="exec {edgeconv} >/dev/full", works=False),
    "stderr full": Place(shell="exec {edgeconv} 2>/dev/full"),
    "nobody reads": Place(shell="{edgeconv} | true"),
    "umask 077": Place(shell="umask 077; exec {edgeconv}"),
    "umask 777": Place(shell="umask 777; exec {edgeconv}", works=False),
    "a folder that is gone": Place(shell='mkdir gone; cd gone; rmdir "$PWD"; exec {edgeconv}'),
    "few files at once": Place(shell="ulimit -n 24; exec {edgeconv}"),
    "a name with a newline": Place(shell="mkdir 'a\nb'; cd 'a\nb'; exec {edgeconv}"),
    "a name that is no text": Place(shell="d=$(printf 'a\\377'); mkdir \"$d\"; cd \"$d\"; exec {edgeconv}"),
}  # fmt: skip


def run(place: Place, words: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run edgeconv's ``words`` there; paths among them are absolute."""
    environment = {**os.environ, **{k: v for k, v in place.environment.items() if v is not None}}
    for name in (k for k, v in place.environment.items() if v is None):
        environment.pop(name, None)
    command = f"'{sys.executable}' -P -m edgeconv {words}"
    shell = place.shell.format(edgeconv=command)
    return subprocess.run(
        ["sh", "-c", shell], cwd=folder, env=environment, capture_output=True, timeout=300
    )


def check(place: Place, words: str, folder: Path, fails: bool = False) -> None:
    """Run it and hold it to what every command promises."""
    done = run(place, words, folder)
    said = done.stderr.decode(errors="replace")
    assert done.returncode in ((0, 1, 2, 3) if fails or not place.works else (0,)), said
    assert "Traceback" not in said, said
    assert "internal error" not in said, said
    assert "Exception ignored" not in said, said
    if done.returncode and ">&-" not in place.shell and "2>" not in place.shell:
        assert said.strip().splitlines()[-1].startswith("Error: "), said


@pytest.mark.parametrize("name", list(PLACES)[1::2])
def test_light_commands_work_anywhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    check(PLACES[name], "models", tmp_path / "here")


def test_a_failure_is_a_sentence_whatever_the_streams(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for name in ("all closed", "stdout full", "stderr full"):
        check(PLACES[name], "recipe show gone.json --json", tmp_path / "here", fails=True)


COMMANDS = (
    "export {base}/tiny.onnx --calib {base}/pics --target tflite --output {out}",
    "export {base}/tiny.onnx --int8 --recipe fast --calib {base}/pics --target onnx --output {out} --json",
    "run {base}/int8/tiny_int8.tflite {base}/pics/p00.png",
    "parity {base}/fp32/tiny_fp32.onnx --count 2",
    "inspect {base}/int8/tiny_int8.tflite --tensors",
    "summary {base}/tiny.onnx",
    "bench {base}/fp32/tiny_fp32.onnx --runs 3 --warmup 0 --no-reference",
    "report {base}/int8/tiny_int8.tflite --html {out}.html",
    "doctor --json",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fuzz.subjects import build_base

    folder = tmp_path_factory.mktemp("base")
    build_base(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("name", PLACES)
def test_every_command_works_anywhere(name: str, words: str, base: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    starved = name in ("no TMPDIR there", "few files at once", "a cache that is a device")
    check(
        PLACES[name],
        words.format(base=base, out=tmp_path / "out"),
        tmp_path / "here",
        fails=starved,
    )
