"""The four nets: what is known of each (SPECS, without torch) and ``build`` (with torch)."""

import importlib
from typing import TYPE_CHECKING

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.models.specs import (
    SPECS,
    Accuracy,
    NetSpec,
    Option,
    find_spec,
    register,
    resolve_options,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "SPECS",
    "Accuracy",
    "NetSpec",
    "Option",
    "build",
    "find_spec",
    "register",
    "resolve_options",
]


def build(
    name: str,
    *,
    classes: int = 1000,
    width: float = 1.0,
    groups: int | None = None,
    ratio: int | None = None,
    activation: str | None = None,
    kernel_size: int | None = None,
    dw_size: int | None = None,
    shuffle: str | None = None,
) -> "nn.Module":
    """Build net ``name`` with fresh weights: (N, 3, H, W) float pictures to (N, classes) logits.

    ``groups`` and ``shuffle`` are for shufflenet_v1; ``ratio``, ``kernel_size`` and ``dw_size`` for ghostnet;
    ``activation`` for the MobileNets; None leaves the net's default.
    Raises UsageError for an unknown net, an option it does not have or a value it does not take.
    """
    options = resolve_options(
        name,
        {
            "width": width,
            "groups": groups,
            "ratio": ratio,
            "activation": activation,
            "kernel_size": kernel_size,
            "dw_size": dw_size,
            "shuffle": shuffle,
        },
    )
    if classes < 1:
        raise UsageError(f"a classifier needs at least one class, not {classes}")
    require("torch", "torch")
    module = importlib.import_module(f"edgeconv.models.{name}")
    net: nn.Module = getattr(module, name)(classes, **options)
    return net
