"""Compute in float what leads from samples to the logarithm of their spectrum.

Given:   x -> Conv (cosines and sines) | STFT -> Mul(., .) -> MatMul (mel bands) -> Clip -> Log -> Conv -> Relu
Result:  all up to the Log computes in float, the layers too

Energies of bands span ten decades, and their logarithms count alike: in steps of one size of the samples, of a
layer's weights or of what it makes the weak ones are rounding alone. A net's own layers, with activations
between them, are no spectrum: a Log behind those asks for small values of its operand alone (relative.py).
"""

from collections.abc import Mapping

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import RULES, Is, operators
from edgeconv.export.quant.enclosed import APART

POWERS = frozenset(["Abs", "Div", "DFT", "Neg", "Pow", "ReduceL1", "ReduceL2", "Sqrt", "STFT"])
SUMS = frozenset(["Clip", "Squeeze", "Unsqueeze", "AveragePool", "ReduceMean", "ReduceSum"])
MOVES = frozenset(op for op, rule in RULES.items() if rule.moves)
SPECTRAL = POWERS | SUMS | MOVES | APART | operators(Is.TAKES_CLAMP | Is.BROADCASTS)
"""What makes a spectrum of samples: products with constants and with itself, sums, moves, limits; no activation."""


def spectrum(graph: Graph, makers: Mapping[str, Node], log: Node) -> list[str]:
    """Return the nodes that lead from the graph's inputs to ``log``; none where other than a spectrum does."""
    found: dict[str, Node] = {}
    waiting = list(log.inputs)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        if node.op not in SPECTRAL or (node.clamp is not None and node.clamp[0] <= 0.0):
            return []
        found[node.name] = node
        waiting += [name for name in node.inputs if name]
    layers = any(node.op in APART for node in found.values())
    return list(found) if layers else []
