"""ShuffleNetV1 (arXiv 1707.01083).

Scaled channel counts are rounded to what the groups divide; at 1x they are the paper's table.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

from edgeconv.errors import UsageError
from edgeconv.models.layers import ConvBnAct, init_weights


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of (N, C, H, W) out so that each group gets some of every group (figure 1).

    Channel k * C/groups + j goes to j * groups + k; shuffling again with C/groups undoes it.
    """
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; then add, or at stride 2 concatenate (figure 2).

    (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride). ``first_groups`` are the groups
    of the first convolution: 1 in the first unit of stage 2, whose input is too narrow to split.
    ``shuffle`` is "paper", or "official" for the reference code's order, whose checkpoints need it:
    there the bottleneck's channels are read as (C/groups, groups) before they are transposed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        groups: int,
        first_groups: int,
        shuffle: str = "paper",
    ) -> None:
        super().__init__()
        self.stride = stride
        bottleneck = out_channels // 4
        self.shuffle_groups = groups if shuffle == "paper" or groups == 1 else bottleneck // groups
        branch = out_channels - in_channels if stride == 2 else out_channels
        self.reduce = ConvBnAct(in_channels, bottleneck, 1, groups=first_groups)
        self.depthwise = ConvBnAct(
            bottleneck, bottleneck, stride=stride, groups=bottleneck, activation=None
        )
        self.expand = ConvBnAct(bottleneck, branch, 1, groups=groups, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output, after its ReLU."""
        y = self.reduce(x)
        if self.shuffle_groups > 1:
            y = channel_shuffle(y, self.shuffle_groups)
        y = self.expand(self.depthwise(y))
        if self.stride == 1:
            return F.relu(x + y)
        return F.relu(torch.cat((F.avg_pool2d(x, 3, 2, 1), y), 1))


# Table 1: groups -> output channels of stages 2, 3 and 4
CHANNELS = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
REPEATS = (4, 8, 4)


def stem_channels(width: float) -> int:
    """Return the first convolution's channels before rounding: the paper scales them in these steps.

    Its complexity tables (13, 38, 137, 292, 524 M multiply-adds at 0.25x to 2x, 3 groups) fix them.
    """
    return 12 if width < 1 else 24 if width < 2 else 48


class ShuffleNetV1(nn.Module):
    """(N, 3, H, W) pictures to (N, classes) logits; ``width`` is the paper's scale factor s."""

    def __init__(
        self,
        classes: int = 1000,
        width: float = 1.0,
        groups: int = 3,
        shuffle: str = "paper",
    ) -> None:
        super().__init__()
        if groups not in CHANNELS:
            choices = ", ".join(map(str, CHANNELS))
            raise UsageError(f"shufflenet_v1 has no groups={groups}: choose one of {choices}")

        channels = _multiple(stem_channels(width), groups)
        self.stem = ConvBnAct(3, channels, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        features: list[nn.Module] = []
        for stage, (base, repeat) in enumerate(zip(CHANNELS[groups], REPEATS, strict=True), 2):
            out = _multiple(base * width, 4 * groups)
            for index in range(repeat):
                features.append(
                    ShuffleUnit(
                        channels,
                        out,
                        stride=2 if index == 0 else 1,
                        groups=groups,
                        first_groups=1 if stage == 2 and index == 0 else groups,
                        shuffle=shuffle,
                    )
                )
                channels = out
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(channels, classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.features(self.pool(self.stem(x)))
        return cast(Tensor, self.classifier(x.mean((2, 3))))


def _multiple(value: float, divisor: int) -> int:
    """Round half up to a multiple of ``divisor``, at least one."""
    return max(1, int(value / divisor + 0.5)) * divisor


def shufflenet_v1(
    classes: int = 1000, width: float = 1.0, groups: int = 3, shuffle: str = "paper"
) -> ShuffleNetV1:
    """Build ShuffleNetV1; 1.866 M parameters and 140 M multiply-adds at 1x, 3 groups, 224x224."""
    return ShuffleNetV1(classes, width, groups, shuffle)
