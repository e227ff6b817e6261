"""Outputs that eight bits are too few for compute in float."""

from pathlib import Path

import numpy as np
import parity_kit as kit
import pytest
from graph_kit import model_of

from edgeconv import export_model
from edgeconv.export.graph import Node
from edgeconv.export.prepare import prepare
from edgeconv.export.quant.engine import quantize

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("offset", "in_float"), [(0.0, False), (500.0, True), (-500.0, True)])
def test_a_regression_output_far_from_zero_keeps_its_digits(offset: float, in_float: bool) -> None:
    graph = kit.small_net()
    graph.constants["fc.bias"] = graph.constants["fc.bias"] + np.float32(offset)
    prepared = prepare(graph, int8=True).graph
    feeds = [{"input": row[None]} for row in kit.pictures(20)]
    made = quantize(prepared, feeds, recipe="fast")
    assert ("fc" in made.recipe.float_nodes) is in_float
    assert "head" not in made.recipe.float_nodes


@pytest.mark.parametrize(("spread", "in_float"), [(4.0, False), (0.05, True)])
def test_probabilities_of_nearly_equal_classes_keep_their_digits(
    spread: float, in_float: bool
) -> None:
    """INT8 prescribes steps of 1/256, of which values between 0.2 and 0.3 use few."""
    graph = kit.small_net()
    graph.constants["fc.weight"] = graph.constants["fc.weight"] * np.float32(spread)
    graph.constants["fc.bias"] = graph.constants["fc.bias"] * np.float32(spread)
    logits = graph.outputs[0]
    graph.declare("probabilities", graph.shape(logits), np.float32)
    graph.nodes.append(Node("Softmax", "softmax", [logits], ["probabilities"], {"axis": 1}))
    graph.outputs = ["probabilities"]
    feeds = [{"input": row[None]} for row in kit.pictures(20)]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    assert ("softmax" in made.recipe.float_nodes) is in_float
    assert "fc" not in made.recipe.float_nodes


@pytest.mark.parametrize(("size", "in_float"), [(1.0, False), (0.02, True)])
def test_an_angle_beside_a_distance_keeps_its_digits(size: float, in_float: bool) -> None:
    graph = kit.small_net()
    graph.constants["fc.weight"] = graph.constants["fc.weight"] * np.r_[size, np.ones(9)].astype(
        np.float32
    ).reshape(-1, 1)
    feeds = [{"input": row[None]} for row in kit.pictures(20)]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    assert ("fc" in made.recipe.float_nodes) is in_float


@pytest.mark.parametrize("beside", ["constant", "far"])
def test_a_part_beside_a_constant_or_far_from_zero_keeps_its_digits(beside: str) -> None:
    """A grid handed out with scores sets no range; what lies around 500 beside thousands is made in float."""
    graph = kit.small_net()
    (logits,) = graph.outputs
    parts = [logits, "grid"]
    graph.constants["grid"] = np.arange(0, 40, 4, dtype=np.float32).reshape(1, 10)
    if beside == "far":
        for op, source, by, name in (
            ("Mul", logits, 1000, "large"),
            ("Mul", logits, 0.5, "small"),
            ("Add", "small", 500, "place"),
        ):
            constant = graph.add_constant("by", np.full(1, by, np.float32))
            graph.declare(name, (1, 10), np.float32)
            graph.nodes.append(Node(op, name, [source, constant], [name]))
        parts = ["large", "place"]
    graph.declare("both", (1, 20), np.float32)
    graph.nodes.append(Node("Concat", "join", parts, ["both"], {"axis": 1}))
    graph.outputs = ["both"]
    feeds = [{"input": row[None]} for row in kit.pictures(20)]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    assert "join" in made.recipe.float_nodes
    assert ("place" in made.recipe.float_nodes) is (beside == "far")
    assert not {"fc", "large"} & set(made.recipe.float_nodes)


@pytest.mark.parametrize("bins", [0, 8])
@pytest.mark.parametrize("varied", [True, False])
def test_boxes_of_places_and_distances_keep_their_digits(varied: bool, bins: int) -> None:
    """A detector's corners: a step of 1/256 of the picture is much for a small box, and of a bin's share for a mean."""
    graph = kit.small_net()
    distance, shape = "sum", graph.shape("sum")
    if bins:
        graph.declare("shares", shape, np.float32)
        graph.nodes.append(Node("Softmax", "shares", ["sum"], ["shares"], {"axis": 1}))
        weights = np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)
        source = graph.add_constant("bins", weights)
        distance, shape = "distances", (1, 1, *shape[2:])
        graph.declare("distances", shape, np.float32)
        graph.nodes.append(Node("Conv", "distances", ["shares", source], ["distances"]))
    places = np.arange(shape[3], dtype=np.float32) if varied else np.ones(1, np.float32)
    graph.constants["places"] = np.broadcast_to(places, shape).copy()
    graph.constants["stride"] = np.full(1, 8, np.float32)
    wide = (1, 2 * shape[1], *shape[2:])
    made_of_them: tuple[tuple[str, list[str], str, tuple[int, ...]], ...] = (
        ("Sub", ["places", distance], "near", shape),
        ("Add", ["places", distance], "far", shape),
        ("Concat", ["near", "far"], "corners", wide),
        ("Mul", ["corners", "stride"], "boxes", wide),
    )
    for op, inputs, name, size in made_of_them:
        graph.declare(name, size, np.float32)
        graph.nodes.append(Node(op, name, inputs, [name], {"axis": 1} if op == "Concat" else {}))
    graph.outputs = ["boxes"]
    feeds = [{"input": row[None]} for row in kit.pictures(20)]
    floats = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast").recipe.float_nodes
    wanted = {"near", "far", "corners", "boxes"} | ({"shares", "distances"} if bins else set())
    assert wanted & set(floats) == (wanted if varied else set())
    assert "project" not in floats


def test_a_layer_whose_sums_step_over_all_of_its_output_computes_in_float(tmp_path: Path) -> None:
    """XNNPACK opens no file that scales sums by 256 or more, and nothing of such an output would be left."""
    body = """(float[1,2,8,8] x) => (float[1,2,8,8] y)
        { a = Conv<group=2>(x, k) b = HardSwish(a) c = Conv(b, w) y = HardSwish(c) }"""
    wide = {
        "k": np.array([1.0, 1e-5], np.float32).reshape(2, 1, 1, 1),
        "w": np.array([[1e-3, 100.0], [1e-5, 1e-5]], np.float32).reshape(2, 2, 1, 1),
    }
    onnx.save(model_of(body, 18, **wide), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "calib.npz", x=rng.uniform(0, 3, (40, 2, 8, 8)).astype(np.float32))
    made = export_model(
        tmp_path / "net.onnx",
        precision="int8",
        recipe="fast",
        calib=tmp_path / "calib.npz",
        targets=("tflite",),
        output=tmp_path / "out",
    )
    assert not made.refused
    assert "1 Conv (one step of its sums would be 256 or more of its output's)" in str(made)
