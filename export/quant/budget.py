"""Meet an accuracy budget with the fewest layers in float."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeconv.errors import BudgetMissedError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.quant.judge import run_recipe
from edgeconv.export.quant.observe import Feeds, Floats
from edgeconv.export.quant.report import ranked
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """One layer taken back to float: the drop in points before and after it."""

    node: str
    before: float
    after: float
    added_noise: float


def agreement_drop(wanted: Floats, got: Floats, truth: Sequence[int] | None = None) -> float:
    """Return the points of top-1 lost against float where the truth is known, else of agreement.

    ``wanted`` and ``got`` are class scores (n, ...), ``truth`` n class numbers.
    """
    rows = len(wanted)
    real = wanted.reshape(rows, -1).argmax(axis=1)
    quantized = got.reshape(rows, -1).argmax(axis=1)
    if truth is None:
        return 100.0 * float((real != quantized).mean())
    return 100.0 * float(((real == truth).astype(int) - (quantized == truth).astype(int)).mean())


def meet_budget(
    graph: Graph,
    recipe: Recipe,
    feeds: Feeds,
    wanted: Mapping[str, Floats],
    *,
    max_drop: float,
    truth: Sequence[int] | None = None,
    threads: int = 1,
    progress: Callable[[float], None] = lambda _: None,
) -> Recipe:
    """Return the recipe with the fewest of its noisiest layers in float that meet ``max_drop``.

    ``feeds`` and the float outputs ``wanted`` are pictures that calibration did not learn from;
    ``max_drop`` is in points of top-1 (agreement without ``truth``). The layers are tried in the
    order of the noise they add, and the steps are recorded in the recipe's notes under "budget".
    Raises BudgetMissedError with the table where no number of layers is enough, UsageError where
    the net has no class scores.
    """
    output = graph.outputs[0]
    if len(graph.outputs) != 1 or wanted[output][0].size < 2:
        raise UsageError("--max-drop needs a net with one output of class scores")

    def measure(candidate: Recipe) -> float:
        got = run_recipe(graph, candidate, feeds, threads)
        return agreement_drop(wanted[output], got[output], truth)

    layers: Mapping[str, Any] = recipe.notes.get("layers", {})
    order = [name for name in ranked(layers) if name in recipe.weights]
    drop, steps, current = measure(recipe), [], recipe
    for number, name in enumerate(order):
        if drop <= max_drop:
            break
        current = without(current, name, f"kept in float for --max-drop {max_drop:g}")
        after = measure(current)
        steps.append(Step(name, drop, after, float(layers[name]["added"])))
        drop = after
        progress((number + 1) / len(order))
    if drop > max_drop:
        raise BudgetMissedError(
            f"{drop:.2f} points are lost with every layer in float that was tried, "
            f"{max_drop:g} are allowed\n{table(steps)}"
        )
    figures = {
        "max_drop": max_drop,
        "measure": "top-1" if truth is not None else "agreement",
        "drop": drop,
        "pictures": len(feeds),
        "steps": [vars(step) for step in steps],
    }
    return replace(current, notes={**current.notes, "budget": figures})


def without(recipe: Recipe, node: str, reason: str) -> Recipe:
    """Return the recipe with one layer in float; the tensors around it stay int8."""
    weights = {name: w for name, w in recipe.weights.items() if name != node}
    notes = {**recipe.notes, "float": {**recipe.notes.get("float", {}), node: reason}}
    return replace(recipe, weights=weights, float_nodes=(*recipe.float_nodes, node), notes=notes)


STEPS = 256.0
"""Steps of its output in one of a layer's sums: XNNPACK opens no file with so many."""


def without_coarse(graph: Graph, recipe: Recipe) -> Recipe:
    """Return the recipe with layers in float of whose sums one step passes over nearly all that the output can hold."""
    readers = graph.consumers()
    for node in graph.nodes:
        if (weights := recipe.weights.get(node.name)) is None:
            continue
        held = [node.output, *(reader.output for reader in readers.get(node.output, ()))]
        given = next((recipe.activations[t] for t in held if t in recipe.activations), None)
        taken = recipe.activations.get(node.inputs[0])
        if given is None or taken is None:
            continue
        if taken.scale * float(np.max(weights.scales)) >= STEPS * given.scale:
            reason = f"one step of its sums would be {STEPS:g} or more of its output's"
            recipe = without(recipe, node.name, reason)
    return recipe


def without_worst(recipe: Recipe, count: int) -> Recipe:
    """Return the recipe with the ``count`` layers that add most noise in float."""
    layers = [name for name in ranked(recipe.notes.get("layers", {})) if name in recipe.weights]
    for name in layers[:count]:
        recipe = without(recipe, name, "it adds most noise, and --keep-float names the worst")
    return recipe


def table(steps: Sequence[Step]) -> str:
    """Return the steps as text, one layer a line."""
    lines = ["layer kept in float                       drop before   after   noise it added"]
    lines += [
        f"{step.node:40s} {step.before:11.2f} {step.after:7.2f}   {step.added_noise:.2e}"
        for step in steps
    ]
    return "\n".join(lines)
