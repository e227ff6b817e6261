"""Score a candidate recipe on held-out pictures against the float net, and pick one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.quant.observe import Feeds, Floats
from edgeconv.export.quant.qdq import emit_qdq
from edgeconv.export.quant.recipe import Recipe
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session

CLEARLY_WORSE = 1.25
"""A loss this many times larger is no chance of a few held-out pictures."""
AGREEMENT_COST = 0.2
"""Points of agreement that the zero-point-free form may cost."""


@dataclass(frozen=True)
class Score:
    """How far a recipe is from float on held-out pictures.

    ``loss`` decides: the mean KL divergence (nats) where the net gives class scores, else the
    share of noise in the outputs' power. ``agreement`` is in percent, None without class scores.
    """

    loss: float
    sqnr_db: float
    agreement: float | None
    agrees: tuple[bool, ...]

    def as_notes(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        data = asdict(self)
        del data["agrees"]
        return data


def class_scores(graph: Graph) -> bool:
    """Whether the net's only output is one row of scores."""
    shape = graph.shape(graph.outputs[0])
    return len(graph.outputs) == 1 and len(shape) == 2 and shape[0] == 1 and shape[1] > 1


def are_probabilities(graph: Graph) -> bool:
    """Whether the net ends in a softmax."""
    return graph.producers()[graph.outputs[0]].op == "Softmax"


def run_recipe(graph: Graph, recipe: Recipe, feeds: Feeds, threads: int) -> dict[str, Floats]:
    """Return the outputs (n, ...) of the recipe's ONNX file."""
    model = emit_qdq(graph, recipe).model
    running = session(model, threads=threads, optimize=integer_kernels_are_exact())
    rows: dict[str, list[Floats]] = {name: [] for name in graph.outputs}
    for feed in feeds:
        fed = {name: np.asarray(feed[name], np.float32) for name in graph.inputs}
        for name, value in zip(graph.outputs, running.run(graph.outputs, fed), strict=True):
            rows[name].append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def score(graph: Graph, wanted: Mapping[str, Floats], got: Mapping[str, Floats]) -> Score:
    """Compare outputs (n, ...) of the float and the quantized net."""
    noise = np.mean([_noise_share(wanted[name], got[name]) for name in graph.outputs])
    sqnr = float(-10 * np.log10(max(float(noise), 1e-12)))
    if not class_scores(graph):
        return Score(float(noise), sqnr, None, ())
    name = graph.outputs[0]
    rows = len(wanted[name])
    real, quantized = wanted[name].reshape(rows, -1), got[name].reshape(rows, -1)
    divergence = _divergence(real, quantized, probabilities=are_probabilities(graph))
    agrees = real.argmax(axis=1) == quantized.argmax(axis=1)
    return Score(divergence, sqnr, 100 * float(agrees.mean()), tuple(map(bool, agrees)))


def _noise_share(wanted: Floats, got: Floats) -> float:
    real, other = wanted.astype(np.float64).reshape(-1), got.astype(np.float64).reshape(-1)
    return float(((real - other) ** 2).sum() / max(float((real**2).sum()), 1e-30))


def _divergence(wanted: Floats, got: Floats, *, probabilities: bool) -> float:
    real, other = wanted.astype(np.float64), got.astype(np.float64)
    if probabilities:
        real, other = np.log(np.maximum(real, 1e-9)), np.log(np.maximum(other, 1 / 512))
    first, second = _log_softmax(real), _log_softmax(other)
    return float((np.exp(first) * (first - second)).sum(axis=1).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def best(scores: Sequence[Score]) -> int:
    """Return the index of the smallest loss; of equals the first."""
    return int(np.argmin([s.loss for s in scores]))


def form_is_too_dear(free: Score, asymmetric: Score) -> str | None:
    """Say why the zero-point-free form costs too much; None where it does not.

    Either its loss is clearly larger, or it loses more agreement than AGREEMENT_COST points and
    more than the noise of so few pictures.
    """
    if free.loss > CLEARLY_WORSE * asymmetric.loss:
        return (
            f"without zero points the loss on held-out pictures is "
            f"{free.loss / asymmetric.loss:.2f}x that of the asymmetric form"
        )
    if free.agreement is None or asymmetric.agreement is None:
        return None
    only = np.array(asymmetric.agrees) & ~np.array(free.agrees)
    other = np.array(free.agrees) & ~np.array(asymmetric.agrees)
    lost = int(only.sum() - other.sum())
    points = asymmetric.agreement - free.agreement
    if points > AGREEMENT_COST and lost >= 2 * np.sqrt(only.sum() + other.sum()):
        return f"without zero points {points:.1f} points of agreement are lost on held-out pictures"
    return None
