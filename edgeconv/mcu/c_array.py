"""A model as source: a C array, or an assembler file that includes the bytes as they are."""

import re
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import write_text

WIDTH = 12
SUFFIXES = (".h", ".c", ".cc", ".cpp", ".S")
HEADER_HEAD = ("#pragma once", "#ifndef __cplusplus", "#include <stdalign.h>", "#endif")
"""C before C23 has ``alignas`` from that header alone."""


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
    values = [
        "  " + " ".join(f"0x{byte:02x}," for byte in data[at : at + WIDTH])
        for at in range(0, len(data), WIDTH)
    ]
    rows = [f"/* {model.name.replace('*/', '* /')}, {len(data)} bytes */"]
    own = ""
    if path.suffix == ".h":
        rows = [*HEADER_HEAD, *rows]
        own = "static "  # else two C files that include it define it twice
    bytes_of, length = f"const unsigned char {name}[{len(data)}]", f"const unsigned int {name}_len"
    if not own:  # in C++ a constant that no line calls extern is seen in its own file alone
        rows += [f"extern {bytes_of};", f"extern {length};"]
    align = "_Alignas(16)" if path.suffix == ".c" else "alignas(16)"
    rows += [f"{align} {own}{bytes_of} = {{", *values, "};", f"{own}{length} = {len(data)};", ""]
    return "\n".join(rows)


def included(model: Path, name: str) -> str:
    """Return GNU assembler that puts the file into .rodata without compiling it.

    The file is called as ``model`` is: the assembler looks from where it runs, and in its folders of -I.
    """
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
            "#if defined(__linux__) && defined(__ELF__)",  # else linkers take the stack for executable
            '  .section .note.GNU-stack,"",%progbits',
            "#endif",
            "",
        ]
    )
