"""What torch.fake_quantize exports: scales and zero points that are computed, bounds on integers, gaps."""

from typing import Any

import numpy as np
import pytest
from graph_kit import floats, model_of, run, scalar
from numpy.typing import NDArray

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.qdq.read import QuantizedModel, read_qdq

BODY = """(float[1,3,8,8] x) => (float[1,4,4,4] y, float[1,4] t) {
 z = Cast<to = 2>(zero)
 q = QuantizeLinear(x, step, z)
 k = Clip(q, lowest, highest)
 d = DequantizeLinear(k, step, z)
 a = Abs(w)
 m = ReduceMax<axes = [1,2,3], keepdims = 0>(a)
 ws = Div(m, most)
 wq = QuantizeLinear<axis = 0>(w, ws, wz)
 wd = DequantizeLinear<axis = 0>(wq, ws, wz)
 c = Conv<strides = [2,2], pads = [1,1,1,1]>(d, wd)
 cq = QuantizeLinear(c, narrow, middle)
 cd = DequantizeLinear(cq, narrow, middle)
 n = %s
 nq = QuantizeLinear(n, step, middle)
 nd = DequantizeLinear(nq, step, middle)
 y = Relu(nd)
 p = GlobalAveragePool(y)
 t = Flatten(p)
}"""
CONSTANTS: dict[str, Any] = {
    "zero": np.array(64, np.int32),
    "middle": np.array(128, np.uint8),
    "step": scalar(0.05),
    "narrow": scalar(0.011),
    "lowest": np.array(0, np.uint8),
    "highest": np.array(127, np.uint8),
    "w": floats(4, 3, 3, 3, seed=1) / 4,
    "most": scalar(127.0),
    "wz": np.zeros(4, np.int8),
    "g": np.linspace(0.5, 2, 4, dtype=np.float32).reshape(1, 4, 1, 1),
}


def read(layer: str = "Mul(cd, g)") -> tuple[QuantizedModel, NDArray[Any], NDArray[Any]]:
    """Return what is read, and the first outputs of the file and of what is written again."""
    used = {name: value for name, value in CONSTANTS.items() if name != "g" or "g" in layer}
    model = model_of(BODY % layer, 17, **used)
    feeds = {"x": floats(1, 3, 8, 8)}
    made = read_qdq(model)
    again = emit_qdq(made.graph, made.recipe).model
    return made, run(model, feeds)[0], run(again, feeds)[0]


def test_computed_scales_and_bounds_are_kept() -> None:
    made, wanted, got = read("Identity(cd)")
    assert np.ptp(wanted) > 1
    assert np.abs(got - wanted).max() <= 0.011 + 1e-6
    weights = next(iter(made.recipe.weights.values()))
    assert weights.values.max() == 127 or weights.values.min() == -127
    assert "Clip" in {node.op for node in made.graph.nodes}  # seven bits of eight


def test_a_layer_is_not_folded_over_a_scale_of_its_own() -> None:
    made, wanted, got = read()
    assert wanted.max() > 1.4 * 127 * 0.011 - 0.1  # the narrow scale saturates before the factor
    assert np.abs(got - wanted).max() <= 0.05 + 1e-6
    assert len(made.recipe.weights) == 1


def test_what_has_no_scale_takes_that_of_what_it_reads() -> None:
    made, _, _ = read("Identity(cd)")
    assert made.recipe.activations["y"].scale == pytest.approx(0.05)
    assert made.recipe.activations["p"].scale == pytest.approx(0.05)
    assert any("p has no scale in the file" in note for note in made.notes)


def test_bounds_of_unknown_integers_are_refused() -> None:
    model = model_of(
        "(uint8[4] x) => (uint8[4] y) { y = Clip(x, low, high) }",
        17,
        low=np.array(3, np.uint8),
        high=np.array(9, np.uint8),
    )
    with pytest.raises(UnsupportedOpError, match="whose scale is not known"):
        read_qdq(model)
