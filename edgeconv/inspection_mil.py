"""What is inside an .mlpackage, from its own program: operators, types, integers and their scales."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.formats.mil_types import TensorType
from edgeconv.formats.mlpackage import naming, open_package
from edgeconv.mil.census import WEIGHTS, mil_census
from edgeconv.mil.program import Operation, Parsed, Reference, parse


def look_into(path: Path) -> dict[str, Any]:
    """Return the fields of an Inspection, ``quantization`` as (name, shape, dtype, scales, zeros, constant).

    Raises EdgeconvError where the package is damaged.
    """
    with naming(path):
        program = parse(open_package(path))
    types = Counter(t.dtype.name for t in program.types.values() if isinstance(t, TensorType))
    return {
        "census": mil_census(program),
        "inputs": tuple(_end(name, kind) for name, kind in program.inputs),
        "outputs": tuple(_end(name, program.types.get(name)) for name in program.outputs),
        "types": dict(sorted(types.items())),
        "quantization": _quantization(program),
        "metadata": program.metadata,
    }


def _end(name: str, kind: object) -> dict[str, Any]:
    if not isinstance(kind, TensorType):
        return {"name": name, "shape": None, "dtype": ""}
    return {"name": name, "shape": list(kind.shape), "dtype": kind.dtype.name}


def _quantization(program: Parsed) -> tuple[tuple[Any, ...], ...]:
    found: list[tuple[Any, ...]] = []
    for op in program.operations:
        if op.kind not in WEIGHTS and op.kind != "quantize":
            continue
        integers, zero = WEIGHTS.get(op.kind, ("input", "zero_point"))
        scales, zeros = _constant(program, op, "scale"), _constant(program, op, zero)
        if scales is None:
            continue
        (name, kind), *_ = op.results
        stored = _constant(program, op, integers)
        shape = kind.shape if isinstance(kind, TensorType) else None
        dtype = kind.dtype.name if isinstance(kind, TensorType) else ""
        if isinstance(stored, np.ndarray):
            shape, dtype = stored.shape, stored.dtype.name
        zeros = 0 if zeros is None else zeros
        found.append((name, shape, dtype, scales, zeros, op.kind in WEIGHTS))
    return tuple(found)


def _constant(program: Parsed, op: Operation, parameter: str) -> Any:
    """Return an argument's numbers, by name or in place."""
    for argument in op.arguments.get(parameter, []):
        value = (
            program.constants.get(argument.name) if isinstance(argument, Reference) else argument
        )
        if isinstance(value, np.ndarray):
            return value
    return None
