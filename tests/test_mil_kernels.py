"""Every kernel of the reference evaluator by value: worked out by hand, by numpy or by the formula of MIL's documents."""

import math
from typing import Any

import numpy as np
import pytest
from test_mil import slow_convolution

from edgeconv.formats.mil_types import MAX_ELEMENTS, OtherType, TensorType
from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil import kernels
from edgeconv.mil.call import Call
from edgeconv.mil.evaluate import OPS
from edgeconv.mil.kernels import bounded, convolve, convolve_transposed, interpolation, pad_spatial
from edgeconv.mil.program import Operation

F = np.float32


def f(*values: Any) -> Any:
    return np.array(values, F)


def i(*values: Any) -> Any:
    return np.array(values, np.int32)


def call(kind: str, shapes: tuple[Any, ...] = ((),), **arguments: Any) -> Call:
    """Return a call whose results are declared float32 of ``shapes``."""
    given = {
        key: value
        if isinstance(value, list)
        else [value if isinstance(value, str | dict) else np.asarray(value)]
        for key, value in arguments.items()
    }
    results = tuple((f"y{n}", TensorType(np.dtype(F), shape)) for n, shape in enumerate(shapes))
    return Call(Operation(kind, {}, results), given, np.dtype(F))


def made(kind: str, *shapes: tuple[int, ...], **arguments: Any) -> Any:
    return OPS[kind].kernel(call(kind, shapes or ((),), **arguments))


def said(kind: str, *shapes: tuple[int, ...], **arguments: Any) -> str:
    """Return why a call is refused."""
    with pytest.raises(CorruptFileError) as refused:
        made(kind, *shapes, **arguments)
    return str(refused.value)


X = f([-2.0, -0.5, 0.0], [0.25, 1.0, 3.0])
A, B = f(7.0, -7.0, 2.0, 0.5), f(2.0, 2.0, -3.0, 0.25)
erf = np.vectorize(math.erf)

VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "add": ({"x": A, "y": B}, [9, -5, -1, 0.75]),
    "sub": ({"x": A, "y": B}, [5, -9, 5, 0.25]),
    "mul": ({"x": A, "y": B}, [14, -14, -6, 0.125]),
    "real_div": ({"x": A, "y": B}, [3.5, -3.5, -2 / 3, 2]),
    "real_div of integers": ({"x": i(7, -7), "y": i(2, 2)}, [3, -4]),
    "floor_div": ({"x": A, "y": B}, [3, -4, -1, 2]),
    "mod": ({"x": A, "y": B}, [1, 1, -1, 0]),
    "pow": ({"x": f(2, 9, 4), "y": f(3, 0.5, -1)}, [8, 3, 0.25]),
    "maximum": ({"x": A, "y": B}, [7, 2, 2, 0.5]),
    "minimum": ({"x": A, "y": B}, [2, -7, -3, 0.25]),
    "equal": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [False, True, False]),
    "not_equal": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [True, False, True]),
    "greater": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [False, False, True]),
    "greater_equal": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [False, True, True]),
    "less": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [True, False, False]),
    "less_equal": ({"x": i(1, 2, 3), "y": i(2, 2, 2)}, [True, True, False]),
    "logical_and": ({"x": i(0, 0, 1, 1), "y": i(0, 1, 0, 1)}, [False, False, False, True]),
    "logical_or": ({"x": i(0, 0, 1, 1), "y": i(0, 1, 0, 1)}, [False, True, True, True]),
    "logical_not": ({"x": np.array([True, False])}, [False, True]),
    "select": ({"cond": np.array([True, False]), "a": f(1, 2), "b": f(3, 4)}, [1, 4]),
    "relu": ({"x": X}, np.maximum(X, 0)),
    "relu6": ({"x": f(-1, 0.5, 6, 7)}, [0, 0.5, 6, 6]),
    "clip": ({"x": X, "alpha": F(-0.5), "beta": F(1)}, [[-0.5, -0.5, 0], [0.25, 1, 1]]),
    "threshold": ({"x": X, "alpha": F(0.25)}, [[0.25, 0.25, 0.25], [0.25, 1, 3]]),
    "sigmoid": ({"x": X}, 1 / (1 + np.exp(-X))),
    "silu": ({"x": X}, X / (1 + np.exp(-X))),
    "tanh": ({"x": X}, np.tanh(X)),
    "softplus": ({"x": X}, np.log(1 + np.exp(X))),
    "softplus of much": ({"x": f(-200, 200)}, [0, 200]),
    "softsign": ({"x": X}, [[-2 / 3, -1 / 3, 0], [0.2, 0.5, 0.75]]),
    "exp": ({"x": X}, np.exp(X)),
    "sqrt": ({"x": f(4, 2.25)}, [2, 1.5]),
    "square": ({"x": X}, [[4, 0.25, 0], [0.0625, 1, 9]]),
    "abs": ({"x": X}, [[2, 0.5, 0], [0.25, 1, 3]]),
    "floor": ({"x": f(-1.5, 1.5)}, [-2, 1]),
    "ceil": ({"x": f(-1.5, 1.5)}, [-1, 2]),
    "round": ({"x": f(-1.5, 0.5, 2.5, 2.6)}, [-2, 0, 2, 3]),
    "sign": ({"x": X}, [[-1, -1, 0], [1, 1, 1]]),
    "erf": ({"x": X}, erf(X)),
    "sin": ({"x": X}, np.sin(X)),
    "cos": ({"x": X}, np.cos(X)),
    "atan": ({"x": X}, np.arctan(X)),
    "log": ({"x": f(0, 1, 2)}, [np.log(F(1e-45)), 0, math.log(2)]),
    "log from one": ({"x": f(0, 1), "epsilon": F(1)}, [0, math.log(2)]),
    "rsqrt": ({"x": f(0, 4)}, [1e6, 0.5]),
    "inverse": ({"x": f(0, 4)}, [1e4, 1 / 4.0001]),
    "gelu": ({"x": X}, X * 0.5 * (1 + erf(X / math.sqrt(2)))),
    "gelu by tanh": ({"x": X, "mode": "TANH_APPROXIMATION"}, 0.5 * X * (1 + np.tanh(0.7978845608 * (X + 0.044715 * X**3)))),
    "sigmoid of a scalar": ({"x": F(0)}, 0.5),
    "gelu by sigmoid": ({"x": X, "mode": "SIGMOID_APPROXIMATION"}, X / (1 + np.exp(-1.702 * X))),
    "elu": ({"x": X}, np.where(X > 0, X, np.exp(X) - 1)),
    "elu by half": ({"x": X, "alpha": F(0.5)}, np.where(X > 0, X, 0.5 * (np.exp(X) - 1))),
    "leaky_relu": ({"x": f(-2, 3)}, [-0.02, 3]),
    "leaky_relu by half": ({"x": f(-2, 3), "alpha": F(0.5)}, [-1, 3]),
    "prelu": ({"x": f([[-1, 2], [-4, -2]]), "alpha": f(0.5, 0.25)}, [[[-0.5, 2], [-1, -0.5]]]),
    "sigmoid_hard": ({"x": f(-3, -0.5, 0, 2)}, [0, 0.5, 1, 1]),
    "sigmoid_hard as given": ({"x": f(-3, 0, 1), "alpha": F(0.25), "beta": F(0.5)}, [0, 0.5, 0.75]),
    "softmax": ({"x": f([0, math.log(3)], [0, 0])}, [[0.25, 0.75], [0.5, 0.5]]),
    "softmax of columns": ({"x": f([0, math.log(3)], [0, 0]), "axis": i(0)}, [[0.5, 0.75], [0.5, 0.25]]),
    "softmax of much": ({"x": f(1000, 1000)}, [0.5, 0.5]),
    "reduce_sum": ({"x": f([1, 2], [3, 4])}, 10),
    "reduce_sum of rows": ({"x": f([1, 2], [3, 4]), "axes": i(1), "keep_dims": True}, [[3], [7]]),
    "reduce_mean": ({"x": f([1, 2], [3, 5]), "axes": i(0)}, [2, 3.5]),
    "reduce_prod": ({"x": f([1, 2], [3, 5]), "axes": i(1)}, [2, 15]),
    "reduce_max": ({"x": f([1, 2], [3, 5]), "axes": i(1)}, [2, 5]),
    "reduce_min": ({"x": f([1, 2], [3, 5]), "axes": i(1)}, [1, 3]),
    "reduce_log_sum_exp": ({"x": f([0, math.log(3)], [1000, 1000]), "axes": i(1)}, [math.log(4), 1000 + math.log(2)]),
    "reduce_log_sum_exp kept": ({"x": f([0, math.log(3)]), "axes": i(-1), "keep_dims": True}, [[math.log(4)]]),
    "reduce_l1_norm": ({"x": f([1, -2], [-3, 5]), "axes": i(1)}, [3, 8]),
    "reduce_l2_norm": ({"x": f([3, -4]), "axes": i(1)}, [5]),
    "reduce_sum_square": ({"x": f([3, -4]), "axes": i(1)}, [25]),
    "reduce_log_sum": ({"x": f([3, 4]), "axes": i(1)}, [math.log(7)]),
    "reduce_argmax": ({"x": f([1, 9], [5, 2])}, [1, 0]),
    "reduce_argmax of columns": ({"x": f([1, 9], [5, 2]), "axis": i(0), "keep_dims": True}, [[1, 0]]),
    "reduce_argmin": ({"x": f([1, 9], [5, 2])}, [0, 1]),
    "cumsum": ({"x": f([1, 2, 3], [4, 5, 6])}, [[1, 3, 6], [4, 9, 15]]),
    "cumsum of columns": ({"x": f([1, 2], [4, 5]), "axis": i(0)}, [[1, 2], [5, 7]]),
    "cumsum without": ({"x": f([1, 2, 3]), "exclusive": True}, [[0, 1, 3]]),
    "cumsum backwards": ({"x": f([1, 2, 3]), "reverse": True}, [[6, 5, 3]]),
    "cumsum backwards without": ({"x": f([1, 2, 3]), "reverse": True, "exclusive": True}, [[5, 3, 0]]),
    "linear": ({"x": f([1, 2]), "weight": f([1, 3], [5, 7], [0, 1]), "bias": f(1, 2, 3)}, [[8, 21, 5]]),
    "linear without bias": ({"x": f([1, 2]), "weight": f([1, 3])}, [[7]]),
    "matmul": ({"x": f([1, 2]), "y": f([1, 3], [5, 7])}, [[11, 17]]),
    "matmul, left turned": ({"x": f([1], [2]), "y": f([1, 3], [5, 7]), "transpose_x": True}, [[11, 17]]),
    "matmul, right turned": ({"x": f([1, 2]), "y": f([1, 3], [5, 7]), "transpose_y": True}, [[7, 19]]),
    "batch_norm": ({"x": f([[1], [2]]), "mean": f(0.5, 1), "variance": f(4, 0)}, [[[0.5 / math.sqrt(4.00001)], [1 / math.sqrt(1e-5)]]]),
    "batch_norm as given": ({"x": f([[1], [2]]), "mean": f(0.5, 1), "variance": f(3, 0), "gamma": f(2, 3), "beta": f(5, 7), "epsilon": F(1)}, [[[5.5], [10]]]),
    "instance_norm": ({"x": f([[1, 3], [2, 2]])}, [[[-1 / math.sqrt(1.00001), 1 / math.sqrt(1.00001)], [0, 0]]]),
    "instance_norm as given": ({"x": f([[1, 3], [2, 2]]), "gamma": f(2, 3), "beta": f(1, 5), "epsilon": F(3)}, [[[0, 2], [5, 5]]]),
    "layer_norm": ({"x": f([1, 3], [2, 2]), "axes": i(1), "epsilon": F(3)}, [[-0.5, 0.5], [0, 0]]),
    "layer_norm as given": ({"x": f([1, 3], [2, 2]), "axes": i(1), "epsilon": F(3), "gamma": f(2, 4), "beta": f(1, 5)}, [[0, 7], [1, 5]]),
    "layer_norm of both": ({"x": f([1, 1], [3, 3]), "axes": i(0, 1)}, np.array([[-1, -1], [1, 1]]) / math.sqrt(1.00001)),
    "local_response_norm": ({"x": f([[1], [2], [3]]), "size": i(3), "alpha": F(3), "beta": F(1), "k": F(1)}, [[[1 / 6], [2 / 15], [3 / 14]]]),
    "local_response_norm by default": ({"x": f([[10], [20]]), "size": i(1)}, [[[10 / 1.01**0.75], [20 / 1.04**0.75]]]),
    "identity": ({"x": A}, A),
    "reverse": ({"x": f([1, 2], [3, 4])}, [[4, 3], [2, 1]]),
    "reverse of rows": ({"x": f([1, 2], [3, 4]), "axes": i(0)}, [[3, 4], [1, 2]]),
    "transpose": ({"x": f([1, 2, 3], [4, 5, 6]), "perm": i(1, 0)}, [[1, 4], [2, 5], [3, 6]]),
    "concat": ({"values": [f([1], [2]), f([3], [4])], "axis": i(1)}, [[1, 3], [2, 4]]),
    "concat of rows": ({"values": [f([1, 2]), f([3, 4])], "axis": i(0)}, [[1, 2], [3, 4]]),
    "concat by turns": ({"values": [f([1, 2], [3, 4]), f([5, 6], [7, 8])], "axis": i(1), "interleave": True}, [[1, 5, 2, 6], [3, 7, 4, 8]]),
    "stack": ({"values": [f(1, 2), f(3, 4)], "axis": i(1)}, [[1, 3], [2, 4]]),
    "reshape": ({"x": np.arange(12).reshape(2, 6), "shape": i(0, 2, -1)}, np.arange(12).reshape(2, 2, 3)),
    "slice_by_index": ({"x": np.arange(12).reshape(3, 4), "begin": i(1, 3), "end": i(3, 0)}, np.zeros((2, 0))),
    "slice_by_index, steps": ({"x": np.arange(12).reshape(3, 4), "begin": i(1, 3), "end": i(3, 0), "stride": i(1, -2)}, [[7, 5], [11, 9]]),
    "slice_by_index, masks": ({"x": np.arange(12).reshape(3, 4), "begin": i(2, 1), "end": i(2, 2), "begin_mask": [np.array([True, False])], "end_mask": [np.array([False, True])]}, [[1, 2, 3], [5, 6, 7]]),
    "slice_by_index, squeezed": ({"x": np.arange(12).reshape(3, 4), "begin": i(1, 1), "end": i(0, 3), "squeeze_mask": [np.array([True, False])]}, [5, 6]),
    "pad": ({"x": f([1, 2]), "pad": i(1, 0)}, [[0, 1, 2]]),
    "pad of all": ({"x": f([1, 2]), "pad": i(0, 1, 1, 2), "constant_val": F(7)}, [[7, 1, 2, 7, 7], [7, 7, 7, 7, 7]]),
    "pad, reflected": ({"x": f([1, 2, 3]), "pad": i(2, 1), "mode": "reflect"}, [[3, 2, 1, 2, 3, 2]]),
    "pad, repeated": ({"x": f([1, 2, 3]), "pad": i(2, 1), "mode": "replicate"}, [[1, 1, 1, 2, 3, 3]]),
    "gather": ({"x": f([1, 2, 3], [4, 5, 6]), "indices": i(1, -2)}, [[4, 5, 6], [1, 2, 3]]),
    "gather of columns": ({"x": f([1, 2, 3], [4, 5, 6]), "indices": i(-3, 2), "axis": i(1)}, [[1, 3], [4, 6]]),
    "tile": ({"x": f([1, 2]), "reps": i(2, 2)}, [[1, 2, 1, 2], [1, 2, 1, 2]]),
    "cast": ({"x": f(-1.75, 2.5), "dtype": "int32"}, [-1, 2]),
    "cast to truth": ({"x": i(0, 3), "dtype": "bool"}, [False, True]),
    "cast to float": ({"x": i(1, 3), "dtype": "fp16"}, [1.0, 3.0]),
    "quantize": ({"input": f(-100, -0.375, 0.125, 0.26, 100), "scale": F(0.25), "output_dtype": "int8"}, [-128, -2, 0, 1, 127]),
    "quantize, unsigned": ({"input": f(-1, 0.5, 100), "scale": F(0.25), "zero_point": np.uint8(3), "output_dtype": "uint8"}, [0, 5, 255]),
    "quantize a scalar": ({"input": F(0.26), "scale": F(0.25), "zero_point": np.int8(3), "output_dtype": "int8"}, 4),
    "quantize by channel": ({"input": f([1, 1], [2, 2]), "scale": f(0.5, 0.25), "axis": i(1), "output_dtype": "int8"}, [[2, 4], [4, 8]]),
    "dequantize": ({"input": np.array([-3, 5], np.int8), "scale": F(0.5), "zero_point": np.int8(1)}, [-2, 2]),
    "dequantize by channel": ({"input": np.array([[-3], [5]], np.int8), "scale": f(0.5, 0.25), "axis": i(0)}, [[-1.5], [1.25]]),
    "dequantize from the last": ({"input": np.array([[4, 8]], np.int8), "scale": f(0.5, 0.25), "zero_point": np.array([0, 4], np.int8), "axis": i(-1)}, [[2, 1]]),
    "constexpr_affine_dequantize": ({"quantized_data": np.array([[130], [120]], np.uint8), "zero_point": np.array([128, 122], np.uint8), "scale": f(0.5, 2), "axis": i(0)}, [[1], [-4]]),
    "constexpr_blockwise_shift_scale": ({"data": np.array([[1, 2, 3, 4]], np.int8), "scale": f([0.5, 2])}, [[0.5, 1, 6, 8]]),
    "constexpr_blockwise_shift_scale, shifted": ({"data": np.array([[1, 2], [3, 4]], np.int8), "scale": f([2]), "offset": np.array([[1], [2]], np.int8)}, [[0, 2], [2, 4]]),
    "constexpr_cast": ({"source_val": np.array([1.5], np.float16), "output_dtype": "fp32"}, [1.5]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_kernel_computes_by_its_definition(name: str) -> None:
    arguments, wanted = VALUES[name]
    got = np.asarray(made(name.split(" ")[0].rstrip(","), **arguments))
    assert got.shape == np.shape(wanted)
    assert got == pytest.approx(
        np.asarray(wanted, got.dtype if got.dtype.kind == "b" else None), rel=2e-6, abs=1e-6
    )


def test_what_an_operator_makes_several_of_comes_in_order() -> None:
    first, rest = made("split", (2, 1), (2, 3), x=np.arange(8).reshape(2, 4), axis=i(1))
    assert (first.tolist(), rest.tolist()) == ([[0], [4]], [[1, 2, 3], [5, 6, 7]])
    assert "its parts do not add up" in said("split", (2, 1), (2, 2), x=np.zeros((2, 4)), axis=i(1))
    values, places = made("topk", x=f([1, 5, 3], [9, 2, 9]), k=i(2))
    assert (values.tolist(), places.tolist()) == ([[5, 3], [9, 9]], [[1, 2], [0, 2]])
    values, places = made("topk", x=f([1, 5], [9, 2]), axis=i(0), ascending=True)
    assert (values.tolist(), places.tolist()) == ([[1, 2]], [[0, 1]])
    label, shares = made("classify", probabilities=f([0.25, 0.75]), classes=[["cat", "dog"]])
    assert (label, shares) == ("dog", {"cat": 0.25, "dog": 0.75})
    label, shares = made("classify", probabilities=f([0.75, 0.25]), classes=i(3, 8))
    assert (label, shares) == (3, {3: 0.75, 8: 0.25})
    assert "3 labels for 2 probabilities" in said(
        "classify", probabilities=f(0, 1), classes=[["a", "b", "c"]]
    )


@pytest.mark.parametrize(("kind", "block", "shape", "wanted"), [
    ("depth_to_space", "block_size", (1, 2, 4, 6), lambda x: x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 3, 4, 1, 5, 2)),
    ("pixel_shuffle", "upscale_factor", (1, 2, 4, 6), lambda x: x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3)),
    ("space_to_depth", "block_size", (1, 32, 1, 1), None),
    ("pixel_unshuffle", "downscale_factor", (1, 32, 1, 1), None),
])  # fmt: skip
def test_pixels_become_channels_and_back(kind: str, block: str, shape: Any, wanted: Any) -> None:
    """Channels of (n, 8, 2, 3) pictures; of (n, 8, 2, 2) in the other direction, pixel by pixel."""
    x = np.arange(48 if wanted else 32).reshape(1, 8, 2, 3 if wanted else 2)
    got = made(kind, **{"x": x, block: i(2)})
    assert got.shape == shape
    if wanted is not None:
        assert got.tolist() == wanted(x).reshape(shape).tolist()
        return
    by_block = kind == "space_to_depth"
    for channel, row, column in np.ndindex(8, 2, 2):
        place = (2 * row + column) * 8 + channel if by_block else channel * 4 + 2 * row + column
        assert got[0, place, 0, 0] == x[0, channel, row, column]


