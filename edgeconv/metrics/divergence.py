"""Divergence of two sets of class scores, as probabilities."""

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.classes import class_rows
from edgeconv.metrics.pairs import PIECE, Reals, check_pair


def log_softmax(scores: Reals) -> NDArray[np.float64]:
    """Logarithm of the softmax of each row, in float64, without overflow."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def log_probabilities(scores: Reals) -> NDArray[np.float64]:
    """Logarithm of rows that are probabilities already; below 1e-9 counts as 1e-9.

    An INT8 softmax has steps of 1/256 and so holds exact zeros, whose logarithm no divergence
    survives; the floor bounds what one vanished class can cost.
    """
    values = np.maximum(scores.astype(np.float64), 1e-9)
    logs: NDArray[np.float64] = np.log(values / values.sum(axis=1, keepdims=True))
    return logs


def are_probabilities(scores: Reals) -> bool:
    """Whether every row is non-negative and sums to 1 within 2 %, as a softmax does."""
    rows = class_rows(scores)
    return bool(rows.min() >= 0.0 and np.abs(rows.sum(axis=1) - 1.0).max() < 0.02)


def within_unit(scores: Reals) -> bool:
    """Whether every value lies between 0 and 1, as probabilities do however coarse their steps are.

    Those of an INT8 softmax in steps of 1/127 need not sum to 1 within 2 %.
    """
    return bool(scores.min() >= 0.0 and scores.max() <= 1.01)


def kl_softmax(reference: Reals, other: Reals, name: str = "output") -> float:
    """Mean Kullback-Leibler divergence KL(reference || other) of the softmax of logits, in nats.

    Reference rows that are probabilities already are taken as they are, on both sides.

    >>> kl_softmax(np.array([[1.0, 2.0]]), np.array([[11.0, 12.0]]))
    0.0
    """
    check_pair(name, reference, other)
    a, b = class_rows(reference, name), class_rows(other, name)
    logs = log_probabilities if are_probabilities(a) else log_softmax
    total = 0.0
    step = max(1, PIECE // a.shape[1])
    for start in range(0, len(a), step):
        p, q = logs(a[start : start + step]), logs(b[start : start + step])
        total += float((np.exp(p) * (p - q)).sum())
    return max(0.0, total / len(a))  # rounding may leave -1e-17
