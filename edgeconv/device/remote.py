"""bench on boards, several side by side."""

import contextlib
import shlex
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeconv.artifact import manifest_path
from edgeconv.bench.read import report_from_json
from edgeconv.bench.results import Report
from edgeconv.device.board import Say, ask, put_file, setup
from edgeconv.device.job import new_job
from edgeconv.device.ssh import Connection, ConnectionLostError
from edgeconv.device.wheels import runtime_for
from edgeconv.errors import EdgeconvError, UsageError

SUFFIXES = (".onnx", ".tflite")


def bench_on(
    connection: Connection,
    models: Sequence[Path],
    options: Sequence[str],
    cache: Path,
    say: Say,
    stopping: threading.Event | None = None,
) -> Report:
    """Run ``edgeconv bench`` on a board and return its report.

    ``options`` are bench's own, but for the models. Raises EdgeconvError where the board cannot be
    reached, prepared or kept; an interrupt ends the run there and cleans up.
    """
    for model in models:
        if model.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{model}: a board benches {' and '.join(SUFFIXES)}")
        if not model.is_file():
            raise EdgeconvError(f"{model} does not exist")
    board = ask(connection)
    runtimes = runtime_for([model.suffix.lower() for model in models], board.platform)
    path = setup(connection, board, runtimes, cache, say)
    job = new_job(connection, stopping)
    try:
        there = []
        for model in models:
            there.append(put_file(connection, model, f"{job.folder}/models", say))
            if manifest_path(model).is_file():
                put_file(connection, manifest_path(model), f"{job.folder}/models", say)
        quoted = [shlex.quote(option) for option in options]
        job.start(path, ["bench", *there, "--json", "--progress", "--no-reference", *quoted])
        report = report_from_json(job.wait(say, timeout_s=86_400.0))
    except ConnectionLostError:
        raise  # the run there goes on, and its folder holds what it finds
    except BaseException:
        with contextlib.suppress(EdgeconvError):  # the first error says more
            job.stop()
            job.clean()
        raise
    job.clean()
    return report


def bench_side_by_side(
    connections: Sequence[Connection],
    models: Sequence[Path],
    options: Sequence[str],
    cache: Path,
    say: Say,
) -> list[tuple[str, Report | EdgeconvError]]:
    """Run on every board at once; a board that fails has its error in place of a report."""

    stopping = threading.Event()

    def one(connection: Connection) -> Report | EdgeconvError:
        try:
            return bench_on(connection, models, options, cache, say, stopping)
        except EdgeconvError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(connections)) as pool:
        futures = [pool.submit(one, connection) for connection in connections]
        try:
            reports = [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()  # each board's run is ended and cleaned up before the pool closes
            raise
    return [(c.host.target, report) for c, report in zip(connections, reports, strict=True)]
