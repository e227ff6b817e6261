"""What is copied to a board is all that its commands import, and little else."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bench_kit import write_model

from edgeconv.device.payload import LEFT_OUT, archive, sources, zipped

STARTS = ("edgeconv.__main__", "edgeconv.commands.bench", "edgeconv.device.cells",
          "edgeconv.device.onboard", "edgeconv.isolated")  # fmt: skip
"""What is started there: by a session, by a bundle's run.py, and by each of these for its children."""

COMMANDS = """
import os, sys
from edgeconv.cli import main
for words in sys.stdin.read().splitlines():
    if (child := os.fork()) == 0:
        sys.argv[1:] = words.split()
        main()
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "after", words, file=sys.stderr)
"""

ALONE = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
"""
"""Sitecustomize: a checkout that is installed would lend what a copy lacks."""


def at_once(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that a module makes when it is imported: none in functions, none for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef) and "TYPE_CHECKING" not in ast.dump(node)[:99]:
            yield from at_once(node)


def test_what_a_board_imports_at_once_is_copied_there() -> None:
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): content
        for name, content in sources()
    }
    seen, missing, ahead = set[str](), list[str](), list(STARTS)
    while ahead:
        module = ahead.pop()
        if module in seen:
            continue
        seen.add(module)
        ahead += [module.rpartition(".")[0]] if "." in module else []
        for node in at_once(ast.parse(modules[module])):
            found = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                found = [f"{node.module}.{name}" for name in found] + [str(node.module)]
            for name in found:
                if name in modules:
                    ahead.append(name)
                elif name.startswith("edgeconv.") and name.split(".")[1] in LEFT_OUT:
                    missing.append(f"{module} imports {name}")
    assert missing == []
    assert len(seen) > 70


def test_the_same_files_are_the_same_bytes_without_weights() -> None:
    found = sources()
    for pack in (archive, zipped):
        assert pack(found) == pack(list(reversed(found)))
    assert all(name.endswith(".py") for name, _ in found)
    assert len(zipped(found)) < 500_000


@pytest.mark.slow
def test_what_a_board_is_asked_for_runs_with_what_is_copied_there(tmp_path: Path) -> None:
    """Each command line of a session on the copied files alone; what is not for boards says so."""
    there = tmp_path / "there"
    for name, content in sources():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes(content)
    (there / "sitecustomize.py").write_text(ALONE)
    write_model(tmp_path, "a.onnx")
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 8), np.float32))
    bench = "bench --json --progress --no-reference --runs 3 --warmup 0"
    lines = {
        f"{bench} a.onnx --sustained 0.1s --affinity 0 --shape x=1,8,8,8": 0,
        f"{bench} none.onnx": 2,
        "bench --help": 0,
        "export a.onnx": 1,
        "parity a.onnx --layers": 1,
        "sweep --help": 0,
    }
    environment = {**os.environ, "PYTHONPATH": str(there)}

    def python(*words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-P", *words], input=given, cwd=tmp_path,
                              env=environment, capture_output=True, text=True)  # fmt: skip

    said = python("-c", COMMANDS, given="\n".join(lines))
    ends = [f"ended with {code} after {words}" for words, code in lines.items()]
    assert [line for line in said.stderr.splitlines() if line.startswith("ended")] == ends, said
    assert "Traceback" not in said.stderr
    lacks = [line for line in said.stderr.splitlines() if "is not in this copy of edgeconv" in line]
    assert len(lacks) == 2, said.stderr
    cell = {
        "path": "a.onnx", "runtime": "onnxruntime", "inputs": {"x": "x.npy"}, "out": "out.npz", "options": {},
        "threads": 1, "layout": "nchw", "input_specs": [], "output_specs": [], "file_layout": None,
        "count": None, "frozen": {},
    }  # fmt: skip
    (tmp_path / "jobs.json").write_text(json.dumps({"jobs": [cell], "timeout_s": None}))
    told = python("-m", "edgeconv.device.cells", "jobs.json")
    (answer,) = json.loads(told.stdout)["cells"]
    assert answer["about"]["runtime"] == "onnxruntime", told
