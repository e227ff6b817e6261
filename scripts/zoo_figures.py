"""Figures of one net of the zoo, read from an export's evidence (make_zoo.py)."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import from_onnx, load_model
from edgeconv.export.op_traits import RULES
from edgeconv.runtimes.onnxrt import open_model

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def integer_share(evidence: Path) -> float:
    """Return the percentage of multiply-adds that compute in INT8."""
    graph, recipe = _prepared(evidence)
    floats = set(recipe["float_nodes"])
    counts = {node.name: _multiply_adds(graph, node) for node in graph.of(*COMPUTE)}
    whole = sum(counts.values())
    integer = sum(count for name, count in counts.items() if name not in floats)
    return round(100 * integer / whole, 2) if whole else 0.0


def float_operators(evidence: Path) -> dict[str, int]:
    """Return how many operators with real results compute in float, by kind."""
    graph, recipe = _prepared(evidence)
    floats = set(recipe["float_nodes"])
    return dict(
        Counter(
            node.op if node.op not in RULES else f"{node.op} (its scale)"
            for node in graph.nodes
            if node.name in floats and graph.dtype(node.output) == np.float32
        )
    )


def _prepared(evidence: Path) -> tuple[Graph, dict[str, Any]]:
    recipe: dict[str, Any] = json.loads((evidence / "recipe.json").read_text())
    return from_onnx(load_model(evidence / "prepared.onnx")), recipe


def _multiply_adds(graph: Graph, node: Node) -> int:
    made, read = graph.shape(node.output), graph.shape(node.inputs[0])
    weights = graph.shape(node.inputs[1])
    if node.op in ("Gemm", "MatMul"):
        return int(np.prod(made)) * read[-1]
    if node.op == "Conv":
        return int(np.prod(made)) * int(np.prod(weights[1:]))
    return int(np.prod(read)) * int(np.prod(weights[1:]))


def sqnr_by_output(
    path: Path, feeds: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Return the signal to noise ratio (dB) of each output of an .onnx file over all samples."""
    count = len(next(iter(feeds.values())))
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    with open_model(path, threads=1) as runner:
        for i in range(count):
            made = runner.infer({name: value[i : i + 1] for name, value in feeds.items()})
            for name in wanted:
                rows[name].append(made[name])
    return {name: _sqnr(wanted[name], np.concatenate(made)) for name, made in rows.items()}


def _sqnr(real: NDArray[Any], got: NDArray[Any]) -> float:
    power = float((real.astype(np.float64) ** 2).sum())
    noise = float(((real.astype(np.float64) - got) ** 2).sum())
    return round(min(200.0, float(10 * np.log10(power / max(noise, 1e-30)))), 1)
