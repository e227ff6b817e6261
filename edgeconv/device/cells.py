"""What parity runs on a board: ``python -m edgeconv.device.cells JOBS.json``. Needs numpy and a runtime.

Each job is a cell of the matrix in a child process; what they said comes back as one JSON object.
"""

import json
import sys
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.files import choose_temporary_folder
from edgeconv.machine import describe
from edgeconv.parity.child import job_from_json, run_cell


def run(jobs: list[dict[str, Any]], timeout_s: float | None) -> dict[str, Any]:
    """Run every job; return what ran, cell by cell: ``about``, or the ``error`` in its place."""
    cells: list[dict[str, Any]] = []
    for number, data in enumerate(jobs):
        job = job_from_json(data)
        print(f"{number + 1} of {len(jobs)}  {job.runtime} on {job.path.name}", file=sys.stderr)
        sys.stderr.flush()
        try:
            cells.append({"about": dict(run_cell(job, timeout_s=timeout_s).about)})
        except EdgeconvError as error:
            cells.append({"error": str(error)})
    machine = describe()
    return {
        "emulated": machine.emulated,
        "machine": machine.board or machine.processor,
        "cells": cells,
    }


if __name__ == "__main__":
    choose_temporary_folder()
    asked = json.loads(Path(sys.argv[1]).read_bytes())
    print(json.dumps(run(asked["jobs"], asked["timeout_s"])))
