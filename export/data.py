"""Which samples calibrate and which verify."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.ahead import Tick
from edgeconv.demo_files import demo_folder, find_demo
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.feeds import Spool
from edgeconv.export.options import ExportOptions
from edgeconv.export.source import Source
from edgeconv.pictures import find_pictures
from edgeconv.samples import Feed, InputSpec, Sample, load_samples, split
from edgeconv.spread import spread
from edgeconv.terminal import counted
from edgeconv.truth import read_truth

VERIFY_BYTES = 64 << 20
VERIFY_COUNT, NOISE_COUNT, FOREIGN_COUNT = 200, 8, 32
"""Samples to verify on where --verify-count is not given: the user's, noise, our pictures."""

UNCALIBRATED = (
    "INT8 calibrates on your own pictures: give --calib DIR (a few hundred pictures like "
    "those the net will see), FILE.npz, FILE.npy or file.py:function"
)


@dataclass(frozen=True)
class Data:
    """Samples for both uses, disjoint where there are two; ``origin`` says what they are."""

    calibration: tuple[Sample, ...]
    verification: tuple[Sample, ...]
    origin: str

    def manifest(self) -> dict[str, Any]:
        """Return the calibration manifest: every source's name and hash, in order."""
        return {
            "origin": self.origin,
            "count": len(self.calibration),
            "samples": [{"name": s.name, "sha256": s.sha256} for s in self.calibration],
        }

    def doubts(self) -> list[str]:
        """Say how many of the verifying samples calibrate too, under whatever name."""
        known = {sample.sha256 for sample in self.calibration} - {""}
        seen = [s.name for s in self.verification if s.sha256 in known] if known else []
        if not seen:
            return []
        return [
            f"{len(seen)} of {counted(len(self.verification), 'sample')} that verify calibrate too, such as "
            f"{seen[0]}: a recipe does better on what it has seen, give --verify others"
        ]


def choose_data(options: ExportOptions, source: Source, labels: Sequence[str] | None) -> Data:
    """Find calibration and verification samples for ``source``.

    INT8 needs the user's own samples unless the weights are bundled; a float export is verified
    on whatever fits: the user's, the bundled pictures, or seeded noise for other inputs.
    """
    spec = InputSpec(source.shapes, source.preprocessing, source.dtypes)
    refuse_uncalibrated(options, source)
    own = _users(options, spec, labels) if options.calib else _default(options, source, spec)
    if options.verify is None:
        return own
    samples = load_samples(options.verify, spec, _truth(options, options.verify, labels))
    count = options.verify_count or _verify_count(spec)
    return Data(own.calibration, tuple(spread(samples, count)), own.origin)


def refuse_uncalibrated(options: ExportOptions, source: Source) -> None:
    """Raise UsageError where INT8 has no samples: only bundled weights come with pictures of ours.

    UnsupportedOpError where samples would not help.
    """
    _refuse_other_integers(source)
    if not options.integer or options.calib is not None or source.bundled or _quantized(source):
        return
    if options.recipe_file is not None:
        if options.verify is None:
            raise UsageError(
                f"{options.recipe} holds the integers, and the file is held against the float net on "
                "your own pictures: give --verify DIR, FILE.npz, FILE.npy or file.py:function"
            )
    else:
        raise UsageError(UNCALIBRATED)


def _refuse_other_integers(source: Source) -> None:
    """Raise UnsupportedOpError where the net holds integers that no target can take, whatever samples are given."""
    if source.module is not None:
        from edgeconv.export.hub.fake_quantizers import refuse_dynamic_layers

        refuse_dynamic_layers(source.module)
    elif source.model is not None:
        from edgeconv.export.qdq.qoperator import refuse_dynamic

        refuse_dynamic(source.model)


def _quantized(source: Source) -> bool:
    """Whether the net brings its own integers."""
    if source.module is not None:
        from edgeconv.export.hub.fake_quantizers import holds_integers

        return holds_integers(source.module)
    from edgeconv.export.qdq.qoperator import is_quantized

    return source.model is not None and is_quantized(source.model)


