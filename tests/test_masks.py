"""Attention with masks: rows that are masked as a whole, and the peaks that a heatmap's pool finds."""

from pathlib import Path

import numpy as np
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, graph_of, model_of, run, scalar

from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.graph import Graph
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.engine import quantize
from edgeconv.runtimes.mil_reference import open as open_package

GUARDED = """(float[1,2,5,4] x, {input} m) => (float[1,2,5,4] y) {{
 k = Transpose<perm=[0,1,3,2]>(x)
 p = MatMul(x, k)
 {mask}
 a = Add(p, f)
 s = Softmax<axis=-1>(a)
 n = IsNaN(s)
 g = Where(n, zero, s)
 y = MatMul(g, x) }}"""
CHOSEN = {
    "what may be seen": "f = Where(m, zero, low)",
    "what is hidden": "f = Where(m, low, zero)",
}
LOW = {"zero": scalar(0.0), "low": scalar(-np.inf)}


def masks(count: int, hidden: bool) -> list[dict[str, np.ndarray]]:
    """Return feeds in whose masks the first row is hidden as a whole."""
    random = np.random.default_rng(2)
    seen = random.random((count, 5, 5)) > 0.4
    seen[:, 0], seen[:, 1:, 0] = False, True
    return [{"x": floats(1, 2, 5, 4, seed=i), "m": m ^ hidden} for i, m in enumerate(seen)]


@pytest.mark.parametrize("spelling", CHOSEN)
def test_rows_that_are_masked_as_a_whole_fall_back(spelling: str, tmp_path: Path) -> None:
    body = GUARDED.format(input="bool[5,5]", mask=CHOSEN[spelling])
    feeds = masks(12, hidden=spelling == "what is hidden")
    assert (run(model_of(body, **LOW), feeds[0])[0][0, :, 0] == 0).all()
    same_everywhere(model_of(body, **LOW), feeds[0], tmp_path)
    graph = simplify_graph(graph_of(body, **LOW))
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="std")
    whole = np.stack([run(graph, feed)[0] for feed in feeds])
    integers = np.stack([run(emit_qdq(made.graph, made.recipe).model, feed)[0] for feed in feeds])
    assert (integers[:, :, :, 0] == 0).all()
    assert np.abs(integers - whole).max() < 0.1


@pytest.mark.parametrize(("hidden", "ops"), [(0, 0), (1, 1)])
def test_a_constant_mask_is_guarded_where_it_hides_a_whole_row(hidden: int, ops: int) -> None:
    mask = np.where(np.tri(5, k=-hidden, dtype=bool), 0, -np.inf).astype(np.float32)
    body = GUARDED.format(input="float[1]", mask="f = Add(m, c)")
    graph = graph_of(body.replace("Add(m, c)", "Identity(c)"), zero=scalar(0.0), c=mask)
    hub = simplify_graph(graph)
    assert [sum(1 for _ in hub.of(op)) for op in ("Where", "IsNaN")] == [ops, 0]
    feed = {"x": floats(1, 2, 5, 4), "m": np.zeros(1, np.float32)}
    np.testing.assert_allclose(run(hub, feed)[0], run(graph, feed)[0], atol=1e-6)


def test_core_ml_finds_the_same_peaks(tmp_path: Path) -> None:
    body = """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
 h = Conv(x, w)
 t = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(h)
 e = Equal(t, h)
 y = Where(e, h, zero) }"""
    graph: Graph = graph_of(body, w=floats(4, 3, 1, 1), zero=scalar(0.0))
    feeds = [{"x": floats(1, 3, 8, 8, seed=i)} for i in range(8)]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    path = tmp_path / "peaks.mlpackage"
    emit_coreml(made.graph, made.recipe, path=path, precision="int8")
    with open_package(path) as runner:
        found = runner.infer(feeds[0])["y"]
    wanted = run(graph, feeds[0])[0]
    assert np.mean((found != 0) == (wanted != 0)) > 0.95
