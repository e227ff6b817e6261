"""Tasks on dask.distributed: a cluster of processes here, or one that somebody runs already.

What travels is JSON, and files by their hashes, each once to a worker. A conversion or evaluation whose
worker died is started again; a bench never is.
"""

import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeconv.cache import cache_dir
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.sweep.engine import Outcome, Task, kept_result, without_places
from edgeconv.sweep.inputs import Inputs, unpack, wanted
from edgeconv.sweep.store import Store
from edgeconv.sweep.tasks import perform

ATTEMPTS = 4
"""How often a task is started before its dying workers count as its own fault."""

LOST = (
    "CommClosedError",
    "ClosedClientError",
    "TimeoutError",
    "CancelledError",
    "FutureCancelledError",
)


class Cluster:
    """The engine on a dask cluster. ``workers`` processes are started here, or ``address`` is joined."""

    def __init__(
        self, store: Store, inputs: Inputs, *, workers: int = 0, address: str | None = None
    ) -> None:
        distributed: Any = require("distributed", "sweep")
        require("dask", "sweep").config.set(
            {
                "distributed.scheduler.allowed-failures": 0,  # starting anew is decided here
                "distributed.comm.timeouts.connect": "20s",
            }
        )
        self.store, self._inputs, self._distributed = store, inputs, distributed
        self._local: Any = None
        if address is None:
            self._local = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=50,
            )
        try:
            self._client: Any = distributed.Client(self._local or address, timeout="20s")
        except (OSError, TimeoutError, ValueError) as error:
            raise EdgeconvError(f"no scheduler answers at {address}: {error}") from error
        self._sent: dict[str, Any] = {}
        self._open: dict[Any, tuple[Task, int, float]] = {}
        self._kept: list[Outcome] = []
        self._completed: Any = distributed.as_completed([])

    def submit(self, task: Task) -> None:
        """Queue ``task`` on the cluster, unless the store holds its result."""
        kept = kept_result(self.store, task)
        if kept is not None:
            self._kept.append(kept)
        else:
            self._start(task, 1)

    def _start(self, task: Task, attempt: int) -> None:
        for key in sorted(wanted(task.spec) - self._sent.keys()):
            self._sent[key] = self._client.scatter(self._inputs.pack(key), hash=False)
        needs = {key: self._sent[key] for key in wanted(task.spec)}
        future = self._client.submit(
            on_worker,
            task.kind,
            dict(task.spec),
            needs,
            key=f"{task.kind}-{task.key}-{attempt}-{os.getpid()}",
            pure=False,
        )
        self._open[future] = (task, attempt, time.perf_counter())
        self._completed.add(future)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield results as the cluster brings them. Raises EdgeconvError where it is gone."""
        while self._kept or self._open:
            while self._kept:
                yield self._kept.pop()
            if not self._open:
                continue
            future = next(self._completed)
            task, attempt, started = self._open.pop(future)
            outcome = self._ended(future, task, attempt, time.perf_counter() - started)
            future.release()
            if outcome is not None:
                yield outcome

    def _ended(self, future: Any, task: Task, attempt: int, seconds: float) -> Outcome | None:
        error = future.exception() if future.status == "error" else None
        if future.status in ("cancelled", "lost") or type(error).__name__ in LOST:
            raise EdgeconvError(
                "the scheduler is gone; what is done is kept: run the same sweep again to go on"
            )
        if error is None:
            answer, data = future.result()
            if "error" in answer:
                return Outcome(task, None, str(answer["error"]), seconds)
            self.store.put(task.key, answer, _files(data))
            return Outcome(task, answer, None, seconds)
        if type(error).__name__ == "KilledWorker" and attempt < ATTEMPTS:
            self._sent.clear()  # what lay on the dead worker is sent anew
            self._start(task, attempt + 1)
            return None
        return Outcome(task, None, f"a worker died or failed: {error}", seconds)

    def close(self) -> None:
        """End the workers that were started here; a cluster that was joined stays as it is."""
        self._client.close(timeout=5)
        if self._local is not None:
            self._local.close(timeout=10)


def on_worker(
    kind: str, spec: dict[str, Any], needs: dict[str, bytes]
) -> tuple[dict[str, Any], bytes]:
    """Do a task on a worker: (its result or {"error": ...}, its files as a tar)."""
    places = {key: _at_hand(key, data) for key, data in needs.items()}
    with tempfile.TemporaryDirectory(prefix="edgeconv-worker-") as name:
        folder = Path(name) / "files"
        folder.mkdir()
        try:
            result = perform(kind, spec, places, folder)
        except EdgeconvError as error:
            return {"error": without_places(str(error), needs)}, b""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for path in sorted(item for item in folder.rglob("*") if item.is_file()):
                tar.add(path, path.relative_to(folder).as_posix())
    return result, made.getvalue()


def _at_hand(key: str, data: bytes) -> Path:
    """Return the folder that holds the files of ``key`` on this machine, written once."""
    place = cache_dir() / "sweep" / key
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{key[:8]}.", dir=place.parent))
        unpack(data, part)
        try:
            part.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    return place


def _files(data: bytes) -> dict[str, bytes]:
    """Read a tar of a worker's files; names that lead out of the folder are refused by EdgeconvError."""
    found: dict[str, bytes] = {}
    if not data:
        return found
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if not member.isfile() or ".." in parts or Path(member.name).is_absolute():
                raise EdgeconvError(f"a worker sent {member.name!r}, which is no file of a result")
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found
