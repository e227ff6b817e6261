"""The blocks a user can import compute what the papers say, at the papers' cost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.models.blocks import (
    DepthwiseSeparableConv,
    GhostModule,
    InvertedResidual,
    ShuffleUnit,
    SqueezeExcite,
    channel_shuffle,
    grouped_conv,
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("sizes", "groups", "parameters"),
    [((4, 8, 3), 1, 288), ((4, 8, 3), 2, 144), ((3, 6, 11), 1, 2178), ((3, 6, 11), 3, 726)],
)
def test_groups_divide_the_parameters(
    sizes: tuple[int, int, int], groups: int, parameters: int
) -> None:
    assert count(grouped_conv(*sizes, groups=groups)) == parameters


def test_a_depthwise_separable_convolution_has_36_and_32_parameters_for_288() -> None:
    block = DepthwiseSeparableConv(4, 8, batch_norm=False)
    assert [count(part) for part in block.children()] == [36, 32]
    assert count(block) == 68


@pytest.mark.parametrize(
    ("name", "kind"), [("relu", nn.ReLU), ("relu6", nn.ReLU6), ("leaky_relu", nn.LeakyReLU)]
)
def test_a_depthwise_separable_convolution_takes_three_activations(
    name: str, kind: type[nn.Module]
) -> None:
    block = DepthwiseSeparableConv(4, 8, stride=2, activation=name)
    assert sum(isinstance(m, kind) for m in block.modules()) == 2
    assert block(torch.zeros(1, 4, 9, 9)).shape == (1, 8, 5, 5)


def test_a_depthwise_separable_convolution_takes_kernel_stride_padding_and_slope() -> None:
    block = DepthwiseSeparableConv(4, 8, 5, 2, 1, activation="leaky_relu", negative_slope=0.1)
    assert block(torch.zeros(1, 4, 9, 9)).shape == (1, 8, 4, 4)
    slopes = [m.negative_slope for m in block.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.1, 0.1]
    assert DepthwiseSeparableConv(4, 8, 5)(torch.zeros(1, 4, 9, 9)).shape == (1, 8, 9, 9)


def test_a_group_sees_only_its_own_channels() -> None:
    conv = grouped_conv(4, 4, groups=2)
    x = torch.zeros(1, 4, 5, 5)
    x[:, 2:] = 1
    y = conv(x).detach()
    assert float(y[:, :2].abs().max()) == 0
    assert float(y[:, 2:].abs().max()) > 0


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="groups=3 must divide both 4 input and 6 output"):
        grouped_conv(4, 6, groups=3)


def test_an_unknown_activation_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="choose one of relu, relu6, leaky_relu"):
        DepthwiseSeparableConv(4, 8, activation="swish")


@given(st.integers(1, 6), st.integers(1, 6))
def test_shuffling_back_undoes_a_channel_shuffle(groups: int, each: int) -> None:
    x = torch.arange(groups * each * 2.0).view(1, groups * each, 2, 1)
    assert torch.equal(channel_shuffle(channel_shuffle(x, groups), each), x)


def test_a_channel_shuffle_gives_each_group_some_of_every_group() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_an_inverted_residual_adds_its_input_where_the_shapes_agree() -> None:
    block = InvertedResidual(8, 8).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(block(x), x)
    assert InvertedResidual(8, 8, stride=2).eval()(x).shape == (1, 8, 2, 2)


@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_a_ghost_module_passes_its_primary_channels_on_and_cuts_the_surplus(ratio: int) -> None:
    block = GhostModule(4, 7, ratio=ratio).eval()
    x = torch.randn(1, 4, 6, 6)
    primary = block.primary_conv(x)
    y = block(x)
    assert y.shape == (1, 7, 6, 6)
    assert torch.equal(y[:, : primary.shape[1]], primary)


def test_a_ghost_module_without_cheap_channels_is_refused() -> None:
    with pytest.raises(UsageError, match="ratio of 2 or more, not 1"):
        GhostModule(4, 8, ratio=1)


def test_squeeze_and_excite_scales_whole_channels_between_0_and_1() -> None:
    x = torch.rand(1, 8, 3, 3) + 0.5
    scale = (SqueezeExcite(8)(x) / x).detach()
    assert float(scale.std(dim=(2, 3)).max()) < 1e-5
    assert float(scale.min()) >= 0
    assert float(scale.max()) <= 1


def test_a_shuffle_unit_of_stride_2_carries_its_pooled_input_along() -> None:
    unit = ShuffleUnit(24, 240, stride=2, groups=3, first_groups=1).eval()
    x = torch.rand(1, 24, 8, 8)
    y = unit(x)
    assert y.shape == (1, 240, 4, 4)
    assert torch.equal(y[:, :24], nn.functional.avg_pool2d(x, 3, 2, 1))
