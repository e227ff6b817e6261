"""The usual ways to make a tensor of a picture, by name, what a user wishes of it, and how one is said."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, get_args

from edgeconv.artifact import LETTERBOX, Crop, Order, Preprocessing
from edgeconv.errors import UsageError

Scaling = tuple[tuple[float, ...], tuple[float, ...]]

NAMED: dict[str, Scaling] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0,), (1.0,)),
    "symmetric": ((0.5,), (0.5,)),
    "raw": ((0.0,), (1 / 255,)),
}
"""Mean and standard deviation on the 0..1 scale: ImageNet's statistics, 0..1, -1..1 and 0..255.

(x - 127) / 128 cannot be told from -1..1 by any statistic and counts as it.
"""
AUTO = "auto"
USUAL_CROP = 0.875
"""Where nobody says one: ImageNet's custom."""
ORDERS: tuple[Order, ...] = get_args(Order)


def scaling(name: str, channels: int = 3) -> Scaling:
    """Return mean and std of a name, one value where the picture has one channel.

    >>> scaling("imagenet", 1)
    ((0.449,), (0.226,))
    """
    mean, std = NAMED[name]
    if channels == 1 and len(mean) == 3:
        return (round(sum(mean) / 3, 3),), (round(sum(std) / 3, 3),)
    return mean, std


def named(how: Preprocessing) -> str | None:
    """Return the name of what ``how`` does, where it has one."""
    for name in NAMED:
        for channels in (1, 3):
            one = scaled(how, name, channels)
            if (one.mean, one.std) == (tuple(how.mean), tuple(how.std)):
                return name
    return None


def scaled(how: Preprocessing, name: str, channels: int = 3) -> Preprocessing:
    """Return ``how`` with the mean and the std that ``name`` means in its channel order."""
    mean, std = scaling(name, channels)
    step = -1 if how.order == "bgr" else 1
    return replace(how, mean=mean[::step], std=std[::step])


def turned(how: Preprocessing) -> Preprocessing:
    """Return ``how`` in the other channel order: each colour keeps its mean and std."""
    other: Order = "bgr" if how.order == "rgb" else "rgb"
    return replace(how, mean=how.mean[::-1], std=how.std[::-1], order=other)


def negative(how: Preprocessing) -> Preprocessing:
    """Return what makes of a picture x the tensor that ``how`` makes of its negative, 255 - x."""
    return replace(how, mean=tuple(1 - m for m in how.mean), std=tuple(-s for s in how.std))


class Wished(Protocol):
    """What a user says of how pictures are prepared; None where nothing."""

    @property
    def preprocessing(self) -> str | None:
        """A name of NAMED, or AUTO."""

    @property
    def mean(self) -> tuple[float, ...] | None:
        """On the 0..1 scale, one value or one a channel of the tensor."""

    @property
    def std(self) -> tuple[float, ...] | None:
        """As ``mean``."""

    @property
    def crop(self) -> Crop | None:
        """The share that the centre crop keeps, or LETTERBOX."""

    @property
    def channel_order(self) -> Order | None:
        """How three channels lie in the tensor."""


def check_wished(wished: Wished) -> None:
    """Raise UsageError naming the first option that cannot be right."""
    if wished.preprocessing is not None and (wished.mean or wished.std):
        raise UsageError("--preprocessing names a mean and a std: leave --mean and --std out")
    crop = wished.crop
    if isinstance(crop, str) and crop != LETTERBOX:
        raise UsageError(f"--crop is a fraction in (0, 1] or {LETTERBOX}, not {crop}")
    if crop is not None and not isinstance(crop, str) and not 0 < crop <= 1:
        raise UsageError(f"--crop is a fraction in (0, 1] or {LETTERBOX}, not {crop:g}")
    for name, values in (("mean", wished.mean), ("std", wished.std)):
        if not all(map(math.isfinite, values or ())):
            raise UsageError(f"--{name} takes numbers, not nan or inf")
    if wished.std is not None and any(value <= 0 for value in wished.std):
        raise UsageError("--std must be positive, on the 0..1 scale")
    for name, values in (("mean", wished.mean), ("std", wished.std)):
        if values is not None and len(values) not in (1, 3):
            raise UsageError(f"--{name} takes one value or three, not {len(values)}")
        large = [value for value in values or () if value > 2]
        if large:
            raise UsageError(
                f"--{name} is on the 0..1 scale (divide by 255): {large[0]:g} is too large"
            )


