"""Open a Core ML package up at chosen tensors: the reference evaluator shows and replaces them.

Nothing is rewired: ``mil-reference`` lets a watcher see every result and put another in its place.
A tensor that the program quantizes is shown as what its integers stand for, so that a wrong grid is
the fault of the layer in front of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.mil.program import Reference
from edgeconv.parity.layers.codec import fits
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
        self._grids = grids_of(runner)
        own = tuple(TensorSpec(name, shape, "float32") for name, shape in tensors.items())
        fed = tuple(TensorSpec(spec.name + FED, spec.shape, "float32") for spec in own)
        self.inputs = (*runner.inputs, *fed) if sever else runner.inputs
        self.outputs = own

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate the program once; results named ``x`` are replaced by a feed ``x__fed``."""
        seen: dict[str, Array] = {}

        def watch(name: str, value: Array) -> Array | None:
            if name in self._tensors:
                grid = self._grids.get(name)
                real = np.asarray(value, np.float32)
                seen[name] = real if grid is None else grid.nearest(real)
            return feeds.get(name + FED)

        borders = {spec.name for spec in self._runner.inputs}
        self._runner.observe({n: a for n, a in feeds.items() if n in borders}, watch)
        return seen


@dataclass(frozen=True)
class Grid:
    """What a quantize operation of the program does: step, zero point, smallest and largest integer."""

    scale: float
    zero_point: int
    low: int
    high: int

    def nearest(self, real: Array) -> Array:
        """Return the real values that the integers of ``real`` stand for."""
        steps = np.rint(real / np.float32(self.scale)) + self.zero_point
        steps = np.clip(steps, self.low, self.high)
        return np.asarray((steps - self.zero_point) * np.float32(self.scale), np.float32)


def grids_of(runner: MilReferenceRunner) -> dict[str, Grid]:
    """Return the grid of every tensor that a quantize operation reads."""
    types = runner.program.parsed.types
    found = {}
    for operation in runner.program.parsed.operations:
        if operation.kind != "quantize":
            continue
        source, scale = operation.arguments["input"][0], operation.arguments["scale"][0]
        if (
            not isinstance(source, Reference)
            or not isinstance(scale, np.ndarray)
            or scale.size != 1
        ):
            continue
        zero = operation.arguments.get("zero_point", [np.zeros((), np.int8)])[0]
        limits = np.iinfo(types[operation.results[0][0]].dtype)
        point = int(np.asarray(zero).reshape(-1)[0])
        found[source.name] = Grid(float(scale.reshape(-1)[0]), point, limits.min, limits.max)
    return found


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
