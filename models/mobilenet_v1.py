"""MobileNetV1 (arXiv 1704.04861).

The resolution multiplier rho is the input size alone: the network takes any. Differs from the
paper in nothing but ReLU6 by default, as in the authors' published models; ReLU on request.
"""

from typing import cast

from torch import Tensor, nn

from edgeconv.models.layers import SLOPE, ConvBnAct, init_weights


class DepthwiseSeparableConv(nn.Sequential):
    """A k x k convolution of each channel alone, then a 1x1 convolution across channels (section 3.1).

    (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride); ``padding`` None is "same".
    Costs 1/out_channels + 1/k^2 of the standard convolution. ``activation`` is relu, relu6,
    leaky_relu (of ``negative_slope``) or None and follows both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        *,
        activation: str | None = "relu6",
        negative_slope: float = SLOPE,
        batch_norm: bool = True,
    ) -> None:
        super().__init__(
            ConvBnAct(  # dw
                in_channels,
                in_channels,
                kernel_size,
                stride=stride,
                padding=padding,
                groups=in_channels,
                activation=activation,
                negative_slope=negative_slope,
                batch_norm=batch_norm,
            ),
            ConvBnAct(  # pw
                in_channels,
                out_channels,
                1,
                activation=activation,
                negative_slope=negative_slope,
                batch_norm=batch_norm,
            ),
        )


# Table 1: output channels c and stride s of each depthwise-separable pair
TABLE = (
    # c, s
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


class MobileNetV1(nn.Module):
    """(N, 3, H, W) pictures to (N, classes) logits; ``width`` is the paper's alpha."""

    def __init__(self, classes: int = 1000, width: float = 1.0, activation: str = "relu6") -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(8, int(channels * width))

        channels = scaled(32)
        features: list[nn.Module] = [ConvBnAct(3, channels, stride=2, activation=activation)]
        for c, s in TABLE:
            # flat, so that each of the 27 convolutions is one entry of `features`
            features += DepthwiseSeparableConv(
                channels, scaled(c), stride=s, activation=activation
            ).children()
            channels = scaled(c)
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(channels, classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return cast(Tensor, self.classifier(self.features(x).mean((2, 3))))


def mobilenet_v1(classes: int = 1000, width: float = 1.0, activation: str = "relu6") -> MobileNetV1:
    """Build MobileNetV1; 4.232 M parameters and 569 M multiply-adds at width 1.0, 224x224."""
    return MobileNetV1(classes, width, activation)
