"""Going on with the integers: a recipe's own quantizers in PyTorch, taught by the labels and by the float net."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.quant.judge import run_recipe
from edgeconv.export.twin.distil import Descent, at_once, comparable
from edgeconv.export.twin.net import Twin, why_not
from edgeconv.files import lay, temporary_folder
from edgeconv.recipe import Recipe
from edgeconv.train.loop import Data
from edgeconv.train.options import TrainOptions
from edgeconv.train.pictures import Labelled, augmented, batches, to_input

CALIBRATED = 128
"""Pictures that the recipe is made on, spread over those that are learnt."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Integers:
    """What training the integers gave: held-out pictures that were right ``before`` and ``after``.

    ``path`` is the recipe that was written, None where it was not better. ``epochs`` ran.
    """

    before: int
    after: int
    epochs: int
    path: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        recipe = None if self.path is None else str(self.path)
        return {
            "right_before": self.before,
            "right": self.after,
            "epochs": self.epochs,
            "recipe": recipe,
        }


def train_integers(
    weights: Path,
    path: Path,
    learnt: Labelled,
    data: Data,
    options: TrainOptions,
    place: torch.device,
    say: Say,
) -> Integers:
    """Train the integers that INT8 gives ``weights``; write their recipe to ``path`` where held-out pictures say it is better.

    Better is more of them right, or as many with a smaller loss, in the file that onnxruntime runs.
    Raises EdgeconvError where an operator of the net has no twin in PyTorch.
    """
    graph, recipe = _recipe(options, weights, learnt)
    if (reason := why_not(graph)) is not None:
        raise EdgeconvError(f"--qat: {reason}")
    threads = options.threads or 1
    before = _judged(graph, recipe, data, threads)
    say(f"INT8 recipe {recipe.name}: held out {_percent(before[0], data)}")
    made = _trained(Twin(comparable(graph), recipe, place=place), data, options, say)
    after = _judged(graph, made, data, threads)
    kept = (after[0], -after[1]) > (before[0], -before[1])
    if kept:
        made.save(path)
    else:
        path.unlink(missing_ok=True)
    say(
        f"integers trained: held out {_percent(after[0], data)}, {'kept' if kept else 'not better, not kept'}"
    )
    return Integers(before[0], after[0], options.qat, path if kept else None)


def _percent(right: int, data: Data) -> str:
    return f"{100 * right / len(data.held_classes):.1f} %"


def _recipe(options: TrainOptions, weights: Path, learnt: Labelled) -> tuple[Graph, Recipe]:
    """Quantize the checkpoint as an export does, on pictures that are learnt."""
    from edgeconv.api import make_options
    from edgeconv.export.pipeline import measure

    with temporary_folder() as folder:
        count = min(CALIBRATED, len(learnt.paths))
        for place in range(count):
            path = learnt.paths[place * len(learnt.paths) // count].absolute()
            lay(path, folder / f"{place:03}{path.suffix}")
        work = measure(
            make_options(
                options.net, precision="int8", targets=("onnx",), weights=str(weights),
                calib=str(folder), verify=str(folder), threads=options.threads, allow_poor_calibration=True,
            )
        )  # fmt: skip
    assert work.recipe is not None
    return work.graph, work.recipe


def _trained(twin: Twin, data: Data, options: TrainOptions, say: Say) -> Recipe:
    """Return the recipe after ``options.qat`` epochs of labels and of what the float net answers."""
    (source,), size = twin.graph.inputs, at_once(twin)
    descent, step = Descent(twin), 0
    steps = options.qat * (len(data.classes) // min(options.batch, len(data.classes)))
    for epoch in range(options.qat):
        generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
        total, first = 0.0, step
        for index in batches(len(data.classes), options.batch, generator):
            descent.begin(step, step / steps)
            varied = augmented(
                data.pixels[index], data.how.size[0], options.augment, generator, twin.place
            )
            classes = data.classes[index].to(twin.place)
            for start in range(0, len(index), size):
                pixels, wanted = varied[start : start + size], classes[start : start + size]
                loss = _loss(twin, source, to_input(pixels, data.how), wanted, options)
                torch.autograd.backward(loss * (len(wanted) / len(index)))
                total += float(loss.detach()) * len(wanted) / len(index)
            descent.optimizer.step()
            step += 1
        say(f"integers, epoch {epoch + 1}/{options.qat}: loss {total / (step - first):.3f}")
    return twin.to_recipe()


def _loss(twin: Twin, source: str, inputs: Tensor, wanted: Tensor, options: TrainOptions) -> Tensor:
    """Return cross entropy with the labels, plus the divergence from the float net's answers."""
    with torch.no_grad():
        (taught,) = twin.run({source: inputs}, integer=False).values()
    (made,) = twin.run({source: inputs}, integer=True).values()
    logits, teacher = made.flatten(1), taught.flatten(1)
    labels = F.cross_entropy(logits, wanted, label_smoothing=options.label_smoothing)
    alike = F.kl_div(
        F.log_softmax(logits, 1), F.log_softmax(teacher, 1), reduction="batchmean", log_target=True
    )
    return labels + alike


def _judged(graph: Graph, recipe: Recipe, data: Data, threads: int) -> tuple[int, float]:
    """Return how many held-out pictures are right in INT8, and their mean cross entropy."""
    (source,) = graph.inputs
    feeds = [
        {source: to_input(pixels[None], data.how).contiguous().numpy()}
        for pixels in data.held_pixels
    ]
    (rows,) = run_recipe(graph, recipe, feeds, threads).values()
    logits = torch.from_numpy(np.asarray(rows, np.float32).reshape(len(feeds), -1))
    right = int((logits.argmax(1) == data.held_classes).sum())
    return right, float(F.cross_entropy(logits, data.held_classes))
