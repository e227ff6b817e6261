"""Adaptive pooling to any size while a module is traced: torch's exporters have it for divisors alone."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

AVERAGES = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
MAXIMA = ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")


def adaptive_pools(torch: Any) -> Any:
    """Return a context in which adaptive pools that do not divide their input are cuts, means or maxima, and joins.

    Their windows (https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html) are products
    of a range on each axis: window i of n begins at floor(i * size / n) and ends at ceil((i + 1) * size / n).
    """
    functional = torch.nn.functional
    averages = {getattr(functional, name) for name in AVERAGES}
    maxima = {getattr(functional, name) for name in MAXIMA}

    class Windows(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in averages or func in maxima:
                x, wanted, indices = _read(func.__name__, *args, **(kwargs or {}))
                if not indices and any(int(x.shape[axis]) % n for axis, n in wanted.items()):
                    return _pooled(torch, x, wanted, torch.mean if func in averages else torch.amax)
            return func(*args, **(kwargs or {}))

    return Windows()


def _read(
    name: str, input: "torch.Tensor", output_size: Any, return_indices: bool = False
) -> tuple["torch.Tensor", dict[int, int], bool]:
    """Return of a call, whose parameters have torch's names, the input, axis -> size asked for, and the last."""
    count = int(name[-2])  # of axes: it ends in 1d, 2d or 3d
    axes = range(input.dim() - count, input.dim())
    asked = output_size if isinstance(output_size, (list, tuple)) else [output_size] * count
    wanted = {axis: int(size) for axis, size in zip(axes, asked, strict=True) if size is not None}
    return input, wanted, return_indices


def _pooled(torch: Any, x: "torch.Tensor", wanted: dict[int, int], over: Any) -> "torch.Tensor":
    """Pool one axis after the other: a window of several axes is one range on each."""
    for axis, count in wanted.items():
        size = int(x.shape[axis])  # a tensor while torch.jit traces
        bounds = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        parts = [over(x.narrow(axis, a, b - a), dim=axis, keepdim=True) for a, b in bounds]
        x = torch.cat(parts, axis)
    return x
