"""A long run: ``python -m fuzz.run --seed 1 --count 1000 --out results.jsonl``, resumable.

Each case appends one JSON line; a case whose seed has a line is not run again. The last line printed
says how many there were, how many had a fault, of how many kinds, the highest memory and the time.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fuzz.harness import run_case
from fuzz.subjects import KINDS, build_base


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
    asked = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="edgeconv-fuzz-"))
    base = asked.base or place / "base"
    if not (base / "weights" / "weights.safetensors").exists():
        build_base(base)
    import onnx  # noqa: F401 - loaded once, before the forks
    import torch  # noqa: F401

    known = done(asked.out)
    try:
        with asked.out.open("a") as file:
            file.write("\n" if asked.out.stat().st_size else "")  # after a line that was cut off
            for seed in range(asked.seed * 10**6, asked.seed * 10**6 + asked.count):
                if seed in known:
                    continue
                result = run_case(seed, base, place / "work", tuple(asked.kind))
                file.write(result.line() + "\n")
                file.flush()
                if result.faults and asked.keep is not None:
                    shutil.copytree(place / "work", asked.keep / str(seed), symlinks=True,
                                    ignore=shutil.ignore_patterns(".tmp", ".cache"), dirs_exist_ok=True)  # fmt: skip
    finally:
        shutil.rmtree(place, ignore_errors=True)
    results = done(asked.out).values()
    print(summary(results))
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
