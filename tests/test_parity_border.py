"""What exactly stored pixels move at a picture's border is neither missed nor an excuse."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import parity_kit as kit
import pytest
from graph_kit import run

from edgeconv.export.graph import Graph
from edgeconv.export.prepare import PixelInput, prepare, with_border
from edgeconv.files import sha256
from edgeconv.judge.budget import FLOATS
from edgeconv.parity.api import check_parity
from edgeconv.parity.matrix import Row

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

HALF = PixelInput((0.5,), (0.5,))


def faint() -> kit.Array:
    """Return pictures of so little contrast that a half step at the border is much beside it."""
    levels = np.rint(128 + 4 * kit.pictures(24))
    return np.asarray((levels / 255 - 0.5) / 0.5, np.float32)


def prepared_row(folder: Path, fault: Callable[[Graph], None]) -> Row:
    """Export the small net with its pixels stored exactly and a fault in the prepared graph; return that row."""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    path = kit.int8_export(folder)
    graph = prepare(kit.small_net(), int8=True, pixels=HALF).graph
    assert any(node.op == "Sub" for node in graph.nodes)
    fault(graph)
    evidence, about = folder / "small_int8.evidence", folder / "small_int8.onnx.json"
    (evidence / "prepared.onnx").write_bytes(save_model(to_onnx(graph)))
    (evidence / "verify.npz").write_bytes(kit.verification(kit.small_net(), faint()))
    manifest = json.loads(about.read_text(encoding="utf-8"))
    how = {"mean": [0.5], "std": [0.5], "crop": 1.0, "size": [16, 16], "embedded": False}
    manifest["preprocessing"] = how
    files = manifest["evidence"]["files"]
    manifest["evidence"]["files"] = {name: sha256(evidence / name) for name in files}
    about.write_text(json.dumps(manifest), encoding="utf-8")
    matrix = check_parity([path], layers=True).matrix
    return next(row for row in matrix.rows if row.title == "prepared ONNX")


def test_a_border_that_moves_by_half_a_step_is_no_departure(tmp_path: Path) -> None:
    graph = prepare(kit.small_net(), int8=True, pixels=HALF).graph
    wanted = run(kit.small_net(), {"input": faint()[:1]})[0]
    moved, whole = (run(g, {"input": faint()[:1]})[0] for g in (graph, with_border(graph, HALF)))
    assert np.abs(moved - wanted).max() > 10 * FLOATS["float_error"] * np.ptp(wanted)
    np.testing.assert_allclose(whole, wanted, atol=1e-5)
    row = prepared_row(tmp_path, lambda graph: None)
    assert row.ok
    assert row.figures["logits"]["float_error"] <= FLOATS["float_error"]


def forgotten(graph: Graph) -> None:
    """The half step does not return through the bias."""
    node = next(node for node in graph.nodes if node.op == "Conv")
    weights = graph.constants[node.inputs[1]]
    graph.constants[node.inputs[2]] -= weights.sum(axis=(1, 2, 3)) / np.float32(255)


def twice(graph: Graph) -> None:
    """A whole step is taken from the pixels."""
    node = next(node for node in graph.nodes if node.op == "Sub")
    graph.constants[node.inputs[1]] = graph.constants[node.inputs[1]] * np.float32(2)


def one_side(graph: Graph) -> None:
    """The first layer pads above and left only."""
    node = next(node for node in graph.nodes if node.op == "Conv")
    node.attrs["pads"] = [2, 2, 0, 0]


@pytest.mark.parametrize("fault", [forgotten, twice, one_side])
def test_no_fault_of_its_size_is_excused(tmp_path: Path, fault: Callable[[Graph], None]) -> None:
    row = prepared_row(tmp_path, fault)
    assert not row.ok
    assert row.layers is not None
    assert row.layers.first is not None
