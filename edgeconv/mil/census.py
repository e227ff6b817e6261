"""What a Core ML program holds, counted."""

from collections.abc import Mapping

import numpy as np

from edgeconv.formats.census import Census, Counted, count
from edgeconv.mil.program import Operation, Parsed, Reference

WEIGHTS = {
    "constexpr_affine_dequantize": ("quantized_data", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "offset"),
}
"""Operation that holds integer weights -> its parameters for the integers and the zero point."""


def mil_census(program: Parsed) -> Census:
    """Count a program; an integer operator has integers right before both operands (W8A8)."""
    makers = {name: op for op in program.operations for name, _ in op.results}
    return count("mlpackage", (_counted(op, makers) for op in program.operations))


def _counted(op: Operation, makers: Mapping[str, Operation]) -> Counted:
    data, weight = _maker(op, "x", makers), _maker(op, "weight", makers)
    if weight is None or weight.kind not in (*WEIGHTS, "dequantize"):
        return Counted(op.kind)
    integer = data is not None and data.kind == "dequantize"
    scales = [a for a in weight.arguments.get("scale", []) if isinstance(a, np.ndarray)]
    return Counted(op.kind, integer, bool(scales) and scales[0].size > 1, stored=True)


def _maker(op: Operation, parameter: str, makers: Mapping[str, Operation]) -> Operation | None:
    for argument in op.arguments.get(parameter, []):
        if isinstance(argument, Reference):
            return makers.get(argument.name)
    return None
