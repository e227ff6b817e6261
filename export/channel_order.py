"""Whether pictures come in the channel order that a net was trained with, by its first batch norm.

Filters that weigh one colour against another stored other statistics than the turned picture gives.
Most filters do not, so the mean over the channels is asked and not the median, and pictures are drawn
again and again to see whether the difference is more than theirs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.export.first_norm import FAR, FirstNorm, moments, surely_better
from edgeconv.preprocessing import turned

Array = NDArray[Any]
PICTURES, MORE = 128, 512
"""64 tell 80 to 100 % of wrong orders of nets that can be judged, 128 tell 95 to 100 %; so many are asked where those leave
it open."""
DRAWS, SURELY = 200, 0.01
CLEAR, FITTING = 2.0, 4.0
"""How many times closer the other order must come on top of being surely closer, where the present one does not fit and
where it does: pictures of other things, or of some classes alone, come up to 1.9 times closer in the wrong one."""
CAP = 5.0
"""Nats at which a channel counts as wholly off: one dead channel must not outweigh the rest."""
ALIVE = 1e-3
"""Share of the median stored variance below which a channel is dead."""


def turned_fits(norm: FirstNorm, pixels: Sequence[Array], how: Preprocessing) -> bool | None:
    """Whether pictures (H, W, 3), prepared by ``how``, surely fit ``norm`` better in the other order.

    False where it cannot be told: grey pictures, filters that all weigh colours alike. None where more pictures
    might tell it.
    """
    if norm.channels != 3 or all((p == p[:, :, :1]).all() for p in pixels):
        return False
    both = [norm.sums(pixels, order) for order in (how, turned(how))]
    present, other = (_off(norm, sums) for sums in both)
    fits_far_better = other <= FAR and present > FITTING * other
    if not (fits_far_better or surely_better(present, other, CLEAR)):
        return False
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(DRAWS):
        rows = rng.integers(0, len(pixels), len(pixels))
        gains.append(_off(norm, both[0][rows]) - _off(norm, both[1][rows]))
    return True if float(np.quantile(gains, SURELY)) > 0.0 else None


def _off(norm: FirstNorm, sums: Array) -> float:
    variance = norm.stored.variance
    alive = variance > ALIVE * np.median(variance)
    return float(np.minimum(moments(sums).divergences(norm.stored), CAP)[alive].mean())
