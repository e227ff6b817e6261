"""Faults planted in a file after the float reference ran: the default verdict names each of them.

And the other way round: it says nothing about healthy files of the same nets.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import parity_kit as kit
import pytest
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.run import placed, run_feeds
from edgeconv.judge.verdict import Verdict, compare
from edgeconv.recipe import Recipe
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.onnxrt import open_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Array = NDArray[Any]
Fault = Callable[[Graph, Recipe | None], Recipe | None]
COUNT = 60


def two_outputs(seed: int) -> Graph:
    """Return the small net with a second output of the same shape as its logits."""
    graph = kit.small_net(seed)
    rng = np.random.default_rng(seed + 100)
    graph.constants["other.weight"] = rng.normal(size=(kit.CLASSES, 24)).astype(np.float32)
    graph.constants["other.bias"] = rng.normal(scale=0.1, size=kit.CLASSES).astype(np.float32)
    gemm: dict[str, Any] = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    inputs = ["flat", "other.weight", "other.bias"]
    graph.nodes.append(Node("Gemm", "other", inputs, ["scores"], gemm))
    graph.declare("scores", (1, kit.CLASSES), np.float32)
    graph.outputs = ["logits", "scores"]
    return graph


def _weights(
    graph: Graph, recipe: Recipe | None, name: str, change: Callable[[Array], Array]
) -> Recipe | None:
    """Change a layer's weights and bias alike, as floats or as the recipe's integers."""
    node = next(node for node in graph.nodes if node.name == name)
    if recipe is None:
        for tensor in node.inputs[1:3]:
            graph.constants[tensor] = change(graph.constants[tensor])
        return None
    own = recipe.weights[name]
    made = replace(
        own,
        values=change(own.values),
        scales=change(own.scales) if change.__name__ == "permuted" else own.scales,
        bias=change(own.bias),
        float_bias=change(own.float_bias),
    )
    return replace(recipe, weights={**recipe.weights, name: made})


def frozen(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """The last layer gives its bias, whatever the picture."""
    rows = next(node for node in graph.nodes if node.name == "fc").inputs[1]
    shape = graph.shape(rows)
    return _weights(graph, recipe, "fc", lambda a: a * 0 if a.shape == shape else a)


def lost_group(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """A quarter of the head's channels are gone."""

    def without(values: Array) -> Array:
        made = values.copy()
        made[: len(made) // 4] = 0
        return made

    return _weights(graph, recipe, "head", without)


def permuted_classes(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """Half of the classes stand in another order."""

    def permuted(values: Array) -> Array:
        half = len(values) // 2
        return values[[*np.roll(np.arange(half), 1), *range(half, len(values))]]

    return _weights(graph, recipe, "fc", permuted)


def halved_scale(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """A layer's output counts half."""
    if recipe is None:
        return _weights(graph, None, "project", lambda a: (a * 0.5).astype(a.dtype))
    own = recipe.weights["project"]
    half = replace(own, scales=(own.scales * 0.5).astype(np.float32))
    return replace(recipe, weights={**recipe.weights, "project": half})


def wrong_pad(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """The depthwise convolution pads above and left only."""
    node = next(node for node in graph.nodes if node.name == "depthwise")
    node.attrs = {**node.attrs, "pads": [2, 2, 0, 0]}
    return recipe


def clipped_branch(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """A branch of the addition loses everything below zero."""
    node = next(node for node in graph.nodes if node.name == "project")
    node.clamp = (0.0, np.inf)
    if recipe is None:
        return None
    own = recipe.activations[node.output]
    positive = replace(own, zero_point=-128)
    return replace(recipe, activations={**recipe.activations, node.output: positive})


def swapped_outputs(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """Each output is the other."""
    first, second = (n for n in graph.nodes if n.name in ("fc", "other"))
    first.outputs, second.outputs = second.outputs, first.outputs
    return recipe


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        frozen,
        lost_group,
        permuted_classes,
        halved_scale,
        wrong_pad,
        clipped_branch,
        swapped_outputs,
    )
}


def verdict_of(seed: int, form: str, fault: Fault | None, scratch: Path) -> Verdict:
    """Emit the net of ``seed`` with ``fault`` in it and judge it as an export does."""
    hub = two_outputs(seed)
    prepared = prepare(hub, int8=form != "fp32").graph
    inputs = kit.pictures(COUNT, seed=seed + 1)
    feeds = [{"input": row[None]} for row in inputs]
    wanted = kit.run_graph(hub, inputs)
    recipe = None if form == "fp32" else kit.recipe_for(prepared, kit.pictures(64, seed=9))
    floor = None
    if recipe is not None:
        model = save_model(emit_qdq(prepared, recipe, io="float").model)
        with open_model(model, optimize=False) as runner:
            floor, _ = run_feeds(runner, feeds, runner.inputs, runner.outputs)
    graph = prepared.clone()
    if fault is not None:
        recipe = fault(graph, recipe)
    suffix = "onnx" if form in ("fp32", "onnx") else "tflite"
    path = scratch / f"net.{suffix}"
    if recipe is None:
        path.write_bytes(save_model(to_onnx(graph)))
        borders: Any = ((), ())
    else:
        data, _, *borders = kit.emit(graph, recipe, suffix, path)
        path.write_bytes(data)
    with open_runner(path) as runner:
        specs = [
            [placed(s, b) for s in side]
            for side, b in zip((runner.inputs, runner.outputs), borders, strict=True)
        ]
        got, _ = run_feeds(runner, feeds, specs[0], specs[1])
    kind = "fp32" if form == "fp32" else "int8"
    return compare(wanted, got, budget=DEFAULTS[kind], floor=floor)


FORMS = ("fp32", "onnx", "tflite")


def count(seeds: range, scratch: Path) -> tuple[list[str], list[str]]:
    """Return the faults that no verdict named, and the healthy files that one complained of."""
    passed, alarms = [], []
    for seed in seeds:
        for form in FORMS:
            if not (healthy := verdict_of(seed, form, None, scratch)):
                alarms.append(f"net {seed} {form}: {healthy}")
            passed += [
                f"net {seed} {form}: {name}"
                for name, fault in FAULTS.items()
                if verdict_of(seed, form, fault, scratch)
            ]
    return passed, alarms


def test_planted_faults_are_named_and_healthy_files_are_not(tmp_path: Path) -> None:
    passed, alarms = count(range(1), tmp_path)
    assert passed == []
    assert alarms == []


@pytest.mark.long
def test_of_two_hundred_planted_faults_at_least_195_are_named(tmp_path: Path) -> None:
    seeds = range(20, 30)
    passed, alarms = count(seeds, tmp_path)
    planted, healthy = len(seeds) * len(FORMS) * len(FAULTS), len(seeds) * len(FORMS)
    print(f"{planted - len(passed)} of {planted} faults named, {len(alarms)} of {healthy} alarms")
    assert len(passed) <= planted * 5 // 200, passed
    assert len(alarms) * 100 <= healthy, alarms
