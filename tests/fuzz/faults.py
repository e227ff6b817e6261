"""Hinder an export at each of its file-system calls: ``python -m fuzz.faults --out faults.jsonl``, resumable.

With ``--session`` it is a session on a board instead, the board's calls included.

A library that is loaded before all others (fscalls.c) counts the calls on files of the case's folder,
in child processes too. Case by case the process that makes call number n ends before or after it, the
call fails, the disk is full from then on, or Ctrl-C goes to it and its children. The old set or the new one must be there, errors must be
named, the same command must work, and nothing may be left behind. Where the disk is as it was after
another case, the same command is not run once more.
"""

import argparse
import errno
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.commands import adopt_orphans
from fuzz.exports import SMALL, Export, hashes, prepare, prepared_base
from fuzz.harness import limit_s, wait
from fuzz.kills import told
from fuzz.run import campaign, done, scratch
from fuzz.sessions import BENCH, Session
from fuzz.warm import forked_children

MODES = {"kill before": 1, "kill after": 2, "error": 3, "full": 4, "interrupt": 5}
OWN = 3
"""The first calls are those of harness.child: TMPDIR, and where both streams go."""

ERRORS = (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EMFILE)


class Calls:
    """The counter that all processes of a case share."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 4096)

    def set(self, mode: int = 0, at: int = 0, error: int = 0) -> None:
        """Begin to count anew; at call number ``at`` (0: never) do what ``mode`` says."""
        self._shared[:20] = struct.pack("<5i", mode, at, error, 0, 0)

    def seen(self) -> tuple[int, bool]:
        """Return how many calls there were, and whether one was hindered."""
        _, _, _, seen, fired = struct.unpack("<5i", self._shared[:20])
        return seen, bool(fired)


def run_fault(seed: int, mode: str, at: int, export: Export, calls: Calls, whole: dict[str, str],
              old: Path) -> dict[str, Any]:  # fmt: skip
    """Hinder one export and return what was found."""
    start = time.monotonic()
    error = ERRORS[at % len(ERRORS)]
    over = mode in ("full", "interrupt") and at % 2 == 1 and old.exists()
    more = ("--force",) if over else ()
    export.fresh(old if over else None)
    calls.set(MODES[mode], at, error)
    code, peak = wait(export.start(*more), time.monotonic() + limit_s())
    _, fired = calls.seen()
    calls.set()
    said = export.said()
    faults = []
    if code is None:
        faults.append("hang: over 60 s")
    if "Traceback" in said or "internal error" in said:
        faults.append(f"traceback: {said.strip()[-150:]}")
    if not mode.startswith("kill") and code is not None:
        if code < 0:
            faults.append(f"signal: {-code}")
        elif code and "Error: " not in said:
            faults.append("silent: it failed and named nothing")
    if mode == "interrupt":
        faults += told(code, signal.SIGINT, export)
    if not mode.startswith("kill"):
        faults += export.empty()
    faults += export.after(whole, hashes(old) if over else {}, *more)
    return {
        "seed": seed, "mode": mode, "at": at, "fired": fired, "ended": code, "said": said.strip()[-200:],
        "seconds": round(time.monotonic() - start, 2), "peak_mib": peak, "faults": faults,
    }  # fmt: skip


def cases(total: int, wanted: list[str]) -> list[tuple[int, str, int]]:
    """Return (number, mode, call) of every case: each mode at each call; a full disk at every third."""
    found = []
    for number, mode in enumerate(MODES):
        step = 3 if mode == "full" else 1
        calls = list(range(OWN + 1, total + 1, step))
        Random(number).shuffle(calls)  # what is cut short has still been everywhere
        found += [(number * 10**6 + at, mode, at) for at in calls if not wanted or mode in wanted]
    return found


def preloaded(place: Path) -> dict[str, str]:
    """Compile the library; return the environment in which it counts the calls below ``place``/work."""
    library = place / "fscalls.so"
    source = Path(__file__).with_name("fscalls.c")
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    (place / "state").write_bytes(bytes(4096))
    return {"LD_PRELOAD": str(library), "FSCALLS_STATE": str(place / "state"),
            "FSCALLS_FOLDER": f"{place}/work/", "FSCALLS_PLACE": str(place)}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run what is missing and print the figures; 1 where a case left something wrong."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--base", type=Path)
    parser.add_argument("--mode", action="append", choices=list(MODES), default=[])
    parser.add_argument("--session", action="store_true", help="bench on a board, not an export")
    parser.add_argument("--count", type=int, help="cases at most of this run")
    parser.add_argument("--cold", action="store_true", help="start every child, fork none")
    asked = parser.parse_args(arguments)
    if "FSCALLS_PLACE" not in os.environ:  # once more, with the library in front
        with scratch() as place:
            again = [sys.executable, "-m", "fuzz.faults", *arguments]
            return subprocess.run(again, env={**os.environ, **preloaded(place)}).returncode
    with forked_children(not asked.cold):
        return _campaign(asked, Path(os.environ["FSCALLS_PLACE"]))


def _campaign(asked: argparse.Namespace, place: Path) -> int:
    calls = Calls(place / "state")
    if asked.session:
        adopt_orphans()  # what a board runs on is ended before the next case
        export: Export = Session(prepared_base(place, asked.base), place / "work", BENCH)
        whole: dict[str, str] = {}
    else:
        export, whole, _ = prepare(place, asked.base, SMALL)
    export.fresh(None)
    calls.set()
    export.run()
    total, _ = calls.seen()
    print(f"{total} calls")
    known = done(asked.out)
    missing = [case for case in cases(total, asked.mode) if case[0] not in known][: asked.count]
    results = campaign(
        asked.out,
        {seed: (mode, at) for seed, mode, at in missing},
        lambda seed, case: run_fault(seed, *case, export, calls, whole, place / "old"),
    )
    print(f"  {sum(r['fired'] for r in results)} reached their call")
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
