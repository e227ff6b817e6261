"""The nets that planted faults are tried on, and their export up to the files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgeconv.api import make_options
from edgeconv.arguments import settled
from edgeconv.export import finish
from edgeconv.export.pipeline import measure
from edgeconv.export.work import Work
from edgeconv.files import temporary_folder
from edgeconv.samples import load_function

CALIBRATING, VERIFYING = range(100, 132), range(200, 250)
"""Numbers of the samples that are drawn."""


@dataclass(frozen=True)
class Net:
    """A net to export: its name in the lines, what makes it, and what the export is told."""

    name: str
    make: Callable[[], Any]
    options: Mapping[str, Any]


def trained_nets(kinds: Any, seeds: range, work: Path, steps: int) -> Iterator[Net]:
    """Yield nets trained on scenes; the pictures that calibrate and verify are kept in ``work``."""
    import scene_nets
    import scenes

    work.mkdir(parents=True, exist_ok=True)
    for part, seed, count in (("calib", 1, 96), ("verify", 2, 100)):
        if not (work / f"{part}.npz").exists():
            np.savez(work / f"{part}.npz", x=scenes.draw(count, seed).pictures)
    own = {
        "calib": work / "calib.npz",
        "verify": work / "verify.npz",
        "input_shape": (1, 3, 32, 32),
    }
    for seed in seeds:
        for kind in kinds or scene_nets.KINDS:
            yield Net(
                f"{kind}_{seed}",
                partial(scene_nets.trained, kind, seed, work, steps),
                {**own, "preprocessing": "symmetric"},
            )


def known_nets(path: Path, names: tuple[str, ...], pictures: Path | None) -> Iterator[Net]:
    """Yield nets of a file's ZOO and of packages (zoo_nets.py), which nobody here made or tuned."""
    import zoo_nets

    if pictures is None:
        raise click.UsageError("--nets needs --pictures")
    nets = zoo_nets.nets(path)
    for name in names or nets:
        net = nets[name]
        with temporary_folder() as folder:
            calib, verify = zoo_nets.lay_out(net, pictures, (48, 50), folder)
            own: dict[str, Any] = {"calib": calib, "verify": verify, "input_shapes": net.shapes}
            if not net.values:
                own |= {"mean": net.scale[0], "std": net.scale[1]}
            yield Net(name, partial(zoo_nets.located, net), own)


def drawn_nets(
    path: Path, names: tuple[str, ...], work: Path, verifying: range = VERIFYING
) -> Iterator[Net]:
    """Yield what a file's ``nets()`` gives: by name what makes a net, and for each input what draws a sample by its number.

    ``verifying`` are the numbers of the samples that verify.
    """
    known = load_function(path, "nets")()
    for name in names or known:
        make, inputs = known[name]
        place = work / name
        place.mkdir(parents=True, exist_ok=True)
        for part, numbers in (("calib", CALIBRATING), ("verify", verifying)):
            drawn = {key: np.stack([draw(i) for i in numbers]) for key, draw in inputs.items()}
            np.savez(place / f"{part}.npz", allow_pickle=False, **drawn)
        one = {key: draw(0) for key, draw in inputs.items()}
        own = {
            "calib": place / "calib.npz",
            "verify": place / "verify.npz",
            "verify_count": len(verifying),
            "input_shapes": {key: value.shape for key, value in one.items()},
            "input_types": {
                key: str(value.dtype) for key, value in one.items() if value.dtype.kind in "iub"
            },
        }
        yield Net(name, make, own)


def exported(net: Net, precision: str, targets: tuple[str, ...], place: Path) -> Work:
    """Return an export whose files lie in ``place`` and are not verified yet."""
    options = make_options(
        net.make(),
        **settled({**net.options, "precision": precision, "targets": targets, "threads": 1}),
    )
    work = measure(options)
    work.place = place
    for target in targets:
        finish.emit(work, target)
    finish.begin_evidence(work)
    finish.prove(work)
    finish.conclude(work)
    return work
