"""Refuse what draws random numbers: no file of it can be verified, and an app wants none."""

import onnx
from onnx import numpy_helper

from edgeconv.errors import EdgeconvError

RANDOM = frozenset(
    [
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


def refuse_chance(model: onnx.ModelProto) -> None:
    """Raise EdgeconvError for the first node whose results are drawn."""
    constants = {item.name: item for item in model.graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"
    }

    def given(node: onnx.NodeProto, place: int, default: float) -> float:
        name = node.input[place] if place < len(node.input) else ""
        return float(numpy_helper.to_array(constants[name])) if name in constants else default

    for number, node in enumerate(model.graph.node):
        said = f"node {node.name or number} ({node.op_type})"
        if node.op_type in RANDOM:
            raise EdgeconvError(
                f"{said} draws random numbers, which no two runs share: make them an input of the net"
            )
        if node.op_type == "Dropout" and given(node, 2, 0.0) and given(node, 1, 0.5):
            raise EdgeconvError(
                f"{said} drops values at random, as in training: call eval() on the net before it is exported"
            )
