"""What a tensor at the border of a model is, whatever the runtime."""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["nchw", "nhwc", "other"]


@dataclass(frozen=True)
class Quantization:
    """Affine per-tensor quantization: real = scale * (stored - zero_point) + offset.

    ``offset`` is 0 but for inputs that store pixels exactly, where it is the half step that the
    first convolution's bias gives back (export/passes/exact_pixels.py).
    """

    scale: float
    zero_point: int
    offset: float = 0.0


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and stored type of a model's input or output.

    ``dtype`` is numpy's name ("float32", "int8"). ``layout`` says where the channels of a
    picture are and is "other" for tensors that are not rank 4. ``quantization`` is None for
    real-valued tensors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: Layout = "other"
    quantization: Quantization | None = None
