"""Change one place of the core at a time and see whether a test notices.

    python scripts/mutate.py --seed 1 --count 400 --lines mutants.jsonl

Seeded and resumable: a mutant that has a line is not run again. Mutants are made in a copy of the
checkout; each is tried by the tests of its area, cheap ones first, forked from a process that has the
packages loaded already. ``killed`` is how: an assertion, a crash (an error that no test asserts), the
time limit; None where all tests passed.
"""

import argparse
import ast
import copy
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 240.0

AREAS: tuple[tuple[str, str], ...] = (
    (r"edgeconv/bench/(statistics|pairs)", "bench_statistics bench_reports bench"),
    (r"edgeconv/metrics/", "metrics judge evaluate core_values"),
    (r"edgeconv/judge/", "judge core_values parity_verdicts parity_tally promise planted_faults parity"),
    (r"edgeconv/parity/layers/", "parity_bisect parity_layers parity_equalised parity_emulate"),
    (r"edgeconv/parity/", "parity parity_ci parity_shown parity_verdicts parity_tally core_values"),
    (r"edgeconv/mil/|edgeconv/formats/mil", "mil core_values coreml mil_oracle coreml_ops"),
    (r"edgeconv/(artifact|levels|tensors|adapt|manifest_schema)", "artifact adapt schema by_value"),
    (r"edgeconv/recipe", "recipe core_values quant promise quant_command"),
    (r"models/checkpoint", "weights hostile_files core_values"),
    (r"export/quant/", "core_values quant quant_calibration quant_robust quant_rewrites quant_copies quant_apart"
                       " by_value quant_read_qdq quant_command"),
    (r"export/(qdq|integer)/", "core_values qdq quant int8_kinds by_value int8_random quant_apart"),
    (r"export/tflite/", "tflite tflite_int8 tflite_shuffles by_value tflite_nodes tflite_random"),
    (r"export/coreml/", "coreml_ops coreml core_values by_value coreml_signatures mil_oracle coreml_command"),
)  # fmt: skip
"""Files -> the tests that hold them, the cheapest first."""


@dataclass(frozen=True)
class Mutant:
    """``line`` of ``file`` written anew as ``text``; ``what`` says how it differs."""

    file: str
    line: int
    what: str
    source: str


COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip


def _changes(node: ast.AST) -> Iterator[str]:
    """Change ``node`` in place, one way at a time, and yield how; the caller copies between."""
    match node:
        case ast.Compare(ops=[first, *_]) if type(first) in COMPARED:
            node.ops[0] = COMPARED[type(first)]()
            yield f"{type(first).__name__} to {type(node.ops[0]).__name__}"
        case ast.BinOp(op=op) if type(op) in CALCULATED and not isinstance(node.left, ast.Constant):
            node.op = CALCULATED[type(op)]()
            yield f"{type(op).__name__} to {type(node.op).__name__}"
        case ast.Constant(value=bool()):
            node.value = not node.value
            yield f"{not node.value} to {node.value}"
        case ast.Constant(value=int() as number):
            node.value = number + 1
            yield f"{number} to {number + 1}"
        case ast.Constant(value=float() as real):
            node.value = 2 * real + 1
            yield f"{real} to {node.value}"
        case ast.If() | ast.IfExp() | ast.While():
            node.test = ast.UnaryOp(ast.Not(), node.test)
            yield "condition negated"
        case ast.BoolOp():
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield "and for or"
        case ast.Call(args=[first_arg, second, *rest]) if not isinstance(second, ast.Starred):
            node.args = [second, first_arg, *rest]
            yield "arguments swapped"
        case ast.UnaryOp(op=ast.USub()):
            node.op = ast.UAdd()
            yield "sign dropped"


def mutant_of(file: str, text: str, rng: Random) -> Mutant | None:
    """Return a random mutant of a source file; raises, types, f-strings and imports are left alone."""
    tree = ast.parse(text)
    skipped = _left_alone(tree)
    nodes = list(ast.walk(tree))
    for number in rng.sample(range(len(nodes)), len(nodes)):
        if id(nodes[number]) in skipped:
            continue
        changed = copy.deepcopy(tree)
        twin = list(ast.walk(changed))[number]
        what = "statement dropped" if _drop(changed, twin) else next(_changes(twin), None)
        if what is not None:
            source = ast.unparse(ast.fix_missing_locations(changed))
            return Mutant(file, getattr(nodes[number], "lineno", 0), what, source)
    return None


def _drop(tree: ast.Module, statement: ast.AST) -> bool:
    """Put pass in the place of a call or an addition that stands alone; say whether it was one."""
    value = getattr(statement, "value", None)
    if not isinstance(statement, ast.Expr | ast.AugAssign) or isinstance(
        value, ast.Constant | ast.Yield
    ):
        return False
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            inside = getattr(parent, name, None)
            if isinstance(inside, list) and statement in inside:
                inside[inside.index(statement)] = ast.Pass()
                return True
    return False


