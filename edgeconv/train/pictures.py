"""A folder of labelled pictures as bytes in memory, split, and augmented batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.machine import ROOT, meminfo_mib
from edgeconv.pictures import find_pictures, picture_names, read_picture, resize_and_crop
from edgeconv.train.options import AUGMENTATIONS
from edgeconv.truth import class_folders

MARGIN = 16
"""A training picture shows size / MARGIN pixels more on each side than the input, so that a crop can move.

At the input's own scale: a net that learns on larger things than it is shown later loses a point.
"""


@dataclass(frozen=True)
class Labelled:
    """Files and the class of each (N,) by its place in ``names``."""

    paths: tuple[Path, ...]
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def take(self, places: Sequence[int]) -> "Labelled":
        """Return those at ``places``."""
        chosen = np.asarray(places, np.int64)
        return Labelled(tuple(self.paths[i] for i in chosen), self.classes[chosen], self.names)


def find_labelled(folder: Path, names: Sequence[str] | None = None) -> Labelled:
    """Return the pictures of ``folder``, one folder below it a class, sorted.

    ``names`` are the classes that are known already. Raises UsageError or EdgeconvError saying how
    the pictures should lie.
    """
    found = class_folders(folder)
    if found is None:
        astray = next((name for name in picture_names(folder) if name.count("/") != 1), None)
        why = "there is one folder" if astray is None else f"{astray} lies in none, or deeper"
        raise UsageError(
            f"{folder}: put the pictures of each class, two at least, into a folder of its own, "
            f"{folder.name}/cat/1.jpg and {folder.name}/dog/1.jpg: {why}"
        )
    known = tuple(found if names is None else names)
    strange = sorted(set(found) - set(known))
    if strange:
        raise UsageError(f"{folder}: {strange[0]} is no class of the pictures that are learnt")
    paths = tuple(find_pictures(folder))
    classes = np.array([known.index(path.parent.name) for path in paths], np.int64)
    return Labelled(paths, classes, known)


def split(all_of_them: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return what is learnt and what is held out: ``share`` of every class, one picture at least.

    Raises EdgeconvError naming a class of one picture.
    """
    generator = np.random.default_rng(seed)
    learnt: list[int] = []
    held: list[int] = []
    for index, name in enumerate(all_of_them.names):
        places = np.flatnonzero(all_of_them.classes == index)
        if len(places) < 2:
            raise EdgeconvError(
                f"class {name} has {len(places)} picture: at least 2 are needed, one of them held out"
            )
        count = min(max(1, round(share * len(places))), len(places) - 1)
        chosen = set(generator.permutation(places)[:count].tolist())
        held += sorted(chosen)
        learnt += [place for place in places.tolist() if place not in chosen]
    return all_of_them.take(learnt), all_of_them.take(held)


def load(labelled: Labelled, how: Preprocessing, *, margin: bool) -> Tensor:
    """Return pictures (N, 3, S, S) uint8, with ``margin`` by what a crop may move more on each side.

    Raises EdgeconvError naming a file that is no picture, or where memory does not suffice.
    """
    more = -(-how.size[0] // MARGIN) if margin else 0
    edge = how.size[0] + 2 * more
    needed, free = len(labelled.paths) * edge * edge * 3 >> 20, meminfo_mib(ROOT, "MemAvailable")
    if free is not None and needed > free:
        raise EdgeconvError(
            f"{len(labelled.paths)} pictures of {edge}x{edge} need {needed} MiB and only {free} MiB of "
            "memory are free: give a smaller --resolution or fewer pictures"
        )
    made = np.empty((len(labelled.paths), 3, edge, edge), np.uint8)
    for place, path in enumerate(labelled.paths):
        pixels = resize_and_crop(read_picture(path), how.size, how.crop, more)
        made[place] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(made)


def to_input(pixels: Tensor, how: Preprocessing) -> Tensor:
    """Turn (N, 3, H, W) bytes, or floats of 0..255, into what the net takes, channels last."""
    mean, std = (torch.tensor(v, device=pixels.device).view(-1, 1, 1) for v in (how.mean, how.std))
    made = (pixels.float() / 255 - mean) / std
    return made.contiguous(memory_format=torch.channels_last)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the places of whole batches in a new order; what is left over waits for the next epoch."""
    order = torch.randperm(count, generator=generator)
    size = min(size, count)
    yield from order[: count // size * size].view(-1, size)


def augmented(
    pixels: Tensor,
    edge: int,
    kind: str,
    generator: torch.Generator,
    place: torch.device | None = None,
) -> Tensor:
    """Return (N, 3, edge, edge) floats of 0..255 from (N, 3, S, S) bytes, varied as ``kind`` says.

    They lie on ``place``; what chance says is drawn on the processor, the same for every place.
    """
    count, room = len(pixels), pixels.shape[2] - edge
    level = AUGMENTATIONS.index(kind)
    corner = torch.full((count, 2), room // 2)
    if level >= 1:
        corner = torch.randint(0, room + 1, (count, 2), generator=generator)
    there = pixels.to(place or pixels.device)
    made = moved(there, corner, edge, at_once=there.device.type != "cpu").float()
    if level >= 2:
        mirrored = torch.rand(count, generator=generator) < 0.5
        made = torch.where(mirrored.view(-1, 1, 1, 1).to(made.device), made.flip(3), made)
    if level >= 3:
        contrast = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
        brighter = 25 * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
        contrast, brighter = contrast.to(made.device), brighter.to(made.device)
        made = ((made - 127.5) * contrast + 127.5 + brighter).clamp(0, 255)
    return made


def moved(pixels: Tensor, corner: Tensor, edge: int, *, at_once: bool) -> Tensor:
    """Return the (N, C, edge, edge) parts of (N, C, S, S) whose top and left are ``corner`` (N, 2).

    ``at_once`` is one kernel, as a GPU wants it; a processor copies rows faster.
    """
    if not at_once:
        places = zip(pixels, corner.tolist(), strict=True)
        return torch.stack([p[:, t : t + edge, left : left + edge] for p, (t, left) in places])
    top, left = corner.to(pixels.device).unbind(1)
    windows = pixels.unfold(2, edge, 1).unfold(3, edge, 1)
    return windows[torch.arange(len(pixels), device=pixels.device), :, top, left]
