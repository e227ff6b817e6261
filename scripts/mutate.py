"""Change one place of the core at a time and see whether a test notices.

    python scripts/mutate.py --seed 1 --count 400 --lines mutants.jsonl

Seeded and resumable: a mutant that has a line is not run again. Mutants are made in a copy of the
checkout. First the tests of all areas run once and scripts/reach.py notes what each runs (kept beside
the lines); then each mutant is tried by the tests that run its function, the quickest first, forked from
a process that has the packages loaded already. The copy has no ../shared: tests that want it do not count.
``killed`` is how: an assertion, a crash (an error that no test asserts), the time limit; None where all
tests passed.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NoReturn

import reach
from mutants import Mutant, mutant_of

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 240.0
STAGES_S = (2.0, 10.0, 90.0)
"""Up to where the tests of a mutant, the quickest first, go in one process: processor time in all."""

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
    (r"export/tflite/", "core_values tflite tflite_int8 tflite_shuffles by_value tflite_nodes recurrence tflite_random"),
    (r"export/coreml/", "coreml_ops coreml core_values by_value coreml_signatures mil_oracle recurrence coreml_command"),
)  # fmt: skip
"""Files -> the tests that hold them, the cheapest first."""


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
        mutant = mutant_of(file, (ROOT / file).read_text(encoding="utf-8"), rng)
        if mutant is not None:
            found.append((seed * 10**6 + len(found), mutant))
    return found


def _tests(file: str) -> list[str]:
    for pattern, names in AREAS:
        if re.match(pattern, file):
            paths = (f"tests/test_{name}.py" for name in names.split())
            return [path for path in paths if (ROOT / path).exists()]
    return []


def run_tests(
    tests: Sequence[str], place: Path, slow: bool, seconds: float = LIMIT_S
) -> str | None:
    """Run tests in ``place`` in a fork; return how the mutant died, None where it lives.

    ``seconds`` of this process's time are what they may take; a hundred times as long by the clock.
    """
    log = place / ".mutant.log"
    status = _forked(lambda: _pytest([*tests, "-x"], slow), place, log, seconds)
    if status == 0:
        return None
    said = log.read_text(errors="replace", encoding="utf-8")
    if status is None or status == -signal.SIGXCPU:
        return "time"
    asserted = re.search(r"^E +(AssertionError|assert|Failed)", said, re.MULTILINE)
    test = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    return f"{'assertion' if asserted else 'crash'} in {test[1] if test else tests[0]}"


def _forked(work: Callable[[], int], place: Path, log: Path, seconds: float) -> int | None:
    """Return the exit code of ``work`` in a fork, negative for a signal; None where it had to be killed."""
    if (pid := os.fork()) == 0:
        _child(work, place, log, seconds)
    end = time.monotonic() + 100 * seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _child(work: Callable[[], int], place: Path, log: Path, seconds: float) -> NoReturn:
    code = 3
    try:
        os.setsid()
        os.chdir(place)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = open(handle, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 - until the process ends
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _words(slow: bool) -> list[str]:
    words = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider",
             "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
    return [*words, "--slow"] if slow else words


def _pytest(tests: Sequence[str], slow: bool) -> int:
    import pytest

    return int(pytest.main([*_words(slow), *tests]))


def reach_of(files: Sequence[str], place: Path, kept: Path, slow: bool) -> reach.Reach:
    """Return what the test files reach, from ``kept`` or by running them."""
    known = reach.known(kept)
    for file in files:
        if file not in known:
            log = place / ".mutant.log"
            _forked(lambda: reach.record(file, place, kept, _words(slow)), place, log, 3600.0)  # noqa: B023
            print(
                f"{file}: {log.read_text(errors='replace', encoding='utf-8').splitlines()[-1:]}",
                flush=True,
            )
    found = reach.Reach()
    for file, one in reach.known(kept).items():
        if file in files:
            found.add(one)
    return found


def tried(
    mutant: Mutant, place: Path, reached: reach.Reach, slow: bool, limit_s: float = STAGES_S[-1]
) -> str | None:
    """Return how the mutant dies by the tests that run its function: the quickest first, the others then."""
    where = mutant.file if mutant.inside is None else f"{mutant.file}:{mutant.inside}"
    for tests in _stages(reached.of(where), reached.tests, limit_s):
        seconds = sum(reached.tests[test] for test in tests)
        if killed := run_tests(tests, place, slow, 15 + 4 * seconds):
            return killed
    return None


def _stages(tests: Sequence[str], seconds: Mapping[str, float], limit_s: float) -> list[list[str]]:
    """Return the tests by stages; those beyond ``limit_s`` in all are left out, but one is kept."""
    stages: list[list[str]] = [[] for _ in STAGES_S]
    spent = 0.0
    for test in tests:
        spent += seconds[test]
        if spent > limit_s and any(stages):
            break
        stages[next((n for n, end in enumerate(STAGES_S) if spent <= end), -1)].append(test)
    return [stage for stage in stages if stage]


def load_packages(place: Path) -> None:
    """Load what the tests need but our own code, which is the copy in ``place``."""
    sys.path[:0] = [str(place), str(place / "tests"), str(place / "scripts")]
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["PYTHONPATH"] = str(place)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place / ".tmp")
    (place / ".tmp").mkdir()
    sys.dont_write_bytecode = False  # every fork would compile all of ours anew
    for name in ("torch", "onnx", "onnxruntime", "PIL.Image", "hypothesis", "pytest", "rich.console",
                 "ai_edge_litert.interpreter", "ai_edge_litert.schema_py_generated", "safetensors.torch",
                 "click.testing", "coremltools"):  # fmt: skip
        __import__(name)


def summary(results: Sequence[dict[str, object]]) -> str:
    """Return the line of figures, with the interval of 95 % of the share, and a line for each survivor."""
    ways = Counter(str(r["killed"]).split(" ")[0] for r in results)
    lived = [r for r in results if r["killed"] is None]
    from edgeconv.metrics import wilson_interval  # not before the mutants: it is ours

    low, high = wilson_interval(len(results) - len(lived), len(results))
    share = 100 * (1 - len(lived) / max(1, len(results)))
    fast = sum(r["killed"] is not None and not r.get("slow") for r in results)
    head = (
        f"{len(results)} mutants, {share:.1f} % killed (95 %: {100 * low:.1f} to {100 * high:.1f}), "
        f"{fast} of them by fast tests ({dict(ways)})"
    )
    return "\n".join([head, *(f"  {r['file']}:{r['line']} {r['what']}" for r in lived)])


def main(arguments: list[str]) -> int:
    """Run the mutants that have no line yet and print the figures."""
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--lines", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--slow", action="store_true", help="slow tests too")
    parser.add_argument(
        "--seconds", type=float, default=STAGES_S[-1], help="of tests for one mutant in all"
    )
    parser.add_argument("--again", action="store_true", help="run the survivors once more")
    asked = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="mutants-")).resolve()
    try:
        ignored = shutil.ignore_patterns(".*", "__pycache__", "site", "dist", "build")
        shutil.copytree(ROOT, place, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        load_packages(place)
        results = campaign(asked, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(summary(results))
    return 0


@contextmanager
def changed(target: Path, source: str) -> Iterator[None]:
    """Let ``target`` hold other source meanwhile; what was compiled of either is not taken for the other."""
    healthy = target.read_bytes()
    for text in (source.encode(), healthy):
        target.write_bytes(text)
        for compiled in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
            compiled.unlink()
        if text != healthy:
            yield


def campaign(asked: argparse.Namespace, place: Path) -> list[dict[str, object]]:
    """Try the mutants that have no line, and with ``--again`` those that lived; return all lines."""
    lines = asked.lines.read_text(encoding="utf-8").splitlines() if asked.lines.exists() else ()
    known = {line["number"]: line for line in map(json.loads, lines)}
    mutants = [
        (number, mutant)
        for number, mutant in chosen(asked.seed, asked.count)
        if number not in known or (asked.again and known[number]["killed"] is None)
    ]
    files = list(dict.fromkeys(test for _, mutant in mutants for test in _tests(mutant.file)))
    kept = asked.lines.absolute().with_suffix(".slow.reach" if asked.slow else ".reach")
    reached = reach_of(files, place, kept, asked.slow)
    for number, mutant in mutants:
        start = sum(os.times()[:4])
        with changed(place / mutant.file, mutant.source):
            killed = tried(mutant, place, reached, asked.slow, asked.seconds)
        known[number] = {"number": number, "file": mutant.file, "line": mutant.line,
                         "what": mutant.what, "killed": killed, "slow": asked.slow,
                         "seconds": round(sum(os.times()[:4]) - start, 1)}  # fmt: skip
        with asked.lines.open("a", encoding="utf-8") as out:
            out.write(json.dumps(known[number]) + "\n")
    return list(known.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
