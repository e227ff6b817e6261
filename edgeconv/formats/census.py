"""What a file holds, counted in one way for every format: the answer of inspect, bench, export and parity."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgeconv.formats.onnx_file import WireConstant, WireGraph, WireNode

ONNX_INTEGER = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "QLinearConvTranspose"})
ONNX_DYNAMIC = frozenset(
    {"ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
)
ONNX_KERNELS = frozenset({"int8", "uint8"})
"""The types of operands that onnxruntime's CPU has convolutions and products for: it computes in float on others."""
ONNX_FUSED = frozenset({"FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv"})
"""What onnxruntime makes of convolutions and products when it optimises."""

COMPUTE = {
    "onnx": frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
    | ONNX_FUSED
    | ONNX_INTEGER
    | ONNX_DYNAMIC,
    "tflite": frozenset(
        {
            "CONV_2D",
            "CONV_3D",
            "DEPTHWISE_CONV_2D",
            "TRANSPOSE_CONV",
            "FULLY_CONNECTED",
            "BATCH_MATMUL",
        }
    ),
    "mlpackage": frozenset({"conv", "conv_transpose", "linear", "matmul"}),
}
"""Format -> its convolutions and matrix products, which hold nearly all the arithmetic."""

BORDERS = {
    "onnx": ("QuantizeLinear", "DequantizeLinear"),
    "tflite": ("QUANTIZE", "DEQUANTIZE"),
    "mlpackage": ("quantize", "dequantize"),
}
"""Format -> its operators into integers and back."""

TRANSPOSE = {"onnx": "Transpose", "tflite": "TRANSPOSE", "mlpackage": "transpose"}


@dataclass(frozen=True)
class Counted:
    """One operator: whether it computes in integers, with a weight scale for each channel.

    ``stored``: its weights are integers, whatever it computes in.
    """

    kind: str
    integer: bool = False
    per_channel: bool = False
    stored: bool = False


@dataclass(frozen=True)
class Census:
    """Operators by kind (ONNX's Q/DQ, which only say that a tensor is integers, are left out).

    ``compute`` counts convolutions and matrix products, ``integer`` those that read and weigh
    integers, ``per_channel`` those of them with a weight scale a channel (None: nothing tells),
    ``weight_only`` those that compute in float on weights stored as integers.
    """

    form: str
    ops: Mapping[str, int]
    compute: int
    integer: int
    per_channel: int | None
    quantize: int
    dequantize: int
    transposes: int
    weight_only: int = 0

    @property
    def conversions(self) -> int:
        """How many operators lead into integers or out of them."""
        return self.quantize + self.dequantize

    def to_json(self) -> dict[str, Any]:
        """Return it as manifests hold it."""
        return {
            "ops": sum(self.ops.values()),
            "histogram": dict(self.ops),
            "compute": self.compute,
            "int8_compute": self.integer,
            "per_channel": self.per_channel,
            "transposes": self.transposes,
            "quantize": self.quantize,
            "dequantize": self.dequantize,
        }


def count(form: str, operators: Iterable[Counted]) -> Census:
    """Count the operators of a file of format ``form``, a key of COMPUTE."""
    listed = list(operators)
    kinds = Counter(op.kind for op in listed)
    compute = [op for op in listed if op.kind in COMPUTE[form]]
    integer = [op for op in compute if op.integer]
    into, back = BORDERS[form]
    ops = {kind: n for kind, n in kinds.items() if form != "onnx" or kind not in (into, back)}
    return Census(
        form,
        dict(sorted(ops.items())),
        len(compute),
        len(integer),
        sum(op.per_channel for op in integer),
        kinds[into],
        kinds[back],
        kinds[TRANSPOSE[form]],
        sum(op.stored and not op.integer for op in compute),
    )


def onnx_census(graph: WireGraph) -> Census:
    """Count an ONNX file: QDQ's integer operators read both operands, 8 bits each, through a DequantizeLinear."""
    makers = {name: node for node in graph.nodes for name in node.outputs}

    def counted(node_inputs: tuple[str, ...], kind: str) -> Counted:
        sources = [makers.get(name) for name in node_inputs[:2]]
        if kind in ONNX_INTEGER:
            return Counted(kind, integer=True)
        read = [s for s in sources if s is not None and s.op == "DequantizeLinear"]
        if len(read) < 2:
            return Counted(kind)
        if any(_held(node, graph) not in ("", *ONNX_KERNELS) for node in read):
            return Counted(kind)
        stored, scale = (graph.constants.get(name) for name in read[1].inputs[:2])
        if scale is None:
            return Counted(kind, integer=True)
        return Counted(kind, True, prod(scale.shape) > 1 or _one_channel(kind, stored))

    return count("onnx", (counted(node.inputs, node.op) for node in graph.nodes))


def _held(node: WireNode, graph: WireGraph) -> str:
    """Return the type that a DequantizeLinear reads, as its zero point or its constant says; "" where neither does."""
    known = [
        graph.constants[name]
        for name in node.inputs[2:3] + node.inputs[:1]
        if name in graph.constants
    ]
    return known[0].dtype if known else ""


def _one_channel(kind: str, stored: WireConstant | None) -> bool:
    """Whether weights have a single output channel: its one scale is a scale a channel."""
    if stored is None or not stored.shape:
        return False
    axes = {"MatMul": (-1,), "ConvTranspose": (1,), "Gemm": (0, -1)}.get(
        kind, (0,)
    )  # Gemm: transB or not
    return 1 in (stored.shape[axis] for axis in axes)
