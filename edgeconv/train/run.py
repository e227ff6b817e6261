"""A training from a folder of pictures to a checkpoint."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.accelerator import device, repeatable
from edgeconv.deps import installed
from edgeconv.files import digest, sha256, temporary_folder
from edgeconv.metrics import wilson_interval
from edgeconv.train.options import TrainOptions, recipe_path
from edgeconv.truth import unasked

if TYPE_CHECKING:
    from edgeconv.train.qat import Integers


@dataclass(frozen=True)
class TrainReport:
    """What a training made. ``right`` of ``held_out`` pictures, of the file as it is stored.

    ``epochs`` has a dict for each epoch that ran, of which ``best_epoch`` (from 1) was kept.
    """

    path: Path
    sha256: str
    described: Mapping[str, Any]
    learnt: int
    held_out: int
    right: int
    best_epoch: int
    epochs: list[dict[str, Any]]
    weights: str
    integers: "Integers | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        low, high = wilson_interval(self.right, self.held_out)
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            **self.described,
            "weights": self.weights,
            "learnt": self.learnt,
            "held_out": self.held_out,
            "top1": {"right": self.right, "of": self.held_out, "interval": [low, high]},
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "qat": None if self.integers is None else self.integers.to_json(),
        }


def train(options: TrainOptions, say: Callable[[str], None] = lambda _line: None) -> TrainReport:
    """Train as ``options`` say and write the checkpoint; ``say`` gets a line for each thing done.

    An interrupted training goes on from its last whole epoch when it is asked for again. The same
    machine, number of threads and version of torch give the same bytes.
    Raises UsageError or EdgeconvError naming the option, folder or picture that does not fit.
    """
    options.check()
    needed = [("torch", "torch"), ("PIL", "export"), ("safetensors", "export")]
    installed(*needed, *([("onnx", "export"), ("onnxruntime", "export")] if options.qat else ()))
    import torch

    from edgeconv.train import keep, loop, net, pictures, snap

    place = device(options.accelerator)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    learnt, held = _labelled(options)
    module, loaded = net.start(options, learnt.names)
    how = loaded.preprocessing
    output = options.output or _name(options, loaded.options, how.size[0])
    options.refuse_existing(output)
    say(
        f"{options.net} {loaded.options['width']:g} at {how.size[0]}x{how.size[0]}, weights {options.source()}: "
        f"{len(learnt.names)} classes, {len(learnt.paths)} pictures to learn, {len(held.paths)} held out"
    )
    say(net.told(options, loaded))
    if net.renewed(options, loaded, learnt.names):
        say(f"the last layer is new: the classes of {options.source()} are others")
    seen = [f"{held.names[index]}/" for index in sorted(set(held.classes.tolist()))]
    if (missing := unasked(options.data, seen, "held out")) is not None:
        say(missing)
    data = loop.Data(
        pictures.load(learnt, how, margin=True),
        torch.from_numpy(learnt.classes),
        pictures.load(held, how, margin=False),
        torch.from_numpy(held.classes),
        how,
    )
    job = options.decisive() | {"pictures": _digest(options), "content of weights": loaded.sha256}
    place_of_standing = keep.unfinished(output)
    if options.force:
        place_of_standing.unlink(missing_ok=True)
    standing = keep.load_standing(place_of_standing, job, module)
    if standing.epochs:
        say(f"goes on after epoch {len(standing.epochs)} of {options.epochs}")

    def on_epoch(now: keep.Standing) -> None:
        keep.save_standing(place_of_standing, now, job)
        line = now.epochs[-1]
        share = 100 * line["right"] / len(held.paths)
        best = " (best so far)" if now.best_epoch == len(now.epochs) else ""
        say(
            f"epoch {len(now.epochs)}/{options.epochs}: loss {line['loss']:.3f}, "
            f"held out {share:.1f} %{best}, {line['seconds']:.0f} s"
        )

    integers = None
    with _telling(place_of_standing, say):
        if options.epochs:
            with repeatable(place):
                standing = loop.fit(module.to(place), data, options, standing, on_epoch)
        module.to("cpu")
        snap.snap(module, how.size)
        right, _ = loop.evaluate(module, data)
        described = _described(
            options, loaded.options, how.to_json(), learnt.names, right, len(held.paths)
        )
        if options.qat:
            from edgeconv.train.qat import train_integers

            with temporary_folder() as folder, repeatable(place):
                keep.save_weights(module, folder / output.name, described)
                integers = train_integers(
                    folder / output.name, recipe_path(output), learnt, data, options, place, say
                )
    keep.save_weights(module, output, described)
    place_of_standing.unlink(missing_ok=True)
    return TrainReport(
        output,
        sha256(output),
        described,
        len(learnt.paths),
        len(held.paths),
        right,
        standing.best_epoch,
        standing.epochs,
        loaded.matched,
        integers,
    )


@contextmanager
def _telling(standing: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Where the user stops a training, say what is kept of it."""
    try:
        yield
    except KeyboardInterrupt:
        if standing.exists():
            say(f"{standing} holds every whole epoch: the same command goes on")
        raise


def _labelled(options: TrainOptions) -> Any:
    """Return what is learnt and what is held out."""
    from edgeconv.train import pictures

    found = pictures.find_labelled(options.data)
    if isinstance(options.held_out, Path):
        return found, pictures.find_labelled(options.held_out, found.names)
    return pictures.split(found, options.held_out, options.seed)


def _name(options: TrainOptions, net: Mapping[str, Any], resolution: int) -> Path:
    return Path(f"{options.net}_{net['width']:g}_{resolution}.safetensors")


def _digest(options: TrainOptions) -> str:
    """Return a hash of every picture and its folder."""
    folders = [options.data] + ([options.held_out] if isinstance(options.held_out, Path) else [])
    return json.dumps([digest(folder) for folder in folders])


def _described(
    options: TrainOptions,
    net: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    names: tuple[str, ...],
    right: int,
    of: int,
) -> dict[str, Any]:
    """Return what the checkpoint says of itself."""
    return {
        "net": {"source": options.net, **net},
        "preprocessing": preprocessing,
        "labels": list(names),
        "accuracy": {
            "top1": round(100 * right / of, 2),
            "dataset": options.data.name,
            "source": f"{of} held-out pictures",
        },
    }
