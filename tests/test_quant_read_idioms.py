"""The spellings that Brevitas, NNCF and PyTorch give quantization: the file's integers are kept."""

from typing import Any

import numpy as np
import pytest
from graph_kit import floats, model_of, run
from numpy.typing import NDArray
from tflite_kit import Worker, run_nchw

from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.qdq.read import QuantizedModel, read_qdq
from edgeconv.export.tflite.emit import emit_tflite

BODY = """(float[1,3,8,8] x) => (float[1,5] y) {{
 {activation}
 {weight}
 {bias}
 c = Conv<pads = [1,1,1,1], strides = [2,2]>(xd, wd{b})
 r = Relu(c)
 rs = Constant<value_float = 0.03>()
 rz = Constant<value = uint8 {{0}}>()
 rq = QuantizeLinear(r, rs, rz)
 rd = DequantizeLinear(rq, rs, rz)
 {head}
}}"""
PLAIN = """xq = QuantizeLinear(x, xs, xz)
 xd = DequantizeLinear(xq, xs, xz)"""
WEIGHT = "wd = DequantizeLinear<axis = 0>(w, ws, wz)"
BIAS = "bd = DequantizeLinear<axis = 0>(bi, bs, bz)"
HEAD = """p = GlobalAveragePool(rd)
 pq = QuantizeLinear(p, rs, rz)
 pd = DequantizeLinear(pq, rs, rz)
 f = Flatten(pd)
 gd = DequantizeLinear<axis = 0>(g, gs, gz)
 m = Gemm<transB = 1>(f, gd)
 mq = QuantizeLinear(m, ms, mz)
 y = DequantizeLinear(mq, ms, mz)"""

INTEGERS = np.random.default_rng(3).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
SCALES = np.linspace(0.002, 0.008, 4, dtype=np.float32)
BIASES = np.array([900, -350, 20, 4000], np.int32)
CONSTANTS: dict[str, Any] = {
    "xs": np.array(0.02, np.float32),
    "xz": np.array(0, np.int8),
    "w": INTEGERS,
    "ws": SCALES,
    "wz": np.zeros(4, np.int8),
    "bi": BIASES,
    "bs": (np.float32(0.02) * SCALES).astype(np.float32),
    "bz": np.zeros(4, np.int32),
    "g": np.random.default_rng(4).integers(-127, 128, (5, 4)).astype(np.int8),
    "gs": np.full(5, 0.004, np.float32),
    "gz": np.zeros(5, np.int8),
    "ms": np.array(0.02, np.float32),
    "mz": np.array(0, np.int8),
}

