"""Quantize HUB.onnx on PICTURES.npz with NNCF's defaults: ``python quantize_nncf.py HUB PICTURES TARGET``.

Runs in an environment of its own (``pip install nncf onnx onnxruntime``), apart from edgeconv's.
"""

import sys

import nncf
import numpy as np
import onnx

NEWEST_IR = 10
"""What NNCF 3.4's onnxruntime reads."""


def main(hub: str, pictures: str, target: str) -> None:
    """Write the quantized model."""
    stored = np.load(pictures)
    count = len(stored[stored.files[0]])
    feeds = [{name: stored[name][index] for name in stored.files} for index in range(count)]
    model = onnx.load(hub)
    model.ir_version = min(model.ir_version, NEWEST_IR)
    onnx.save(nncf.quantize(model, nncf.Dataset(feeds), subset_size=count), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
