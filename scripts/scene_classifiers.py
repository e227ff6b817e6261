"""Classifiers of scenes, one of each family, of a width and a depth."""

import scenes
import torch
from scene_blocks import Attention, ChannelNorm, Gate, Join, Shuffle, Sum, conv
from torch import Tensor, nn

CLASSES = len(scenes.SHAPES)


def classifier(width: int, *body: nn.Module) -> nn.Sequential:
    """Return a body with pooled class scores behind it."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def plain(width: int, depth: int) -> nn.Module:
    """Convolutions and max pools."""
    inner = [conv(width, width) for _ in range(depth)]
    return classifier(
        2 * width,
        conv(3, width),
        nn.MaxPool2d(2),
        *inner,
        conv(width, 2 * width, 3, 2),
        nn.MaxPool2d(2),
    )


def residual(width: int, depth: int) -> nn.Module:
    """Bottlenecks with a sum."""
    blocks = [
        nn.Sequential(Sum(conv(width, width), conv(width, width, act=nn.Identity)), nn.ReLU())
        for _ in range(depth + 1)
    ]
    return classifier(2 * width, conv(3, width, 3, 2), *blocks, conv(width, 2 * width, 3, 2))


def inverted(width: int, depth: int) -> nn.Module:
    """Inverted residuals with ReLU6."""

    def block() -> nn.Module:
        wide = 3 * width
        return Sum(
            conv(width, wide, 1, act=nn.ReLU6),
            conv(wide, wide, 3, 1, wide, nn.ReLU6),
            conv(wide, width, 1, act=nn.Identity),
        )

    return classifier(
        4 * width,
        conv(3, width, 3, 2, act=nn.ReLU6),
        *(block() for _ in range(depth + 1)),
        conv(width, 4 * width, 1, 2, act=nn.ReLU6),
    )


def swish(width: int, depth: int) -> nn.Module:
    """Hard swish with squeeze and excite."""

    def block() -> nn.Module:
        wide = 2 * width
        return Sum(
            conv(width, wide, 1, act=nn.Hardswish),
            conv(wide, wide, 5, 1, wide, nn.Hardswish),
            Gate(wide, nn.Hardsigmoid),
            conv(wide, width, 1, act=nn.Identity),
        )

    return classifier(
        2 * width,
        conv(3, width, 3, 2, act=nn.Hardswish),
        *(block() for _ in range(depth)),
        conv(width, 2 * width, 3, 2, act=nn.Hardswish),
    )


def silu(width: int, depth: int) -> nn.Module:
    """SiLU with sigmoid gates."""
    blocks = [
        Sum(conv(width, width, 3, act=nn.SiLU), Gate(width, nn.Sigmoid)) for _ in range(depth + 1)
    ]
    return classifier(
        2 * width,
        conv(3, width, 3, 2, act=nn.SiLU),
        *blocks,
        conv(width, 2 * width, 3, 2, act=nn.SiLU),
    )


def shuffled(width: int, depth: int) -> nn.Module:
    """Grouped convolutions and channel shuffles."""
    blocks = [
        Sum(
            conv(width, width, 1, 1, 2),
            Shuffle(),
            conv(width, width, 3, 1, width, nn.Identity),
            conv(width, width, 1, 1, 2),
        )
        for _ in range(depth + 1)
    ]
    return classifier(2 * width, conv(3, width, 3, 2), *blocks, conv(width, 2 * width, 3, 2))


def dense(width: int, depth: int) -> nn.Module:
    """Each layer reads all before it."""
    blocks = [Join(nn.Identity(), conv(width + 8 * i, 8)) for i in range(depth + 1)]
    full = width + 8 * (depth + 1)
    return classifier(full, conv(3, width, 3, 2), *blocks, nn.AvgPool2d(2), conv(full, full, 1))


def inception(width: int, depth: int) -> nn.Module:
    """Branches of several kernels and a pool, joined."""

    def block() -> nn.Module:
        half = width // 2
        pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(width, half, 1))
        return nn.Sequential(
            Join(conv(width, half, 1), conv(width, half, 3), pool), conv(3 * half, width, 1)
        )

    return classifier(
        2 * width,
        conv(3, width, 3, 2),
        *(block() for _ in range(depth)),
        conv(width, 2 * width, 3, 2),
    )


def convnext(width: int, depth: int) -> nn.Module:
    """Wide depthwise kernels, LayerNorm, GELU."""

    def block() -> nn.Module:
        return Sum(
            nn.Conv2d(width, width, 7, 1, 3, groups=width),
            ChannelNorm(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 1),
        )

    return classifier(
        width, nn.Conv2d(3, width, 4, 4), ChannelNorm(width), *(block() for _ in range(depth + 1))
    )


class Tokens(nn.Module):
    """Patches, self-attention, a multilayer perceptron."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Sequential(conv(3, width, 3, 2), nn.Conv2d(width, width, 4, 4))
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    Attention(width),
                    Sum(
                        nn.LayerNorm(width),
                        nn.Linear(width, 2 * width),
                        nn.GELU(),
                        nn.Linear(2 * width, width),
                    ),
                )
                for _ in range(depth)
            )
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 8)."""
        y: Tensor = self.head(
            self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.place).mean(1)
        )
        return y
