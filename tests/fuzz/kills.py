"""Kill exports at random moments: ``python -m fuzz.kills --seed 1 --count 100 --out kills.jsonl``, resumable.

Each case starts an export of three targets, ends it by SIGKILL, SIGTERM, SIGHUP or SIGINT, and looks:
the final names hold the old set or the new one, the same command works, and nothing is left behind.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.run import done, summary
from fuzz.subjects import build_base

SIGNALS = (
    signal.SIGKILL,
    signal.SIGKILL,
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
)


def command(base: Path, output: Path) -> list[str]:
    """Return the export that is killed."""
    words = f"export {base}/tiny.onnx --int8 --recipe fast --calib {base}/pics --output {output}"
    targets = "--target onnx --target tflite --target coreml -q"
    return [sys.executable, "-P", "-m", "edgeconv", *words.split(), *targets.split()]


def hashes(folder: Path) -> dict[str, str]:
    """Return the files under final names by their SHA-256."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def run_kill(
    seed: int, base: Path, work: Path, whole: dict[str, str], seconds: float
) -> dict[str, Any]:
    """Kill one export and return what was found; ``whole`` is the complete set."""
    rng = Random(seed)
    shutil.rmtree(work, ignore_errors=True)
    output, temporary = work / "out", work / "tmp"
    output.mkdir(parents=True)
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    child = subprocess.Popen(command(base, output), env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)  # fmt: skip
    number, start = rng.choice(SIGNALS), time.monotonic()
    try:
        child.wait(rng.uniform(0.2, 0.9) * seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(number)
    _, err = child.communicate(timeout=60)
    ended = child.returncode
    time.sleep(0.1)  # a mover that outlives its parent needs no longer
    found, faults = hashes(output), []
    if found not in ({}, whole):
        faults.append("partial: neither the old set nor the new one")
    if ended not in (0, -number) and "Traceback" in err:
        faults.append("traceback: after a signal")
    again = subprocess.run(command(base, output), env=environment, capture_output=True, text=True)
    if again.returncode != 0 and not (found == whole and "exists; --force" in again.stderr):
        faults.append("rerun: the same command does not work")
    if hashes(output) != whole:
        faults.append("rerun: the set is not whole")
    hidden = [path.name for path in output.iterdir() if path.name.startswith(".")]
    if hidden and again.returncode == 0:
        faults.append(f"left behind: {hidden[0][:14]}")
    if left := [p.name for p in temporary.iterdir() if p.name.startswith("edgeconv-")]:
        faults.append(f"left in TMPDIR: {left[0][:13]}")
    return {
        "seed": seed, "signal": number.name, "ended": ended, "complete": found == whole,
        "refused": again.returncode != 0, "seconds": round(time.monotonic() - start, 2),
        "peak_mib": 0.0, "faults": faults,
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run what is missing and print the figures; 1 where a kill left something wrong."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("kills.jsonl"))
    parser.add_argument("--base", type=Path)
    asked = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="fuzz-kills-"))
    base = asked.base or place / "base"
    if not (base / "tiny.onnx").exists():
        build_base(base)
    try:
        start = time.monotonic()
        subprocess.run(command(base, place / "whole"), check=True, capture_output=True)
        seconds, whole = time.monotonic() - start, hashes(place / "whole")
        known = done(asked.out)
        for seed in range(asked.seed * 10**6, asked.seed * 10**6 + asked.count):
            if seed not in known:
                result = run_kill(seed, base, place / "work", whole, seconds)
                with asked.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    results = list(done(asked.out).values())
    print(summary(results))
    killed = [r for r in results if r["ended"] != 0]
    print(
        f"  {len(killed)} ended by a signal, {sum(r['refused'] for r in results)} reruns found the set complete"
    )
    return 1 if any(r["faults"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
