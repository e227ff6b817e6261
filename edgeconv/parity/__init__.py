"""Which runtime departs from the float reference, where first, and does it matter."""

from edgeconv.judge.budget import DEFAULTS, Budget, load_budgets
from edgeconv.judge.outputs import Outputs, load_outputs, save_outputs
from edgeconv.judge.verdict import Finding, Verdict, compare

__all__ = [
    "DEFAULTS",
    "Budget",
    "Finding",
    "Outputs",
    "Verdict",
    "compare",
    "load_budgets",
    "load_outputs",
    "save_outputs",
]
