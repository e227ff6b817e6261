"""The largest values and where they are."""

from typing import Any

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.ops_elementwise import of_kinds


def top_k(em: Emission, node: Node) -> None:
    """TopK: TOPK_V2 of the last axis, of the negated values for the smallest."""
    shape = em.graph.shape(node.outputs[0])
    rank, smallest = len(shape), not node.int("largest", 1)
    axis, last = node.int("axis", -1) % rank, rank - 1
    swapped = list(range(rank))
    swapped[axis], swapped[last] = last, axis
    x = em.read(node.inputs[0], "plain")
    x = em.transpose(x, swapped) if axis != last else x
    x = em.do("NEG", [x], "NegOptions") if smallest else x
    made = [shape[place] for place in swapped]
    kinds = em.builder.dtype(x), "int32"
    outs = [em.builder.tensor(f"{node.output}/top", made, kind, None) for kind in kinds]
    em.builder.op("TOPK_V2", [x, em.ints(shape[axis : axis + 1], "k")], outs, "TopKV2Options")
    values, places = outs
    values = em.do("NEG", [values], "NegOptions") if smallest else values
    _hand_over(em, node, 0, values, swapped if axis != last else [])
    if len(node.outputs) > 1 and node.outputs[1]:
        places = em.transpose(places, swapped) if axis != last else places
        fields: dict[str, Any] = {"inDataType": "INT32", "outDataType": "INT64"}
        em.emit(node, "CAST", [places], "CastOptions", out=1, layout="plain", **fields)


def _hand_over(em: Emission, node: Node, out: int, index: int, order: list[int]) -> None:
    """Let a tensor of the file be an output, turned back where it is not in order."""
    if order:
        inputs = [index, em.ints(order, "permutation")]
        em.emit(node, "TRANSPOSE", inputs, "TransposeOptions", out=out, layout="plain")
    elif not em.share(node, index):
        shape = em.builder.shape(index)
        inputs = [index, em.ints(shape, "shape")]
        fields: dict[str, Any] = {"newShape": list(shape)}
        em.emit(node, "RESHAPE", inputs, "ReshapeOptions", out=out, layout="plain", **fields)


def _check(graph: Graph, node: Node) -> str | None:
    return None if len(node.inputs) > 1 else "its number is an attribute, as before opset 10"


TABLE = {
    "TopK": Entry(
        top_k,
        "TOPK_V2",
        "a constant number of float32, int32 or int64 values",
        first_failing(
            _check, of_kinds("float32", "int32", "int64"), needs_constant(1, "number of values")
        ),
        "plain",
    ),
}
