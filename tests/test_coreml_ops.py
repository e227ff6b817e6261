"""Each operator of the Core ML table: saved, read back, evaluated, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coreml_kit import Spec, expected, feeds_for, onnx_model, prepared

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.coreml.table import OPS, check_supported
from edgeconv.mil import open_program

RNG = np.random.default_rng(5)


def f32(*shape: int) -> Any:
    return (RNG.standard_normal(shape) * 0.4).astype(np.float32)


def i64(*values: int) -> Any:
    return np.array(values, np.int64)


def unary(op: str, **attrs: Any) -> tuple[list[Spec], dict[str, Any]]:
    return [(op, ["x"], ["y"], attrs)], {}


def binary(op: str, other: Any, **attrs: Any) -> tuple[list[Spec], dict[str, Any]]:
    return [(op, ["x", "k"], ["y"], attrs)], {"k": other}


CASES: dict[str, tuple[list[Spec], dict[str, Any]]] = {
    "conv": ([("Conv", ["x", "w", "b"], ["y"], {"kernel_shape": [3, 3]})], {"w": f32(4, 6, 3, 3), "b": f32(4)}),
    "conv-asymmetric-padding": (
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0], "strides": [2, 1]})],
        {"w": f32(4, 6, 3, 2)},
    ),
    "conv-grouped": (
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 3], "group": 3, "pads": [1, 1, 1, 1]})],
        {"w": f32(9, 2, 3, 3)},
    ),
    "conv-depthwise-dilated": (
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 3], "group": 6, "dilations": [2, 2], "pads": [2, 2, 2, 2]})],
        {"w": f32(6, 1, 3, 3)},
    ),
    "conv-depthwise-multiplier": (
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [3, 3], "group": 6})],
        {"w": f32(12, 1, 3, 3)},
    ),
    "conv-pointwise-strided": (
        [("Conv", ["x", "w"], ["y"], {"kernel_shape": [1, 1], "strides": [2, 2]})],
        {"w": f32(5, 6, 1, 1)},
    ),
    "conv-transpose": (
        [("ConvTranspose", ["x", "w", "b"], ["y"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1], "output_padding": [1, 0]})],
        {"w": f32(6, 4, 3, 3), "b": f32(4)},
    ),
    "conv-transpose-grouped": (
        [("ConvTranspose", ["x", "w"], ["y"], {"kernel_shape": [2, 2], "strides": [2, 2], "group": 2})],
        {"w": f32(6, 2, 2, 2)},
    ),
    "gemm": (
        [("Flatten", ["x"], ["f"], {}), ("Gemm", ["f", "w", "b"], ["y"], {})],
        {"w": f32(462, 7), "b": f32(7)},
    ),
    "matmul-computed": ([("Transpose", ["x"], ["t"], {"perm": [0, 1, 3, 2]}), ("MatMul", ["x", "t"], ["y"], {})], {}),
    "batch-norm": (
        [("Relu", ["x"], ["r"], {}), ("BatchNormalization", ["r", "g", "b", "m", "v"], ["y"], {})],
        {"g": f32(6), "b": f32(6), "m": f32(6), "v": np.abs(f32(6)) + 1},
    ),
    "instance-norm": ([("InstanceNormalization", ["x", "g", "b"], ["y"], {})], {"g": f32(6), "b": f32(6)}),
    "layer-norm": ([("LayerNormalization", ["x", "g", "b"], ["y"], {"axis": -1})], {"g": f32(7), "b": f32(7)}),
    "relu": unary("Relu"),
    "clip": ([("Clip", ["x", "lo", "hi"], ["y"], {})], {"lo": np.float32(-0.3), "hi": np.float32(0.4)}),
    "clip-one-side": ([("Clip", ["x", "lo"], ["y"], {})], {"lo": np.float32(-0.25)}),
    "leaky-relu": unary("LeakyRelu", alpha=0.2),
    "prelu": binary("PRelu", f32(6, 1, 1)),
    "prelu-single": binary("PRelu", f32(1)),
    "prelu-elementwise": binary("PRelu", f32(6, 11, 7)),
    "prelu-computed": ([("Abs", ["x"], ["s"], {}), ("PRelu", ["x", "s"], ["y"], {})], {}),
    "prelu-computed-by-channel": (
        [("GlobalAveragePool", ["x"], ["m"], {}), ("PRelu", ["x", "m"], ["y"], {})],
        {},
    ),
    "elu": unary("Elu", alpha=0.7),
    "selu": unary("Selu"),
    "sigmoid": unary("Sigmoid"),
    "hard-sigmoid": unary("HardSigmoid", alpha=0.25, beta=0.4),
    "hard-swish": unary("HardSwish"),
    "mish": unary("Mish"),
    "gelu": unary("Gelu"),
    "gelu-tanh": unary("Gelu", approximate="tanh"),
    "softplus": unary("Softplus"),
    "softsign": unary("Softsign"),
    "tanh": unary("Tanh"),
    "exp": unary("Exp"),
    "log": ([("Abs", ["x"], ["a"], {}), ("Add", ["a", "k"], ["s"], {}), ("Log", ["s"], ["y"], {})], {"k": np.float32(0.5)}),
    "sqrt": ([("Abs", ["x"], ["a"], {}), ("Sqrt", ["a"], ["y"], {})], {}),
    "erf": unary("Erf"),
    "floor": unary("Floor"),
    "ceil": unary("Ceil"),
    "round": unary("Round"),
    "sign": unary("Sign"),
    "neg": unary("Neg"),
    "reciprocal": ([("Add", ["x", "k"], ["s"], {}), ("Reciprocal", ["s"], ["y"], {})], {"k": np.float32(9)}),
    "softmax": unary("Softmax", axis=1),
    "log-softmax": unary("LogSoftmax", axis=1),
    "add-constant": binary("Add", f32(6, 1, 1)),
    "constant-minus": ([("Sub", ["k", "x"], ["y"], {})], {"k": f32(1)}),
    "mul-broadcast": ([("GlobalAveragePool", ["x"], ["m"], {}), ("Mul", ["x", "m"], ["y"], {})], {}),
    "div": binary("Div", np.abs(f32(6, 1, 1)) + 1),
    "pow": ([("Abs", ["x"], ["a"], {}), ("Pow", ["a", "k"], ["y"], {})], {"k": np.float32(1.5)}),
    "min-max": ([("Max", ["x", "k"], ["a"], {}), ("Min", ["a", "k2", "x"], ["y"], {})], {"k": np.float32(-0.2), "k2": f32(6, 1, 1)}),
    "max-pool": unary("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max-pool-ceil": unary("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average-pool": unary("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average-pool-counting": unary("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    "average-pool-ceil": unary("AveragePool", kernel_shape=[3, 2], strides=[3, 2], ceil_mode=1),
    "average-pool-ceil-counting": unary("AveragePool", kernel_shape=[4, 2], strides=[3, 2], pads=[1, 0, 1, 0], ceil_mode=1, count_include_pad=1),
    "global-max-pool": unary("GlobalMaxPool"),
    "reduce-mean": binary("ReduceMean", i64(2, 3), keepdims=0),
    "reduce-mean-channels": binary("ReduceMean", i64(1)),
    "reduce-sum": binary("ReduceSum", i64(1)),
    "reduce-max-all": binary("ReduceMax", i64()),
    "reduce-max": binary("ReduceMax", i64(-1)),
    "reduce-l2": binary("ReduceL2", i64(1)),
    "reshape": binary("Reshape", i64(1, 11, 42)),
    "transpose": unary("Transpose", perm=[0, 2, 3, 1]),
    "concat": ([("Relu", ["x"], ["r"], {}), ("Concat", ["x", "r"], ["y"], {"axis": 1})], {}),
    "shuffle": (
        [("Reshape", ["x", "s"], ["r"], {}), ("Transpose", ["r"], ["t"], {"perm": [0, 2, 1, 3, 4]}), ("Reshape", ["t", "s2"], ["y"], {})],
        {"s": i64(1, 3, 2, 11, 7), "s2": i64(1, 6, 11, 7)},
    ),
    "slice": ([("Slice", ["x", "b", "e", "a", "s"], ["y"], {})], {"b": i64(1, -6), "e": i64(5, 99), "a": i64(1, 3), "s": i64(2, 1)}),
    "split": ([("Split", ["x", "n"], ["p", "q"], {"axis": 1}), ("Concat", ["q", "p"], ["y"], {"axis": 1})], {"n": i64(2, 4)}),
    "gather": binary("Gather", i64(5, 0, -2), axis=1),
    "gather-one": binary("Gather", np.array(2, np.int64), axis=1),
    "pad-constant": ([("Pad", ["x", "p", "v"], ["y"], {})], {"p": i64(0, 0, 1, 2, 0, 1, 3, 0), "v": np.float32(0.5)}),
    "pad-reflect": binary("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"),
    "pad-edge": binary("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), mode="edge"),
    "pad-wrap": binary("Pad", i64(0, 2, 1, 2, 0, 0, 3, 1), mode="wrap"),
    "pad-edge-channels": binary("Pad", i64(0, 2, 1, 0, 0, 1, 0, 1), mode="edge"),
    "pad-axes": ([("Pad", ["x", "p", "", "a"], ["y"], {})], {"p": i64(1, 2), "a": i64(3)}),
    "tile": binary("Tile", i64(1, 2, 1, 3)),
    "expand": ([("GlobalAveragePool", ["x"], ["m"], {}), ("Expand", ["m", "s"], ["y"], {})], {"s": i64(1, 6, 4, 5)}),
    "reduce-l1": binary("ReduceL1", i64(1)),
    "reduce-sum-square": binary("ReduceSumSquare", i64(1, 2)),
    "reduce-log-sum": ([("Abs", ["x"], ["p"], {}), ("ReduceLogSum", ["p", "k"], ["y"], {})], {"k": i64(1)}),
    "reduce-log-sum-exp": binary("ReduceLogSumExp", i64(3)),
    "arg-min": ([("ArgMin", ["x"], ["i"], {"axis": 1}), ("Cast", ["i"], ["y"], {"to": 1})], {}),
    "arg-max": ([("ArgMax", ["x"], ["i"], {"axis": 1, "keepdims": 0}), ("Cast", ["i"], ["y"], {"to": 1})], {}),
    "cumsum": binary("CumSum", np.array(1)),
    "cumsum-reverse-exclusive": binary("CumSum", np.array(-1), reverse=1, exclusive=1),
    "lrn": unary("LRN", size=5, alpha=0.3, beta=0.6, bias=1.5),
    "sin": unary("Sin"),
    "cos": unary("Cos"),
    "celu": unary("Celu", alpha=0.7),
    "mean": ([("Relu", ["x"], ["r"], {}), ("Mean", ["x", "r", "k"], ["y"], {})], {"k": f32(6, 1, 1)}),
    "equal": ([("Relu", ["x"], ["r"], {}), ("Equal", ["x", "r"], ["e"], {}), ("Cast", ["e"], ["y"], {"to": 1})], {}),
    "equal-of-truths": (
        [("Greater", ["x", "k"], ["g"], {}), ("Less", ["x", "h"], ["l"], {}), ("Equal", ["g", "l"], ["e"], {}), ("Cast", ["e"], ["y"], {"to": 1})],
        {"k": np.float32(0.1), "h": np.float32(0.5)},
    ),
    "greater-or-equal": ([("GreaterOrEqual", ["k", "x"], ["e"], {}), ("Cast", ["e"], ["y"], {"to": 1})], {"k": f32(6, 1, 1)}),
    "less-or-equal": ([("LessOrEqual", ["x", "k"], ["e"], {}), ("Not", ["e"], ["n"], {}), ("Cast", ["n"], ["y"], {"to": 1})], {"k": f32(7)}),
    "and-or": (
        [("Greater", ["x", "k"], ["g"], {}), ("Less", ["x", "h"], ["l"], {}), ("And", ["g", "l"], ["a"], {}), ("Or", ["a", "m"], ["o"], {}), ("Cast", ["o"], ["y"], {"to": 1})],
        {"k": np.float32(-0.1), "h": np.float32(0.2), "m": np.array([1, 0, 0, 1, 0, 0, 0], np.bool_)},
    ),
    "cast-to-truth": ([("Relu", ["x"], ["r"], {}), ("Cast", ["r"], ["t"], {"to": 9}), ("Cast", ["t"], ["y"], {"to": 1})], {}),
    "where": ([("Greater", ["x", "k"], ["g"], {}), ("Where", ["g", "x", "v"], ["y"], {})], {"k": np.float32(0), "v": f32(6, 1, 7)}),
    "where-few-conditions": (
        [("ReduceMax", ["x", "a"], ["t"], {}), ("Greater", ["t", "k"], ["g"], {}), ("Where", ["g", "v", "x"], ["y"], {})],
        {"a": i64(2, 3), "k": np.float32(0.9), "v": np.float32(2)},
    ),
    "where-all-spread": (
        [("ReduceMax", ["x", "a"], ["t"], {"keepdims": 1}), ("Greater", ["x", "k"], ["g"], {}), ("Where", ["g", "t", "v"], ["y"], {})],
        {"a": i64(2, 3), "k": np.float32(0.1), "v": f32(11, 1)},
    ),
    "identity-border": ([("Relu", ["x"], ["a"], {}), ("Relu", ["a"], ["y"], {})], {}),
}  # fmt: skip

RESIZES = {
    "nearest-half-pixel": ("nearest", {}, [1.0, 1.0, 2.0, 3.0]),
    "nearest-floor": ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, [1.0, 1.0, 2.0, 2.0]),
    "nearest-down": ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, [1.0, 1.0, 0.5, 0.5]),
    "linear": ("linear", {}, [1.0, 1.0, 2.0, 2.0]),
    "linear-down": ("linear", {}, [1.0, 1.0, 0.5, 0.5]),
    "linear-aligned": ("linear", {"coordinate_transformation_mode": "align_corners"}, [1.0, 1.0, 2.0, 1.5]),
    "linear-asymmetric": ("linear", {"coordinate_transformation_mode": "asymmetric"}, [1.0, 1.0, 1.5, 2.0]),
}  # fmt: skip


def close(model: Any, folder: Path, **options: Any) -> float:
    graph = prepared(model)
    feeds = feeds_for(graph)
    wanted = expected(model, feeds)
    emitted = emit_coreml(graph, path=folder / "op.mlpackage", **options)
    made = open_program(emitted.path).run({emitted.inputs[0].name: feeds["x"]})
    return max(
        float(np.abs(want - made[spec.name]).max())
        for want, spec in zip(wanted, emitted.outputs, strict=True)
    )


def every_case() -> tuple[Any, list[str]]:
    """Return one model with an output for every case: a conversion costs more than an operator."""
    nodes: list[Spec] = []
    constants: dict[str, Any] = {}
    for case, (specs, values) in CASES.items():

        def own(name: str, case: str = case) -> str:
            return name if name in ("x", "") else f"{case}_{name}"

        nodes += [
            (op, [own(i) for i in ins], [own(o) for o in outs], a) for op, ins, outs, a in specs
        ]
        constants |= {own(name): value for name, value in values.items()}
    outputs = [f"{case}_y" for case in CASES]
    return onnx_model(nodes, {"x": (1, 6, 11, 7)}, outputs, constants), outputs


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Return what onnxruntime and the saved package make of each case."""
    model, outputs = every_case()
    graph = prepared(model)
    feeds = feeds_for(graph)
    emitted = emit_coreml(graph, path=tmp_path_factory.mktemp("ops") / "all.mlpackage")
    made = open_program(emitted.path).run(feeds)
    wanted = dict(zip(outputs, expected(model, feeds), strict=True))
    return {case: (wanted[f"{case}_y"], made[emitted.names[f"{case}_y"]]) for case in CASES}


