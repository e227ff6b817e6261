"""Import an optional dependency, or say which extra brings it. Nothing is ever installed at run time."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
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
        raise _missing(root, extra) from error


def installed(module: str, extra: str) -> None:
    """Raise MissingDependencyError, with the pip line of ``extra``, where ``module`` is not installed.

    Nothing is imported.
    """
    root = module.partition(".")[0]
    try:
        found = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise _missing(root, extra)


def _missing(root: str, extra: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"this needs {root}, which is not installed: pip install 'edgeconv[{extra}]'"
    )


def distribution(module: str) -> str:
    """Return what pip calls the package of ``module``, for the packages of pyproject.toml.

    >>> distribution("ai_edge_litert.interpreter")
    'ai-edge-litert'
    """
    return module.partition(".")[0].replace("_", "-")


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions_of(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of those that are installed, in the order given."""
    found = ((name, version_of(name)) for name in distributions)
    return {name: version for name, version in found if version is not None}
