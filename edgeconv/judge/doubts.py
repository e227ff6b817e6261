"""What too few samples leave open: said, and neither passed nor missed."""

from edgeconv.judge.budget import Budget
from edgeconv.judge.measures import Figures, show

FEWEST = 8
"""Fewer samples decide nothing about shares of them."""
ENOUGH = 0.05
"""An interval of agreement that begins this far below what is wanted leaves the question open."""

SHARES = {"agreement_top1": "agree", "equal": "of its values are equal"}
"""Shares whose limit is on the upper end of an interval, and what they are of."""


def is_open(metric: str, output: str, figures: Figures, budget: Budget, samples: int) -> bool:
    """Whether ``samples`` cannot tell if the limit on ``metric`` holds: its interval reaches it."""
    high = budget.doubtful.get(metric)
    if high is None:
        return False
    if (
        high == metric
    ):  # a share, whose limit is on that end: of so few samples it is no figure at all
        return samples < FEWEST
    return figures[metric] < budget.of(output)[metric] <= figures.get(high, figures[metric])


def doubts_of(
    output: str, part: str, figures: Figures, budget: Budget, samples: int
) -> tuple[str, ...]:
    """Return a sentence for each limit of an output, or of a part of it, that stays open."""
    limits = budget.of(output)
    place = f"{output}, {part}" if part else output
    said = []
    metric = "sqnr_centred_db"
    if metric in limits and metric in figures and is_open(metric, output, figures, budget, samples):
        said.append(
            f"{place}: too few samples to tell whether {limits[metric]:g} dB are reached: with the "
            f"mean removed {samples} of them give {show(metric, figures[metric])} dB"
        )
    for share, what in SHARES.items():
        wanted, low = limits.get(f"{share}_high"), figures.get(f"{share}_low", 1.0)
        if wanted is None or low >= wanted - ENOUGH or figures.get("max_abs_error") == 0.0:
            continue  # nothing differs at all
        high = figures[f"{share}_high"]
        if high >= wanted or is_open(f"{share}_high", output, figures, budget, samples):
            said.append(
                f"{place}: too few samples to tell whether {100 * wanted:g} % {what}, it may be "
                f"{100 * low:.1f} to {100 * high:.1f} %"
            )
    return tuple(said)
