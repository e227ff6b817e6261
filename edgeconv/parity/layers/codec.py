"""Between a tensor of the prepared graph (real, NCHW) and its stored form in an artifact."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.tensors import Quantization

Array = NDArray[Any]


@dataclass(frozen=True)
class Codec:
    """``shape`` is the graph's, ``stored`` the file's; ``last`` says that channels come last there.

    ``quantization`` is in the stored type's own integers (None: stored as real values). ``snap`` is
    the int8 grid of a tensor that a program holds as reals before or after its quantization: what is
    fed lies on it. ``factors`` is what each channel (axis 1) of the file is multiplied by. ``order``
    says which of the graph's channels each of the file's is, -1 for one that was added.
    """

    shape: tuple[int, ...]
    stored: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    last: bool = False
    snap: Quantization | None = None
    factors: NDArray[np.float64] | None = None
    order: NDArray[np.intp] | None = None

    def _scaled(self, real: Array, power: int) -> Array:
        if self.factors is None:
            return real
        shape = (1, -1, *([1] * (len(self.shape) - 2)))
        return np.asarray(real * self.factors.reshape(shape) ** power, np.float32)

    def snapped(self, real: Array) -> Array:
        """Return real values moved to the nearest ones of the grid, where there is one."""
        if self.snap is None:
            return real
        zero, scale = self.snap.zero_point, np.float32(self.snap.scale)
        steps = np.clip(np.rint(real / scale) + zero, -128, 127)
        return np.asarray((steps - zero) * scale, np.float32)

    def encode(self, real: Array) -> Array:
        """Return the stored form of real values of ``shape``."""
        real = self._scaled(self.snapped(real), 1)
        if self.order is not None:
            real = np.take(real, np.maximum(self.order, 0), axis=1)
            real[:, self.order < 0] = 0.0
        if self.last:
            real = np.moveaxis(real, 1, -1)
        kind = np.dtype(self.dtype)
        if kind.kind in "iu" and self.quantization is not None:
            limits = np.iinfo(kind)
            steps = np.rint(np.asarray(real, np.float32) / np.float32(self.quantization.scale))
            real = np.clip(steps + self.quantization.zero_point, limits.min, limits.max)
        return np.ascontiguousarray(real.astype(kind).reshape(self.stored))

    def decode(self, stored: Array) -> Array:
        """Return real values of ``shape``, float32, from the stored form."""
        real = stored
        if self.quantization is not None and stored.dtype.kind in "iu":
            real = (stored.astype(np.int32) - self.quantization.zero_point) * np.float32(
                self.quantization.scale
            )
        real = real.astype(np.float32, copy=False)
        if self.last:
            moved = (self.shape[0], *self.shape[2:], self.shape[1])
            real = np.moveaxis(real.reshape(moved), -1, 1)
        if self.order is not None:
            own = np.flatnonzero(self.order >= 0)
            real = np.take(real.reshape(self.stored), own[np.argsort(self.order[own])], axis=1)
        return self._scaled(np.ascontiguousarray(real.reshape(self.shape)), -1)


def fits(shape: tuple[int, ...], stored: tuple[int, ...]) -> list[bool]:
    """Return the possible values of ``Codec.last``: by shape, channels last first where both fit.

    >>> fits((1, 8, 4, 4), (1, 4, 4, 8)), fits((1, 4, 4, 4), (1, 4, 4, 4)), fits((1, 8), (1, 8))
    ([True], [True, False], [False])
    """
    moved = (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else None
    found = []
    if moved is not None and stored == moved:
        found.append(True)
    if stored == shape:
        found.append(False)
    if not found and int(np.prod(shape)) == int(np.prod(stored)) and _one_axis(shape):
        found.append(False)  # (1, C, 1, 1) stored as (1, C): the order of elements is the same
    return found


def _one_axis(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape) <= 1
