"""A file whose pictures an emulated board runs: outputs of its kernels, and never a latency."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from edgeconv.device.emulate import BOARDS, prepare_board
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.run import Subject
from edgeconv.parity.child import run_cell
from edgeconv.runtimes.table import RUNTIMES


def on_emulated(subject: Subject, board: str) -> Subject:
    """Return ``subject`` run on a board of ``BOARDS``, in the board's own version of its runtime.

    Raises UsageError where the board has no such runtime, EdgeconvError where it cannot be built here.
    """
    known = BOARDS[board].runtimes
    if subject.runtime not in known:
        raise UsageError(f"{board} has no {subject.runtime}: it has {', '.join(known)}")
    python = tuple(prepare_board(board, subject.runtime))
    version = _version(python, subject.runtime)
    return replace(
        subject, version=f"{version} on {board} (emulated)", run=partial(run_cell, python=python)
    )


def _version(python: Sequence[str], runtime: str) -> str:
    package = RUNTIMES[runtime].packages[0]
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    said = subprocess.run([*python, "-c", asked], capture_output=True, encoding="utf-8")
    if said.returncode:
        raise EdgeconvError(f"the board's Python does not start: {said.stderr.strip()[-200:]}")
    return said.stdout.strip()