def _left_alone(tree: ast.Module) -> set[int]:
    """Return the ids of nodes inside raises, annotations, decorators, f-strings and slots."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
                parts = [node]
            case ast.FunctionDef():
                parts = [
                    *node.decorator_list,
                    node.returns,
                    *(a.annotation for a in node.args.args),
                ]
            case ast.AnnAssign():
                parts = [node.annotation]
        for part in parts:
            found |= {id(one) for one in ast.walk(part)} if part is not None else set()
    return found


def chosen(seed: int, count: int) -> list[tuple[int, Mutant]]:
    """Return ``count`` mutants with their numbers, the same for a seed: a file, then a place in it."""
    rng = Random(seed)
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("edgeconv", "export", "models")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.is_relative_to(ROOT / "edgeconv" / "export")
    ]
    files = [file for file in files if _tests(file)]
    found: list[tuple[int, Mutant]] = []
    while len(found) < count:
        file = rng.choice(files)
        mutant = mutant_of(file, (ROOT / file).read_text(), rng)
        if mutant is not None:
            found.append((seed * 10**6 + len(found), mutant))
    return found


def _tests(file: str) -> list[str]:
    for pattern, names in AREAS:
        if re.match(pattern, file):
            paths = (f"tests/test_{name}.py" for name in names.split())
            return [path for path in paths if (ROOT / path).exists()]
    return []


def run_tests(tests: Sequence[str], place: Path, slow: bool) -> str | None:
    """Run test files in ``place`` in forks; return how the mutant died, None where it lives."""
    for test in tests:
        log = place / ".mutant.log"
        if (pid := os.fork()) == 0:
            _child(test, place, log, slow)
        end, status = time.monotonic() + LIMIT_S, None
        while status is None and time.monotonic() < end:
            found, code = os.waitpid(pid, os.WNOHANG)
            status = code if found else None
            time.sleep(0.02)
        if status is None:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "time"
        if os.waitstatus_to_exitcode(status) != 0:
            said = log.read_text(errors="replace")
            asserted = re.search(r"^E +(AssertionError|assert|Failed)", said, re.MULTILINE)
            return f"{'assertion' if asserted else 'crash'} in {test}"
    return None


def _child(test: str, place: Path, log: Path, slow: bool) -> None:
    code = 3
    try:
        os.setsid()
        os.chdir(place)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = open(handle, "w", buffering=1)  # noqa: SIM115 - until the process ends
        import pytest

        words = ["-x", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", test,
                 "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
        code = int(pytest.main([*words, "--slow"] if slow else words))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def load_packages(place: Path) -> None:
    """Load what the tests need but our own code, which is the copy in ``place``."""
    sys.path[:0] = [str(place), str(place / "tests"), str(place / "scripts")]
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["PYTHONPATH"] = str(place)
    for name in ("torch", "onnx", "onnxruntime", "PIL.Image", "hypothesis", "pytest", "rich.console",
                 "ai_edge_litert.interpreter", "safetensors.torch", "click.testing"):  # fmt: skip
        __import__(name)


def summary(results: Sequence[dict[str, object]]) -> str:
    """Return the line of figures and a line for each survivor."""
    ways = Counter(str(r["killed"]).split(" ")[0] for r in results)
    lived = [r for r in results if r["killed"] is None]
    share = 100 * (1 - len(lived) / max(1, len(results)))
    head = f"{len(results)} mutants, {share:.1f} % killed ({dict(ways)})"
    return "\n".join([head, *(f"  {r['file']}:{r['line']} {r['what']}" for r in lived)])


def main(arguments: list[str]) -> int:
    """Run the mutants that have no line yet and print the figures."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--lines", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--slow", action="store_true", help="slow tests too")
    parser.add_argument("--again", action="store_true", help="run the survivors once more")
    asked = parser.parse_args(arguments)
    known = {}
    for line in asked.lines.read_text().splitlines() if asked.lines.exists() else ():
        result = json.loads(line)
        known[result["number"]] = result
    place = Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        ignored = shutil.ignore_patterns(".*", "__pycache__", "site", "dist", "build")
        shutil.copytree(ROOT, place, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        load_packages(place)
        sound: dict[str, bool] = {}
        for number, mutant in chosen(asked.seed, asked.count):
            if number in known and not (asked.again and known[number]["killed"] is None):
                continue
            for test in _tests(mutant.file):
                if test not in sound:
                    sound[test] = run_tests([test], place, asked.slow) is None
                    if not sound[test]:
                        print(f"{test} fails without a mutant: it is left out", flush=True)
            target, start = place / mutant.file, time.monotonic()
            healthy = target.read_bytes()
            target.write_text(mutant.source)
            tests = [test for test in _tests(mutant.file) if sound[test]]
            killed = run_tests(tests, place, asked.slow)
            target.write_bytes(healthy)
            known[number] = {"number": number, "file": mutant.file, "line": mutant.line,
                             "what": mutant.what, "killed": killed,
                             "seconds": round(time.monotonic() - start, 1)}  # fmt: skip
            with asked.lines.open("a") as file:
                file.write(json.dumps(known[number]) + "\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(summary(list(known.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