def test_pictures_are_resampled_as_their_operator_says() -> None:
    x = f([[[0, 4], [8, 12]]])
    double = [[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 12, 12], [8, 8, 12, 12]]
    for kind in ("upsample_nearest_neighbor", "resize_nearest_neighbor"):
        assert made(kind, (1, 1, 4, 4), x=x)[0, 0].tolist() == double
    assert (
        made("resize", (1, 1, 4, 4), x=x, interpolation_mode="NEAREST_NEIGHBOR")[0, 0].tolist()
        == double
    )
    wide = [0.0, 1.0, 2.0, 3.0, 4.0]
    cases: list[tuple[str, dict[str, Any], list[float]]] = [
        ("resize_bilinear", {}, [0, 1.6, 3.2, 4, 4]),
        ("resize", {}, [0, 1.6, 3.2, 4, 4]),
        ("resize", {"sampling_mode": "STRICT_ALIGN_CORNERS"}, wide),
        ("resize_bilinear", {"sampling_mode": "STRICT_ALIGN_CORNERS"}, wide),
        ("upsample_bilinear", {}, wide),
        ("upsample_bilinear", {"align_corners": False}, [0, 0.4, 2, 3.6, 4]),
        (
            "upsample_bilinear",
            {"align_corners": False, "half_pixel_centers": False},
            [0, 1.6, 3.2, 4, 4],
        ),
    ]
    for kind, more, row in cases:
        got = made(kind, (1, 1, 2, 5), x=x, **more)[0, 0]
        assert got[0].tolist() == pytest.approx(row, abs=1e-6)
        assert got[1].tolist() == pytest.approx([v + 8 for v in row], abs=1e-5)


