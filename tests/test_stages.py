"""An export and its --dry-run walk the same stages, and what needs no work is refused before any."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv import EdgeconvError, export_model, plan_export

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgeconv.export import lower
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import save_model, to_onnx


def net() -> Graph:
    graph = Graph("net", 18, ["x"], ["y"])
    graph.declare("x", (1, 4), np.float32)
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    graph.add_constant("w", weights)
    from edgeconv.export.graph import Node

    graph.nodes.append(Node("Gemm", "first", ["x", "w"], ["y"], {"transB": 1}))
    graph.declare("y", (1, 3), np.float32)
    return graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(save_model(to_onnx(net())))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(0, 1, (40, 4)).astype("f4"))
    return path


def names(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines[: next(_table(lines))]]


def _table(lines: list[str]) -> Any:
    return (number for number, line in enumerate(lines) if line.startswith("operator"))


def test_dry_run_names_the_stages_that_a_run_has(model: Path) -> None:
    folder, calib = model.parent, str(model.parent / "x.npz")
    int8: dict[str, Any] = {"precision": "int8", "recipe": "fast", "allow_poor_calibration": True}
    asked: list[dict[str, Any]] = [
        {"targets": ("tflite", "onnx")},
        {**int8, "calib": calib, "targets": ("onnx",)},
        {
            "precision": "int8",
            "targets": ("onnx", "tflite"),
            "recipe": folder / "1" / "m_int8.evidence" / "recipe.json",
            "calib": calib,
        },
    ]
    for number, options in enumerate(asked):
        output = folder / str(number)
        planned = names(plan_export(model, output=output, **options))
        assert not output.exists()
        report = export_model(model, output=output, **options)
        assert planned == [line.stage for line in report.stages], options
    assert planned.count("calibrate") == 0  # a recipe of a file is not made again


def test_a_recipe_of_another_net_is_refused_by_the_dry_run_too(model: Path) -> None:
    recipe = model.parent / "r.json"
    empty = {"name": "r", "form": "asymmetric", "activations": {}, "float_nodes": [], "notes": {}}
    one = {
        "shape": [1, 1], "axis": 0, "scales": [1.0], "float_bias": [0.0], "bias": [0],
        "values_base64": "AA==",
    }  # fmt: skip
    recipe.write_text(json.dumps({"edgeconv_recipe": 1, **empty, "weights": {"other": one}}))
    with pytest.raises(EdgeconvError, match="has weights for other"):
        plan_export(model, precision="int8", recipe=recipe, calib=model.parent / "x.npz")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"calib": "nothing"}, "calib nothing does not exist"),
        ({"calib": "none.py:feeds"}, "calib none.py does not exist"),
        ({"verify": "nothing.npz"}, "verify nothing.npz does not exist"),
        ({"labels": "names.txt"}, "labels names.txt does not exist"),
        ({"calib": "x.npz", "truth": "t.csv"}, "truth t.csv does not exist"),
        ({"output": "m.onnx"}, "is a file, not a folder"),
        ({"output": "m.onnx/below"}, "is a file, not a folder"),
        ({"precision": "int8", "recipe": "no.json"}, "no.json"),
        ({"precision": "int8", "io": "int8", "embed_preprocessing": True}, "takes raw"),
    ],
)
def test_what_needs_no_work_is_refused_before_any(
    model: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(model.parent)
    before = sorted(os.listdir())

    def began(_: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(lower, "open_source", began)
    for call in (export_model, plan_export):
        with pytest.raises(EdgeconvError, match=says):
            call(model, **options)
    assert sorted(os.listdir()) == before


def test_a_missing_package_is_said_before_any_work(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util as finder

    found = finder.find_spec
    monkeypatch.setattr(
        finder, "find_spec", lambda name, *a: None if name == "flatbuffers" else found(name, *a)
    )
    with pytest.raises(EdgeconvError, match=r"needs flatbuffers.*pip install 'edgeconv\[export\]'"):
        plan_export(model, targets="tflite")


def test_an_unknown_node_to_keep_in_float_is_refused_before_calibration(model: Path) -> None:
    calib = model.parent / "x.npz"
    with pytest.raises(EdgeconvError, match="no node is called nope: the net has first"):
        plan_export(model, precision="int8", calib=calib, keep_float=("nope",))
