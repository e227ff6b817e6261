"""Resizes of any axes: by gathers where nearest, by matrix products else; opset 10 axis by axis."""

from pathlib import Path

import numpy as np
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, model_of

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


def test_an_old_resize_grows_by_the_floor_and_shrinks_by_the_ceiling(tmp_path: Path) -> None:
    model = model_of(
        '(float[1,2,6,4] x) => (float[A,B,C,D] y) { y = Resize<mode = "nearest">(x, s) }',
        10,
        s=np.array([1, 1, 0.5, 2], np.float32),
    )
    same_everywhere(model, {"x": floats(1, 2, 6, 4)}, tmp_path, targets=("onnx", "tflite"))
