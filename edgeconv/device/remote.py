"""bench on boards, several side by side."""

import contextlib
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeconv.artifact import manifest_path
from edgeconv.bench.read import report_from_json
from edgeconv.bench.results import Report
from edgeconv.device.board import Board, Say, ask
from edgeconv.device.job import Job, new_job
from edgeconv.device.provision import put_files, setup
from edgeconv.device.ssh import Connection, ConnectionLostError
from edgeconv.device.wheels import runtime_for
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import refuse_no_file
from edgeconv.runtimes.table import BOARD_SUFFIXES, off_board

LIMIT_S = 86_400.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prepared:
    """A board with everything that ``models`` need, and a job of its own. ``path``: PYTHONPATH there."""

    board: Board
    path: str
    job: Job


def check_models(models: Sequence[Path]) -> None:
    """Raise UsageError or EdgeconvError for a model that no board runs, before one is asked."""
    for model in models:
        if model.suffix.lower() not in BOARD_SUFFIXES:
            raise UsageError(f"{model}: {off_board()}")
        refuse_no_file(model)


@contextlib.contextmanager
def prepared(
    connection: Connection,
    models: Sequence[Path],
    cache: Path,
    say: Say,
    stopping: threading.Event | None = None,
) -> Iterator[Prepared]:
    """Make a board ready for ``models``; end and remove the job at the end, whatever happened.

    Only where the connection is lost for good the job stays: it goes on, and holds what it finds until a
    session that comes a day after its end.
    """
    board = ask(connection)
    runtimes = runtime_for([model.suffix.lower() for model in models], board.platform)
    path = setup(connection, board, runtimes, cache, say)
    job = new_job(connection, stopping)
    try:
        yield Prepared(board, path, job)
    except ConnectionLostError:
        raise
    except BaseException:
        with contextlib.suppress(EdgeconvError):  # the first error says more
            job.stop()
            job.clean()
        raise
    job.clean()


def bench_on(
    connection: Connection,
    models: Sequence[Path],
    options: Sequence[str],
    cache: Path,
    say: Say,
    stopping: threading.Event | None = None,
    against: Path | None = None,
) -> Report:
    """Run ``edgeconv bench`` on a board and return its report.

    ``options`` are bench's own, but for the models and ``against``. Raises EdgeconvError where the
    board cannot be reached, prepared or kept. Once ``stopping`` is set the report is a partial one.
    """
    named = [*models, *([against] if against is not None else [])]
    check_models(named)
    files = list(dict.fromkeys(named))
    manifests = [manifest_path(model) for model in files if manifest_path(model).is_file()]
    with prepared(connection, files, cache, say, stopping) as ready:
        folder = f"{ready.job.folder}/models"
        there = put_files(connection, ready.board, [*files, *manifests], folder, say)
        places = dict(zip(files, there, strict=False))
        command = ["edgeconv", "bench", *(places[model] for model in models)]
        if against is not None:
            command += ["--against", places[against]]
        command += ["--json", "--progress", "--no-reference", *map(shlex.quote, options)]
        ready.job.start(ready.path, command)
        return report_from_json(ready.job.wait(say, LIMIT_S))


def side_by_side(
    connections: Sequence[Connection],
    work: Callable[[Connection, threading.Event], Result],
) -> list[tuple[str, Result | EdgeconvError]]:
    """Do ``work`` on every board at once; one that fails has its error in place of a result.

    An interrupt tells every board to end, and brings what each has so far.
    """
    stopping = threading.Event()

    def one(connection: Connection) -> Result | EdgeconvError:
        try:
            return work(connection, stopping)
        except EdgeconvError as error:
            return error

    with ThreadPoolExecutor(max_workers=len(connections)) as pool:
        futures = [pool.submit(one, connection) for connection in connections]
        try:
            found = [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()
            found = [future.result() for future in futures]
    return [(c.host.target, result) for c, result in zip(connections, found, strict=True)]
