"""Recurrent operators: written as their steps, since the fused kernels keep state between calls."""

from edgeconv.export.graph import Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.unroll_recurrence import unroll, why_not_unrolled
from edgeconv.export.tflite.emission import Emission


def steps(em: Emission, node: Node) -> None:
    """LSTM, GRU, RNN: the operators of every step."""
    for piece in unroll(em.graph, node):
        em.ops[piece.op].emit(em, piece)


_NEAREST = "constant weights and sequences of static length"
_BECOMES = "FULLY_CONNECTED, SLICE, LOGISTIC, TANH, MUL, ADD, SUB, CONCATENATION"

TABLE = {
    op: Entry(steps, _BECOMES, _NEAREST, why_not_unrolled, "plain") for op in ("LSTM", "GRU", "RNN")
}
