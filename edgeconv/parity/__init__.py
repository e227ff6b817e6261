"""Which runtime departs from the float reference, where first, and does it matter."""

from typing import TYPE_CHECKING, Any

from edgeconv.judge.budget import DEFAULTS, Budget, load_budgets
from edgeconv.judge.outputs import Outputs, load_outputs, save_outputs
from edgeconv.judge.verdict import Finding, Verdict, compare

if TYPE_CHECKING:
    from edgeconv.parity.api import ParityResult, check_parity

__all__ = [
    "DEFAULTS",
    "Budget",
    "Finding",
    "Outputs",
    "ParityResult",
    "Verdict",
    "check_parity",
    "compare",
    "load_budgets",
    "load_outputs",
    "save_outputs",
]


def __getattr__(name: str) -> Any:
    """Import the call itself when it is asked for: every cell's child imports this package."""
    if name not in ("ParityResult", "check_parity"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edgeconv.parity import api

    return getattr(api, name)
