"""Samples that leave the calibrated ranges are of another kind than what calibrated."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the export extra")


@pytest.mark.parametrize(
    ("times", "fixed", "found"),
    [(1.0, False, None), (8.0, False, "x"), (8.0, True, None)],
)
def test_the_tensor_that_leaves_its_range_most_is_named(
    times: float, fixed: bool, found: str | None
) -> None:
    """Fixed ranges, those of sigmoids, were calibrated on nothing; outputs in float have none."""
    from edgeconv.export.beyond import beyond_ranges
    from edgeconv.recipe import Activation

    rng = np.random.default_rng(0)
    recipe: Any = SimpleNamespace(
        activations={
            "x": Activation(1 / 255, -128, 0.0, 1.0, fixed),
            "y": Activation(0.1, 0, -9, 9),
        }
    )
    feeds = [{"x": times * rng.random((1, 3, 8, 8))} for _ in range(4)]
    expected: Any = SimpleNamespace(feeds=feeds, outputs={"y": np.ones((4, 2)), "real": np.ones(4)})
    left = beyond_ranges(recipe, expected)
    assert (left and left["tensor"]) == found
    if left:
        assert left["share"] == pytest.approx(7 / 8, abs=0.05)
