"""What a file's recipe promises: the integers that this very file stores, its outputs' included."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv import check_parity, export_model
from edgeconv.artifact import load_artifact
from edgeconv.export.graph import Graph
from edgeconv.export.half_promise import half_limits, rounded
from edgeconv.export.hub.onnx_io import load_own, save_model, to_onnx
from edgeconv.export.verify import Expected
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.run import run_feeds
from edgeconv.judge.verdict import compare
from edgeconv.runtimes.onnxrt import open_model


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


STEEP = 250.0
"""How many times what differs is smaller than what cancels: halves leave 20 to 30 dB of it."""


@pytest.fixture(scope="module")
def steep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write x [1, 16] -> (B + D) x - B x = y [1, 6], and samples: halves leave little of the small D."""
    folder = tmp_path_factory.mktemp("steep")
    rng = np.random.default_rng(0)
    large, small = rng.normal(0, 1, (2, 16, 6))
    weights = {"a": large + small / STEEP, "b": -large}
    shapes = {"x": (1, 16), "y": (1, 6)}
    nodes = [helper.make_node("Gemm", ["x", n], [f"{n}_x"], f"by_{n}") for n in weights]
    nodes.append(helper.make_node("Sum", ["a_x", "b_x"], ["y"], "sum"))
    borders = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    values = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "steep", borders[:1], borders[1:], values)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "steep.onnx")
    np.savez(folder / "x.npz", x=rng.normal(size=(50, 16)).astype(np.float32))
    return folder


@pytest.mark.parametrize("target", ["tflite", pytest.param("coreml", marks=pytest.mark.long)])
def test_half_precision_is_held_to_what_it_keeps_of_this_net(
    target: str, steep: Path, tmp_path: Path
) -> None:
    """A net that enlarges what is rounded is no broken file; export and parity say so alike."""
    made = export_model(
        steep / "steep.onnx",
        targets=(target,),
        precision="fp16",
        verify=str(steep / "x.npz"),
        output=tmp_path / "out",
    )
    (artifact,) = made.artifacts
    own = artifact.verdict.halves["y"]
    got = artifact.verdict.figures["y"]["half_sqnr_db"]
    assert artifact.verdict, artifact.verdict.verdict.missed
    assert own["half_sqnr_db"] <= got < DEFAULTS["fp16"].limits["half_sqnr_db"]
    known = load_artifact(artifact.path)
    assert known is not None
    assert known.manifest["verification"]["halves"]["y"] == own
    assert f"{own['half_sqnr_db']:.1f} dB are asked" in "\n".join(made.notes)
    assert check_parity([artifact.path]).matrix.exit_code == 0


@pytest.mark.parametrize("tensors", [False, True])
def test_what_a_net_keeps_of_halves_names_faults_still(steep: Path, tensors: bool) -> None:
    """A product's weights 0.1 % larger, a fifth of what differs, depart from what halves leave."""
    graph = load_own(steep / "steep.onnx")
    feeds = [{"x": row[None]} for row in np.load(steep / "x.npz")["x"]]

    def run(net: Graph) -> dict[str, np.ndarray]:
        with open_model(save_model(to_onnx(net)), optimize=False) as runner:
            return run_feeds(runner, feeds, runner.inputs, runner.outputs)[0]

    expected = Expected(feeds, run(graph), None)
    limits = half_limits(graph, expected, 1, tensors=tensors)
    assert 10.0 < limits["y"]["half_sqnr_db"] < 27.0
    budget = replace(DEFAULTS["fp16"], outputs=limits)
    assert compare(expected.outputs, run(rounded(graph, tensors=tensors)), budget=budget)
    graph.constants["a"] = 1.001 * graph.constants["a"]
    faulty = compare(expected.outputs, run(rounded(graph, tensors=tensors)), budget=budget)
    assert "half_sqnr_db" in {finding.metric for finding in faulty.missed}


def test_what_stays_in_float32_is_not_rounded_in_the_promise(steep: Path) -> None:
    graph = load_own(steep / "steep.onnx")
    kept = rounded(graph, tensors=True, wide={"by_a", "by_b", "sum"})
    assert np.array_equal(kept.constants["a"], graph.constants["a"])
    assert [n.op for n in kept.nodes] == ["Cast", "Cast", "Gemm", "Gemm", "Sum"]
