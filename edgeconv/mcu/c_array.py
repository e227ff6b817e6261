"""A model as source: a C array, or an assembler file that includes the bytes as they are."""

import re
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import write_text

WIDTH = 12
SUFFIXES = (".h", ".c", ".cc", ".cpp", ".S")


def write_array(model: Path, path: Path) -> None:
    """Write ``model`` to ``path``: .h, .c, .cc, .cpp hold an array, .S an .incbin.

    Raises UsageError for another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--c-array {path}: it ends in {', '.join(SUFFIXES)}")
    name = identifier(model.stem)
    text = included(model, name) if path.suffix == ".S" else array(model, name, path)
    write_text(path, text)


def identifier(text: str) -> str:
    """Return ``text`` as a C name.

    >>> identifier("1.0_net int8")
    'g_1_0_net_int8'
    """
    return "g_" + re.sub(r"\W", "_", text, flags=re.ASCII)


def array(model: Path, name: str, path: Path) -> str:
    """Return the bytes as an array aligned to 16 bytes, as TensorFlow Lite Micro reads it."""
    data = model.read_bytes()
    rows = [
        "  " + " ".join(f"0x{byte:02x}," for byte in data[at : at + WIDTH])
        for at in range(0, len(data), WIDTH)
    ]
    cpp = path.suffix in (".cc", ".cpp", ".h")
    align = "alignas(16)" if cpp else "_Alignas(16)"
    external = "extern " if path.suffix in (".cc", ".cpp") else ""
    head = ["#pragma once"] if path.suffix == ".h" else []
    return "\n".join(
        [
            *head,
            f"/* {model.name.replace('*/', '* /')}, {len(data)} bytes */",
            f"{external}{align} const unsigned char {name}[{len(data)}] = {{",
            *rows,
            "};",
            f"{external}const unsigned int {name}_len = {len(data)};",
            "",
        ]
    )


def included(model: Path, name: str) -> str:
    """Return GNU assembler that puts the file into .rodata without compiling it."""
    quoted = str(model).replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join(
        [
            "  .section .rodata",
            "  .balign 16",
            f"  .global {name}",
            f"{name}:",
            f'  .incbin "{quoted}"',
            f"  .global {name}_end",
            f"{name}_end:",
            "  .balign 4",
            f"  .global {name}_len",
            f"{name}_len:",
            f"  .int {name}_end - {name}",
            "",
        ]
    )
