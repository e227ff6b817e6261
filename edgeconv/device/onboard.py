"""What runs on the board: check the outputs, bench, write results.json. Needs numpy and a runtime only."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bench.plan import Plan, parse_threads
from edgeconv.bench.run import Request, bench
from edgeconv.bench.subjects import Choice
from edgeconv.device.checks import compare
from edgeconv.errors import EdgeconvError
from edgeconv.files import choose_temporary_folder, write_text
from edgeconv.runtimes.table import BOARD_SUFFIXES


def main(folder: Path, arguments: Sequence[str]) -> int:
    """Bench and check every model of the bundle in ``folder``; return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("--threads", default="1", help="threads, several make a row each: 1,2,4")
    parser.add_argument("--runs", type=int, help="recorded runs of each row")
    parser.add_argument("--seconds", type=float, help="seconds of recorded runs of each row")
    parser.add_argument("--warmup", type=int, help="runs before")
    parser.add_argument("--output", type=Path, default=Path("results.json"))
    asked = parser.parse_args(arguments)
    choose_temporary_folder()
    try:
        results = run(folder, asked)
        write_text(asked.output, json.dumps(results, indent=1) + "\n")
    except EdgeconvError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wrote {asked.output}")
    return 0 if all("error" not in check for check in results["checks"].values()) else 1


def run(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the report and, for each model, how far its outputs are from those recorded."""
    models = [p for p in sorted((folder / "models").iterdir()) if p.suffix in BOARD_SUFFIXES]
    checks: dict[str, Any] = {}
    for model in models:
        with np.load(folder / "checks" / f"{model.name}.npz", allow_pickle=False) as recorded:
            try:
                checks[model.name] = compare(model, dict(recorded), isolate=True)
            except EdgeconvError as error:
                checks[model.name] = {"error": str(error)}
    plan = Plan(asked.runs, asked.seconds, asked.warmup)
    choice = Choice(threads=parse_threads(asked.threads), reference=False)
    request = Request(tuple(map(str, models)), choice=choice, plan=plan)

    last = 0.0

    def say(text: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            print(f"{100 * share:3.0f} %  {text}", file=sys.stderr, flush=True)

    return {"bench": bench(request, say).to_json(), "checks": checks}
