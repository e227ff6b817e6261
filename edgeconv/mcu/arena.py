"""The tensor arena that TensorFlow Lite Micro needs, planned as its own allocator does.

The arena has a head of activations, which share memory where they do not live at the same time, and
a tail of what stays: a record a tensor and an operator, and what each kernel keeps. The head follows
tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc: the largest first, each in the lowest gap
among those placed that live while it does. It is exact for kernels without scratch buffers, but for heads so
small that the allocator's own planning needs more; vendors' kernels (CMSIS-NN, ESP-NN) ask for scratch on
top, which only they know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.inspect import TfliteOp, TfliteSummary

ALIGNMENT = 16
TENSOR_BYTES = {4: 12, 8: 24}
NODE_BYTES = {4: 32, 8: 64}
"""sizeof TfLiteEvalTensor and NodeAndRegistration by the size of a pointer."""

BORDER_BYTES = {4: 64, 8: 96}
"""A TfLiteTensor and its quantization, for each input and output of the model."""

KERNEL_BYTES: Mapping[str, tuple[int, int]] = {
    "ADD": (80, 0),
    "AVERAGE_POOL_2D": (56, 0),
    "CONCATENATION": (52, 2),
    "CONV_2D": (72, 2),
    "DEPTHWISE_CONV_2D": (72, 2),
    "FULLY_CONNECTED": (196, 2),
    "MAX_POOL_2D": (56, 0),
    "MEAN": (152, 0),
    "MUL": (80, 0),
    "PAD": (56, 0),
    "RESHAPE": (0, 0),
    "SUB": (80, 0),
    "TRANSPOSE": (0, 0),
    "TRANSPOSE_CONV": (72, 2),
}
"""Bytes that a reference kernel keeps on a 64-bit host, and how many of its words are pointers.

From what tflite-micro's recording allocator reports for the four nets; others count as DEFAULT_BYTES."""

DEFAULT_BYTES = (56, 0)
PER_CHANNEL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
PER_CHANNEL_BYTES = 8  # a multiplier and a shift, 32 bits each
BASE_BYTES, ALIGNING_BYTES = 650, 20
"""The allocator's own structures, and what aligning costs an operator on average."""


@dataclass(frozen=True)
class Buffer:
    """An activation: bytes, the operators (first, last) between which it lives, its offset in the head."""

    tensor: int
    bytes: int
    first: int
    last: int
    offset: int = 0


@dataclass(frozen=True)
class Arena:
    """Bytes of ``head`` and ``tail``; ``peak`` is the operator during which most activations are alive.

    ``alive`` are the activations then, as indices of tensors, and ``peak_bytes`` their sum.
    """

    head: int
    tail: int
    buffers: tuple[Buffer, ...]
    peak: int
    peak_bytes: int
    alive: tuple[int, ...]

    @property
    def total(self) -> int:
        """The arena to declare, without a vendor's scratch buffers."""
        return self.head + self.tail


def plan_arena(summary: TfliteSummary, pointer: int = 4) -> Arena:
    """Plan the arena of a model for a processor with pointers of ``pointer`` bytes (4, 8 on a host)."""
    buffers = place(activations(summary))
    head = max((b.offset + b.bytes for b in buffers), default=0)
    peak, at, alive = 0, 0, tuple[int, ...]()
    for step in range(len(summary.ops)):
        living = [b for b in buffers if b.first <= step <= b.last]
        total = sum(b.bytes for b in living)
        if total > peak:
            peak, at, alive = total, step, tuple(sorted(b.tensor for b in living))
    return Arena(head, _tail(summary, pointer), buffers, at, peak, alive)


def activations(summary: TfliteSummary) -> list[Buffer]:
    """Return every tensor that is computed, with the operators between which it lives, unplaced."""
    first = dict.fromkeys(summary.inputs, 0)
    last = dict.fromkeys(summary.inputs, 0)
    for step, op in enumerate(summary.ops):
        for tensor in op.outputs:
            first.setdefault(tensor, step)
        last |= dict.fromkeys((t for t in (*op.inputs, *op.outputs) if t in first), step)
    for tensor in summary.outputs:
        first.setdefault(tensor, 0)
        last[tensor] = len(summary.ops) - 1
    return [Buffer(t, _bytes(summary, t), first[t], last[t]) for t in sorted(first)]


def place(buffers: Sequence[Buffer]) -> tuple[Buffer, ...]:
    """Give each buffer its offset: the largest first (the last of equal ones), in the lowest gap among those alive with it.

    >>> placed = place([Buffer(0, 32, 0, 1), Buffer(1, 64, 1, 2), Buffer(2, 32, 2, 3)])
    >>> [(b.tensor, b.offset) for b in placed]
    [(1, 0), (2, 64), (0, 64)]
    """
    placed: list[Buffer] = []
    for buffer in sorted(reversed(buffers), key=lambda b: -b.bytes):
        beside = sorted(
            (b for b in placed if b.first <= buffer.last and buffer.first <= b.last),
            key=lambda b: b.offset,
        )
        offset = 0
        for other in beside:
            if other.offset - offset >= buffer.bytes:
                break
            offset = max(offset, other.offset + other.bytes)
        placed.append(Buffer(buffer.tensor, buffer.bytes, buffer.first, buffer.last, offset))
    return tuple(placed)


def _bytes(summary: TfliteSummary, tensor: int) -> int:
    held = summary.tensors[tensor]
    size = int(np.prod(held.shape, dtype=np.int64)) * np.dtype(held.dtype).itemsize
    return -(-size // ALIGNMENT) * ALIGNMENT


def _tail(summary: TfliteSummary, pointer: int) -> int:
    borders = len(summary.inputs) + len(summary.outputs)
    return (
        TENSOR_BYTES[pointer] * len(summary.tensors)
        + NODE_BYTES[pointer] * len(summary.ops)
        + BORDER_BYTES[pointer] * borders
        + sum(_kept(summary, op, pointer) for op in summary.ops)
        + ALIGNING_BYTES * len(summary.ops)
        + BASE_BYTES
    )


def _kept(summary: TfliteSummary, op: TfliteOp, pointer: int) -> int:
    size, pointers = KERNEL_BYTES.get(op.code, DEFAULT_BYTES)
    size -= pointers * (8 - pointer)
    if op.code in PER_CHANNEL:
        size += PER_CHANNEL_BYTES * len(summary.weights(op).scales)
    return size
