"""Two exports at once into one folder and one cache: ``python -m fuzz.races --seed 1 --count 50 --out races.jsonl``.

Both write the same names, with other pictures cropped otherwise, one a random moment after the other.
One complete set must be there in the end, whichever, each process must end well or say why not, and
nothing may be left behind. Resumable.
"""

import argparse
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.exports import SMALL, Export, hashes, prepare
from fuzz.harness import limit_s, wait
from fuzz.run import campaign, scratch


def run_race(
    seed: int, export: Export, sets: list[dict[str, str]], seconds: float
) -> dict[str, Any]:
    """Let two exports race and return what was found; ``sets`` are the complete sets of both."""
    rng, start = Random(seed), time.monotonic()
    export.fresh(None)
    force = ("--force",) if rng.random() < 0.7 else ()
    first = export.start(*force)
    moment = rng.uniform(0.0, 1.1) * seconds
    time.sleep(moment)
    second = export.start("--crop", "0.5", *force)
    ended = [wait(pid, time.monotonic() + limit_s())[0] for pid in (first, second)]
    faults = [f"ended with {code}" for code in ended if code not in (0, 1, 2)]
    if force and ended != [0, 0]:
        faults.append("forced: one of both gave up")
    if 0 not in ended:
        faults.append("neither of both came to its end")
    if hashes(export.output) not in sets:
        faults.append("mixed: neither the one set nor the other")
    if "Traceback" in export.said() or "internal error" in export.said():
        faults.append("traceback")
    return {
        "seed": seed, "moment": round(moment, 3), "forced": bool(force), "ended": ended,
        "seconds": round(time.monotonic() - start, 2), "peak_mib": 0.0, "faults": faults + export.left(),
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run what is missing and print the figures; 1 where a race left something wrong."""
    parser = argparse.ArgumentParser(prog="races", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("races.jsonl"))
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args(arguments)
    with scratch() as place:
        export, whole, seconds = prepare(place, asked.base, SMALL)
        sets = [whole, hashes(place / "old")]
        results = campaign(
            asked.out,
            dict.fromkeys(range(asked.seed * 10**6, asked.seed * 10**6 + asked.count)),
            lambda seed, _: run_race(seed, export, sets, seconds),
        )
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
