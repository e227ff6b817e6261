"""MobileNetV2 (arXiv 1801.04381). The keys of its state dict are torchvision's."""

from typing import cast

from torch import Tensor, nn

from edgeconv.models.layers import ConvBnAct, init_weights, make_divisible


class InvertedResidual(nn.Module):
    """Widen by ``expansion``, filter each channel, project back linearly (section 3.3).

    (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride); the input is added where both
    shapes agree.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expansion: int = 6,
        activation: str = "relu6",
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvBnAct(in_channels, hidden, 1, activation=activation))
        layers += [
            ConvBnAct(hidden, hidden, stride=stride, groups=hidden, activation=activation),
            *ConvBnAct(hidden, out_channels, 1, activation=None).children(),
        ]
        self.conv = nn.Sequential(*layers)
        self.use_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = cast(Tensor, self.conv(x))
        return x + y if self.use_residual else y


# Table 2. The paper's 64-channel stage has stride 2 and the 96-channel one stride 1.
TABLE = (
    # t, c, n, s
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """(N, 3, H, W) pictures to (N, classes) logits; the last layer never shrinks below 1280."""

    def __init__(self, classes: int = 1000, width: float = 1.0, activation: str = "relu6") -> None:
        super().__init__()
        channels = make_divisible(32 * width)
        features: list[nn.Module] = [ConvBnAct(3, channels, stride=2, activation=activation)]
        for t, c, n, s in TABLE:
            for index in range(n):
                out = make_divisible(c * width)
                features.append(
                    InvertedResidual(
                        channels,
                        out,
                        stride=s if index == 0 else 1,
                        expansion=t,
                        activation=activation,
                    )
                )
                channels = out
        last = make_divisible(1280 * max(1.0, width))
        features.append(ConvBnAct(channels, last, 1, activation=activation))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return cast(Tensor, self.classifier(self.features(x).mean((2, 3))))


def mobilenet_v2(classes: int = 1000, width: float = 1.0, activation: str = "relu6") -> MobileNetV2:
    """Build MobileNetV2; 3.505 M parameters and 300 M multiply-adds at width 1.0, 224x224."""
    return MobileNetV2(classes, width, activation)
