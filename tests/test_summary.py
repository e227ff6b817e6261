"""edgeconv summary counts right, for nets, factories and .onnx files."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.models.layer_cost import ConvShape, compare_with_standard
from edgeconv.models.summary import Summary, summarize


def test_a_depthwise_separable_pair_is_compared_with_one_standard_convolution() -> None:
    depthwise, pointwise = ConvShape(4, 4, (3, 3), 4, 100), ConvShape(4, 8, (1, 1), 1, 100)
    found = compare_with_standard([("dw", depthwise), ("pw", pointwise)])
    assert found["dw"].ratio == 1 / 4
    pair = found["pw"]
    assert (pair.layers, pair.parameters, pair.standard_parameters) == (("dw", "pw"), 68, 288)
    assert pair.ratio == pytest.approx(1 / 8 + 1 / 9)


def test_a_grouped_convolution_costs_a_share_of_the_standard_one() -> None:
    found = compare_with_standard([("a", ConvShape(3, 6, (11, 11), 3, 10))])
    assert (found["a"].parameters, found["a"].standard_parameters) == (726, 2178)


def test_a_pointwise_convolution_elsewhere_completes_no_pair() -> None:
    depthwise, pointwise = ConvShape(4, 4, (3, 3), 4, 100), ConvShape(4, 8, (1, 1), 1, 1)
    assert "pw" not in compare_with_standard([("dw", depthwise), ("pw", pointwise)])


def test_memory_is_four_bytes_an_output_value() -> None:
    first = summarize("mobilenet_v1").layers[0]
    assert first.output_shape == (1, 32, 112, 112)
    assert first.activation_bytes == 4 * 32 * 112 * 112
    assert first.input_bytes == 4 * 3 * 224 * 224


class Functional(nn.Module):
    """A parameter of its own, a matrix product outside layers, one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(5, 3))
        self.conv = nn.Conv2d(3, 3, 1)
        self.up = nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.up(self.conv(self.conv(x)))
        return y.mean() + torch.matmul(self.table, x.flatten(2)).sum()


def test_what_happens_outside_layers_is_counted_too() -> None:
    found = summarize(Functional(), input_shapes=[(1, 3, 4, 4)])
    rows = {layer.name: layer for layer in found.layers}
    assert found.parameters == sum(p.numel() for p in Functional().parameters())
    assert rows["up"].multiply_adds == 16 * 3 * 2 * 4
    assert [x.multiply_adds for x in found.layers if x.name == "conv"] == [144, 144]
    assert rows["(outside layers)"].multiply_adds == 5 * 3 * 16
    assert rows["(outside layers)"].parameters == 15


