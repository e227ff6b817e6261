"""Whether an INT8 file keeps to the operator rules of TensorFlow Lite Micro and of the Edge TPU.

What their public tables say, as data: an operator that is not in one, or breaks a limit, is named.
It is a reading of tables; neither a microcontroller nor the Edge TPU's compiler has seen the file.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeconv.export.tflite.inspect import TfliteOp, TfliteSummary

MICRO = frozenset(
    [
        "ABS",
        "ADD",
        "ADD_N",
        "ARG_MAX",
        "ARG_MIN",
        "ASSIGN_VARIABLE",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "BATCH_TO_SPACE_ND",
        "BROADCAST_ARGS",
        "BROADCAST_TO",
        "CALL_ONCE",
        "CAST",
        "CEIL",
        "CONCATENATION",
        "CONV_2D",
        "COS",
        "CUMSUM",
        "DEPTH_TO_SPACE",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "DIV",
        "DYNAMIC_UPDATE_SLICE",
        "ELU",
        "EMBEDDING_LOOKUP",
        "EQUAL",
        "EXP",
        "EXPAND_DIMS",
        "FILL",
        "FLOOR",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "FULLY_CONNECTED",
        "GATHER",
        "GATHER_ND",
        "GREATER",
        "GREATER_EQUAL",
        "HARD_SWISH",
        "IF",
        "L2_NORMALIZATION",
        "L2_POOL_2D",
        "LEAKY_RELU",
        "LESS",
        "LESS_EQUAL",
        "LOG",
        "LOGICAL_AND",
        "LOGICAL_NOT",
        "LOGICAL_OR",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MEAN",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "NEG",
        "NOT_EQUAL",
        "PACK",
        "PAD",
        "PADV2",
        "PRELU",
        "QUANTIZE",
        "READ_VARIABLE",
        "REDUCE_ALL",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2",
        "ROUND",
        "RSQRT",
        "SELECT_V2",
        "SHAPE",
        "SIN",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQRT",
        "SQUARE",
        "SQUARED_DIFFERENCE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "SVDF",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNPACK",
        "VAR_HANDLE",
        "WHILE",
        "ZEROS_LIKE",
    ]
)
"""The built-in operators that tflite-micro's python_ops_resolver.cc registers (those of the pinned wheel)."""

POSITIONS = frozenset(["GATHER", "GATHER_ND"])
"""Operators whose second input TensorFlow Lite Micro takes in one type alone (gather.cc, gather_nd.cc)."""

EDGE_TPU = frozenset(
    [
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "EXPAND_DIMS",
        "FULLY_CONNECTED",
        "L2_NORMALIZATION",
        "LOGISTIC",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MEAN",
        "MINIMUM",
        "MUL",
        "PACK",
        "PAD",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUARED_DIFFERENCE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
    ]
)
"""The operators of https://coral.ai/docs/edgetpu/models-intro (table "All operations supported")."""

NO_ACTIVATION = frozenset(["AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D"])
SOFTMAX_SIZE = 16_000
INTEGERS = frozenset(["int8", "uint8", "int32"])


def device_rules(summary: TfliteSummary) -> dict[str, Any]:
    """Return, for "tflite_micro" and "edge_tpu", ``fits`` and the ``outside`` operators.

    ``outside`` maps a sentence to how many operators it is true of. The borders' QUANTIZE and
    DEQUANTIZE, which a host does, and float operators in front of them do not count against the
    Edge TPU: its compiler leaves them to the host and maps the rest.
    """
    return {
        "tflite_micro": _verdict(summary, _micro),
        "edge_tpu": _verdict(summary, _edge_tpu),
    }


def _verdict(
    summary: TfliteSummary, rule: Callable[[TfliteSummary, TfliteOp], str | None]
) -> dict[str, Any]:
    outside: dict[str, int] = {}
    for op in summary.ops:
        reason = rule(summary, op)
        if reason is not None:
            outside[reason] = outside.get(reason, 0) + 1
    return {"fits": not outside, "outside": outside}


def _micro(summary: TfliteSummary, op: TfliteOp) -> str | None:
    if op.code not in MICRO:
        return f"{op.code} is not among TensorFlow Lite Micro's operators"
    if op.code in POSITIONS and summary.tensors[op.inputs[1]].dtype != "int32":
        return (
            f"TensorFlow Lite Micro's {op.code} takes places of int32, not of "
            f"{summary.tensors[op.inputs[1]].dtype}"
        )
    return None


def _edge_tpu(summary: TfliteSummary, op: TfliteOp) -> str | None:
    tensors = [summary.tensors[i] for i in [*op.inputs, *op.outputs] if i >= 0]
    if not op.inputs:
        return f"{op.code} reads nothing"
    computed = [tensor for tensor in tensors if tensor.data is None]
    if any(tensor.dtype == "float32" for tensor in computed):
        return None if _at_the_border(summary, op) else f"{op.code} computes in float"
    if op.code not in EDGE_TPU:
        return f"{op.code} is not among the Edge TPU's operators"
    foreign = [t.dtype for t in computed if t.dtype not in INTEGERS]
    if foreign:
        return f"{op.code} works on {foreign[0]}"
    wide = [t for t in computed if len(t.shape) > 3 and int(np.prod(t.shape[:-3])) > 1]
    if wide:
        return f"{op.code} has more than three dimensions larger than 1"
    return _limit(summary, op)


def _at_the_border(summary: TfliteSummary, op: TfliteOp) -> bool:
    """Whether an operator's float side is the model's input or output, or leads up to it."""
    ends = {*summary.inputs, *summary.outputs}
    if op.code in {"QUANTIZE", "DEQUANTIZE"}:
        return True
    return any(i in ends for i in [*op.inputs, *op.outputs])


def _limit(summary: TfliteSummary, op: TfliteOp) -> str | None:
    first = summary.tensors[op.inputs[0]]
    if op.code in NO_ACTIVATION and op.options.get("fusedActivationFunction"):
        return f"{op.code} has a fused activation"
    if op.code == "CONV_2D" and summary.tensors[op.inputs[1]].shape[-1:] != first.shape[-1:]:
        return "CONV_2D has groups, which the Edge TPU's table does not mention"
    dilation = (op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1))
    if op.code == "CONV_2D" and dilation[0] != dilation[1]:
        return "CONV_2D has different dilations in height and width"
    if op.code == "DEPTHWISE_CONV_2D" and dilation != (1, 1):
        return "DEPTHWISE_CONV_2D is dilated"
    if op.code == "SOFTMAX" and int(np.prod(first.shape)) > SOFTMAX_SIZE:
        return f"SOFTMAX has more than {SOFTMAX_SIZE} inputs"
    return None