IDIOMS: dict[str, dict[str, str]] = {
    "plain": {},
    "no zero points": {
        "activation": "xq = QuantizeLinear(x, xs, xz)\n xd = DequantizeLinear(xq, xs)",
        "weight": "wd = DequantizeLinear<axis = 0>(w, ws)",
        "bias": "bd = DequantizeLinear<axis = 0>(bi, bs)",
    },
    "scales as Constant nodes": {
        "activation": "sx = Constant<value = float {0.02}>()\n zx = Constant<value = int8 {0}>()\n "
        "xq = QuantizeLinear(x, sx, zx)\n xd = DequantizeLinear(xq, sx, zx)",
    },
    "an Identity of a scale": {  # onnx exporters share initializers through it
        "activation": "sx = Identity(xs)\n xq = QuantizeLinear(x, sx, xz)\n xd = DequantizeLinear(xq, sx, xz)",
    },
    "Brevitas: integers clipped to a narrow range": {
        "activation": "xq = QuantizeLinear(x, xs, xz)\n lo = Constant<value = int8 {-127}>()\n "
        "hi = Constant<value = int8 {127}>()\n xc = Clip(xq, lo, hi)\n xd = DequantizeLinear(xc, xs, xz)",
        "weight": "wlo = Constant<value = int8 {-127}>()\n whi = Constant<value = int8 {127}>()\n "
        "wc = Clip(w, wlo, whi)\n wd = DequantizeLinear<axis = 0>(wc, ws, wz)",
    },
    "Brevitas: float weights quantized in the file": {
        "weight": "wq = QuantizeLinear<axis = 0>(wf, ws, wz)\n wlo = Constant<value = int8 {-127}>()\n "
        "whi = Constant<value = int8 {127}>()\n wc = Clip(wq, wlo, whi)\n "
        "wd = DequantizeLinear<axis = 0>(wc, ws, wz)",
    },
    "Brevitas: an int8 bias of its own scale": {
        "bias": "bd = DequantizeLinear(b8, b8s, b8z)",
    },
    "no bias": {"bias": "", "b": ""},
    "a float bias": {"bias": "bd = Identity(bf)"},
    "NNCF: pairs for each reader": {
        "head": "rq2 = QuantizeLinear(r, rs, rz)\n rd2 = DequantizeLinear(rq2, rs, rz)\n "
        "both = Add(rd, rd2)\n bq = QuantizeLinear(both, ms, mz)\n both_d = DequantizeLinear(bq, ms, mz)\n "
        "p = GlobalAveragePool(both_d)\n pq = QuantizeLinear(p, ms, mz)\n pd = DequantizeLinear(pq, ms, mz)\n "
        "f = Flatten(pd)\n gd = DequantizeLinear<axis = 0>(g, gs, gz)\n "
        "m = Gemm<transB = 1>(f, gd)\n mq = QuantizeLinear(m, ms, mz)\n y = DequantizeLinear(mq, ms, mz)",
    },
    "a pair that two layers share": {
        "head": "p = GlobalAveragePool(rd)\n k = MaxPool<kernel_shape = [4,4]>(rd)\n "
        "kq = QuantizeLinear(k, rs, rz)\n kd = DequantizeLinear(kq, rs, rz)\n "
        "pq = QuantizeLinear(p, rs, rz)\n pd = DequantizeLinear(pq, rs, rz)\n j = Concat<axis = 1>(pd, kd)\n "
        "jq = QuantizeLinear(j, rs, rz)\n jd = DequantizeLinear(jq, rs, rz)\n f = Flatten(jd)\n "
        "gd = DequantizeLinear<axis = 0>(g8, gs, gz)\n m = Gemm<transB = 1>(f, gd)\n "
        "mq = QuantizeLinear(m, ms, mz)\n y = DequantizeLinear(mq, ms, mz)",
    },
    "weights as input by input": {  # MatMul's right side, scales of its columns
        "head": HEAD.replace(
            "gd = DequantizeLinear<axis = 0>(g, gs, gz)",
            "gd = DequantizeLinear<axis = 1>(gt, gs, gz)",
        ).replace("Gemm<transB = 1>(f, gd)", "MatMul(f, gd)"),
    },
    "a negative axis": {
        "weight": "wd = DequantizeLinear<axis = -4>(w, ws, wz)",
    },
    "one scale as a vector": {"activation": PLAIN.replace("xs", "xsv").replace("xz", "xzv")},
    "unsigned weights around 128": {"weight": "wd = DequantizeLinear<axis = 0>(wu, ws, wuz)"},
}
MORE: dict[str, Any] = {
    "wf": (INTEGERS * SCALES.reshape(4, 1, 1, 1)).astype(np.float32),
    "b8": np.array([90, -35, 2, 101], np.int8),
    "b8s": np.array(0.01, np.float32),
    "b8z": np.array(0, np.int8),
    "bf": np.array([0.5, -0.25, 0.1, 0.0], np.float32),
    "g8": np.random.default_rng(4).integers(-127, 128, (5, 8)).astype(np.int8),
    "gt": np.ascontiguousarray(CONSTANTS["g"].T),
    "xsv": np.array([0.02], np.float32),
    "xzv": np.array([0], np.int8),
    "wu": (INTEGERS.astype(np.int16) + 128).astype(np.uint8),
    "wuz": np.full(4, 128, np.uint8),
}


def built(idiom: str) -> Any:
    said = {"activation": PLAIN, "weight": WEIGHT, "bias": BIAS, "b": ", bd", "head": HEAD}
    body = BODY.format(**{**said, **IDIOMS[idiom]})
    known = {**CONSTANTS, **MORE}
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return model_of(body, 17, **{name: value for name, value in known.items() if name in words})


def kept(made: QuantizedModel) -> NDArray[Any]:
    """The integers of the convolution."""
    (conv,) = made.graph.of("Conv")
    return made.recipe.weights[conv.name].values


@pytest.mark.parametrize("idiom", sorted(IDIOMS))
def test_an_idiom_keeps_its_integers(worker: Worker, idiom: str) -> None:
    model = built(idiom)
    made = read_qdq(model)
    np.testing.assert_array_equal(kept(made), INTEGERS)
    assert not made.islands
    again = emit_qdq(made.graph, made.recipe).model
    file = emit_tflite(made.graph, made.recipe, precision="int8")
    for seed in range(3):
        feeds = {"x": 2 * floats(1, 3, 8, 8, seed=seed)}
        (wanted,) = run(model, feeds)
        assert np.ptp(wanted) > 0.1
        assert np.abs(run(again, feeds)[0] - wanted).max() <= 0.02 + 1e-6
        got, _ = run_nchw(worker, file, feeds, "auto")
        assert np.abs(next(iter(got.values())) - wanted).max() <= 0.02 + 1e-6
