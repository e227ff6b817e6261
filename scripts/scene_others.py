"""Nets of tasks that neither classify nor detect, on bodies of other shapes, and the loss that teaches each on scenes.

No limit of the verdict was set by any of them.
"""

from collections.abc import Callable, Mapping

import scenes
import torch
from scene_blocks import Join, Sum, conv
from scene_heads import Loss, Rows
from torch import Tensor, nn
from torch.nn import functional

CLASSES = len(scenes.SHAPES)
SIZE = scenes.SIZE


def vgg(width: int, depth: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return convolutions of five and three with batch norm: (n, 3, 32, 32) to (n, 4 * width, 4, 4)."""
    deep = [Sum(conv(4 * width, 4 * width, 3, 1, 4, act)) for _ in range(depth)]
    return nn.Sequential(
        conv(3, width, 5, 2, act=act),
        conv(width, 2 * width, 3, 2, act=act),
        nn.Conv2d(2 * width, 4 * width, 2, 2),
        *deep,
    )


def pooled(width: int, depth: int, count: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return ``count`` figures of the whole picture, (n, count)."""
    body = vgg(width, depth, act)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, count))


def flattened(width: int, depth: int, count: int) -> nn.Sequential:
    """Return the same by a hidden layer over every place of the map."""
    return nn.Sequential(
        vgg(width, depth, nn.ELU),
        nn.Flatten(),
        nn.Linear(64 * width, 4 * width),
        nn.Tanh(),
        nn.Linear(4 * width, count),
    )


class Enhancer(nn.Module):
    """A picture of twice the size, or one without noise: what a body adds to it."""

    def __init__(self, width: int, depth: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        inner = (Sum(conv(width, width, act=nn.PReLU)) for _ in range(depth + 1))
        last = nn.Conv2d(width, 3 * factor * factor, 3, padding=1)
        self.body = nn.Sequential(conv(3, width), *inner, last, nn.PixelShuffle(factor))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 3, factor * 32, factor * 32)."""
        base = x
        if self.factor > 1:
            base = functional.interpolate(
                x, scale_factor=self.factor, mode="bilinear", align_corners=False
            )
        y: Tensor = base + self.body(x)
        return y


class Pyramid(nn.Module):
    """Dilated branches over a map, joined and grown: ``count`` channels for each pixel."""

    def __init__(self, width: int, depth: int, count: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, width, 3, 2), *(conv(width, width) for _ in range(depth)))
        wide = [nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in (1, 2, 4)]
        self.join, self.last = Join(*wide), nn.Conv2d(3 * width, count, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, count, 32, 32)."""
        y = self.last(functional.leaky_relu(self.join(self.stem(x)), 0.1))
        return functional.interpolate(y, size=(SIZE, SIZE), mode="bilinear", align_corners=True)


class Sound(nn.Module):
    """The picture's rows as channels of a signal in time: class scores by convolutions of one axis."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv1d(3 * SIZE, 2 * width, 5, 2, 2),
            nn.BatchNorm1d(2 * width),
        ]
        for step in range(depth + 1):
            layers += [
                nn.ReLU(),
                nn.Conv1d(2 * width, 2 * width, 3, padding=2**step, dilation=2**step),
            ]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten())
        self.last = nn.Linear(2 * width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities of the shape's class, (n, 8)."""
        y: Tensor = torch.log_softmax(self.last(self.body(x.flatten(1, 2))), 1)
        return y


class Depth(nn.Module):
    """How far each pixel is, 2 and more."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.inner = Pyramid(width, depth, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 1, 32, 32)."""
        y: Tensor = 2.0 + 8.0 * functional.softplus(self.inner(x))
        return y


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "raw_embedding": lambda width, depth: pooled(width, depth, 48, nn.Hardswish),
    "features": lambda width, depth: nn.Sequential(pooled(width, depth, 64), nn.ReLU()),
    "keypoints": lambda width, depth: nn.Sequential(flattened(width, depth, 8), nn.Sigmoid()),
    "corners": lambda width, depth: pooled(width, depth, 4, nn.SiLU),
    "count": lambda width, depth: flattened(width, depth, 1),
    "super_resolution": lambda width, depth: Enhancer(width, depth, 2),
    "denoiser": lambda width, depth: Enhancer(width, depth, 1),
    "atrous": lambda width, depth: Pyramid(width, depth, CLASSES + 1),
    "depth_map": Depth,
    "sound": Sound,
}
"""Kind -> what makes one of a width and a depth."""


def _near_centres(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    """Each shape has a centre, and a picture is told by the nearest."""
    draw = torch.Generator().manual_seed(0)
    centres = 2.0 * torch.rand(CLASSES, y.shape[1], generator=draw)
    far = torch.cdist(y, centres) ** 2 / y.shape[1] ** 0.5
    return functional.cross_entropy(-far, torch.from_numpy(data.shapes[rows]))


def _corners(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    boxes = torch.from_numpy(data.boxes[rows])
    middle, size = boxes[:, :2], boxes[:, 2:]
    return functional.smooth_l1_loss(y, torch.cat([middle - size / 2, middle + size / 2], 1))


def _keypoints(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    boxes = torch.from_numpy(data.boxes[rows]) / SIZE
    middle, size = boxes[:, :2], boxes[:, 2:]
    signs = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return functional.mse_loss(y, (middle[:, None] + signs * size[:, None] / 2).flatten(1))


def _pictures(data: scenes.Scenes, rows: Rows) -> Tensor:
    return torch.from_numpy(data.pictures[rows])


def _masks(data: scenes.Scenes, rows: Rows) -> Tensor:
    return torch.from_numpy(data.masks[rows])


def _enhanced(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    """The seen picture's local mean: what a smooth picture of any size looks like."""
    smooth = functional.avg_pool2d(_pictures(data, rows), 3, 1, 1, count_include_pad=False)
    return functional.mse_loss(y, functional.interpolate(smooth, size=y.shape[2:], mode="bilinear"))


def _pixels(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    kinds = _masks(data, rows).long() * (torch.from_numpy(data.shapes[rows])[:, None, None] + 1)
    return functional.cross_entropy(y, kinds)


def _far(y: Tensor, data: scenes.Scenes, rows: Rows) -> Tensor:
    size = torch.from_numpy(data.boxes[rows, 2:]).mean(1)[:, None, None]
    return functional.l1_loss(y[:, 0], 12.0 - _masks(data, rows) * size / 2)


LOSSES: Mapping[str, Loss] = {
    "raw_embedding": _near_centres,
    "features": _near_centres,
    "keypoints": _keypoints,
    "corners": _corners,
    "count": lambda y, data, rows: functional.mse_loss(
        y[:, 0], torch.from_numpy(data.masks[rows]).sum((1, 2)) / 100.0
    ),
    "super_resolution": _enhanced,
    "denoiser": _enhanced,
    "atrous": _pixels,
    "depth_map": _far,
    "sound": lambda y, data, rows: functional.nll_loss(y, torch.from_numpy(data.shapes[rows])),
}
"""Kind -> the loss of its outputs over some rows of scenes."""
