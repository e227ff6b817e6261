"""Write a mean over all spatial axes as GlobalAveragePool, which runtimes quantize.

Given:   x (N, C, spatial...) -> ReduceMean(all spatial axes) -> y
Result:  x -> GlobalAveragePool [-> Reshape, where the axes were dropped] -> y

Given:   x -> AveragePool(kernel = the whole picture, no padding) -> y
Result:  x -> GlobalAveragePool -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def global_pool(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("ReduceMean"):
        shape = graph.shape(node.inputs[0])
        axes = _axes(graph, node)
        real = graph.dtype(node.output).kind == "f"  # GlobalAveragePool has no whole numbers
        if len(shape) < 3 or axes != list(range(2, len(shape))) or not real:
            continue
        kept = node.int("keepdims", 1) == 1
        _replace(graph, node, kept)
        changed = True
    for node in graph.of("AveragePool"):
        shape = graph.shape(node.inputs[0])
        whole = node.ints("kernel_shape", ()) == list(shape[2:])
        single = all(size == 1 for size in graph.shape(node.output)[2:])
        if whole and single and not any(node.ints("pads", ())):
            node.op, node.attrs = "GlobalAveragePool", {}
            changed = True
    return changed


def _axes(graph: Graph, node: Node) -> list[int]:
    rank = len(graph.shape(node.inputs[0]))
    value = graph.constant(node, 1)
    if value is None:
        if len(node.inputs) > 1 and node.inputs[1]:
            return []
        default: list[int] = [] if node.int("noop_with_empty_axes", 0) else list(range(rank))
        axes = node.ints("axes", default)
    else:
        axes = [int(axis) for axis in np.asarray(value).reshape(-1)]
    return sorted(axis % rank for axis in axes)


def _replace(graph: Graph, node: Node, kept: bool) -> None:
    at = graph.nodes.index(node)
    batch, channels, *spatial = graph.shape(node.inputs[0])
    pooled = node.output
    tail = []
    if not kept:
        kind = graph.dtype(node.output).type
        pooled = graph.declare(
            graph.fresh(f"{node.output}_pooled"), (batch, channels, *[1] * len(spatial)), kind
        )
        target = graph.add_constant(
            f"shape_{batch}x{channels}", np.array([batch, channels], np.int64)
        )
        tail = [
            Node("Reshape", graph.fresh(f"{node.name}_reshape"), [pooled, target], [node.output])
        ]
    pool = Node("GlobalAveragePool", node.name, node.inputs[:1], [pooled])
    graph.nodes[at : at + 1] = [pool, *tail]
