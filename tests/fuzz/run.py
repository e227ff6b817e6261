"""A long run: ``python -m fuzz.run --seed 1 --count 1000 --out results.jsonl``, resumable.

Each case appends one JSON line; a case whose seed has a line is not run again. The last line printed
says how many there were, how many had a fault, of how many kinds, the highest memory and the time.
"""

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fuzz.harness import run_case
from fuzz.kind import Kind
from fuzz.subjects import KINDS, build_base
from fuzz.warm import forked_children

T = TypeVar("T")


def done(out: Path) -> dict[int, dict[str, Any]]:
    """Return the results so far by seed; a line cut off by a kill is left out."""
    found = {}
    for line in out.read_text().splitlines() if out.exists() else ():
        try:
            result = json.loads(line)
            found[int(result["seed"])] = result
        except (ValueError, KeyError):
            continue
    return found


def campaign(
    out: Path, cases: Mapping[int, T], work: Callable[[int, T], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run the cases, by seed, that ``out`` has no line of; return all that stand there, and print the figures."""
    known = done(out)
    for seed, case in cases.items():
        if seed not in known:
            with out.open("a") as file:
                file.write(json.dumps(work(seed, case)) + "\n")
    results = list(done(out).values())
    print(summary(results))
    return results


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder in TMPDIR for a campaign; those that killed campaigns left go too."""
    try:
        from edgeconv.files import temporary_folder
    except ImportError:  # a version that swept nothing yet
        with tempfile.TemporaryDirectory(prefix="edgeconv-fuzz-") as name:
            yield Path(name)
    else:
        with temporary_folder(prefix="edgeconv-fuzz-") as folder:
            yield folder


def summary(results: Iterable[dict[str, Any]]) -> str:
    """Return the line of figures, and a line for each distinct fault with its first seed."""
    results = list(results)
    faulty = [r for r in results if r["faults"]]
    kinds: Counter[str] = Counter(fault for r in faulty for fault in r["faults"])
    first = {fault: r["seed"] for r in reversed(faulty) for fault in r["faults"]}
    peak = max((r["peak_mib"] for r in results), default=0.0)
    seconds = sum(r["seconds"] for r in results)
    lines = [f"  {count:5} x {fault} (seed {first[fault]})" for fault, count in kinds.most_common()]
    head = (
        f"{len(results)} cases, {len(faulty)} with a fault of {len(kinds)} kinds, highest memory "
        f"{peak:.0f} MiB, {seconds / 60:.1f} minutes"
    )
    return "\n".join([head, *lines])


LATE = (
    "safetensors.torch", "PIL.Image", "onnxruntime", "onnxsim", "ai_edge_litert.interpreter",
    "ai_edge_litert.schema_py_generated", "flatbuffers", "numpy.ma", "rich.progress", "executorch.runtime",
)  # fmt: skip
"""What commands import when they need it."""


def load_all() -> None:
    """Load what commands import, once, before the forks; to run a model would start its threads."""
    import edgeconv
    import edgeconv.export
    import edgeconv.models

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    found = (module.name for module in pkgutil.walk_packages(edgeconv.__path__, "edgeconv."))
    ours = [name for name in found if not name.endswith((".__main__", ".isolated"))]
    for name in [*ours, *LATE]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _known(kinds: Iterable[Kind], base: Path) -> list[Kind]:
    """Leave out what this version of edgeconv has no command for, or could not make."""
    from edgeconv.cli import COMMANDS

    kinds = [
        replace(kind, commands=tuple(c for c in kind.commands if c.split()[0] in COMMANDS))
        for kind in kinds
        if (base / kind.source).exists()
    ]
    return [kind for kind in kinds if kind.commands]


def _cases(asked: argparse.Namespace, place: Path) -> None:
    """Run the cases that ``asked.out`` has no line of, in ``place``."""
    base = asked.base or place / "base"
    if not (base / "weights" / "weights.safetensors").exists():
        build_base(base, whole=not asked.readers)
    load_all()
    kinds = _known([KINDS[name] for name in asked.kind or KINDS], base)
    if asked.readers:
        kinds = [replace(kind, fast=True) for kind in kinds if kind.reader]
    known = done(asked.out)
    with asked.out.open("a") as file:
        file.write("\n" if asked.out.stat().st_size else "")  # after a line that was cut off
        for seed in range(asked.seed * 10**6, asked.seed * 10**6 + asked.count):
            if seed in known:
                continue
            with forked_children(not asked.cold):
                result = run_case(seed, base, place / "work", kinds)
            if result.faults and not asked.cold:
                result = run_case(seed, base, place / "work", kinds)
            file.write(result.line().replace(str(place), "{place}") + "\n")
            file.flush()
            if result.faults and asked.keep is not None:
                asked.keep.mkdir(parents=True, exist_ok=True)
                shutil.move(place / "work", asked.keep / str(seed))


def main(arguments: list[str]) -> int:
    """Run what is missing and print the figures; 1 where a case had a fault."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the campaign; cases are seed * 10**6 + n"
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--kind", action="append", choices=list(KINDS), default=[])
    parser.add_argument(
        "--base", type=Path, help="healthy files of an earlier run, or where to make them"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the files of cases with a fault")
    parser.add_argument(
        "--readers", action="store_true", help="our own readers alone, without the commands around"
    )
    parser.add_argument("--cold", action="store_true", help="start every child, fork none")
    asked = parser.parse_args(arguments)
    with scratch() as place:
        _cases(asked, place)
    results = done(asked.out).values()
    print(summary(results))
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
