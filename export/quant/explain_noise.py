"""The noise map of a recipe's notes as rows: for people, with a bar each, and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

NOISE_TITLES = ("tensor", "share", "", "channels", "worst")
NOISE_ROWS, BAR = 12, 20
"""Tensors that the text names, and the width of the worst one's bar."""


def noise_rows(notes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return tensor, share, channels, worst_channel and worst_share of each, the worst first."""
    rows = [{"tensor": tensor, **row} for tensor, row in notes.get("noise", {}).items()]
    return sorted(rows, key=lambda row: -float(row["share"]))


def noise_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return rows of text under NOISE_TITLES."""
    most = max([float(row["share"]) for row in rows] + [1e-30])
    return [
        [
            str(row["tensor"]),
            f"{row['share']:.1%}",
            "#" * round(BAR * float(row["share"]) / most),
            f"{row['channels']:d}",
            f"channel {row['worst_channel']}: {row['worst_share']:.1%}",
        ]
        for row in rows
    ]
