"""edgeconv: from a PyTorch mobile CNN to a verified INT8 model on a device."""

import edgeconv.environment  # noqa: F401 - before every other import: of whose folders they come

# isort: split
import importlib
from typing import TYPE_CHECKING, Any

from edgeconv.errors import BudgetMissedError, EdgeconvError, UnsupportedOpError, UsageError

__version__ = "0.2.0"

if TYPE_CHECKING:
    from edgeconv.api import export_model, plan_export, run_model
    from edgeconv.bench.api import bench_models
    from edgeconv.doctor import examine
    from edgeconv.export_page import write_report
    from edgeconv.models import SPECS, build
    from edgeconv.models.summary import summarize
    from edgeconv.parity.api import check_parity
    from edgeconv.snippet import write_snippet

__all__ = [
    "SPECS",
    "BudgetMissedError",
    "EdgeconvError",
    "UnsupportedOpError",
    "UsageError",
    "__version__",
    "bench_models",
    "build",
    "check_parity",
    "examine",
    "export_model",
    "plan_export",
    "run_model",
    "summarize",
    "write_report",
    "write_snippet",
]

_LAZY = {
    "SPECS": "edgeconv.models",
    "bench_models": "edgeconv.bench.api",
    "build": "edgeconv.models",
    "check_parity": "edgeconv.parity.api",
    "examine": "edgeconv.doctor",
    "export_model": "edgeconv.api",
    "plan_export": "edgeconv.api",
    "run_model": "edgeconv.api",
    "summarize": "edgeconv.models.summary",
    "write_report": "edgeconv.export_page",
    "write_snippet": "edgeconv.snippet",
}


def __getattr__(name: str) -> Any:
    """Import a call when it is asked for: every child process imports this package."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
