"""Merge the branches that a net has for training only, by the methods that it brings for that.

MobileOne (arXiv 2206.04040), RepVGG (2101.03697), FastViT and their like train with several branches
and run with one convolution each. Unmerged, an export has several times the operators.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

IN_PLACE = ("reparameterize", "reparameterize_model", "switch_to_deploy")
"""Methods that change the module that has them."""
REPLACING = "fuse"
"""A method that returns the module to put in the place of the one that has it."""
CLOSE = 1e-3
"""Largest change of an output, as a share of its range: merging rounds anew."""


@dataclass(frozen=True)
class Reparametrized:
    """The module to export, and what the user should be told (None: nothing was there to merge)."""

    module: nn.Module
    note: str | None = None


def reparametrize(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> Reparametrized:
    """Return ``module`` with its training branches merged, where its own methods do that exactly.

    ``shapes`` are those of its float32 inputs in order. The argument stays as it is.
    """
    if not any(_method(part) for part in list(module.modules())[1:]):
        return Reparametrized(module)
    feeds = [
        torch.rand(shape, generator=torch.Generator().manual_seed(0)) for shape in shapes.values()
    ]
    try:
        merged = copy.deepcopy(module).eval()
        methods = _merge(merged)
        with torch.no_grad():
            change = _change(module(*feeds), merged(*feeds))
    except Exception as error:  # foreign code: whatever it raises, the net is exported as it came
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        return Reparametrized(
            module,
            "the net has methods that merge its training branches, but they fail "
            f"({reason[0]}): merge them before the export for far fewer operators",
        )
    names = " and ".join(sorted(methods))
    if not change < CLOSE:
        return Reparametrized(
            module,
            f"the net's own {names} changes its outputs by {change:.2g} of their range: its training "
            "branches are exported as they are",
        )
    count = sum(methods.values())
    return Reparametrized(merged, f"{count} blocks with training branches were merged by {names}")


def _method(module: nn.Module) -> str | None:
    for name in (*IN_PLACE, REPLACING):
        if callable(getattr(module, name, None)):
            return name
    return None


def _merge(module: nn.Module) -> dict[str, int]:
    """Merge inside ``module``, in place; return how often each method was called."""
    called: dict[str, int] = {}
    for name, child in list(module.named_children()):
        method = _method(child)
        if method is not None:
            called[f"{method}()"] = called.get(f"{method}()", 0) + 1
            made = getattr(child, method)()
            if method == REPLACING and isinstance(made, nn.Module):
                setattr(module, name, made)
                child = made
        for inner, count in _merge(child).items():
            called[inner] = called.get(inner, 0) + count
    return called


def _change(before: object, after: object) -> float:
    """Return the largest difference of two nested results as a share of the first one's range."""
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        if not before.is_floating_point():
            return float((before != after).any())
        size = float(before.max() - before.min()) if before.numel() else 0.0
        return float((before - after).abs().max()) / max(size, 1e-12) if before.numel() else 0.0
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        before, after = list(before.values()), list(after.values())
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        pairs = zip(before, after, strict=True)
        return max((_change(one, other) for one, other in pairs), default=0.0)
    return 0.0 if before is None and after is None else float("inf")
