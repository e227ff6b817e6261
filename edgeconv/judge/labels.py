"""The figures of labels, which are equal or not, and how far they are from turning where the scores behind them are known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.judge.measures import Figures

Array = NDArray[Any]


@dataclass(frozen=True)
class Margins:
    """``values`` (samples, labels): how far scores would have to move to turn a label.

    ``explained`` is the widest that what the file may lose explains.
    """

    values: Array
    explained: float


def label_figures(
    name: str, reference: Array, other: Array, floor: Array | None, margins: Margins | None
) -> Figures:
    """Return what is to say of labels (samples, ...); ``floor`` are those of the recipe in float."""
    if other.dtype.kind == "f":  # labels that were scaled on the way
        other = np.rint(other)
    share, low, high = metrics.equal_share(reference, other, name)
    differs = metrics.differs_low(reference, other, name)
    figures = {"equal": share, "equal_low": low, "equal_high": high, "differs_low": differs}
    if margins is not None:
        figures |= _turned(reference, other, floor, margins)
    if reference.ndim > 1:
        figures["lost_labels"] = float(metrics.lost_labels(reference, other, floor))
        figures["lost_samples_low"] = metrics.lost_samples_low(reference, other, floor)
    if floor is not None:
        turned = 1.0 - metrics.equal_share(reference, floor, name)[0]
        apart = metrics.differs_low(floor, other, name)
        figures["turned_beyond_low"] = max(0.0, apart - 2.0 * turned)
        figures["turned_row_low"] = metrics.turned_row_low(reference, floor, other)
    return figures


def _turned(reference: Array, other: Array, floor: Array | None, margins: Margins) -> Figures:
    """Return how many labels turned that were surer than what explains it: their margin, or that the recipe in float turns them so."""
    apart = (reference != other).reshape(len(reference), -1)
    beyond = apart & (margins.values > margins.explained)
    if floor is not None:
        beyond &= (floor != other).reshape(len(reference), -1)
    return {
        "flips": float(apart.sum()),
        "flips_explained": float(apart.sum() - beyond.sum()),
        "flips_beyond": float(beyond.sum()),
        "flips_beyond_share": float(beyond.mean()),
        "flips_beyond_low": min(
            metrics.share_low(beyond), metrics.exact_low(int(beyond.any(axis=1).sum()), len(beyond))
        ),
        "margin_explained": margins.explained,
        "widest_flip": float(np.where(apart, margins.values, 0.0).max()),
    }
