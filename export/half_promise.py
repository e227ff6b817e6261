"""What half precision leaves of a net: its float graph with all that a file rounds to halves rounded.

A net that enlarges what is rounded departs by more than most in a file that is right; by how much, only the net says.
"""

import math
from collections.abc import Collection, Mapping
from collections.abc import Set as Names

import numpy as np

from edgeconv.export.coreml.wide import coarse_outputs
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.verify import Expected
from edgeconv.judge.budget import DEFAULTS, HALVES, Limits
from edgeconv.judge.run import run_feeds
from edgeconv.judge.verdict import compare

MARGIN = math.sqrt(2.0)
"""Twice the noise, 3 dB or half a bit: every value rounded once more, as by a runtime that splits each operator in two."""
MARGIN_DB = 20.0 * math.log10(MARGIN)
LARGEST = float(np.finfo(np.float16).max)
FULL, HALF = 1, 10
"""Element types of an ONNX Cast."""


def half_limits(
    graph: Graph, expected: Expected, threads: int, *, tensors: bool
) -> dict[str, dict[str, float]]:
    """Return the limits of HALVES by output, and by part as a finding calls it, that ``graph`` in half precision keeps.

    They are never stricter than the defaults. ``tensors``: every tensor is rounded, as in Core ML; else the weights of layers alone.
    """
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.runtimes.onnxrt import open_model

    wide = _wide(graph, set(coarse_outputs(expected.outputs)))
    model = save_model(to_onnx(rounded(graph, tensors=tensors, wide=wide if tensors else ())))
    with open_model(model, threads=threads, optimize=False) as runner:
        made, _ = run_feeds(runner, expected.feeds, runner.inputs, runner.outputs)
    usual = DEFAULTS["fp16"]
    least, most, lost = (
        usual.limits[name] for name in ("half_sqnr_db", "half_error", "lost_float_bits")
    )
    kept = compare(expected.outputs, made, budget=usual, cuts=expected.cuts, whole=expected.whole)
    return {
        f"{output}, {part}" if part else output: {
            "half_sqnr_db": min(least, figures["half_sqnr_db"] - MARGIN_DB),
            "half_error": max(most, figures["half_error"] * MARGIN),
            "lost_float_bits": max(lost, figures["lost_float_bits"] + math.log2(MARGIN)),
        }
        for (output, part), figures in kept.places.items()
        if figures.keys() >= HALVES and math.isfinite(figures["half_error"])
    }


def half_notes(limits: Mapping[str, Limits]) -> list[str]:
    """Return a note on each output, or part of one, that is held to less than files in half precision are."""
    usual = DEFAULTS["fp16"].limits["half_sqnr_db"]
    return [
        f"{place}: half precision costs this net more than most: {own['half_sqnr_db']:.1f} dB are asked and not "
        f"{usual:g}, {MARGIN_DB:.0f} less than its graph keeps in it; --fp32 keeps all"
        for place, own in limits.items()
        if own["half_sqnr_db"] < usual
    ]


def rounded(graph: Graph, *, tensors: bool, wide: Collection[str] = ()) -> Graph:
    """Return ``graph`` with the weights of layers rounded to halves; ``tensors``: all constants and what nodes give too.

    ``wide`` names the nodes that compute in float32 all the same.
    """
    graph = graph.clone()
    readers = graph.consumers()
    for name, value in graph.constants.items():
        inside = tensors or value.ndim > 1
        halved = any(
            inside and node.name not in wide and (tensors or node.op in WEIGHTED)
            for node in readers.get(name, ())
        )
        if halved and value.dtype == np.float32 and np.abs(value).max(initial=0.0) <= LARGEST:
            graph.constants[name] = value.astype(np.float16).astype(np.float32)
    if not tensors:
        return graph
    nodes: list[Node] = []
    for name in graph.inputs:
        if graph.dtype(name) == np.float32:
            half = graph.declare(graph.fresh(f"{name}_half"), graph.shape(name), np.float32)
            nodes += _casts(graph, name, half)
            for node in readers.get(name, ()):
                node.inputs = [half if given == name else given for given in node.inputs]
    for node in graph.nodes:
        nodes.append(node)
        for place, name in enumerate(node.outputs):
            if name and graph.dtype(name) == np.float32 and node.name not in wide:
                full = graph.declare(graph.fresh(f"{name}_full"), graph.shape(name), np.float32)
                node.outputs[place] = full
                nodes += _casts(graph, full, name)
    graph.nodes = nodes
    return graph


def _casts(graph: Graph, source: str, target: str) -> list[Node]:
    half = graph.declare(f"{target}_cast", graph.shape(source), np.float16)
    return [
        Node("Cast", f"{target}_to_half", [source], [half], {"to": HALF}),
        Node("Cast", f"{target}_to_full", [half], [target], {"to": FULL}),
    ]


def _wide(graph: Graph, coarse: Names[str]) -> set[str]:
    """Return the nodes that Core ML computes in float32: those from the last layer to an output that needs its digits."""
    readers = graph.consumers()
    found: set[str] = set()
    for node in reversed(graph.nodes):
        behind = [r for name in node.outputs for r in readers.get(name, ()) if r.name in found]
        if coarse & set(node.outputs) or any(reader.op not in WEIGHTED for reader in behind):
            found.add(node.name)
    return found
