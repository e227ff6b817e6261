"""onnxsim may crash, hang or give up: the hub comes out all the same, and the result says so."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_kit import floats, ints, model_of, ops, run

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub import simplify as simplify_module
from edgeconv.export.hub.simplify import simplify
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import run_export
from edgeconv.models.onnx_summary import summarize_onnx

NET = """(float[1,4,8,8] x) => (float[1,3] y) {
    a = Conv(x, w)
    n = BatchNormalization(a, g, b, m, v)
    r = Relu(n)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = MatMul(f, t)
}"""
HUB = ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm"]


def net(opset: int = 18) -> onnx.ModelProto:
    return model_of(
        NET,
        opset,
        w=floats(4, 4, 3, 3),
        g=floats(4),
        b=floats(4),
        m=floats(4),
        v=np.abs(floats(4)) + 1,
        t=floats(4, 3),
    )


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum", "ReduceMax"])
@pytest.mark.parametrize("name", ["x", "k"])
def test_reductions_of_reductions_keep_their_axes(kind: str, name: str) -> None:
    """x.mean(2).mean(2)[:, :, None, None], of a picture and of weights: onnxsim gave five axes."""
    model = model_of(
        f"""(float[2,3,5,7] x) => (float[2,3,5,7] y) {{
 a = {kind}<keepdims=0>({name}, two)
 b = {kind}<keepdims=0>(a, two)
 c = Unsqueeze(b, two)
 d = Unsqueeze(c, three)
 y = Mul(x, d) }}""",
        k=floats(2, 3, 5, 7, seed=3),
        two=ints(2),
        three=ints(3),
    )
    found = simplify(model)
    feed = {"x": floats(2, 3, 5, 7, seed=1)}
    assert found.warning is None
    np.testing.assert_allclose(run(found.hub, feed)[0], run(model, feed)[0], rtol=1e-5, atol=1e-6)


def test_an_attention_stays_in_standard_operators() -> None:
    heads = {"q": "0,2,1,3", "k": "0,2,3,1", "v": "0,2,1,3"}
    body = "\n".join(
        f"{n}0 = MatMul(x, w{n})\n {n}1 = Add({n}0, b{n})\n {n}2 = Reshape({n}1, apart)\n"
        f" {n}3 = Transpose<perm = [{perm}]>({n}2)"
        for n, perm in heads.items()
    )
    weights = {f"w{n}": floats(8, 8, seed=i) for i, n in enumerate(heads)}
    model = model_of(
        f"(float[1,6,8] x) => (float[1,6,8] y) {{ {body}\n s = MatMul(q3, k3)\n"
        " d = Div(s, two)\n p = Softmax<axis = -1>(d)\n o = MatMul(p, v3)\n"
        " t = Transpose<perm = [0,2,1,3]>(o)\n r = Reshape(t, joined)\n y = MatMul(r, wq) }",
        **weights,
        **{f"b{n}": floats(8, seed=i) for i, n in enumerate(heads)},
        apart=np.array([1, 6, 2, 4]),
        joined=np.array([1, 6, 8]),
        two=np.array(2.0, np.float32),
    )
    found = simplify(model)
    assert found.warning is None
    x = floats(1, 6, 8, seed=3)
    np.testing.assert_allclose(run(found.hub, {"x": x})[0], run(model, {"x": x})[0], atol=1e-4)


def child(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Run ``before`` in the child process, once the model is converted, in place of onnxsim."""
    (folder / "onnxsim.py").write_text(before)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def same(model: onnx.ModelProto, found: simplify_module.Simplified) -> None:
    x = floats(1, 4, 8, 8, seed=3)
    np.testing.assert_allclose(run(found.hub, {"x": x})[0], run(model, {"x": x})[0], atol=1e-5)
    assert ops(found.hub) == HUB
    assert found.hub.opset == 18


