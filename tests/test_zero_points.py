"""A file without zero points keeps those that it would lose too much without, and no more."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from quant_nets import NetBuilder, pictures

from edgeconv.export.graph import Graph
from edgeconv.export.integer.free_form import held_on
from edgeconv.export.quant.check import problems
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.judge import decibels, run_recipe, score
from edgeconv.export.quant.observe import observe
from edgeconv.export.quant.zero_points import kept_zero_points
from edgeconv.recipe import ASYMMETRIC, FREE, Recipe, load_recipe


def net_of_layers() -> Graph:
    """Layers that reach far above zero and little below it, as those behind an activation that is fused."""
    net, last = NetBuilder(), "input"
    for channels in (8, 8, 8, 8, 8):
        last = net.conv(last, channels, clamp=(-0.05, float("inf")))
    net.graph.outputs = [net.conv(last, 4, clamp=None)]
    return net.graph


def noise(graph: Graph, recipe: Recipe, free: bool) -> float:
    feeds = pictures(graph, 24, seed=9)
    bare = Recipe("float", ASYMMETRIC, {}, {}, tuple(node.name for node in graph.nodes))
    got = run_recipe(graph, replace(recipe, float_outputs={}), feeds, 1, free=free)
    return score(graph, run_recipe(graph, bare, feeds, 1), got).noise


def test_a_core_ml_file_is_as_near_to_float_as_those_with_zero_points(tmp_path: Path) -> None:
    graph = net_of_layers()
    made = quantize(graph, pictures(graph, 20), recipe="fast").recipe
    kept = made.free_zero_points
    assert made.form == ASYMMETRIC
    assert kept
    held = held_on(graph, made, "coreml", True)
    bare = held_on(graph, replace(made, free_zero_points=()), "coreml", True)
    whole = noise(graph, made, False)
    assert decibels(noise(graph, bare, True), whole) > 2.0
    assert decibels(noise(graph, held, True), whole) < 0.6  # 0.2 on the pictures that judged
    for name, activation in held.activations.items():
        own = made.activations[name]
        assert activation == (own if name in kept else bare.activations[name])
    assert held.form == FREE
    assert not problems(held)
    assert "form is zero-point-free" in problems(replace(held, free_zero_points=()))[0]
    made.save(tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json").free_zero_points == kept


def ranked(measured: Callable[[tuple[str, ...]], float], enough: float) -> tuple[str, ...]:
    graph = net_of_layers()
    feeds = pictures(graph, 12)
    recipe = quantize(graph, feeds, recipe="fast", form="asymmetric").recipe
    seen = observe(graph, feeds)
    return kept_zero_points(graph, recipe, seen, measured, enough)


def test_no_more_zero_points_are_kept_than_it_takes() -> None:
    everything = ranked(lambda kept: 2.0 - 0.1 * len(kept), 1.0)
    assert sorted(everything) == ["t0", "t1", "t2", "t3", "t4"]
    tried: list[int] = []

    def halved(kept: tuple[str, ...]) -> float:
        tried.append(len(kept))
        return 2.0 - 0.25 * min(len(kept), 3)

    some = ranked(halved, 1.4)
    assert some == everything[:3]
    assert tried[:2] == [0, 5]
    assert ranked(lambda kept: 1.04, 1.0) == ()  # near enough without
    assert ranked(lambda kept: 2.0 - 0.01 * len(kept), 1.0) == ()  # nothing that zero points mend


def test_tensors_of_one_scale_keep_their_zero_points_together() -> None:
    net = NetBuilder()
    made = net.conv("input", 8, clamp=None)
    shape = net.graph.shape(made)
    last = net.add("Mul", [made, net.add("Sigmoid", [made], shape)], shape)
    pooled = net.add("MaxPool", [last], shape, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    graph = net.head(net.conv(net.add("Add", [last, pooled], shape), 4))
    feeds = pictures(graph, 12)
    recipe = quantize(graph, feeds, recipe="fast", form="asymmetric").recipe
    kept = kept_zero_points(
        graph, recipe, observe(graph, feeds), lambda kept: 2.0 - 0.1 * len(kept), 1.0
    )
    assert {last, pooled} <= set(kept)
    held = held_on(graph, replace(recipe, free_zero_points=kept), "coreml", True)
    run_recipe(graph, held, feeds[:1], 1, free=True)
    assert np.isclose(held.activations[last].scale, held.activations[pooled].scale)
