"""Which preprocessing a net was trained with, by what it makes of pictures: where no batch norm says it.

With the true classes another one is claimed where it surely classifies better; negatives (255 - x) are asked beside,
for BGR can classify them better than what is fed. Without them the scores
can only hint: how much they tell of which picture it is, the mutual information of picture and class.
A net that is fed nonsense is unsure of everything, or sure of one class for all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.artifact import LETTERBOX, Crop, Preprocessing
from edgeconv.export.fit_preprocessing import some_pictures
from edgeconv.pictures import find_pictures, read_picture, resize_and_crop, to_input
from edgeconv.preprocessing import NAMED, flags, named, negative, scaled, turned

if TYPE_CHECKING:
    import onnx
    import torch

Array = NDArray[Any]
Scores = Callable[[Array], Array]
"""One input (1, C, H, W) to class scores (1, classes)."""
LABELLED, UNLABELLED, FEW = 64, 32, 8
"""Pictures that are asked, with and without the truth, and of the latter those that are asked first."""
MORE = 400
"""Others that are asked where those leave it open."""
SURELY, GAIN = 0.01, 0.05
"""Error of all comparisons together, and the least gain in top-1 that is worth a claim."""
UNSURE = 0.05
"""Error at which one of two ways that classify better counts as the worse: else both are asked of further pictures."""
TELLING = 1.25
"""How many times more another preprocessing must tell, and by at least a quarter nat, for a hint."""
CROPS: tuple[Crop, ...] = (0.875, 1.0, LETTERBOX)


@dataclass(frozen=True)
class Trial:
    """One way to prepare pictures, and the options that ask for it: none does for negatives."""

    how: Preprocessing
    wish: Mapping[str, Any]

    def scores(self, net: Scores, pictures: Sequence[Array], channels: int) -> Array:
        """Return the net's scores, (pictures, classes), for decoded pictures of any size."""
        rows = []
        for picture in pictures:
            pixels = resize_and_crop(picture, self.how.size, self.how.crop)
            rows.append(net(to_input(pixels, self.how, channels)))
        return np.concatenate(rows)


@dataclass(frozen=True)
class Claim:
    """A sentence about a better preprocessing, and the options that ask for it."""

    text: str
    wish: Mapping[str, Any]


