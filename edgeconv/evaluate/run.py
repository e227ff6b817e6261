"""Run a file over a folder of pictures, some at a time, and hand on its outputs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact, Crop, Order, Preprocessing, load_artifact
from edgeconv.errors import UsageError
from edgeconv.evaluate.carried import carried_labels
from edgeconv.evaluate.task import Task, are_whole, is_listed, scores_count, task_of
from edgeconv.files import temporary_folder
from edgeconv.foreign import refuse_missing
from edgeconv.isolate import other_python
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.child import Job, run_cell
from edgeconv.preprocessing import (
    ASSUMED,
    NAMED,
    USUAL_CROP,
    as_wished,
    check_wished,
    sentence,
    who_says,
)
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.choose import way as one_way
from edgeconv.runtimes.probe import Borders, probe
from edgeconv.samples import InputSpec, Sample, load_samples, picture_feed
from edgeconv.spread import spread
from edgeconv.tensors import Layout, TensorSpec

Array = NDArray[Any]
AT_ONCE = 256 << 20
"""Bytes of inputs and outputs in memory at a time, about."""

Run = Callable[[Job], Outputs]
"""Runs a file on inputs that lie on disk: in a process of its own, or here."""


@dataclass(frozen=True)
class Asked:
    """How pictures are fed where no manifest says it, or in spite of it."""

    preprocessing: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: Crop | None = None
    channel_order: Order | None = None
    layout: Layout | None = None
    runtime: str | None = None
    threads: int = 1


@dataclass(frozen=True)
class Subject:
    """A file that can be run: inputs and outputs, runtime and version, and how pictures become the input.

    ``run`` is where: in a process of its own on this machine, or on an emulated board. ``labels`` are the classes'
    names, the manifest's or those that the file carries; empty where nothing tells.
    """

    path: Path
    runtime: str
    version: str
    artifact: Artifact | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    how: Preprocessing
    origin: str
    asked: Asked
    run: Run = run_cell
    labels: tuple[str, ...] = ()

    @property
    def ran(self) -> str:
        """The runtime and its version, and the board where it is not this machine."""
        return f"{self.runtime} {self.version}"

    @property
    def prepared(self) -> str:
        """One line that says how pictures become the input."""
        return sentence(self.how, self.origin, self.inputs[0].layout.upper())

    def label(self, index: int) -> str:
        """Return a class's name, or its number."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"

    @property
    def head(self) -> str | None:
        """How a file with NMS inside gives boxes, which its manifest says; None for others."""
        nms = None if self.artifact is None else self.artifact.nms
        return None if nms is None else str(nms["final"])

    @property
    def task(self) -> Task:
        """What its outputs are for, by their shapes and types."""
        return task_of([spec.shape for spec in self.outputs], are_whole(self.outputs))

    @property
    def lists(self) -> bool:
        """Whether NMS inside it lists the boxes of one picture, another number of each."""
        return is_listed([spec.shape for spec in self.outputs])

    @property
    def at_once(self) -> int:
        """Pictures in memory at a time."""
        if self.lists:
            return 1
        values = sum(math.prod(map(abs, s.shape[1:])) for s in (*self.inputs, *self.outputs))
        return max(1, AT_ONCE // max(4 * values, 1))

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape as the hub has it, NCHW."""
        n, *rest = self.inputs[0].shape
        if self.inputs[0].layout == "nhwc":
            return (n, rest[2], *rest[:2])
        return self.inputs[0].shape


def open_subject(path: Path, asked: Asked) -> Subject:
    """Find out what ``path`` takes, once a child process could open it.

    Raises UsageError where it does not take one picture.
    """
    check_wished(asked)
    refuse_missing(path)
    way = one_way(path, asked.runtime)
    python = other_python(way.python) if way.python else ()
    subject = _subject(path, way.label, probe(path, way.label, python=python), asked)
    return replace(subject, run=partial(run_cell, python=python)) if python else subject


def probed_subject(path: Path, runtime: str, asked: Asked) -> Subject:
    """Find out what a file takes that ``runtime`` is known to open, in this process."""
    with open_runner(path, runtime=runtime) as runner:
        borders = Borders(runner.version, tuple(runner.inputs), tuple(runner.outputs))
    return _subject(path, runtime, borders, asked)


def _subject(path: Path, runtime: str, borders: Borders, asked: Asked) -> Subject:
    artifact = load_artifact(path)
    inputs, outputs, version = borders.inputs, borders.outputs, borders.version
    if artifact is not None:
        inputs = artifact.inputs
    elif asked.layout is not None:
        inputs = tuple(
            TensorSpec(s.name, s.shape, s.dtype, asked.layout, s.quantization) for s in inputs
        )
    shape = inputs[0].shape
    channels = shape[3] if inputs[0].layout == "nhwc" and len(shape) == 4 else shape[1:2]
    if len(inputs) != 1 or len(shape) != 4 or channels not in (1, 3, (1,), (3,)):
        said = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
        unsure = artifact is None and len(inputs) == 1 and len(shape) == 4
        hint = (
            "eval's --input-layout says where channels are"
            if unsure
            else "parity and bench feed whatever a net takes"
        )
        raise UsageError(f"{path} takes {said}, not one picture ({hint})")
    size = shape[1:3] if inputs[0].layout == "nhwc" else shape[2:4]
    own = None if artifact is None else artifact.preprocessing
    how, origin = _prepared(asked, own, (size[0], size[1]), 1 if channels in (1, (1,)) else 3)
    found = Subject(path, runtime, version, artifact, inputs, outputs, how, origin, asked)
    return replace(found, labels=_labels(found))


def _labels(subject: Subject) -> tuple[str, ...]:
    """Return the manifest's class names, else those inside the file where there is one for each of its scores."""
    if subject.artifact is not None:
        return tuple(subject.artifact.labels or ())
    labels = carried_labels(subject.path)
    scores = scores_count([spec.shape for spec in subject.outputs])
    return labels if subject.task != "classes" or scores in (None, len(labels)) else ()


def _prepared(
    asked: Asked, own: Preprocessing | None, size: tuple[int, int], channels: int
) -> tuple[Preprocessing, str]:
    """Return the options over the manifest's over ImageNet's, and who says so."""
    usual = NAMED["symmetric"] if channels == 1 else NAMED["imagenet"]
    said = Preprocessing(*usual, USUAL_CROP, size) if own is None else replace(own, size=size)
    origin = who_says(asked, ASSUMED if own is None else "manifest")
    return as_wished(said, asked, channels), origin


def pictures(
    subject: Subject, folder: str, truth: Mapping[str, int] | None, count: int | None
) -> list[Sample]:
    """Return the samples of ``folder`` for ``subject``, ``count`` of them spread evenly."""
    found = load_samples(folder, InputSpec({"picture": subject.shape}, subject.how), truth)
    return spread(found, count or len(found))


def picture_samples(subject: Subject, paths: Sequence[Path]) -> list[Sample]:
    """Return the samples of single pictures, called by their paths."""

    def sample(path: Path) -> Sample:
        how, shape = subject.how, subject.shape
        return Sample(str(path), lambda: picture_feed(path, "picture", shape, how))

    return [sample(path) for path in paths]


def outputs_of(
    subject: Subject, samples: Sequence[Sample], run: Run | None = None
) -> Iterator[tuple[Sequence[Sample], dict[str, Array]]]:
    """Yield some samples and the file's real outputs on them, (samples, ...), until all have run.

    ``run`` replaces the subject's own.
    """
    own = subject.artifact
    for start in range(0, len(samples), subject.at_once):
        some = samples[start : start + subject.at_once]
        inputs = np.concatenate([sample.load()["picture"][:1] for sample in some])
        with temporary_folder() as scratch:
            np.save(scratch / "input.npy", inputs)
            job = Job(
                subject.path,
                subject.runtime,
                {subject.inputs[0].name: scratch / "input.npy"},
                scratch / "out.npz",
                threads=subject.asked.threads,
                input_specs=own.inputs if own else (),
                output_specs=own.outputs if own else (),
                file_layout=None if own else subject.asked.layout,
            )
            outputs = dict((run or subject.run)(job).arrays)
        if subject.lists:  # of one box it cannot be seen that no axis is the picture's
            rank = {spec.name: len(spec.shape) + 1 for spec in subject.outputs}
            outputs = {n: v if v.ndim == rank[n] else v[None] for n, v in outputs.items()}
        yield some, outputs  # outside: whoever stops taking them would leave the folder