@pytest.mark.parametrize(("size", "made_", "mode", "points"), [
    (3, 1, "ALIGN_CORNERS", [1.0]), (3, 1, "STRICT_ALIGN_CORNERS", [0.0]), (3, 5, "ALIGN_CORNERS", [0, 0.5, 1, 1.5, 2]),
    (1, 3, "DEFAULT", [0, 0, 0]), (1, 2, "OFFSET_CORNERS", [0, 0]), (5, 2, "OFFSET_CORNERS", [1, 3]), (4, 2, "UNALIGN_CORNERS", [0.5, 2.5]),
])  # fmt: skip
def test_points_of_a_grid_are_mixed_from_their_neighbours(
    size: int, made_: int, mode: str, points: Any
) -> None:
    matrix = interpolation(size, made_, mode)
    assert matrix.shape == (made_, size)
    assert (matrix @ np.arange(size)).tolist() == pytest.approx(points)
    assert matrix.sum(axis=1).tolist() == pytest.approx([1] * made_)
    assert ((matrix != 0).sum(axis=1) <= 2).all()


PICTURE = np.arange(1, 31, dtype=F).reshape(1, 1, 5, 6)


@pytest.mark.parametrize(("kind", "pads"), [
    ("same", [(0, 1), (0, 1)]), ("same_lower", [(1, 0), (1, 0)]), ("valid", [(0, 0), (0, 0)]), ("custom", [(2, 0), (1, 3)]),
])  # fmt: skip
def test_a_window_is_padded_as_its_type_says(kind: str, pads: Any) -> None:
    weight = np.arange(6, dtype=F).reshape(1, 1, 2, 3)
    given = {"pad_type": kind, "strides": i(1, 2), "pad": i(2, 0, 1, 3)}
    flat = [side for pair in pads for side in pair]
    wanted = slow_convolution(PICTURE, weight, flat, (1, 2), (1, 1), 1)
    assert np.array_equal(made("conv", x=PICTURE, weight=weight, **given), wanted)


