"""ExecuTorch: the same integers as TFLite's, nothing outside the delegate, and what is refused before any work."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tflite_kit import feed, minmax_recipe, small_net

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.executorch.module import GraphModule
from edgeconv.export.executorch.table import OPS
from edgeconv.export.executorch.target import EXECUTORCH
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.runtimes import executorch
from edgeconv.runtimes.base import open_runner


def test_every_operator_of_the_table_has_its_traits() -> None:
    assert OPS.keys() <= TRAITS.keys()


def test_the_module_of_a_float_graph_computes_what_onnxruntime_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = small_net().graph
    feeds = feed(graph)
    with torch.no_grad():
        made = GraphModule(graph, None)(*(torch.from_numpy(feeds[name]) for name in graph.inputs))
    path = tmp_path / "net.onnx"
    path.write_bytes(save_model(to_onnx(graph)))
    with open_runner(path, optimize=False) as runner:
        wanted = runner.infer(feeds)
    for name, value in zip(graph.outputs, made, strict=True):
        assert np.abs(value.numpy() - wanted[name]).max() < 1e-4


def test_a_program_holds_no_tensor_without_values() -> None:
    """ExecuTorch neither loads one nor is fed one; what is computed from it is held instead."""
    torch = pytest.importorskip("torch")
    nodes = [Node("ReduceSum", "sum", ["none", "axes"], ["y"])]
    constants = {"none": np.zeros((2, 0, 4), np.float32), "axes": np.array([1])}
    graph = Graph("g", 18, ["x"], ["y"], nodes, constants)
    graph.shapes = {"x": (2, 0, 4), "y": (2, 1, 4)}
    graph.dtypes = dict.fromkeys(graph.shapes, np.dtype(np.float32))
    module = GraphModule(graph, None)
    assert all(held.numel() for held in module.buffers())
    (made,) = module(torch.zeros(2, 0, 4))
    assert made.numpy().tolist() == np.zeros((2, 1, 4)).tolist()


def test_what_it_cannot_say_is_refused_by_name() -> None:
    graph = Graph("g", 18, ["x"], ["y"], [Node("Einsum", "mix", ["x"], ["y"])])
    graph.shapes = {"x": (1, 2), "y": (1, 2)}
    graph.dtypes = dict.fromkeys(graph.shapes, np.dtype(np.float32))
    with pytest.raises(
        UnsupportedOpError, match=r"edgeconv has no ExecuTorch form of Einsum \(node mix\)"
    ):
        EXECUTORCH.check(graph)


def test_options_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ["export", "mobilenet_v1", "--target", "executorch", "--output", str(tmp_path / "o")]
    for more, says in (
        ("--fp16", "--fp16 is for TFLite, Core ML and ncnn"),
        ("--int8 --io uint8", "--io uint8"),
    ):
        result = CliRunner().invoke(main, [*words, *more.split()])
        assert result.exit_code == 2, result.output
        assert says in result.output
    assert not (tmp_path / "o").exists()


def test_a_program_of_another_format_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    path = tmp_path / "old.pte"
    path.write_bytes(b"\0\0\0\0ET09" + bytes(64))
    with pytest.raises(EdgeconvError, match="no ExecuTorch program of the format ET12"):
        open_runner(path)


def test_a_program_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "half.pte"
    header = struct.pack("<4sIQQQ", b"eh00", 32, 100, 128, 1000)
    path.write_bytes(b"\0\0\0\0ET12" + header + bytes(500))
    said = CliRunner().invoke(main, ["inspect", str(path)])
    assert said.exit_code == 1
    assert "half.pte is cut off: 540 bytes of 1128" in said.output.replace("\n", " ")
    with pytest.raises(EdgeconvError, match="is cut off"):
        executorch.open(path)
    for count in (8, 10, 20):
        path.write_bytes((b"\0\0\0\0ET12" + header)[:count])
        said = CliRunner().invoke(main, ["inspect", str(path)])
        assert said.exit_code == 1
        assert "ends in its header" in said.output.replace("\n", " ")


def test_a_program_with_damaged_tables_is_told_before_executorch_crashes(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    path = tmp_path / "torn.pte"
    path.write_bytes(b"\xf0\0\0\0ET12" + bytes(8) + b"\x7f" * 300)
    for words in (["inspect"], ["run", "--runtime", "executorch"]):
        picture = ["x.png"] if "run" in words else []
        said = CliRunner().invoke(main, [*words, str(path), *picture])
        assert said.exit_code == 1, said.output
        assert "is damaged or cut short" in said.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Failed to load method forward, error: 0x:20", "a backend or data"),
        ("Failed to load method forward, error: 0x1", "it is damaged"),
        ("Failed to load method forward, error: 0x:14", "an operator that"),
        ("something else\nmore", "something else"),
    ],
)
def test_a_code_of_executorch_is_said_in_words(text: str, says: str) -> None:
    assert says in executorch.why_refused(text)


@pytest.mark.slow
@pytest.mark.parametrize("io", [pytest.param("float", marks=pytest.mark.long), "int8"])
def test_an_int8_program_gives_xnnpacks_own_integers(io: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    from edgeconv.export.executorch.lower import lower
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = small_net().graph
    feeds = feed(graph)
    recipe = minmax_recipe(graph, feeds)
    (tmp_path / "graph.onnx").write_bytes(save_model(to_onnx(graph)))
    recipe.save(tmp_path / "recipe.json")
    found = lower(
        {
            "graph": str(tmp_path / "graph.onnx"),
            "recipe": str(tmp_path / "recipe.json"),
            "io": io,
            "output": str(tmp_path / "net.pte"),
        }
    )
    assert found["outside"] == {}
    made = emit_tflite(graph, recipe, precision="int8", io="float" if io == "float" else "int8")
    (tmp_path / "net.tflite").write_bytes(made.data)
    generator = np.random.default_rng(0)
    with open_runner(tmp_path / "net.pte") as mine, open_runner(tmp_path / "net.tflite") as wanted:
        spec = mine.inputs[0]
        for _ in range(8):
            value = (
                generator.integers(-128, 128, spec.shape, np.int8)
                if io == "int8"
                else generator.standard_normal(spec.shape).astype(np.float32)
            )
            outputs = mine.infer({spec.name: value})
            nhwc = np.ascontiguousarray(value.transpose(0, 2, 3, 1))
            reference = wanted.infer({wanted.inputs[0].name: nhwc})
            for got, want in zip(outputs.values(), reference.values(), strict=True):
                if want.ndim == 4:
                    want = want.transpose(0, 3, 1, 2)
                assert np.array_equal(got, want)


@pytest.mark.slow
def test_a_factor_without_axes_is_lowered(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    from edgeconv.export.executorch.lower import lower
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    nodes = [Node("Mul", "scale", ["x", "factor"], ["h"]), Node("Relu", "relu", ["h"], ["y"])]
    graph = Graph("g", 18, ["x"], ["y"], nodes, {"factor": np.asarray(2.5, np.float32)})
    graph.shapes = {"x": (1, 2, 3, 3), "h": (1, 2, 3, 3), "y": (1, 2, 3, 3), "factor": ()}
    graph.dtypes = dict.fromkeys(graph.shapes, np.dtype(np.float32))
    feeds = feed(graph)
    minmax_recipe(graph, feeds).save(tmp_path / "recipe.json")
    (tmp_path / "graph.onnx").write_bytes(save_model(to_onnx(graph)))
    files = {n: str(tmp_path / f) for n, f in (("graph", "graph.onnx"), ("output", "net.pte"))}
    found = lower({**files, "recipe": str(tmp_path / "recipe.json"), "io": "float"})
    assert found["outside"] == {}
    with open_runner(tmp_path / "net.pte") as runner:
        (made,) = runner.infer({runner.inputs[0].name: feeds["x"]}).values()
    wanted = np.maximum(feeds["x"] * 2.5, 0)
    assert np.abs(made - wanted).max() < 0.02 * np.ptp(wanted)


@pytest.mark.slow
def test_the_command_writes_verifies_and_parity_compares(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    words = "export mobilenet_v1 --weights random --width 0.25 --resolution 32 --classes 4 --target executorch"
    done = CliRunner().invoke(main, [*words.split(), "--output", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    artifact = json.loads(done.stdout)["artifacts"][0]
    assert artifact["graph"]["outside"] == {}
    assert artifact["graph"]["delegates"] == 1
    said = CliRunner().invoke(main, ["inspect", artifact["file"], "--json"])
    assert said.exit_code == 0, said.output
    shown = json.loads(said.stdout)
    assert shown["histogram"] == {"XnnpackBackend": 1}
    assert [(end["shape"], end["dtype"]) for end in shown["inputs"]] == [
        ([1, 3, 32, 32], "float32")
    ]
    assert [(end["shape"], end["dtype"]) for end in shown["outputs"]] == [([1, 4], "float32")]
    assert shown["description"]["precision"] == "fp32"
    compared = CliRunner().invoke(main, ["parity", artifact["file"], "--count", "4", "--json"])
    assert compared.exit_code == 0, compared.output
    timed = CliRunner().invoke(
        main, ["bench", artifact["file"], "--seconds", "0.1", "--no-reference", "--json"]
    )
    assert timed.exit_code == 0, timed.output
    assert json.loads(timed.stdout)["rows"][0]["summary"]["median"] > 0


@pytest.mark.slow
def test_a_gelu_by_tanh_is_no_exact_one(tmp_path: Path) -> None:
    """They are up to 5e-4 apart, and the delegate has the exact one alone."""
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    from edgeconv.export.executorch.lower import lower
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    nodes = [Node("Gelu", "gelu", ["x"], ["y"], {"approximate": "tanh"})]
    graph = Graph("g", 20, ["x"], ["y"], nodes, {})
    graph.shapes = dict.fromkeys("xy", (1, 2, 8, 16))
    graph.dtypes = dict.fromkeys("xy", np.dtype(np.float32))
    (tmp_path / "graph.onnx").write_bytes(save_model(to_onnx(graph)))
    files = {n: str(tmp_path / f) for n, f in (("graph", "graph.onnx"), ("output", "net.pte"))}
    assert lower({**files, "recipe": None, "io": "float"})["outside"] == {}
    x = np.linspace(-6.0, 6.0, 256, dtype=np.float32).reshape(1, 2, 8, 16)
    with open_runner(tmp_path / "net.pte") as runner:
        (made,) = runner.infer({runner.inputs[0].name: x}).values()
    wanted = x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    assert np.abs(made - wanted).max() < 1e-5
