"""How far two sets of outputs are apart. Pure functions of numpy arrays; every definition is here.

Arrays are (pictures, ...) and hold real values (dequantize first, see edgeconv/adapt.py). The first
argument is always the float reference. NaN and infinity raise, naming the output: a metric never
replaces or skips a value. Sums run in float64 over pieces, so that a large layer costs no copy.
"""

from edgeconv.metrics.assignment import best_assignment
from edgeconv.metrics.centred import (
    dead_places,
    lost_channels,
    row_sqnr_db,
    sqnr_centred_db,
    sqnr_centred_high_db,
    variance_slack_db,
)
from edgeconv.metrics.classes import (
    Flips,
    agreeing,
    agreement,
    class_rows,
    correct,
    explained_margin,
    is_scores,
    lost_classes,
    margins,
    ranks,
    split_flips,
)
from edgeconv.metrics.departure import below_floor_low_db, shift_to_floor
from edgeconv.metrics.distances import (
    Quanta,
    Tolerance,
    cosine,
    half_step,
    max_abs_error,
    quanta_error,
    relative_error,
    rms_error,
    rms_low,
    smallest_tolerance,
    sqnr_db,
    value_range,
)
from edgeconv.metrics.divergence import (
    are_probabilities,
    kl_softmax,
    log_probabilities,
    log_softmax,
    within_unit,
)
from edgeconv.metrics.information import lost_bits
from edgeconv.metrics.pairs import (
    PIECE,
    Reals,
    check_finite,
    check_pair,
)
from edgeconv.metrics.rows import (
    odd_place_beyond_db,
    turned_row_low,
    worst_row_beyond_db,
    worst_sample_beyond_db,
)
from edgeconv.metrics.shares import (
    differs_low,
    equal_share,
    exact_low,
    lost_labels,
    lost_samples_low,
    mcnemar_p,
    share_low,
    wilson_interval,
)

__all__ = [
    "PIECE",
    "Flips",
    "Quanta",
    "Reals",
    "Tolerance",
    "agreeing",
    "agreement",
    "are_probabilities",
    "below_floor_low_db",
    "best_assignment",
    "check_finite",
    "check_pair",
    "class_rows",
    "correct",
    "cosine",
    "dead_places",
    "differs_low",
    "equal_share",
    "exact_low",
    "explained_margin",
    "half_step",
    "is_scores",
    "kl_softmax",
    "log_probabilities",
    "log_softmax",
    "lost_bits",
    "lost_channels",
    "lost_classes",
    "lost_labels",
    "lost_samples_low",
    "margins",
    "max_abs_error",
    "mcnemar_p",
    "odd_place_beyond_db",
    "quanta_error",
    "ranks",
    "relative_error",
    "rms_error",
    "rms_low",
    "row_sqnr_db",
    "share_low",
    "shift_to_floor",
    "smallest_tolerance",
    "split_flips",
    "sqnr_centred_db",
    "sqnr_centred_high_db",
    "sqnr_db",
    "turned_row_low",
    "value_range",
    "variance_slack_db",
    "wilson_interval",
    "within_unit",
    "worst_row_beyond_db",
    "worst_sample_beyond_db",
]
