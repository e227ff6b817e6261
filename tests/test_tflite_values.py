"""What TFLite's rules, versions, borders and metadata say, by value: small files and summaries worked out by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("flatbuffers")

from emitted_cases import case, plain_recipe
from graph_kit import graph_of, scalar
from tflite_kit import minmax_recipe

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.tflite import metadata as m
from edgeconv.export.tflite.builder import Builder, ChannelScales
from edgeconv.export.tflite.device_rules import device_rules
from edgeconv.export.tflite.emission import Io
from edgeconv.export.tflite.emit import emit_tflite, exact_pixel_shift
from edgeconv.export.tflite.inspect import (
    TfliteOp,
    TfliteSummary,
    TfliteTensor,
    read_tflite,
    summary_stats,
    tflite_census,
)
from edgeconv.export.tflite.rewrites import NONE
from edgeconv.export.tflite.temporaries import Temporaries, border_op
from edgeconv.export.tflite.versions import op_version
from edgeconv.formats.flatbuffer import Table, read_number
from edgeconv.tensors import Quantization, TensorSpec

Shape = tuple[int, ...]


# -- the rules of devices


def held(shape: Shape, dtype: str = "int8", stored: bool = False) -> TfliteTensor:
    """Return a tensor of a summary; ``stored``: a constant."""
    none = np.zeros(0)
    data = np.zeros(shape, dtype) if stored else None
    return TfliteTensor("t", shape, dtype, none.astype(np.float32), none.astype(int), 0, data)


PICTURE, FLAT = (1, 8, 8, 4), (1, 16)
KERNEL = held((4, 3, 3, 4), stored=True)


def file_of(op: str, *reads: TfliteTensor, made: TfliteTensor | None = None, border: bool = False, **told: Any) -> TfliteSummary:  # fmt: skip
    """Return the summary of one operator whose tensors are no borders unless ``border``."""
    tensors = (*reads, held(reads[0].shape) if made is None and reads else made or held(PICTURE))
    last, places = len(reads), tuple(range(len(reads)))
    code = TfliteOp(op, 1, places, (last,), told)
    return TfliteSummary(tensors, (code,), (0,) if border else (), (), {}, {}, 1)


@pytest.mark.parametrize(
    ("file", "micro", "edge"),
    [
        (file_of("ADD", held(PICTURE), held(PICTURE)), None, None),
        (file_of("GELU", held(PICTURE)), "GELU is not among TensorFlow Lite Micro's operators", "GELU is not among the Edge TPU's operators"),
        (file_of("HARD_SWISH", held(PICTURE)), None, "HARD_SWISH is not among the Edge TPU's operators"),
        (file_of("RELU_N1_TO_1", held(PICTURE)), "RELU_N1_TO_1 is not among TensorFlow Lite Micro's operators", None),
        (file_of("GATHER", held(PICTURE), held((2,), "int64")), "TensorFlow Lite Micro's GATHER takes places of int32, not of int64", "GATHER is not among the Edge TPU's operators"),
        (file_of("GATHER_ND", held(PICTURE), held((2,), "int16")), "TensorFlow Lite Micro's GATHER_ND takes places of int32, not of int16", "GATHER_ND is not among the Edge TPU's operators"),
        (file_of("GATHER", held(PICTURE), held((2,), "int32")), None, "GATHER is not among the Edge TPU's operators"),
        (file_of("RANGE"), "RANGE is not among TensorFlow Lite Micro's operators", "RANGE reads nothing"),
        (file_of("ADD", held(PICTURE, "float32")), None, "ADD computes in float"),
        (file_of("ADD", held(PICTURE), made=held(PICTURE, "float32")), None, "ADD computes in float"),
        (file_of("ADD", held(PICTURE, "float32"), border=True), None, None),
        (file_of("QUANTIZE", held(PICTURE, "float32")), None, None),
        (file_of("DEQUANTIZE", held(PICTURE), made=held(PICTURE, "float32")), None, None),
        (file_of("DEQUANTIZE", held(PICTURE)), None, "DEQUANTIZE is not among the Edge TPU's operators"),
        (file_of("MUL", held(PICTURE), held((4,), "float32", True)), None, None),  # a constant is not computed
        (file_of("RESHAPE", held(PICTURE, "int16")), None, "RESHAPE works on int16"),
        (file_of("RESHAPE", held(PICTURE, "uint8")), None, None),
        (file_of("RESHAPE", held(PICTURE, "int32"), held((2,), "int64", True)), None, None),
        (file_of("ADD", held((2, 8, 8, 4))), None, "ADD has more than three dimensions larger than 1"),
        (file_of("ADD", held((1, 2, 8, 8, 4))), None, "ADD has more than three dimensions larger than 1"),
        (file_of("ADD", held((1, 1, 8, 8, 4))), None, None),
        (file_of("ADD", held((8, 8, 4))), None, None),
        (file_of("CONV_2D", held(PICTURE), KERNEL), None, None),
        (file_of("CONV_2D", held(PICTURE), held((4, 3, 3, 2), stored=True)), None, "CONV_2D has groups, which the Edge TPU's table does not mention"),
        (file_of("CONV_2D", held(PICTURE), KERNEL, dilationHFactor=2, dilationWFactor=2), None, None),
        (file_of("CONV_2D", held(PICTURE), KERNEL, dilationHFactor=2), None, "CONV_2D has different dilations in height and width"),
        (file_of("CONV_2D", held(PICTURE), KERNEL, dilationWFactor=2), None, "CONV_2D has different dilations in height and width"),
        (file_of("DEPTHWISE_CONV_2D", held(PICTURE), KERNEL), None, None),
        (file_of("DEPTHWISE_CONV_2D", held(PICTURE), KERNEL, dilationHFactor=2, dilationWFactor=2), None, "DEPTHWISE_CONV_2D is dilated"),
        (file_of("DEPTHWISE_CONV_2D", held(PICTURE), KERNEL, dilationHFactor=1, dilationWFactor=2), None, "DEPTHWISE_CONV_2D is dilated"),
        (file_of("MAX_POOL_2D", held(PICTURE), fusedActivationFunction=1), None, "MAX_POOL_2D has a fused activation"),
        (file_of("AVERAGE_POOL_2D", held(PICTURE), fusedActivationFunction=3), None, "AVERAGE_POOL_2D has a fused activation"),
        (file_of("CONCATENATION", held(PICTURE), fusedActivationFunction=1), None, "CONCATENATION has a fused activation"),
        (file_of("MAX_POOL_2D", held(PICTURE), fusedActivationFunction=0), None, None),
        (file_of("ADD", held(PICTURE), fusedActivationFunction=1), None, None),
        (file_of("SOFTMAX", held((1, 16_000))), None, None),
        (file_of("SOFTMAX", held((1, 16_001))), None, "SOFTMAX has more than 16000 inputs"),
        (file_of("LOGISTIC", held((1, 16_001))), None, None),
    ],
)  # fmt: skip
def test_what_lies_outside_of_a_devices_table_is_named(
    file: TfliteSummary, micro: str | None, edge: str | None
) -> None:
    found = device_rules(file)
    assert list(found) == ["tflite_micro", "edge_tpu"]
    for device, said in (("tflite_micro", micro), ("edge_tpu", edge)):
        assert found[device] == {"fits": said is None, "outside": {said: 1} if said else {}}


def test_operators_outside_are_counted_and_inputs_left_out_are_not_looked_at() -> None:
    tensors = (held(FLAT), held(FLAT, "float32"), held(FLAT), held(FLAT, "int16"))
    ops = (
        TfliteOp("GELU", 1, (0,), (2,)), TfliteOp("ADD", 1, (0, -1), (2,)),
        TfliteOp("GELU", 1, (0,), (2,)), TfliteOp("SOFTMAX", 1, (2,), (1,)),
    )  # fmt: skip
    file = TfliteSummary(tensors, ops, (0,), (), {}, {}, 1)
    assert device_rules(file)["edge_tpu"]["outside"] == {
        "GELU is not among the Edge TPU's operators": 2,
        "SOFTMAX computes in float": 1,
    }
    at_the_end = replace(file, outputs=(1,))
    assert device_rules(at_the_end)["edge_tpu"]["outside"] == {
        "GELU is not among the Edge TPU's operators": 2
    }


# -- versions

INT8 = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 2, "FULLY_CONNECTED": 5, "ELU": 1, "SELECT_V2": 1,
    **dict.fromkeys(
        ["BATCH_MATMUL", "ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "CONCATENATION", "SPLIT", "SLICE", "STRIDED_SLICE", "PAD", "PADV2", "MIRROR_PAD", "TRANSPOSE", "GATHER", "TILE", "BROADCAST_TO", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "LOGISTIC", "TANH", "SOFTMAX", "LEAKY_RELU", "GELU", "RELU", "RELU6", "QUANTIZE", "DEQUANTIZE", "ARG_MAX", "ARG_MIN"], 2),
    "RESHAPE": 1, "HARD_SWISH": 1, "PRELU": 1,
}  # fmt: skip
"""The lowest version whose kernel takes int8, by tensorflow/lite/tools/versioning/op_version.cc."""


def test_an_operator_states_the_lowest_version_that_takes_its_integers() -> None:
    shapes = [(1, 4, 4, 3), (8, 1, 1, 3)]
    assert {code: op_version(code, ["int8", "int8"], shapes, {}) for code in INT8} == INT8
    real = {code: op_version(code, ["float32", "float32"], shapes, {}) for code in INT8}
    assert {code: v for code, v in real.items() if v != 1} == {
        "DEPTHWISE_CONV_2D": 2,
        "BROADCAST_TO": 2,
    }


@pytest.mark.parametrize(
    ("code", "kinds", "shape", "told", "version"),
    [
        ("TRANSPOSE_CONV", ["int32", "int8", "int8", "int32"], (4,), {}, 3),
        ("TRANSPOSE_CONV", ["int32", "float32", "float32", "float32"], (4,), {}, 3),
        ("FULLY_CONNECTED", ["float32"] * 2, (2, 3), {"keepNumDims": True}, 5),
        ("FULLY_CONNECTED", ["float32"] * 2, (2, 3), {"keepNumDims": False}, 1),
        ("RESIZE_BILINEAR", ["float32"], (1, 2, 2, 1), {"halfPixelCenters": True}, 3),
        ("RESIZE_NEAREST_NEIGHBOR", ["int8"], (1, 2, 2, 1), {"alignCorners": True}, 3),
        ("RESIZE_BILINEAR", ["int8"], (1, 2, 2, 1), {"alignCorners": False, "halfPixelCenters": False}, 2),
        ("DEQUANTIZE", ["float16"], (3,), {}, 3), ("DEQUANTIZE", ["int8"], (3,), {}, 2),
        ("TRANSPOSE", ["float32", "int32"], (1,) * 5, {}, 3), ("TRANSPOSE", ["float32", "int32"], (1,) * 4, {}, 1),
        ("TRANSPOSE", ["int8", "int32"], (1,) * 6, {}, 3), ("SLICE", ["float32"], (1,) * 5, {}, 5),
        ("SLICE", ["int8"], (1,) * 4, {}, 2), ("STRIDED_SLICE", ["float32"], (1,) * 5, {}, 4),
        ("STRIDED_SLICE", ["float32"], (1,) * 4, {}, 1), ("PAD", ["float32"], (1,) * 5, {}, 1),
        ("ADD", ["float32", "float16"], (3,), {}, 1),
    ],
)  # fmt: skip
def test_options_and_ranks_ask_for_later_versions(
    code: str, kinds: list[str], shape: Shape, told: dict[str, bool], version: int
) -> None:
    assert op_version(code, kinds, [shape] * len(kinds), told) == version


def test_grouped_and_per_channel_operators_ask_for_later_versions() -> None:
    assert op_version("CONV_2D", ["float32"] * 2, [(1, 4, 4, 6), (8, 1, 1, 3)], {}) == 6
    assert op_version("CONV_2D", ["int8"] * 2, [(1, 4, 4, 6), (8, 1, 1, 3)], {}) == 3
    assert op_version("DEQUANTIZE", ["int8"], [(4, 3)], {}, True) == 5
    assert op_version("ADD", ["int8"], [(4, 3)], {}, True) == 2


# -- the writer, read back


def test_a_written_file_is_read_back_as_it_was_told() -> None:
    b = Builder("by hand")
    x = b.tensor("x", (1, 4), np.float32)
    y = b.tensor("x", [1, 4], "int8", Quantization(0.5, -3))
    again = b.tensor("x", (1, 4), np.int8)
    scales = ChannelScales(np.array([0.25, 0.5, 1.0]), 1)
    weight = b.constant("w", np.arange(6, dtype=np.int8).reshape(2, 3), scales)
    axes = b.shared("axes", np.array([1, 2], np.int32))
    assert (x, y, again, weight, axes) == (0, 1, 2, 3, 4)
    assert b.shared("other", np.array([1, 2], np.int32)) == axes
    assert b.shared("shape", np.array([[1, 2]], np.int32)) == 5
    assert b.shared("wide", np.array([1 + (2 << 32)], np.int64)) == 6  # the same bytes
    assert [b.name(i) for i in (x, y, again, axes)] == ["x", "x_1", "x_2", "axes"]
    assert (b.shape(weight), b.dtype(y), b.dtype(x)) == ((2, 3), np.dtype("int8"), np.dtype("float32"))  # fmt: skip
    assert [b.quantization(i) for i in (x, y, weight)] == [None, Quantization(0.5, -3), None]
    b.op("QUANTIZE", [x], [y], "QuantizeOptions")
    b.op("MEAN", [y, axes], [again], "ReducerOptions", keepDims=True)
    real = b.tensor("real", (2, 3), np.float32)
    b.op("DEQUANTIZE", [y], [x], "DequantizeOptions")
    b.op("DEQUANTIZE", [weight], [real], "DequantizeOptions")
    b.op("ADD", [x, -1], [real], "AddOptions", fusedActivationFunction="RELU6")
    b.custom("Mine", [x, y], [again], b"\x01\x02")
    b.custom("Yours", [x], [y], b"")
    b.custom("Mine", [x], [y], b"")
    with pytest.raises(AttributeError, match="AddOptions has no field beta"):
        b.op("ADD", [x, x], [real], "AddOptions", beta=1)
    assert b.op_counts == {"QUANTIZE": 1, "MEAN": 1, "DEQUANTIZE": 2, "ADD": 1, "Mine": 2, "Yours": 1}  # fmt: skip
    data = b.finish({"in": x}, {"a": y, "b": real}, {"told": b'{"k": 1}', "raw": b"\xff\xfe\xfd"})
    assert data[4:8] == b"TFL3"
    file = read_tflite(data)
    assert (file.inputs, file.outputs, file.subgraphs) == ((0,), (1, 7), 1)
    assert file.signature == {"inputs": {"in": 0}, "outputs": {"a": 1, "b": 7}}
    assert file.metadata == {"told": {"k": 1}, "raw": 3}
    assert [(op.code, op.version, op.inputs, op.outputs) for op in file.ops] == [
        ("QUANTIZE", 1, (0,), (1,)), ("MEAN", 2, (1, 4), (2,)), ("DEQUANTIZE", 5, (1,), (0,)),
        ("DEQUANTIZE", 5, (3,), (7,)), ("ADD", 1, (0, -1), (7,)), ("CUSTOM:Mine", 1, (0, 1), (2,)),
        ("CUSTOM:Yours", 1, (0,), (1,)), ("CUSTOM:Mine", 1, (0,), (1,)),
    ]  # fmt: skip
    assert file.ops[1].options["keepDims"]
    assert file.ops[4].options["fusedActivationFunction"] == 3
    read = file.tensors[1]
    assert (read.name, read.dtype, read.shape, read.data) == ("x_1", "int8", (1, 4), None)
    assert (list(read.scales), list(read.zero_points), read.axis) == ([0.5], [-3], 0)
    read = file.tensor("w")
    assert read.data is not None
    assert read.data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (list(read.scales), list(read.zero_points), read.axis) == ([0.25, 0.5, 1.0], [0, 0, 0], 1)  # fmt: skip
    assert len(file.tensors[0].scales) == len(file.tensors[0].zero_points) == 0
    with pytest.raises(EdgeconvError, match=r"^the model has no tensor q$"):
        file.tensor("q")
    assert file.histogram == {"ADD": 1, "CUSTOM:Mine": 2, "CUSTOM:Yours": 1, "DEQUANTIZE": 2, "MEAN": 1, "QUANTIZE": 1}  # fmt: skip


def damaged(inputs: list[int], outputs: list[int], border: int = 0, code: str = "ADD") -> bytes:
    b = Builder("")
    for name in "xyz":
        b.tensor(name, (1, 2), np.float32)
    b.op("ADD", [0, 1], [2], "AddOptions")
    operator = b._graph.operators[0]
    operator.inputs, operator.outputs = inputs, outputs
    b._model.operatorCodes[0].builtinCode = getattr(b._schema.BuiltinOperator, code)
    b._model.operatorCodes[0].deprecatedBuiltinCode = b._model.operatorCodes[0].builtinCode
    return b.finish({"x": border}, {"z": 2}, {})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (damaged([0, -1], [2]), None), (damaged([0, 2], [2]), None),
        (damaged([0, 3], [2]), "ADD names tensor 3 of 3"), (damaged([-2, 0], [2]), "ADD names tensor -2 of 3"),
        (damaged([0, 1], [-1]), "ADD names tensor -1 of 3"), (damaged([0, 1], [3]), "ADD names tensor 3 of 3"),
        (damaged([0, 1], [2], 3), "the model's border names tensor 3 of 3"),
        (damaged([0], [2], code="CONV_2D"), "CONV_2D lacks what it works on"),
        (damaged([0, -1], [2], code="CONV_2D"), "CONV_2D lacks what it works on"),
        (damaged([-1, 0, 1], [2], code="TRANSPOSE_CONV"), None),
        (damaged([0, 1], [2], code="TRANSPOSE_CONV"), "TRANSPOSE_CONV lacks what it works on"),
        (damaged([0, 1, -1], [2], code="TRANSPOSE_CONV"), "TRANSPOSE_CONV lacks what it works on"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_there_are_named(data: bytes, said: str | None) -> None:
    if said is None:
        assert len(read_tflite(data).ops) == 1
        return
    with pytest.raises(EdgeconvError) as caught:
        read_tflite(data, "a.tflite")
    assert str(caught.value) == f"a.tflite is damaged: {said}"


def test_integer_and_per_channel_operators_are_counted() -> None:
    """Scales by channel lie along the last axis of a depthwise layer's weights and the first of any other's."""
    scales = np.ones(4, np.float32)
    by_first = replace(held((4, 3, 3, 2), stored=True), scales=scales)
    by_last = replace(held((1, 3, 3, 4), stored=True), scales=scales)
    one = replace(by_first, scales=scales[:1])
    real, whole = held(PICTURE, "float32"), held(PICTURE)
    tensors = (
        whole,
        real,
        by_first,
        by_last,
        one,
        held((4,), "int32", True),
        held(PICTURE, "uint8"),
    )
    ops = (
        TfliteOp("CONV_2D", 1, (0, 2), (0,)), TfliteOp("CONV_2D", 1, (0, 4), (6,)), TfliteOp("CONV_2D", 1, (0, 2), (1,)),
        TfliteOp("DEPTHWISE_CONV_2D", 1, (6, 3), (0,)), TfliteOp("TRANSPOSE_CONV", 1, (5, 2, 0), (0,)),
        TfliteOp("CONV_2D", 1, (1, 2), (0,)), TfliteOp("QUANTIZE", 1, (1,), (0,)), TfliteOp("DEQUANTIZE", 1, (0,), (1,)),
        TfliteOp("TRANSPOSE", 1, (0,), (0,)),
    )  # fmt: skip
    file = TfliteSummary(tensors, ops, (0, 1), (6,), {}, {}, 1)
    assert [file.is_int8(op) for op in file.weighted] == [True, True, False, True, True, False]
    assert file.operands(ops[4]) == (2, 0)
    assert file.operands(ops[0]) == (0, 2)
    census = tflite_census(file)
    assert (census.compute, census.integer, census.per_channel) == (6, 4, 3)
    assert census.weight_only == 0
    assert summary_stats(file)["inputs"] == ["int8", "float32"]
    assert summary_stats(file)["outputs"] == ["uint8"]


def test_weights_behind_a_dequantize_are_stored_integers() -> None:
    tensors = (held(PICTURE, "float32"), held((4, 1, 1, 4), stored=True), held((4, 1, 1, 4), "float32"), held((4, 1, 1, 4), "float16", True), held((4, 1, 1, 4)))  # fmt: skip
    for source, stored in ((1, 1), (3, 0), (4, 0)):
        ops = (TfliteOp("DEQUANTIZE", 1, (source,), (2,)), TfliteOp("CONV_2D", 1, (0, 2), (0,)))
        assert tflite_census(TfliteSummary(tensors, ops, (), (), {}, {}, 1)).weight_only == stored
    ops = (TfliteOp("QUANTIZE", 1, (1,), (2,)), TfliteOp("CONV_2D", 1, (0, 2), (0,)))
    assert tflite_census(TfliteSummary(tensors, ops, (), (), {}, {}, 1)).weight_only == 0


def test_temporaries_say_what_they_hold() -> None:
    t = Temporaries()
    b, q = t.builder, Quantization(0.5, 3)
    x = b.tensor("x", (1, 2, 3), np.float32)
    y = b.tensor("y", (4, 1, 3), np.int8, q)
    assert t.reshape(x, (1, 2, 3)) == x
    flat = t.reshape(y, (3, 4))
    assert (b.name(flat), b.shape(flat), b.dtype(flat).name, b.quantization(flat)) == ("y/reshape", (3, 4), "int8", q)  # fmt: skip
    turned = t.transpose(y, (2, 0, 1))
    assert (b.shape(turned), b.quantization(turned)) == ((3, 4, 1), q)
    both = t.do("ADD", [x, y], "AddOptions")
    assert (b.shape(both), b.dtype(both).name, b.name(both)) == ((4, 2, 3), "float32", "x/add")
    less = t.do("LESS", [y, x], dtype=bool)
    assert b.dtype(less).name == "bool"
    assert t.requantize(y, q) == y
    assert t.requantized == 0
    other = t.requantize(y, Quantization(0.5, 4))
    assert (t.requantized, b.dtype(other).name, b.quantization(other)) == (1, "int8", Quantization(0.5, 4))  # fmt: skip
    real = t.requantize(y, None)
    assert (b.dtype(real).name, b.shape(real), b.quantization(real)) == ("float32", (4, 1, 3), None)
    assert b.dtype(t.requantize(x, q)).name == "int8"
    assert t.requantized == 1
    assert b.op_counts == {"RESHAPE": 1, "TRANSPOSE": 1, "ADD": 1, "LESS": 1, "QUANTIZE": 2, "DEQUANTIZE": 1}  # fmt: skip
    assert border_op(q) == ("QUANTIZE", "QuantizeOptions")
    assert border_op(None) == ("DEQUANTIZE", "DequantizeOptions")
    half, integer = t.real(0.25), t.real(2.0, q)
    assert (b.name(half), b.dtype(half).name, b.quantization(integer)) == (
        "value_0.25",
        "float32",
        q,
    )
    file = read_tflite(b.finish({"x": x}, {"r": real}, {}))
    assert file.tensor("value_0.25").data == [0.25]
    assert file.tensor("value_2").data == [7]  # 2 / 0.5 + 3


# -- borders


def borders(graph: Graph, io: Io, precision: Any = "int8") -> list[str]:
    """Return inputs, operators and outputs of a file, with types and scales."""
    made = emit_tflite(graph, plain_recipe(graph) if precision == "int8" else None, precision=precision, io=io)  # fmt: skip
    file = read_tflite(made.data)

    def text(place: int) -> str:
        t = file.tensors[place]
        scale = f" {t.scales[0]:.4g}@{t.zero_points[0]}" if len(t.scales) == 1 else ""
        return f"{t.name} {t.dtype}{list(t.shape)}{scale}"

    for specs, places in ((made.inputs, file.inputs), (made.outputs, file.outputs)):
        for spec, place in zip(specs, places, strict=True):
            t = file.tensors[place]
            assert (spec.shape, spec.dtype) == (t.shape, t.dtype)
            given = None if spec.quantization is None else spec.quantization.zero_point
            assert given == (int(t.zero_points[0]) if len(t.zero_points) else None)
            assert spec.layout == ("nhwc" if len(spec.shape) == 4 else "other")
    return [
        *(f"in {text(i)}" for i in file.inputs),
        *(f"{op.code} {', '.join(text(i) for i in op.inputs[:1])} -> {text(op.outputs[0])}" for op in file.ops),
        *(f"out {text(i)}" for i in file.outputs),
    ]  # fmt: skip


PICTURES = {
    "float": [
        "in x float32[1, 5, 6, 4]", "QUANTIZE x float32[1, 5, 6, 4] -> x_int8 int8[1, 5, 6, 4] 0.01575@0",
        "CONV_2D x_int8 int8[1, 5, 6, 4] 0.01575@0 -> y_int8 int8[1, 5, 6, 3] 0.01772@0",
        "DEQUANTIZE y_int8 int8[1, 5, 6, 3] 0.01772@0 -> y float32[1, 5, 6, 3]", "out y float32[1, 5, 6, 3]",
    ],
    "int8": [
        "in x int8[1, 5, 6, 4] 0.01575@0", "CONV_2D x int8[1, 5, 6, 4] 0.01575@0 -> y int8[1, 5, 6, 3] 0.01772@0",
        "out y int8[1, 5, 6, 3] 0.01772@0",
    ],
    "uint8": [
        "in x uint8[1, 5, 6, 4] 0.01575@128", "QUANTIZE x uint8[1, 5, 6, 4] 0.01575@128 -> x_int8 int8[1, 5, 6, 4] 0.01575@0",
        "CONV_2D x_int8 int8[1, 5, 6, 4] 0.01575@0 -> y_int8 int8[1, 5, 6, 3] 0.01772@0",
        "QUANTIZE y_int8 int8[1, 5, 6, 3] 0.01772@0 -> y uint8[1, 5, 6, 3] 0.01772@128", "out y uint8[1, 5, 6, 3] 0.01772@128",
    ],
}  # fmt: skip
"""x reaches 2 and y 2.25: 127 steps each; uint8 counts from 128 less."""


@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_borders_of_a_picture_are_stored_as_they_are_asked_for(io: Io) -> None:
    graph = case("y = Conv(x, w)", w=np.ones((3, 4, 1, 1), np.float32)).graph(True)
    assert borders(graph, io) == PICTURES[io]


def row_net() -> Graph:
    body = "(float[1,4,9] x) => (float[1,3,9] y) { y = Conv(x, w) }"
    return graph_of(body, w=np.ones((3, 4, 1), np.float32))


INSIDE = [
    "TRANSPOSE", "RESHAPE", "CONV_2D", "RESHAPE", "TRANSPOSE",
]  # fmt: skip


@pytest.mark.parametrize(
    ("io", "ends", "made", "more"),
    [
        ("float", ["in x float32[1, 4, 9]", "out y float32[1, 3, 9]"], "y_plain int8[1, 3, 9] 0.01772@0", ["QUANTIZE", "DEQUANTIZE"]),
        ("int8", ["in x int8[1, 4, 9] 0.01575@0", "out y int8[1, 3, 9] 0.01772@0"], "y int8[1, 3, 9] 0.01772@0", []),
        ("uint8", ["in x uint8[1, 4, 9] 0.01575@128", "out y uint8[1, 3, 9] 0.01772@128"], "y_plain int8[1, 3, 9] 0.01772@0", ["QUANTIZE", "QUANTIZE"]),
    ],
)  # fmt: skip
def test_rows_cross_the_border_in_the_graphs_order(
    io: Io, ends: list[str], made: str, more: list[str]
) -> None:
    lines = borders(row_net(), io)
    assert [lines[0], lines[-1]] == ends
    codes = [line.split()[0] for line in lines[1:-1]]
    assert codes == [*more[:1], *INSIDE, *more[1:]]
    turned = [line for line in lines if line.startswith("TRANSPOSE")]
    assert turned[1].endswith(f" -> {made}")
    assert "[1, 9, 4]" in turned[0].split(" -> ")[1]


def test_rows_in_float_are_turned_at_both_ends() -> None:
    lines = borders(row_net(), "float", "fp32")
    assert [lines[0], lines[-1]] == ["in x float32[1, 4, 9]", "out y float32[1, 3, 9]"]
    assert lines[-2] == "TRANSPOSE y_last float32[1, 9, 3] -> y float32[1, 3, 9]"


def test_inputs_and_constants_that_are_handed_out_are_copied() -> None:
    graph = graph_of(
        "(float[1,2,3,3] x) => (float[1,2,3,3] y, float[1,2,3,3] x, float[2] c) { y = Relu(x) }",
        c=np.array([1, 2], np.float32),
    )
    assert borders(graph, "float", "fp32") == [
        "in x float32[1, 3, 3, 2]", "RELU x float32[1, 3, 3, 2] -> y float32[1, 3, 3, 2]",
        "RESHAPE x float32[1, 3, 3, 2] -> x_1 float32[1, 3, 3, 2]", "RESHAPE c_value float32[2] -> c float32[2]",
        "out y float32[1, 3, 3, 2]", "out x_1 float32[1, 3, 3, 2]", "out c float32[2]",
    ]  # fmt: skip
    file = read_tflite(emit_tflite(graph).data)
    assert [op.options["newShape"].tolist() for op in file.ops[1:]] == [[1, 3, 3, 2], [2]]


def centred(shift: Any = 128, more: str = "", out: str = "c") -> Graph:
    body = f"(float[1,1,2,2] x) => (float[1,1,2,2] y) {{ {out} = Sub(x, s) {more or f'y = Conv({out}, w)'} }}"
    return graph_of(body, s=np.array(shift, np.float32), w=np.ones((1, 1, 1, 1), np.float32))


def test_centred_pixels_are_the_border_where_it_is_integer() -> None:
    """Pixels less 128 are what int8 holds, and the pixels themselves what uint8 holds."""
    graph = centred()
    values = {n: np.array([-128, 127], np.float32) for n in ("x", "c", "y")}
    recipe = minmax_recipe(graph, {}, exact={"c": (1.0, 0)}, values=values)
    found = {}
    for io in ("float", "int8", "uint8"):
        made = emit_tflite(graph, recipe, precision="int8", io=io, rewrites=NONE)
        q = made.inputs[0].quantization
        codes = [op.code for op in read_tflite(made.data).ops]
        found[io] = codes[: codes.index("CONV_2D")], q and (q.scale, q.zero_point), made.islands
    assert found == {
        "float": (["SUB", "QUANTIZE"], None, ()),
        "int8": ([], (1.0, 0), ()),
        "uint8": (["QUANTIZE"], (1.0, 128), ()),
    }


@pytest.mark.parametrize(
    ("graph", "shifts"),
    [
        (centred(), True), (centred([[[[1]]]]), True), (centred([[1, 2]]), False),
        (centred(more="y = Sub(x, c)"), False), (centred(more="t = Abs(x) y = Add(c, t)"), False),
        (graph_of("(float[1,1,2,2] x) => (float[1,1,2,2] c) { c = Add(x, s) }", s=scalar(1)), False),
        (graph_of("(float[1,1,2,2] x) => (float[1,1,2,2] c) { c = Sub(s, x) }", s=scalar(1)), False),
        (graph_of("(float[1,1,2,2] x, float[1] s) => (float[1,1,2,2] c) { c = Sub(x, s) }"), False),
    ],
)  # fmt: skip
def test_a_shift_of_pixels_is_a_constant_that_the_input_alone_is_less(
    graph: Graph, shifts: bool
) -> None:
    values = {n: np.array([-128, 127], np.float32) for n in graph.shapes if n not in graph.constants}  # fmt: skip
    plain = minmax_recipe(graph, {}, values=values)
    recipe = minmax_recipe(graph, {}, exact={"c": (1.0, 0)}, values=values)
    found = exact_pixel_shift(graph, recipe, "x")
    assert (found is not None and found.op) == ("Sub" if shifts else False)
    assert exact_pixel_shift(graph, plain, "x") is None
    none = replace(recipe, activations={})
    assert exact_pixel_shift(graph, none, "x") is None
    graph.nodes[0].clamp = (0.0, 6.0)
    assert exact_pixel_shift(graph, recipe, "x") is None


def test_options_that_contradict_each_other_are_refused() -> None:
    graph = row_net()
    recipe = plain_recipe(graph)
    for told, said in (
        ({"precision": "int8"}, "precision int8 needs recipe"),
        ({"precision": "fp32", "recipe": recipe}, "precision fp32 takes no recipe"),
        ({"io": "uint8"}, "uint8 inputs and outputs need an INT8 model: leave out --io or add --int8"),
        ({"io": "int8", "weights_only": True}, "int8 inputs and outputs need an INT8 model: leave out --io or add --int8"),
        ({"io": "int8", "recipe": recipe, "weights_only": True}, "int8 inputs and outputs need an INT8 model: leave out --io or add --int8"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            emit_tflite(graph, **told)
        assert str(caught.value) == said


def test_what_is_told_of_a_file_is_sorted_texts_as_json_and_bytes_as_they_are() -> None:
    seen = []

    def told(inputs: Any, outputs: Any) -> dict[str, str | bytes]:
        seen.append(([i.name for i in inputs], [o.name for o in outputs]))
        return {"b": "é", "Z": b"zz", "a": "1"}

    file = read_tflite(emit_tflite(row_net(), metadata=told).data)
    assert seen == [(["x"], ["y"])]
    assert file.metadata == {"edgeconv": {"a": "1", "b": "é"}, "Z": 2}
    assert "é".encode() in emit_tflite(row_net(), metadata={"b": "é"}).data
    assert read_tflite(emit_tflite(row_net()).data).metadata == {"edgeconv": {}}


def test_weights_alone_are_integers_behind_a_dequantize() -> None:
    made = emit_tflite(row_net(), weights_only=True)
    file = read_tflite(made.data)
    assert tflite_census(file).weight_only == 1
    assert made.inputs[0].dtype == made.outputs[0].dtype == "float32"
    assert (made.islands, made.requantized) == ((), 0)


# -- metadata, by the field numbers of metadata_schema.fbs

HALF = Preprocessing((0.5,), (0.25,), 1.0, (32, 48))
FLOAT_IN = TensorSpec("input", (1, 32, 48, 3), "float32", "nhwc")
SCORES = TensorSpec("logits", (1, 3))
FOUND = [TensorSpec("location", (1, 7, 4)), TensorSpec("category", (1, 7)), TensorSpec("score", (1, 7)), TensorSpec("number of detections", (1,))]  # fmt: skip


def slots(table: Table) -> list[int]:
    """Return the numbers of the fields that a table has."""
    return [n for n in range(12) if table.field(n) is not None]


def below(table: Table, slot: int) -> Table:
    place = table.field(slot)
    assert place is not None
    return Table(table.data, place + read_number("<I", table.data, place))


def numbers(table: Table, slot: int, kind: str) -> list[float]:
    start, length = table.vector(slot)
    return [float(v) for v in np.frombuffer(bytes(table.data), kind, length, start)]


def told_of(app: m.App, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> tuple[Table, Table]:
    data = m.app_metadata(app, inputs, outputs)
    assert data[4:8] == b"M001"
    model = Table(data, read_number("<I", data, 0))
    (graph,) = model.tables(3)
    return model, graph


def test_an_app_is_told_of_a_model_in_the_schemas_fields() -> None:
    app = m.App("net", "about", HALF, ["a", "b", "c"], "7", "me", "MIT", activation=m.SOFTMAX)
    model, graph = told_of(app, [FLOAT_IN], [SCORES, replace(SCORES, name="more")])
    assert slots(model) == [0, 1, 2, 3, 4, 5, 7]
    assert [model.text(n) for n in (0, 1, 2, 4, 5, 7)] == ["net", "about", "7", "me", "MIT", "1.0.0"]  # fmt: skip
    assert slots(graph) == [2, 3, 9]
    (picture,) = graph.tables(2)
    assert slots(picture) == [0, 1, 3, 4]
    assert (picture.text(0), picture.text(1)) == ("input", "a picture of 48x32 pixels")
    content = below(picture, 3)
    assert (slots(content), content.scalar(0, "<B")) == ([0, 1], 2)  # ImageProperties
    assert below(content, 1).scalar(0, "<B") == 1  # RGB
    (unit,) = picture.tables(4)
    assert (slots(unit), unit.scalar(0, "<B")) == ([0, 1], 1)  # NormalizationOptions
    options = below(unit, 1)
    assert (slots(options), numbers(options, 0, "<f4"), numbers(options, 1, "<f4")) == ([0, 1], [127.5], [63.75])  # fmt: skip
    scores, more = graph.tables(3)
    assert (slots(scores), slots(more)) == ([0, 3, 6], [0, 3])
    assert (scores.text(0), more.text(0)) == ("logits", "more")
    assert (slots(below(more, 3)), below(more, 3).scalar(0, "<B")) == (
        [0, 1],
        1,
    )  # FeatureProperties
    (file,) = scores.tables(6)
    assert slots(file) == [0, 1, 2]
    assert (file.text(0), file.text(1), file.scalar(2, "<B")) == ("labels.txt", "a class a line", 2)
    (own,) = graph.tables(9)
    assert (slots(own), own.text(0)) == ([0, 1], "SEGMENTER_METADATA")
    start, length = own.vector(1)
    data = bytes(own.data[start : start + length])
    assert data[4:8] == b"V001"
    assert Table(data, read_number("<I", data, 0)).scalar(0, "<B") == 2


def test_texts_and_parts_that_are_empty_are_left_out() -> None:
    model, graph = told_of(m.App("net", ""), [replace(FLOAT_IN, dtype="uint8")], [SCORES])
    assert (slots(model), slots(graph)) == ([0, 3, 7], [2, 3])
    (fed,) = graph.tables(2)
    assert (slots(fed), below(fed, 3).scalar(0, "<B")) == ([0, 3], 1)
    _, graph = told_of(m.App("net", "", HALF), [replace(FLOAT_IN, dtype="uint8")], [SCORES])
    (fed,) = graph.tables(2)
    assert slots(fed) == [0, 1, 3]
    _, graph = told_of(m.App("net", "", HALF), [TensorSpec("x", (1, 32, 3))], [SCORES])
    (fed,) = graph.tables(2)
    assert slots(fed) == [0, 3]


@pytest.mark.parametrize("labels", [["a", "b"], None])
def test_detections_are_a_group_whose_boxes_say_where_their_sides_are(
    labels: list[str] | None,
) -> None:
    app = m.App("net", "", HALF, labels)
    _, graph = told_of(app, [FLOAT_IN], FOUND)
    assert slots(graph) == [2, 3, 8]
    boxes, classes, *others = graph.tables(3)
    content = below(boxes, 3)
    assert (slots(content), content.scalar(0, "<B")) == ([0, 1, 2], 3)  # BoundingBoxProperties
    sides, places = below(content, 1), below(content, 2)
    assert (slots(sides), numbers(sides, 0, "<u4"), sides.scalar(1, "<B")) == ([0, 1], [1, 0, 3, 2], 1)  # fmt: skip
    assert (slots(places), places.scalar(0, "<i"), places.scalar(1, "<i")) == ([0, 1], 2, 2)
    assert slots(classes) == ([0, 3, 6] if labels else [0, 3])
    if labels:
        (file,) = classes.tables(6)
        assert file.scalar(2, "<B") == 3  # what values mean
    assert [slots(other) for other in others] == [[0, 3], [0, 3]]
    (group,) = graph.tables(8)
    assert (slots(group), group.text(0)) == ([0, 1], "detection_result")
    assert group.vector(1)[1] == 3
    assert m.labelled_output(app, FOUND) is (FOUND[1] if labels else None)
    assert [m.is_detection(FOUND), m.is_detection(FOUND[:3]), m.is_detection(FOUND[::-1])] == [True, False, False]  # fmt: skip


def pixels(scale: float, zero: int, offset: float = 0.0) -> TensorSpec:
    return replace(FLOAT_IN, dtype="uint8", quantization=Quantization(scale, zero, offset))


MANY = "apps that read TFLite Metadata take one mean and std for all channels: with --embed-preprocessing the file takes pixels, and they take it"
TWO = Preprocessing((0.5, 0.25), (0.5,), 1.0, (32, 48))


@pytest.mark.parametrize(
    ("how", "specs", "said"),
    [
        (None, [FLOAT_IN], None), (TWO, [FLOAT_IN, FLOAT_IN], None), (HALF, [FLOAT_IN], None), (TWO, [FLOAT_IN], MANY),
        (replace(HALF, std=(0.25, 0.5)), [FLOAT_IN], MANY), (replace(HALF, mean=(0.5, 0.5, 0.5)), [FLOAT_IN], None),
        (replace(TWO, embedded=True), [FLOAT_IN], None),
        (HALF, [replace(FLOAT_IN, dtype="int8")], "apps that read TFLite Metadata feed float and uint8 borders: --io float or uint8"),
        (replace(HALF, order="bgr"), [FLOAT_IN], "apps that read TFLite Metadata feed RGB pixels, and this net takes BGR"),
        # a pixel of 0 is (0 - 0.5) / 0.25 = -2 and one of 255 is 2: 255 steps of 4 / 255
        (HALF, [pixels(4 / 255, 128, 2 / 255)], None), (HALF, [pixels(4 / 255, 127, -2 / 255)], None),
        (HALF, [pixels(4 / 255, 128)], None), (HALF, [pixels(4 / 255, 128, -1 / 255)], MANY), (HALF, [pixels(4 / 255, 129, 2 / 255)], MANY),
        (HALF, [pixels(4.1 / 255, 128, 2 / 255)], MANY),
        (HALF, [replace(FLOAT_IN, dtype="uint8")], MANY), (TWO, [pixels(2 / 255, 128, 1 / 255)], MANY),
    ],
)  # fmt: skip
def test_apps_would_feed_these_wrongly(
    how: Preprocessing | None, specs: list[TensorSpec], said: str | None
) -> None:
    assert m.refused_by_apps(m.App("n", "d", how), specs) == said


@pytest.mark.parametrize(
    ("shape", "colour"), [((1, 2, 2, 1), 2), ((1, 2, 2, 3), 1), ((1, 2, 2, 2), None)]
)
def test_one_channel_is_grey_and_three_are_colours(shape: Shape, colour: int | None) -> None:
    _, graph = told_of(m.App("n", "", HALF), [replace(FLOAT_IN, shape=shape)], [SCORES])
    (fed,) = graph.tables(2)
    content = below(fed, 3)
    assert content.scalar(0, "<B") == (1 if colour is None else 2)
    if colour is not None:
        assert below(content, 1).scalar(0, "<B") == colour
        blue = replace(HALF, order="bgr")
        _, graph = told_of(m.App("n", "", blue), [replace(FLOAT_IN, shape=shape)], [SCORES])
        content = below(next(iter(graph.tables(2))), 3)
        assert below(content, 1).scalar(0, "<B") == (2 if colour == 2 else 0)


def test_an_embedded_scaling_takes_pixels_as_they_are() -> None:
    _, graph = told_of(m.App("n", "", replace(TWO, embedded=True)), [FLOAT_IN], [SCORES])
    (unit,) = next(iter(graph.tables(2))).tables(4)
    options = below(unit, 1)
    assert (numbers(options, 0, "<f4"), numbers(options, 1, "<f4")) == ([0.0], [1.0])
