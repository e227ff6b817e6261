"""Figures of one net of the zoo, read from an export's evidence (make_zoo.py)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import from_onnx, load_model
from edgeconv.export.integer.counts import count_operators
from edgeconv.recipe import load_recipe
from edgeconv.runtimes.onnxrt import open_model
from edgeconv.samples import Sample

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def integer_share(evidence: Path) -> float:
    """Return the percentage of multiply-adds that compute in INT8."""
    graph, recipe = _prepared(evidence)
    floats = set(recipe["float_nodes"])
    counts = {node.name: _multiply_adds(graph, node) for node in graph.of(*COMPUTE)}
    whole = sum(counts.values())
    integer = sum(count for name, count in counts.items() if name not in floats)
    return round(100 * integer / whole, 2) if whole else 0.0


def float_operators(evidence: Path) -> Mapping[str, Mapping[str, int]]:
    """Return how many operators with real results compute in float, by reason and kind."""
    graph, _ = _prepared(evidence)
    return count_operators(graph, load_recipe(evidence / "recipe.json")).floats


def _prepared(evidence: Path) -> tuple[Graph, dict[str, Any]]:
    recipe: dict[str, Any] = json.loads((evidence / "recipe.json").read_text(encoding="utf-8"))
    return from_onnx(load_model(evidence / "prepared.onnx")), recipe


def _multiply_adds(graph: Graph, node: Node) -> int:
    made, read = graph.shape(node.output), graph.shape(node.inputs[0])
    weights = graph.shape(node.inputs[1])
    if node.op in ("Gemm", "MatMul"):
        return int(np.prod(made)) * read[-1]
    if node.op == "Conv":
        return int(np.prod(made)) * int(np.prod(weights[1:]))
    return int(np.prod(read)) * int(np.prod(weights[1:]))


def departures(hub: Path, path: Path, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return what an .onnx file departs from the hub graph by over all samples, by output.

    ``sqnr``: signal to noise ratios of real numbers in dB; ``agreement``: of scores, how often the largest is the same.
    """
    wanted, made = (_outputs(file, samples) for file in (hub, path))
    same = {
        name: float((wanted[name].argmax(-1) == made[name].argmax(-1)).mean())
        for name in wanted
        if wanted[name].ndim == 3 and wanted[name].shape[1] == 1 and wanted[name].shape[2] > 1
    }
    real = [name for name in wanted if wanted[name].dtype.kind == "f"]
    return {"sqnr": {name: _sqnr(wanted[name], made[name]) for name in real}, "agreement": same}


def _outputs(path: Path, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    with open_model(path, threads=1) as runner:
        rows = [runner.infer(sample.load()) for sample in samples]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _sqnr(real: NDArray[Any], got: NDArray[Any]) -> float:
    power = float((real.astype(np.float64) ** 2).sum())
    noise = float(((real.astype(np.float64) - got) ** 2).sum())
    return round(min(200.0, float(10 * np.log10(power / max(noise, 1e-30)))), 1)
