"""Modules from quantization-aware training: every fake quantizer of torch's is traced, and its integers are kept."""

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime as ort
import torch
from torch.ao import quantization

from edgeconv import check_parity, export_model
from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.fake_quantizers import holds_integers
from edgeconv.export.hub.trace import trace_module
from edgeconv.recipe import load_recipe

KINDS = {
    "of a tensor": ("moving_average_minmax_observer", 0, 255, torch.quint8),
    "7 bits": ("moving_average_minmax_observer", 0, 127, torch.quint8),
    "symmetric": ("moving_average_minmax_observer", -127, 127, torch.qint8),
    "of 4 bits": ("moving_average_minmax_observer", -8, 7, torch.qint8),
    "of a channel": ("moving_average_per_channel_minmax_observer", -128, 127, torch.qint8),
    "of 4 bits a channel": ("moving_average_per_channel_minmax_observer", -8, 7, torch.qint8),
}


def quantizer(kind: str, fused: bool) -> Any:
    observer, low, high, dtype = KINDS[kind]
    by_channel = "channel" in kind
    schemes = (torch.per_channel_symmetric, torch.per_tensor_symmetric)
    scheme = schemes[0] if by_channel else schemes[1] if low < 0 else torch.per_tensor_affine
    observers = {
        "moving_average_minmax_observer": quantization.MovingAverageMinMaxObserver,
        "moving_average_per_channel_minmax_observer": (
            quantization.MovingAveragePerChannelMinMaxObserver
        ),
    }
    made = quantization.FusedMovingAvgObsFakeQuantize if fused else quantization.FakeQuantize
    options: dict[str, Any] = {"quant_min": low, "quant_max": high, "dtype": dtype}
    options |= {"qscheme": scheme} | ({"ch_axis": 0} if by_channel else {})
    return made(observers[observer], **options)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_fake_quantizer_is_traced_to_what_it_computes(kind: str, fused: bool) -> None:
    torch.manual_seed(0)
    made = quantizer(kind, fused)
    x = torch.randn(3, 50) * torch.tensor([[1.0], [3.0], [0.2]])
    made(x)
    made.apply(quantization.disable_observer)
    assert holds_integers(torch.nn.Sequential(made))
    traced = trace_module(made.eval(), {"x": (3, 50)})
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in traced.graph.node}
    stored = io.BytesIO()
    onnx.save(traced, stored)
    session = ort.InferenceSession(stored.getvalue())
    wide = 1.5 * x  # beyond what was observed
    np.testing.assert_allclose(
        session.run(None, {"x": wide.numpy()})[0], made(wide).numpy(), atol=1e-6
    )


