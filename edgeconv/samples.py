"""Samples for a model's inputs, from a folder of pictures, arrays or a user's function."""

import functools
import hashlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.arrays import read_arrays
from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import sha256
from edgeconv.foreign import refuse_missing, refuse_no_file
from edgeconv.pictures import picture_names, read_picture, resize_and_crop, to_input
from edgeconv.spread import places as spread_places
from edgeconv.spread import spread
from edgeconv.verification import read_verification

Feed = dict[str, NDArray[Any]]
"""Input name -> array of that input's whole shape, batch included, float32 where nothing else is declared."""


@dataclass(frozen=True)
class Sample:
    """One feed, what it is called, its class (None: unknown), and how the hash of its source is told."""

    name: str
    load: Callable[[], Feed] = field(repr=False)
    truth: int | None = None
    hashed: Callable[[], str] = field(default=str, repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of its source, read when it is asked for; "" where there is none."""
        return self.hashed()


def picture_feed(path: Path, input_name: str, shape: Sequence[int], how: Preprocessing) -> Feed:
    """Read one picture into a feed for the NCHW input ``input_name`` of ``shape`` (batch repeated)."""
    pixels = resize_and_crop(read_picture(path), how.size, how.crop)
    value = to_input(pixels, how, shape[1])
    return {input_name: np.repeat(value, shape[0], axis=0) if shape[0] > 1 else value}


def unit_of(inputs: Mapping[str, NDArray[Any]]) -> str:
    """Return what a sample of ``inputs``, each (samples, ...), is called: a picture where all are maps of channels."""
    return "picture" if all(value.ndim == 4 for value in inputs.values()) else "sample"


@dataclass(frozen=True)
class InputSpec:
    """What samples are made for: the model's inputs by name, and preprocessing for a picture input.

    ``dtypes`` are numpy's names for the inputs that are not float32.
    """

    shapes: Mapping[str, tuple[int, ...]]
    preprocessing: Preprocessing | None
    dtypes: Mapping[str, str] = field(default_factory=dict)

    @property
    def picture(self) -> str | None:
        """The one NCHW input of 1 or 3 channels, if the model takes a picture."""
        if len(self.shapes) != 1 or self.preprocessing is None:
            return None
        name, shape = next(iter(self.shapes.items()))
        return name if len(shape) == 4 and shape[1] in (1, 3) else None

    def fit(self, name: str, value: Any, what: str) -> NDArray[Any]:
        """Bring one sample of input ``name`` to its whole shape and type, batch axis added where it lacks.

        Raises EdgeconvError, beginning with ``what`` (the sample's name and place), where it does not fit.
        """
        shape, kind = self.shapes[name], np.dtype(self.dtypes.get(name, "float32"))
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise EdgeconvError(f"{what} is {array.dtype}, not numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise EdgeconvError(f"{what} holds NaN or infinity")
        if array.shape == shape[1:] and array.shape != shape:
            array = np.repeat(array[None], shape[0], axis=0)
        if array.shape != shape:
            raise EdgeconvError(f"{what} is {list(array.shape)}, the model takes {list(shape)}")
        with np.errstate(over="ignore"):
            made = array.astype(kind, copy=False)
        if not (np.isfinite(made).all() if kind.kind == "f" else np.array_equal(made, array)):
            raise EdgeconvError(f"{what} holds values that are no {kind}")
        return made


Places = Callable[[int], Sequence[int]]
"""From the number of samples that are there to the places of those that are wanted."""


def load_samples(
    source: str,
    spec: InputSpec,
    truth: Mapping[str, int] | None = None,
    places: Places | None = None,
) -> list[Sample]:
    """Return the samples of a folder of pictures, an .npz, an .npy or ``file.py:function``.

    Pictures are read when their feed is asked for; arrays at once. ``truth`` maps a picture's
    path relative to the folder (or its file name, where one picture has it) to its class; ``places`` says which are wanted, by
    default all. Raises EdgeconvError or UsageError
    naming what does not fit.
    """
    script, colon, function = source.rpartition(":")
    if colon and script.endswith(".py"):
        return _chosen(_from_function(Path(script), function, spec), places)
    path = Path(source)
    if path.suffix in {".npz", ".npy"}:
        return _chosen(_from_arrays(path, spec), places)
    refuse_missing(path)
    return _from_folder(path, spec, truth or {}, places)


def _chosen(found: list[Any], places: Places | None) -> list[Any]:
    return found if places is None else [found[place] for place in places(len(found))]


def _from_folder(
    folder: Path, spec: InputSpec, truth: Mapping[str, int], places: Places | None
) -> list[Sample]:
    name = spec.picture
    if name is None or spec.preprocessing is None:
        shapes = ", ".join(f"{n} {list(s)}" for n, s in spec.shapes.items())
        raise UsageError(
            f"{folder} holds pictures, but the model takes {shapes}: give an .npz with one array an input"
        )
    how, shape = spec.preprocessing, spec.shapes[name]
    samples = []
    names = picture_names(folder)
    times = Counter(Path(each).name for each in names)
    for relative in _chosen(names, places):
        path = folder / relative
        alone = truth.get(path.name) if times[path.name] == 1 else None
        known = truth.get(relative, alone)

        def load(path: Path = path) -> Feed:
            return picture_feed(path, name, shape, how)

        samples.append(Sample(relative, load, known, functools.partial(sha256, path)))
    if truth and all(sample.truth is None for sample in samples):
        raise EdgeconvError(f"--truth names no picture of {folder}, but {next(iter(truth))!r}")
    return samples


def _from_arrays(path: Path, spec: InputSpec) -> list[Sample]:
    refuse_no_file(path)
    arrays = _arrays(path)
    truth = None if "truth" in spec.shapes else arrays.pop("truth", None)
    if len(arrays) == len(spec.shapes) == 1:
        arrays = {next(iter(spec.shapes)): next(iter(arrays.values()))}
    if missing := sorted(spec.shapes.keys() - arrays.keys()):
        raise EdgeconvError(f"{path} has no array {missing[0]}; it holds {sorted(arrays)}")
    count = len(arrays[next(iter(spec.shapes))])
    if count == 0:
        raise EdgeconvError(f"{path} holds no sample")
    counted = {name: len(arrays[name]) for name in spec.shapes}
    if truth is not None:
        counted["truth"] = len(truth)
        if truth.dtype.kind not in "iu" or truth.ndim != 1:
            raise EdgeconvError(f"{path}: truth must hold one integer class a sample")
    if len(set(counted.values())) != 1:
        raise EdgeconvError(f"{path} holds different numbers of samples: {counted}")
    samples = []
    for index in range(count):
        feed = {
            name: spec.fit(name, arrays[name][index], f"{path}: sample {index} of {name}")
            for name in spec.shapes
        }
        known = None if truth is None else int(truth[index])
        samples.append(_sample(f"{path.name}[{index}]", feed, known))
    return samples


def _arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of samples; of an export's evidence its inputs, and the true classes where all are known."""
    if path.name != "verify.npz" or path.parent.suffix != ".evidence":
        return read_arrays(path)
    kept = read_verification(path)
    known = kept.get("truth", np.array(-1))
    truth = {"truth": known} if (known >= 0).all() else {}
    return truth | {k.removeprefix("input:"): a for k, a in kept.items() if k.startswith("input:")}


def _sample(name: str, feed: Feed, truth: int | None) -> Sample:
    def hashed() -> str:
        digest = hashlib.sha256()
        for key in sorted(feed):
            digest.update(np.ascontiguousarray(feed[key]).tobytes())
        return digest.hexdigest()

    return Sample(name, lambda: feed, truth, hashed)


def load_function(script: Path, function: str) -> Callable[..., Any]:
    """Import ``function`` from a user's file; raises EdgeconvError naming what is missing."""
    refuse_no_file(script)
    module_spec = importlib.util.spec_from_file_location(script.stem, script)
    if module_spec is None or module_spec.loader is None:
        raise EdgeconvError(f"{script} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise EdgeconvError(f"{script} fails to import: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise EdgeconvError(f"{script} has no function {function}")
    loaded: Callable[..., Any] = found
    return loaded


def _from_function(script: Path, function: str, spec: InputSpec) -> list[Sample]:
    samples = []
    try:
        produced: Iterable[Any] = load_function(script, function)()
        for index, item in enumerate(produced):
            arrays = item if isinstance(item, Mapping) else {next(iter(spec.shapes)): item}
            if missing := sorted(spec.shapes.keys() - arrays.keys()):
                raise EdgeconvError(f"{script}:{function} gave no {missing[0]} in sample {index}")
            feed = {
                name: spec.fit(name, arrays[name], f"{script}:{function}: sample {index} of {name}")
                for name in spec.shapes
            }
            samples.append(_sample(f"{function}[{index}]", feed, None))
    except EdgeconvError:
        raise
    except Exception as error:
        raise EdgeconvError(
            f"{script}:{function} fails: {type(error).__name__}: {error}"
        ) from error
    if not samples:
        raise EdgeconvError(f"{script}:{function} gave no sample")
    return samples


MOST_CALIBRATE = 0.8
"""Share of the samples."""


def split(
    samples: Sequence[Sample], calib_count: int, verify_count: int
) -> tuple[list[Sample], list[Sample]]:
    """Return calibration and verification samples, disjoint, each spread evenly over ``samples``.

    At most MOST_CALIBRATE of them calibrate, so that something is left to verify on; a single sample
    is both.
    """
    total = len(samples)
    if total == 1:
        return list(samples), list(samples)
    count = min(calib_count, max(1, int(total * MOST_CALIBRATE)))
    chosen = set(spread_places(total, count))
    rest = [sample for index, sample in enumerate(samples) if index not in chosen]
    return [samples[index] for index in sorted(chosen)], spread(rest, verify_count)
