"""What a Raspberry Pi's camera sees, by an exported .tflite: python pi_camera.py FILE.tflite [FRAMES].

Needs picamera2 (apt install python3-picamera2), numpy and ai-edge-litert; the program that
``edgeconv snippet FILE.tflite`` writes does the preprocessing.
"""

import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image


def load_program(model: Path, folder: Path) -> ModuleType:
    """Write the snippet of ``model`` into ``folder`` and import it."""
    command = ["edgeconv", "snippet", str(model), "--output", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    written = said.stdout.strip()
    spec = importlib.util.spec_from_file_location("program", written)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def main(model: Path, frames: int) -> None:
    """Print the best class of each frame, and frames a second."""
    from picamera2 import Picamera2

    with tempfile.TemporaryDirectory() as folder:
        program = load_program(model, Path(folder))
        run = program.Model()
        camera = Picamera2()
        shape = {"size": (640, 480), "format": "BGR888"}  # picamera2's name for R, G, B in memory
        camera.configure(camera.create_preview_configuration(main=shape))
        camera.start()
        try:
            for _ in range(frames):
                start = time.perf_counter()
                pixels = program.crop(Image.fromarray(camera.capture_array()))
                scores = next(iter(run(**{program.INPUT: program.to_input(pixels)}).values()))[0]
                best = int(np.argmax(scores))
                label = program.LABELS[best] if hasattr(program, "LABELS") else f"class {best}"
                print(f"{label:20} {1 / (time.perf_counter() - start):5.1f} frames/s")
        finally:
            camera.stop()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
