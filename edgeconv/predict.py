"""The classes a file sees in pictures, in whatever runtime is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.evaluate.run import Subject, outputs_of, picture_samples
from edgeconv.evaluate.task import labels_output, scores_output
from edgeconv.metrics import are_probabilities


@dataclass(frozen=True)
class Ranked:
    """One class: index, name ("class 7" where labels are unknown), and softmax probability.

    A file that gives its best class alone says no probability.
    """

    index: int
    name: str
    probability: float | None


@dataclass(frozen=True)
class Prediction:
    """The best classes of one picture, most probable first, and the runtime that said so."""

    picture: Path
    runtime: str
    classes: tuple[Ranked, ...]


def predict(subject: Subject, pictures: Sequence[Path], top: int) -> list[Prediction]:
    """Run every picture through a file, in a child process: see edgeconv.run_model."""
    found: list[Prediction] = []
    for some, arrays in outputs_of(subject, picture_samples(subject, pictures)):
        labels, scores = labels_output(arrays), scores_output(arrays)
        if labels is not None:
            for sample, label in zip(some, labels.tolist(), strict=True):
                only = (Ranked(label, subject.label(label), None),)
                found.append(Prediction(Path(sample.name), subject.ran, only))
            continue
        if scores is None:
            made = ", ".join(f"{spec.name} is {list(spec.shape)}" for spec in subject.outputs)
            raise EdgeconvError(f"{subject.path} is no classifier: {made}")
        for sample, row in zip(some, scores, strict=True):
            found.append(Prediction(Path(sample.name), subject.ran, _rank(row, subject, top)))
    return found


def _rank(scores: NDArray[Any], subject: Subject, top: int) -> tuple[Ranked, ...]:
    shares = scores.astype(np.float64)
    own = subject.artifact
    done = are_probabilities(scores[None]) if own is None else own.probabilities
    if not done:
        shares = np.exp(shares - shares.max())
        shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:top]
    return tuple(Ranked(int(i), subject.label(int(i)), float(shares[i])) for i in best)
