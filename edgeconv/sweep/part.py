"""A shard of an evaluation: what a worker is told, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import manifest_path, preprocessing_from_json
from edgeconv.errors import UsageError
from edgeconv.evaluate.masks import mask_name
from edgeconv.evaluate.part import Question, measure_here
from edgeconv.evaluate.run import Asked, Subject, probed_subject
from edgeconv.files import partner
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.child import Job, run_cell, work
from edgeconv.samples import Sample, picture_feed
from edgeconv.sweep.inputs import Inputs


def part_spec(
    inputs: Inputs, subject: Subject, samples: Sequence[Sample], question: Question
) -> dict[str, Any]:
    """Return the task of measuring ``samples``; only their own pictures and masks travel."""
    if subject.run is not run_cell:
        raise UsageError(
            f"{subject.runtime} is in another Python, which workers do not start: leave --workers and "
            "--scheduler out"
        )
    names = [sample.name for sample in samples]
    beside = (partner(subject.path), manifest_path(subject.path))
    files = (subject.path, *(file for file in beside if file is not None and file.is_file()))
    masks = None
    if question.folder is not None:
        masks = inputs.add_pictures(question.folder, [mask_name(name) for name in names])
    return {
        "file": inputs.add(*files),
        "asked": {**asdict(subject.asked), "runtime": subject.runtime},
        "data": inputs.add_pictures(question.data, names),
        "names": names,
        "truth": [sample.truth for sample in samples],
        "question": {
            "task": question.task,
            "shape": list(question.shape),
            "how": question.how.to_json(),
            "folder": masks,
            "head": question.head,
            "least": question.least,
            "iou": question.iou,
            "most": question.most,
        },
    }


def measure_part(spec: Mapping[str, Any], _folder: Path) -> dict[str, Any]:
    """Measure the pictures of one shard.

    A file that crashes takes the worker with it, which is a process of its own, as a child would be.
    """
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in spec["asked"].items()
    }
    question = _question(spec)
    samples = [
        _sample(question, name, truth)
        for name, truth in zip(spec["names"], spec["truth"], strict=True)
    ]
    subject = probed_subject(Path(spec["file"]), asked["runtime"], Asked(**asked))
    found: dict[str, Any] = measure_here(subject, samples, question, run).to_json()
    return found


def _question(spec: Mapping[str, Any]) -> Question:
    given = dict(spec["question"])
    folder = given.pop("folder")
    return Question(
        given.pop("task"),
        Path(spec["data"]),
        tuple(given.pop("shape")),
        preprocessing_from_json(given.pop("how")),
        None if folder is None else Path(folder),
        **given,
    )


def _sample(question: Question, name: str, truth: int | None) -> Sample:
    path = question.data / name
    return Sample(name, lambda: picture_feed(path, "picture", question.shape, question.how), truth)


def run(job: Job) -> Outputs:
    """Run a file in this process."""
    about = work(job.to_json())
    with np.load(job.out, allow_pickle=False) as stored:
        return Outputs({n.removeprefix("output:"): stored[n] for n in stored.files}, about)
