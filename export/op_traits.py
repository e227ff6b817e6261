"""What is true of each operator, in one table: every list of operators in export/ derives from it.

A new operator is a row here and an entry in each emitter's table (tflite/table.py, coreml/table.py).
"""

from dataclasses import dataclass
from enum import Flag, auto
from typing import Literal

from edgeconv.export.graph import Node

Kind = Literal["weighted", "same-scale", "free", "fixed"]
"""weighted: has int8 weights; same-scale: output scale is the input's; free: any output scale;
fixed: the output scale is prescribed."""


@dataclass(frozen=True)
class OpRule:
    """How one operator is quantized.

    ``data`` are the input positions that are stored as int8 (None: all of them). ``moves`` says
    that the operator only moves or selects values, so ONNX runs it on the integers themselves.
    ``fixed`` is the prescribed (scale, zero point) of the output.
    """

    kind: Kind
    data: tuple[int, ...] | None = (0,)
    moves: bool = False
    fixed: tuple[float, int] | None = None


class Is(Flag):
    """What can be true of an operator, whatever its attributes.

    PER_PICTURE: no picture of a batch sees another. BROADCASTS: its inputs are operands that
    broadcast. CHANNELWISE: channel i of the output comes from channel i of the input alone, however
    many there are. HOMOGENEOUS: that too, and a positive factor of a channel passes through (a slope
    a channel stays with it). CLAMPS_ALIKE: clamp(f(x)) == f(clamp(x)), so a clamp may be done where
    x is made. TAKES_CLAMP: emitters can give it an activation, or its INT8 range can imply one.
    PASSES_MASK: hands the minus infinity of an attention mask on. SAME_SINCE_13: since opset 13 it
    gained only types and optional parts. COREML_INT8: coremltools' own passes put the integers here.
    """

    PER_PICTURE = auto()
    BROADCASTS = auto()
    CHANNELWISE = auto()
    HOMOGENEOUS = auto()
    CLAMPS_ALIKE = auto()
    TAKES_CLAMP = auto()
    PASSES_MASK = auto()
    SAME_SINCE_13 = auto()
    COREML_INT8 = auto()


NOTHING = Is(0)
UNARY = Is.PER_PICTURE | Is.CHANNELWISE
BINARY = Is.PER_PICTURE | Is.BROADCASTS
POOL = UNARY | Is.HOMOGENEOUS


@dataclass(frozen=True)
class Traits:
    """One row: what is true of an operator, and its INT8 form (None: it computes in float)."""

    true: Is = NOTHING
    int8: OpRule | None = None


_WEIGHTED = OpRule("weighted")
_MOVES = OpRule("same-scale", moves=True)
_SELECTS = OpRule("same-scale", data=None, moves=True)
_SAME = OpRule("same-scale")
_FREE = OpRule("free")
_JOINS = OpRule("free", data=None)
_UNIT = OpRule("fixed", fixed=(1 / 256, -128))

