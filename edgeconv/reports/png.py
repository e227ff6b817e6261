"""A thumbnail as PNG with the standard library alone: a report must open where Pillow is not."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 112
"""Longest side of a thumbnail, in pixels."""


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode (H, W, 3) RGB as PNG (ISO/IEC 15948, colour type 2, no filter)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ):
        check = struct.pack(">I", zlib.crc32(kind + data))
        parts.append(struct.pack(">I", len(data)) + kind + data + check)
    return b"".join(parts)


def thumbnail(picture: NDArray[Any]) -> str:
    """Return a (C, H, W) input of 1 or 3 channels as a data URI, its values stretched to 0..255."""
    planes = picture if len(picture) == 3 else np.repeat(picture[:1], 3, axis=0)
    step = max(1, -(-max(planes.shape[1:]) // SIDE))
    small = planes[:, ::step, ::step].astype(np.float64)
    low, high = float(small.min()), float(small.max())
    pixels = np.zeros(small.shape) if high == low else (small - low) / (high - low) * 255
    shown = np.rint(pixels).astype(np.uint8).transpose(1, 2, 0)
    return "data:image/png;base64," + base64.b64encode(png(np.ascontiguousarray(shown))).decode()