def better_by_truth(
    net: Scores,
    how: Preprocessing,
    channels: int,
    folder: str,
    truth: Mapping[str, int],
    *,
    scalings: bool = True,
) -> Claim | None:
    """Return the preprocessing that surely classifies the labelled pictures of ``folder`` better.

    ``scalings``: other means and stds are asked too, which statistics that fit forbid.

    What is better of the first pictures by chance or not is asked of as many more as it takes.
    """
    paths = [p for p in find_pictures(Path(folder)) if _known(p, folder, truth) is not None]
    if len(paths) < 2:
        return None
    rest = set(range(len(paths)))

    def drawn(most: int) -> list[Path]:
        left = sorted(rest)
        count = min(most, len(left))
        chosen = [left[i * len(left) // count] for i in range(count)]
        rest.difference_update(chosen)
        return [paths[place] for place in chosen]

    def right(trial: Trial, asked: Sequence[Path]) -> NDArray[np.bool_]:
        classes = np.array([_known(path, folder, truth) for path in asked], np.int64)
        scores = trial.scores(net, [read_picture(path) for path in asked], channels)
        return metrics.correct(scores, np.where(classes < scores.shape[1], classes, -1))

    trials = [
        t
        for t in _trials(how, channels, with_truth=True)
        if scalings or "preprocessing" not in t.wish
    ]
    now, asked = Trial(how, {}), drawn(LABELLED)
    error = SURELY / 2 / len(trials)
    present = right(now, asked)
    if metrics.mcnemar_p(present, np.ones_like(present)) >= error:
        return None  # so few are wrong that not even all right would be surely better
    found = [(trial, right(trial, asked)) for trial in trials]
    trial, best = _best(found)
    if best.mean() < present.mean() + GAIN / 2:
        return None
    rivals = _rivals(found, best)
    if rest and (len(rivals) > 1 or metrics.mcnemar_p(present, best) >= error):
        asked, error = drawn(MORE), SURELY / 2 / len(rivals)
        present = right(now, asked)
        trial, best = _best([(rival, right(rival, asked)) for rival in rivals])
    if metrics.mcnemar_p(present, best) >= error or best.mean() < present.mean() + GAIN:
        return None
    what = "PREPROCESSING LOOKS" if trial.wish else "PICTURES LOOK"
    way = f"{flags(trial.wish)}: try that" if trial.wish else "their negatives (255 - x)"
    return Claim(
        f"{what} WRONG: over {len(asked)} pictures top-1 is {100 * present.mean():.1f} %, and "
        f"{100 * best.mean():.1f} % with {way}",
        trial.wish,
    )


def _best(found: Sequence[tuple[Trial, NDArray[np.bool_]]]) -> tuple[Trial, NDArray[np.bool_]]:
    return max(found, key=lambda each: float(each[1].mean()))


def _rivals(
    found: Sequence[tuple[Trial, NDArray[np.bool_]]], best: NDArray[np.bool_]
) -> list[Trial]:
    """Return of each kind of option the best trial, where it is not surely worse than ``best``.

    One crop or another is the same claim, and costs no further pictures.
    """
    kinds: dict[str, list[tuple[Trial, NDArray[np.bool_]]]] = {}
    for trial, correct in found:
        kinds.setdefault(next(iter(trial.wish), ""), []).append((trial, correct))
    firsts = [_best(each) for each in kinds.values()]
    return [t for t, correct in firsts if metrics.mcnemar_p(best, correct) >= UNSURE]


def hint_by_scores(net: Scores, how: Preprocessing, channels: int, folder: str) -> str | None:
    """Return a hint at a scaling under which the scores tell pictures apart far better, if one does."""
    pictures = some_pictures(folder, how, UNLABELLED)
    few = pictures[:: max(1, len(pictures) // FEW)]

    def telling(trial: Trial, asked: Sequence[Array]) -> float:
        rows = [to_input(picture, trial.how, channels) for picture in asked]
        return information(np.concatenate([net(value) for value in rows]))

    now = Trial(how, {})
    first = telling(now, few)
    if _worth(first) > np.log(len(few)):
        return None  # it tells the pictures apart nearly as well as can be
    trials = [t for t in _trials(how, channels, with_truth=False) if telling(t, few) > first]
    if not trials:
        return None
    present = telling(now, pictures)
    best, trial = max(((telling(t, pictures), t) for t in trials), key=lambda each: each[0])
    if best < _worth(present):
        return None
    return (
        f"a hint, no more: with {flags(trial.wish)} the scores say {best:.2g} nats of which of "
        f"{len(pictures)} pictures it is, now {present:.2g}; labelled pictures (--truth) would tell"
    )


def _worth(present: float) -> float:
    """Return the nats that another preprocessing must tell where the present one tells so many."""
    return max(TELLING * present, present + 0.25)


def information(scores: Array) -> float:
    """Return the mutual information of picture and class, in nats, by the softmax of the scores.

    >>> round(information(np.array([[50.0, 0.0], [0.0, 50.0]])), 3), information(np.zeros((2, 2)))
    (0.693, 0.0)
    """
    rows = metrics.class_rows(scores).astype(np.float64)
    if not metrics.are_probabilities(rows):
        rows = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares = rows / rows.sum(axis=1, keepdims=True)

    def entropy(values: Array) -> Array:
        found: Array = -(values * np.log(values + 1e-30)).sum(axis=-1)
        return found

    return max(0.0, float(entropy(shares.mean(axis=0)) - entropy(shares).mean()))


def class_scores(
    module: "torch.nn.Module | None",
    model: "onnx.ModelProto | None",
    shape: tuple[int, ...],
) -> Scores | None:
    """Return what gives class scores of one input of ``shape``; None where the net is no classifier."""
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3):
        return None
    if module is not None:
        net = _of_module(module)
    elif model is not None:
        from edgeconv.runtimes.onnxrt import open_model

        runner = open_model(model.SerializeToString())
        if len(runner.inputs) != 1:
            return None
        spec, given = runner.inputs[0], runner.outputs[0].name

        def net(value: Array) -> Array:
            return runner.infer({spec.name: value.astype(spec.dtype)})[given]
    else:
        return None
    probe = net(np.zeros(shape, np.float32))
    return net if probe.ndim >= 2 and len(probe) == 1 and metrics.is_scores(probe) else None


def _of_module(module: "torch.nn.Module") -> Scores:
    import torch

    def net(value: Array) -> Array:
        with torch.no_grad():
            made = module(torch.from_numpy(value))
        first = made if isinstance(made, torch.Tensor) else next(iter(_listed(made)), None)
        return np.zeros(0) if not isinstance(first, torch.Tensor) else first.numpy()

    return net


def _listed(made: Any) -> Sequence[Any]:
    return list(made.values()) if isinstance(made, dict) else list(made)


def _trials(how: Preprocessing, channels: int, *, with_truth: bool) -> list[Trial]:
    """Return every other usual way; without the truth only scalings, which alone can hint."""
    found = [
        Trial(scaled(how, name, channels), {"preprocessing": name})
        for name in NAMED
        if name != named(how)
    ]
    if with_truth and channels == 3:
        other = turned(how)
        found.append(Trial(other, {"channel_order": other.order}))
    if with_truth:
        found += [
            Trial(replace(how, crop=crop), {"crop": crop}) for crop in CROPS if crop != how.crop
        ]
        found.append(Trial(negative(how), {}))
    return found


def _known(path: Path, folder: str, truth: Mapping[str, int]) -> int | None:
    return truth.get(path.relative_to(folder).as_posix(), truth.get(path.name))
