"""Import an optional dependency, or say which extra brings it. Nothing is ever installed at run time."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgeconv.errors import EdgeconvError

PACKAGES = {"PIL": "pillow", "ethosu": "ethos-u-vela"}
"""Module -> the package that holds it, where that has another name."""


class MissingDependencyError(EdgeconvError):
    """An optional package is not installed."""


SHARED = True
"""Whether others use this process too: a program that calls edgeconv as a library, but not a command."""


@contextlib.contextmanager
def unseen(*packages: str) -> Iterator[None]:
    """Let what is imported meanwhile find those of ``packages`` missing that are not imported yet.

    For libraries that import at once whatever is installed. Nothing where the process is SHARED: they remember what
    they found.
    """
    hidden = [] if SHARED else [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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
        raise _missing({root: extra}) from error


def installed(*needs: tuple[str, str]) -> None:
    """Raise MissingDependencyError where a module of ``needs``, each with its extra, is not installed.

    It names all that are missing, and the one pip line that gets them. Nothing is imported.
    """
    if found := missing(*needs):
        raise _missing(found)


def missing(*needs: tuple[str, str]) -> dict[str, str]:
    """Return the modules of ``needs`` that are not installed, each with the extra that brings it."""
    roots = {module.partition(".")[0]: extra for module, extra in needs}
    return {root: extra for root, extra in roots.items() if not _found(root)}


def _found(root: str) -> bool:
    try:
        return importlib.util.find_spec(root) is not None
    except (ImportError, ValueError):
        return False


def _missing(roots: Mapping[str, str]) -> MissingDependencyError:
    """Return what to say of the modules ``roots``, each with the extra that brings it."""
    *most, last = map(distribution, roots)
    named = f"{', '.join(most)} and {last}, which are" if most else f"{last}, which is"
    extras = ",".join(dict.fromkeys(roots.values()))
    return MissingDependencyError(
        f"this needs {named} not installed: pip install 'edgeconv[{extras}]'"
    )


def distribution(module: str) -> str:
    """Return what pip calls the package of ``module``, for the packages of pyproject.toml.

    >>> distribution("ai_edge_litert.interpreter"), distribution("ethosu.vela")
    ('ai-edge-litert', 'ethos-u-vela')
    """
    root = module.partition(".")[0]
    return PACKAGES.get(root, root.replace("_", "-"))


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
