"""Hub tensors become what a file declares, and come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.adapt import adapt_inputs, adapt_outputs, feeds_for, match_names, swap_layout
from edgeconv.errors import EdgeconvError
from edgeconv.tensors import Quantization, TensorSpec


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_layouts_round_trip(n: int, c: int, h: int, w: int) -> None:
    x = np.arange(n * c * h * w).reshape(n, c, h, w)
    assert (swap_layout(swap_layout(x, "nchw", "nhwc"), "nhwc", "nchw") == x).all()


@given(
    st.floats(0.0009765625, 1.0, width=32),
    st.integers(-128, 127),
    st.lists(st.floats(-2, 2), min_size=1),
)
def test_quantizing_and_back_is_within_half_a_step_inside_the_range(
    scale: float, zero_point: int, values: list[float]
) -> None:
    spec = TensorSpec("x", (1, len(values)), "int8", "other", Quantization(scale, zero_point))
    x = np.array([values], np.float32)
    back = adapt_outputs(adapt_inputs(x, "nchw", spec), spec)
    inside = (x >= scale * (-128 - zero_point)) & (x <= scale * (127 - zero_point))
    assert (np.abs(back - x)[inside] <= scale / 2 * 1.001 + 1e-6).all()


def test_raw_pixels_are_taken_as_they_are() -> None:
    spec = TensorSpec("x", (1, 1, 2, 1), "uint8", "nhwc")
    x = np.array([[[[0.0, 255.0]]]], np.float32)
    assert adapt_inputs(x, "nchw", spec).tolist() == [[[[0], [255]]]]
    with pytest.raises(EdgeconvError, match="do not fit"):
        adapt_inputs(x - 1, "nchw", spec)


def test_arrays_of_the_stored_type_are_not_quantized_again() -> None:
    spec = TensorSpec("x", (1, 2), "int8", "other", Quantization(0.1, 3))
    x = np.array([[1, 2]], np.int8)
    assert adapt_inputs(x, "nchw", spec) is x


def test_a_shape_that_does_not_fit_is_named_with_both_shapes() -> None:
    spec = TensorSpec("x", (1, 8, 8, 3), "float32", "nhwc")
    with pytest.raises(EdgeconvError, match=r"\[1, 8, 8, 3\] \(nhwc\), got \[1, 3, 9, 9\]"):
        adapt_inputs(np.zeros((1, 3, 9, 9), np.float32), "nchw", spec)


def test_names_match_by_name_then_by_position_never_by_guess() -> None:
    assert match_names(["a", "b"], ["b", "a"], "input") == {"a": "a", "b": "b"}
    assert match_names(["a"], ["x"], "input") == {"a": "x"}
    with pytest.raises(EdgeconvError, match="inputs cannot be matched"):
        match_names(["a"], ["x", "y"], "input")


def test_feeds_for_serves_every_input() -> None:
    specs = [TensorSpec("serving_x", (1, 4, 4, 3), "float32", "nhwc")]
    feeds = feeds_for(specs, {"input": np.zeros((2, 3, 4, 4), np.float32)})
    assert feeds["serving_x"].shape == (2, 4, 4, 3)
