"""Quantized nets that no target takes are refused before samples are asked for, and what to do instead is said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import graph_kit as kit
import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UnsupportedOpError

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from edgeconv.export.hub.fake_quantizers import refuse_dynamic_layers  # noqa: E402
from edgeconv.export.hub.trace import trace_module  # noqa: E402
from edgeconv.runtimes.pytorch import open_module  # noqa: E402


def test_packed_weights_are_refused_before_samples_are_asked_for(tmp_path: Path) -> None:
    model = kit.model_of(
        "(float[1,16] x) => (float[1,4] y) { y = com.microsoft.MatMulNBits<K=16, N=4, bits=4, block_size=16>(x, w, s) }",
        17,
        w=np.zeros((4, 1, 8), np.uint8),
        s=np.ones(4, np.float32),
    )
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "packed.onnx")
    words = ["export", str(tmp_path / "packed.onnx"), "--int8", "--output", str(tmp_path / "out")]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 1, ran.output
    assert "export the float model it was made from" in ran.output
    assert "give --calib" not in ran.output


@pytest.mark.filterwarnings("ignore")
def test_layers_that_quantize_their_inputs_in_every_run_are_refused() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    refuse_dynamic_layers(net)
    with pytest.raises(UnsupportedOpError, match=r"dynamically \(Linear 0\).*--int8 --calib"):
        refuse_dynamic_layers(torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}))
    net[0].weight.act_quant_kwargs = SimpleNamespace()  # as torchao's tensors say it
    with pytest.raises(UnsupportedOpError, match=r"dynamically \(0\.weight\)"):
        refuse_dynamic_layers(net)


@pytest.mark.filterwarnings("ignore")
def test_an_integer_module_that_torch_cannot_trace_is_told_what_to_export() -> None:
    """A batch norm of integers that stands alone: torch's exporter has no form of it."""
    quantization: Any = torch.ao.quantization
    torch.backends.quantized.engine = "fbgemm"
    net = torch.nn.Sequential(
        quantization.QuantStub(), torch.nn.BatchNorm2d(3), quantization.DeQuantStub()
    ).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    observed = quantization.prepare(net)
    observed(torch.rand(1, 3, 4, 4))
    with pytest.raises(
        EdgeconvError, match=r"cannot be traced.*quantized by torch\.ao.*before torch's convert"
    ):
        trace_module(quantization.convert(observed), {"x": (1, 3, 4, 4)})


def test_an_index_beyond_a_table_names_the_input_and_what_it_holds() -> None:
    net = torch.nn.Embedding(10, 2)
    runner = open_module(net, ["ids"], ["y"], [(1, 3)], input_dtypes=["int64"])
    with runner, pytest.raises(EdgeconvError, match=r"input ids holds 1 to 12; a table of n rows"):
        runner.infer({"ids": np.array([[1, 12, 3]], np.int64)})
