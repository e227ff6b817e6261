"""Inputs that become constants: what control flow depends on, flags, scales."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from graph_kit import floats, model_of, run
from onnx import parser
from torch import nn

from edgeconv import check_parity, export_model, plan_export
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.hub.branches import take_branches
from edgeconv.export.source.freeze import frozen_value

RATE = """<ir_version: 8, opset_import: ["": 16]>
net (float[1,2,8,8] x, int64 sr, float[1] gain) => (float[1,2,8,8] y) <int64 rate = {16000}, int64 half = {2}> {
    fast = Equal(sr, rate)
    s = Shape(x)
    g0 = Constant<value = int64 {0}>()
    n = Gather(s, g0)
    one = Constant<value = int64 {1}>()
    single = Equal(n, one)
    z = If (fast) <
        then_branch = t () => (float[1,2,8,8] a) {
            a = If (single) <then_branch = u () => (float[1,2,8,8] b) { r = Relu(x)  b = Neg(r) },
                             else_branch = v () => (float[1,2,8,8] b) { b = Relu(x) }> },
        else_branch = e () => (float[1,2,8,8] a) { a = Identity(x) }>
    y = Mul(z, gain)
}"""
"""A net of two rates: 16000 gives -relu(x) * gain, any other x * gain."""


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(RATE), tmp_path / "rates.onnx")
    return tmp_path / "rates.onnx"


def test_frozen_inputs_decide_the_branches_and_leave_the_model(rates: Path) -> None:
    drawn = np.random.default_rng(0).standard_normal((6, 1, 2, 8, 8)).astype(np.float32)
    np.savez(rates.parent / "x.npz", x=drawn)
    report = export_model(
        rates,
        targets=("onnx", "tflite"),
        verify=rates.parent / "x.npz",
        freeze_inputs={"sr": 16000, "gain": "2"},
        output=rates.parent / "out",
    )
    assert report.exit_code == 0
    made = onnxruntime.InferenceSession(report.artifacts[0].path)
    assert [given.name for given in made.get_inputs()] == ["x"]
    (got,) = made.run(None, {"x": drawn[0]})
    np.testing.assert_allclose(got, -2 * np.maximum(drawn[0], 0))
    files = [artifact.path for artifact in report.artifacts]
    matrix = check_parity(files, reference=rates, data=str(rates.parent / "x.npz"))
    assert (
        matrix.exit_code == 0
    )  # the file that still has sr and gain is fed what they were fixed to


def test_what_chooses_at_run_time_is_named_with_the_option(rates: Path) -> None:
    says = (
        r"\(If\) holds a subgraph that the values of sr choose: fix it with freeze_inputs sr=VALUE"
    )
    with pytest.raises(EdgeconvError, match=says):
        plan_export(rates)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rate": 1}, "no input is called so; there is x, sr, gain"),
        ({"sr": 0.5}, "0.5 is no int64"),
        ({"sr": "fast"}, "'fast' is no number"),
        ({"sr": [1, 2]}, r"the input is \[\], \[2\] was given"),
        ({"gain": [1, 2]}, r"the input is \[1\], \[2\] was given"),
        ({"sr": "none.npy"}, "none.npy does not exist"),
        ({"x": 0, "sr": 1, "gain": [1]}, "nothing would be left to compute"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    rates: Path, values: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        plan_export(rates, freeze_inputs=values)


def test_a_value_fills_a_shape_a_list_is_laid_into_it() -> None:
    kind = np.dtype(np.float32)
    np.testing.assert_array_equal(frozen_value("a", "0.5", (2, 2), kind), np.full((2, 2), 0.5))
    np.testing.assert_array_equal(frozen_value("a", "1,2,3,4", (2, 2), kind), [[1, 2], [3, 4]])
    assert frozen_value("a", "true", (), np.dtype(bool)).item() is True
    with pytest.raises(UsageError, match=r"\[\?, 2\].*; --input-shape a= settles its size"):
        frozen_value("a", 2, (None, 2), kind)


class Modes(nn.Module):
    """A module with a flag, a number and a table beside its picture."""

    def forward(
        self, x: torch.Tensor, scale: torch.Tensor, times: int = 1, flip: bool = False
    ) -> torch.Tensor:
        for _ in range(times):
            x = x * scale
        return x.flip(-1) if flip else x


def test_arguments_of_a_module_are_fixed_by_name(tmp_path: Path) -> None:
    report = export_model(
        Modes(),
        input_shape=(1, 3, 8, 8),
        freeze_inputs={"flip": True, "times": 2, "scale": [[[[1.0]], [[2.0]], [[3.0]]]]},
        output=tmp_path,
    )
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(report.artifacts[0].path)
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    wanted = (x * np.array([1, 4, 9]).reshape(1, 3, 1, 1))[..., ::-1]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    with pytest.raises(UsageError, match="forward has no argument of this name; it has x, scale"):
        plan_export(Modes(), input_shape=(1, 3, 8, 8), freeze_inputs={"mode": 1})


def test_names_of_a_branch_stay_apart_from_those_outside() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> net (float[2] x) => (float[2] y) <bool c = {1}> {'
        " a = Neg(x)\n b = If (c) <then_branch = t () => (float[2] o) { a1 = Relu(a)  o = Neg(a1) },"
        " else_branch = e () => (float[2] o) { o = Identity(a) }>\n a1 = Abs(x)\n y = Add(a1, b) }"
    )
    taken = take_branches(model)
    assert "If" not in {node.op_type for node in taken.graph.node}
    x = np.array([-3.0, 2.0], np.float32)
    (got,) = onnxruntime.InferenceSession(taken.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(got, [0.0, 2.0])


BODY = """(int64 i, bool go, float[1,3] s) => (bool on, float[1,3] t, float[1,3] row) {
    on = Less (i, last)
    a = Mul (s, half)
    t = If (go) <then_branch = u () => (float[1,3] o) { o = Add(a, x) },
        else_branch = v () => (float[1,3] o) { o = Identity(a) }>
    row = Neg(t)
}"""


@pytest.mark.parametrize("count", ["five", ""])
def test_loops_of_known_rounds_are_written_out(count: str) -> None:
    body = f"y, z = Loop({count}, yes, x) <body = b {BODY}>"
    constants = {"five": np.array(5), "last": np.array(2), "half": np.array(0.5, np.float32)}
    model = model_of(
        f"(float[1,3] x) => (float[1,3] y, float[n,1,3] z) {{ {body} }}",
        16,
        yes=np.array(True),
        **constants,
    )
    x = floats(1, 3)
    taken = take_branches(model)
    assert not {"If", "Loop"} & {node.op_type for node in taken.graph.node}
    for made, wanted in zip(run(taken, {"x": x}), run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_scans_are_written_out() -> None:
    scan = (
        "y, z = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],"
        " scan_output_directions = [1], body = b (float[3] s, float[3] r) => (float[3] t, float[3] u) {"
        " t = Add(s, r)  u = Tanh(t) }> (x0, x)"
    )
    model = model_of(
        f"(float[3,4] x) => (float[3] y, float[4,3] z) {{ {scan} }}", 16, x0=floats(3, seed=1)
    )
    x = floats(3, 4)
    taken = take_branches(model)
    assert "Scan" not in {node.op_type for node in taken.graph.node}
    for made, wanted in zip(run(taken, {"x": x}), run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("opset", [11, 16])
def test_lists_and_choices_by_constants_are_written_out(opset: int) -> None:
    model = model_of(
        "(float[2,5] x) => (float[2,a] y, float[b,2,1] z, int64 n, float[c,5] k) {"
        " s = SplitToSequence<axis = 1>(x, two)\n p = SequenceAt(s, last)\n q = SequenceAt(s, zero)\n"
        " y = Concat<axis = 1>(p, q)\n e = SequenceEmpty()\n f = SequenceInsert(e, p)\n r = Neg(p)\n"
        " g = SequenceInsert(f, r, zero)\n z = ConcatFromSequence<axis = 0, new_axis = 1>(g)\n n = SequenceLength(s)\n"
        " k = Compress<axis = 0>(x, chosen) }",
        opset,
        two=np.array(2),
        zero=np.array(0),
        last=np.array(-1),
        chosen=np.array([False, True]),
    )
    x = floats(2, 5)
    taken = take_branches(model)
    assert {n.op_type for n in taken.graph.node} <= {
        *("Concat", "Gather", "Identity", "Neg", "Split", "Unsqueeze")
    }
    for made, wanted in zip(run(taken, {"x": x}), run(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(made, wanted)
