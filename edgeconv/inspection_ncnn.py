"""What is inside ncnn's pair of files: its layers and its borders, as the .param says them."""

from collections import Counter
from pathlib import Path
from typing import Any

from edgeconv.artifact import load_artifact
from edgeconv.formats.ncnn_file import read_pair

COMPUTE = ("Convolution", "Deconvolution", "InnerProduct", "MatMul", "Gemm")
"""How the kinds of layers begin that are convolutions and products."""
SCALED = 8
"""The parameter that says that scales of INT8 follow a layer's weights."""


def look_into_ncnn(path: Path) -> dict[str, Any]:
    """Return the fields of an Inspection. The .bin is measured against the layers, and not read.

    Raises EdgeconvError where either file is missing or damaged.
    """
    found, artifact = read_pair(path), load_artifact(path)
    compute = [layer for layer in found.layers if layer.kind.startswith(COMPUTE)]
    known = None if artifact is None else artifact.manifest
    sides: dict[str, dict[str, list[int] | None]] = {
        "inputs": {n: None if s is None else [1, *s] for n, s in found.inputs.items()},
        "outputs": dict.fromkeys(found.outputs),
    }
    if artifact is not None:
        for side, specs in zip(sides, (artifact.inputs, artifact.outputs), strict=True):
            sides[side] = {spec.name: list(spec.shape) for spec in specs}
    return {
        "form": "param",
        **{
            side: tuple({"name": n, "shape": s, "dtype": "float32"} for n, s in ends.items())
            for side, ends in sides.items()
        },
        "histogram": dict(sorted(Counter(layer.kind for layer in found.layers).items())),
        "compute": len(compute),
        "int8_compute": sum(bool(layer.int(SCALED)) for layer in compute),
        "per_channel": None,
        "transposes": sum(layer.kind == "Permute" for layer in found.layers),
        "conversions": sum(layer.kind in ("Quantize", "Dequantize") for layer in found.layers),
        "description": known and {key: known.get(key) for key in ("precision", "net")},
        "read_by": "the .param itself; a batch of one stands before ncnn's own axes",
    }
