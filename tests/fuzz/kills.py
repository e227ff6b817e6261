"""Kill exports at random moments: ``python -m fuzz.kills --seed 1 --count 100 --out kills.jsonl``, resumable.

Each case starts an export, over nothing or over an older set, ends it by SIGKILL, SIGTERM, SIGHUP or
SIGINT, and looks: the final names hold the old set or the new one, the same command works, and
nothing is left behind.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.exports import PAIR, Export, hashes, prepare
from fuzz.harness import LIMIT_S, wait
from fuzz.run import campaign, scratch
from fuzz.warm import forked_children

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
LARGE = (
    "export {base}/tiny.onnx --int8 --recipe fast --calib {base}/pics --output out"
    " --target onnx --target tflite --target coreml -q"
)


def run_kill(seed: int, export: Export, whole: dict[str, str], old: Path, seconds: float) -> dict[str, Any]:  # fmt: skip
    """Kill one export and return what was found; ``whole`` is the complete set, ``old`` an older one's folder."""
    rng, start = Random(seed), time.monotonic()
    over = rng.random() < 0.5
    number, moment = rng.choice(SIGNALS), rng.uniform(0.02, 1.0) * seconds
    export.fresh(old if over else None)
    more = ("--force",) if over else ()
    pid = export.start(*more)
    end = time.monotonic() + moment
    ended = None
    while ended is None and time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended = os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    if ended is None:
        os.kill(pid, number)
        ended, _ = wait(pid, time.monotonic() + LIMIT_S)
    said = export.said()
    faults = [f"traceback: {said.strip()[-400:]}"] if "Traceback" in said else []
    if ended is None:
        faults.append("hang: after a signal")
    faults += export.after(whole, hashes(old) if over else {}, *more)
    return {
        "seed": seed, "signal": number.name, "over": over, "ended": ended, "moment": round(moment, 3),
        "seconds": round(time.monotonic() - start, 2), "peak_mib": 0.0, "faults": faults,
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run what is missing and print the figures; 1 where a kill left something wrong."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("kills.jsonl"))
    parser.add_argument("--base", type=Path)
    parser.add_argument(
        "--large", action="store_true", help="three targets in INT8, not two in float"
    )
    parser.add_argument("--cold", action="store_true", help="start every child, fork none")
    asked = parser.parse_args(arguments)
    forked = forked_children(not asked.cold)
    with scratch() as place, forked:
        export, whole, seconds = prepare(place, asked.base, LARGE if asked.large else PAIR)
        results = campaign(
            asked.out,
            dict.fromkeys(range(asked.seed * 10**6, asked.seed * 10**6 + asked.count)),
            lambda seed, _: run_kill(seed, export, whole, place / "old", seconds),
        )
    print(f"  {sum(r['ended'] != 0 for r in results)} ended before they were done")
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
