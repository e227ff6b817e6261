"""How pictures become tensors: said in every run, named, and checked by the net's own statistics."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.artifact import Preprocessing
from edgeconv.cli import main
from edgeconv.preprocessing import NAMED, named, scaling

torch = pytest.importorskip("torch", reason="needs the torch extra")
onnx = pytest.importorskip("onnx", reason="needs the export extra")

PICTURES = Path(__file__).parents[1] / "calib_data" / "calibration"


@pytest.mark.parametrize("net", ["mobilenet_v1", "shufflenet_v1"])
def test_the_first_batch_norm_names_what_a_net_was_trained_with(net: str) -> None:
    """The bundled weights kept the statistics of pictures on -1..1."""
    from edgeconv.export.fit_preprocessing import fit_preprocessing
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source

    source = open_source(ExportOptions(net=net))
    assert source.preprocessing is not None
    assert named(source.preprocessing) == "symmetric"
    for name in NAMED:
        mean, std = scaling(name)
        how = replace(source.preprocessing, mean=mean, std=std)
        fit = fit_preprocessing(source.module, None, how, str(PICTURES))
        assert fit is not None
        if name == "symmetric":
            assert fit.better is None, str(fit)
        else:
            assert fit.better is not None
            assert (fit.better.name, fit.better.swapped) == ("symmetric", False)
            assert "try --preprocessing symmetric" in str(fit)


def test_an_onnx_file_with_batch_norm_is_judged_and_a_folded_one_is_not() -> None:
    from edgeconv.export.fit_preprocessing import fit_preprocessing
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source

    source = open_source(ExportOptions(net="mobilenet_v1"))
    assert source.module is not None
    conv = next(m for m in source.module.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in source.module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    wrong = Preprocessing(*NAMED["imagenet"], 1.0, (64, 64))
    for folded in (False, True):
        fit = fit_preprocessing(None, stem(conv, norm, folded), wrong, str(PICTURES))
        assert (fit is None) is folded
        assert fit is None or (fit.better is not None and fit.better.name == "symmetric")


def stem(conv: Any, norm: Any, folded: bool) -> Any:
    """Return the stem of a net as an .onnx model: its convolution, and its batch norm or none."""
    from onnx import TensorProto, helper, numpy_helper

    stored = {"g": norm.weight, "b": norm.bias, "m": norm.running_mean, "v": norm.running_var}
    tensors = {"w": conv.weight, **stored}
    pads, strides = [conv.padding[0]] * 4, list(conv.stride)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=pads, strides=strides)]
    if folded:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    else:
        nodes.append(helper.make_node("BatchNormalization", ["c", *stored], ["y"]))
    size = [1, conv.out_channels, 32, 32]
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, size)],
        [numpy_helper.from_array(t.detach().numpy(), name) for name, t in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_statistics_that_no_training_changed_judge_nothing() -> None:
    from edgeconv.export.fit_preprocessing import fit_preprocessing

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    how = Preprocessing(*NAMED["imagenet"], 1.0, (32, 32))
    assert fit_preprocessing(net, None, how, str(PICTURES)) is None
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).eval()
    assert fit_preprocessing(plain, None, how, str(PICTURES)) is None


@pytest.mark.slow
def test_the_command_says_warns_and_finds(tmp_path: Path) -> None:
    export = ["export", "mobilenet_v1", "--target", "onnx", "--verify-count", "20"]
    ran = CliRunner().invoke(
        main, [*export, "--preprocessing", "imagenet", "--output", str(tmp_path / "a")]
    )
    assert "imagenet: mean 0.485,0.456,0.406" in " ".join(ran.output.split())
    assert "PREPROCESSING LOOKS WRONG" in " ".join(ran.output.split())
    ran = CliRunner().invoke(
        main, [*export, "--preprocessing", "auto", "--output", str(tmp_path / "b")]
    )
    assert "symmetric: mean 0.5, std 0.5 · crop" in " ".join(ran.output.split())
    assert "found by the first batch norm" in " ".join(ran.output.split())
    (file,) = (tmp_path / "b").glob("*.onnx")
    ran = CliRunner().invoke(main, ["parity", str(file), "--count", "5"])
    assert "pictures: symmetric: mean 0.5, std 0.5" in " ".join(ran.output.split())
    ran = CliRunner().invoke(main, ["run", str(file), str(next(PICTURES.glob("*.png")))])
    assert "pictures: symmetric: mean 0.5, std 0.5" in " ".join(ran.output.split())


def test_a_name_and_values_contradict_each_other() -> None:
    ran = CliRunner().invoke(
        main, ["export", "mobilenet_v1", "--preprocessing", "unit", "--mean", "0.5"]
    )
    assert ran.exit_code == 2
    assert "leave --mean and --std out" in ran.output
