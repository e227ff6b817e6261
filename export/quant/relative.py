"""Keep in float what is divided by, what a root or logarithm is taken of, and what is nearly equal.

Given:   x -> Mul(x, x) -> ReduceMean -> Add(epsilon) -> Sqrt -> Div(x, .), as norms are spelled
Result:  all of it computes in float on the dequantized x

Steps of one size are exact to a share of the largest value; these readers ask for a share of each. A
small norm would be rounded to 0 and divide by that.

Given:   x -> ReduceSum -> Div(x, .), shares of a whole
Result:  the sum computes in float on the dequantized x, so that the shares still add up to 1

Given:   x -> Floor -> Sub(x, .), or Sub(mean of squares, square of the mean), or Sub(a * d, b * c)
Result:  all of it computes in float: the difference is smaller than the steps of what it is made of

Given:   Sigmoid -> MaxPool -> Equal(Sigmoid, .) -> Cast -> Mul(Sigmoid, .), the peaks of a heatmap
Result:  all of it computes in float: in steps of 1/256 neighbours tie, and each of them is a peak

Given:   Gemm -> Softmax -> TopK -> ScatterElements -> Mul, which chooses among a few experts
Result:  all that decides computes in float, a small Gemm too: where two are rounded to one value, the wrong
         one is chosen

Given:   MatMul(x, y) -> Sub(norms, .) -> TopK -> Gather, which reads the nearest neighbours
Result:  Sub and the norms compute in float: in steps of 1/256 of the largest distance neighbours tie

Given:   Tanh, Sigmoid, or Softmax over many, whose values stay small
Result:  it computes in float: INT8 prescribes steps of 1/128 or 1/256, of which it would use few

Given:   Mul(mask, -1e9) -> Add(scores, .) -> Softmax
Result:  the Mul computes in float: no kernel's fixed-point factor brings steps of 4 million to those of a mask

Given:   Max(-1e38, x) -> m, beside Sub(-1e38, m), the first of running maxima
Result:  the Max computes in float, so that nobody stores -1e38 in steps that x shares

Places to read at (x -> Floor | Round | Cast to integers) are whole numbers and need all of theirs; those of a
GridSample are told apart by less than a pixel.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import needed_bounds
from edgeconv.export.op_traits import RULES
from edgeconv.export.quant.apart import MOST_CHEAP
from edgeconv.export.quant.bounds import FAR, LIMITS, mask_bounds
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.spectra import spectrum

READS = {"Div": 1} | dict.fromkeys(
    ["Log", "Pow", "Reciprocal", "Sqrt", "Ceil", "Floor", "Round"], 0
)
"""Operator -> the place of the operand whose small values count; of Pow where the exponent is less than 1."""
BETWEEN = frozenset(
    [
        *("Abs", "Add", "Clip", "Max", "Mul", "Sub"),
        *("GlobalAveragePool", "ReduceL1", "ReduceL2", "ReduceMean", "ReduceSum"),
        *("AveragePool", "Expand", "Relu", "Reshape", "Squeeze", "Unsqueeze"),
    ]
)
"""What lies between such a reader and the tensor whose size it measures, beside sums of windows and products of
two computed tensors."""
COMPRESSES = frozenset(["Log", "Pow"])
"""Those that make alike of values of many decades: what a spectrum is given to."""

COMPARED = frozenset(["Clip", "MaxPool", "HardSigmoid", "Sigmoid", "Softmax", "Tanh"])
"""What lies between a layer and a comparison of its values with each other."""
CHOOSES = frozenset(["ArgMax", "ArgMin", "TopK"])
"""Operators whose result says which part of a net counts, where something reads it."""
DISTANCES = frozenset(["Add", "Mul", "Neg", "Pow", "ReduceSum", "Sub", "Transpose"])
"""What lies between products and a choice by distance."""
DECIDES = COMPARED | DISTANCES | {"Gemm", "LogSoftmax", "Reshape", "Squeeze", "Unsqueeze"}
"""What lies between a layer and a choice among few; a Gemm where it is small."""
FEW = 64
"""Choices of which each may matter: experts, not places or classes."""
MASKS = frozenset(["And", "Cast", "Not", "Or", "Reshape", "Unsqueeze"])
"""What lies between a comparison and what it selects."""

EQUALS = COMPARED | {
    *("GlobalMaxPool", "ReduceMax", "ReduceMin"),
    *("Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
}
"""What lies between a layer and an Equal: values that are compared with their maxima, and moved before."""
SMALL = {"Tanh": 0.5, "Softmax": 0.125, "Sigmoid": 0.125, "HardSigmoid": 0.125}
"""Operator -> least of the values 0 to 1, which its prescribed steps are made for, that it has to reach."""
WIDE = 8.0
"""Times that the largest of these values exceeds the smallest: three bits of eight."""
CANCELS = 4.0
"""Times that a difference is smaller than what it is of: two bits of eight (log-mels less their mean)."""


def relative(graph: Graph, seen: Observation) -> dict[str, str]:
    """Return the nodes that must compute in float for this, with the reason."""
    makers, readers = graph.producers(), graph.consumers()
    found = _far_masks(graph, seen)
    for node in reversed(graph.nodes):
        between = BETWEEN
        if _counts_small(graph, node) and _is_wide(seen, node.inputs[READS[node.op]]):
            reason = f"{node.op} asks for a share of each value, not of the largest"
            waiting = [node.inputs[READS[node.op]]]
            if node.op in COMPRESSES:
                found |= dict.fromkeys(spectrum(graph, makers, node), reason)
        elif node.op == "Div" and _of_whole(graph, makers, node):
            reason, waiting = "Div makes shares of a whole of it", [node.inputs[1]]
        elif node.op == "Cast" and graph.dtype(node.output).kind in "iu":
            reason = "Cast makes whole numbers of it"
            waiting = [node.inputs[0]]
        elif _size(seen, node.output) < SMALL.get(node.op, 0.0):
            found[node.name] = "it uses few of the steps that are prescribed"
            continue
        elif node.op == "Equal" and not any(name in graph.constants for name in node.inputs):
            reason = "Equal asks for all digits"
            found |= dict.fromkeys(_selected(node, readers), reason)
            waiting, between = list(node.inputs), EQUALS
        elif node.op in CHOOSES and any(readers.get(out) for out in node.outputs if out):
            few = _is_among_few(graph, node)
            reason = f"{node.op} chooses {'among few ' if few else ''}by small differences"
            waiting, between = [node.inputs[0]], DECIDES if few else DISTANCES
        elif node.op in LIMITS and _reads_far_limit(graph, seen, readers, node):
            found[node.name] = "it reads a limit so far that nothing else has steps beside it"
            continue
        elif node.op == "GridSample":
            reason = "GridSample reads at these places"
            waiting, between = [node.inputs[1]], BETWEEN | {"Tanh", "Transpose"}
        elif node.op == "Sub" and (
            _cancels(graph, seen, node) or _of_products(graph, makers, node)
        ):
            reason = "nearly equal values are taken from each other"
            found[node.name], waiting = reason, list(node.inputs)
        else:
            continue
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is None or maker.name in found:
                continue
            computed = not any(name in graph.constants for name in maker.inputs)
            product = maker.op == "MatMul" and computed and node.op in READS
            summed = product or _sums_window(graph, maker)
            if maker.op not in between and not summed:
                continue
            if not _leads_elsewhere(graph, maker, readers, found, node):
                found[maker.name] = reason
                waiting += [name for name in maker.inputs if name]
    return {node.name: found[node.name] for node in graph.nodes if node.name in found}


def _counts_small(graph: Graph, node: Node) -> bool:
    """Whether a node asks for a share of each value of an operand."""
    if node.op != "Pow":
        return node.op in READS
    exponent = graph.constant(node, 1)
    return exponent is not None and bool((exponent < 1).all())


def _far_masks(graph: Graph, seen: Observation) -> dict[str, str]:
    """Return what multiplies a mask by much more than the values that it hides need."""
    far = mask_bounds(graph, seen, needed_bounds(graph, seen.peaks))
    return {
        node.name: "it makes values so low that only what they hide says how low"
        for node in graph.of("Mul")
        if node.output in far
    }


def _sums_window(graph: Graph, node: Node) -> bool:
    """Whether a depthwise convolution only sums or averages windows: of squares, where a norm is taken."""
    weights = graph.constant(node, 1) if node.op == "Conv" else None
    apart = (
        weights is not None and weights.shape[0] == node.int("group", 1) and weights.shape[1] == 1
    )
    return weights is not None and apart and weights[0].size > 1 and np.ptp(weights) == 0.0


def _of_whole(graph: Graph, makers: dict[str, Node], node: Node) -> bool:
    """Whether a few values are divided by their own sum or mean."""
    whole = makers.get(node.inputs[1])
    few = int(np.prod(graph.shape(node.output))) <= MOST_CHEAP
    if whole is None or whole.op not in ("ReduceMean", "ReduceSum"):
        return False
    return few and whole.inputs[0] == node.inputs[0]


def _is_among_few(graph: Graph, node: Node) -> bool:
    """Whether the largest of a few values is chosen, a few times."""
    shape = graph.shape(node.inputs[0])
    few = shape[node.int("axis", -1 if node.op == "TopK" else 0) % len(shape)] <= FEW
    return few and int(np.prod(shape)) <= MOST_CHEAP


def _reads_far_limit(
    graph: Graph, seen: Observation, readers: dict[str, list[Node]], node: Node
) -> bool:
    """Whether a Max or Min reads a constant far beyond what it makes that others read as well."""
    far = FAR * _size(seen, node.output)
    limits = [name for name in node.inputs if name in graph.constants]
    limits = [name for name in limits if np.abs(graph.constants[name]).max(initial=0.0) > far]
    return any(reader.op not in LIMITS for name in limits for reader in readers[name])


def _cancels(graph: Graph, seen: Observation, node: Node) -> bool:
    """Whether a difference of two computed tensors is much smaller than both of them."""
    if any(name in graph.constants for name in node.inputs):
        return False
    taken = min(_size(seen, name) for name in node.inputs)
    return _size(seen, node.output) * CANCELS < taken


def _of_products(graph: Graph, makers: dict[str, Node], node: Node) -> bool:
    """Whether one product of few computed values is taken from another, as in a determinant."""
    few = int(np.prod(graph.shape(node.output))) <= MOST_CHEAP
    made = [makers.get(name) for name in node.inputs]
    return few and all(
        each is not None
        and (
            _of_products(graph, makers, each)
            if each.op == "Sub"
            else each.op == "Mul" and not any(name in graph.constants for name in each.inputs)
        )
        for each in made
    )


def _selected(node: Node, readers: dict[str, list[Node]]) -> list[str]:
    """Return what multiplies by a comparison, or by its opposite: nothing but values that it selects."""
    following = readers.get(node.output, [])
    products = [reader.name for reader in following if reader.op == "Mul"]
    masks = [reader for reader in following if reader.op in MASKS]
    return products + [name for mask in masks for name in _selected(mask, readers)]


def _size(seen: Observation, tensor: str) -> float:
    """Return the largest size of a tensor's values; infinite where it was not observed."""
    if tensor not in seen.tensors:
        return float("inf")
    stats = seen.tensors[tensor]
    return max(abs(float(stats.low.min())), abs(float(stats.high.max())))


def _is_wide(seen: Observation, tensor: str) -> bool:
    if tensor not in seen.tensors:
        return False
    stats = seen.tensors[tensor]
    low, high = float(stats.low.min()), float(stats.high.max())
    least = max(0.0, low, -high)
    return least * WIDE < max(abs(low), abs(high))


def _leads_elsewhere(
    graph: Graph, maker: Node, readers: dict[str, list[Node]], found: dict[str, str], last: Node
) -> bool:
    """Whether somebody reads what this makes who computes in steps of one size.

    An output does, unless it is the map whose peaks are looked for.
    """
    inside = {*found, last.name}
    return (maker.output in graph.outputs and last.op != "Equal") or any(
        reader.op in RULES and reader.name not in inside for reader in readers.get(maker.output, [])
    )
