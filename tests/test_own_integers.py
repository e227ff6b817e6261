"""Files that are quantized already: attention of coarse steps, weights of 4 bits, and what cannot be changed."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper, parser

from edgeconv.cli import main
from edgeconv.export.hub.ingest import ingest
from edgeconv.export.qdq.read import read_qdq
from edgeconv.judge.advice import advice
from edgeconv.judge.verdict import compare
from edgeconv.recipe import FROM_FILE

PLACES = 256


def quantized(body: str, **constants: Any) -> onnx.ModelProto:
    """Return a model of opset 21 of ``body``, with arrays or tensors as constants."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> agraph {body}')
    for name, value in constants.items():
        made = value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        model.graph.initializer.append(made)
    return model


def attention() -> onnx.ModelProto:
    """Return weights over 256 places, about 1/256 each, at the step of 1/127 that symmetrical tools give them."""
    rng = np.random.default_rng(0)
    scales = {"s": 0.02, "p": 1 / 127, "o": 0.01, "w": 0.01}
    return quantized(
        """(float[1,4,256] x) => (float[1,4,8] y) {
            q = QuantizeLinear(x, s, zero) d = DequantizeLinear(q, s, zero)
            t = Softmax<axis=-1>(d)
            u = QuantizeLinear(t, p, zero) v = DequantizeLinear(u, p, zero)
            k = DequantizeLinear(held, w, zero)
            m = MatMul(v, k)
            a = QuantizeLinear(m, o, zero) y = DequantizeLinear(a, o, zero)
        }""",
        held=rng.integers(-100, 100, (PLACES, 8)).astype(np.int8),
        zero=np.array(0, np.int8),
        **{name: np.array(value, np.float32) for name, value in scales.items()},
    )


def export(model: onnx.ModelProto, folder: Path, *more: str, **samples: Any) -> Any:
    onnx.save(model, folder / "own.onnx")
    np.savez(folder / "seen.npz", **samples)
    command = ["export", str(folder / "own.onnx"), "--output", str(folder / "out"), "--force"]
    command += ["--verify", str(folder / "seen.npz"), "--int8"]
    return CliRunner().invoke(main, [*command, *more])


def test_attention_of_coarser_steps_than_int8_prescribes_is_rounded_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0.0, 0.3, (40, 1, 4, PLACES)).astype(np.float32)
    done = export(attention(), tmp_path, "--target", "tflite", "--target", "onnx", x=x)
    assert done.exit_code == 0, done.output
    assert "1 Softmax (its steps in the file are coarser than 1/256" in done.output
    held = CliRunner().invoke(main, ["parity", str(tmp_path / "out" / "own_int8.tflite")])
    assert held.exit_code == 0, held.output  # the file without its rounding is no hop
    again = ["--data", str(tmp_path / "seen.npz")]
    held = CliRunner().invoke(main, ["parity", str(tmp_path / "out" / "own_int8.onnx"), *again])
    assert held.exit_code == 0, held.output
    assert "raw.onnx" in held.output


def four_bits() -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    weights = rng.integers(-8, 8, (6, 3, 3, 3)).astype(np.int8)
    narrow = helper.make_tensor("held", TensorProto.INT4, weights.shape, weights.ravel().tolist())
    zeros = helper.make_tensor("none", TensorProto.INT4, (6,), [0] * 6)
    return quantized(
        """(float[1,3,8,8] x) => (float[1,6,8,8] y) {
            q = QuantizeLinear(x, s, zero) d = DequantizeLinear(q, s, zero)
            k = DequantizeLinear<axis=0>(held, w, none)
            c = Conv<pads=[1,1,1,1]>(d, k)
            a = QuantizeLinear(c, o, zero) y = DequantizeLinear(a, o, zero)
        }""",
        held=narrow,
        none=zeros,
        zero=np.array(0, np.int8),
        s=np.array(0.02, np.float32),
        w=np.linspace(0.01, 0.05, 6).astype(np.float32),
        o=np.array(0.03, np.float32),
    )


def test_weights_of_four_bits_are_the_same_integers_in_eight(tmp_path: Path) -> None:
    model = four_bits()
    stored = next(item for item in model.graph.initializer if item.name == "held")
    integers = numpy_helper.to_array(stored).astype(np.int8)
    x = np.random.default_rng(3).normal(size=(20, 1, 3, 8, 8)).astype(np.float32)
    wanted = ort.InferenceSession(model.SerializeToString())
    plain, notes = ingest(onnx.ModelProto.FromString(model.SerializeToString()))
    (layer,) = read_qdq(plain).recipe.weights.values()
    assert np.array_equal(layer.values, integers)
    assert notes == ["1 of its weights have 4 bits: they are stored as the same integers of 8"]
    done = export(model, tmp_path, "--target", "onnx", "--target", "tflite", x=x)
    assert done.exit_code == 0, done.output
    made = ort.InferenceSession(tmp_path / "out" / "own_int8.onnx")
    for sample in x[:4]:
        (want,), (got,) = (s.run(None, {"x": sample}) for s in (wanted, made))
        np.testing.assert_allclose(got, want, atol=0.031)


@pytest.mark.parametrize(
    "option", [("--recipe", "best"), ("--copies", "0.1"), ("--minutes", "1"), ("--reduce-range",)]
)
def test_no_option_changes_the_integers_of_a_file(option: tuple[str, ...], tmp_path: Path) -> None:
    x = np.zeros((2, 1, 3, 8, 8), np.float32)
    refused = export(four_bits(), tmp_path, *option, "--target", "onnx", x=x)
    assert refused.exit_code == 2, refused.output
    assert f"keeps its own integers: leave out {option[0]}, " in refused.output


def test_a_file_of_own_integers_is_not_told_to_change_them(tmp_path: Path) -> None:
    x = np.random.default_rng(4).normal(size=(8, 1, 3, 8, 8)).astype(np.float32)
    assert export(four_bits(), tmp_path, "--target", "onnx", x=x).exit_code == 0
    made = tmp_path / "out" / "own_int8.onnx"
    refused = CliRunner().invoke(main, ["rescue", str(made), "--calib", str(tmp_path / "seen.npz")])
    assert refused.exit_code == 2, refused.output
    assert "export the float model with --int8 --calib" in refused.output.replace("\n", " ")
    rng = np.random.default_rng(5)
    values = rng.normal(size=(40, 6))
    floor = values + 0.5 * rng.normal(size=values.shape)
    missed = compare({"y": values}, {"y": floor}, floor={"y": floor})
    known = {"precision": "int8", "recipe": {"name": FROM_FILE}, "calibration": {"count": 0}}
    steps = advice(missed, "own.onnx", known)
    assert "of the float model" in steps[-1]
    assert not any(word in step for step in steps for word in ("--calib:", "--recipe", "rescue"))
