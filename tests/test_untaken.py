"""What onnxruntime itself does not take is said before any work, with the node and a way out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from any_net_kit import hub_of, same_everywhere
from graph_kit import floats, model_of, ops

from edgeconv import export_model, plan_export
from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.untaken import refuse_untaken

UNTAKEN = {
    "(float[1,4] x) => (float[1,4] y) { c = Cast<to = 6>(x) [deep] d = Sum(c, c)\n y = Cast<to = 1>(d) }": (
        "does not take Sum .node deep. of int32: let it compute on float32 there"
    ),
    "(int16[1,4] x) => (int16[1,4] y) { y = Clip(x, low) }": (
        "does not take Clip .node y. of int16: let it compute"
    ),
    "(string[1] x) => (string[1] y) { y = Identity(x) }": "Identity .node y. holds texts, which no target has",
    "(float[1,4] x) => (float[1,4] y) { y = Relu(x) }": "is of opset 99, which is newer",
    "(bool b, int32[2] x) => (int32[2] y) { [chosen] y = If(b) <then_branch = one () => (int32[2] o) { o = Sum(x, x) }, else_branch = two () => (int32[2] o) { o = Identity(x) }> }": (
        "does not take If .node chosen. of bool and int32"
    ),
    "(float[4,6] x) => (float[4,2] y) { n = Constant<value_ints = [0]>()\n a = Constant<value = int64[1] {0}>()\n b = Constant<value = int64[1] {1}>()\n"
    " c = Slice(x, a, b, b, b)\n [product] y = MatMul(x, c) }": "does not take MatMul .node product. of float: write it",
}


@pytest.mark.parametrize("body", UNTAKEN)
def test_a_node_that_onnxruntime_does_not_take_is_named(body: str) -> None:
    model = model_of(body, 99 if "Relu" in body else 18, low=np.array(0, np.int16))
    with pytest.raises(EdgeconvError, match=f"^m.onnx.*{UNTAKEN[body]}"):
        refuse_untaken(model, "m.onnx")


def test_a_dry_run_says_so_too_and_nothing_is_written(tmp_path: Path) -> None:
    body = next(iter(UNTAKEN))
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of(body).SerializeToString())
    for call in (plan_export, export_model):
        with pytest.raises(EdgeconvError, match=UNTAKEN[body]):
            call(str(path), targets=("tflite",), output=tmp_path / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["m.onnx"]


def test_a_mean_of_whole_numbers_stays_one() -> None:
    graph = hub_of(
        model_of("(int32[1,2,3,3] x) => (int32[1,2,1,1] y) { y = ReduceMean<axes = [2,3]>(x) }", 17)
    )
    assert ops(graph) == ["ReduceMean"]


def test_what_an_exporter_declares_of_a_branch_that_is_not_taken_decides_nothing(
    tmp_path: Path,
) -> None:
    # torch's scatter_reduce: a known If over two ranks, whose outputs are declared as the other branch makes them
    body = (
        "(float[2,3] x) => (float[2,3] y) { no = Constant<value = bool {0}>()\n"
        " a = If(no) <then_branch = one () => (float[6] o) { o = Reshape(x, flat) },"
        " else_branch = two () => (float[6] p) { p = Identity(x) }>\n y = Relu(a) }"
    )
    model = model_of(body, flat=np.array([-1]))
    claim = onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [6])
    model.graph.value_info.append(claim)
    onnx.save(model, tmp_path / "m.onnx")
    report = export_model(str(tmp_path / "m.onnx"), targets=("onnx",), output=tmp_path / "out")
    assert report.artifacts[0].verdict


def test_a_newer_operator_keeps_its_defaults(tmp_path: Path) -> None:
    model = model_of("(float[1,3] x) => (float[1,3] y) { y = Swish(x) }", 24)
    model.ir_version = 11
    onnx.checker.check_model(model)
    same_everywhere(model, {"x": floats(1, 3)}, tmp_path, targets=("onnx", "tflite"))
