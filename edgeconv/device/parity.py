"""Parity's cells on boards over SSH: the files and pictures go there, the outputs come back."""

import io
import json
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv.device.board import Say
from edgeconv.device.provision import put_files
from edgeconv.device.remote import LIMIT_S, Prepared, prepared, side_by_side
from edgeconv.device.ssh import Connection
from edgeconv.device.wheels import runtime_for
from edgeconv.errors import EdgeconvError, UsageError, brief
from edgeconv.files import temporary_folder
from edgeconv.judge.outputs import ABOUT, Outputs, inputs_hash, load_outputs
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.cells import Cell, elsewhere
from edgeconv.parity.child import save_feeds
from edgeconv.parity.facts import described
from edgeconv.parity.matrix import Samples, Settings, job_for
from edgeconv.parity.places import Found
from edgeconv.runtimes.table import BOARD_SUFFIXES, off_board
from edgeconv.schema import checked, either, flag, items, maybe, table, text

ANSWER = table(
    {
        "cells": items(either(table({"error": text}), table({"about": ABOUT}))),
        "machine": maybe(text),
        "emulated": flag,
    }
)
"""What edgeconv.device.cells says."""


def run_on_boards(
    cells: Sequence[Cell],
    connections: Sequence[Connection],
    samples: Samples,
    settings: Settings,
    cache: Path,
    say: Say,
) -> Found:
    """Run the artifacts among ``cells`` on every board at once, each in the runtimes it has.

    A board that cannot be reached or prepared is one failed cell with the reason. Raises UsageError
    where none of the files runs on a board.
    """
    files = dict.fromkeys(c.path for c in cells if c.stage in PRECISIONS)
    wanted = [path for path in files if path.suffix.lower() in BOARD_SUFFIXES]
    if not wanted:
        raise UsageError(f"--device: none of the files runs there: {off_board()}")

    def work(connection: Connection, stopping: threading.Event) -> Found:
        with prepared(connection, wanted, cache, say, stopping) as ready:
            mine = cells_there(cells, connection, ready)
            return _on_one(connection, ready, mine, samples, settings, say)

    done: Found = []
    for target, found in side_by_side(connections, work):
        if isinstance(found, EdgeconvError):
            path = wanted[0]
            cell = next(cell for cell in cells if cell.path == path)
            done.append(
                (replace(cell, label=f"{path.name} · on {target}", board=target), str(found))
            )
        else:
            done += found
    return done


def cells_there(cells: Sequence[Cell], connection: Connection, ready: Prepared) -> list[Cell]:
    """Return the artifacts' cells for a board: the hop before each is the same file here."""
    target = connection.host.target
    suffixes = {cell.path.suffix.lower() for cell in cells} & set(BOARD_SUFFIXES)
    runtimes = runtime_for(sorted(suffixes), ready.board.platform)
    return elsewhere(cells, target, runtimes, target)


def _on_one(
    connection: Connection,
    ready: Prepared,
    cells: Sequence[Cell],
    samples: Samples,
    settings: Settings,
    say: Say,
) -> Found:
    folder = ready.job.folder
    with temporary_folder() as scratch:
        feeds = save_feeds(samples.inputs, scratch)
        jobs = [_job(cell, feeds, samples, settings, n) for n, cell in enumerate(cells)]
        request = scratch / "jobs.json"
        asked = {"jobs": jobs, "timeout_s": settings.timeout_s}
        request.write_bytes(json.dumps(asked).encode())
        put_files(connection, ready.board, list(feeds.values()), f"{folder}/inputs", say)
        models = list(dict.fromkeys(cell.path for cell in cells))
        put_files(connection, ready.board, models, f"{folder}/models", say)
        put_files(connection, ready.board, [request], folder, say)
        ready.job.start(ready.path, ["edgeconv.device.cells", "jobs.json"])
        what = f"what {connection.host.target} answers"
        said = checked(ready.job.wait(say, LIMIT_S), ANSWER, what)
    if len(said["cells"]) != len(cells):
        raise EdgeconvError(f"{what}: {len(said['cells'])} cells, not the {len(cells)} asked for")
    arrays = _outputs(connection, folder)
    digest = inputs_hash(samples.inputs)
    done: Found = []
    for number, (cell, answer) in enumerate(zip(cells, said["cells"], strict=True)):
        stored = arrays.get(f"out{number}.npz")
        if error := answer.get("error", None if stored else "no outputs came back"):
            done.append((cell, error))
            continue
        there = Outputs(stored or {}, {**answer["about"], "machine": said["machine"]})
        done.append((cell, described(cell, there, digest, bool(said["emulated"]))))
    return done


def _job(
    cell: Cell, feeds: dict[str, Path], samples: Samples, settings: Settings, number: int
) -> dict[str, Any]:
    """Return a cell's job with the board's paths, which are relative to the job's folder."""
    job = job_for(cell, feeds, samples, settings, Path(f"out{number}.npz"))
    inputs = {name: Path("inputs") / path.name for name, path in feeds.items()}
    return replace(job, path=Path("models") / cell.path.name, inputs=inputs).to_json()


def _outputs(connection: Connection, folder: str) -> dict[str, dict[str, Any]]:
    """Fetch every output there, file name -> output name -> array.

    Raises EdgeconvError where what comes is no archive, or holds no rows of numbers.
    """
    data = connection.run(f"cd {folder} && tar -cf - out*.npz 2>/dev/null; true", timeout_s=1800.0)
    found: dict[str, dict[str, Any]] = {}
    if not data:
        return found
    with temporary_folder() as scratch:
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = [(m.name, tar.extractfile(m)) for m in tar if m.isfile()]
                for number, (name, content) in enumerate(members):
                    path = scratch / f"{number}.npz"
                    path.write_bytes(content.read() if content else b"")
                    found[name] = dict(load_outputs(path).arrays)
        except (EOFError, ValueError, tarfile.TarError, EdgeconvError) as error:
            where = connection.host.target
            raise EdgeconvError(
                f"the outputs that come from {where} are damaged: {brief(error)}"
            ) from error
    return found
