"""Functions that torch's exporters lack, or write wrong, computed by those that they have while a module is traced.

Given:   cumprod | cummax | cummin, of n values along an axis
Result:  the same in log2(n) steps, each of which joins a value with the one 1, 2, 4, ... places before

Given:   median | kthvalue -> the last of the k smallest, by topk
         searchsorted      -> how many of the sorted values are smaller, counted
         inverse           -> of at most 4 rows, by the determinants of its parts
         threshold | hypot | copysign -> by their definitions
         pairwise_distance -> likewise: the exporter adds its epsilon to the power
         cdist of other powers than 2 -> likewise: the exporter leaves the sizes out
         unfold along an axis counted from the end -> from the front: the exporter mixes the axes up
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

MOST_ROWS = 4
"""Of a matrix that is inverted: its parts grow with the factorial, and their errors."""


def lacking_functions(torch: Any) -> Any:
    """Return a context in which the calls that are known here are written out; all others stay what they are."""
    written = _written(torch)

    class Written(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            known = written.get(func)
            made = None if known is None else known(*args, **(kwargs or {}))
            return func(*args, **(kwargs or {})) if made is None else made

    return Written()


def _written(torch: Any) -> dict[Any, Callable[..., Any]]:
    """Return function -> what computes it; that returns None where a call is left to torch."""
    by_name: dict[str, Callable[..., Any]] = {
        "cumprod": functools.partial(_cumulative_product, torch),
        "cummax": functools.partial(_cumulative_best, torch, largest=True),
        "cummin": functools.partial(_cumulative_best, torch, largest=False),
        "kthvalue": functools.partial(_kth_value, torch),
        "median": functools.partial(_median, torch),
        "searchsorted": functools.partial(_places, torch),
        "inverse": functools.partial(_inverse, torch),
        "hypot": lambda input, other: torch.sqrt(input * input + other * other),
        "copysign": functools.partial(_signed, torch),
    }
    found = {}
    for name, function in by_name.items():
        for place in (torch, torch.Tensor):
            if hasattr(place, name):
                found[getattr(place, name)] = function
    found[torch.Tensor.unfold] = _windows
    found[torch.linalg.inv] = lambda *given, **named: _inverse(torch, *given, *named.values())
    found[torch.nn.functional.pairwise_distance] = functools.partial(_distance, torch)
    found[torch.cdist] = functools.partial(_distances, torch)
    found[torch.nn.functional.threshold] = functools.partial(_threshold, torch)
    return found


def _shifted(x: "Tensor", dim: int, step: int) -> tuple["Tensor", "Tensor", "Tensor"]:
    """Return the first ``step`` values along an axis, all behind them, and those that lie ``step`` before these."""
    rest = int(x.shape[dim]) - step
    return x.narrow(dim, 0, step), x.narrow(dim, step, rest), x.narrow(dim, 0, rest)


def _cumulative_product(torch: Any, input: "Tensor", dim: int, *, dtype: Any = None) -> "Tensor":
    if dtype is None and not input.is_floating_point():
        dtype = torch.int64
    x = input if dtype is None else input.to(dtype)
    step = 1
    while x.dim() and step < int(x.shape[dim]):
        first, here, before = _shifted(x, dim, step)
        x = torch.cat([first, here * before], dim)
        step *= 2
    return x


def _cumulative_best(torch: Any, input: "Tensor", dim: int, *, largest: bool) -> Any:
    """Return values and places, of equal values the last, as torch does."""
    if not input.dim():
        return None
    size = int(input.shape[dim])
    along = [size if axis == dim % input.dim() else 1 for axis in range(input.dim())]
    places = torch.arange(size).reshape(along).expand(input.shape)
    values, step = input, 1
    while step < size:
        first, here, before = _shifted(values, dim, step)
        of_first, of_here, of_before = _shifted(places, dim, step)
        newer = here >= before if largest else here <= before
        values = torch.cat([first, torch.where(newer, here, before)], dim)
        places = torch.cat([of_first, torch.where(newer, of_here, of_before)], dim)
        step *= 2
    kind = torch.return_types.cummax if largest else torch.return_types.cummin
    return kind((values, places))


def _kth_value(torch: Any, input: "Tensor", k: int, dim: int = -1, keepdim: bool = False) -> Any:
    if not input.dim():
        return None
    found = torch.topk(input, k, dim, largest=False, sorted=True)
    both = [part.narrow(dim, k - 1, 1) for part in found]
    return torch.return_types.kthvalue(
        tuple(part if keepdim else part.squeeze(dim) for part in both)
    )


def _median(torch: Any, input: "Tensor", dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the lower of two middle values, as torch does."""
    x = input.reshape(-1) if dim is None else input
    axis = 0 if dim is None else dim
    if not x.dim():
        return None
    found = _kth_value(torch, x, (int(x.shape[axis]) + 1) // 2, axis, keepdim)
    return found[0] if dim is None else torch.return_types.median(tuple(found))


def _places(
    torch: Any,
    sorted_sequence: "Tensor",
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    if sorter is not None or not hasattr(input, "dim"):
        return None
    vector = sorted_sequence.dim() == 1
    shape = [1] * input.dim() + [-1]
    whole = sorted_sequence.reshape(shape) if vector else sorted_sequence.unsqueeze(-2)
    here = input.unsqueeze(-1)
    smaller = whole <= here if right or side == "right" else whole < here
    return smaller.sum(-1).to(torch.int32 if out_int32 else torch.int64)


def _inverse(torch: Any, input: "Tensor") -> Any:
    size = int(input.shape[-1])
    if size == 1 or size > MOST_ROWS:
        return 1 / input if size == 1 else None
    cells = [[input[..., i, j] for j in range(size)] for i in range(size)]
    rows = []
    for i in range(size):
        parts = [_determinant(_without(cells, j, i)) for j in range(size)]
        rows.append(torch.stack([p if (i + j) % 2 == 0 else -p for j, p in enumerate(parts)], -1))
    whole = sum(cells[0][j] * rows[j][..., 0] for j in range(size))
    return torch.stack(rows, -2) / whole[..., None, None]


def _without(cells: list[list["Tensor"]], row: int, column: int) -> list[list["Tensor"]]:
    kept = [line for i, line in enumerate(cells) if i != row]
    return [[cell for j, cell in enumerate(line) if j != column] for line in kept]


def _determinant(cells: list[list["Tensor"]]) -> Any:
    if len(cells) == 1:
        return cells[0][0]
    parts = [cell * _determinant(_without(cells, 0, j)) for j, cell in enumerate(cells[0])]
    return sum(part if j % 2 == 0 else -part for j, part in enumerate(parts))


def _windows(input: "Tensor", dimension: int, size: int, step: int) -> "Tensor":
    return input.unfold(dimension % max(input.dim(), 1), size, step)


def _distance(
    torch: Any, x1: "Tensor", x2: "Tensor", p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> "Tensor":
    made: Tensor = torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)
    return made


def _distances(
    torch: Any, x1: "Tensor", x2: "Tensor", p: float = 2.0, compute_mode: str | None = None
) -> Any:
    if p == 2.0:
        return None
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _threshold(
    torch: Any, input: "Tensor", threshold: float, value: float, inplace: bool = False
) -> "Tensor":
    made = torch.where(input > threshold, input, value)
    return input.copy_(made) if inplace else made


def _signed(torch: Any, input: "Tensor", other: Any) -> Any:
    if not hasattr(other, "dim"):
        return None
    size = torch.abs(input)
    return torch.where(other < 0, -size, size)
