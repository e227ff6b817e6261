"""Training branches are merged by a net's own methods, and only where that changes nothing."""

import torch
from torch import nn

from edgeconv.models.reparametrize import reparametrize

SHAPES = {"x": (1, 3, 8, 8)}


class Branches(nn.Module):
    """Two branches that become one convolution."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.one: nn.Conv2d | None = None
        self.wrong = wrong

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.wide(x) + self.narrow(x) if self.one is None else self.one(x)
        return made

    def switch_to_deploy(self) -> None:
        one = nn.Conv2d(3, 3, 3, padding=1)
        with torch.no_grad():
            one.weight.copy_(self.wide.weight + nn.functional.pad(self.narrow.weight, [1] * 4))
            assert self.wide.bias is not None
            assert self.narrow.bias is not None
            assert one.bias is not None
            one.bias.copy_(self.wide.bias + self.narrow.bias + float(self.wrong))
        self.one = one


class Fusing(nn.Module):
    """A block that gives another in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.norm(self.conv(x))
        return made

    def fuse(self) -> nn.Module:
        return nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)


def test_branches_are_merged_and_the_argument_stays() -> None:
    net = nn.Sequential(Branches(), nn.ReLU(), nn.Sequential(Branches(), Fusing())).eval()
    made = reparametrize(net, SHAPES)
    assert (
        made.note == "3 blocks with training branches were merged by fuse() and switch_to_deploy()"
    )
    assert isinstance(net[0], Branches)
    assert net[0].one is None
    x = torch.rand(SHAPES["x"])
    torch.testing.assert_close(made.module(x), net(x), atol=1e-5, rtol=1e-4)


def test_a_merge_that_changes_the_outputs_is_not_taken() -> None:
    net = nn.Sequential(Branches(wrong=True)).eval()
    made = reparametrize(net, SHAPES)
    assert made.module is net
    assert made.note is not None
    assert "switch_to_deploy() changes its outputs" in made.note


def test_a_net_without_such_methods_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1)).eval()
    assert reparametrize(net, SHAPES).note is None


def test_a_method_that_fails_is_said() -> None:
    net = nn.Sequential(Branches()).eval()
    made = reparametrize(net, {"x": (1, 4, 8, 8)})
    assert made.module is net
    assert made.note is not None
    assert "merge them before the export" in made.note
