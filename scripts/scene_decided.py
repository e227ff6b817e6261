"""Small nets that decide or decode inside the graph: labels, indices, counts and boxes, and the loss that teaches each on scenes.

No limit of the verdict's real-valued figures was set by any of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import scenes
import torch
from scene_blocks import conv
from scene_heads import Body, Loss, Outputs, Rows
from torch import Tensor, nn
from torch.nn import functional

CLASSES = len(scenes.SHAPES)
SIZE = scenes.SIZE
STRIDES = (4, 8)
STEPS = torch.arange(6.0) * 3.0 + 8.0
"""Widths in pixels that an ordinal answer counts."""


class Decided(nn.Module):
    """A net that gives what its loss needs while it learns, and ``decide`` of that afterwards."""

    def __init__(self, net: nn.Module, decide: Callable[[Tensor], Outputs]) -> None:
        super().__init__()
        self.net, self.decide = net, decide

    def forward(self, x: Tensor) -> Outputs:
        """Return scores while training, else what is decided by them."""
        scores = self.net(x)
        return scores if self.training else self.decide(scores)


class Levels(nn.Module):
    """A box and class scores of each cell of two maps: raw, or decoded to pixels and joined as YOLO's are."""

    def __init__(self, width: int, depth: int, *, raw: bool) -> None:
        super().__init__()
        self.body, self.raw = Body(width, depth), raw
        self.down = conv(2 * width, 2 * width, 3, 2)
        self.heads = nn.ModuleList(
            nn.Sequential(conv(2 * width, width), nn.Conv2d(width, 4 + CLASSES, 1)) for _ in STRIDES
        )

    def forward(self, x: Tensor) -> Outputs:
        """Return (n, 12, 8, 8) and (n, 12, 4, 4), or (n, 12, 80): centre, size and scores of each cell."""
        near = self.body(x)
        maps = [head(seen) for head, seen in zip(self.heads, (near, self.down(near)), strict=True)]
        if self.raw:
            return tuple(maps)
        return torch.cat([decoded(y, s) for y, s in zip(maps, STRIDES, strict=True)], 2)


def decoded(y: Tensor, stride: int) -> Tensor:
    """Return a map's centres and sizes in pixels, and its probabilities, (n, 12, cells)."""
    count = SIZE // stride
    places = torch.arange(count, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy")).flatten(1)
    flat = y.flatten(2)
    centre = (torch.sigmoid(flat[:, :2]) * 2.0 - 0.5 + grid) * stride
    size = torch.exp(flat[:, 2:4]) * stride
    return torch.cat([centre, size, torch.sigmoid(flat[:, 4:])], 1)


def segmenter(width: int, depth: int) -> nn.Module:
    """Return class scores of each pixel, (n, 9, 32, 32)."""
    last = nn.Conv2d(2 * width, CLASSES + 1, 1)
    grown = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
    return nn.Sequential(Body(width, depth), conv(2 * width, 2 * width), last, grown)


def classifier(width: int, depth: int, count: int) -> nn.Module:
    """Return ``count`` scores a picture."""
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(Body(width, depth), pool, nn.Flatten(), nn.Linear(2 * width, count))


def windows(width: int, depth: int) -> nn.Module:
    """Return scores behind padded mean pooling, dilated groups, a wide layer and a flattened map."""
    relus = (
        nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2, groups=4),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
    )
    return nn.Sequential(
        conv(3, width),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        conv(width, 2 * width, 3, 2),
        *(relus * depth),
        conv(2 * width, 256, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.Flatten(),
        nn.Linear(256 * 16, CLASSES),
    )


def counted(y: Tensor) -> Tensor:
    """Return how many pixels each class has, (n, 9)."""
    best = y.argmax(1)
    return torch.stack([(best == k).sum((1, 2)) for k in range(CLASSES + 1)], 1)


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "levels": lambda *size: Levels(*size, raw=False),
    "raw_levels": lambda *size: Levels(*size, raw=True),
    "labelled_pixels": lambda *size: Decided(segmenter(*size), lambda y: y.argmax(1)),
    "pixel_counts": lambda *size: Decided(segmenter(*size), counted),
    "label": lambda width, depth: Decided(
        classifier(width, depth, CLASSES**2), lambda y: y.argmax(1)
    ),
    "best_three": lambda width, depth: Decided(
        classifier(width, depth, CLASSES**2), lambda y: torch.topk(y, 3, 1)
    ),
    "ordinal": lambda width, depth: nn.Sequential(
        classifier(width, depth, len(STEPS)), nn.Sigmoid()
    ),
    "pairs": lambda width, depth: classifier(width, depth, CLASSES**2),
    "windows": windows,
}
"""Kind -> what makes one of a width and a depth."""


def _pair(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    return functional.cross_entropy(
        y, torch.from_numpy(data.shapes[rows] * CLASSES + data.colours[rows])
    )


def _pixels(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    kinds = torch.from_numpy(data.shapes[rows])[:, None, None] + 1
    return functional.cross_entropy(y, torch.from_numpy(data.masks[rows]).long() * kinds)


def _at_cell(y: Tensor, stride: int, data: scenes.Scenes, rows: Rows) -> Tensor:
    boxes = torch.from_numpy(data.boxes[rows])
    cell = (boxes[:, :2] / stride).long().clamp(0, SIZE // stride - 1)
    place = cell[:, 1] * (SIZE // stride) + cell[:, 0]
    own = y.transpose(1, 2)[torch.arange(len(rows)), place, :4]
    wanted = torch.zeros_like(y[:, 4:])
    wanted[torch.arange(len(rows)), torch.from_numpy(data.shapes[rows]), place] = 1.0
    found = functional.binary_cross_entropy(y[:, 4:].clamp(1e-6, 1 - 1e-6), wanted)
    return 4.0 * found + functional.smooth_l1_loss(own, boxes) / 8.0


def _levels(y: Any, data: scenes.Scenes, rows: Rows) -> Tensor:
    if isinstance(y, Tensor):
        cells = [(SIZE // s) ** 2 for s in STRIDES]
        maps = torch.split(y, cells, 2)
    else:
        maps = tuple(decoded(each, s) for each, s in zip(y, STRIDES, strict=True))
    near, far = (_at_cell(each, s, data, rows) for each, s in zip(maps, STRIDES, strict=True))
    return near + far


def _ordinal(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    wide = torch.from_numpy(data.boxes[rows, 2:3])
    return functional.binary_cross_entropy(y, (wide > STEPS).float())


LOSSES: Mapping[str, Loss] = {
    "levels": _levels,
    "raw_levels": _levels,
    "labelled_pixels": _pixels,
    "pixel_counts": _pixels,
    "label": _pair,
    "best_three": _pair,
    "ordinal": _ordinal,
    "pairs": _pair,
}
"""Kind -> the loss of its outputs over some rows of scenes."""
