"""Tasks on dask.distributed: a cluster of processes here, or one that somebody runs already.

What travels is JSON, and files by their hashes, each once to a worker. A conversion or evaluation whose
worker died is started again, and so is all that was open where the scheduler was started anew. A
bench on a board never is: the board is a resource of one worker, and times one file at a time.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.sweep.engine import Outcome, Task, kept_result, resource
from edgeconv.sweep.fetching import fetched
from edgeconv.sweep.inputs import Inputs, wanted
from edgeconv.sweep.local import processes
from edgeconv.sweep.store import Store
from edgeconv.sweep.worker import on_worker, once, unpacked

ATTEMPTS = 4
"""How often a task is started before its dying workers count as its own fault."""

JOIN_S = 20.0
"""How long a scheduler may take to answer."""

PAUSE_S = 1.0
"""Between two tries to send what no worker took."""

LOOK_S = 5.0
"""Between two looks at whether a worker is there, while none answers."""

GONE_S = 60.0
"""How long one may be away."""


class Cluster:
    """The engine on a dask cluster. ``workers`` processes are started here, or ``address`` is joined.

    ``boards`` are the devices to time on; ``tell`` is told in a sentence what is waited for. Raises
    EdgeconvError where no scheduler answers, or where a board is not the resource of exactly one of its workers.
    """

    def __init__(
        self,
        store: Store,
        inputs: Inputs,
        *,
        workers: int = 0,
        address: str | None = None,
        boards: Sequence[str] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tell, self._alone = tell, False
        self._distributed: Any = require("distributed", "sweep")
        for name in ("distributed", "distributed.client"):  # losses are told in our words
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.store, self._inputs, self._address = store, inputs, address
        self._sent: dict[str, Any] = {}
        self._open: dict[Any, tuple[Task, int]] = {}
        self._ready: list[Outcome] = []
        self._late: list[tuple[Task, int]] = []
        with contextlib.ExitStack() as started:
            self._local = None if address is not None else processes(workers, boards, started)
            try:
                self._connect()
            except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
                raise EdgeconvError(_unanswered(address, error)) from error
            started.callback(self._disconnect)
            if address is not None:
                self._check(boards)
            self._started = started.pop_all()

    def _connect(self, patience: float | None = None) -> None:
        patience = JOIN_S if patience is None else patience
        self._client: Any = self._distributed.Client(self._local or self._address, timeout=patience)
        self._scheduler = self._client.scheduler_info()["id"]
        self._completed: Any = self._distributed.as_completed([])

    def _check(self, boards: Sequence[str]) -> None:
        offered = [
            set(worker["resources"]) for worker in self._client.scheduler_info()["workers"].values()
        ]
        for board in boards:
            name = resource(board)
            count = sum(name in resources for resources in offered)
            if count != 1:
                raise EdgeconvError(
                    f"{count or 'no'} workers of {self._address} offer {name}: start one, and one alone, "
                    f"with dask worker {self._address} --nthreads 1 --resources '{name}=1'"
                )

    def width(self) -> int:
        """Return how many tasks run at a time, at least 1."""
        return max(1, self._threads())

    def _threads(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["nthreads"]) for worker in workers)

    def running(self) -> int:
        """Return how many tasks the workers have at hand, as far as the scheduler answers."""
        try:
            return min(self._threads(), len(self._open))
        except (OSError, TimeoutError, ValueError, KeyError):
            return 0

    def submit(self, task: Task) -> None:
        """Queue ``task`` on the cluster, unless the store holds its result."""
        kept = kept_result(self.store, task)
        if kept is not None:
            self._ready.append(kept)
        else:
            self._start(task, 1)

    def _start(self, task: Task, attempt: int) -> None:
        """Send ``task`` off; where nobody takes it, or a worker dies of taking the files, it is sent later."""
        if not self._joined():
            self._late.append((task, attempt))
            return
        try:
            for key in sorted(wanted(task.spec) - self._sent.keys()):
                self._sent[key] = self._sending(key)
        except (OSError, TimeoutError, ValueError):  # ValueError: no worker is there
            self._late.append((task, attempt))
            return
        needs = {key: self._sent[key] for key in wanted(task.spec)}
        name = f"{task.kind}-{task.key}-{attempt}-{os.getpid()}-{time.monotonic_ns()}"
        work = (on_worker,) if task.board is None else (once, name)
        future = self._client.submit(
            *work,
            task.kind,
            dict(task.spec),
            needs,
            key=name,
            pure=False,
            resources=None if task.board is None else {resource(task.board): 1},
        )
        self._open[future] = (task, attempt)
        self._completed.add(future)

    def _sending(self, key: str) -> Any:
        """Return what gives a worker the files of ``key``: where they lie, if it sees this machine's."""
        if self._local is not None:
            return self._inputs.known[key]
        return self._client.scatter(self._inputs.pack(key), hash=False)

    def _start_late(self) -> None:
        """Send what could not be sent, after a pause, to the scheduler that is there then."""
        time.sleep(PAUSE_S)
        if not self._same_scheduler():
            self._start_over()
        self._look()
        late, self._late = self._late, []
        for task, attempt in late:
            self._start(task, attempt)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield results as the cluster brings them. Raises EdgeconvError where it is gone for good."""
        while self._ready or self._open or self._late:
            while self._ready:
                yield self._ready.pop()
            if self._late:
                self._start_late()
            if not self._open:
                continue
            future = self._next()
            task, attempt = self._open.pop(future)
            outcome = self._ended(future, task, attempt)
            future.release()
            if outcome is not None:
                yield outcome

    def _next(self) -> Any:
        """Return a task that has ended; meanwhile look now and then whether somebody is there to end one."""
        looked = time.monotonic()
        while not self._completed.has_ready():
            with self._completed.thread_condition:
                self._completed.thread_condition.wait(0.1)
            if time.monotonic() - looked > LOOK_S:
                self._look()
                looked = time.monotonic()
        return next(self._completed)

    def _look(self) -> None:
        """Say once where the cluster has lost all its workers, or never had one."""
        try:
            alone = self._threads() == 0
        except (OSError, TimeoutError, ValueError, KeyError):
            return
        if alone and not self._alone and self._address is not None:
            self._tell(
                f"{self._address} has no worker: waiting for one, "
                f"dask worker {self._address} --nthreads 1"
            )
        self._alone = alone

    def _ended(self, future: Any, task: Task, attempt: int) -> Outcome | None:
        """Return the outcome of a task; None where it was started again."""
        error, lost, result = fetched(future)
        if result is not None:
            answer, data, seconds = result
            if "error" in answer:
                said = self._inputs.in_words(str(answer["error"]), wanted(task.spec))
                return Outcome(task, None, said, seconds, bool(answer.get("usage")))
            try:
                self.store.put(task.key, answer, unpacked(data))
            except EdgeconvError as full:  # as in one process, the cell fails and the others go on
                return Outcome(task, None, str(full), seconds)
            return Outcome(task, answer, None, seconds)
        if lost and not self._same_scheduler():
            self._open[future] = (task, attempt)
            self._start_over()
            return None
        if lost or type(error).__name__ == "KilledWorker":
            self._sent.clear()  # what lay on the dead worker is sent anew
            return self._again(task, attempt)
        return Outcome(task, None, f"a worker failed: {error}")

    def _again(self, task: Task, attempt: int) -> Outcome | None:
        """Start a task whose worker died once more; a bench on a board, which may go on there, never."""
        if task.board is not None:
            text = f"its worker died while {task.board} was timing it: run the same sweep again"
            return Outcome(task, None, text)
        if attempt == ATTEMPTS:
            text = f"{ATTEMPTS} workers died of it, one after the other: run the same sweep again if they were killed"
            return Outcome(task, None, text)
        self._start(task, attempt + 1)
        return None

    def _joined(self) -> bool:
        """Whether there is a connection: without one, dask goes on answering with what it was told last."""
        return bool(self._client.status == "running")

    def _same_scheduler(self) -> bool:
        try:
            same = bool(self._client.scheduler_info()["id"] == self._scheduler)
            return same and self._joined()
        except (OSError, TimeoutError, ValueError, KeyError):
            return False

    def _start_over(self) -> None:
        """Join the scheduler that took the place of one that is gone; send it all that is open."""
        gone = EdgeconvError(
            "the scheduler is gone; what is done is kept: run the same sweep again to go on"
        )
        if self._local is not None:
            raise gone
        self._tell(
            f"the scheduler at {self._address} is gone: waiting {GONE_S:.0f} s for one that is started there, "
            "and its workers; what is done is kept"
        )
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=1)
        until = time.monotonic() + GONE_S
        while True:
            try:
                self._connect(max(1.0, min(JOIN_S, until - time.monotonic())))
                break
            except (OSError, TimeoutError, ValueError):
                if time.monotonic() > until:
                    raise gone from None
                time.sleep(PAUSE_S)
        self._tell(f"a scheduler answers at {self._address} again: going on")
        waiting = list(self._open.values())
        self._open.clear()
        self._sent.clear()
        for task, attempt in waiting:
            outcome = self._again(task, min(attempt, ATTEMPTS - 1))
            self._ready += [] if outcome is None else [outcome]

    def _disconnect(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=5)

    def close(self) -> None:
        """End the workers that were started here; a cluster that was joined stays as it is."""
        self._started.close()


def _unanswered(address: str | None, error: Exception) -> str:
    """Say why no scheduler was joined at ``address``; dask has types of its own for TLS that one side lacks."""
    if isinstance(error, TypeError):
        return f"{address} wants certificates: name them in dask's configuration (distributed.comm.tls)"
    if isinstance(error, RuntimeError):
        return (
            f"dask's configuration asks for TLS (distributed.comm.require-encryption), and {address} "
            "has none: write tls://HOST:PORT"
        )
    if "(closed)" in str(error):
        return (
            f"what answers at {address} closes the connection: it is no scheduler of dask, or it "
            "speaks TLS, which is tls://HOST:PORT"
        )
    return f"no scheduler answers at {address}: {error}"
