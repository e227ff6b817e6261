"""Where tasks run: in this process one after the other, or wherever an engine of the same shape puts them."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.sweep.inputs import Inputs, wanted
from edgeconv.sweep.kept import sound
from edgeconv.sweep.store import Store, key_of, write_result
from edgeconv.sweep.tasks import perform


@dataclass(frozen=True)
class Task:
    """A piece of work: its kind, what it is told (JSON), and the versions that its result depends on."""

    kind: str
    spec: Mapping[str, Any]
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The address of its result."""
        return key_of(self.kind, self.spec, self.versions)

    @property
    def board(self) -> str | None:
        """The board (ssh://..., adb://...) that it needs for itself; None: it runs anywhere."""
        return self.spec.get("board")


def resource(board: str) -> str:
    """Return what a dask worker offers that times on a board.

    >>> resource("ssh://pi@pi5:2222")
    'board:pi5'
    """
    return "board:" + board.partition("://")[2].rpartition("@")[2].partition(":")[0]


@dataclass(frozen=True)
class Outcome:
    """A task that ended: ``result``, or ``error`` in one sentence; ``usage``: it was asked for what cannot be.

    ``seconds`` of work it took; 0 for one kept from before.
    """

    task: Task
    result: Mapping[str, Any] | None
    error: str | None = None
    seconds: float = 0.0
    usage: bool = False


class Engine(Protocol):
    """Runs tasks. More may be submitted while ``outcomes`` is being read."""

    store: Store

    def submit(self, task: Task) -> None:
        """Queue ``task``; a result that the store holds already is not made again."""
        ...

    def outcomes(self) -> Iterator[Outcome]:
        """Yield every submitted task as it ends, until none is left."""
        ...

    def running(self) -> int:
        """Return how many tasks run now."""
        ...

    def close(self) -> None:
        """Stop; what is done is kept."""
        ...


class Here:
    """The engine of one process: tasks run in the order in which they were submitted."""

    def __init__(self, store: Store, inputs: Inputs) -> None:
        self.store, self._inputs = store, inputs
        self._waiting: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue ``task``."""
        self._waiting.append(task)

    def outcomes(self) -> Iterator[Outcome]:
        """Run what is queued, also what is queued meanwhile."""
        while self._waiting:
            task = self._waiting.popleft()
            kept = kept_result(self.store, task)
            yield kept if kept is not None else run_here(task, self.store, self._inputs)

    def running(self) -> int:
        """One, of all that wait."""
        return min(1, len(self._waiting))

    def close(self) -> None:
        """Forget what is queued."""
        self._waiting.clear()


def kept_result(store: Store, task: Task) -> Outcome | None:
    """Return the outcome that the store holds for ``task``; None where it has to be run.

    A damaged one, and a figure that was timed on a busy machine, is removed and counts as none.
    """
    found = store.get(task.key)
    if (
        found is not None
        and sound(task.kind, found, store.place(task.key))
        and not found.get("busy")
    ):
        return Outcome(task, found)
    store.drop(task.key)
    return None


def run_here(task: Task, store: Store, inputs: Inputs) -> Outcome:
    """Run ``task`` in this process and keep its result."""
    started = time.perf_counter()
    places = {key: inputs.known[key] for key in wanted(task.spec)}
    try:
        with store.making(task.key) as folder:
            result = perform(task.kind, task.spec, places, folder)
            write_result(folder, result)
    except EdgeconvError as error:
        said = store.in_words(inputs.in_words(str(error), places))
        usage = isinstance(error, UsageError)
        return Outcome(task, None, said, time.perf_counter() - started, usage)
    return Outcome(task, store.get(task.key) or result, None, time.perf_counter() - started)