@pytest.mark.parametrize("name", CASES)
def test_a_lowered_operator_computes_what_onnxruntime_does(
    name: str, all_cases: dict[str, tuple[Any, Any]]
) -> None:
    wanted, made = all_cases[name]
    assert made.shape == wanted.shape
    assert float(np.abs(made - wanted).max()) < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("min_ios", [15, 17, 18])
def test_every_operator_exists_in_half_precision_for_every_oldest_ios(
    min_ios: int, tmp_path: Path
) -> None:
    model, outputs = every_case()
    graph = prepared(model)
    options: Any = {"precision": "fp16", "min_ios": min_ios}
    emitted = emit_coreml(graph, path=tmp_path / "all.mlpackage", **options)
    feeds = feeds_for(graph)
    feeds["x"] = feeds["x"].astype(np.float16).astype(np.float32)
    made = open_program(emitted.path).run(feeds)
    for spec, output, wanted in zip(emitted.outputs, outputs, expected(model, feeds), strict=True):
        error = np.abs(made[spec.name] - wanted)
        # a comparison may fall to the other side where its operand was rounded
        assert float(np.quantile(error, 0.98)) < 2e-2 * max(1.0, float(np.abs(wanted).max())), (
            output
        )


@pytest.mark.parametrize("name", RESIZES)
def test_a_resize_computes_what_onnxruntime_does(name: str, tmp_path: Path) -> None:
    mode, attrs, scales = RESIZES[name]
    nodes: list[Spec] = [("Resize", ["x", "", "scales"], ["y"], {"mode": mode, **attrs})]
    constants = {"scales": np.array(scales, np.float32)}
    model = onnx_model(nodes, {"x": (1, 6, 4, 8)}, ["y"], constants)
    assert close(model, tmp_path) < 2e-5


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space_change_places_as_in_onnxruntime(mode: str, tmp_path: Path) -> None:
    deep: list[Spec] = [("DepthToSpace", ["x"], ["y"], {"blocksize": 2, "mode": mode})]
    assert close(onnx_model(deep, {"x": (1, 8, 3, 5)}, ["y"]), tmp_path) == 0.0
    flat: list[Spec] = [("SpaceToDepth", ["x"], ["y"], {"blocksize": 2})]
    assert close(onnx_model(flat, {"x": (1, 2, 6, 4)}, ["y"]), tmp_path) == 0.0


