"""Import an optional dependency, or say which extra brings it. Nothing is ever installed at run time."""

import importlib
from typing import Any

from edgeconv.errors import EdgeconvError


class MissingDependencyError(EdgeconvError):
    """An optional package is not installed."""


def require(module: str, extra: str) -> Any:
    """Return ``module``, imported now.

    Raises MissingDependencyError, with the pip line of ``extra``, where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        root = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != root:
            raise  # a broken install of the package itself: the traceback says more than we could
        raise MissingDependencyError(
            f"this needs {root}, which is not installed: pip install 'edgeconv[{extra}]'"
        ) from error