def test_an_output_whose_axes_only_running_counts_is_no_trouble_to_onnxsim() -> None:
    model = model_of(
        "(float[1,4,6,6] x) => (float[N] y) { s = Shape(x)\n n = Gather(s, last)\n f = Cast<to = 1>(n)\n"
        " h = Floor(f)\n i = Cast<to = 7>(h)\n u = Unsqueeze(i, first)\n"
        " c = Concat<axis = 0>(rest, u)\n r = Reshape(x, c)\n y = Relu(r) }",
        last=np.array(3),
        first=ints(0),
        rest=ints(2, -1),
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = simplify(model)
    assert found.warning is None
    x = floats(1, 4, 6, 6)
    assert run(found.hub, {"x": x})[0].shape == (2, 12, 6)
    assert ops(found.hub) == ["Relu", "Reshape"] or ops(found.hub) == ["Reshape", "Relu"]


def test_onnxsim_runs_and_needs_no_torch() -> None:
    found = simplify(net())
    assert found.warning is None
    same(net(), found)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_every_opset_becomes_the_same_hub(opset: int) -> None:
    found = simplify(net(opset))
    assert found.warning is None
    same(net(opset), found)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "it crashed with SIGSEGV"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "it crashed with SIGKILL"),
        ("raise RuntimeError('no such luck\\nand more')", "no such luck"),
        ("raise RuntimeError", "RuntimeError"),
        ("raise SystemExit(7)", "exit code 7"),
        ("def simplify(model, **options): return model, False", "own check of its result failed"),
    ],
)
def test_a_dying_child_leaves_a_warning_and_a_correct_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, says: str
) -> None:
    child(tmp_path, monkeypatch, before)
    found = simplify(net(12))
    assert found.warning is not None
    assert says in found.warning
    assert "edgeconv's own passes went on without it" in found.warning
    assert "[" not in found.warning
    same(net(12), found)


def test_a_child_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(tmp_path, monkeypatch, "import time\ntime.sleep(60)")
    monkeypatch.setattr(simplify_module, "TIMEOUT_S", 2)
    found = simplify(net())
    assert found.warning is not None
    assert "it did not end within 2 s" in found.warning
    same(net(), found)


def test_a_child_that_dies_before_converting_names_the_opset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(
        EdgeconvError, match=r"opset 12 cannot be brought to 18: it crashed with SIGSEGV"
    ):
        simplify(net(12))


def test_half_a_file_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        import os, pathlib, signal, sys
        pathlib.Path(sys.argv[2] + ".part").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    child(tmp_path, monkeypatch, textwrap.dedent(text))
    model = net(13)
    before = model.SerializeToString()
    same(net(13), simplify(model))
    assert model.SerializeToString() == before


def test_what_onnx_cannot_convert_is_an_error() -> None:
    body = "(float[2,3] x) => (float[2,3] y) { y = Pad<paddings = [0, 0, 0, 0]>(x) }"
    with pytest.raises(
        EdgeconvError, match="the model's opset 1 cannot be brought to 18: No Adapter"
    ):
        simplify(model_of(body, 1))


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("ends", ["os.kill(os.getpid(), 11)", "time.sleep(60)"])
def test_a_file_that_crashes_a_library_costs_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, ends: str
) -> None:
    """It is opened in the child before this process opens it: the sentence names all three."""
    (tmp_path / f"{library}.py").write_text(f"import os, time\n{ends}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(simplify_module, "ADMISSION_S", 3)
    path = tmp_path / "net.onnx"
    path.write_bytes(net(12).SerializeToString())
    said = "crashed with SIGSEGV" if "kill" in ends else "did not (end|answer) within 3 s"
    with pytest.raises(EdgeconvError, match=rf"{library} on .*net\.onnx {said}"):
        run_export(ExportOptions(str(path), targets=("onnx",), output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    if library == "onnx":
        with pytest.raises(EdgeconvError, match=rf"onnx on .*net\.onnx {said}"):
            summarize_onnx(path)
