"""Open a file that we did not write in a child process first, where a crash costs one sentence."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from edgeconv.errors import EdgeconvError

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

    Raises EdgeconvError with the runtime's reason, with the signal's name where it crashed, or with
    ``timeout_s`` where it did not end.
    """
    request = {"path": str(path), "runtime": runtime, "threads": threads}
    request["shapes"] = {name: list(shape) for name, shape in (shapes or {}).items()}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "edgeconv.runtimes.probe", json.dumps(request)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeconvError(
            f"{runtime} did not finish opening and running {path} within {timeout_s:g} s"
        ) from error
    if child.returncode == 0:
        return
    raise EdgeconvError(child_failure(f"{runtime} on {path}", child.returncode, child.stderr))


def child_failure(what: str, returncode: int, stderr: str) -> str:
    """Say in one sentence how a child process ended: its own last line, or the signal's name."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        hint = ", most likely for want of memory" if name == "SIGKILL" else ""
        return f"{what} crashed with {name}{hint}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return f"{what} ended with exit code {returncode}"
    return lines[-1].removeprefix("Error: ")


def main(request: str) -> int:
    """Do in this process what ``probe`` asks for; the child's entry point."""
    import numpy as np

    from edgeconv.runtimes.base import open_runner

    asked = json.loads(request)
    shapes = {name: tuple(shape) for name, shape in asked["shapes"].items()} or None
    try:
        with open_runner(
            Path(asked["path"]), threads=asked["threads"], runtime=asked["runtime"], shapes=shapes
        ) as runner:
            runner.infer({s.name: np.zeros(s.shape, s.dtype) for s in runner.inputs})
    except EdgeconvError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print(f"Error: {asked['path']} does not fit into this machine's memory", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
