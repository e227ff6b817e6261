"""Two exports at once into one folder and one cache: ``python -m fuzz.races --seed 1 --count 50 --out races.jsonl``.

Both write the same names, with other pictures cropped otherwise, one a random moment after the other.
One complete set must be there in the end, whichever, each process must end well or say why not, and
nothing may be left behind. Resumable.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.exports import Export, hashes
from fuzz.harness import LIMIT_S, wait
from fuzz.kills import SMALL, prepare
from fuzz.run import done, load_all, summary
from fuzz.subjects import build_base


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
    ended = [wait(pid, time.monotonic() + LIMIT_S)[0] for pid in (first, second)]
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
    with tempfile.TemporaryDirectory(prefix="fuzz-races-") as made:
        place = Path(made)
        base = asked.base or place / "base"
        if not (base / "tiny.onnx").exists():
            build_base(base)
        load_all()
        export = Export(base, place / "work", SMALL)
        whole, seconds = prepare(export, place / "old")
        sets, known = [whole, hashes(place / "old")], done(asked.out)
        for seed in range(asked.seed * 10**6, asked.seed * 10**6 + asked.count):
            if seed not in known:
                result = run_race(seed, export, sets, seconds)
                with asked.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    results = list(done(asked.out).values())
    print(summary(results))
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
