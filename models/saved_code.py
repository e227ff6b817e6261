"""What a saved program may hold before torch opens it: data and operators, no pickled code, no files of others."""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from edgeconv.errors import EdgeconvError

FILES = {"save", "from_file"}
"""TorchScript's own operators that write or map a file: a function of the net may be called so too."""
TEXT = re.compile(
    rb"""(?:'{3}(?:\\.|[^\\])*?'{3}|"{3}(?:\\.|[^\\])*?"{3})"""
    rb"""|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|#[^\n]*""",
    re.DOTALL,
)
"""Strings and comments of TorchScript, as its lexer ends them."""
TOKEN = re.compile(rb"\d+\.?\d*|\w+|[^\s\\]")
LOOPS = re.compile(rb"\b(?:while|for)\b")
OPERATOR = re.compile(r"torch\.ops(\.\w+){2,3}|_operator\.\w+|math\.\w+|torch\.\w*sym\w*")
NATIVE = re.compile(r"aotinductor|custom_obj|\.so$", re.IGNORECASE)
SIZE = re.compile(r"[a-z]{1,3}\d+|[A-Z][A-Za-z0-9]*|floor|ceiling|sqrt")
"""Names in an expression of sizes, which torch evaluates as Python: symbols and sympy's functions."""


def refuse_file_access(path: Path) -> None:
    """Raise EdgeconvError where TorchScript writes or maps files; its code runs as soon as it is opened."""
    for name, data in _records(path):
        if name.lower() == "model.json":
            raise EdgeconvError(f"{path} is TorchScript of a form that is no longer written")
        if name.lower().endswith(".py") and (found := _opens_files(data())):
            raise EdgeconvError(
                f"{path} may open files ({found} in {name}): edgeconv runs no such code from a file"
            )


def _opens_files(code: bytes) -> str:
    """Return the operator that opens a file, or the module of operators that gets another name; "" without."""
    tokens = [token.decode(errors="replace") for token in TOKEN.findall(TEXT.sub(b" ", code))]
    for place, root in enumerate(tokens):
        if root not in ("torch", "ops") or tokens[place - 1 : place] == ["."]:
            continue
        end = place + 1
        while tokens[end : end + 1] == ["."]:
            end += 2
        named = tokens[place:end:2]
        declared = named == [root] and tokens[end : end + 1] == [":"]  # an attribute or an argument
        module = len(named) < (2 if root == "torch" else 3)
        if FILES & set(named) or (module and not declared):
            return ".".join(named)
    return ""


def has_loops(path: Path) -> bool:
    """Whether TorchScript repeats anything: without, it ends as its operators do."""
    return any(
        name.lower().endswith(".py") and LOOPS.search(data()) for name, data in _records(path)
    )


def refuse_code(path: Path) -> None:
    """Raise EdgeconvError where an ExportedProgram holds native code, or text that torch would evaluate."""
    for name, data in _records(path):
        if NATIVE.search(name):
            raise EdgeconvError(f"{path} holds code ({name}): edgeconv runs none from a file")
        if name.lower().endswith(".json"):
            _refuse_text(path, json.loads(data()))


@contextlib.contextmanager
def tensors_alone() -> Iterator[None]:
    """Let torch unpickle tensors only, where it would try again with any code."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def refuse_short(module: torch.nn.Module, path: Path) -> None:
    """Raise EdgeconvError where no record has as many bytes as a tensor's storage claims: to read it crashes."""
    known = Counter(len(data()) for name, data in _records(path) if re.search(r"data/\d+$", name))
    seen = set()  # by torch's own address: an empty storage has no data to point at
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        storage = value.untyped_storage()
        if not storage.nbytes() or storage._cdata in seen:
            continue
        seen.add(storage._cdata)
        known[storage.nbytes()] -= 1
        if known[storage.nbytes()] < 0:
            raise EdgeconvError(f"{path} is damaged: {name} has other bytes than it says")


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the names in an archive, as torch's own reader sees them, each with what reads it."""
    reader: Any = torch._C.PyTorchFileReader(str(path))
    for name in reader.get_all_records():
        yield name, lambda name=name: reader.get_record(name)


def _refuse_text(path: Path, held: Any) -> None:
    waiting = [held]
    while waiting:
        one = waiting.pop()
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if not isinstance(one, dict):
            continue
        target, size = str(one.get("target", "")), one.get("expr_str")
        called = "inputs" in one and "target" in one
        if called and (not OPERATOR.fullmatch(target) or FILES & set(target.split("."))):
            raise EdgeconvError(f"{path} calls {target[:80]}, which is no operator")
        if size is not None and not _is_size(str(size)):
            raise EdgeconvError(f"{path} has a size that is no expression: {str(size)[:80]}")


def _is_size(text: str) -> bool:
    """Whether a text has symbols, numbers, and sympy's functions, or is Symbol('s0', integer=True)."""
    text = re.sub(r"'[a-z]{1,4}\d+'|\b[a-z]+=(?=True|False)", "1", text)
    names = re.findall(r"[A-Za-z_]\w*", text)
    shape = re.fullmatch(r"[\w\s+\-*/%(),<>=&|~.]*", text)
    dotted = re.search(r"\.(?!\d)|(?<!\d)\.", text)
    return shape is not None and dotted is None and all(map(SIZE.fullmatch, names))
