"""The examples run as they stand; the camera is a stand-in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CAMERA = """
import numpy as np

class Picamera2:
    def create_preview_configuration(self, main):
        return main
    def configure(self, how):
        self.size = how["size"]
    def start(self):
        pass
    stop = start
    def capture_array(self):
        return np.zeros((self.size[1], self.size[0], 3), np.uint8)
"""


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(folder), "PATH": path}


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / words[0]), *words[1:]], cwd=folder,
        env=environment(folder), capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_a_sweep_names_what_is_worth_shipping(tmp_path: Path) -> None:
    for picture in sorted((ROOT / "calib_data" / "test").glob("*.png"))[::12]:
        label = tmp_path / "labelled" / picture.stem.rpartition("_")[0]
        label.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, label)
    said = run(tmp_path, "choose_net.py", "labelled", "found", "50")
    assert re.search(r"^\d+\.\d%  \d+\.\d+ ms  cells/\S+\.tflite$", said, re.MULTILINE)


@pytest.mark.slow
def test_a_module_becomes_a_file_that_the_camera_example_runs(tmp_path: Path) -> None:
    for package in ("torch", "jinja2", "ai_edge_litert"):
        pytest.importorskip(package)
    (tmp_path / "pictures").mkdir()
    for picture in sorted((ROOT / "calib_data" / "test").glob("*.png"))[::60]:
        shutil.copy(picture, tmp_path / "pictures" / picture.name)
    (tmp_path / "picamera2.py").write_text(CAMERA)
    said = run(tmp_path, "own_classifier.py", "pictures", "out")
    assert ".html" in said
    file = next((tmp_path / "out").glob("*.tflite"))
    lines = run(tmp_path, "pi_camera.py", str(file), "2").splitlines()
    assert sum("frames/s" in line for line in lines) == 2
    hub = next((tmp_path / "out").glob("*.evidence/hub.onnx"))
    said = run(tmp_path, "own_samples.py", str(hub), "again")
    assert all(f"hub_int8{suffix} (" in said for suffix in (".tflite", ".onnx"))
    assert "within budget" in said
