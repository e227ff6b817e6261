"""ONNX's explicit paddings against TFLite's SAME and VALID."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Pads = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True)
class Padding:
    """TFLite's padding of a window operator, and what a PAD before it must add (None: nothing)."""

    mode: Literal["SAME", "VALID"]
    explicit: Pads | None


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return what SAME pads before and after an axis.

    >>> same_padding(224, 3, 2), same_padding(225, 3, 2), same_padding(56, 3, 1)
    ((0, 1), (1, 1), (1, 1))
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def needed_padding(
    size: int, kernel: int, stride: int, dilation: int, before: int, out: int
) -> tuple[int, int]:
    """Return what an axis with ``out`` windows really reads: trailing padding may be unused."""
    return before, max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size - before)


def window_padding(
    size: Sequence[int],
    out: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> Padding:
    """Return how TFLite pads a two-dimensional window operator; ``pads`` is t, l, b, r.

    ``out`` counts the windows of each axis, so that ceil_mode needs no rule of its own.

    >>> window_padding((56, 56), (28, 28), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1))
    Padding(mode='VALID', explicit=(1, 1, 0, 0))
    """
    axes = range(2)
    same = [same_padding(size[a], kernel[a], strides[a], dilations[a]) for a in axes]
    need = [
        needed_padding(size[a], kernel[a], strides[a], dilations[a], pads[a], out[a]) for a in axes
    ]
    if not any(need[0] + need[1]):
        return Padding("VALID", None)
    if need == same and all(out[a] == -(-size[a] // strides[a]) for a in axes):
        return Padding("SAME", None)
    return Padding("VALID", (need[0][0], need[1][0], need[0][1], need[1][1]))
