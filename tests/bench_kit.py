"""Models small enough to bench in a test, written without the onnx package."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.bench.plan import Subject
from edgeconv.bench.results import Report, Row
from edgeconv.bench.statistics import summarize
from edgeconv.formats.onnx_write import model_bytes, tensor_bytes
from edgeconv.machine import describe

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
PEER = SHARED / "peers" / "mobilenet_v1_0.25_128_quant.tflite"


def conv_model(channels: int = 8, size: int = 8) -> bytes:
    """A 1x1 convolution and a ReLU."""
    weight = np.random.default_rng(0).standard_normal((channels, channels, 1, 1))
    shape = (1, channels, size, size)
    return model_bytes(
        [("Conv", ["x", "w"], ["c"]), ("Relu", ["c"], ["y"])],
        [tensor_bytes("w", weight.astype(np.float32))],
        ("x", "float32", shape),
        ("y", "float32", shape),
    )


def write_model(folder: Path, name: str, channels: int = 8, size: int = 8) -> Path:
    """Write a conv_model; skip where onnxruntime is absent."""
    pytest.importorskip("onnxruntime")
    path = folder / name
    path.write_bytes(conv_model(channels, size))
    return path


def subject(path: Path, threads: int = 1, **fields: Any) -> Subject:
    """A row for an .onnx file."""
    return Subject(path.name, "onnxruntime", threads, str(path), **fields)


def report_of(*rows: Row, **fields: Any) -> Report:
    """A report of given rows on this machine."""
    return Report("0", 0.0, describe(), {}, {}, tuple(rows), **fields)


def row_of(label: str, latencies_ms: Any, **fields: Any) -> Row:
    """A row with these latencies, each its own round."""
    times = tuple(float(t) for t in latencies_ms)
    return Row(
        label,
        "onnxruntime",
        "1.0",
        1,
        summary=summarize(times),
        latencies_ms=times,
        rounds_ms=times,
        starts_s=tuple(float(i) for i in range(len(times))),
        **fields,
    )