def test_a_convolution_without_parameters_is_plain() -> None:
    weight = np.arange(8, dtype=F).reshape(2, 1, 2, 2)
    plain = slow_convolution(PICTURE, weight, [0] * 4, (1, 1), (1, 1), 1)
    assert np.array_equal(made("conv", x=PICTURE, weight=weight), plain)
    biased = made("conv", x=PICTURE, weight=weight, bias=f(10, 20))
    assert np.array_equal(biased, plain + f(10, 20).reshape(1, 2, 1, 1))
    assert "3 biases for 2" in said("conv", x=PICTURE, weight=weight, bias=f(1, 2, 3))
    assert "strides and kernel do not fit" in said("conv", x=PICTURE, weight=weight, strides=i(1))
    assert "strides and kernel do not fit" in said(
        "conv", x=PICTURE, weight=weight, dilations=i(1, 1, 1)
    )
    assert "strides and kernel do not fit" in said(
        "conv", x=PICTURE, weight=weight, strides=i(1, 0)
    )
    assert "the pad type odd does not exist" in said(
        "conv", x=PICTURE, weight=weight, pad_type="odd"
    )
    assert "its padding does not fit" in said(
        "conv", x=PICTURE, weight=weight, pad_type="custom", pad=i(1, 1)
    )


@pytest.mark.parametrize(("groups", "strides", "dilations", "pads", "size"), [
    (1, (2, 1), (1, 2), (0, 0, 0, 0), (5, 6)), (2, (1, 3), (1, 1), (1, 0, 2, 1), (3, 7)), (1, (3, 3), (1, 1), (0, 0, 0, 0), (9, 9)),
])  # fmt: skip
def test_a_transposed_convolution_scatters_and_is_cut(
    groups: int, strides: Any, dilations: Any, pads: Any, size: Any
) -> None:
    random = np.random.default_rng(3)
    x = random.integers(-4, 5, (1, 2, 3, 3)).astype(F)
    weight = random.integers(-4, 5, (2, 2, 2, 2)).astype(F)
    whole = np.zeros((1, 2 * groups, 20, 20), F)
    for channel, out, row, column, a, b in np.ndindex(2, 2, 3, 3, 2, 2):
        place = row * strides[0] + a * dilations[0], column * strides[1] + b * dilations[1]
        target = out if groups == 1 else channel * 2 + out
        whole[(0, target, *place)] += x[0, channel, row, column] * weight[channel, out, a, b]
    wanted = whole[:, :, pads[0] : pads[0] + size[0], pads[2] : pads[2] + size[1]]
    bias = np.arange(2 * groups, dtype=F)
    got = made(
        "conv_transpose", (1, 2 * groups, *size), x=x, weight=weight, bias=bias, groups=i(groups),
        strides=i(*strides), dilations=i(*dilations), pad_type="custom", pad=i(*pads),
    )  # fmt: skip
    assert np.array_equal(got, wanted + bias.reshape(1, -1, 1, 1))


