"""How the pictures of a source are prepared: what it says itself, and what the user asks for."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.preprocessing import NAMED, USUAL_CROP, as_wished


def input_size(options: ExportOptions, default: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) from --input-shape, --resolution or the weights' own."""
    given = options.shapes_given()
    if given and len(given[0]) == 4:
        size = given[0][2:]
        if options.resolution is not None and size != (options.resolution, options.resolution):
            raise UsageError("--resolution and --input-shape contradict each other")
        return (size[0], size[1])
    if options.resolution is not None:
        return (options.resolution, options.resolution)
    return default


def picture_preprocessing(
    options: ExportOptions,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
    known: bool = False,
) -> Preprocessing | None:
    """Return ImageNet's, or the user's, where the one input is an NCHW picture of float32.

    One channel may as well be a spectrogram: it is a picture where the user gives pictures or says
    how they are prepared, or where it is ``known``.
    """
    if len(shapes) != 1 or dtypes:
        return None
    shape = next(iter(shapes.values()))
    if len(shape) != 4 or shape[1] not in (1, 3):
        return None
    if shape[1] == 1 and not (known or _speaks_of_pictures(options)):
        return None
    mean, std = NAMED["imagenet"] if shape[1] == 3 else NAMED["symmetric"]
    default = Preprocessing(mean, std, USUAL_CROP, (shape[2], shape[3]))
    return as_asked(options, default, (shape[2], shape[3]), shape[1])


def _speaks_of_pictures(options: ExportOptions) -> bool:
    said = (
        options.mean
        or options.std
        or options.preprocessing
        or options.crop
        or options.embed_preprocessing
        or options.image_input
    )
    sources = [source for source in (options.calib, options.verify) if source is not None]
    return bool(said) or any(Path(source).is_dir() for source in sources)


def as_asked(
    options: ExportOptions, default: Preprocessing, size: tuple[int, int], channels: int = 3
) -> Preprocessing:
    """Return ``default`` with what the user asks for in its place."""
    how = as_wished(replace(default, size=size), options, channels)
    return replace(how, embedded=options.embed_preprocessing or options.image_input)
