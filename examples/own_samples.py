"""Calibration samples of your own making: edgeconv export model.onnx --int8 --calib own_samples.py:samples.

For what is no folder of pictures: sound, sensors, tensors that another program prepared.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import edgeconv

COUNT, SIZE = 32, 32


def samples() -> Iterator[np.ndarray]:
    """Yield the model's input, one sample at a time, as float32 in its own shape; replace by your data."""
    rng = np.random.default_rng(0)
    for _ in range(COUNT):
        waves = rng.uniform(0.05, 0.4, (3, 1, 1)) * np.arange(SIZE)[None, :, None]
        yield (np.sin(waves + np.arange(SIZE) / rng.uniform(2, 9)))[None].astype(np.float32)


def main(model: Path, output: Path) -> None:
    """Convert an .onnx file on these samples, compare both files in every runtime, time them."""
    here = f"{__file__}:samples"
    report = edgeconv.export_model(
        str(model),
        targets=("tflite", "onnx"),
        precision="int8",
        calib=here,
        output=output,
        force=True,
    )
    files = [made.path for made in report.artifacts]
    print(edgeconv.check_parity(files, count=8))
    for row in edgeconv.bench_models(files, seconds=0.2).rows:
        print(row.label, row.summary and f"{row.summary.median:.3f} ms")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