def test_averages_leave_padding_out_where_they_are_told() -> None:
    x = f([[[1, 2, 3], [4, 5, 6]]])
    window = {"x": x, "kernel_sizes": i(2, 2), "pad_type": "custom", "pad": i(1, 0, 0, 1)}
    assert made("max_pool", (1, 1, 2, 3), **window)[0, 0].tolist() == [[2, 3, 3], [5, 6, 6]]
    assert made("avg_pool", (1, 1, 2, 3), **window)[0, 0].tolist() == [
        [0.75, 1.25, 0.75],
        [3, 4, 2.25],
    ]
    inside = made("avg_pool", (1, 1, 2, 3), **window, exclude_padding_from_average=True)[0, 0]
    assert inside.tolist() == [[1.5, 2.5, 3], [3, 4, 4.5]]
    assert "its window does not fit its input" in said(
        "max_pool", (1, 1, 1), x=x, kernel_sizes=i(2)
    )
    low = made("max_pool", (1, 1, 1, 1), x=-x, kernel_sizes=i(2, 3), pad_type="valid")
    assert low.tolist() == [[[[-1]]]]


def test_kernels_refuse_what_does_not_fit() -> None:
    x, weight = np.zeros((1, 4, 5, 5), F), np.zeros((6, 2, 2, 2), F)
    fits: dict[str, Any] = {
        "pads": [0] * 4,
        "strides": [1, 1],
        "dilations": [1, 1],
        "groups": 2,
        "what": "c",
    }
    assert convolve(x, weight, **fits).shape == (1, 6, 4, 4)
    faults: list[tuple[dict[str, Any], str]] = [
        ({"x": x[0]}, "the ranks of input"), ({"strides": [1]}, "the ranks of input"), ({"dilations": [1]}, "the ranks of input"),
        ({"groups": 1}, "4 channels in 1 groups"), ({"groups": 0}, "4 channels in 0 groups"), ({"weight": weight[:5]}, "do not fit weights"),
        ({"strides": [1, 0]}, "stride or dilation below 1"), ({"dilations": [0, 1]}, "stride or dilation below 1"),
        ({"pads": [0, 0, -1, 0]}, "negative padding"), ({"dilations": [1, 5]}, "larger than the padded input"),
    ]  # fmt: skip
    for change, message in faults:
        arguments = {"x": x, "weight": weight, **fits, **change}
        with pytest.raises(CorruptFileError, match=message):
            convolve(**arguments)
    others: list[tuple[dict[str, Any], str]] = [
        ({"groups": 3}, "4 channels do not fit"),
        ({"groups": 0}, "4 channels do not fit"),
        ({"strides": [0, 1]}, "4 channels do not fit"),
    ]
    for change, message in others:
        given: dict[str, Any] = {
            "x": x,
            "weight": np.zeros((4, 1, 2, 2), F),
            "strides": [1, 1],
            "dilations": [1, 1],
            "groups": 2,
            "what": "t",
            **change,
        }
        with pytest.raises(CorruptFileError, match=message):
            convolve_transposed(**given)
    with pytest.raises(CorruptFileError, match="4 channels do not fit"):
        convolve_transposed(x, weight, [1, 1], [1, 1], 1, "t")
    assert bounded((MAX_ELEMENTS, 1), "b") == (MAX_ELEMENTS, 1)
    assert bounded((0, 5), "b") == (0, 5)
    with pytest.raises(CorruptFileError, match="would need 268435457 elements"):
        bounded((MAX_ELEMENTS + 1,), "b")
    with pytest.raises(CorruptFileError, match=r"an array of shape \[2, -1\]"):
        bounded((2, -1), "b")
    assert pad_spatial(f([[1, 2]]), [1, 2], 7.0, "p").tolist() == [[[7, 1, 2, 7, 7]]]


