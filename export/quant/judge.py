"""Score a candidate recipe on held-out pictures against the float net, and pick one."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.observe import Feeds, Floats
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session
from edgeconv.recipe import Recipe

NEAR_DB = 0.3
"""Candidates this near to the best are as good: the one to trust most is taken. Float noise of 1e-6 moves what
they measure by as much, and on other pictures those picked by less are no better."""
EVEN_DB = 0.05
"""What clipping must bring, as other pictures may hold what it takes away."""
WORTH_DB = 0.1
"""What a change to a finished recipe must bring."""
INAUDIBLE = 1e-8
"""Less noise than this share of an output's power, 80 dB, is no reason for anything."""
FORM_DB = 0.2
"""What the zero-point-free form may cost."""
JUDGING = 32, 96
"""Pictures that judge a candidate, those that it did not learn on first: of nets that say much of each, and of those
that give a few scores. Where 32 rows of ten scores judge, float noise of 1e-6 moves candidates by 1 dB."""
ENOUGH_SAID = 4096
"""Numbers of all outputs over all pictures that judge, behind which more pictures tell little."""


@dataclass(frozen=True)
class Score:
    """How far a recipe is from float on held-out pictures.

    ``noise`` decides: the geometric mean over pictures and outputs of the noise's share of an output's
    power, where they are scores without what moves all of a picture's alike; of indices only where
    there is nothing else. ``loss`` is the mean KL divergence (nats) where the net gives
    class scores, else the plain share of noise; a few pictures with close classes carry most of a
    divergence, so that its mean is often luck. ``agreement`` is in percent, None without class
    scores.
    """

    noise: float
    loss: float
    sqnr_db: float
    agreement: float | None

    def as_notes(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        return asdict(self)


def class_scores(graph: Graph) -> bool:
    """Whether the net's only output is one row of scores."""
    if len(graph.outputs) != 1 or graph.dtype(graph.outputs[0]) != np.float32:
        return False
    shape = graph.shape(graph.outputs[0])
    return len(shape) == 2 and shape[0] == 1 and shape[1] > 1


def are_probabilities(graph: Graph) -> bool:
    """Whether the net ends in a softmax."""
    return graph.producers()[graph.outputs[0]].op == "Softmax"


def run_recipe(
    graph: Graph,
    recipe: Recipe,
    feeds: Feeds,
    threads: int,
    rounded: bool = False,
    free: bool = False,
) -> dict[str, Floats]:
    """Return the outputs (n, ...) of the recipe's ONNX file; ``rounded``, ``free`` as emit_qdq takes them."""
    model = emit_qdq(graph, recipe, rounded=rounded, free=free).model
    running = session(model, threads=threads, integers=integer_kernels_are_exact())
    rows: dict[str, list[Floats]] = {name: [] for name in graph.outputs}
    for feed in feeds:
        fed = {name: np.asarray(feed[name], graph.dtype(name)) for name in graph.inputs}
        for name, value in zip(graph.outputs, running.run(graph.outputs, fed), strict=True):
            rows[name].append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def score(graph: Graph, wanted: Mapping[str, Floats], got: Mapping[str, Floats]) -> Score:
    """Compare outputs (n, ...) of the float and the quantized net."""
    each_output = {name: _noise_shares(wanted[name], got[name]) for name in graph.outputs}
    shares = np.mean(list(each_output.values()), axis=0)
    sqnr = float(-10 * np.log10(max(float(shares.mean()), 1e-12)))
    if not class_scores(graph):
        values = [own for name, own in each_output.items() if wanted[name].dtype.kind == "f"]
        heard = [max(_typical(own), INAUDIBLE) for own in values or each_output.values()]
        return Score(float(np.exp(np.log(heard).mean())), float(shares.mean()), sqnr, None)
    name = graph.outputs[0]
    rows = len(wanted[name])
    real, quantized = wanted[name].reshape(rows, -1), got[name].reshape(rows, -1)
    each = _divergences(real, quantized, probabilities=are_probabilities(graph))
    agrees = real.argmax(axis=1) == quantized.argmax(axis=1)
    if not are_probabilities(graph):
        shares = _noise_shares(_centred(real), _centred(quantized))
    return Score(_typical(shares), float(each.mean()), sqnr, 100 * float(agrees.mean()))


def _typical(shares: NDArray[np.float64]) -> float:
    """Return the geometric mean, which no single picture carries; nearly exact ones count as such."""
    return float(np.exp(np.log(np.maximum(shares, max(1e-3 * shares.mean(), 1e-12))).mean()))


def _centred(scores: Floats) -> Floats:
    moved: Floats = scores - scores.mean(axis=1, keepdims=True)
    return moved


def _noise_shares(wanted: Floats, got: Floats) -> NDArray[np.float64]:
    """Return each picture's noise as a share of the mean power, so that their mean is the whole's.

    Of indices and truth values it is the share that differs.
    """
    if wanted.dtype.kind != "f":
        differs = (wanted != got).reshape(len(wanted), -1)
        return np.asarray(differs.mean(axis=1) if differs.size else np.zeros(len(wanted)))
    real, other = (a.astype(np.float64).reshape(len(wanted), -1) for a in (wanted, got))
    power = max(float((real**2).sum(axis=1).mean()), 1e-30)
    shares: NDArray[np.float64] = ((real - other) ** 2).sum(axis=1) / power
    return shares


def _divergences(wanted: Floats, got: Floats, *, probabilities: bool) -> NDArray[np.float64]:
    real, other = wanted.astype(np.float64), got.astype(np.float64)
    if probabilities:
        real, other = np.log(np.maximum(real, 1e-9)), np.log(np.maximum(other, 1 / 512))
    first, second = _log_softmax(real), _log_softmax(other)
    each: NDArray[np.float64] = (np.exp(first) * (first - second)).sum(axis=1)
    return each


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def best(scores: Sequence[Score], unclipped: Collection[int] = ()) -> int:
    """Return the index of the first that is within NEAR_DB of the least noise.

    Of the ``unclipped`` the first that is as good as it, but for EVEN_DB, goes before it.
    Noise that is no number, of a division by what 8 bits round to 0, is more than any; where all are
    such, the first is returned, and the verdict on its file says so.
    """
    real = [entry.noise for entry in scores if np.isfinite(entry.noise)]
    if not real:
        return 0
    least = min(real)
    first = next(i for i, entry in enumerate(scores) if decibels(entry.noise, least) <= NEAR_DB)
    even = (i for i in unclipped if decibels(scores[i].noise, scores[first].noise) <= EVEN_DB)
    return next(even, first)


def form_is_too_dear(free: Score, asymmetric: Score) -> str | None:
    """Say what the zero-point-free form costs where it is more than FORM_DB; None where it is not."""
    cost = decibels(free.noise, asymmetric.noise)
    return f"zero points take {cost:.1f} dB of the noise away" if cost > FORM_DB else None


def decibels(noise: float, other: float) -> float:
    """Return how much stronger ``noise`` is than ``other``; what cannot be heard is equal."""
    return float(10 * np.log10(max(noise, 1e-12) / max(other, 1e-12)))


def judging(graph: Graph) -> int:
    """Return how many pictures judge at most."""
    said = sum(math.prod(graph.shape(name)) for name in graph.outputs)
    return int(np.clip(ENOUGH_SAID // max(said, 1), *JUDGING))
