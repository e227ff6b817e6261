"""Open a file that we did not write in a child process first, where a crash costs one sentence."""

from pathlib import Path

from edgeconv.isolate import Call

TIMEOUT_S = 120.0


def probe(
    path: Path,
    runtime: str,
    *,
    threads: int = 1,
    shapes: dict[str, tuple[int, ...]] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Open ``path`` in ``runtime`` and run it once on zeros, in a child process.

    Raises EdgeconvError with the runtime's reason, the signal's name where it crashed, or
    ``timeout_s`` where it did not end.
    """
    with begin_probe(path, runtime, threads=threads, shapes=shapes) as child:
        child.result(timeout_s)


def begin_probe(
    path: Path,
    runtime: str,
    *,
    threads: int = 1,
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> Call:
    """Begin a ``probe``."""
    value = {
        "path": str(path),
        "runtime": runtime,
        "threads": threads,
        "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
    }
    return Call("edgeconv.runtimes.base:run_once", value, f"{runtime} on {path}")
