"""What an ONNX model ends in: class scores, or the probabilities that a net made of them itself."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PASSED = frozenset(
    [
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
    ]
)
"""What hands values on, in another shape or type."""
MAKERS = frozenset(["QLinearSigmoid", "QLinearSoftmax", "Sigmoid", "Softmax"])


def gives_probabilities(model: "onnx.ModelProto") -> bool:
    """Whether the only output comes from a softmax, or from a sigmoid for each class, in the net itself."""
    if len(model.graph.output) != 1:
        return False
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in PASSED:
        node = makers.get(node.input[0])
    return node is not None and node.op_type in MAKERS
