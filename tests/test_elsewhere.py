"""Where there is no Unix: nothing is imported or called that Windows lacks, and text is UTF-8 by name."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from coreml_kit import convolution_net

from edgeconv.system import Printed, crash, end_tree, start_apart

ROOT = Path(__file__).resolve().parents[1]
OTHERS = frozenset(["tarfile", "Image"])
"""What has an ``open`` of its own, which takes no encoding."""
SHIPPED = ("edgeconv", "export", "models", "demo", "scripts", "examples")


def calls_without_encoding(text: str) -> Iterator[int]:
    """Yield the line of every call that reads or writes text as this machine happens to encode it."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", "")
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = dict(enumerate(node.args)) | {k.arg: k.value for k in node.keywords}
        mode = given.get("mode", given.get(0 if isinstance(node.func, ast.Attribute) else 1))
        texts = mode is None or (isinstance(mode, ast.Constant) and "b" not in str(mode.value))
        if (
            (name == "read_text" and not node.args)
            or (name == "write_text" and len(node.args) == 1)
            or (name == "open" and texts and owner not in OTHERS)
            or (name in {"run", "Popen"} and {"text", "universal_newlines"} & given.keys())
        ):
            yield node.lineno


def test_text_is_read_and_written_as_utf8_by_name() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in SHIPPED
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents)
        for line in calls_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_the_search_for_calls_without_an_encoding_finds_them() -> None:
    wrong = "open(p)\np.open('w')\np.read_text()\np.write_text(t)\nsubprocess.run(c, text=True)\n"
    right = "open(p, 'rb')\nos.open(p, 0)\np.read_text('utf-8')\nopen(p, encoding='ascii')\n"
    assert list(calls_without_encoding(wrong + right)) == [1, 2, 3, 4, 5]


REHEARSED = """
import importlib, pkgutil, sys
import edgeconv
from edgeconv.cli import main

for found in pkgutil.walk_packages(edgeconv.__path__, "edgeconv."):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as missing:  # an extra that is not installed here
            assert not missing.name.startswith("edgeconv"), missing
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
    except SystemExit as ended:
        assert not ended.code, line
"""
COMMANDS = """
export net.onnx --int8 --calib some.npz --recipe fast --target tflite --target onnx --output out
export net.onnx --int8 --calib some.npz --recipe fast --target tflite --output out --force --fresh
parity out/net_int8.tflite out/net_int8.onnx --html parity.html
bench out/net_int8.tflite --seconds 0.05 --html bench.html
report out/net_int8.tflite --html report.html
snippet out/net_int8.tflite --output app
sweep net.onnx --precision int8 --recipe fast --target tflite --calib some.npz --seconds 0.05 --output found
doctor
"""


@pytest.mark.slow
def test_commands_work_without_what_windows_lacks(tmp_path: Path) -> None:
    onnx.save(convolution_net(), tmp_path / "net.onnx")
    steps = np.random.default_rng(0).normal(size=(8, 3, 16, 16))
    np.savez(tmp_path / "some.npz", x=steps.cumsum(2).cumsum(3).astype(np.float32))
    there = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).with_name("elsewhere")),
        "PYTHONWARNDEFAULTENCODING": "1",
        "EDGECONV_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),  # a process with locks takes one without for dead
    }
    done = subprocess.run(
        [sys.executable, "-c", REHEARSED], input=COMMANDS.strip(), cwd=tmp_path, env=there,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in (
        "parity.html",
        "bench.html",
        "report.html",
        "out/net_int8.tflite",
        "found/results.json",
    ):
        assert (tmp_path / name).is_file(), done.stdout
    assert not list(tmp_path.glob("out/.*"))


def test_what_a_child_prints_comes_piece_by_piece_and_ends() -> None:
    script = "import os, sys; os.write(1, b'a'); sys.stdin.readline(); os.write(1, b'b')"
    child = start_apart(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    printed = Printed(child.stdout)
    assert printed.piece(60.0) == b"a"
    assert printed.piece(0.0) is None
    child.stdin.close()
    assert [printed.piece(60.0), printed.piece(60.0), printed.piece(60.0)] == [b"b", b"", b""]
    end_tree(child)
    printed.close()
    assert crash(child.returncode) is None


def test_a_crash_is_told_by_its_signal_or_by_windows_code() -> None:
    assert crash(-9) == "SIGKILL, most likely for want of memory"
    assert crash(0xC00000FD) == "code 0xC00000FD, a stack overflow"
    assert crash(0xC0000374) == "code 0xC0000374"
    assert [crash(code) for code in (0, 1, 3, 137)] == [None] * 4
