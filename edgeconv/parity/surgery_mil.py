"""Open a Core ML package up at chosen tensors: the reference evaluator shows and replaces them.

Nothing is rewired: ``mil-reference`` lets a watcher see every result and put another in its place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.parity.codec import fits
from edgeconv.runtimes.mil_reference import MilReferenceRunner
from edgeconv.runtimes.mil_reference import open as open_file
from edgeconv.tensors import TensorSpec

FED = "__fed"
"""Suffix of the new inputs of a severed program, as in surgery_onnx.py."""

Array = NDArray[Any]


class WatchedProgram:
    """A package whose outputs are ``tensors`` of its program; severed, each has an input of its own.

    Values are real, NCHW, as the program holds them (half precision already rounded).
    """

    def __init__(
        self, runner: MilReferenceRunner, tensors: Mapping[str, tuple[int, ...]], *, sever: bool
    ) -> None:
        self.name, self.version = runner.name, runner.version
        self._runner, self._tensors = runner, tensors
        own = tuple(TensorSpec(name, shape, "float32") for name, shape in tensors.items())
        fed = tuple(TensorSpec(spec.name + FED, spec.shape, "float32") for spec in own)
        self.inputs = (*runner.inputs, *fed) if sever else runner.inputs
        self.outputs = own

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the program once; results named ``x`` are replaced by a feed ``x__fed``."""
        seen: dict[str, Array] = {}

        def watch(name: str, value: Array) -> Array | None:
            if name in self._tensors:
                seen[name] = np.asarray(value, np.float32)
            return feeds.get(name + FED)

        borders = {spec.name for spec in self._runner.inputs}
        self._runner.observe({n: a for n, a in feeds.items() if n in borders}, watch)
        return seen


def shapes_of(runner: MilReferenceRunner) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the program computes."""
    types = runner.program.parsed.types
    made = {n for op in runner.program.parsed.operations for n, _ in op.results}
    return {
        n: tuple(kind.shape) for n, kind in types.items() if n in made and hasattr(kind, "shape")
    }


def open_program_at(
    path: Path, tensors: Mapping[str, str], wanted: Mapping[str, tuple[int, ...]]
) -> tuple[WatchedProgram, WatchedProgram]:
    """Return ``path`` exposed and severed at the values of ``tensors``, reference -> program.

    Only those that the program computes in a shape that fits the reference's, ``wanted``.
    """
    runner = open_file(path)
    shapes = shapes_of(runner)
    chosen = {
        name: shapes[name]
        for tensor, name in tensors.items()
        if name in shapes and False in fits(wanted[tensor], shapes[name])
    }
    return (
        WatchedProgram(runner, chosen, sever=False),
        WatchedProgram(runner, chosen, sever=True),
    )
