"""Small nets whose outputs hold other things than class scores, and the loss that teaches each on scenes.

No limit of the verdict was set by any of them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scenes
import torch
from scene_blocks import Gate, Shuffle, Sum, conv
from torch import Tensor, nn
from torch.nn import functional

CLASSES = len(scenes.SHAPES)
GRID = 8
"""Height and width of a body's map."""
Rows = np.ndarray[Any, Any]
Outputs = Any
"""One tensor, or a tuple of them."""
Loss = Callable[[Outputs, scenes.Scenes, Rows], Tensor]


class Body(nn.Sequential):
    """A stem and blocks of a kind that the seed draws: (n, 3, 32, 32) to (n, 2 * width, 8, 8)."""

    def __init__(self, width: int, depth: int) -> None:
        act = (nn.ReLU, nn.SiLU, nn.Hardswish, nn.LeakyReLU)[int(torch.randint(4, ()))]
        wide = 2 * width
        kinds: tuple[Callable[[], nn.Module], ...] = (
            lambda: Sum(conv(wide, wide, act=act), conv(wide, wide, act=nn.Identity)),
            lambda: Sum(
                conv(wide, 2 * wide, 1, act=act),
                conv(2 * wide, 2 * wide, 3, 1, 2 * wide, act),
                conv(2 * wide, wide, 1, act=nn.Identity),
            ),
            lambda: nn.Sequential(conv(wide, wide, act=act), Gate(wide, nn.Sigmoid)),
            lambda: Sum(conv(wide, wide, 1, 1, 2, act), Shuffle(), conv(wide, wide, 3, 1, 2, act)),
        )
        block = kinds[int(torch.randint(len(kinds), ()))]
        stem = conv(3, width, 3, 2, act=act), conv(width, wide, 3, 2, act=act)
        super().__init__(*stem, *(block() for _ in range(depth)))


class Headed(nn.Module):
    """A body, heads of ``vectors`` and ``maps`` numbers a picture or cell, and ``finish`` over what they give."""

    def __init__(
        self,
        size: tuple[int, int],
        finish: Callable[..., Outputs],
        vectors: tuple[int, ...] = (),
        maps: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.body, self.finish = Body(*size), finish
        width = size[0]
        heads = [
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, count))
            for count in vectors
        ]
        heads += [
            nn.Sequential(conv(2 * width, width), nn.Conv2d(width, count, 1)) for count in maps
        ]
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Outputs:
        """Return the outputs."""
        seen = self.body(x)
        return self.finish(*(head(seen) for head in self.heads))


def around_500(y: Tensor) -> Tensor:
    """Return figures that are large and vary little."""
    return 500.0 + 20.0 * y


def softmax_of_pixels(y: Tensor) -> Tensor:
    """Return class probabilities of every pixel."""
    grown = functional.interpolate(y, scale_factor=4, mode="bilinear", align_corners=False)
    return torch.softmax(grown, 1)


def mask(y: Tensor) -> Tensor:
    """Return how probably each pixel is the shape's."""
    return torch.sigmoid(functional.interpolate(y, scale_factor=4, mode="nearest"))


def unit_length(y: Tensor) -> Tensor:
    """Return vectors of length 1."""
    length: Tensor = y.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return y / length


def boxes_and_scores(boxes: Tensor, scores: Tensor) -> Outputs:
    """Return a box and class probabilities of each cell, as SSD has them."""
    return boxes.flatten(2).transpose(1, 2), torch.sigmoid(scores.flatten(2).transpose(1, 2))


def with_constant(scores: Tensor) -> Outputs:
    """Return scores and the cells' places, which are the same for every picture."""
    places = torch.arange(GRID, dtype=torch.float32) * 4.0 + 2.0
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).reshape(1, -1, 2)
    return scores, grid


