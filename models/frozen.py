"""A module some of whose arguments are fixed."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from edgeconv.errors import UsageError


class Frozen(nn.Module):
    """``inner`` with the arguments ``values`` fixed; it takes the arguments ``names`` in order."""

    def __init__(self, inner: nn.Module, names: Sequence[str], values: Mapping[str, Any]) -> None:
        super().__init__()
        self.inner, self._names, self._values = inner, tuple(names), dict(values)

    def forward(self, *feeds: Any) -> Any:
        """Return what the module gives; feeds beyond the names go by position."""
        given = dict(zip(self._names, feeds, strict=False))
        return self.inner(*feeds[len(given) :], **given, **self._values)


def arguments_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of all arguments of forward, also those that have a default."""
    schema = getattr(module.forward, "schema", None)
    if schema is not None:
        return tuple(argument.name for argument in schema.arguments[1:])
    return tuple(inspect.signature(module.forward).parameters)


def freeze(
    module: nn.Module, names: Sequence[str], values: Mapping[str, Any]
) -> tuple[nn.Module, list[str]]:
    """Return ``module`` with ``values`` for its arguments, and which of ``names`` it still takes.

    Raises UsageError for a value that no argument takes.
    """
    known = arguments_of(module)
    if unknown := sorted(values.keys() - set(known)):
        raise UsageError(
            f"--freeze-input {unknown[0]}: forward has no argument of this name; it has {', '.join(known)}"
        )
    left = [name for name in names if name not in values]
    return Frozen(module, left, values), left
