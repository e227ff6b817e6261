"""Nets of scenes that segment, detect, or answer two questions, of a width and a depth."""

import scenes
import torch
from scene_blocks import Sum, conv
from torch import Tensor, nn
from torch.nn import functional

CLASSES = len(scenes.SHAPES)


class UNet(nn.Module):
    """Down, up, joined: class scores for each pixel, upsampled by interpolation."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = conv(3, width)
        self.down = nn.Sequential(
            conv(width, 2 * width, 3, 2),
            *(conv(2 * width, 2 * width) for _ in range(depth)),
            conv(2 * width, 2 * width, 3, 2),
        )
        self.mix, self.last = conv(3 * width, width), nn.Conv2d(width, CLASSES + 1, 1)
        self.mode = "bilinear" if depth == 1 else "nearest"

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 9, 32, 32)."""
        near = self.first(x)
        corners = False if self.mode == "bilinear" else None
        far = functional.interpolate(
            self.down(near), scale_factor=4, mode=self.mode, align_corners=corners
        )
        y: Tensor = self.last(self.mix(torch.cat([near, far], 1)))
        return y


class Deconvolved(nn.Module):
    """Class scores for each pixel by transposed convolutions."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, width),
            conv(width, 2 * width, 3, 2),
            *(conv(2 * width, 2 * width) for _ in range(depth)),
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 2, 2),
            nn.ReLU(),
            nn.Conv2d(width, CLASSES + 1, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 9, 32, 32)."""
        y: Tensor = self.up(self.body(x))
        return y


class Detector(nn.Module):
    """Boxes in pixels and class scores on a grid: two outputs, or one that joins them."""

    def __init__(self, width: int, depth: int, *, joined: bool) -> None:
        super().__init__()
        act = nn.LeakyReLU
        self.body = nn.Sequential(
            conv(3, width, 3, 2, act=act),
            conv(width, 2 * width, 3, 2, act=act),
            *(Sum(conv(2 * width, 2 * width, act=act)) for _ in range(depth)),
            conv(2 * width, 2 * width, 3, 2, act=act),
        )
        last = nn.Conv2d(width, 4, 1)
        self.boxes = nn.Sequential(conv(2 * width, width), last)
        self.scores = nn.Sequential(conv(2 * width, width), nn.Conv2d(width, CLASSES, 1))
        self.joined = joined
        with torch.no_grad():
            last.bias = nn.Parameter(
                torch.full((4,), 12.0)
            )  # pixels: the middle of a picture is not 0

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return boxes (n, 4, 16) and scores (n, 8, 16), or both in one."""
        seen = self.body(x)
        boxes, scores = self.boxes(seen).flatten(2), self.scores(seen).flatten(2)
        return torch.cat([boxes, scores], 1) if self.joined else (boxes, scores)


class Twins(nn.Module):
    """Two outputs of one shape: the shape's class and the colour's."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, width, 3, 2),
            *(Sum(conv(width, width)) for _ in range(depth)),
            conv(width, 2 * width, 3, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.shape, self.colour = nn.Linear(2 * width, CLASSES), nn.Linear(2 * width, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores of shape and colour, (n, 8) each."""
        seen = self.body(x)
        return self.shape(seen), self.colour(seen)
