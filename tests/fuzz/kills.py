"""Kill exports at random moments: ``python -m fuzz.kills --seed 1 --count 100 --out kills.jsonl``, resumable.

Each case starts an export, over nothing or over an older set, ends it by SIGKILL, SIGTERM, SIGHUP or
SIGINT, and looks: one sentence and the signal's exit code, the final names hold the old set or the new one,
the same command works, nothing is left behind and no child runs on. ``--command`` ends others than exports, whose
results may be resumed; ``--started`` starts Python anew instead of forking, so that imports are ended too, and
``--every SECONDS`` sends Ctrl-C after 1, 2, 3 ... times so many seconds, to children too, as a terminal does.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.commands import COMMANDS, PARTLY, Command, adopt_orphans, orphans
from fuzz.exports import PAIR, Export, hashes, prepare, prepared_base
from fuzz.harness import limit_s, wait
from fuzz.run import campaign, scratch
from fuzz.warm import forked_children

ENDED_AT = 128
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
LARGE = (
    "export {base}/tiny.onnx --int8 --recipe fast --calib {base}/pics --output out"
    " --target onnx --target tflite --target coreml -q"
)


def run_kill(seed: int, export: Export, whole: dict[str, str], old: Path, seconds: float,
             every: float | None = None) -> dict[str, Any]:  # fmt: skip
    """Kill one export and return what was found; ``whole`` is the complete set, ``old`` an older one's folder."""
    rng, start = Random(seed), time.monotonic()
    over = old.exists() and rng.random() < 0.5
    number, moment = rng.choice(SIGNALS), rng.uniform(0.02, 1.0) * seconds
    if every is not None:
        over, number, moment = False, signal.SIGINT, (seed % 10**6 + 1) * every
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
        (os.kill if every is None else os.killpg)(pid, number)
        ended, _ = wait(pid, time.monotonic() + limit_s())
    faults = told(ended, number, export)
    faults += [f"left running: {name}" for name in orphans()]
    if number != signal.SIGKILL:
        faults += export.empty()
    faults += export.after(whole, hashes(old) if over else {}, *more)
    return {
        "seed": seed, "signal": number.name, "over": over, "ended": ended, "moment": round(moment, 3),
        "seconds": round(time.monotonic() - start, 2), "peak_mib": 0.0, "faults": faults,
    }  # fmt: skip


def told(ended: int | None, number: signal.Signals, export: Export) -> list[str]:
    """Return what is wrong with the exit code, or with what was said."""
    said = export.said()
    if "Traceback" in said or "internal error" in said or "Fatal Python" in said:
        return [f"traceback: {said.strip()[-400:]}"]
    if ended is None:
        return ["hang: after a signal"]
    if ended in (0, -number):  # it was done before, or not yet begun
        return []
    if ended != ENDED_AT + number:
        return [f"exit code: {ended} after {number.name}: {said.strip()[-200:]}"]
    says = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    last = (said.strip().splitlines() or [""])[-1]
    partly = export.words.split()[0] in PARTLY
    return [] if last == f"Error: {says}" or partly else [f"sentence: {last[-200:]}"]


def command_of(name: str, place: Path, base: Path | None, started: bool) -> tuple[Command, dict[str, str], float]:  # fmt: skip
    """Return a command, the files that it makes and how long it takes."""
    command = Command(
        prepared_base(place, base, whole=True), place / "work", COMMANDS[name], started=started
    )
    for _ in range(2):
        command.fresh(None)
        start = time.monotonic()
        code, said = command.run()
        assert code == 0, said
    return command, hashes(command.output), time.monotonic() - start


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
    parser.add_argument("--command", choices=list(COMMANDS), help="another command than export")
    parser.add_argument("--started", action="store_true", help="start Python anew, fork nothing")
    parser.add_argument("--every", type=float, help="Ctrl-C after each multiple of so many seconds")
    asked = parser.parse_args(arguments)
    adopt_orphans()
    forked = forked_children(not (asked.cold or asked.started))
    with scratch() as place, forked:
        export, whole, seconds = (
            command_of(asked.command, place, asked.base, asked.started)
            if asked.command
            else prepare(place, asked.base, LARGE if asked.large else PAIR, asked.started)
        )
        results = campaign(
            asked.out,
            dict.fromkeys(range(asked.seed * 10**6, asked.seed * 10**6 + asked.count)),
            lambda seed, _: run_kill(seed, export, whole, place / "old", seconds, asked.every),
        )
    print(f"  {sum(r['ended'] != 0 for r in results)} ended before they were done")
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
