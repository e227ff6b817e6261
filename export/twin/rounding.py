"""Rounding that gradients pass through as if it were not there, within the range that integers have."""

from typing import Any

import torch


def rounded(value: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Return the nearest integers within [low, high]; the gradient is 1 in there, 0 outside.

    >>> rounded(torch.tensor([0.6, 300.0]), -127, 127).tolist()
    [1.0, 127.0]
    """
    within = value.clamp(low, high)
    return within + (within.round() - within).detach()


def rounded_to(value: torch.Tensor, scale: torch.Tensor | float, zero_point: int) -> torch.Tensor:
    """Return ``value`` on the int8 grid of ``scale`` (1,) and ``zero_point``.

    The gradient of a scale that has one is that of learned step size quantization (arXiv 1902.08153).
    """
    if isinstance(scale, float) or not scale.requires_grad:
        found: torch.Tensor = torch.fake_quantize_per_tensor_affine(
            value, float(scale), zero_point, -128, 127
        )
        return found
    made: Any = torch._fake_quantize_learnable_per_tensor_affine(
        value, scale, torch.tensor([float(zero_point)], device=scale.device), -128, 127, 1.0
    )
    learnt: torch.Tensor = made
    return learnt