def write_onnx(path: Path, batch: str | int) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(torch.zeros(shape).numpy(), name)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "dw", group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"], "relu"),
        helper.make_node("Conv", ["z", "v"], ["u"], "pw"),
        helper.make_node("GlobalAveragePool", ["u"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "g"], ["out"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, 10, 10])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 5])],
        [weights("w", 4, 1, 3, 3), weights("b", 4), weights("v", 8, 4, 1, 1), weights("g", 5, 8)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


def check_small(found: Summary) -> None:
    rows = {layer.name: layer for layer in found.layers}
    assert (rows["dw"].parameters, rows["dw"].multiply_adds) == (40, 3600)
    assert (rows["pw"].parameters, rows["pw"].multiply_adds) == (32, 3200)
    assert (rows["fc"].parameters, rows["fc"].multiply_adds) == (40, 40)
    assert rows["fc"].output_shape == (1, 5)
    assert rows["dw"].against_standard is not None
    assert rows["dw"].against_standard.ratio == 1 / 4
    assert rows["pw"].against_standard is not None
    assert rows["pw"].against_standard.layers == ("dw", "pw")
    assert found.parameters == 112


def test_an_onnx_file_is_counted_node_by_node(tmp_path: Path) -> None:
    check_small(summarize(write_onnx(tmp_path / "small.onnx", 1)))


def test_a_dynamic_batch_alone_is_one_and_a_given_shape_is_taken(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "dynamic.onnx", "batch")
    check_small(summarize(path))  # a dynamic batch alone is one
    with pytest.raises(EdgeconvError, match="does not fit"):
        summarize(path, input_shapes=[(1, 4, 10)])
    check_small(summarize(path, input_shapes=[(1, 4, 10, 10)]))


def test_an_onnx_file_takes_shapes_by_the_names_that_it_is_told_to_give(tmp_path: Path) -> None:
    path = str(write_onnx(tmp_path / "dynamic.onnx", "batch"))
    import onnx

    (name,) = (value.name for value in onnx.load(path).graph.input)
    made = CliRunner().invoke(main, ["summary", path, "--input-shape", f"{name}=1,4,10,10"])
    assert (made.exit_code, "1x4x10x10" in made.output) == (0, True)
    with pytest.raises(UsageError, match="NAME= is for"):
        summarize("mobilenet_v1", input_shapes={"x": (1, 3, 32, 32)})


def test_a_net_and_its_own_onnx_file_cost_the_same(tmp_path: Path) -> None:
    import onnx

    from edgeconv.export.hub.trace import trace_module
    from edgeconv.models import build

    path = tmp_path / "net.onnx"
    module = build("shufflenet_v1", classes=10)
    onnx.save(trace_module(module, {"input": (1, 3, 32, 32)}), str(path))
    own = summarize("shufflenet_v1", classes=10, resolution=32)
    assert summarize(path).multiply_adds == own.multiply_adds


FACTORIES = """
    import sys
    import torch
    def net(): return torch.nn.Conv2d(3, 4, 1)
    def broken(): raise ValueError("no such width")
    def leaves(): sys.exit(3)
    def number(): return 7
    def wants(depth, *rest, width=1): return torch.nn.Conv2d(3, depth, width)
    value = 7
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(textwrap.dedent(FACTORIES))
    return path


def test_a_factory_file_is_summarized(script: Path) -> None:
    found = summarize(f"{script}:net", resolution=8)
    assert (found.parameters, found.multiply_adds) == (16, 12 * 64)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing", "defines no missing$"),
        ("brokn", r"defines no brokn: did you mean broken\?"),
        ("broken", "fails: ValueError: no such width"),
        ("leaves", "fails: SystemExit"),
        ("number", "returned an int, not a torch.nn.Module"),
        ("wants", "is called without arguments and wants depth: write a function"),
        ("value", "is an int, not a function"),
        ("a-b", "is not written"),
    ],
)
def test_a_factory_that_gives_no_net_is_one_sentence(script: Path, name: str, text: str) -> None:
    with pytest.raises(EdgeconvError, match=text):
        summarize(f"{script}:{name}")


def test_a_factory_file_that_is_missing_or_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.py does not exist"):
        summarize(f"{tmp_path}/gone.py:net")
    bad = tmp_path / "bad.py"
    bad.write_text("import nowhere_to_be_found")
    with pytest.raises(EdgeconvError, match=r"bad\.py fails: ModuleNotFoundError"):
        summarize(f"{bad}:net")


def test_net_options_are_refused_for_files_and_both_sizes_together(script: Path) -> None:
    with pytest.raises(UsageError, match="--width is for the four nets only"):
        summarize(f"{script}:net", options={"width": 0.5})
    with pytest.raises(UsageError, match="give one of them"):
        summarize("ghostnet", resolution=64, input_shapes=[(1, 3, 64, 64)])


def test_the_command_prints_rows_and_totals() -> None:
    wide = {"COLUMNS": "200"}
    result = CliRunner().invoke(main, ["summary", "mobilenet_v1", "--width", "0.25"], env=wide)
    assert result.exit_code == 0
    assert "features.1.0   Conv2d 3x3 depthwise" in result.output
    assert "470,072 parameters" in result.output


def test_the_command_prints_the_same_as_json() -> None:
    result = CliRunner().invoke(main, ["summary", "ghostnet", "--json"])
    data = json.loads(result.stdout)
    assert data["parameters"] == 5_182_508
    assert data["layers"][0]["output_shape"] == [1, 16, 112, 112]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_script_says_no_sizes_of_what_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    trace: Any = torch.jit.trace
    trace(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)).save(str(path))
    asked = ["summary", str(path), "--input-shape", "1,3,8,8"]
    said = CliRunner().invoke(main, asked, env={"COLUMNS": "200"}).output
    assert "768 multiply-adds · its layers are not seen one by one, nor their outputs" in said
    assert json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)["peak_bytes"] is None


def test_the_models_command_lists_every_net_with_its_size() -> None:
    shown = CliRunner().invoke(main, ["models"]).output
    data = json.loads(CliRunner().invoke(main, ["models", "--json"]).stdout)
    assert [net["name"] for net in data] == [
        "mobilenet_v1",
        "mobilenet_v2",
        "shufflenet_v1",
        "ghostnet",
    ]
    for net in data:
        assert net["name"] in shown
        assert f"{net['parameters'] / 1e6:.3f} M" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_a_narrow_terminal_cuts_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = CliRunner().invoke(main, ["summary", "mobilenet_v1"])
    assert found.exit_code == 0
    assert "…" not in found.output
    assert "multiply-adds 10,838,016" in found.output
