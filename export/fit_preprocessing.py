"""Which preprocessing a net was trained with: its first batch norm kept the statistics of what it saw.

Given pictures, each usual scaling gives the first batch norm a mean and a variance a channel; the one
that was trained with comes closest to the stored ones. Channel order is judged there too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Order, Preprocessing
from edgeconv.export import channel_order
from edgeconv.export.first_norm import (
    FAR,
    FirstNorm,
    module_norm,
    moments,
    onnx_norm,
    surely_better,
)
from edgeconv.pictures import find_pictures, read_picture, resize_and_crop
from edgeconv.preprocessing import NAMED, named, scaled, turned

if TYPE_CHECKING:
    import onnx
    import torch

Array = NDArray[Any]
PICTURES = 32
CLEAR = 4.0
"""How many times closer another preprocessing must come before the present one is doubted."""
BRIGHTER = tuple(2.0 ** (step / 2) for step in range(3, 17))
"""Times as bright, or as dark, as pictures may be that are no such as a net was trained with: from 2.8. Other things than
those that it was trained on look up to twice as bright."""


@dataclass(frozen=True)
class Candidate:
    """A usual preprocessing and its divergence in nats a channel."""

    name: str
    divergence: float


@dataclass(frozen=True)
class Fit:
    """Every candidate, the closest first, and the divergence of what is done at present.

    ``turned``: pictures in ``other_order`` surely fit better; ``negative``: their negatives do; where both do, one of
    them is true. ``brighter``: pictures so many times as bright
    would fit, at ``then`` nats, where no usual scaling does; 1 where that is not so.
    """

    ranked: tuple[Candidate, ...]
    present: float
    pictures: int
    turned: bool = False
    negative: bool = False
    other_order: Order = "bgr"
    brighter: float = 1.0
    then: float = 0.0

    @property
    def better(self) -> Candidate | None:
        """The candidate that fits clearly better than what is done, if one does."""
        best = self.ranked[0]
        return best if surely_better(self.present, best.divergence, CLEAR) else None

    @property
    def wish(self) -> dict[str, Any]:
        """What fits better, as options; nothing where the present scaling and order fit."""
        name = {} if self.better is None else {"preprocessing": self.better.name}
        order = self.turned and not self.negative
        return name | ({"channel_order": self.other_order} if order else {})

    @property
    def fits(self) -> bool:
        """Whether what is fed has the mean and the spread that the net was trained with."""
        return self.present <= FAR

    @property
    def wrong(self) -> bool:
        """Whether what is fed surely is not what the net was trained with."""
        return bool(self.wish) or self.negative or self.brighter != 1.0

    def __str__(self) -> str:
        said = [*self._scaling(), *self._reading()]
        if said:
            return "; ".join(said)
        if not self.fits:
            return (
                f"no usual preprocessing fits the first batch norm's statistics, this one is {self.present:.2g} nats "
                "off: are these such pictures as it was trained with?"
            )
        return f"the first batch norm's statistics fit, {self.present:.2g} nats off"

    def _scaling(self) -> Iterator[str]:
        """Yield what is wrong with mean and std, or with how bright the pictures are."""
        seen = f"over {self.pictures} pictures the statistics of the first batch norm are {self.present:.2g} nats off"
        if self.better is not None:
            yield (
                f"PREPROCESSING LOOKS WRONG: {seen}, and {self.better.divergence:.2g} with "
                f"{self.better.name}: try --preprocessing {self.better.name}"
            )
        elif self.brighter != 1.0 and not self.negative:
            times = max(self.brighter, 1 / self.brighter)
            kind = ("bright", "dark") if self.brighter > 1 else ("dark", "bright")
            yield (
                f"PICTURES LOOK WRONG: {seen}, and {self.then:.2g} were they {times:.2g} times as {kind[0]}: these "
                f"are too {kind[1]}, or --mean and --std are not those of training"
            )

    def _reading(self) -> Iterator[str]:
        """Yield what is wrong with the channel order, or that these are negatives."""
        order = self.other_order.upper()
        fit = "the first batch norm's statistics fit"
        if self.turned and self.negative:
            yield (
                f"PICTURES LOOK WRONG: {fit} pictures in {order} order and negatives (255 - x) alike, and not what is "
                "fed: labelled pictures (--truth) would tell which"
            )
        elif self.negative:
            yield f"PICTURES LOOK WRONG: {fit} their negatives (255 - x), and not what is fed"
        elif self.turned:
            yield (
                f"CHANNEL ORDER LOOKS WRONG: {fit} pictures in {order} order, which are not what is fed: try "
                f"--channel-order {self.other_order}"
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
    pixels = some_pictures(folder, how, channel_order.PICTURES)
    few = pixels[:: max(1, len(pixels) // PICTURES)]
    ranked = [_candidate(norm, few, how, name) for name in NAMED]
    present = next((c.divergence for c in ranked if c.name == named(how)), None)
    if present is None:
        present = moments(norm.sums(few, how)).divergence(norm.stored)
    ranked.sort(key=lambda c: c.divergence)
    fit = Fit(tuple(ranked), present, len(few), other_order=turned(how).order)
    if fit.better is None and present > FAR:
        fit = _exposed(norm, few, how, fit)
    right = how if fit.better is None else scaled(how, fit.better.name, norm.channels)
    read = channel_order.better_read(norm, pixels, right)
    if read is None:
        more = some_pictures(folder, how, channel_order.MORE)
        read = channel_order.better_read(norm, more, right) if len(more) > len(pixels) else set()
    read = read or set()
    return replace(fit, turned="turned" in read, negative="negative" in read)


def unjudged(module: "torch.nn.Module | None", model: "onnx.ModelProto | None") -> str:
    """Return why fit_preprocessing judges nothing of a net, and what could."""
    norm = module_norm(module) if module is not None else onnx_norm(model)
    if norm is not None:
        why = "its batch norm's statistics are of no training"
    else:
        why = f"the {'file' if module is None else 'net'} has no batch norm's statistics"
    return f"{why}; --truth would judge a classifier's"


def _exposed(norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing, fit: Fit) -> Fit:
    """Return the fit with how many times brighter pictures would fit, if they do and nothing else does.

    f times as bright is what a mean and a std f times smaller make.
    """
    found = {}
    for times in (*BRIGHTER, *(1 / f for f in BRIGHTER)):
        mean, std = (tuple(value / times for value in side) for side in (how.mean, how.std))
        sums = norm.sums(pixels, replace(how, mean=mean, std=std))
        found[times] = moments(sums).divergence(norm.stored)
    times = min(found, key=lambda f: found[f])
    if not surely_better(fit.present / CLEAR, found[times], 1.0):
        return fit
    return replace(fit, brighter=times, then=found[times])


def some_pictures(folder: str, how: Preprocessing, most: int) -> list[Array]:
    """Return at most ``most`` pictures of a folder, spread over it: (H, W, 3) as ``how`` sizes them."""
    found = find_pictures(Path(folder))
    count = min(most, len(found))
    chosen = [found[i * len(found) // count] for i in range(count)]
    return [resize_and_crop(read_picture(path), how.size, how.crop) for path in chosen]


def _candidate(
    norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing, name: str
) -> Candidate:
    sums = norm.sums(pixels, scaled(how, name, norm.channels))
    return Candidate(name, moments(sums).divergence(norm.stored))
