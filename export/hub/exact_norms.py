"""Batch norms while a module is traced: torch folds them into convolutions with a square root that not every processor rounds alike.

Given:   Conv -> BatchNorm(gamma, var, eps), where torch.sqrt(var + eps) is not IEEE 754's (MKL's on an AMD processor)
Result:  Conv -> BatchNorm(gamma / sqrt(var + eps), 1, 0), which torch folds to the same bits everywhere
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def exact_norms(torch: Any, module: "torch.nn.Module") -> Iterator[None]:
    """A context in which the batch norms of ``module`` are folded alike on every processor; they are given back as they were.

    Those that torch computes as IEEE 754 (2019, 5.4.1) prescribes are left alone.
    """
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    held = []
    try:
        for norm in module.modules():
            if not isinstance(norm, kinds) or norm.training or norm.weight is None:
                continue
            variance = norm.running_var
            if variance is None or variance.dtype != torch.float32 or variance.is_meta:
                continue
            given = torch.sqrt(variance + norm.eps).detach().numpy()
            root = np.sqrt((variance + norm.eps).detach().numpy())
            if np.array_equal(given, root):
                continue
            held.append((norm, norm.weight.data, variance.data, norm.eps))
            norm.weight.data = norm.weight.data / torch.from_numpy(root)
            variance.data, norm.eps = torch.ones_like(variance), 0.0
        yield
    finally:
        for norm, weight, variance, eps in held:
            norm.weight.data, norm.running_var.data, norm.eps = weight, variance, eps
