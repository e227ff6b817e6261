"""The evaluator's kernels against coremltools' own value inference, where it has one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeconv.formats.mil_types import TensorType
from edgeconv.mil.call import Call
from edgeconv.mil.evaluate import OPS
from edgeconv.mil.program import Operation

pytest.importorskip("coremltools")

RNG = np.random.default_rng(11)
X = (RNG.standard_normal((1, 4, 3, 5)) * 3).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
STORED = RNG.integers(-128, 128, (1, 4, 3, 5)).astype(np.int8)
HALVES = (np.arange(-40, 40).reshape(1, 4, 4, 5) / 2).astype(np.float32)

CASES: dict[str, dict[str, Any]] = {
    "relu": {"x": X},
    "relu6": {"x": X},
    "clip": {"x": X, "alpha": np.float32(-1.5), "beta": np.float32(2)},
    "sigmoid": {"x": X},
    "sigmoid_hard": {"x": X, "alpha": np.float32(1 / 6), "beta": np.float32(0.5)},
    "tanh": {"x": X},
    "leaky_relu": {"x": X, "alpha": np.float32(0.1)},
    "elu": {"x": X, "alpha": np.float32(0.5)},
    "prelu": {"x": X, "alpha": np.array([0.1, 0.2, 0.3, 0.4], np.float32)},
    "softplus": {"x": X},
    "softsign": {"x": X},
    "exp": {"x": X},
    "log": {"x": POSITIVE},
    "sqrt": {"x": POSITIVE},
    "rsqrt": {"x": POSITIVE},
    "inverse": {"x": POSITIVE},
    "erf": {"x": X},
    "abs": {"x": X},
    "floor": {"x": X},
    "ceil": {"x": X},
    "round": {"x": HALVES},
    "square": {"x": X},
    "sign": {"x": X},
    "softmax": {"x": X, "axis": 1},
    "add": {"x": X, "y": POSITIVE},
    "sub": {"x": X, "y": POSITIVE},
    "mul": {"x": X, "y": POSITIVE},
    "real_div": {"x": X, "y": POSITIVE},
    "pow": {"x": POSITIVE, "y": np.float32(1.5)},
    "maximum": {"x": X, "y": POSITIVE},
    "minimum": {"x": X, "y": POSITIVE},
    "reduce_mean": {"x": X, "axes": [2, 3], "keep_dims": True},
    "reduce_sum": {"x": X, "axes": [1], "keep_dims": False},
    "reduce_max": {"x": X, "axes": [-1], "keep_dims": True},
    "reduce_argmax": {"x": X, "axis": 1, "keep_dims": True},
    "reduce_argmin": {"x": X, "axis": 2, "keep_dims": False},
    "reduce_l1_norm": {"x": X, "axes": [1], "keep_dims": True},
    "reduce_l2_norm": {"x": X, "axes": [1], "keep_dims": True},
    "reduce_sum_square": {"x": X, "axes": [1, 2], "keep_dims": False},
    "reduce_log_sum_exp": {"x": X, "axes": [3], "keep_dims": False},
    "sin": {"x": X},
    "cos": {"x": X},
    "cumsum": {"x": X, "axis": 1, "exclusive": False, "reverse": False},
    "select": {"cond": X > 0, "a": X, "b": POSITIVE},
    "logical_and": {"x": X > 0, "y": POSITIVE > 1},
    "logical_or": {"x": X > 0, "y": POSITIVE > 1},
    "logical_not": {"x": X > 0},
    "greater": {"x": X, "y": POSITIVE},
    "less_equal": {"x": X, "y": POSITIVE},
    "linear": {"x": X[0, 0], "weight": X[0, 1], "bias": np.ones(3, np.float32)},
    "matmul": {"x": X, "y": X, "transpose_x": False, "transpose_y": True},
    "reshape": {"x": X, "shape": [4, 15]},
    "transpose": {"x": X, "perm": [0, 2, 3, 1]},
    "expand_dims": {"x": X, "axes": [1]},
    "squeeze": {"x": X, "axes": [0]},
    "concat": {"values": [X, POSITIVE], "axis": 1},
    "stack": {"values": [X, POSITIVE], "axis": 1},
    "gather": {"x": X, "indices": np.array([2, 0], np.int32), "axis": 1},
    "tile": {"x": X, "reps": [1, 2, 1, 3]},
    "slice_by_index": {"x": X, "begin": [0, 1, 0, 4], "end": [1, 4, 3, 0], "stride": [1, 2, 1, -1]},
    "slice_by_size": {"x": X, "begin": [0, 1, 0, 2], "size": [1, 2, 3, 2]},
    "cast": {"x": X, "dtype": "int32"},
    "quantize": {"input": HALVES, "scale": np.float32(0.25), "output_dtype": "int8"},
    "dequantize": {"input": STORED, "scale": np.float32(0.25), "zero_point": np.int8(3)},
}


@pytest.mark.parametrize("kind", CASES)
def test_a_kernel_agrees_with_value_inference(kind: str) -> None:
    value = inferred(kind, CASES[kind])
    if value is None:
        pytest.skip(f"coremltools infers no value for {kind}")
    arguments = {
        key: list(item)
        if key == "values"
        else [item if isinstance(item, str) else np.asarray(item)]
        for key, item in CASES[kind].items()
    }
    declared = TensorType(value.dtype, value.shape)
    call = Call(Operation(kind, {}, (("y", declared),)), arguments, np.dtype(np.float32))
    made = np.asarray(OPS[kind].kernel(call))
    assert made.shape == value.shape
    assert np.allclose(made, value, rtol=2e-6, atol=2e-6)


def inferred(kind: str, arguments: dict[str, Any]) -> Any:
    """Return what coremltools computes for constant arguments; None where it computes nothing."""
    from edgeconv.export.coreml.convert import quiet

    with quiet():
        import coremltools as ct
        from coremltools.converters.mil import Builder
        from coremltools.converters.mil.mil import Function

        build: Callable[..., Any] = getattr(Builder, kind)
        with Function({}, opset_version=ct.target.iOS17):
            return build(**arguments).val
