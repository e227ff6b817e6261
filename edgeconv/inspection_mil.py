"""What is inside an .mlpackage, from its own program: operators, types, integers and their scales."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.formats.mil_types import TensorType
from edgeconv.formats.mlpackage import open_package
from edgeconv.mil.program import Operation, Parsed, Reference, parse

COMPUTE = ("conv", "conv_transpose", "linear", "matmul")

WEIGHTS = {
    "constexpr_affine_dequantize": ("quantized_data", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "offset"),
}
"""Operation that holds integer weights -> its parameters for the integers and the zero point."""


def look_into(path: Path) -> dict[str, Any]:
    """Return the fields of an Inspection, ``quantization`` as (name, shape, dtype, scales, zeros, constant).

    Raises EdgeconvError where the package is damaged.
    """
    program = parse(open_package(path))
    histogram = Counter(operation.kind for operation in program.operations)
    makers = {name: op for op in program.operations for name, _ in op.results}
    compute = [op for op in program.operations if op.kind in COMPUTE]
    integer = [op for op in compute if _integer(op, makers)]
    types = Counter(t.dtype.name for t in program.types.values() if isinstance(t, TensorType))
    return {
        "form": "mlpackage",
        "histogram": dict(sorted(histogram.items())),
        "compute": len(compute),
        "int8_compute": len(integer),
        "per_channel": sum(_scales(op, makers) > 1 for op in integer),
        "transposes": histogram["transpose"],
        "conversions": histogram["quantize"] + histogram["dequantize"],
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


def _maker(op: Operation, parameter: str, makers: Mapping[str, Operation]) -> Operation | None:
    for argument in op.arguments.get(parameter, []):
        if isinstance(argument, Reference):
            return makers.get(argument.name)
    return None


def _integer(op: Operation, makers: Mapping[str, Operation]) -> bool:
    """Whether both operands are integers right before: what Core ML computes as W8A8."""
    data, weight = _maker(op, "x", makers), _maker(op, "weight", makers)
    stored = weight is not None and weight.kind in (*WEIGHTS, "dequantize")
    return stored and data is not None and data.kind == "dequantize"


def _scales(op: Operation, makers: Mapping[str, Operation]) -> int:
    weight = _maker(op, "weight", makers)
    if weight is None:
        return 0
    found = [a for a in weight.arguments.get("scale", []) if isinstance(a, np.ndarray)]
    return int(found[0].size) if found else 1


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
