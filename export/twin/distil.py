"""Train a recipe's integers, biases and scales until its net answers as the float net does.

The float net is the teacher, so nobody needs labels: views of the calibration pictures do. Latent weights
start at the recipe's own integers and are rounded in every step, with a straight-through gradient.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.accelerator import device, repeatable
from edgeconv.export.graph import Graph
from edgeconv.export.quant.observe import Feeds, Progress
from edgeconv.export.twin.net import Twin
from edgeconv.export.twin.views import views
from edgeconv.recipe import Recipe

VIEWS_EACH, BATCH, STEPS, WARM_UP = 16, 16, 420, 10
"""Views of a picture, views in a step, steps, steps until the rates are whole."""
VIEWS_BYTES = 400 << 20
"""Memory of views and what the teacher says of them: there are fewer where they are large."""
RATES = {"weights": 0.01, "biases": 0.02, "scales": 3e-4}
"""Adam's rates: in steps of a weight, in steps of an output, in logarithms of a scale."""
BETAS = (0.9, 0.99)
SLOW_START = 0.05
"""Share of the minutes by which steps may be late before the rates follow the clock: a GPU's first are slow."""
LOST, AT_FIRST = 2.0, 256
"""A loss so many times that of so many views before the first step is not going to come back."""
MICRO_BYTES = 600 << 20
"""Memory of what is kept for gradients, roughly."""


@dataclass(frozen=True)
class Trained:
    """What training made: the recipe, its steps, and whether --minutes ended it."""

    recipe: Recipe
    steps: int
    in_time: bool
    lost: bool


def distil(
    graph: Graph,
    recipe: Recipe,
    feeds: Feeds,
    *,
    minutes: float,
    limit: int = 127,
    seed: int = 0,
    threads: int = 1,
    accelerator: str = "cpu",
    pace: float = 1.0,
    steps: int = STEPS,
    progress: Progress = lambda _: None,
) -> Trained:
    """Return ``recipe`` trained on views of ``feeds`` (input name -> array of one sample).

    ``limit`` is the largest integer of a weight, ``pace`` a factor on the rates. The same arguments give the same integers unless
    ``minutes`` ran out: the rates then fall to nothing earlier. Raises EdgeconvError where PyTorch
    sees no such ``accelerator``.
    """
    place = device(accelerator)
    with _threads(threads), repeatable(place):
        twin = Twin(comparable(graph), recipe, limit, place)
        return _Training(graph, twin, feeds, seed, steps).run(
            Descent(twin, pace), minutes, progress
        )


class Descent:
    """Adam over what can be trained of a twin, at rates that rise shortly and then fall to nothing."""

    def __init__(self, twin: Twin, pace: float = 1.0) -> None:
        groups = []
        self.rates = [rate * pace for rate in RATES.values()]
        for kind, rate in zip(RATES, self.rates, strict=True):
            for tensor in (held := twin.trainable(kind)):
                tensor.requires_grad_(True)
            groups.append({"params": held, "lr": rate})
        self.optimizer = torch.optim.Adam(groups, betas=BETAS)

    def begin(self, step: int, done: float) -> None:
        """Set the rates of a step, ``done`` the share of the way so far, and forget its gradients."""
        warm = min(1.0, (step + 1) / WARM_UP)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm * (1 + math.cos(math.pi * done)) / 2
        self.optimizer.zero_grad()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Training:
    def __init__(self, graph: Graph, twin: Twin, feeds: Feeds, seed: int, steps: int) -> None:
        self.twin, self.steps = twin, steps
        self.generator = np.random.default_rng(seed)
        self.micro = at_once(self.twin)
        self.count = count = _count(graph, len(feeds))
        self.views = views(graph, feeds, count, self.generator)
        self.wanted = self._teach()
        self.power = {name: float((value**2).sum()) / count for name, value in self.wanted.items()}

    def _teach(self) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            made = [
                self.twin.run(self.views.pick(np.arange(start, start + self.micro)), integer=False)
                for start in range(0, self.count, self.micro)
            ]
        names = [name for name, value in made[0].items() if value.dtype == torch.float32]
        return {name: torch.stack([part[name] for part in made]) for name in names}

    def run(self, descent: Descent, minutes: float, progress: Callable[[float], None]) -> Trained:
        start, first = monotonic(), self._at_first()
        loss = first
        order: list[int] = []
        for step in range(self.steps):
            elapsed = (monotonic() - start) / (60 * minutes)
            done = step / self.steps
            if elapsed > done + SLOW_START:
                done = elapsed
            if done >= 1:
                return Trained(self.twin.to_recipe(), step, False, False)
            if len(order) < BATCH:
                order = [int(place) for place in self.generator.permutation(self.count)]
            places, order = order[:BATCH], order[BATCH:]
            descent.begin(step, done)
            loss = 0.9 * loss + 0.1 * self._descend(np.array(places))
            if not loss <= LOST * first:
                return Trained(self.twin.recipe, step, True, True)
            descent.optimizer.step()
            progress(done)
        return Trained(self.twin.to_recipe(), self.steps, True, False)

    def _at_first(self) -> float:
        """Return a step's loss before any: of views all over, for that of some is several times that of others."""
        places = np.linspace(0, self.count - 1, min(AT_FIRST, self.count)).round().astype(np.int64)
        with torch.no_grad():
            losses = [float(loss) for loss in self._losses(places)]
        return sum(losses) * BATCH / len(places)

    def _descend(self, places: NDArray[np.int64]) -> float:
        """Add the gradients of one step; return its loss, the noise's share of the outputs' power."""
        total = 0.0
        for loss in self._losses(places):
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _losses(self, places: NDArray[np.int64]) -> Iterator[torch.Tensor]:
        """Yield the views' parts of a step's loss, as many at once as there is memory for."""
        for start in range(0, len(places), self.micro):
            part = places[start : start + self.micro]
            made = self.twin.run(self.views.pick(part), integer=True)
            loss = torch.zeros((), device=self.twin.place)
            for name, wanted in self.wanted.items():
                real = wanted.flatten(0, 1).reshape(self.count, -1)[part]
                error = made[name].reshape(len(part), -1) - real
                loss = loss + (error**2).sum() / (max(self.power[name], 1e-30) * BATCH)
            yield loss


def _count(graph: Graph, pictures: int) -> int:
    """Return how many views there are, a multiple of BATCH."""
    read = sum(math.prod(graph.shape(name)) for name in graph.inputs)
    said = sum(4 * math.prod(graph.shape(name)) for name in graph.outputs)
    most = min(VIEWS_EACH * pictures, VIEWS_BYTES // (read + said))
    return max(1, most // BATCH) * BATCH


def comparable(graph: Graph) -> Graph:
    """Return the graph with what a last Softmax reads in the place of its probabilities."""
    other, makers = graph.clone(), graph.producers()
    other.outputs = [
        makers[name].inputs[0] if name in makers and makers[name].op == "Softmax" else name
        for name in graph.outputs
    ]
    other.prune()
    return other


def at_once(twin: Twin) -> int:
    """Return how many pictures run at once: a power of two, BATCH at most."""
    if not twin.batches:
        return 1
    graph = twin.graph
    each = 12 * sum(math.prod(graph.shape(node.output)) for node in graph.nodes)
    return next((n for n in (16, 8, 4, 2) if n * each <= MICRO_BYTES), 1)
