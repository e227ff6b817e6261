"""A graph prepared for INT8 holds channels in other units: the same numbers, unless one is wrong."""

from pathlib import Path

import numpy as np
import parity_kit as kit
import pytest

from edgeconv.export.graph import Graph
from edgeconv.parity.child import Job
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.layers.run import measure_layers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def equalised(graph: Graph, factor: float = 3.0) -> Graph:
    """Multiply the stem's channels by growing factors and divide the depthwise layer by them."""
    other = graph.clone()
    stem = other.constants["stem.weight"]
    factors = np.linspace(1.0, factor, len(stem)).astype(np.float32)
    other.constants["stem.weight"] = stem * factors.reshape(-1, 1, 1, 1)
    other.constants["stem.bias"] = other.constants["stem.bias"] * factors
    depthwise = other.constants["depthwise.weight"]
    other.constants["depthwise.weight"] = depthwise / factors.reshape(-1, 1, 1, 1)
    residual = other.constants["project.weight"]
    other.constants["project.weight"] = residual * factors.reshape(-1, 1, 1, 1)
    other.constants["project.bias"] = other.constants["project.bias"] * factors
    head = other.constants["head.weight"]
    other.constants["head.weight"] = head / factors.reshape(1, -1, 1, 1)
    return other


def lowered_layers(tmp_path: Path, graph: Graph) -> LayerReport:
    """Hold ``graph`` against the small net as the hop to the prepared INT8 graph is."""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    hub, prepared = tmp_path / "hub.onnx", tmp_path / "prepared.onnx"
    hub.write_bytes(save_model(to_onnx(kit.small_net())))
    prepared.write_bytes(save_model(to_onnx(graph)))
    np.save(tmp_path / "pictures.npy", kit.pictures(4))
    feeds = {"input": tmp_path / "pictures.npy"}
    job = Job(prepared, "onnxruntime", feeds, tmp_path / "out.npz", {"optimize": False})
    return measure_layers(job, hub, 4, "lowered")


def test_equalised_channels_are_the_same_numbers_in_another_unit(tmp_path: Path) -> None:
    assert lowered_layers(tmp_path, equalised(kit.small_net())).first is None


def test_a_fault_among_equalised_channels_is_still_found(tmp_path: Path) -> None:
    graph = equalised(kit.small_net())
    weight = graph.constants["project.weight"].copy()
    weight[[0, 3]] = weight[[3, 0]]
    graph.constants["project.weight"] = weight
    found = lowered_layers(tmp_path, graph).first
    assert found is not None
    assert found.node == "project"
