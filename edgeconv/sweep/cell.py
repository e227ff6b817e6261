"""One row of a sweep: a form in one place, and what was found of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.sweep.forms import Form
from edgeconv.sweep.point import Point

ON_A_MAC = "Core ML is timed on a Mac"
"""Why a cell has no latency that is no failure."""


@dataclass
class Cell:
    """One form with one number of threads in one place ("" is here).

    ``path`` is the file's place below the output folder. ``timing`` is what the bench found, ``correct``
    whether each picture was right; ``error`` says why a cell has no file, or none that can be evaluated (``usage``: what was asked
    for cannot be),
    ``untimed`` why no latency. ``assumed``: how pictures are prepared where nobody said it.
    """

    form: Form
    threads: int
    place: str = ""
    path: str | None = None
    sha256: str | None = None
    bytes: int = 0
    within: bool | None = None
    missed: str | None = None
    correct: Sequence[bool] | None = None
    timing: Mapping[str, Any] | None = None
    error: str | None = None
    untimed: str | None = None
    impossible: bool = False
    usage: bool = False
    dropped: bool = False
    assumed: str | None = None

    @property
    def label(self) -> str:
        """The form's, with threads and place where they are not the usual ones."""
        threads = f" {self.threads}T" if self.threads != 1 else ""
        return self.form.label + threads + (f" on {self.place}" if self.place else "")

    def point(self) -> Point | None:
        """Return the cell as it is judged; None where it has no file, is not within its budget or failed."""
        return self.measured() if self.within else None

    def measured(self) -> Point | None:
        """Return the cell's figures, of a file that missed its verdict too; None where it has none or failed."""
        if self.path is None or self.error is not None:
            return None
        latency = None
        if self.timing is not None and self.timing["latency_ms"] is not None:
            middle = self.timing["latency_ms"]
            low, high = self.timing["interval_ms"] or (middle, middle)
            latency = (low, middle, high)
        arena = None if self.timing is None else self.timing["arena_mib"]
        correct = None if self.correct is None else np.array(self.correct, bool)
        arena_bytes = None if arena is None else int(arena * (1 << 20))
        return Point(self.label, latency, correct, self.bytes, arena_bytes, self._function())

    def _function(self) -> str:
        """Files of one float net compute the same but for rounding, and so does one file wherever it runs."""
        form = self.form
        return repr(form.without_target()) if form.precision == "fp32" else str(self.sha256)
