"""Open a file that we did not write in a child process first, where a crash costs one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeconv.artifact import spec_from_json
from edgeconv.isolate import Call
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
    with begin_probe(path, runtime, threads=threads, shapes=shapes, python=python) as child:
        said = child.result(timeout_s)
    inputs, outputs = (tuple(map(spec_from_json, said[side])) for side in ("inputs", "outputs"))
    return Borders(said["version"], inputs, outputs)


def begin_probe(
    path: Path,
    runtime: str,
    *,
    threads: int = 1,
    shapes: dict[str, tuple[int, ...]] | None = None,
    python: Sequence[str] = (),
) -> Call:
    """Begin a ``probe``."""
    value = {
        "path": str(path),
        "runtime": runtime,
        "threads": threads,
        "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
    }
    what = f"{runtime} on {path}"
    return Call("edgeconv.runtimes.base:run_once", value, what, python=python)
