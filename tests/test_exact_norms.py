"""Batch norms are folded into convolutions by the same bits on every processor, and given back as they were."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch
from onnx import numpy_helper

from edgeconv.export.hub.exact_norms import exact_norms
from edgeconv.export.hub.trace import trace_module


def net() -> Any:
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 1, bias=False), torch.nn.BatchNorm2d(64))
    norm: Any = made[1]
    for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        values.copy_(torch.rand(64) + 0.1)
    return made.eval()


def test_a_fold_is_what_ieee_754_prescribes() -> None:
    made = net()
    conv, norm = made
    before = [value.clone() for value in made.state_dict().values()]
    root = np.sqrt(norm.running_var.numpy() + np.float32(norm.eps))
    scale = norm.weight.detach().numpy() / root
    traced = trace_module(made, {"x": (1, 3, 8, 8)})
    stored = [numpy_helper.to_array(item) for item in traced.graph.initializer]
    weights, bias = sorted(
        (item for item in stored if item.size >= 64), key=lambda item: -item.ndim
    )
    wanted = conv.weight.detach().numpy() * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(weights, wanted)
    shift = (np.float32(0) - norm.running_mean.numpy()) * scale + norm.bias.detach().numpy()
    np.testing.assert_array_equal(bias, shift)
    assert norm.eps == 1e-5
    assert all(torch.equal(a, b) for a, b in zip(before, made.state_dict().values(), strict=True))


def test_a_root_that_is_rounded_otherwise_is_taken_out_and_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = net()
    conv, norm = made
    own, var = torch.sqrt, norm.running_var.clone()
    monkeypatch.setattr(torch, "sqrt", lambda x: own(x) * (1 + 2.0**-20))
    wanted = norm.weight.detach().numpy() / np.sqrt(var.numpy() + np.float32(norm.eps))
    with exact_norms(torch, made):
        assert (norm.eps, bool((norm.running_var == 1).all())) == (0.0, True)
        np.testing.assert_array_equal(norm.weight.detach().numpy(), wanted)
    assert torch.equal(norm.running_var, var)
    assert norm.eps == 1e-5
    with pytest.raises(ZeroDivisionError), exact_norms(torch, made):
        raise ZeroDivisionError
    assert torch.equal(norm.running_var, var)
    assert conv.weight.shape == (64, 3, 1, 1)


def test_a_norm_that_is_not_folded_keeps_its_own_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    made = torch.nn.Sequential(torch.nn.BatchNorm2d(64), torch.nn.Conv2d(64, 4, 1)).eval()
    norm: Any = made[0]
    for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        values.copy_(torch.rand(64) + 0.1)
    own = torch.sqrt
    monkeypatch.setattr(torch, "sqrt", lambda x: own(x) * (1 + 2.0**-20))
    traced = trace_module(made, {"x": (1, 64, 8, 8)})
    stored = {item.name: numpy_helper.to_array(item) for item in traced.graph.initializer}
    (node,) = (node for node in traced.graph.node if node.op_type == "BatchNormalization")
    held = [stored[name] for name in node.input[1:]]
    wanted = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    for got, value in zip(held, wanted, strict=True):
        np.testing.assert_array_equal(got, value.detach().numpy())
    (eps,) = (item.f for item in node.attribute if item.name == "epsilon")
    assert eps == pytest.approx(1e-5)
