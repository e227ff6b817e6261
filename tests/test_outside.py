"""No command opens a socket, or changes a file outside its output, its cache and TMPDIR, native code included."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")
if not sys.platform.startswith("linux") or shutil.which("cc") is None:
    pytest.skip("needs Linux and a C compiler", allow_module_level=True)

import numpy as np
from quant_nets import residual_net

from edgeconv.export.hub.onnx_io import save_model, to_onnx

COMMANDS = """
export net.onnx --int8 --recipe fast --target onnx --target tflite --calib calib.npz --output out --html
quantize net.onnx --recipe fast --calib calib.npz --output out/quantized
inspect out/net_int8.tflite
inspect out/net_int8.onnx --json
summary net.onnx
recipe show out/net_int8.evidence/recipe.json
parity out/net_int8.tflite --count 2 --html out/page.html
bench out/net_int8.onnx --runs 2 --warmup 0 --no-reference --history out/history
report out/net_int8.tflite --html out/report.html
bundle out/net_int8.tflite --output out/b.tar.gz
models
doctor
"""
RUN = """
import sys
from edgeconv.cli import main
for line in sys.stdin.read().strip().splitlines():
    try:
        main(line.split())
    except SystemExit as end:
        if end.code not in (0, 3):
            raise RuntimeError(f"{line}: exit code {end.code}") from end
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What notes such calls, compiled."""
    path = tmp_path_factory.mktemp("outside") / "outside.so"
    source = Path(__file__).with_name("outside.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


def noted(library: Path, place: Path, code: str, given: str) -> list[str]:
    """Run Python ``code`` in ``place``/work and return what it noted; output, cache and TMPDIR are allowed."""
    folders = {name: place / name for name in ("work", "home", "tmp", "cache")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    allowed = [
        folders["work"] / "out",
        folders["tmp"],
        folders["cache"],
        Path("/dev/"),
        Path("/proc/"),
    ]
    log = place / "log"
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, cwd=folders["work"], capture_output=True, text=True,
        env={**os.environ, "HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"]),
             "EDGECONV_CACHE": str(folders["cache"]), "PYTHONDONTWRITEBYTECODE": "1",
             "LD_PRELOAD": str(library), "OUTSIDE_LOG": str(log),
             "OUTSIDE_FOLDERS": "".join(f"{folder}:" for folder in allowed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return log.read_text().splitlines() if log.exists() else []


def test_calls_are_noted_in_children_and_native_code_too(library: Path, tmp_path: Path) -> None:
    code = """
import os, socket, subprocess
for call in (lambda: socket.socket(), lambda: socket.getaddrinfo("localhost", 1)):
    try:
        call()
    except OSError:
        pass
open("mine", "w").close()
os.mkdir("out")
open("out/ours", "w").close()
subprocess.run(["touch", "theirs"], check=True)
"""
    found = noted(library, tmp_path, code, "")
    assert "socket internet" in found
    assert "getaddrinfo localhost" in found
    work = tmp_path / "work"
    changed = [line for line in found if line.startswith("open ")]
    assert changed == [f"open {work}/mine", f"open {work}/theirs"]


@pytest.mark.slow
def test_no_command_reaches_a_network_or_writes_elsewhere(library: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/net.onnx").write_bytes(save_model(to_onnx(residual_net())))
    walk = np.random.default_rng(0).normal(0, 0.2, (12, 3, 16, 16)).cumsum(axis=3)
    np.savez(tmp_path / "work/calib.npz", x=walk.astype(np.float32))
    unnamed = f"open {tmp_path}/work"  # whether it can be written is tried by a file without a name
    assert set(noted(library, tmp_path, RUN, COMMANDS)) <= {unnamed}
    assert not list((tmp_path / "home").iterdir())
    assert not list((tmp_path / "tmp").iterdir())