def three(scores: Tensor, place: Tensor, seen: Tensor) -> Outputs:
    """Return classes, figures and a mask."""
    return scores, around_500(place), mask(seen)


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "regressor": lambda *size: Headed(size, around_500, (4,)),
    "tagger": lambda *size: Headed(size, torch.sigmoid, (2 * CLASSES,)),
    "softmaxed": lambda *size: Headed(size, lambda y: torch.softmax(y, 1), (CLASSES,)),
    "pixel_classes": lambda *size: Headed(size, softmax_of_pixels, (), (CLASSES + 1,)),
    "boxes_and_scores": lambda *size: Headed(size, boxes_and_scores, (), (4, CLASSES)),
    "embedding": lambda *size: Headed(size, unit_length, (16,)),
    "heatmap": lambda *size: Headed(size, torch.sigmoid, (), (1,)),
    "mask": lambda *size: Headed(size, mask, (), (1,)),
    "with_constant": lambda *size: Headed(size, with_constant, (CLASSES,)),
    "three_heads": lambda *size: Headed(size, three, (CLASSES, 4), (1,)),
}
"""Kind -> what makes one of a width and a depth."""


def _shapes(data: scenes.Scenes, rows: Rows) -> Tensor:
    return torch.from_numpy(data.shapes[rows])


def _masks(data: scenes.Scenes, rows: Rows) -> Tensor:
    return torch.from_numpy(data.masks[rows])[:, None]


def _tags(data: scenes.Scenes, rows: Rows) -> Tensor:
    both = (torch.from_numpy(kinds[rows]) for kinds in (data.shapes, data.colours))
    return torch.cat([functional.one_hot(kinds, CLASSES).float() for kinds in both], 1)


def _cells(data: scenes.Scenes, rows: Rows) -> Tensor:
    """Return (n, 1, 8, 8): one where a shape's centre is, less around it."""
    centres = torch.from_numpy(data.boxes[rows, :2]) / 4.0 - 0.5
    far = (torch.arange(GRID)[None, None] - centres[:, :, None]) ** 2  # (n, x and y, cells)
    return torch.exp(-(far[:, 1, :, None] + far[:, 0, None]) / 2.0)[:, None]


def _classes(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    return functional.cross_entropy(y, _shapes(data, rows))


def _numbers(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    place = torch.from_numpy(data.boxes[rows]) / 16.0 - 1.0
    return functional.smooth_l1_loss((y - 500.0) / 20.0, place)


def _pixels(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    kinds = _masks(data, rows)[:, 0].long() * (_shapes(data, rows)[:, None, None] + 1)
    return functional.nll_loss(torch.log(y + 1e-6), kinds)


def _at_cells(outputs: Outputs, data: scenes.Scenes, rows: Rows) -> Tensor:
    cells = _cells(data, rows).flatten(1).argmax(1)
    boxes, scores = (output[torch.arange(len(rows)), cells] for output in outputs)
    kinds = functional.one_hot(_shapes(data, rows), CLASSES).float()
    off = functional.smooth_l1_loss(boxes, torch.from_numpy(data.boxes[rows]))
    return functional.binary_cross_entropy(scores, kinds) + off / 8.0


def _near_anchors(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    anchors = torch.randn(CLASSES, 16, generator=torch.Generator().manual_seed(0))
    return functional.cross_entropy(8.0 * y @ unit_length(anchors).T, _shapes(data, rows))


def _likelihood(y: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy(y, wanted)


LOSSES: Mapping[str, Loss] = {
    "regressor": _numbers,
    "tagger": lambda y, *what: _likelihood(y, _tags(*what)),
    "softmaxed": lambda y, *what: functional.nll_loss(torch.log(y + 1e-6), _shapes(*what)),
    "pixel_classes": _pixels,
    "boxes_and_scores": _at_cells,
    "embedding": _near_anchors,
    "heatmap": lambda y, *what: _likelihood(y, _cells(*what)),
    "mask": lambda y, *what: _likelihood(y, _masks(*what)),
    "with_constant": lambda y, *what: _classes(y[0], *what),
    "three_heads": lambda y, *what: (
        _classes(y[0], *what) + _numbers(y[1], *what) + _likelihood(y[2], _masks(*what))
    ),
}
"""Kind -> the loss of its outputs over some rows of scenes."""
