"""``mil-reference``: our own evaluation of a Core ML package, where there is no Core ML.

It says what the program in the file computes. It is no runtime: it is never timed, and its
figures are never called Core ML's.
"""

from pathlib import Path
from typing import Any

import numpy as np

import edgeconv
from edgeconv.closing import Closing
from edgeconv.errors import EdgeconvError, UsageError, reading
from edgeconv.formats.mlpackage import naming
from edgeconv.mil import CorruptFileError, Noise, open_program
from edgeconv.mil.evaluate import Rounding, Watch
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import Shapes, check_shapes, check_threads


def open(
    path: Path,
    *,
    threads: int = 1,
    rounding: Rounding = "declared",
    noise: float = 0.0,
    shapes: Shapes | None = None,
) -> "MilReferenceRunner":
    """Open an .mlpackage folder and check its program.

    ``rounding`` is "declared" (each result rounded to its declared type) or "exact" (float64, no
    rounding). ``noise`` adds random errors of up to that many half-precision half-steps after every
    half-precision result: the band in which an unknown order of accumulation can move it. The
    threads are numpy's own. Raises EdgeconvError for a package that does not hold together.
    """
    check_threads(threads)
    if rounding not in ("declared", "exact"):
        raise UsageError(f"rounding {rounding} does not exist: declared, exact")
    with naming(path):
        program = open_program(path)
        check_shapes(path.name, program.input_specs(), shapes)
    return MilReferenceRunner(path, program, threads, rounding, noise)


class MilReferenceRunner(Closing):
    """A checked program. Rank-4 tensors are NCHW; image inputs take 0..255 as floats."""

    name = "mil-reference"

    def __init__(
        self, path: Path, program: Any, threads: int, rounding: Rounding, noise: float
    ) -> None:
        self.version = edgeconv.__version__
        self.threads = threads
        self.program = program
        self.inputs = program.input_specs()
        self.outputs = program.output_specs()
        self._model, self._rounding = path.name, rounding
        self._noise = Noise(noise) if noise else None

    def infer(self, feeds: Feeds) -> Outputs:
        """Evaluate the program once; a classifier's probabilities come as one array."""
        return self.observe(feeds, None)

    def observe(self, feeds: Feeds, watch: Watch | None) -> Outputs:
        """Evaluate the program once while ``watch`` sees, and may replace, each result by name."""
        check_feeds(self._model, self.inputs, feeds)
        try:
            with reading(f"{self._model} cannot be evaluated"):
                made = self.program.run(
                    feeds, rounding=self._rounding, watch=watch, noise=self._noise
                )
        except CorruptFileError as error:
            raise EdgeconvError(f"{self._model}: {error}") from error
        found: Outputs = {}
        for spec in self.outputs:
            value = made[spec.name]
            if isinstance(value, dict):
                value = np.array(list(value.values())).reshape(spec.shape)
            found[spec.name] = np.asarray(value).astype(spec.dtype)
        return found

    def call(self, feeds: Feeds) -> PreparedCall:
        """Refuse: the time this evaluation takes says nothing about Core ML."""
        check_feeds(self._model, self.inputs, feeds)
        raise EdgeconvError(
            f"{self._model}: mil-reference only checks numbers; Core ML's latency needs a Mac"
        )

    def close(self) -> None:
        """Let go of the model."""
        self.program = None
