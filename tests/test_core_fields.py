"""The ends of every field of a manifest and a recipe, and which records of the core are not changed."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
from json_kit import put

from edgeconv.errors import EdgeconvError
from edgeconv.manifest_schema import DESCRIPTION, DTYPES, MANIFEST, NMS, TRAINED
from edgeconv.recipe import Activation, Recipe, Weights
from edgeconv.recipe_schema import RECIPE
from edgeconv.schema import checked
from edgeconv.tensors import Quantization, TensorSpec

TENSOR = {
    "name": "x",
    "shape": [1, 3],
    "dtype": "int8",
    "layout": "other",
    "quantization": {"scale": 0.5, "zero_point": 0},
}
PREPROCESSING = {"mean": [0.5], "std": [0.5], "crop": 0.9, "size": [8, 8], "embedded": False}
BOXES = {"matched": {"share": 0.5, "interval": [0.1, 0.9]}}
FULL: dict[str, Any] = {
    "manifest": {
        "sha256": "a", "target": "onnx", "precision": "int8", "inputs": [TENSOR], "outputs": [TENSOR], "preprocessing": PREPROCESSING,
        "labels": ["a"], "evidence": {"folder": "f", "files": {}}, "verification": {"boxes": BOXES}, "graph": {}, "net": {},
        "nms": {"head": "ssd", "final": "ssd-nms", "verified": "v", "iou": 0.5, "score": 0.5, "most": 9},
    },
    "trained": {
        "net": {"source": "mobilenet_v2"}, "preprocessing": PREPROCESSING, "labels": ["a", "b"],
        "accuracy": {"top1": 70.0, "dataset": "d", "source": "s"},
    },
    "described": {"preprocessing": PREPROCESSING, "net": {}},
    "nms": {"head": "ssd", "final": "ssd-nms", "verified": "v", "iou": 0.5, "score": 0.5, "most": 9},
    "recipe": {
        **Recipe(
            "std", "asymmetric", {"x": Activation(0.1, 0, -1.0, 1.0)},
            {"c": Weights(np.ones((1, 1), np.int8), np.ones(1, np.float32), np.ones(1, np.int32), np.ones(1, np.float32))},
        ).to_json(),
        "notes": {
            "layers": {"c": {"clip_rate": 0.0, "weight_error": 0.1, "noise": 0.1, "added": 0.1}},
            "noise": {"x": {"share": 0.5, "channels": 3, "worst_channel": 0, "worst_share": 0.2}},
            "candidates": [{"candidate": "a", "form": "b", "loss": 0.1, "sqnr_db": 9.0, "agreement": 1.0}],
            "histograms": {"x": {"low": 0.0, "high": 1.0, "counts": [1]}},
        },
    },
}  # fmt: skip
CHECKS = {
    "manifest": MANIFEST,
    "trained": TRAINED,
    "described": DESCRIPTION,
    "nms": NMS,
    "recipe": RECIPE,
}
INF = float("inf")
FINITE = ([3.4e38, -3.4e38, 0], [3.41e38, -3.41e38, INF, "1"])
NOTED = ([INF, -1.0], ["1", None])
SHARE = ([0.0, 1e30, INF, None], [-0.1, 1.1e30, "1"])
BOXED = "manifest.verification.boxes.matched"

FIELDS: dict[str, tuple[list[Any], list[Any]]] = {
    "manifest.preprocessing.mean": ([[-1000], [1000, 0.5]], [[-1001], [1001], []]),
    "manifest.preprocessing.std": ([[1e-6], [1000]], [[0.9e-6], [1001], [-1], []]),
    "manifest.preprocessing.crop": ([0.01, 100, "letterbox"], [0.009, 101, "bars", -1]),
    "manifest.preprocessing.size": ([[1, 1 << 16]], [[0, 8], [8, (1 << 16) + 1], [8], [8, 8, 8]]),
    "manifest.preprocessing.embedded": ([True], [1, "yes", ...]),
    "manifest.preprocessing.colour": (["RGB", "BGR"], ["rgb", None]),
    "manifest.preprocessing": ([None], [[], ...]),
    "manifest.inputs": ([[TENSOR, TENSOR]], [[], None]),
    "manifest.outputs": ([[TENSOR]], [[], None]),
    "manifest.inputs.0.shape": ([[-1, 1 << 31], []], [[-2], [(1 << 31) + 1]]),
    "manifest.inputs.0.dtype": (list(DTYPES), ["object", "float", ...]),
    "manifest.inputs.0.layout": (["nchw", "nhwc", "other"], ["chw", ...]),
    "manifest.inputs.0.name": (["x"], [1, ...]),
    "manifest.inputs.0.quantization": ([None], [[], ...]),
    "manifest.inputs.0.quantization.scale": ([1e-30], [0.0, -1, INF, ...]),
    "manifest.inputs.0.quantization.zero_point": ([-(1 << 31), 1 << 31], [-(1 << 31) - 1, (1 << 31) + 1, 0.5, ...]),
    "manifest.inputs.0.quantization.offset": ([-1.5], ["1"]),
    "manifest.precision": (["fp32", "fp16", "int8"], ["int4", ...]),
    "manifest.labels": ([None, []], [[1], ...]),
    "manifest.sha256": (["b"], [1, ...]),
    "manifest.target": (["b"], [1, ...]),
    "manifest.evidence.folder": (["a", "a.b"], ["", ".", "..", "a/b", "a\0b", "/", ...]),
    "manifest.evidence.files": ([{"a": "b"}], [{"a": 1}, ...]),
    "manifest.evidence": ([], [...]),
    "manifest.frozen_inputs": ([{"a": [1, [2]]}], [[]]),
    "manifest.softmax": ([True, False], [1, None]),
    "manifest.probabilities": ([True, False], [1, None]),
    "manifest.net": ([None, {}], [[]]),
    "manifest.net.source": (["a"], [1]),
    "manifest.versions": ([None, {"a": None, "b": "1"}], [{"a": 1}]),
    "manifest.graph": ([None, {}, {"rewrites": 3}], [[]]),
    "manifest.graph.compute": ([0, None], [-1, 0.5]),
    "manifest.graph.int8_compute": ([0, None], [-1, 0.5]),
    "manifest.graph.transposes": ([0, None], [-1, 0.5]),
    "manifest.verification": ([None, {}], [[]]),
    "manifest.verification.figures": ([None, {"y": {"top1": -1, "agreement_top1": 1, "reference_top1": 2, "other": "a"}}],
                                      [{"y": {"top1": "a"}}, {"y": {"agreement_top1": "a"}}, {"y": {"reference_top1": "a"}}]),
    "manifest.verification.pictures": ([None, 0], [-1]),
    "manifest.verification.explained": ([None, {"a": 0.0}], [{"a": -0.1}]),
    "manifest.verification.steps": ([None, {"a": 1e-9}], [{"a": 0.0}]),
    "manifest.verification.boxes": ([None], [{}]),
    f"{BOXED}.share": ([0.0, 1.0], [-0.1, 1.1, ...]),
    f"{BOXED}.interval": ([[0.0, 1.0], ...], [[0.0], [0, 0, 1], [0, 1.1], [-0.1, 1]]),
    "manifest.cuts": ([None, {"a": [0, 1]}, {"a": [0, 1, 2]}], [{"a": [1]}, {"a": [-1, 1]}]),
    "manifest.whole": ([None, {"a": "labels", "b": "amounts", "c": "kept", "d": "signal"}], [{"a": "other"}]),
    "manifest.weights": ([None, {}, {"source": None}, {"source": "a"}], [{"source": 1}]),
    "manifest.calibration": ([None, {}, {"origin": None}, {"origin": "a"}], [{"origin": 1}]),
    "manifest.recipe": ([None, {}, {"name": None}, {"name": "a"}], [{"name": 1}]),
    "manifest.nms": ([None], [{}]),
    "manifest.files": ([{"a": "b"}], [{"a": 1}]),
    "nms.head": (["yolov8", "yolov5", "ssd"], ["yolo", ...]),
    "nms.final": (["ssd-nms", "coreml-nms"], ["nms", ...]),
    "nms.verified": (["v"], ["a/b", ...]),
    "nms.iou": ([1e-9, 2], [0.0, ...]),
    "nms.score": ([1e-9, 2], [0.0, ...]),
    "nms.most": ([1], [0, ...]),
    "trained.net": ([{"source": "a", "width": 0.5, "groups": 1, "ratio": 1}],
                    [{}, {"source": 1}, {"source": "a", "width": "b"}, {"source": "a", "groups": 0}, {"source": "a", "ratio": 0}]),
    "trained.preprocessing": ([PREPROCESSING], [None, ...]),
    "trained.labels": ([["a", "b"]], [["a"], ...]),
    "trained.accuracy.top1": ([0, 100], [-0.1, 100.1, ...]),
    "trained.accuracy.dataset": (["a"], [1, ...]),
    "trained.accuracy.source": (["a"], [1, ...]),
    "described.net": ([None, {}, {"source": "a"}, ...], [{"source": 1}]),
    "described.precision": (["a"], [1]),
    "described.softmax": ([True], [1]),
    "described.probabilities": ([True], [1]),
    "described.preprocessing": ([None, ...], [{}]),
    "described.labels": ([None, ["a"]], [[1]]),
    "described.frozen_inputs": ([{"a": 1}], [[]]),
    "recipe.name": (["a"], [1, ...]),
    "recipe.form": (["zero-point-free", "asymmetric"], ["symmetric", ...]),
    "recipe.activations": ([{}], [[], ...]),
    "recipe.activations.x.scale": FINITE,
    "recipe.activations.x.zero_point": ([-(2**63), 2**63 - 1], [0.5, ...]),
    "recipe.activations.x.low": ([-1e300], [INF, ...]),
    "recipe.activations.x.high": ([1e300], [INF, ...]),
    "recipe.activations.x.fixed": ([True, ...], [1]),
    "recipe.activations.x.final": ([True, ...], [1]),
    "recipe.weights": ([{}], [[], ...]),
    "recipe.weights.c.shape": ([[0, 1 << 31]], [[-1], [(1 << 31) + 1], ...]),
    "recipe.weights.c.axis": ([0, 7], [-1, 8, ...]),
    "recipe.weights.c.scales": ([[3.4e38]], [[3.41e38], ...]),
    "recipe.weights.c.float_bias": ([[3.4e38]], [[3.41e38], ...]),
    "recipe.weights.c.bias": ([[-(1 << 31), (1 << 31) - 1]], [[-(1 << 31) - 1], [1 << 31], ...]),
    "recipe.weights.c.values_base64": (["a"], [1, ...]),
    "recipe.float_nodes": ([["a"]], [[1], ...]),
    "recipe.notes": ([{}], [[], ...]),
    "recipe.notes.layers": ([{}, ...], [{"c": {}}]),
    "recipe.notes.layers.c.clip_rate": NOTED,
    "recipe.notes.layers.c.weight_error": NOTED,
    "recipe.notes.layers.c.noise": SHARE,
    "recipe.notes.layers.c.added": SHARE,
    "recipe.notes.noise.x.share": ([0.0, 1e30], [-0.1, 1.1e30, ...]),
    "recipe.notes.noise.x.channels": ([1], [0, ...]),
    "recipe.notes.noise.x.worst_channel": ([0], [-1, ...]),
    "recipe.notes.noise.x.worst_share": ([0.0, 1e30], [-0.1, 1.1e30, ...]),
    "recipe.notes.candidates.0.candidate": (["a"], [1, ...]),
    "recipe.notes.candidates.0.form": (["a"], [1, ...]),
    "recipe.notes.candidates.0.loss": NOTED,
    "recipe.notes.candidates.0.sqnr_db": NOTED,
    "recipe.notes.candidates.0.agreement": ([INF, None, ...], ["1"]),
    "recipe.notes.histograms.x.low": FINITE,
    "recipe.notes.histograms.x.high": FINITE,
    "recipe.notes.histograms.x.counts": ([[0], [1 << 40] * 1000], [[], [0] * 1001, [-1], [(1 << 40) + 1]]),
    "recipe.equalized": ([{"x": [3.4e38]}, ...], [{"x": [3.41e38]}, {"x": 1}]),
    "recipe.float_outputs": ([{"onnx": ["x"]}, ...], [{"onnx": [1]}]),
    "recipe.copies": ([{"x": [1, 1 << 10]}, ...], [{"x": [0]}, {"x": [(1 << 10) + 1]}]),
    "recipe.free_bias": ([{"c": [3.4e38]}, ...], [{"c": [3.41e38]}]),
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_takes_what_lies_within_its_ends_alone(field: str) -> None:
    kind, *keys = field.split(".")
    place = tuple(int(key) if key.isdigit() else key for key in keys)
    taken, refused = FIELDS[field]
    for value in taken:
        checked(put(FULL[kind], place, value), CHECKS[kind], "it")
    for value in refused:
        with pytest.raises(EdgeconvError, match=f"^it: {keys[0]}"):
            checked(put(FULL[kind], place, value), CHECKS[kind], "it")


CHOICES = {
    "manifest.precision": "fp32, fp16, int8", "manifest.inputs.0.layout": "nchw, nhwc, other", "manifest.preprocessing.colour": "RGB, BGR",
    "manifest.inputs.0.dtype": "float32, float16, float64, int8, uint8, int16, int32, int64, bool", "manifest.whole.y": "labels, amounts, kept, signal",
    "nms.head": "yolov8, yolov5, ssd", "nms.final": "ssd-nms, coreml-nms", "recipe.form": "zero-point-free, asymmetric",
}  # fmt: skip


@pytest.mark.parametrize("field", CHOICES)
def test_choices_are_said_in_order(field: str) -> None:
    kind, *keys = field.split(".")
    place = tuple(int(key) if key.isdigit() else key for key in keys)
    data = {**FULL[kind], "whole": {}} if "whole" in field else FULL[kind]
    with pytest.raises(EdgeconvError, match=f'is "x", not one of {CHOICES[field]}$'):
        checked(put(data, place, "x"), CHECKS[kind], "it")


CHANGED = {
    "artifact": (), "tensors": (), "recipe": (), "adapt": (), "export.qdq.emit": ("_Emitter",), "export.qdq.read": (), "export.qdq.strip": ("Stripped",),
    "export.qdq.tensors": ("QdqTensors",), "export.integer.counts": (), "export.integer.pair": ("Pair",), "export.quant.budget": (),
    "export.quant.calibration": (), "export.quant.candidates": (), "export.quant.contest": ("Contest",), "export.quant.copies": (),
    "export.quant.explain": (), "export.quant.fit": ("LayerFit",), "export.quant.float_run": (), "export.quant.gather": ("TensorStats",),
    "export.quant.islands": (), "export.quant.judge": (), "export.quant.observe": ("Observation",), "export.quant.stream": (), "models.checkpoint": (),
}  # fmt: skip
"""Module -> its records that are filled step by step; all others are made once."""


@pytest.mark.parametrize("module", CHANGED)
def test_records_are_made_once_but_for_those_that_are_filled(module: str) -> None:
    for package in ("onnx", "torch") if "." in module else ():
        pytest.importorskip(package)
    held = vars(importlib.import_module(f"edgeconv.{module}")).values()
    own = [c for c in held if dataclasses.is_dataclass(c) and c.__module__ == f"edgeconv.{module}"]
    loose = [c.__name__ for c in own if isinstance(c, type) and not c.__dataclass_params__.frozen]  # type: ignore[attr-defined]
    assert tuple(loose) == CHANGED[module]


def test_what_is_left_out_of_a_record_is_nothing() -> None:
    spec = TensorSpec("x", (1,))
    assert (spec.dtype, spec.layout, spec.quantization) == ("float32", "other", None)
    assert Quantization(1.0, 0).offset == 0.0
    held = Activation(1.0, 0, 0.0, 1.0)
    assert (held.fixed, held.final) == (False, False)
    one = np.ones(1, np.float32)
    assert Weights(np.ones(1, np.int8), one, np.ones(1, np.int32), one).axis == 0
    bare = Recipe("x", "asymmetric", {}, {})
    assert (bare.float_nodes, bare.notes, bare.equalized, bare.copies, bare.free_bias) == (
        (),
        {},
        {},
        {},
        {},
    )
