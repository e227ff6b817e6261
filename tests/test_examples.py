"""The examples run as they stand; the camera is a stand-in."""

import os
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


@pytest.mark.slow
def test_a_module_becomes_a_file_that_the_camera_example_runs(tmp_path: Path) -> None:
    for package in ("torch", "jinja2", "ai_edge_litert"):
        pytest.importorskip(package)
    (tmp_path / "pictures").mkdir()
    for picture in sorted((ROOT / "calib_data" / "test").glob("*.png"))[::60]:
        shutil.copy(picture, tmp_path / "pictures" / picture.name)
    (tmp_path / "picamera2.py").write_text(CAMERA)
    tools = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }

    def run(*words: str) -> str:
        command = [sys.executable, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run(str(ROOT / "examples" / "own_classifier.py"), "pictures", "out")
    assert ".html" in said
    file = next((tmp_path / "out").glob("*.tflite"))
    lines = run(str(ROOT / "examples" / "pi_camera.py"), str(file), "2").splitlines()
    assert sum("frames/s" in line for line in lines) == 2