TRAITS: dict[str, Traits] = {
    # layers
    "Conv": Traits(Is.PER_PICTURE | Is.TAKES_CLAMP | Is.COREML_INT8, _WEIGHTED),
    "ConvTranspose": Traits(Is.PER_PICTURE | Is.TAKES_CLAMP, _WEIGHTED),
    "Gemm": Traits(Is.PER_PICTURE | Is.TAKES_CLAMP | Is.COREML_INT8, _WEIGHTED),
    "MatMul": Traits(BINARY, _JOINS),
    # normalizations
    "BatchNormalization": Traits(Is.PER_PICTURE),
    "InstanceNormalization": Traits(Is.PER_PICTURE),
    "LayerNormalization": Traits(),
    "LRN": Traits(Is.PER_PICTURE),
    "LogSoftmax": Traits(),
    "Softmax": Traits(NOTHING, _UNIT),
    # recurrence
    "GRU": Traits(),
    "LSTM": Traits(),
    "RNN": Traits(),
    # pools
    "AveragePool": Traits(POOL | Is.TAKES_CLAMP | Is.COREML_INT8, _SAME),
    "GlobalAveragePool": Traits(POOL | Is.TAKES_CLAMP, _FREE),
    "GlobalMaxPool": Traits(POOL | Is.CLAMPS_ALIKE, _SAME),
    "MaxPool": Traits(POOL | Is.CLAMPS_ALIKE | Is.TAKES_CLAMP | Is.COREML_INT8, _MOVES),
    # one operand
    "Abs": Traits(POOL),
    "Atan": Traits(UNARY),
    "Cast": Traits(Is.PER_PICTURE),
    "Ceil": Traits(UNARY),
    "Celu": Traits(UNARY),
    "Clip": Traits(UNARY, _FREE),
    "Cos": Traits(UNARY),
    "Elu": Traits(UNARY, _FREE),
    "Erf": Traits(UNARY),
    "Exp": Traits(UNARY),
    "Floor": Traits(UNARY),
    "Gelu": Traits(UNARY, _FREE),
    "HardSigmoid": Traits(UNARY, _UNIT),
    "HardSwish": Traits(UNARY, _FREE),
    "Identity": Traits(UNARY | Is.SAME_SINCE_13),
    "LeakyRelu": Traits(POOL | Is.SAME_SINCE_13, _FREE),
    "Log": Traits(UNARY),
    "Mish": Traits(UNARY),
    "Neg": Traits(UNARY),
    "Not": Traits(Is.PER_PICTURE),
    "Reciprocal": Traits(UNARY),
    "Relu": Traits(POOL | Is.SAME_SINCE_13, _FREE),
    "Round": Traits(UNARY),
    "Selu": Traits(UNARY),
    "Sigmoid": Traits(UNARY, _UNIT),
    "Sign": Traits(UNARY),
    "Sin": Traits(UNARY),
    "Softplus": Traits(UNARY),
    "Softsign": Traits(UNARY),
    "Sqrt": Traits(UNARY),
    "Tanh": Traits(UNARY, OpRule("fixed", fixed=(1 / 128, 0))),
    # several operands
    "Add": Traits(
        BINARY | Is.TAKES_CLAMP | Is.PASSES_MASK | Is.SAME_SINCE_13 | Is.COREML_INT8, _JOINS
    ),
    "And": Traits(BINARY),
    "Div": Traits(BINARY | Is.TAKES_CLAMP | Is.SAME_SINCE_13),
    "Equal": Traits(BINARY | Is.SAME_SINCE_13),
    "Greater": Traits(BINARY),
    "GreaterOrEqual": Traits(BINARY),
    "Less": Traits(BINARY),
    "LessOrEqual": Traits(BINARY),
    "Max": Traits(BINARY | Is.CLAMPS_ALIKE, _SELECTS),
    "Mean": Traits(BINARY),
    "Mod": Traits(BINARY),
    "Min": Traits(BINARY | Is.CLAMPS_ALIKE, _SELECTS),
    "Mul": Traits(BINARY | Is.TAKES_CLAMP | Is.SAME_SINCE_13, _JOINS),
    "Or": Traits(BINARY),
    "PRelu": Traits(BINARY | Is.HOMOGENEOUS | Is.SAME_SINCE_13, OpRule("free", data=(0, 1))),
    "Pow": Traits(BINARY | Is.SAME_SINCE_13),
    "Sub": Traits(BINARY | Is.TAKES_CLAMP | Is.SAME_SINCE_13, _JOINS),
    "Sum": Traits(BINARY),
    "Where": Traits(BINARY | Is.PASSES_MASK | Is.SAME_SINCE_13),
    # reductions
    "ArgMax": Traits(),
    "ArgMin": Traits(),
    "CumSum": Traits(),
    "ReduceL1": Traits(),
    "ReduceL2": Traits(),
    "ReduceLogSum": Traits(),
    "ReduceLogSumExp": Traits(),
    "ReduceMax": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "ReduceMean": Traits(NOTHING, _FREE),
    "ReduceMin": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "ReduceProd": Traits(),
    "ReduceSum": Traits(NOTHING, _FREE),
    "ReduceSumSquare": Traits(),
    "TopK": Traits(),
    # what moves, cuts or repeats values
    "ChannelShuffle": Traits(Is.PER_PICTURE | Is.CLAMPS_ALIKE, _MOVES),
    "Concat": Traits(Is.CLAMPS_ALIKE | Is.TAKES_CLAMP, _SELECTS),
    "DepthToSpace": Traits(Is.PER_PICTURE | Is.CLAMPS_ALIKE, _MOVES),
    "Expand": Traits(Is.CLAMPS_ALIKE | Is.PASSES_MASK, _MOVES),
    "Flatten": Traits(),
    "DFT": Traits(),
    "GridSample": Traits(),
    "RoiAlign": Traits(),
    "STFT": Traits(),
    "ScatterElements": Traits(),
    "ScatterND": Traits(),
    "Gather": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "Pad": Traits(Is.SAME_SINCE_13, _MOVES),
    "Reshape": Traits(Is.CLAMPS_ALIKE | Is.PASSES_MASK | Is.SAME_SINCE_13, _MOVES),
    "Resize": Traits(Is.HOMOGENEOUS, _SAME),
    "Slice": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "SpaceToDepth": Traits(Is.PER_PICTURE | Is.CLAMPS_ALIKE, _MOVES),
    "Split": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "Squeeze": Traits(Is.PASSES_MASK),
    "Tile": Traits(Is.CLAMPS_ALIKE, _MOVES),
    "Transpose": Traits(Is.CLAMPS_ALIKE | Is.PASSES_MASK, _MOVES),
    "Unsqueeze": Traits(Is.PASSES_MASK),
    "Upsample": Traits(),
}
"""Operator -> what is true of it. An operator that is not here computes in float, and nothing more is
known of it."""


def operators(wanted: Is) -> frozenset[str]:
    """Return the operators of which all of ``wanted`` is true."""
    return frozenset(op for op, traits in TRAITS.items() if wanted in traits.true)


RULES: dict[str, OpRule] = {op: row.int8 for op, row in TRAITS.items() if row.int8 is not None}
"""Operator -> its INT8 rule; an operator that is not here computes in float."""
WEIGHTED = frozenset(op for op, rule in RULES.items() if rule.kind == "weighted")


def output_axis(node: Node) -> int:
    """Return the output-channel axis of the weights of a Conv, ConvTranspose or Gemm(transB=1)."""
    return 1 if node.op == "ConvTranspose" else 0


def plain_gemm(node: Node) -> bool:
    """Whether a Gemm is x * transposed weights + bias, as passes/normalize_gemm.py leaves it."""
    return (
        node.int("transB", 0) == 1
        and node.int("transA", 0) == 0
        and node.float("alpha", 1.0) == 1.0
        and node.float("beta", 1.0) == 1.0
    )