def test_a_number_of_no_axes_comes_out_with_one(tmp_path: Path) -> None:
    nodes: list[Spec] = [("ReduceSum", ["x"], ["y"], {"keepdims": 0})]
    model = onnx_model(nodes, {"x": (1, 2, 3, 4)}, ["y"])
    assert close(model, tmp_path) < 2e-5


REFUSED: dict[str, tuple[list[Spec], dict[str, Any], str]] = {
    "an unknown operator": ([("Det", ["x"], ["y"], {})], {}, "Det"),
    "the last of equal maxima": (
        [("ArgMax", ["x"], ["y"], {"select_last_index": 1})],
        {},
        "last of equal",
    ),
    "a power of two types": (
        [("Cast", ["x"], ["i"], {"to": 7}), ("Pow", ["i", "x"], ["y"], {})],
        {},
        "operands are float32 and int64",
    ),
    "pools of whole numbers": (
        [("Cast", ["x"], ["i"], {"to": 6}), ("MaxPool", ["i"], ["y"], {"kernel_shape": [2, 2]})],
        {},
        "whole numbers",
    ),
    "an even window": ([("LRN", ["x"], ["y"], {"size": 4})], {}, "even size"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_lowered_is_refused_by_name(name: str) -> None:
    nodes, constants, message = REFUSED[name]
    graph = prepared(onnx_model(nodes, {"x": (1, 6, 8, 8)}, ["y"], constants))
    with pytest.raises(UnsupportedOpError, match=message):
        check_supported(graph)


def test_the_table_holds_every_operator_of_the_tflite_emitter() -> None:
    from edgeconv.export.tflite.table import OPS as TFLITE

    assert TFLITE.keys() - OPS.keys() == set()


def test_the_table_holds_no_operator_that_onnx_lacks() -> None:
    import onnx

    ours = {"ChannelShuffle"}  # the prepared graph's pseudo-operator
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert OPS.keys() - known - ours == set()
