"""Open a file that we did not write in a child process first, where a crash costs one sentence."""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.artifact import spec_from_json
from edgeconv.closing import Closing
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import Worker, call
from edgeconv.runtimes.table import RUNTIMES
from edgeconv.tensors import TensorSpec

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Borders:
    """What a runtime said of a file: its own version, the inputs and the outputs."""

    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def probe(
    path: Path,
    runtime: str,
    *,
    threads: int = 1,
    shapes: dict[str, tuple[int, ...]] | None = None,
    timeout_s: float = TIMEOUT_S,
    python: Sequence[str] = (),
) -> Borders:
    """Open ``path`` in ``runtime`` and run it once on zeros, in a child process; return what it takes and gives.

    ``python`` starts another interpreter than this one. Raises EdgeconvError with the runtime's
    reason, the signal's name where it crashed, or ``timeout_s`` where it did not end.
    """
    value, what = _asked(path, runtime, threads, shapes or {}), f"{runtime} on {path}"
    function = "edgeconv.runtimes.base:run_once"
    said = call(function, value, what, timeout_s=timeout_s, python=python)
    inputs, outputs = (tuple(map(spec_from_json, said[side])) for side in ("inputs", "outputs"))
    return Borders(said["version"], inputs, outputs)


class EarlyProbe(Closing):
    """A child that imports a runtime's package before there is a file for it, and serves one ``probe``."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._child = Worker("edgeconv.runtimes.base:serve_once", runtime, runtime)

    def begin(self, path: Path, threads: int) -> None:
        """Begin to open and run a file there."""
        self._child.what = f"{self._runtime} on {path}"
        with suppress(EdgeconvError):  # a child that is dead already says why when it is asked
            self._child.send(_asked(path, self._runtime, threads, {}))

    def result(self, timeout_s: float) -> None:
        """Wait for the child's end; raises as ``probe`` does. What it could import is imported here meanwhile."""
        self._child.receive(timeout_s)
        with suppress(ImportError):  # whoever opens a file says what to install
            importlib.import_module(RUNTIMES[self._runtime].imports)
        self._child.receive(timeout_s)
        self._child.end(timeout_s)

    def close(self) -> None:
        """Kill the child where it still runs."""
        self._child.close(patience_s=0.0)


def _asked(
    path: Path, runtime: str, threads: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    return {
        "path": str(path),
        "runtime": runtime,
        "threads": threads,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
    }
