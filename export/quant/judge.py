"""Score a candidate recipe on held-out pictures against the float net, and pick one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.observe import Feeds, Floats
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session
from edgeconv.recipe import Recipe

CLEARLY_WORSE = 1.25
"""A loss this many times larger is no chance of a few held-out pictures."""
AGREEMENT_COST = 0.2
"""Points of agreement that the zero-point-free form may cost."""


@dataclass(frozen=True)
class Score:
    """How far a recipe is from float on held-out pictures.

    ``loss`` decides, the mean of ``each`` picture's: the KL divergence (nats) where the net gives
    class scores, else the share of noise in the outputs' power. ``agreement`` is in percent, None
    without class scores.
    """

    loss: float
    sqnr_db: float
    agreement: float | None
    each: tuple[float, ...]

    def as_notes(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        data = asdict(self)
        del data["each"]
        return data


def class_scores(graph: Graph) -> bool:
    """Whether the net's only output is one row of scores."""
    if len(graph.outputs) != 1 or graph.dtype(graph.outputs[0]) != np.float32:
        return False
    shape = graph.shape(graph.outputs[0])
    return len(shape) == 2 and shape[0] == 1 and shape[1] > 1


def are_probabilities(graph: Graph) -> bool:
    """Whether the net ends in a softmax."""
    return graph.producers()[graph.outputs[0]].op == "Softmax"


def run_recipe(graph: Graph, recipe: Recipe, feeds: Feeds, threads: int) -> dict[str, Floats]:
    """Return the outputs (n, ...) of the recipe's ONNX file."""
    model = emit_qdq(graph, recipe).model
    running = session(model, threads=threads, optimize=integer_kernels_are_exact())
    rows: dict[str, list[Floats]] = {name: [] for name in graph.outputs}
    for feed in feeds:
        fed = {name: np.asarray(feed[name], graph.dtype(name)) for name in graph.inputs}
        for name, value in zip(graph.outputs, running.run(graph.outputs, fed), strict=True):
            rows[name].append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def score(graph: Graph, wanted: Mapping[str, Floats], got: Mapping[str, Floats]) -> Score:
    """Compare outputs (n, ...) of the float and the quantized net."""
    shares = np.mean([_noise_shares(wanted[name], got[name]) for name in graph.outputs], axis=0)
    sqnr = float(-10 * np.log10(max(float(shares.mean()), 1e-12)))
    if not class_scores(graph):
        return Score(float(shares.mean()), sqnr, None, tuple(shares.tolist()))
    name = graph.outputs[0]
    rows = len(wanted[name])
    real, quantized = wanted[name].reshape(rows, -1), got[name].reshape(rows, -1)
    each = _divergences(real, quantized, probabilities=are_probabilities(graph))
    agrees = real.argmax(axis=1) == quantized.argmax(axis=1)
    return Score(float(each.mean()), sqnr, 100 * float(agrees.mean()), tuple(each.tolist()))


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


def best(scores: Sequence[Score]) -> int:
    """Return the index of the first whose loss no other beats by more than chance.

    A few pictures with close classes carry most of a mean divergence, so the smallest mean of a
    handful is often luck: one counts as better where its mean advantage, picture by picture, is more
    than the standard error of that advantage.
    """
    for index, entry in enumerate(scores):
        if not any(_beats(other, entry) for other in scores):
            return index
    return int(np.argmin([s.loss for s in scores]))


def _beats(other: Score, entry: Score) -> bool:
    gains = np.array(entry.each) - np.array(other.each)
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return bool(gains.mean() > error)


def form_is_too_dear(free: Score, asymmetric: Score) -> str | None:
    """Say why the zero-point-free form costs too much; None where it does not.

    Either its loss is clearly larger, or it costs more than AGREEMENT_COST points of agreement.
    So little cannot be counted on a hundred pictures: divergence grows with the square of the
    noise on the scores and disagreement in proportion to it, so the points follow from the two
    losses and the disagreement that there is.
    """
    if asymmetric.loss <= 0:
        return None
    ratio = free.loss / asymmetric.loss
    if ratio > CLEARLY_WORSE:
        return f"without zero points the loss is {ratio:.2f}x that of the asymmetric form"
    if free.agreement is None or ratio <= 1:
        return None
    points = (100 - free.agreement) * (1 - ratio**-0.5)
    if points > AGREEMENT_COST:
        return f"without zero points {points:.1f} points of agreement would be lost"
    return None
