"""What the four papers share: channel rounding, activations, convolution + batch norm + activation."""

from torch import nn

from edgeconv.errors import UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
}


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round ``value`` to the nearest multiple of ``divisor``, never below it nor under 0.9 of ``value``.

    The rule of the MobileNet and GhostNet reference code for widths other than 1.

    >>> make_divisible(24 * 0.35), make_divisible(16 * 1.3, 4)
    (8, 20)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


SLOPE = 0.01  # torch's own for LeakyReLU


def activation_layer(name: str, negative_slope: float = SLOPE) -> nn.Module:
    """Return the activation called ``name``: relu, relu6 or leaky_relu (of ``negative_slope``).

    Raises UsageError listing the names for any other.
    """
    if name not in ACTIVATIONS:
        raise UsageError(f"unknown activation {name!r}: choose one of {', '.join(ACTIVATIONS)}")
    if name == "leaky_relu":
        return nn.LeakyReLU(negative_slope, inplace=True)
    return ACTIVATIONS[name](inplace=True)


def grouped_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    groups: int,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = False,
) -> nn.Conv2d:
    """Return a convolution whose channels are split into ``groups`` independent parts.

    (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride): ``padding`` None is "same",
    kernel_size // 2. It has 1/groups of the
    parameters and multiply-adds of the standard convolution.
    Raises UsageError where ``groups`` does not divide both channel counts.
    """
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise UsageError(
            f"groups={groups} must divide both {in_channels} input and {out_channels} output channels"
        )
    around = kernel_size // 2 if padding is None else padding
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, around, groups=groups, bias=bias
    )


class ConvBnAct(nn.Sequential):
    """Convolution without bias, batch norm, activation (None: linear), as children 0, 1 and 2.

    (N, in_channels, H, W) to (N, out_channels, H/stride, W/stride), "same" padding unless given.
    ``negative_slope`` is that of leaky_relu.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        activation: str | None = "relu",
        negative_slope: float = SLOPE,
        batch_norm: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            grouped_conv(
                in_channels,
                out_channels,
                kernel_size,
                groups=groups,
                stride=stride,
                padding=padding,
            )
        ]
        if batch_norm:
            layers.append(nn.BatchNorm2d(out_channels))
        if activation is not None:
            layers.append(activation_layer(activation, negative_slope))
        super().__init__(*layers)


def init_weights(net: nn.Module) -> None:
    """Set the usual starting point in place: He normal convolutions, unit batch norms, small heads.

    A net on the meta device has no values; torch would import its compiler to draw none.
    """
    if any(parameter.is_meta for parameter in net.parameters()):
        return
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
