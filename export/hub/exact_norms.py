"""Batch norms while a module is traced: torch folds them into convolutions with a square root that not every processor rounds alike.

Given:   Conv -> BatchNorm(gamma, var, eps), where torch.sqrt(var + eps) is not IEEE 754's (MKL's on an AMD processor)
Result:  Conv -> BatchNorm(gamma / sqrt(var + eps), 1, 0), which torch folds to the same bits everywhere
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class Held:
    """A batch norm by its path in the module, and what it had."""

    path: str
    norm: Any
    weight: "torch.Tensor"
    variance: "torch.Tensor"
    eps: float


@contextlib.contextmanager
def exact_norms(torch: Any, module: "torch.nn.Module") -> Iterator[list[Held]]:
    """A context in which the batch norms of ``module`` are folded alike on every processor; they are given back as they were.

    Those that torch computes as IEEE 754 (2019, 5.4.1) prescribes are left alone. Yields the others.
    """
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    held: list[Held] = []
    try:
        for path, norm in module.named_modules():
            if not isinstance(norm, kinds) or norm.training or norm.weight is None:
                continue
            variance = norm.running_var
            if variance is None or variance.dtype != torch.float32 or variance.is_meta:
                continue
            given = torch.sqrt(variance + norm.eps).detach().numpy()
            root = np.sqrt((variance + norm.eps).detach().numpy())
            if np.array_equal(given, root):
                continue
            held.append(Held(path, norm, norm.weight.data, variance.data, norm.eps))
            norm.weight.data = norm.weight.data / torch.from_numpy(root)
            variance.data, norm.eps = torch.ones_like(variance), 0.0
        yield held
    finally:
        for each in held:
            each.norm.weight.data, each.norm.running_var.data = each.weight, each.variance
            each.norm.eps = each.eps


def unfolded_as_they_were(model: "onnx.ModelProto", held: Iterable[Held]) -> None:
    """Give batch norms that torch did not fold their own statistics, in place: pictures are judged by them."""
    from onnx import numpy_helper

    stored = {item.name: item for item in model.graph.initializer}
    own = {f"{each.path}.running_var".lstrip("."): each for each in held}
    for node in model.graph.node:
        each = own.get(node.input[4]) if node.op_type == "BatchNormalization" else None
        if each is None or node.input[1] != f"{each.path}.weight".lstrip("."):
            continue
        for name, value in ((node.input[1], each.weight), (node.input[4], each.variance)):
            stored[name].CopyFrom(numpy_helper.from_array(value.numpy(), name))
        for item in node.attribute:
            if item.name == "epsilon":
                item.f = each.eps
