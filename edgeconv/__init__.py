"""edgeconv: from a PyTorch mobile CNN to a verified INT8 model on a device."""

import edgeconv.environment  # noqa: F401 - before every other import
from edgeconv.errors import BudgetMissedError, EdgeconvError, UnsupportedOpError, UsageError

__version__ = "0.1.0"

from edgeconv.api import export_model, plan_export, run_model

__all__ = [
    "BudgetMissedError",
    "EdgeconvError",
    "UnsupportedOpError",
    "UsageError",
    "__version__",
    "export_model",
    "plan_export",
    "run_model",
]
