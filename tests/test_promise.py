"""What a file's recipe promises: the integers that this very file stores, its outputs' included."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeconv import check_parity, export_model


def dense(path: Path) -> Path:
    """Write x [1, 16] -> Gemm -> Relu -> Gemm -> y [1, 6]."""
    rng = np.random.default_rng(0)
    shapes = {"a": (16, 16), "b": (16, 6)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "b"], ["y"], "last"),
    ]
    borders = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, w])
        for n, w in (("x", 16), ("y", 6))
    ]
    graph = helper.make_graph(nodes, "dense", borders[:1], borders[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_an_output_that_leaves_its_range_is_the_recipes_loss_where_the_file_stores_integers(
    tmp_path: Path,
) -> None:
    """onnxruntime gives the last product in float, the .tflite clips it at the calibrated range."""
    net = dense(tmp_path / "dense.onnx")
    first, last = (numpy_helper.to_array(w) for w in onnx.load(net).graph.initializer)
    seen = np.random.default_rng(1).uniform(-1, 1, (48, 16)).astype(np.float32)
    seen[0] = np.sign(seen[0])
    np.savez(tmp_path / "seen.npz", x=seen)
    np.savez(
        tmp_path / "unseen.npz", x=np.sign((first @ last).T)
    )  # the same inputs' range, more out
    report = export_model(
        net,
        targets=("onnx", "tflite"),
        precision="int8",
        recipe="fast",
        calib=str(tmp_path / "seen.npz"),
        verify=str(tmp_path / "unseen.npz"),
        output=tmp_path / "out",
    )
    onnxs, tflites = (a.verdict.figures["y"] for a in report.artifacts)
    assert tflites["sqnr_db"] < onnxs["sqnr_db"] - 5.0
    assert max(f["below_floor_db"] for f in (onnxs, tflites)) < 3.0
    rows = check_parity([a.path for a in report.artifacts]).matrix.rows
    assert sum(row.stage == "recipe" for row in rows) == 2
    assert all(row.step is None or bool(row.step) for row in rows if row.stage == "int8")
