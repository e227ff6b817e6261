"""What makes quantization cheap changes nothing that counts."""

import numpy as np
import pytest
from quant_nets import NetBuilder, pictures, residual_net

from edgeconv.export.quant import engine
from edgeconv.export.quant.bias import MeanOutput, _run, channel_means
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.fit import bounded_share
from edgeconv.export.quant.observe import observe
from edgeconv.export.quant.sessions import session
from edgeconv.export.quant.stream import _feed_bias


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_mean_output_follows_from_the_means_that_taps_meet(
    stride: int, group: int, dilation: int
) -> None:
    net = NetBuilder((1, 6, 9, 10), seed=3)
    out = net.conv("input", 12, stride=stride, group=group)
    (node,) = net.graph.nodes
    node.attrs.update(dilations=[dilation, 1], pads=[2, 0, 1, 3])
    rows = (9 + 3 - 2 * dilation - 1) // stride + 1
    net.graph.declare(out, (1, 12, rows, (10 + 3 - 3) // stride + 1), np.float32)
    random = np.random.default_rng(0)
    picture = random.normal(1, 2, (1, 6, 9, 10)).astype(np.float32)
    weights, bias = (net.graph.constants[name] for name in node.inputs[1:])
    whole = channel_means(node, _run(net.graph, node, picture, weights, bias))
    found = MeanOutput(net.graph, node)(picture, weights, bias)
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5)


def test_a_bias_that_is_fed_gives_what_a_constant_one_gives() -> None:
    from edgeconv.export.qdq.emit import emit_qdq

    graph = residual_net()
    made = quantize(graph, pictures(graph, 8), recipe="fast")
    model = emit_qdq(made.graph, made.recipe).model
    feed = pictures(graph, 1)[0]
    (wanted,) = session(model).run(None, feed)
    first = next(node for node in made.graph.nodes if node.name in made.recipe.weights)
    name = _feed_bias(model, first)
    assert name is not None
    bias = made.recipe.weights[first.name].bias
    (found,) = session(model).run(None, {**feed, name: bias})
    np.testing.assert_array_equal(found, wanted)
    (other,) = session(model).run(None, {**feed, name: bias + 1000})
    assert not np.array_equal(other, wanted)


def test_layers_of_large_tensors_learn_on_fewer_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = residual_net()
    feeds = pictures(graph, 40)
    assert quantize(graph, feeds, recipe="fast").recipe.notes["pictures"]["learnt"] == 32
    monkeypatch.setattr(engine, "LIVE_BYTES", 1)
    learnt = quantize(graph, feeds, recipe="fast").recipe.notes["pictures"]["learnt"]
    assert learnt == engine.LEAST_LEARNT


def test_pictures_that_are_not_gathered_whole_widen_ranges_and_give_outputs() -> None:
    net = NetBuilder((1, 3, 8, 8), seed=3)
    free = net.conv("input", 6)
    bounded = net.conv(free, 6, clamp=(0.0, 6.0))
    wide = net.conv(bounded, 4, clamp=(0.0, float("inf")))
    graph = net.finish(net.conv(wide, 2))
    feeds = pictures(graph, 6)
    feeds[0] = {"input": feeds[0]["input"] * 20}  # meets the bound of 6
    feeds[5] = {"input": feeds[5]["input"] * 50}
    wanted, found = observe(graph, feeds), observe(graph, feeds, whole=2)
    for name in graph.outputs:
        np.testing.assert_allclose(found.outputs[name], wanted.outputs[name], rtol=1e-5, atol=1e-5)
    for name, stats in wanted.tensors.items():
        got = found.tensors[name]
        assert len(got.sample) == 2
        np.testing.assert_allclose(got.high.max(), stats.high.max(), rtol=1e-6)
        low = min(got.low.min(), 0.0), min(stats.low.min(), 0.0)
        np.testing.assert_allclose(*low, rtol=1e-6)
    assert found.tensors[wide].high[5].max() > found.tensors[wide].high[:5].max()
    assert found.tensors[bounded].high.max() == 6.0


@pytest.mark.parametrize("side", [2, 24])
def test_a_bounded_share_counts_both_ends_of_a_channel(side: int) -> None:
    made = np.full((4, 1, 3, side, side), 100, np.uint8)
    made[:, :, 0] = 0
    made[:2, :, 1] = 255
    assert bounded_share(made, 1).tolist() == [1.0, 0.5, 0.0]
