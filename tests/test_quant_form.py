"""Whether a net needs zero points is asked of integers that were fitted with and without them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quant_nets import NetBuilder, pictures, residual_net

from edgeconv.export.graph import Graph
from edgeconv.export.integer.free_form import held_on, stored_free
from edgeconv.export.quant import contest
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.judge import decibels, run_recipe, score
from edgeconv.export.quant.stream import run_quantized
from edgeconv.recipe import Recipe


def swish_net() -> Graph:
    """Swishes that reach far above zero and little below it, as convolutions behind them want zero points."""
    net = NetBuilder()
    last = "input"
    for channels in (8, 12, 12):
        made = net.conv(last, channels, clamp=None)
        weight = net.graph.nodes[-1].inputs[1]
        net.graph.constants[weight] = 4 * net.graph.constants[weight]
        shape = net.graph.shape(made)
        last = net.add("Mul", [made, net.add("Sigmoid", [made], shape)], shape)
    return net.head(last)


def noise(graph: Graph, recipe: Recipe) -> float:
    """Return a recipe's noise on pictures that it was not made of."""
    feeds = pictures(graph, 24, seed=9)
    bare = Recipe("float", "asymmetric", {}, {}, tuple(node.name for node in graph.nodes))
    wanted = run_recipe(graph, bare, feeds, 1)
    whole = replace(recipe, float_outputs={})
    return score(graph, wanted, run_recipe(graph, whole, feeds, 1)).noise


def as_core_ml(graph: Graph, recipe: Recipe) -> float:
    """Return a recipe's noise where only what Core ML reads as integers is rounded."""
    read = {node.name: node.inputs[0] for node in graph.nodes}
    held = recipe.with_form("zero-point-free", read)
    return noise(graph, replace(held, activations=stored_free(graph, held)))


@pytest.mark.parametrize("name", ["fast", "std"])
def test_a_net_that_needs_zero_points_is_fitted_with_them(name: str) -> None:
    graph = swish_net()
    feeds = pictures(graph, 20)
    made = quantize(graph, feeds, recipe=name)
    free = quantize(graph, feeds, recipe=name, form="zero-point-free")
    assert made.recipe.form == "asymmetric"
    gain = decibels(noise(free.graph, free.recipe), noise(made.graph, made.recipe))
    read = {node.name: node.inputs[0] for node in free.graph.nodes}
    late = decibels(
        noise(free.graph, free.recipe.with_form("asymmetric", read)),
        noise(made.graph, made.recipe),
    )
    assert gain > 1.0
    assert late > 0.5  # integers of the other form, read by finer steps


def test_a_file_without_zero_points_gets_biases_of_its_own() -> None:
    graph = swish_net()
    feeds = pictures(graph, 20)
    made = quantize(graph, feeds, recipe="fast")
    free = quantize(graph, feeds, recipe="fast", form="zero-point-free")
    read = {node.name: node.inputs[0] for node in graph.nodes}
    held = made.recipe.on("coreml", True, read)
    assert held.form == "zero-point-free"
    assert made.recipe.on("tflite", True, read).form == "asymmetric"
    for node, weights in held.weights.items():
        np.testing.assert_array_equal(weights.values, made.recipe.weights[node].values)
    assert any(
        not np.array_equal(weights.float_bias, made.recipe.weights[node].float_bias)
        for node, weights in held.weights.items()
    )
    whole, other = (as_core_ml(graph, recipe) for recipe in (held, free.recipe))
    assert decibels(whole, other) < 0.3


def test_weights_that_the_form_does_not_change_are_fitted_no_third_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = swish_net()
    feeds = pictures(graph, 20)
    fits = []

    def run(*args: Any, **options: Any) -> Recipe:
        fits.append(args)
        return run_quantized(*args, **options)

    monkeypatch.setattr(contest, "run_quantized", run)
    monkeypatch.setattr(contest, "stored_free", lambda _, recipe: dict(recipe.activations))
    monkeypatch.setattr(contest, "kept_zero_points", lambda *_: ())
    reused = quantize(graph, feeds, recipe="fast").recipe
    assert len(fits) == 2
    monkeypatch.setattr(contest, "same_integers", lambda one, other: False)
    again = quantize(graph, feeds, recipe="fast").recipe
    assert len(fits) == 5
    assert reused.free_bias.keys() == again.free_bias.keys() == reused.weights.keys()
    for name, bias in again.free_bias.items():
        np.testing.assert_array_equal(reused.free_bias[name], bias)


def test_ranges_that_need_no_zero_point_are_fitted_once() -> None:
    net = NetBuilder(seed=2)
    graph = net.head(net.conv(net.conv("input", 8), 8))
    made = quantize(graph, pictures(graph, 10), recipe="fast").recipe
    assert (made.form, made.notes["form"]) == ("zero-point-free", "zero points are not needed")
    assert not made.free_bias
    assert quantize(residual_net(), pictures(residual_net(), 10), recipe="fast").recipe.free_bias


def test_free_biases_fit_what_core_ml_rounds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation between layers reads the float: biases that expect it rounded are wrong."""
    net, last = NetBuilder(), "input"
    for _ in range(2):
        made = net.conv(last, 12, clamp=None)
        wide = net.graph.constants[net.graph.nodes[-1].inputs[1]].copy()
        wide[0] *= 10  # its steps hide what the other channels hold
        net.graph.constants[net.graph.nodes[-1].inputs[1]] = wide
        last = net.add("HardSwish", [made], net.graph.shape(made))
    graph = net.head(last)
    feeds = pictures(graph, 24)
    fitted = quantize(graph, feeds, recipe="fast", form="asymmetric").recipe
    assert made not in stored_free(graph, fitted)
    monkeypatch.setattr(contest, "stored_free", lambda _, recipe: dict(recipe.activations))
    everywhere = quantize(graph, feeds, recipe="fast", form="asymmetric").recipe
    assert decibels(as_core_ml(graph, everywhere), as_core_ml(graph, fitted)) > 2.0


def test_what_is_promised_of_a_core_ml_file_rounds_what_it_rounds() -> None:
    """A hard swish behind a layer, and a mean behind that, read floats there: the promise had rounded both."""
    net = NetBuilder()
    first = net.conv("input", 6, clamp=None)
    shape = net.graph.shape(first)
    graph = net.head(net.conv(net.add("HardSwish", [first], shape), 6))
    made = quantize(graph, pictures(graph, 8), recipe="fast").recipe
    held = held_on(graph, made, "coreml", True)
    assert first in made.activations
    assert first not in held.activations
    read = {n.inputs[0] for n in graph.of("Conv", "Gemm") if n.name in held.weights}
    assert read <= held.activations.keys()
    assert held_on(graph, made, "onnx", True).activations == made.on("onnx").activations
