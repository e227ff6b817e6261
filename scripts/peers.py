"""What other post-training quantizers make of the same graph, pictures and machine (make_results.py)."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.runtimes.onnxrt import open_model
from edgeconv.samples import Feed, Sample

Logits = NDArray[np.float32]
Infer = Callable[[Feed], NDArray[Any]]

GOOGLES = {
    "mobilenet_v2 1.0/224": (
        "tf2_mobilenet_v2_1.0_224_ptq.tflite",
        "mobilenet_v2_1.0_224_quant.tflite",
    ),
    "mobilenet_v1 0.75/192": ("mobilenet_v1_0.75_192_quant.tflite",),
    "mobilenet_v1 0.25/128": ("mobilenet_v1_0.25_128_quant.tflite",),
}
"""Google's own INT8 files of these nets, by the start of a case's title."""


@dataclass(frozen=True)
class Made:
    """One quantizer's file, its seconds of wall time, and how to run it."""

    title: str
    path: Path
    seconds: float | None = None


def quantize_static(title: str, hub: Path, samples: Sequence[Sample], target: Path) -> Made:
    """Run onnxruntime's quantize_static; ``title`` is one of STATIC or SIGNED."""
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization import quantize_static as quantize

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
        def __init__(self) -> None:
            self.feeds = iter(sample.load() for sample in samples)

        def get_next(self) -> Feed | None:
            return next(self.feeds, None)

    start = time.monotonic()
    quantize(str(hub), str(target), Reader(), **_static_options(title))
    return Made(title, target, time.monotonic() - start)


STATIC = ("quantize_static", "quantize_static percentile 99.999", "quantize_static default")
"""Per channel with unsigned activations and min/max or a percentile; and as it is called by default."""
SIGNED = "quantize_static S8S8"
"""Per channel with min/max and signed activations."""


def _static_options(title: str) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    if title.endswith("default"):
        return {}
    options: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QInt8 if title == SIGNED else QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "calibrate_method": CalibrationMethod.MinMax,
    }
    if "percentile" in title:
        options["calibrate_method"] = CalibrationMethod.Percentile
        options["extra_options"] = {"CalibPercentile": 99.999}
    return options


def nncf(python: Path, hub: Path, samples: Sequence[Sample], target: Path) -> Made:
    """Run NNCF's post-training quantization with its defaults, in the environment of ``python``."""
    pictures = target.with_suffix(".npz")
    feeds = [sample.load() for sample in samples]
    names = list(feeds[0])
    stacked: dict[str, Any] = {name: np.stack([feed[name] for feed in feeds]) for name in names}
    np.savez(pictures, **stacked)
    start = time.monotonic()
    script = Path(__file__).with_name("quantize_nncf.py")
    subprocess.run([python, script, hub, pictures, target], check=True, capture_output=True)
    return Made("NNCF", target, time.monotonic() - start)


def run_onnx(path: Path, samples: Sequence[Sample]) -> Logits:
    """Return the first output of every sample."""
    with open_model(path, threads=1) as runner:
        outputs = [next(iter(runner.infer(sample.load()).values()))[0] for sample in samples]
    return np.stack(outputs).astype(np.float32)


def run_google(path: Path, samples: Sequence[Sample]) -> Logits:
    """Return the 1000 scores that one of Google's files gives pictures normalised to -1..1.

    It takes uint8 pictures, channels last and, beside ../shared/imagenet's, turned by 180 degrees.
    """
    from edgeconv.runtimes.litert import open_model as open_tflite

    scores = []
    with open_tflite(path, threads=1) as runner:
        spec = runner.inputs[0]
        for sample in samples:
            picture = next(iter(sample.load().values()))[0]
            pixels = np.rint((picture + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
            outputs = runner.infer({spec.name: pixels[None, ::-1, ::-1]})
            scores.append(next(iter(outputs.values())).reshape(-1)[1:])
    return np.stack(scores).astype(np.float32)
