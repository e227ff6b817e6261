"""Modules that torch.ao prepared for training: what observes ranges goes on doing so in eval mode."""

import copy
from typing import Any

import torch
from torch import nn

from edgeconv.errors import EdgeconvError


def at_rest(module: nn.Module, *, live: bool = False) -> nn.Module:
    """Return ``module`` with its observers off: an exported net learns nothing, and gives the same for the same.

    A ``live`` module is somebody's, and is copied before it changes. Raises EdgeconvError where no observer has seen
    a value, so that no scale says anything.
    """
    quantizers = _quantizers(module)
    ranges = [observer.min_val for part in quantizers if (observer := _observer(part)) is not None]
    if ranges and all(found.numel() == 0 or bool(torch.isinf(found).any()) for found in ranges):
        raise EdgeconvError(
            f"none of {type(module).__name__}'s fake quantizers has seen a value: run pictures through it in train mode, then "
            "torch.ao.quantization.disable_observer on it, then export"
        )
    learning = [part for part in quantizers if bool(part.observer_enabled.any())]
    if learning and live:
        module = copy.deepcopy(module)
        learning = [part for part in _quantizers(module) if bool(part.observer_enabled.any())]
    for part in learning:
        part.disable_observer()
    return module


def _quantizers(module: nn.Module) -> list[Any]:
    return [
        part
        for part in module.modules()
        if isinstance(getattr(part, "observer_enabled", None), torch.Tensor)
        and callable(getattr(part, "disable_observer", None))
    ]


def _observer(part: Any) -> Any:
    """Return what observes for a fake quantizer; None for one of fixed ranges."""
    observer = getattr(part, "activation_post_process", None)
    return observer if isinstance(getattr(observer, "min_val", None), torch.Tensor) else None
