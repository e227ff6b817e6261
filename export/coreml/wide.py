"""What half precision would round away: what makes such outputs, and places, computes in float32.

Around 500 a half has steps of a quarter to a half: a figure that varies by 1 there keeps 25 dB. The
operators between the last layer with weights and such an output, that layer too, stay in float32. So do those
that computed places come from: a half has steps of an eighth of a pixel at 128.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from edgeconv.metrics import half_step

COARSE = 1 / 128
"""Steps of half precision in an output's spread: coarser ones leave it less than 53 dB."""
LAYERS = ("conv", "conv_transpose", "linear", "matmul", "einsum", "lstm", "gru", "rnn")
"""Operators that sum products: in front of one, half precision loses no more than anywhere."""
STORED = ("constexpr_", "dequantize")
"""How the names of operators begin that only read stored numbers, in their reader's precision."""


def coarse_outputs(outputs: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return the outputs, name -> (samples, ...) of the float net, that need more than a half's digits."""
    return tuple(
        name
        for name, values in outputs.items()
        if values.dtype.kind == "f"
        and len(values) > 1
        and half_step(values) > COARSE * float(values.std(axis=0).mean()) > 0.0
    )


def halved(outputs: Collection[str], exact: Collection[str]) -> Callable[[Any], bool]:
    """Return coremltools' selector of the operators that compute in half precision.

    ``outputs`` and ``exact``, the names of what computes places, are MIL names. What stays in float32 is decided when it is first asked, as the pass
    that asks changes the program while it goes.
    """
    wide: set[int] = set()
    asked = False

    def selects(operation: Any) -> bool:
        nonlocal asked
        if not asked:
            wide.update(id(op) for op in _tails(operation.enclosing_block, outputs, exact))
            asked = True
        return id(operation) not in wide

    return selects


def _tails(block: Any, outputs: Collection[str], exact: Collection[str]) -> Iterator[Any]:
    """Yield each operator from the last layer on, and what reads the numbers stored for it alone."""
    found: set[int] = set()
    last = [variable for variable in block.outputs if variable.name in outputs]
    for operation in reversed(block.operations):
        stored = operation.op_type.startswith(STORED)
        if any(
            variable.name in exact
            or any(variable is output for output in last)
            or any(_reaches(reader, stored, found) for reader in variable.child_ops)
            for variable in operation.outputs
        ):
            found.add(id(operation))
            yield operation


def _reaches(reader: Any, stored: bool, found: Collection[int]) -> bool:
    """Whether an operator in front of ``reader`` stays in float32 as it does."""
    return id(reader) in found and (stored or reader.op_type not in LAYERS)
