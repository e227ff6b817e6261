"""Whether an output holds class scores: by its shape, unless its name or its values say otherwise."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.judge.parts import GAP, Part
from edgeconv.metrics import are_probabilities, class_rows, is_scores

Array = NDArray[Any]
EVEN = 1e-3
"""What the length of a normalized vector may differ by in float arithmetic, half precision too."""
VECTORS = ("embed", "feature", "descriptor")
"""What outputs are called that are compared with each other, not read as classes."""
ENOUGH_SIGNS = 256
"""Of fewer values none may be below 0 by chance."""


def holds_scores(
    name: str,
    reference: Array,
    pieces: Collection[Part],
    truth: NDArray[np.integer[Any]] | None,
) -> bool:
    """Return whether an output (samples, ...) with ``pieces`` holds class scores; ``truth`` says that it does."""
    if not is_scores(reference):
        return False
    if truth is None and (_named_vector(name) or _figures(reference) or _unit_length(reference)):
        return False
    spreads = [float(piece.of(reference).std()) for piece in pieces]
    return not spreads or max(spreads) <= GAP * min(spreads)


def _named_vector(name: str) -> bool:
    """Whether an output is called an embedding, whose largest element says nothing.

    >>> _named_vector("image_embeds"), _named_vector("logits")
    (True, False)
    """
    return any(word in name.casefold() for word in VECTORS)


def _figures(reference: Array) -> bool:
    """Whether no value is below 0 and some are above 1: distances, or features behind a ReLU; logits have either sign."""
    many = reference.size >= ENOUGH_SIGNS
    return many and bool(reference.min() >= 0.0 and reference.max() > 1.0 + EVEN)


def _unit_length(reference: Array) -> bool:
    """Whether every row is a vector of length 1: an embedding, whose largest element says nothing."""
    lengths = np.linalg.norm(class_rows(reference).astype(np.float64), axis=1)
    return bool(np.abs(lengths - 1.0).max() <= EVEN) and not are_probabilities(reference)
