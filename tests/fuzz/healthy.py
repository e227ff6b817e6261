"""Run every command line of every kind on its healthy file: ``python -m fuzz.healthy --base DIR``.

A line that is refused before it reads what the cases change tries nothing. Prints each line that ends with
another exit code than 0 or 3 (a budget missed), or that has a fault; 1 where there is one.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from fuzz.harness import Result, run_case
from fuzz.kind import Kind
from fuzz.run import _known, load_all, scratch
from fuzz.subjects import KINDS, build_base
from fuzz.warm import forked_children

MADE = ("operator", "board")
"""Kinds whose cases make what they begin from."""
REFUSED = ("device ",)
"""Lines that no healthy file helps: there is no board."""


def copied(rng: Random, source: Path, target: Path) -> None:
    """Leave a file or folder as it is."""
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def refused(base: Path, work: Path, kinds: Sequence[Kind]) -> Iterator[Result]:
    """Yield what the healthy lines of ``kinds`` that do not do well ended with."""
    seen: set[tuple[str, str]] = set()
    for kind in kinds:
        for line in kind.commands:
            if (kind.source, line) in seen:  # another kind changes the same words otherwise
                continue
            seen.add((kind.source, line))
            alone = replace(kind, mutate=copied, commands=(line,), twist=None, fast=False)
            with forked_children():
                result = run_case(0, base, work, [alone])
            if (result.code not in (0, 3) or result.faults) and not line.startswith(REFUSED):
                yield result


def main(arguments: list[str]) -> int:
    """Print the lines that do not do well."""
    parser = argparse.ArgumentParser(prog="healthy", description=__doc__)
    parser.add_argument(
        "--base", type=Path, help="healthy files of an earlier run, or where to make them"
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), default=[])
    asked = parser.parse_args(arguments)
    count = 0
    with scratch() as place:
        base = asked.base or place / "base"
        if not (base / "weights" / "weights.safetensors").exists():
            build_base(base, whole=True)
        load_all()
        wanted = [KINDS[name] for name in asked.kind or KINDS if name not in MADE]
        there = _known(wanted, base)
        for missing in {kind.name for kind in wanted} - {kind.name for kind in there}:
            print(f"{missing}: its file was not made")
            count += 1
        for result in refused(base, place / "work", there):
            words = " ".join(result.command).replace(str(base), "{base}")
            print(
                f"{result.kind}: {result.code} {words} | {result.said} {result.faults or ''}",
                flush=True,
            )
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
