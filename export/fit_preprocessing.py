"""Which preprocessing a net was trained with: its first batch norm kept the statistics of what it saw.

Given pictures, each usual scaling gives the first batch norm a mean and a variance a channel; the one
that was trained with comes closest to the stored ones. Channel order is judged there too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.demo_files import demo_folder
from edgeconv.export.first_norm import FirstNorm, Moments, module_norm, onnx_norm
from edgeconv.export.options import ExportOptions
from edgeconv.export.source import Source
from edgeconv.pictures import find_pictures, read_picture, resize_and_crop, to_input
from edgeconv.preprocessing import AUTO, NAMED, named, scaling, sentence

if TYPE_CHECKING:
    import onnx
    import torch

Array = NDArray[Any]
PICTURES = 32
CLEAR = 4.0
"""How many times closer another preprocessing must come before the present one is doubted."""
FAR = 0.05
"""Divergence in nats a channel up to which the statistics fit."""


@dataclass(frozen=True)
class Candidate:
    """A usual preprocessing, with channels in BGR order or not, and its divergence in nats a channel."""

    name: str
    swapped: bool
    divergence: float


@dataclass(frozen=True)
class Fit:
    """Every candidate, the closest first, and the divergence of what is done at present."""

    ranked: tuple[Candidate, ...]
    present: float
    pictures: int

    @property
    def better(self) -> Candidate | None:
        """The candidate that fits clearly better than what is done, if one does."""
        best = self.ranked[0]
        return best if self.present > max(FAR, CLEAR * best.divergence) else None

    def __str__(self) -> str:
        if self.better is None:
            return f"the first batch norm's statistics fit, {self.present:.2g} nats off"
        order = " and channels in BGR order" if self.better.swapped else ""
        return (
            f"PREPROCESSING LOOKS WRONG: over {self.pictures} pictures the statistics of the first "
            f"batch norm are {self.present:.2g} nats off, and {self.better.divergence:.2g} with "
            f"{self.better.name}{order}: try --preprocessing {self.better.name}"
        )


def fit_preprocessing(
    module: "torch.nn.Module | None",
    model: "onnx.ModelProto | None",
    how: Preprocessing,
    folder: str | None,
) -> Fit | None:
    """Compare the usual preprocessings on the pictures of ``folder`` by the net's own statistics.

    ``how`` is what is done at present. None where nothing can be judged: no pictures, no batch norm,
    or statistics that no training changed.
    """
    if folder is None or not Path(folder).is_dir() or how.embedded:
        return None
    norm = module_norm(module) if module is not None else onnx_norm(model)
    if norm is None or np.ptp(norm.stored.variance) == 0.0:
        return None
    found = find_pictures(Path(folder))
    count = min(PICTURES, len(found))
    chosen = [found[i * len(found) // count] for i in range(count)]
    pixels = [resize_and_crop(read_picture(path), how.size, how.crop) for path in chosen]
    grey = all((p == p[:, :, :1]).all() for p in pixels)
    plain = [_candidate(norm, pixels, how, name, False) for name in NAMED]
    present = next((c.divergence for c in plain if c.name == named(how)), None)
    if present is None:
        present = _moments(norm, pixels, how, False).divergence(norm.stored)
    closest = min(plain, key=lambda c: c.divergence)
    if norm.channels == 3 and not grey:
        turned = _candidate(norm, pixels, how, closest.name, True)
        # order shows where the scaling is right and the other order is far off, not elsewhere
        if closest.divergence > max(FAR, CLEAR * turned.divergence):
            plain.append(turned)
    return Fit(tuple(sorted(plain, key=lambda c: c.divergence)), present, count)


def settle_preprocessing(
    source: Source, options: ExportOptions, say: Callable[[str], None]
) -> Source:
    """Say how pictures are prepared and what the net's own statistics say to it; settle "auto".

    A better one becomes a note of the source, and ``better`` of it.
    """
    how = source.preprocessing
    assert how is not None
    folder = options.calib or options.verify
    if folder is None and source.bundled:
        folder = str(demo_folder("pictures") / "calibration")
    fit = fit_preprocessing(source.module, source.model, how, folder)
    found = None if fit is None else str(fit)
    if fit is None and options.preprocessing == AUTO:
        found = "the net keeps no statistics that --preprocessing auto could judge by"
    elif fit is not None and options.preprocessing == AUTO:
        best = fit.ranked[0]
        mean, std = scaling(best.name, next(iter(source.shapes.values()))[1])
        how = replace(how, mean=mean, std=std)
        origin = f"found by the first batch norm ({best.divergence:.2g} nats off)"
        source, found = replace(source, preprocessing=how, origin=origin), None
    elif fit is not None and fit.better is not None:
        source = replace(source, better=fit.better.name, notes=(str(fit), *source.notes))
        found = "see the note"
    say(sentence(how, source.origin))
    if found is not None:
        say(found)
    return source


def _candidate(
    norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing, name: str, swapped: bool
) -> Candidate:
    mean, std = scaling(name, norm.channels)
    moments = _moments(norm, pixels, replace(how, mean=mean, std=std), swapped)
    return Candidate(name, swapped, moments.divergence(norm.stored))


def _moments(
    norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing, swapped: bool
) -> Moments:
    sums: Array = np.zeros((2, len(norm.stored.mean)))
    count = 0
    for picture in pixels:
        value = to_input(picture, how, norm.channels)
        seen = norm.run(value[:, ::-1].copy() if swapped else value)
        flat = np.moveaxis(seen, 1, 0).reshape(seen.shape[1], -1).astype(np.float64)
        sums += np.stack([flat.sum(axis=1), np.square(flat).sum(axis=1)])
        count += flat.shape[1]
    mean = sums[0] / count
    return Moments(mean, np.maximum(sums[1] / count - np.square(mean), 0.0))
