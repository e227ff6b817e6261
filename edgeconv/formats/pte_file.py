"""ExecuTorch programs (.pte): whether one is whole, and what is in it. Read without ExecuTorch.

The fields are those of schema/program.fbs of ExecuTorch 1.5; the header before the segments is the
"extended header" of its runtime.
"""

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.formats.flatbuffer import Table, damage, read_number

IDENTIFIER = b"ET12"
"""Bytes 4 to 8 of a program of the format that ExecuTorch 0.3 and later write."""

HEADER, HEADER_BYTES = b"eh00", 32
KERNEL_CALL, DELEGATE_CALL, TENSOR = 1, 2, 5
"""Of the unions InstructionArguments and KernelTypes."""

SCALAR_TYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    11: "bool",
}
"""PyTorch's ScalarType by number."""


@dataclass(frozen=True)
class Program:
    """The method ``forward``: calls of operators outside the delegates, and of delegates, by name.

    ``inputs`` and ``outputs`` are (shape, type); ``version`` is the format's own number.
    """

    version: int
    operators: Counter[str]
    delegates: Counter[str]
    inputs: tuple[tuple[tuple[int, ...], str], ...]
    outputs: tuple[tuple[tuple[int, ...], str], ...]


def check_whole(path: Path) -> None:
    """Raise EdgeconvError unless ``path`` is a program of the format known here, as long as it says."""
    with path.open("rb") as file:
        head = file.read(8 + HEADER_BYTES)
    if head[4:8] != IDENTIFIER:
        raise EdgeconvError(
            f"{path} is no ExecuTorch program of the format {IDENTIFIER.decode()}: export it again with "
            "the ExecuTorch that is installed"
        )
    if len(head) >= 12 and head[8:12] != HEADER:
        return
    if len(head) < 8 + HEADER_BYTES:
        raise EdgeconvError(f"{path} ends in its header: copy or export it again")
    program, base, segments = struct.unpack_from("<QQQ", head, 16)
    wanted, found = max(program, base + segments), path.stat().st_size
    if found < wanted:
        raise EdgeconvError(
            f"{path} is cut off: {found} bytes of {wanted}: copy or export it again"
        )


def read_program(path: Path) -> Program:
    """Return what is in a program. Raises EdgeconvError where it is damaged."""
    check_whole(path)
    data = path.read_bytes()
    try:
        root = Table(data, read_number("<I", data, 0))
        plans = {plan.text(0): plan for plan in root.tables(1)}
        if "forward" not in plans:
            raise EdgeconvError(
                f"{path} has no method forward: {', '.join(plans) or 'it has none'}"
            )
        return _read(root.scalar(0, "<I"), plans["forward"])
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise EdgeconvError(f"{path} {damage(error, len(data))}") from error


def _read(version: int, plan: Table) -> Program:
    names = [".".join(filter(None, (op.text(0), op.text(1)))) for op in plan.tables(6)]
    backends = [delegate.text(0) for delegate in plan.tables(7)]
    operators: Counter[str] = Counter()
    delegates: Counter[str] = Counter()
    for chain in plan.tables(5):
        for instruction in chain.tables(2):
            kind, call = instruction.scalar(0, "<B"), _union(instruction, 1)
            if call is not None and kind == KERNEL_CALL:
                operators[names[call.scalar(0, "<i")]] += 1
            elif call is not None and kind == DELEGATE_CALL:
                delegates[backends[call.scalar(0, "<i")]] += 1
    values = list(plan.tables(2))
    ends = [
        tuple(_tensor(values[index]) for index in _numbers(plan, field, "<i")) for field in (3, 4)
    ]
    return Program(version, operators, delegates, ends[0], ends[1])


def _tensor(value: Table) -> tuple[tuple[int, ...], str]:
    """Return shape and type of a value; no shape and no type where it is no tensor."""
    tensor = _union(value, 1)
    if tensor is None or value.scalar(0, "<B") != TENSOR:
        return (), ""
    kind = tensor.scalar(0, "<b")
    return tuple(_numbers(tensor, 2, "<i")), SCALAR_TYPES.get(kind, f"type {kind}")


def _union(table: Table, number: int) -> Table | None:
    """Return the table that a union's value field points at."""
    field = table.field(number)
    if field is None:
        return None
    return Table(table.data, field + read_number("<I", table.data, field))


def _numbers(table: Table, number: int, kind: str) -> list[int]:
    start, length = table.vector(number)
    size = struct.calcsize(kind)
    if start + size * length > len(table.data):
        raise struct.error("a list beyond the end")
    return [read_number(kind, table.data, start + size * i) for i in range(length)]