def as_wished(own: Preprocessing, wished: Wished, channels: int) -> Preprocessing:
    """Return ``own`` with what a user says in its place; a mean or std of their own scales real values.

    Raises UsageError for an order of one channel.
    """
    if wished.channel_order is not None and channels != 3:
        raise UsageError(f"--channel-order is of three channels: this model takes {channels}")
    how = own
    if wished.channel_order not in (None, own.order):
        how = turned(how)
    if wished.preprocessing in NAMED:
        how = scaled(how, str(wished.preprocessing), channels)
    rescaled = wished.preprocessing in NAMED or wished.mean is not None or wished.std is not None
    return replace(
        how,
        mean=tuple(wished.mean or how.mean),
        std=tuple(wished.std or how.std),
        crop=how.crop if wished.crop is None else wished.crop,
        embedded=how.embedded and not rescaled,
    )


def who_says(wished: Wished, otherwise: str) -> str:
    """Return who says how pictures are scaled: the user, else what ``otherwise`` says, or both."""
    if wished.preprocessing in NAMED or (wished.mean and wished.std):
        return "given"
    return f"given and {otherwise}" if wished.mean or wished.std else otherwise


def better_wish(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a manifest says fits the net better, as fields of Wished; early ones name a preset.

    >>> better_wish({"preprocessing_better": "unit"}), better_wish({})
    ({'preprocessing': 'unit'}, {})
    """
    found = manifest.get("preprocessing_better") or {}
    return found if isinstance(found, Mapping) else {"preprocessing": str(found)}


def flags(wish: Mapping[str, Any]) -> str:
    """Return what to type for fields of Wished.

    >>> flags({"preprocessing": "unit", "channel_order": "bgr"}), flags({"crop": 1.0})
    ('--preprocessing unit --channel-order bgr', '--crop 1')
    """

    def typed(value: Any) -> str:
        several = value if isinstance(value, tuple) else (value,)
        return ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in several)

    return " ".join(f"--{k.replace('_', '-')} {typed(v)}" for k, v in wish.items())


def sentence(how: Preprocessing, origin: str, layout: str = "NCHW") -> str:
    """Return one line that says how pictures become the tensor, and who says so.

    >>> print(sentence(Preprocessing((0.5,), (0.5,), 1.0, (64, 64)), "given"))
    symmetric: mean 0.5, std 0.5 · crop 1 · RGB · NCHW · given
    """
    name = named(how)
    mean, std = (",".join(f"{value:.4g}" for value in side) for side in (how.mean, how.std))
    scale = f"mean {mean}, std {std}"
    if how.embedded:
        scale += " inside the model, which takes 0..255"
    crop = how.crop if isinstance(how.crop, str) else f"crop {how.crop:g}"
    parts = [f"{name}: {scale}" if name else scale, crop, how.order.upper(), layout, origin]
    return " · ".join(parts)


OWN = "the weights' own"
ASSUMED = "ASSUMED, say --preprocessing imagenet|unit|symmetric|raw, or --mean and --std"


def numbers(text: str) -> tuple[float, ...]:
    """Read M or M,M,M.

    >>> numbers("0.5")
    (0.5,)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{text!r} is not a number or three, like 0.5 or 0.485,0.456,0.406"
        ) from None


def read_crop(text: str) -> Crop:
    """Read a fraction, or "letterbox".

    >>> read_crop("0.875"), read_crop("letterbox")
    (0.875, 'letterbox')
    """
    try:
        return LETTERBOX if text == LETTERBOX else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a fraction in (0, 1] nor {LETTERBOX}") from None
