"""The usual ways to make a tensor of a picture, by name, and how one is said."""

from edgeconv.artifact import Preprocessing

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
            if scaling(name, channels) == (tuple(how.mean), tuple(how.std)):
                return name
    return None


def sentence(how: Preprocessing, origin: str, layout: str = "NCHW") -> str:
    """Return one line that says how pictures become the tensor, and who says so.

    >>> print(sentence(Preprocessing((0.5,), (0.5,), 1.0, (64, 64)), "given"))
    symmetric: mean 0.5, std 0.5 · crop 1 · RGB · NCHW · given
    """
    name = named(how)
    mean, std = (",".join(f"{value:.4g}" for value in side) for side in (how.mean, how.std))
    scaled = f"mean {mean}, std {std}"
    if how.embedded:
        scaled += " inside the model, which takes 0..255"
    parts = [f"{name}: {scaled}" if name else scaled, f"crop {how.crop:g}", "RGB", layout, origin]
    return " · ".join(parts)


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