class Trained(torch.nn.Module):
    """A convolution and a layer of products with the quantizers that get_default_qat_qconfig gives."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        default: Any = quantization.get_default_qat_qconfig
        config = default("x86")
        self.conv, self.linear = torch.nn.Conv2d(3, 8, 3, 2), torch.nn.Linear(8, 5)
        self.seen = torch.nn.ModuleList([config.activation() for _ in range(3)])
        self.kept = torch.nn.ModuleList([config.weight() for _ in range(2)])

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.conv2d(
            self.seen[0](x), self.kept[0](self.conv.weight), self.conv.bias, 2
        )
        x = self.seen[1](torch.relu(x)).mean((2, 3))
        x = torch.nn.functional.linear(x, self.kept[1](self.linear.weight), self.linear.bias)
        return self.seen[2](x)


def trained() -> Any:
    net = Trained()
    for _ in range(4):
        net(torch.randn(4, 3, 16, 16))
    return net


@pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max")
def test_a_trained_module_keeps_its_integers_without_calibration(tmp_path: Path) -> None:
    net = trained()
    assert all(bool(part.observer_enabled) for part in net.seen)
    seen = np.random.default_rng(0).normal(size=(20, 1, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "seen.npz", x=seen)
    report = export_model(
        net,
        input_shape=(1, 3, 16, 16),
        precision="int8",
        targets=("onnx", "tflite"),
        verify=str(tmp_path / "seen.npz"),
        output=tmp_path / "out",
    )
    assert report, str(report)
    assert "the module's own" in str(report)
    assert check_parity([report.artifacts[1].path]), "export and parity say the same"
    artifact = load_artifact(report.artifacts[0].path)
    assert artifact is not None
    recipe = load_recipe(artifact.evidence("recipe.json"))
    assert all(bool(part.observer_enabled) for part in net.seen)  # as its owner left it
    for held, layer in zip(net.kept, (net.conv, net.linear), strict=True):
        step = held.scale.numpy().reshape(-1, *[1] * (layer.weight.dim() - 1))
        wanted = np.rint(held(layer.weight).detach().numpy() / step)
        assert any(np.array_equal(own.values, wanted) for own in recipe.weights.values())


@pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max")
def test_a_module_whose_quantizers_saw_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="none of Trained's fake quantizers has seen a value"):
        export_model(
            Trained(), input_shape=(1, 3, 16, 16), precision="int8", output=tmp_path / "out"
        )


def test_a_module_that_rounds_nothing_is_still_asked_for_pictures(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "from torch.ao.quantization import FakeQuantize\n"
        "class Net(torch.nn.Conv2d):\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 4, 3)\n"
        "        self.unused = FakeQuantize()\n"
        "        self.unused(torch.ones(3))\n",
        encoding="utf-8",
    )
    command = ["export", str(tmp_path / "net.py:Net"), "--input-shape", "1,3,16,16", "--int8"]
    refused = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "out")])
    assert refused.exit_code == 2, refused.output
    assert "give --calib DIR" in refused.output


class Decomposed(torch.nn.Module):
    """A convolution between the operators that convert_pt2e leaves."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        stored = torch.randint(-127, 128, (4, 3, 3, 3), generator=generator, dtype=torch.int8)
        self.register_buffer("stored", stored)

    def forward(self, x: Any) -> Any:
        ops = torch.ops.quantized_decomposed
        x = ops.quantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
        x = ops.dequantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
        kept = ops.dequantize_per_tensor(self.stored, 0.01, 0, -127, 127, torch.int8)
        x = torch.nn.functional.conv2d(x, kept)
        x = ops.quantize_per_tensor(x, 0.05, -7, -128, 127, torch.int8)
        return ops.dequantize_per_tensor(x, 0.05, -7, -128, 127, torch.int8)


def decomposed() -> Any:
    importlib.import_module("torch.ao.quantization.fx._decomposed")
    return torch.export.export(Decomposed(), (torch.zeros(1, 3, 8, 8),))


@pytest.mark.slow
@pytest.mark.parametrize("saved", [True, False], ids=["saved", "module"])
def test_what_convert_pt2e_leaves_keeps_its_integers(saved: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    made = decomposed()
    file = tmp_path / "net.pt2"
    torch.export.save(made, file)
    seen = np.random.default_rng(0).normal(size=(20, 1, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "seen.npz", x=seen)
    module: Any = made.module()
    report = export_model(
        str(file) if saved else module,
        input_shape=(1, 3, 8, 8),
        precision="int8",
        targets=("onnx",),
        verify=str(tmp_path / "seen.npz"),
        output=tmp_path / "out",
    )
    assert report, str(report)
    artifact = load_artifact(report.artifacts[0].path)
    assert artifact is not None
    (layer,) = load_recipe(artifact.evidence("recipe.json")).weights.values()
    assert np.array_equal(layer.values, next(Decomposed().buffers()).numpy())


def test_a_module_that_refuses_to_be_set_to_eval_mode_is_taken_as_it_is(tmp_path: Path) -> None:
    exported: Any = torch.export.export(torch.nn.Conv2d(3, 4, 3).eval(), (torch.zeros(1, 3, 8, 8),))
    net = exported.module()
    report = export_model(
        net, input_shape=(1, 3, 8, 8), targets=("tflite",), output=tmp_path / "out"
    )
    assert report, str(report)