def _verify_count(spec: InputSpec) -> int:
    """Return how many samples verify by default: as many as the evidence holds in VERIFY_BYTES."""
    values = sum(math.prod(shape) for shape in spec.shapes.values())
    size = values * (1 if spec.picture is not None else 4)
    return max(NOISE_COUNT, min(VERIFY_COUNT, VERIFY_BYTES // max(1, size)))


def _truth(options: ExportOptions, folder: str, labels: Sequence[str] | None) -> Mapping[str, int]:
    return {} if options.truth is None else read_truth(options.truth, Path(folder), labels)


def _users(options: ExportOptions, spec: InputSpec, labels: Sequence[str] | None) -> Data:
    assert options.calib is not None
    truth = {} if options.verify else _truth(options, options.calib, labels)
    samples = load_samples(options.calib, spec, truth)
    count = options.verify_count or _verify_count(spec)
    if not options.integer:
        return Data((), tuple(spread(samples, count)), options.calib)
    if options.verify is not None:
        return Data(tuple(spread(samples, options.calib_count)), (), options.calib)
    calibration, verification = split(samples, options.calib_count, count)
    return Data(tuple(calibration), tuple(verification), options.calib)


def _default(options: ExportOptions, source: Source, spec: InputSpec) -> Data:
    """Take the bundled pictures; seeded noise for a net that takes none or where they are missing."""
    if spec.picture is None or not (source.bundled or find_demo("pictures")):
        count = options.verify_count or NOISE_COUNT
        noise = tuple(_noise(source, options.seed + i) for i in range(count))
        return Data((), noise, "seeded noise: verification of the conversion only")
    folder = demo_folder("pictures")
    if not source.bundled:
        count = options.verify_count or FOREIGN_COUNT
        test = spread(load_samples(str(folder / "test"), spec), count)
        return Data((), tuple(test), "bundled pictures: verification of the conversion only")
    calibration = load_samples(str(folder / "calibration"), spec)
    test = load_samples(str(folder / "test"), spec, _bundled_truth(folder / "test"))
    chosen = spread(calibration, options.calib_count) if options.integer else []
    test = spread(test, options.verify_count or len(test))
    origin = "bundled pictures (Fashion-MNIST, training half)"
    return Data(tuple(chosen), tuple(test), origin)


def _bundled_truth(folder: Path) -> dict[str, int]:
    """Read the class from the names that calib_data/README.md describes: K_name_NNNNN.png."""
    return {path.name: int(path.name.partition("_")[0]) for path in find_pictures(folder)}


def _noise(source: Source, seed: int) -> Sample:
    """Return normal noise, bytes, truth values, or indices below what the net looks them up in."""
    generator = np.random.default_rng(seed)
    feed: Feed = {}
    for name, shape in source.shapes.items():
        kind = np.dtype(source.dtypes.get(name, "float32"))
        if kind.kind == "f":
            feed[name] = np.asarray(generator.standard_normal(shape, np.float32), kind)
        else:
            limit = 256 if kind == np.uint8 else source.limits.get(name, 2)
            feed[name] = np.asarray(generator.integers(0, limit, shape)).astype(kind)
    return Sample(f"noise[{seed}]", lambda: feed)


def load_feeds(samples: Sequence[Sample], what: str, tick: Tick = lambda _: None) -> Sequence[Feed]:
    """Read every sample, many of them into a file; raises EdgeconvError naming one with NaN or Inf."""
    feeds = Spool()
    for index, sample in enumerate(samples):
        tick(index / len(samples))
        feed = sample.load()
        for name, value in feed.items():
            if not np.isfinite(value).all():
                raise EdgeconvError(f"{what} {sample.name}: {name} holds NaN or infinity")
        feeds.append(feed)
    return feeds
