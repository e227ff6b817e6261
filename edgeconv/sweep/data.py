"""What a sweep evaluates on: the user's data with its truth, or the pictures of the bundled nets."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.demo_files import demo_folder
from edgeconv.errors import EdgeconvError
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.truth import check_csv, class_folders, read_truth, unasked

BUNDLED = "bundled"
"""The truth of our own pictures: the class is in each name."""

ARRAYS = "arrays"
"""The truth that lies in an .npz beside its samples."""

Known = dict[str, int]
"""Picture -> class."""


@dataclass(frozen=True)
class Evaluation:
    """Samples to evaluate on, ``count`` of them, and what they show: ``truth`` ("" unknown).

    ``names`` are pictures below ``source`` in an order without a pattern; None: it holds arrays.
    """

    source: Path
    names: tuple[str, ...] | None
    count: int
    truth: str
    _known: dict[Sequence[str] | None, Known] = field(default_factory=dict, compare=False)

    def part(
        self, inputs: Inputs, start: int, stop: int, labels: Sequence[str] | None
    ) -> dict[str, Any]:
        """Return what a task is told of samples start..stop: of pictures those alone, with their classes."""
        if self.names is None:
            truth = self.truth or None
            return {"data": inputs.add(self.source), "truth": truth, "part": [start, stop]}
        names = self.names[start:stop]
        data = inputs.add_some(self.source, names)
        return {"data": data, "truth": self._classes(names, labels), "part": None}

    def unasked(self) -> str | None:
        """Say which class folders have no picture among those that are asked; None where each has."""
        if self.truth != "folders" or self.names is None:
            return None
        return unasked(self.source, self.names)

    def _classes(self, names: Sequence[str], labels: Sequence[str] | None) -> Known | None:
        if not self.truth:
            return None
        key = None if labels is None else tuple(labels)
        if key not in self._known:
            self._known[key] = self._read(labels)
        known = self._known[key]
        return {name: known[name] for name in names if name in known}

    def _read(self, labels: Sequence[str] | None) -> Known:
        names = self.names or ()
        if self.truth == BUNDLED:
            return {name: int(name.partition("_")[0]) for name in names}
        said = read_truth(self.truth, self.source, labels)
        named = {name: said.get(name, said.get(Path(name).name)) for name in names}
        known = {name: value for name, value in named.items() if value is not None}
        if not known:
            raise EdgeconvError(
                f"--truth names no picture of {self.source}, but {next(iter(said))!r}"
            )
        return known


def choose(job: Job, inputs: Inputs, *, bundled: bool) -> Evaluation | None:
    """Return what ``job`` evaluates on; None where nothing is given and the weights are not ours.

    Folders with one subfolder a class are their own truth.
    """
    if job.data is None:
        return (
            _pictures(job, inputs, demo_folder("pictures") / "test", BUNDLED) if bundled else None
        )
    path = Path(job.data)
    if job.truth not in (None, "folders"):
        check_csv(Path(str(job.truth)))
    if path.is_dir():
        return _pictures(job, inputs, path, job.truth or ("folders" if class_folders(path) else ""))
    from edgeconv.arrays import read_arrays

    inputs.add(path)  # refuses a missing file
    arrays = read_arrays(path)
    if not arrays:
        raise EdgeconvError(f"{path} holds no samples")
    count = _limited(job, len(next(iter(arrays.values()))))
    return Evaluation(path, None, count, ARRAYS if "truth" in arrays else "")


def _pictures(job: Job, inputs: Inputs, folder: Path, truth: str) -> Evaluation:
    names = inputs.pictures(folder)
    count = _limited(job, len(names))
    return Evaluation(folder, tuple(names[p] for p in shuffled(len(names))[:count]), count, truth)


def shuffled(count: int) -> list[int]:
    """Return the places of ``count`` samples in a fixed order of no pattern: the first some are like all.

    >>> shuffled(5)
    [4, 3, 0, 1, 2]
    """
    return sorted(range(count), key=lambda place: hashlib.sha256(b"%d" % place).digest())


def _limited(job: Job, count: int) -> int:
    return count if job.count is None else min(job.count, count)
