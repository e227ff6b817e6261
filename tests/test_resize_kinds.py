"""Resizes of any axes: by gathers where nearest, by matrix products else; opset 10 axis by axis."""

from pathlib import Path

import numpy as np
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, graph_of, model_of

from edgeconv.export.passes.resize_by_axes import why_no_matrices

KINDS = {
    "a signal, nearest": ((1, 3, 8), (1, 1, 2), 'mode = "nearest", nearest_mode = "floor"'),
    "odd scales, nearest": ((1, 3, 4, 5), (1, 1, 1.5, 3), 'mode = "nearest"'),
    "channels too, nearest": (
        (2, 3, 4, 4),
        (2, 2, 2, 1),
        'mode = "nearest", nearest_mode = "ceil"',
    ),
    "a volume, nearest": ((1, 2, 3, 4, 4), (1, 1, 2, 2, 0.5), 'mode = "nearest"'),
    "a volume, linear": ((1, 2, 3, 4, 4), (1, 1, 2, 2, 1), 'mode = "linear"'),
    "channels, linear": ((1, 4, 3, 3), (1, 0.5, 1, 1), 'mode = "linear"'),
    "nothing": ((1, 2, 3, 4), (1, 1, 1, 1), 'mode = "nearest"'),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_resize_is_right_everywhere(name: str, tmp_path: Path) -> None:
    shape, scales, how = KINDS[name]
    axes = ",".join("ABCDE"[: len(shape)])
    model = model_of(
        f"(float[{','.join(map(str, shape))}] x) => (float[{axes}] y) {{\n"
        f" r = Relu(x)\n y = Resize<{how}>(r, , s) }}",
        s=np.array(scales, np.float32),
    )
    all_three = name in ("a signal, nearest", "a volume, linear")
    targets = ("onnx", "tflite", "coreml") if all_three else ("onnx", "tflite")
    same_everywhere(model, {"x": floats(*shape)}, tmp_path, targets=targets)


CROP = 'coordinate_transformation_mode = "tf_crop_and_resize"'
PARTS = {
    "a crop, linear": (f'mode = "linear", {CROP}', (0.1, 0.25, 0.8, 0.9)),
    "a crop beyond the border": (f'mode = "linear", {CROP}', (-0.3, 0.2, 1.2, 0.9)),
    "a crop, nearest": (f'mode = "nearest", {CROP}', (0.1, 0.2, 0.8, 0.9)),
    "the smaller scale for both": (
        'mode = "linear", keep_aspect_ratio_policy = "not_larger"',
        None,
    ),
    "the larger scale for both": (
        'mode = "nearest", keep_aspect_ratio_policy = "not_smaller"',
        None,
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_resize_of_a_part_or_at_its_own_scale_is_right_everywhere(
    name: str, tmp_path: Path
) -> None:
    """12 x 10 to at most 20 x 17: 20 x 17 at 5 / 3, which is no 17 / 10; to at least: 20 x 17 at 1.7."""
    how, region = PARTS[name]
    constants = {"s": np.array([20, 17])}
    if region is not None:
        constants["r"] = np.array(region, np.float32)
    model = model_of(
        "(float[1,3,12,10] x) => (float[A,B,C,D] y) {\n"
        f" y = Resize<{how}, axes = [2, 3]>(x, {'r' if region else ''}, , s) }}",
        **constants,
    )
    same_everywhere(model, {"x": floats(1, 3, 12, 10)}, tmp_path)


def test_a_crop_that_fills_with_a_value_is_refused_with_the_reason() -> None:
    graph = graph_of(
        f'(float[1,3,4,4] x) => (float[A,B,C,D] y) {{ y = Resize<mode = "linear", {CROP}, extrapolation_value = 2.0, axes = [3]>(x, r, , s) }}',
        r=np.array([-0.5, 1], np.float32),
        s=np.array([4]),
    )
    said = why_no_matrices(graph, graph.nodes[0])
    assert said == "it crops beyond the border, to what no product or gather gives"


def test_an_old_resize_grows_by_the_floor_and_shrinks_by_the_ceiling(tmp_path: Path) -> None:
    model = model_of(
        '(float[1,2,6,4] x) => (float[A,B,C,D] y) { y = Resize<mode = "nearest">(x, s) }',
        10,
        s=np.array([1, 1, 0.5, 2], np.float32),
    )
    same_everywhere(model, {"x": floats(1, 2, 6, 4)}, tmp_path, targets=("onnx", "tflite"))
