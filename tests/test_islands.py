"""A float island between dense layers: only in a net that INT8 would spoil, and only where it pays."""

import numpy as np
import pytest
from graph_kit import floats, graph_of, ops
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import islands
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.islands import picked_score

pytestmark = pytest.mark.slow

CHANNELS, LARGE = 16, 2


def uneven(size: float) -> Graph:
    """Two of sixteen channels of a hard-swish are ``size`` times as large; the small ones count."""
    first = floats(CHANNELS, 3, 1, 1, seed=1) / 2
    first[:LARGE] *= size
    depthwise = floats(CHANNELS, 1, 3, 3, seed=2) / 3
    depthwise[:LARGE] /= size * 10
    body = (
        "(float[1,3,8,8] x) => (float[1,64] y) { a = Conv(x, w)\n h = HardSwish(a)\n"
        " d = Conv<pads=[1,1,1,1], group=16>(h, v)\n c = Conv(d, u)\n r = Relu(c)\n e = Conv(r, t)\n"
        " p = Conv(e, s)\n q = Conv(p, m)\n f = Flatten(q)\n y = MatMul(f, z) }"
    )
    wide = {name: floats(64, 64, 1, 1, seed=n) / 8 for n, name in enumerate("tsm", 4)}
    ends = {"u": floats(64, CHANNELS, 1, 1, seed=3) / 4, "z": floats(64 * 64, 64, seed=9) / 64}
    return simplify_graph(graph_of(body, w=first, v=depthwise, **wide, **ends))


def pictures(count: int, seed: int) -> list[dict[str, NDArray[np.float32]]]:
    return [{"x": floats(1, 3, 8, 8, seed=1000 * seed + k)} for k in range(count)]


def test_what_one_scale_cannot_hold_computes_in_float() -> None:
    graph = prepare(uneven(400.0), int8=True).graph
    feeds = pictures(24, 1)
    made = quantize(graph, feeds, recipe="std")
    kinds = {node.name: node.op for node in made.graph.nodes}
    assert [kinds[name] for name in made.recipe.float_nodes] == ["Conv", "HardSwish", "Conv"]
    reasons = set(made.recipe.notes["float"].values())
    assert len(reasons) == 1
    assert "of the multiply-adds are in float for it" in reasons.pop()
    assert "HardSwish" in ops(made.graph)
    assert emit_qdq(made.graph, made.recipe).model.graph.node
    fast = quantize(graph, feeds, recipe="fast")
    assert not fast.recipe.float_nodes
    gain = picked_score(made.recipe)["sqnr_db"] - picked_score(fast.recipe)["sqnr_db"]
    assert gain > islands.WORTH_DB


def test_a_net_may_have_a_second_island(monkeypatch: pytest.MonkeyPatch) -> None:
    once = uneven(400.0)
    kernel = floats(CHANNELS, 64, 1, 1, seed=8) / 8
    kernel[:LARGE] *= 10.0
    body = (
        "(float[1,3,8,8] x) => (float[1,64,8,8] y) { a = Conv(x, w)\n h = HardSwish(a)\n"
        " d = Conv<pads=[1,1,1,1], group=16>(h, v)\n c = Conv(d, u)\n b = Conv(c, k)\n i = HardSwish(b)\n"
        " j = Conv<pads=[1,1,1,1], group=16>(i, v)\n y = Conv(j, u) }"
    )
    first, depthwise, dense = (once.constants[n] for n in "wvu")
    twice = simplify_graph(graph_of(body, w=first, v=depthwise, u=dense, k=kernel))
    monkeypatch.setattr(islands, "MOST_SHARE", 0.5)
    graph, counts = prepare(twice, int8=True).graph, []
    for together in (0.3, 0.5):
        monkeypatch.setattr(islands, "MOST_TOGETHER", together)
        made = quantize(graph, pictures(16, 1), recipe="std")
        counts.append(len(made.recipe.float_nodes))
    assert counts == [3, 6]


def test_a_net_that_int8_serves_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, feeds = prepare(uneven(1.0), int8=True).graph, pictures(16, 2)
    made = quantize(graph, feeds, recipe="std")
    assert not made.recipe.float_nodes
    (found,) = (i for i in islands.islands(made.graph, made.recipe) if len(i.nodes) == 3)
    assert 0.0 < found.share < islands.MOST_SHARE
    assert len(found.inner) == 2, "what the next dense layer reads stays an integer"
    monkeypatch.setattr(islands, "POOR_DB", 200.0)
    again = quantize(graph, feeds, recipe="std")
    assert not again.recipe.float_nodes, "it would not bring enough"
