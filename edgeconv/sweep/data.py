"""What a sweep evaluates on: the user's data with its truth, or the pictures of the bundled nets."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeconv.demo_files import demo_folder
from edgeconv.pictures import find_pictures
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.truth import class_folders, read_truth

BUNDLED = "bundled"
"""The truth of our own pictures: the class is in each name."""


@dataclass(frozen=True)
class Evaluation:
    """Samples to evaluate on: "@HASH/NAME", their number, and what they show ("" unknown)."""

    data: str
    count: int
    truth: str


def choose(job: Job, inputs: Inputs, *, bundled: bool) -> Evaluation | None:
    """Return what ``job`` evaluates on; None where nothing is given and the weights are not ours.

    Folders with one subfolder a class are their own truth.
    """
    if job.data is None:
        if not bundled:
            return None
        folder = demo_folder("pictures") / "test"
        return Evaluation(inputs.add(folder), _limited(job, len(find_pictures(folder))), BUNDLED)
    path = Path(job.data)
    if path.is_dir():
        truth = job.truth or ("folders" if class_folders(path) else "")
        if truth not in ("", "folders"):
            truth = inputs.add(Path(truth))
        return Evaluation(inputs.add(path), _limited(job, len(find_pictures(path))), truth)
    from edgeconv.arrays import read_arrays

    reference = inputs.add(path)  # refuses a missing file
    arrays = read_arrays(path)
    count = len(next(iter(arrays.values())))
    return Evaluation(reference, _limited(job, count), "arrays" if "truth" in arrays else "")


def shuffled(count: int) -> list[int]:
    """Return the places of ``count`` samples in a fixed order of no pattern: the first some are like all.

    >>> shuffled(5)
    [4, 3, 0, 1, 2]
    """
    return sorted(range(count), key=lambda place: hashlib.sha256(b"%d" % place).digest())


def _limited(job: Job, count: int) -> int:
    return count if job.count is None else min(job.count, count)


def read_known(truth: str, data: str, labels: Sequence[str] | None) -> Mapping[str, int]:
    """Return picture -> class for an evaluation's ``truth``; arrays bring their own."""
    if truth in ("", "arrays"):
        return {}
    folder = Path(data)
    if truth == BUNDLED:
        return {path.name: int(path.name.partition("_")[0]) for path in find_pictures(folder)}
    return read_truth(truth, folder, labels)
