"""Write what only few runtimes give, beside a result or for a shape alone, as operators that all have.

Given:   x -> LayerNormalization -> y, mean, 1 / deviation
Result:  x -> LayerNormalization -> y, and x -> ReduceMean -> mean -> Sub, Mul, ReduceMean, Add, Sqrt, Reciprocal

Given:   x -> Dropout (of inference) -> y, mask
Result:  x -> Dropout -> y, and the constant true -> Identity -> mask

Given:   x -> EyeLike -> y
Result:  a constant -> Identity -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.drop_noops import is_noop
from edgeconv.export.passes.steps import Steps


def certain_outputs(graph: Graph) -> bool:
    """Apply the rewrites to every match."""
    changed = False
    for node in graph.of("EyeLike"):
        rows, columns = graph.shape(node.output)
        _constant(graph, node, node.output, np.eye(rows, columns, node.int("k", 0)))
        graph.nodes.remove(node)
        changed = True
    for node in graph.of("Dropout"):
        if len(node.outputs) > 1 and is_noop(graph, node):
            mask = node.outputs.pop()
            if mask:
                _constant(graph, node, mask, np.ones(graph.shape(mask)))
            changed = True
    for node in graph.of("LayerNormalization"):
        if len(node.outputs) > 1:
            _statistics(graph, node)
            changed = True
    return changed


def _constant(graph: Graph, node: Node, name: str, value: Array) -> None:
    held = graph.add_constant(f"{name}_value", value.astype(graph.dtype(name)))
    made = Node("Identity", graph.fresh(f"{node.name}_constant"), [held], [name])
    graph.nodes.insert(graph.nodes.index(node), made)


def _statistics(graph: Graph, node: Node) -> None:
    x, rank = node.inputs[0], len(graph.shape(node.inputs[0]))
    first = node.int("axis", -1) % rank
    shape = (*graph.shape(x)[:first], *[1] * (rank - first))
    stems = [
        name or graph.fresh(f"{node.name}_statistic_{n}") for n, name in enumerate(node.outputs[1:])
    ]
    names = [graph.declare(name, shape, np.float32) for name in stems]
    del node.outputs[1:]
    steps = Steps(graph, Node("ReduceMean", graph.fresh(f"{node.name}_mean"), [x], names[:1]))
    axes = steps.integers(range(first, rank))
    written = steps.ended("ReduceMean", x, axes, keepdims=1)
    if len(names) > 1:
        steps = Steps(
            graph, Node("Reciprocal", graph.fresh(f"{node.name}_inverse"), [x], names[1:])
        )
        centred = steps.do("Sub", x, names[0], shape=graph.shape(x))
        square = steps.do("Mul", centred, centred, shape=graph.shape(x))
        variance = steps.do("ReduceMean", square, axes, keepdims=1)
        raised = steps.do("Add", variance, steps.constant(node.float("epsilon", 1e-5)))
        written += steps.ended("Reciprocal", steps.do("Sqrt", raised))
    place = graph.nodes.index(node)
    graph.nodes[place:place] = written
