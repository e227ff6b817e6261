"""Export and parity come to one verdict on every form of a file: borders, pixels, softmax, batches, crops."""

from pathlib import Path
from typing import Any

import pytest
from parity_kit import agree

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("coremltools")

from edgeconv import export_model
from edgeconv.parity.api import check_parity

INT8: dict[str, Any] = {
    "precision": "int8",
    "recipe": "fast",
    "calib_count": 20,
    "allow_poor_calibration": True,
}
THREE = ("onnx", "tflite", "coreml")
FLOATS = ("onnx", "tflite", "coreml", "executorch", "ncnn")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax, INT8": ("mobilenet_v2", {**INT8, "softmax": True, "targets": THREE}),
    "softmax, FP16": (
        "mobilenet_v2",
        {"precision": "fp16", "softmax": True, "targets": ("tflite", "coreml")},
    ),
    "pixels, INT8": (
        "shufflenet_v1",
        {**INT8, "embed_preprocessing": True, "targets": THREE},
    ),
    "pixels, FP32": (
        "mobilenet_v1",
        {"precision": "fp32", "embed_preprocessing": True, "targets": FLOATS},
    ),
    "image, INT8": ("mobilenet_v1", {**INT8, "image_input": True, "targets": ("coreml",)}),
    "image, FP16": (
        "mobilenet_v1",
        {"precision": "fp16", "image_input": True, "targets": ("coreml",)},
    ),
    "batch, INT8": ("mobilenet_v1", {**INT8, "input_shape": (4, 3, 32, 32), "targets": THREE}),
    "batch, FP32": (
        "ghostnet",
        {"precision": "fp32", "input_shape": (3, 3, 32, 32), "targets": ("onnx", "tflite")},
    ),
    "letterbox, INT8 borders": (
        "ghostnet",
        {**INT8, "crop": "letterbox", "io": "int8", "targets": THREE[:2]},
    ),
    "crop and another scaling, UINT8 borders": (
        "mobilenet_v2",
        {**INT8, "crop": 0.5, "preprocessing": "imagenet", "io": "uint8", "targets": THREE[:2]},
    ),
    "small, for arm": (
        "shufflenet_v1",
        {**INT8, "prefer": "size", "cpu": "arm", "targets": THREE[:2]},
    ),
    "less range, copies": (
        "mobilenet_v1",
        {**INT8, "cpu": "x86", "reduce_range": True, "copies": 0.1, "targets": THREE},
    ),
    "layers in float": (
        "mobilenet_v1",
        {**INT8, "keep_float": ("worst:2",), "targets": THREE},
    ),
    "weights in INT8": (
        "mobilenet_v1",
        {"precision": "int8", "int8_weights": True, "targets": ("coreml",)},
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_a_file_has_one_verdict(case: str, tmp_path: Path) -> None:
    """Of the export and of parity, in the runtime that verified it."""
    net, options = CASES[case]
    if "input_shape" not in options:
        options = {**options, "resolution": 32}
    report = export_model(net, output=tmp_path, threads=1, verify_count=14, **options)
    assert len(report.artifacts) == len(options["targets"])
    _one_truth(report, case)


def _one_truth(report: Any, case: str) -> None:
    matrix = check_parity([made.path for made in report.artifacts]).matrix
    for made in report.artifacts:
        runtime = made.verdict.runtime.split()[0]
        row = next(r for r in matrix.rows if r.label == f"{made.path.name} · {runtime}")
        agree(made.verdict.verdict, row.verdict, f"{case}: {made.target}")
    every = all(bool(made.verdict.verdict) for made in report.artifacts)
    assert every is all(row.ok for row in matrix.rows if row.stage in ("fp32", "fp16", "int8"))
