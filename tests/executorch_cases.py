"""Backend node tests in ExecuTorch: many in one program, because lowering one costs a second whatever it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from onnx_node_cases import (
    NodeCase,
    Tried,
    compared,
    forms,
    in_steps,
    quantized,
)
from tflite_kit import Arrays

from edgeconv.errors import EdgeconvError
from edgeconv.export.executorch.target import EXECUTORCH
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.prepare import prepare
from edgeconv.recipe import Recipe
from edgeconv.runtimes.base import open_runner

TOGETHER = 40
Run = Callable[["Ready", Path], Arrays]


@dataclass(frozen=True)
class Ready:
    """A case as an emitter is given it."""

    case: NodeCase
    graph: Graph
    recipe: Recipe | None
    feeds: Arrays


def ready(case: NodeCase, *, int8: bool) -> Ready | str:
    """Return a case in a form that ExecuTorch's table takes, or why there is none."""
    last = ""
    for model in forms(case):
        try:
            if int8:
                graph, recipe, feeds = quantized(case, model)
                found = Ready(case, graph, recipe, feeds)
            else:
                graph = prepare(from_onnx(model)).graph
                fed = {n: np.reshape(case.feeds[n], graph.shape(n)) for n in graph.inputs}
                found = Ready(case, graph, None, fed)
            EXECUTORCH.check(graph)
        except EdgeconvError as error:
            last = str(error)
        else:
            return found
    return f"refused: {last}"


def joined(parts: Sequence[Ready]) -> Ready:
    """Return several cases as one graph, the names of each behind its number."""
    whole = Graph("cases", 18, [], [], [])
    recipe = replace(parts[0].recipe, activations={}, weights={}) if parts[0].recipe else None
    feeds: Arrays = {}
    for number, part in enumerate(parts):
        named = renamed(part.graph, f"{number}/")
        whole.nodes += named.nodes
        whole.inputs += named.inputs
        whole.outputs += named.outputs
        whole.constants |= named.constants
        whole.shapes |= named.shapes
        whole.dtypes |= named.dtypes
        feeds |= {f"{number}/{name}": value for name, value in part.feeds.items()}
        if recipe is not None and part.recipe is not None:
            held = {f"{number}/{n}": a for n, a in part.recipe.activations.items()}
            weights = {f"{number}/{n}": w for n, w in part.recipe.weights.items()}
            recipe = replace(
                recipe,
                activations={**recipe.activations, **held},
                weights={**recipe.weights, **weights},
            )
    return Ready(parts[0].case, whole, recipe, feeds)


def renamed(graph: Graph, before: str) -> Graph:
    """Return a copy in which every name begins with ``before``."""
    made = graph.clone()
    for node in made.nodes:
        node.name = before + node.name
        node.inputs = [name and before + name for name in node.inputs]
        node.outputs = [name and before + name for name in node.outputs]
    made.inputs = [before + name for name in made.inputs]
    made.outputs = [before + name for name in made.outputs]
    made.constants = {before + name: value for name, value in made.constants.items()}
    made.shapes = {before + name: shape for name, shape in made.shapes.items()}
    made.dtypes = {before + name: kind for name, kind in made.dtypes.items()}
    return made


def eager(part: Ready, folder: Path) -> Arrays:
    """Return what the PyTorch module gives that is lowered, by output."""
    del folder
    import torch
    from torch.ao.quantization.fx import _decomposed  # noqa: F401 - registers the integer operators

    from edgeconv.export.executorch.module import GraphModule

    graph = part.graph
    fed = [torch.from_numpy(np.array(part.feeds[n], graph.dtype(n))) for n in graph.inputs]
    with torch.no_grad():
        made = GraphModule(graph, part.recipe)(*fed)
    return {name: value.numpy() for name, value in zip(graph.outputs, made, strict=True)}


def lowered(part: Ready, folder: Path) -> Arrays:
    """Return what the .pte gives, by output."""
    from edgeconv.export.executorch.lower import program

    graph, made = part.graph, folder / "net.pte"
    made.write_bytes(program(graph, part.recipe, "float")[0])
    with open_runner(made) as runner:  # a file without a manifest numbers its borders
        fed = zip(graph.inputs, runner.inputs, strict=True)
        got = runner.infer({s.name: np.asarray(part.feeds[n], s.dtype) for n, s in fed})
        return {n: got[s.name] for n, s in zip(graph.outputs, runner.outputs, strict=True)}


def failures(
    cases: Sequence[NodeCase], folder: Path, run: Run, *, int8: bool, together: int = TOGETHER
) -> dict[str, str]:
    """Return case -> what is wrong with it; those that are right are left out."""
    found: dict[str, str] = {}
    parts = []
    for case in cases:
        part = ready(case, int8=int8)
        if isinstance(part, Ready):
            parts.append(part)
        else:
            found[case.name] = part
    for first in range(0, len(parts), together):
        found |= _failures(parts[first : first + together], folder, run)
    return found


def _failures(parts: Sequence[Ready], folder: Path, run: Run) -> dict[str, str]:
    """Run several cases in one program; where that fails, halves of them."""
    try:
        got = run(joined(parts), folder)
    except (EdgeconvError, RuntimeError) as error:
        if len(parts) == 1:
            return {parts[0].case.name: f"failed: {error}"}
        half = len(parts) // 2
        return _failures(parts[:half], folder, run) | _failures(parts[half:], folder, run)
    found = {}
    for number, part in enumerate(parts):
        mine = {name: got[f"{number}/{name}"] for name in part.graph.outputs}
        tried = Tried(mine, part.case.expected, {})
        if part.recipe is not None:
            tried = in_steps(part.graph, part.recipe, part.feeds, mine)
        if (why := compared(part.case, tried)) is not None:
            found[part.case.name] = why
    return found
