"""More pictures from few: crops, mirror images, colours and mixtures, for a teacher that needs no labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from edgeconv.export.graph import Graph
from edgeconv.export.quant.observe import Feeds

SMALLEST = 8
"""Sides of pictures, at least."""
NARROWEST = 0.6
"""Least side of a crop, as a share of the picture's."""
PLAIN, MIRRORED, COLOURED, MIXED = 0.25, 0.5, 0.7, 0.25
"""Shares of views that keep the whole picture, are mirrored, have other colours, are mixed with another."""


@dataclass(frozen=True)
class Views:
    """Samples of each input: ``held`` (n, ...) by name, of which ``order`` says the places.

    ``light`` is (black, span) of pictures that are held as bytes.
    """

    held: Mapping[str, torch.Tensor]
    order: NDArray[np.int64]
    light: tuple[torch.Tensor, torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def pick(self, places: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """Return the samples at these places, name -> (places, ...)."""
        found = {name: value[self.order[places]] for name, value in self.held.items()}
        if self.light is None:
            return found
        black, span = self.light
        return {name: value.float() / 255 * span + black for name, value in found.items()}


def views(graph: Graph, feeds: Feeds, count: int, generator: np.random.Generator) -> Views:
    """Return ``count`` samples: changed pictures, or what there is, repeated.

    Only a net whose one input is a picture (1, 1 or 3, height, width) gets changed ones.
    """
    order = _order(len(feeds), count, generator)
    held = {
        name: torch.cat([torch.from_numpy(np.array(feed[name])) for feed in feeds])
        for name in graph.inputs
    }
    if not _takes_picture(graph):
        return Views(held, order)
    ((name, whole),) = held.items()
    black = whole.amin((0, 2, 3), keepdim=True)
    span = (whole.amax((0, 2, 3), keepdim=True) - black).clamp(min=1e-6)
    light = (whole - black) / span
    bytes_ = torch.cat([_bytes(_changed(light, place, generator)) for place in order])
    return Views({name: bytes_}, np.arange(count), (black, span))


def _takes_picture(graph: Graph) -> bool:
    shape = graph.shape(graph.inputs[0])
    return (
        len(graph.inputs) == 1
        and len(shape) == 4
        and shape[:2] in ((1, 1), (1, 3))
        and min(shape[2:]) >= SMALLEST
    )


def _bytes(light: torch.Tensor) -> torch.Tensor:
    return (light.clamp(0, 1) * 255).round().to(torch.uint8)


def _changed(light: torch.Tensor, place: int, generator: np.random.Generator) -> torch.Tensor:
    """Return a view of one of the pictures (n, C, H, W) of values 0..1, mixed with another or not."""
    made = _view(light[place : place + 1], generator)
    if generator.random() >= MIXED:
        return made
    share, other = generator.beta(0.4, 0.4), int(generator.integers(len(light)))
    return share * made + (1 - share) * _view(light[other : other + 1], generator)


def _order(pictures: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    rounds = [generator.permutation(pictures) for _ in range(-(-count // pictures))]
    return np.concatenate(rounds)[:count]


def _view(picture: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Change one picture (1, C, H, W) of values 0..1."""
    if generator.random() >= PLAIN:
        picture = _crop(picture, generator)
    if generator.random() < MIRRORED:
        picture = picture.flip(3)
    if generator.random() < COLOURED:
        picture = _recolour(picture, generator)
    return picture


def _crop(picture: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    size = tuple(picture.shape[2:])
    share, stretch = generator.uniform(NARROWEST, 1.0), np.exp(generator.uniform(-0.2, 0.2))
    sides = [
        max(2, min(full, round(full * share * factor)))
        for full, factor in zip(size, (stretch, 1 / stretch), strict=True)
    ]
    top, left = (
        int(generator.integers(0, full - side + 1)) for full, side in zip(size, sides, strict=True)
    )
    part = picture[:, :, top : top + sides[0], left : left + sides[1]]
    return functional.interpolate(part, size, mode="bilinear", align_corners=False)


def _recolour(picture: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    grey = picture.mean(1, keepdim=True)
    picture = grey + (picture - grey) * generator.uniform(0.6, 1.4)
    mean = picture.mean()
    picture = (mean + (picture - mean) * generator.uniform(0.7, 1.3)) * generator.uniform(
        0.75, 1.25
    )
    tint = generator.uniform(0.95, 1.05, picture.shape[1]).astype(np.float32)
    return picture * torch.from_numpy(tint).reshape(1, -1, 1, 1)
