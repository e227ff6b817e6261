"""Timing a cell on a board over SSH; the board runs one bench at a time, and none twice."""

import time
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.sweep.engine import Outcome, Task
from edgeconv.sweep.store import Store
from edgeconv.sweep.tasks import timed


def bench_there(task: Task, place: str, path: Path, store: Store) -> Outcome:
    """Run the bench of ``task`` for ``path`` on the board ``place`` (ssh://...) and keep what it says."""
    from edgeconv.cache import cache_dir
    from edgeconv.device.remote import bench_on
    from edgeconv.device.ssh import Connection, parse_host

    started = time.perf_counter()
    options = ["--threads", str(task.spec["threads"]), "--seconds", str(task.spec["seconds"])]
    try:
        report = bench_on(
            Connection(parse_host(place)), [path], options, cache_dir(), lambda _text: None
        )
        found = timed(report.to_json())
        if found["latency_ms"] is None:
            raise EdgeconvError("an emulated board has no latency")
        store.put(task.key, found, {})
    except EdgeconvError as error:
        return Outcome(task, None, str(error), time.perf_counter() - started)
    return Outcome(task, found, None, time.perf_counter() - started)
