"""Change one place of the core at a time and see whether a test notices.

    python scripts/mutate.py --seed 1 --count 400 --lines mutants.jsonl

Seeded and resumable: a mutant that has a line is not run again. Mutants are made in a copy of the
checkout. First the tests of all areas are collected in one process, they run once, and scripts/reach.py notes what
each runs (kept beside the lines); then each mutant inside a function becomes that function's code in a fork
(scripts/collected.py) and meets the tests that run the function, the quickest first. Those outside of functions
have their tests collected anew. The copy has no ../shared: tests that want
it do not count.
``killed`` is how: an assertion, a crash (an error that no test asserts), the time limit; None where all
tests passed.
"""

import argparse
import gc
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
from functools import partial
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest
import reach
from collected import Collected, used
from mutants import Mutant, mutant_of

ROOT = Path(__file__).resolve().parents[1]
Line = dict[str, object]
"""What the tests did with a mutant."""

LIMIT_S = 240.0
STAGES_S = (2.0, 10.0, 90.0)
"""Up to where the tests of a mutant, the quickest first, go in one process: processor time in all."""

AREAS: tuple[tuple[str, str], ...] = (
    (r"edgeconv/bench/(statistics|pairs)", "fixed_values statistics_values bench_statistics bench_reports bench"),
    (r"edgeconv/metrics/", "fixed_values metric_values metrics core_arrays judge evaluate core_values"),
    (r"edgeconv/judge/", "fixed_values judge_values judge core_values core_arrays verdict_words parity_verdicts parity_tally promise planted_faults parity"),
    (r"edgeconv/parity/layers/", "fixed_values layer_values parity_inside parity_bisect parity_layers parity_equalised parity_emulate verdict_words parity_shown"),
    (r"edgeconv/parity/", "fixed_values parity_values judge_values layer_values parity_inside verdict_words core_arrays parity parity_ci parity_shown parity_verdicts parity_tally core_values parity_page parity_border parity_emulate core_graphs"),
    (r"edgeconv/mil/|edgeconv/formats/mil", "mil_kernels mil_programs mil_values fixed_values mil core_values core_arrays coreml mil_oracle coreml_ops"),
    (r"edgeconv/(artifact|levels|tensors|adapt|manifest_schema)", "core_fields core_steps artifact adapt schema by_value core_arrays"),
    (r"edgeconv/recipe", "core_fields core_choices recipe core_values core_arrays quant promise quant_command"),
    (r"models/checkpoint", "fixed_values core_fields core_steps weights hostile_files core_values"),
    (r"export/quant/", "fixed_values core_steps core_choices core_plans core_layers core_fields core_values quant quant_calibration quant_robust quant_rewrites quant_copies quant_apart"
                       " by_value quant_read_qdq quant_command quant_cheap quant_form quant_read_idioms quant_read_fake core_graphs"),
    (r"export/(qdq|integer)/", "fixed_values core_steps emitted_onnx core_files core_plans core_layers core_fields core_values qdq quant int8_kinds by_value int8_random quant_apart quant_read_idioms quant_read_fake quant_form int8_written fold_pixels quant_read_qdq core_graphs"),
    (r"export/tflite/", "fixed_values tflite_values tflite_orders core_values emitted_tflite tflite tflite_int8 tflite_shuffles by_value tflite_nodes recurrence tflite_random tflite_reductions tflite_channels tflite_concats tflite_moves tflite_metadata nms inspect core_graphs"),
    (r"export/coreml/", "fixed_values coreml_values emitted_coreml coreml_programs coreml_ops coreml core_values by_value coreml_signatures mil_oracle recurrence coreml_command core_graphs"),
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
    """Return the test files of a source file, itself among them for its examples."""
    for pattern, names in AREAS:
        if re.match(pattern, file):
            paths = [f"tests/test_{name}.py" for name in names.split()]
            paths.append(file if file.startswith("edgeconv") else f"edgeconv/{file}")
            return [path for path in paths if (ROOT / path).exists()]
    return []


def run_tests(
    tests: Sequence[str],
    place: Path,
    slow: bool,
    seconds: float = LIMIT_S,
    live: Collected | None = None,
    mutant: Mutant | None = None,
) -> str | None:
    """Run tests in ``place`` in a fork; return how the mutant died, None where it lives.

    ``live`` holds them collected, and ``mutant`` is put into its functions; otherwise they are collected
    in the fork. ``seconds`` of this process's time are what they may take; a hundred times as long by the clock.
    """
    said = place / ".mutant.said"
    said.unlink(missing_ok=True)

    def tell(collected: Collected) -> None:
        if live is not None and mutant is not None:
            collected.replace(mutant)
        said.write_text(collected.run(tests) or "", encoding="utf-8")

    def work() -> int:
        if live is None:
            return collect([test.split("::")[0] for test in tests], place, slow, (), tell)
        tell(live)
        return 0

    status = _forked(work, place, place / ".mutant.log", seconds)
    if status is None or status == -signal.SIGXCPU:
        return "time"
    if not said.exists():
        return f"crash in {tests[0]}"
    return said.read_text(encoding="utf-8") or None


def collect(
    files: Sequence[str],
    place: Path,
    slow: bool,
    modules: Sequence[str],
    work: Callable[[Collected], None],
) -> int:
    """Let pytest collect test files in this process, go to work, and return pytest's exit code."""
    words = [*_words(slow), *dict.fromkeys(files)]
    return int(pytest.main(words, plugins=[Collected(place, modules, work)]))


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
    words = ["-q", "--no-header", "--tb=short", "-s", "-p", "no:cacheprovider",
             "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
    return [*words, "--slow"] if slow else words


def reach_of(collected: Collected, files: Sequence[str], place: Path, kept: Path) -> reach.Reach:
    """Return what the test files reach, from ``kept`` or by running them."""
    known, held = reach.known(kept), {name.split("::")[0] for name in collected.items}
    for file in files:
        if file not in known and file in held:
            start = used()
            record = partial(reach.record, collected, file, place, kept)
            _forked(record, place, place / ".mutant.log", 3600.0)
            print(f"{file}: {used() - start:.1f} s", flush=True)
    return reach.noted(kept, files)


def tried(
    mutant: Mutant,
    place: Path,
    reached: reach.Reach,
    slow: bool,
    limit_s: float = STAGES_S[-1],
    live: Collected | None = None,
) -> str | None:
    """Return how the mutant dies by the tests that run its function: the quickest first, the others then."""
    if (
        mutant.inside is None
    ):  # what modules hold beside functions is used without a call: all tests of the file's
        files, found = _tests(mutant.file), reached.of(mutant.file)
        others = [t for t in reached.tests if t.split("::")[0] in files and t not in found]
        found += sorted(others, key=lambda test: (reached.tests[test], test))
    else:
        found = reached.of(f"{mutant.file}:{mutant.inside}")
    for tests in _stages(found, reached.tests, limit_s):
        seconds = 15 + 4 * sum(reached.tests[test] for test in tests)
        if killed := run_tests(tests, place, slow, seconds, live, mutant):
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
    gc.freeze()  # coremltools collects at every conversion: half of a conversion's time with all of these in it


def summary(results: Sequence[Line]) -> str:
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


def campaign(asked: argparse.Namespace, place: Path) -> list[Line]:
    """Try the mutants that have no line, and with ``--again`` those that lived; return all lines.

    Those inside functions come first, in one process that has the tests collected; outside of them the tests
    of each are collected anew.
    """
    again = {n for n, line in _lines(asked.lines).items() if asked.again and line["killed"] is None}
    left = [
        (number, mutant)
        for number, mutant in chosen(asked.seed, asked.count)
        if number in again or number not in _lines(asked.lines)
    ]
    files = list(dict.fromkeys(test for _, mutant in left for test in _tests(mutant.file)))
    kept = asked.lines.absolute().with_suffix(".slow.reach" if asked.slow else ".reach")

    def work(live: Collected | None, reached: reach.Reach) -> None:
        for number, mutant in left:
            if (live is None) is not (mutant.inside is None):
                continue
            start = used()
            with changed(place / mutant.file, mutant.source):
                killed = tried(mutant, place, reached, asked.slow, asked.seconds, live)
            line = {"number": number, "file": mutant.file, "line": mutant.line,
                    "what": mutant.what, "killed": killed, "slow": asked.slow,
                    "seconds": round(used() - start, 1)}  # fmt: skip
            with asked.lines.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")

    def first() -> int:
        modules = [mutant.file for _, mutant in left if mutant.inside is not None]
        return collect(
            files, place, asked.slow, modules,
            lambda live: work(live, reach_of(live, files, place, kept)),
        )  # fmt: skip

    if left:
        asked.lines = asked.lines.absolute()
        _forked(first, place, asked.lines.with_suffix(".log"), 1e6)
        work(None, reach.noted(kept, files))
    return list(_lines(asked.lines).values())


def _lines(path: Path) -> dict[object, Line]:
    """Return the latest line of each mutant, by number."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    return {line["number"]: line for line in map(json.loads, lines)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