@pytest.mark.parametrize(("channels", "groups", "kernel", "strides", "dilations"), [
    (3, 1, (2, 3), (1, 2), (2, 1)), (4, 2, (3, 1), (2, 1), (1, 1)), (4, 4, (2, 2), (1, 1), (2, 1)), (4, 2, (1, 1), (2, 3), (1, 1)), (4, 1, (1, 1), (1, 1), (1, 1)),
])  # fmt: skip
def test_a_convolution_in_pieces_is_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    groups: int,
    kernel: Any,
    strides: Any,
    dilations: Any,
) -> None:
    random = np.random.default_rng(8)
    x = random.integers(-5, 6, (2, channels, 7, 6)).astype(np.float64)
    weight = random.integers(-5, 6, (channels, channels // groups, *kernel)).astype(np.float64)
    wanted = slow_convolution(x, weight, [1, 0, 0, 2], strides, dilations, groups)
    for limit in (1, 40, 1 << 20):
        monkeypatch.setattr(kernels, "BLOCK", limit)
        monkeypatch.setattr(kernels, "COLUMNS", limit)
        got = convolve(x, weight, [1, 0, 0, 2], strides, dilations, groups, "c")
        assert np.array_equal(got, wanted)


def test_three_axes_are_convolved_too() -> None:
    random = np.random.default_rng(4)
    x, weight = (
        random.integers(-3, 4, (1, 2, 4, 3, 5)).astype(F),
        random.integers(-3, 4, (3, 2, 2, 1, 3)).astype(F),
    )
    wanted = np.zeros((1, 3, 2, 3, 3), F)
    for out, a, b, c in np.ndindex(3, 2, 3, 3):
        wanted[0, out, a, b, c] = (
            x[0, :, 2 * a : 2 * a + 2, b : b + 1, c : c + 3] * weight[out]
        ).sum()
    got = convolve(x, weight, [0] * 6, [2, 1, 1], [1, 1, 1], 1, "c")
    assert np.array_equal(got, wanted)


def lstm_of(x: Any, w: Any, r: Any, b: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    """Return sequence, state and cell by the gates' own equations, in the order input, forget, output, cell."""

    def gate(value: Any) -> Any:
        return 1 / (1 + np.exp(-value))

    made_ = []
    for step in x:
        enter, keep, leave, fresh = np.split(step @ w.T + h @ r.T + b, 4, axis=1)
        c = gate(keep) * c + gate(enter) * np.tanh(fresh)
        h = gate(leave) * np.tanh(c)
        made_.append(h)
    return np.array(made_), h, c


def test_an_lstm_steps_as_its_gates_say() -> None:
    random = np.random.default_rng(2)
    x, w, r, w2, r2 = (
        random.standard_normal(s).astype(F) for s in ((3, 2, 4), (12, 4), (12, 3), (12, 4), (12, 3))
    )
    b, b2, h, c = (random.standard_normal(s).astype(F) for s in (12, 12, (2, 6), (2, 6)))
    one = {
        "x": x,
        "weight_ih": w,
        "weight_hh": r,
        "initial_h": h[:, :3],
        "initial_c": c[:, :3],
        "output_sequence": True,
    }
    for got, wanted in zip(
        made("lstm", **one), lstm_of(x, w, r, 0, h[:, :3], c[:, :3]), strict=True
    ):
        assert got == pytest.approx(wanted, abs=1e-5)
    there = lstm_of(x, w, r, b, h[:, :3], c[:, :3])
    back = lstm_of(x[::-1], w2, r2, b2, h[:, 3:], c[:, 3:])
    both = {
        **one,
        "bias": b,
        "initial_h": h,
        "initial_c": c,
        "direction": "bidirectional",
        "weight_ih_back": w2,
        "weight_hh_back": r2,
        "bias_back": b2,
    }
    sequence, state, cell = made("lstm", **both)
    assert sequence == pytest.approx(np.concatenate([there[0], back[0][::-1]], axis=2), abs=1e-5)
    assert state == pytest.approx(np.concatenate([there[1], back[1]], axis=1), abs=1e-5)
    assert cell == pytest.approx(np.concatenate([there[2], back[2]], axis=1), abs=1e-5)
    last = made("lstm", **{**one, "output_sequence": False})
    assert np.array_equal(last[0], last[1][None])
    for change in (
        {"direction": "reverse"},
        {"activation": "relu"},
        {"cell_activation": "relu"},
        {"recurrent_activation": "relu"},
        {"clip": F(1)},
        {"peephole": F(1)},
        {"x": x[0]},
    ):
        assert "this form of it is not evaluated" in said("lstm", **{**one, **change})


@pytest.mark.parametrize(("kind", "arguments", "message"), [
    ("add", {"x": f(1, 2), "y": f(1, 2, 3)}, r"add y0: \[2\] and \[3\] do not fit"),
    ("add", {"x": np.broadcast_to(F(0), (1 << 15, 1)), "y": np.broadcast_to(F(0), (1, 1 << 14))}, "would need 536870912 elements"),
    ("select", {"cond": f(1, 2), "a": f(1, 2), "b": f(1, 2, 3)}, "do not fit"),
    ("squeeze", {"x": f(1, 2)}, r"2 elements become \[\]"),
    ("reshape", {"x": f(1, 2), "shape": i(-1, -1)}, "2 elements become"),
    ("slice_by_index", {"x": f(1, 2), "begin": i(0, 0), "end": i(1)}, "do not fit rank 1"),
    ("slice_by_index", {"x": f(1, 2), "begin": i(0), "end": i(1), "stride": i(0)}, "do not fit rank 1"),
    ("reverse", {"x": f(1, 2), "axes": i(1)}, "its axes do not fit rank 1"),
    ("reverse", {"x": f(1, 2), "axes": i(-2)}, "its axes do not fit rank 1"),
    ("pad", {"x": f(1, 2), "pad": i(1)}, "does not fit its rank"), ("pad", {"x": f(1, 2), "pad": i(1, 1, 1, 1)}, "does not fit its rank"),
    ("pad", {"x": f(1, 2), "pad": i(1, -1)}, "does not fit its rank"), ("pad", {"x": f(1, 2), "pad": i(1, 1), "mode": "wrap"}, "the mode wrap does not exist"),
    ("gather", {"x": f(1, 2), "indices": i(2)}, r"an index lies outside 0\.\.1"), ("gather", {"x": f(1, 2), "indices": i(-3)}, r"outside 0\.\.1"),
    ("gather", {"x": f(1, 2), "indices": i(0), "batch_dims": i(1)}, "batch_dims are not evaluated"),
    ("tile", {"x": f(1, 2), "reps": i(1, 1)}, "repetitions do not fit"), ("tile", {"x": f(1, 2), "reps": i(-1)}, "repetitions do not fit"),
    ("local_response_norm", {"x": f([[1]]), "size": i(2)}, "a window of 2 is not evaluated"), ("local_response_norm", {"x": f([[1]]), "size": i(-1)}, "a window of -1"),
    ("local_response_norm", {"x": f([1]), "size": i(1)}, "a window of 1"),
    ("cast", {"x": f(1), "dtype": "int4"}, "the type int4 is not evaluated"),
    ("quantize", {"input": f([1, 2]), "scale": f(1, 2, 3), "axis": i(1), "output_dtype": "int8"}, "3 scales or zero points for 2 channels"),
    ("constexpr_blockwise_shift_scale", {"data": np.zeros((1, 4), np.int8), "scale": f(1)}, "differ in rank"),
    ("constexpr_blockwise_shift_scale", {"data": np.zeros((1, 4), np.int8), "scale": f([1, 1, 1])}, "3 blocks do not divide 4"),
    ("constexpr_blockwise_shift_scale", {"data": np.zeros((1, 4), np.int8), "scale": np.zeros((1, 0), F)}, "0 blocks do not divide 4"),
    ("relu", {}, "relu y0 lacks its parameter x"), ("relu", {"x": "text"}, "x is no tensor"), ("elu", {"x": f(1), "alpha": f(1, 2)}, "alpha is no single number"),
    ("elu", {"x": f(1), "alpha": "one"}, "alpha is no single number"), ("gelu", {"x": f(1), "mode": F(1)}, "mode is no text"),
])  # fmt: skip
def test_a_call_that_does_not_fit_is_refused(kind: str, arguments: Any, message: str) -> None:
    with pytest.raises(CorruptFileError, match=message):
        made(kind, **arguments)


def test_a_call_reads_its_parameters_in_their_kinds() -> None:
    one = call(
        "k", x=np.array([1, 2], np.int8), n=[np.array([[3], [4]])], b=np.array(True), t="text", e=[]
    )
    assert (one.has("x"), one.has("y"), one.has("e")) == (True, False, False)
    assert (one.array().dtype.name, one.real().dtype.name) == ("int8", "float32")
    assert one.optional("y") is None
    assert one.ints("n") == [3, 4]
    assert (one.ints("y", [7]), one.ints("n", [7])) == ([7], [3, 4])
    assert (one.number("b"), one.number("y", 0.5), one.integer("y", 3)) == (1.0, 0.5, 3)
    assert (one.flag("b"), one.flag("y"), one.flag("y", True)) == (True, False, True)
    assert (one.text("t", "other"), one.text("y", "other")) == ("text", "other")
    assert one.declared().shape == ()
    two = Call(Operation("k", {}, (("y", OtherType("list")),)), {}, np.dtype(F))
    with pytest.raises(CorruptFileError, match="k y does not declare a tensor"):
        two.declared()
    assert Operation("k", {}, ()).what == "k"


def test_what_only_moves_is_not_rounded_again() -> None:
    """Results that hold what an argument held, or nothing but whole numbers."""
    computed = {
        "cast", "sigmoid", "silu", "tanh", "softplus", "softsign", "exp", "sqrt", "square", "floor", "ceil", "round", "sign", "erf", "log",
        "rsqrt", "inverse", "gelu", "elu", "prelu", "leaky_relu", "sigmoid_hard", "softmax", "sin", "atan", "cos", "cumsum", "add", "sub",
        "mul", "real_div", "floor_div", "mod", "pow", "dequantize", "lstm", "conv", "conv_transpose", "linear", "matmul", "avg_pool",
        "batch_norm", "instance_norm", "layer_norm", "local_response_norm", "upsample_bilinear", "resize_bilinear", "resize",
        "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_cast",
    }  # fmt: skip
    reducing = {kind for kind in OPS if kind.startswith("reduce_")} - {
        "reduce_max",
        "reduce_min",
        "reduce_argmax",
        "reduce_argmin",
    }
    assert {kind for kind, rule in OPS.items() if not rule.moves} == computed | reducing
    results = {
        **dict.fromkeys(("equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or"), "any"),
        **dict.fromkeys(("reduce_argmax", "reduce_argmin", "topk", "classify"), "any"),
        **dict.fromkeys(("dequantize", "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"), "scale"),
        "cast": "dtype", "quantize": "output_dtype", "constexpr_cast": "output_dtype",
    }  # fmt: skip
    assert {kind: rule.result for kind, rule in OPS.items() if rule.result != "same"} == results
