"""Nets that mix and pick channels: TFLite stores them in the order of their readers, exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quant_nets import NetBuilder
from tflite_kit import Worker, feed, minmax_recipe, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.tflite.emission import Precision
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.rewrites import NONE, Rewrites
from edgeconv.recipe import Recipe

PLACED = Rewrites(place_shuffles=True)


def cut(net: NetBuilder, source: str, first: int, last: int, step: int = 1) -> str:
    """Channels first to last of a picture, every ``step``-th."""
    bounds = [net.constant("bound", np.array([n], np.int64)) for n in (first, last, 1, step)]
    n, _, h, w = net.graph.shape(source)
    return net.add("Slice", [source, *bounds], (n, len(range(first, last, step)), h, w))


def shuffled(net: NetBuilder, left: str, right: str, groups: int = 2) -> str:
    """Both joined and shuffled."""
    n, c, h, w = net.graph.shape(left)
    shape = (n, c + net.graph.shape(right)[1], h, w)
    joined = net.add("Concat", [left, right], shape, axis=1)
    return net.add("ChannelShuffle", [joined], shape, groups=groups)


def branch(net: NetBuilder, source: str, channels: int, stride: int = 1) -> str:
    """1x1, depthwise and 1x1 convolution of the right side of a unit."""
    first = net.conv(source, channels, kernel=1)
    deep = net.conv(first, channels, stride=stride, group=channels, clamp=None)
    return net.conv(deep, channels, kernel=1)


def shufflenet_v2(units: int) -> Graph:
    """Two stages as arXiv 1807.11164 has them: a strided unit, then ``units`` that halve and mix."""
    net = NetBuilder()
    x = net.conv("input", 12)
    for half in (8, 16):
        inside = net.graph.shape(x)[1]
        deep = net.conv(x, inside, stride=2, group=inside, clamp=None)
        x = shuffled(net, net.conv(deep, half, kernel=1), branch(net, x, half, stride=2))
        for _ in range(units):
            kept, passed = cut(net, x, 0, half), cut(net, x, half, 2 * half)
            x = shuffled(net, kept, branch(net, passed, half))
    return net.head(net.conv(x, 24, kernel=1))


def both_agree(worker: Worker, graph: Graph, recipe: Recipe | None) -> dict[str, int]:
    """Compare the file with the rewrite and without; return the operators of the first."""
    precision: Precision = "fp32" if recipe is None else "int8"
    made, plain = (
        emit_tflite(graph, recipe, precision=precision, rewrites=rewrites)
        for rewrites in (PLACED, NONE)
    )
    wanted, _ = run_nchw(worker, plain, feed(graph), "auto")
    got, _ = run_nchw(worker, made, feed(graph), "auto")
    for name in graph.outputs:
        if recipe is None:
            np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)
        else:
            np.testing.assert_array_equal(got[name], wanted[name])
    return made.ops


@pytest.mark.parametrize("int8", [False, True])
def test_no_shuffle_is_left_of_shufflenet_v2(worker: Worker, int8: bool) -> None:
    graph = shufflenet_v2(units=3)
    recipe = minmax_recipe(graph, feed(graph)) if int8 else None
    ops = both_agree(worker, graph, recipe)
    assert "TRANSPOSE" not in ops
    assert sum(ops.values()) < sum(emit_tflite(graph, rewrites=NONE).ops.values())


def test_integers_that_change_their_scale_on_the_way_keep_their_shuffles(worker: Worker) -> None:
    graph = shufflenet_v2(units=1)
    recipe = minmax_recipe(graph, feed(graph))
    cut_out = next(graph.of("Slice")).output
    wider = replace(recipe.activations[cut_out], scale=2 * recipe.activations[cut_out].scale)
    recipe = replace(recipe, activations={**recipe.activations, cut_out: wider})
    assert both_agree(worker, graph, recipe)["TRANSPOSE"] > 0


@st.composite
def mixers(draw: st.DrawFn) -> Graph:
    """A net of joins, shuffles, cuts, layers and sums over pictures of 8 or 16 channels."""
    net = NetBuilder(shape=(1, 3, 8, 8), seed=draw(st.integers(0, 9)))
    alive = [net.conv("input", 8), net.conv("input", 8, kernel=1)]
    for _ in range(draw(st.integers(3, 9))):
        one, two = draw(st.sampled_from(alive)), draw(st.sampled_from(alive))
        channels = net.graph.shape(one)[1]
        kind = draw(st.sampled_from(["mix", "mix", "cut", "step", "conv", "deep", "pool", "sum"]))
        if kind == "mix" and channels + net.graph.shape(two)[1] <= 32:
            alive.append(shuffled(net, one, two, draw(st.sampled_from([2, 4]))))
        elif kind == "cut":
            first = draw(st.integers(0, channels - 8))
            alive.append(cut(net, one, first, first + 8))
        elif kind == "step" and channels >= 16:
            alive.append(cut(net, one, 0, channels, 2))
        elif kind == "conv":
            alive.append(net.conv(one, 8, kernel=1))
        elif kind == "deep":
            alive.append(net.conv(one, channels, group=channels, clamp=None))
        elif kind == "pool":
            alive.append(net.add("Abs", [one], net.graph.shape(one)))
        elif kind == "sum" and net.graph.shape(two) == net.graph.shape(one):
            alive.append(net.add("Add", [one, two], net.graph.shape(one)))
    last = net.conv(alive[-1], 4, kernel=1)
    more = draw(st.sampled_from([[], alive[-2:-1]]))
    graph = net.finish(last, *more)
    graph.prune()
    return graph


@pytest.mark.long
@settings(deadline=None, max_examples=200)
@given(mixers(), st.booleans())
def test_any_net_that_mixes_channels_keeps_its_values(graph: Graph, int8: bool) -> None:
    child = Worker()
    try:
        recipe = minmax_recipe(graph, feed(graph)) if int8 else None
        both_agree(child, graph, recipe)
    finally:
        child.close()
