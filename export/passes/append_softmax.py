"""Make a classifier return probabilities.

Given:   rest -> logits (N, classes)
Result:  rest -> logits -> Softmax(axis=1) -> probabilities
"""

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node


def append_softmax(graph: Graph) -> bool:
    """Apply the rewrite to the graph's one output.

    Raises EdgeconvError where the graph does not return one row of class scores.
    """
    if len(graph.outputs) != 1 or len(graph.shape(graph.outputs[0])) != 2:
        raise EdgeconvError("--softmax needs a net with one output of class scores (N, classes)")
    output = graph.outputs[0]
    shape, kind = graph.shape(output), graph.dtype(output).type
    scores = graph.fresh(f"{output}_scores")
    graph.rename(output, scores)
    result = graph.fresh("probabilities") if output == "logits" else output
    graph.outputs = [graph.declare(result, shape, kind)]
    graph.nodes.append(Node("Softmax", graph.fresh("softmax"), [scores], [result], {"axis": 1}))
    return True
