"""Bring files of onnxruntime's QOperator form to the QDQ form, integer for integer.

Given:   QLinearConv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias) and its like
Result:  DequantizeLinear of each operand -> Conv -> QuantizeLinear(y_scale, y_zero)
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedOpError

BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul", "QLinearMatMul": "MatMul"}
UNARY = {
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearAveragePool": "AveragePool",
    "QLinearReduceMean": "ReduceMean",
    "QLinearSoftmax": "Softmax",
}
DYNAMIC = frozenset(
    [
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    ]
)


PACKED = frozenset(["MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "QMoE"])
"""Operators of onnxruntime's that read weights packed into a few bits."""


def refuse_dynamic(model: onnx.ModelProto) -> None:
    """Raise UnsupportedOpError for a model whose integers no INT8 target can take over.

    A dynamically quantized one has no scales of activations, packed weights are of onnxruntime's own operators.
    """
    for node in model.graph.node:
        if node.op_type in PACKED and node.domain not in ("", "ai.onnx"):
            raise UnsupportedOpError(
                f"{node.op_type} {node.name or node.output[0]} reads weights packed into a few bits, and computes in float: "
                "it is onnxruntime's own operator, which no target here takes; export the float model it was made from "
                "(--int8 --calib makes weights of 8 bits)"
            )
        if node.op_type in DYNAMIC:
            raise UnsupportedOpError(
                f"the model is quantized dynamically ({node.op_type} {node.name or node.output[0]}): its activations get "
                "their scales anew with every input, which no INT8 target here does; export the float "
                "model it was made from with --int8 --calib"
            )


def use_standard_quantization(model: onnx.ModelProto) -> None:
    """Give onnxruntime's own QuantizeLinear and DequantizeLinear the standard ones' domain, in place.

    They do the same, and also on 16-bit integers.
    """
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""


FOUR_BITS = {TensorProto.INT4: np.int8, TensorProto.UINT4: np.uint8}
"""Integers that no target stores: the same numbers in the type of 8 bits."""


def widen_four_bits(model: onnx.ModelProto) -> int:
    """Store constants of 4 bits as the same integers of 8, in place; return how many of them had axes."""
    within = [a.t for node in model.graph.node for a in node.attribute if a.t.data_type]
    stored = [item for item in (*model.graph.initializer, *within) if item.data_type in FOUR_BITS]
    for item in stored:
        wide = numpy_helper.to_array(item).astype(FOUR_BITS[item.data_type])
        item.CopyFrom(numpy_helper.from_array(wide, item.name))
    for value in model.graph.value_info:
        kind = value.type.tensor_type
        if kind.elem_type in FOUR_BITS:
            kind.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(FOUR_BITS[kind.elem_type]))
    return sum(len(item.dims) > 1 for item in stored)


def is_qoperator(model: onnx.ModelProto) -> bool:
    """Whether a model holds operators that take and give integers and their scales."""
    return any(_is_integer(node) for node in model.graph.node)


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model in QDQ form holds quantization nodes."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _is_integer(node: onnx.NodeProto) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"


def as_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` in QDQ form; raises UnsupportedOpError naming an operator without one."""
    writer = _Writer(model)
    for node in model.graph.node:
        if _is_integer(node):
            writer.rewrite(node)
        else:
            writer.nodes.append(node)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    made.graph.node.extend(writer.nodes)
    made.graph.initializer.extend(writer.initializers)
    del made.graph.value_info[:]  # of the integer tensors: inferred anew
    return made


class _Writer:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants = {item.name: item for item in model.graph.initializer}

    def rewrite(self, node: onnx.NodeProto) -> None:
        rewriters: dict[str, Callable[[onnx.NodeProto], None]] = {
            "QLinearConv": self._conv,
            "QGemm": self._gemm,
            "QLinearConcat": self._concat,
        }
        if node.op_type in rewriters:
            rewriters[node.op_type](node)
        elif node.op_type in BINARY:
            a, b, pair = node.input[0:3], node.input[3:6], node.input[6:8]
            self._finish(node, BINARY[node.op_type], [self._real(a), self._real(b)], pair)
        elif node.op_type in UNARY:
            self._finish(node, UNARY[node.op_type], [self._real(node.input[:3])], node.input[3:5])
        else:
            raise UnsupportedOpError(
                f"{node.op_type} {node.name} is of the QOperator form and has no QDQ form here: write "
                "the model in QDQ form (quantize_static with quant_format=QuantFormat.QDQ)"
            )

    def _conv(self, node: onnx.NodeProto) -> None:
        x, w = node.input[0:3], node.input[3:6]
        inputs = [self._real(x), self._real(w)]
        if len(node.input) > 8 and node.input[8]:
            inputs.append(self._bias(node, node.input[8], x[1], w[1]))
        self._finish(node, "Conv", inputs, node.input[6:8])

    def _gemm(self, node: onnx.NodeProto) -> None:
        x, w = node.input[0:3], node.input[3:6]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axis = 0 if attributes.get("transB", 0) else 1
        inputs = [self._real(x), self._real(w, axis)]
        if len(node.input) > 6 and node.input[6]:
            alpha = float(attributes.get("alpha", 1.0))
            inputs.append(self._bias(node, node.input[6], x[1], w[1], alpha))
        self._finish(node, "Gemm", inputs, node.input[7:9])

    def _concat(self, node: onnx.NodeProto) -> None:
        parts = [node.input[i : i + 3] for i in range(2, len(node.input), 3)]
        self._finish(node, "Concat", [self._real(part) for part in parts], node.input[0:2])

    def _real(self, stored: Sequence[str], axis: int = 0) -> str:
        """Dequantize (tensor, scale, zero point)."""
        out = f"{stored[0]}_real_{len(self.nodes)}"
        self._add(
            "DequantizeLinear", stored, out, axis if self._value(stored[1]).size > 1 else None
        )
        return out

    def _bias(
        self, node: onnx.NodeProto, bias: str, x_scale: str, w_scale: str, alpha: float = 1.0
    ) -> str:
        step = self._value(x_scale).ravel() * self._value(w_scale).ravel() * alpha
        step = step.astype(np.float32)
        step = step if step.size > 1 else step.reshape(())
        names = [f"{node.output[0]}_bias_{part}" for part in ("scale", "zero", "real")]
        self.initializers += [
            numpy_helper.from_array(step, names[0]),
            numpy_helper.from_array(np.zeros(step.shape, np.int32), names[1]),
        ]
        self._add("DequantizeLinear", [bias, *names[:2]], names[2], 0 if step.size > 1 else None)
        return names[2]

    def _finish(
        self, node: onnx.NodeProto, op: str, inputs: list[str], pair: Sequence[str]
    ) -> None:
        made = f"{node.output[0]}_real"
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        attributes = {k: v for k, v in attributes.items() if k not in ("channels_last", "opset")}
        layer = helper.make_node(op, inputs, [made], name=node.name, **attributes)
        self.nodes.append(layer)
        self._add("QuantizeLinear", [made, *pair], node.output[0])

    def _add(self, op: str, inputs: Sequence[str], output: str, axis: int | None = None) -> None:
        node = helper.make_node(op, inputs, [output], name=f"{output}_{op}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)

    def _value(self, name: str) -> NDArray[Any]:
        if name not in self._constants:
            raise UnsupportedOpError(f"the scale {name} is computed, not constant")
        return np.asarray(numpy_helper.to_array(self._constants[name]))
