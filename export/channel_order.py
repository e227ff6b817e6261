"""Whether pictures come in the channel order that a net was trained with, and as no negatives, by its first batch norm.

Filters that weigh one colour against another stored other statistics than the turned picture gives.
Most filters do not, so the mean over the channels is asked and not the median, and pictures are drawn
again and again to see whether the difference is more than theirs. Negatives (255 - x) are asked beside: those of
some kinds of pictures look like such pictures in the other order.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.export.first_norm import FAR, FirstNorm, moments, surely_better
from edgeconv.preprocessing import negative, turned

Array = NDArray[Any]
Reading = Literal["turned", "negative"]
"""Pictures in the other channel order, or their negatives."""
PICTURES, MORE = 128, 512
"""64 tell 80 to 100 % of wrong orders of nets that can be judged, 128 tell 95 to 100 %; so many are asked where those leave
it open."""
DRAWS, SURELY = 200, 0.01
CLEAR, FITTING = 2.0, 4.0
"""How many times closer the other order must come on top of being surely closer, where the present one does not fit and
where it does: pictures of other things, or of some classes alone, come up to 1.9 times closer in the wrong one. Negatives
come the latter, and what comes so near to the closest reading is named beside it."""
CAP = 5.0
"""Nats at which a channel counts as wholly off: one dead channel must not outweigh the rest."""
ALIVE = 1e-3
"""Share of the median stored variance below which a channel is dead."""


def better_read(
    norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing
) -> set[Reading] | None:
    """Return as what else pictures (H, W, 3), prepared by ``how``, surely fit ``norm`` better; two where both fit.

    None of them where it cannot be told: grey pictures have no order, filters may weigh all colours alike. None
    instead of a set where more pictures might tell it.
    """
    own = norm.sums(pixels, how)
    present = _off(norm, own)
    others: dict[Reading, Array] = {}
    if norm.channels == 3 and not all((p == p[:, :, :1]).all() for p in pixels):
        others["turned"] = norm.sums(pixels, turned(how))
    found = {name for name in others if _closer(present, _off(norm, others[name]), CLEAR)}
    if found or present > FAR:
        others["negative"] = norm.sums(pixels, negative(how))
        if _closer(present, _off(norm, others["negative"]), FITTING):
            found.add("negative")
    if not found:
        return found
    off = {name: _off(norm, sums) for name, sums in others.items()}
    closest = min(off[name] for name in found)
    if any(_surely(norm, own, others[name]) for name in found):
        return found | {name for name in off if off[name] <= FITTING * closest}
    return None


def _closer(present: float, other: float, times: float) -> bool:
    """Whether another reading, ``other`` nats off, is to be preferred to one ``present`` nats off."""
    fits_far_better = other <= FAR and present > FITTING * other
    return fits_far_better or surely_better(present, other, times)


def _surely(norm: FirstNorm, own: Array, other: Array) -> bool:
    """Whether ``other`` fits better whichever of the pictures are drawn."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(DRAWS):
        rows = rng.integers(0, len(own), len(own))
        gains.append(_off(norm, own[rows]) - _off(norm, other[rows]))
    return float(np.quantile(gains, SURELY)) > 0.0


def _off(norm: FirstNorm, sums: Array) -> float:
    variance = norm.stored.variance
    alive = variance > ALIVE * np.median(variance)
    return float(np.minimum(moments(sums).divergences(norm.stored), CAP)[alive].mean())
