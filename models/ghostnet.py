"""GhostNet (arXiv 1911.11907). The keys of its state dict are the official repository's (and timm's)."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

from edgeconv.errors import UsageError
from edgeconv.models.layers import ConvBnAct, init_weights, make_divisible


class GhostModule(nn.Module):
    """Make 1/ratio of the channels by a convolution, the others from those by cheap ones (section 3.1).

    (N, in_channels, H, W) to (N, out_channels, H, W). ``ratio`` is the paper's s, ``kernel_size``
    its primary k, ``dw_size`` the cheap d; activation None makes both halves linear.
    Raises UsageError for a ratio below 2, which would leave nothing to the cheap half.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        ratio: int = 2,
        dw_size: int = 3,
        activation: str | None = "relu",
    ) -> None:
        super().__init__()
        if ratio < 2:
            raise UsageError(f"a Ghost module needs a ratio of 2 or more, not {ratio}")
        primary = math.ceil(out_channels / ratio)
        cheap = primary * (ratio - 1)
        self.out_channels = out_channels
        self.surplus = primary + cheap - out_channels
        self.primary_conv = ConvBnAct(in_channels, primary, kernel_size, activation=activation)
        self.cheap_operation = ConvBnAct(
            primary, cheap, dw_size, groups=primary, activation=activation
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return both halves, concatenated and cut to ``out_channels``."""
        primary = self.primary_conv(x)
        both = torch.cat((primary, self.cheap_operation(primary)), 1)
        return both[:, : self.out_channels] if self.surplus else both


class SqueezeExcite(nn.Module):
    """Scale each channel of (N, C, H, W) by a hard-sigmoid gate computed from all channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = make_divisible(channels / 4, 4)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated input."""
        gate = F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.conv_expand(gate))


class GhostBottleneck(nn.Module):
    """Ghost module, depthwise at stride 2, squeeze-and-excite, linear Ghost module, plus shortcut (figure 3)."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        squeeze_excite: bool,
        ghost: Callable[..., GhostModule],
    ) -> None:
        super().__init__()
        self.stride = stride
        self.ghost1 = ghost(in_channels, hidden)
        if stride > 1:
            self.conv_dw = nn.Conv2d(
                hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False
            )
            self.bn_dw = nn.BatchNorm2d(hidden)
        self.se = SqueezeExcite(hidden) if squeeze_excite else None
        self.ghost2 = ghost(hidden, out_channels, activation=None)
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            depthwise = ConvBnAct(
                in_channels, in_channels, kernel, stride=stride, groups=in_channels, activation=None
            )
            pointwise = ConvBnAct(in_channels, out_channels, 1, activation=None)
            self.shortcut = nn.Sequential(*depthwise.children(), *pointwise.children())

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (N, out_channels, H/stride, W/stride)."""
        y = self.ghost1(x)
        if self.stride > 1:
            y = self.bn_dw(self.conv_dw(y))
        if self.se is not None:
            y = self.se(y)
        return cast(Tensor, self.ghost2(y) + self.shortcut(x))


# Table 1, by the official code's stages: kernel k, expansion t, output c, squeeze-and-excite SE, stride s
TABLE = (
    # k, t, c, SE, s
    ((3, 16, 16, False, 1),),
    ((3, 48, 24, False, 2),),
    ((3, 72, 24, False, 1),),
    ((5, 72, 40, True, 2),),
    ((5, 120, 40, True, 1),),
    ((3, 240, 80, False, 2),),
    (
        (3, 200, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
    ),
    ((5, 672, 160, True, 2),),
    (
        (5, 960, 160, False, 1),
        (5, 960, 160, True, 1),
        (5, 960, 160, False, 1),
        (5, 960, 160, True, 1),
    ),
)


class GhostNet(nn.Module):
    """(N, 3, H, W) pictures to (N, classes) logits."""

    def __init__(
        self,
        classes: int = 1000,
        width: float = 1.0,
        ratio: int = 2,
        kernel_size: int = 1,
        dw_size: int = 3,
    ) -> None:
        super().__init__()
        ghost = partial(GhostModule, kernel_size=kernel_size, ratio=ratio, dw_size=dw_size)
        channels = make_divisible(16 * width, 4)
        self.conv_stem = nn.Conv2d(3, channels, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages: list[nn.Module] = []
        for rows in TABLE:
            stage: list[nn.Module] = []
            for k, t, c, se, s in rows:
                hidden, out = make_divisible(t * width, 4), make_divisible(c * width, 4)
                stage.append(
                    GhostBottleneck(
                        channels, hidden, out, kernel=k, stride=s, squeeze_excite=se, ghost=ghost
                    )
                )
                channels = out
            stages.append(nn.Sequential(*stage))
        last = OrderedDict(
            conv=nn.Conv2d(channels, hidden, 1, bias=False),
            bn1=nn.BatchNorm2d(hidden),
            act1=nn.ReLU(inplace=True),
        )
        stages.append(nn.Sequential(nn.Sequential(last)))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(hidden, 1280, 1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        x = F.relu(self.conv_head(x.mean((2, 3), keepdim=True)))
        return cast(Tensor, self.classifier(self.dropout(x.flatten(1))))


def ghostnet(
    classes: int = 1000,
    width: float = 1.0,
    ratio: int = 2,
    kernel_size: int = 1,
    dw_size: int = 3,
) -> GhostNet:
    """Build GhostNet; 5.183 M parameters and 142 M multiply-adds at width 1.0, ratio 2, 224x224."""
    return GhostNet(classes, width, ratio, kernel_size, dw_size)
