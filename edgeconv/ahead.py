"""Begin work before its result is asked for, on threads that none of it outlives."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from threading import Event
from typing import Generic, TypeVar

from edgeconv.closing import Closing

T = TypeVar("T")
R = TypeVar("R")
Tick = Callable[[float], None]
"""Called now and then with the share of the work that is done."""
TICK_S = 0.1


def in_order(work: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """Yield ``work`` of each item, in order, while the next ``most`` items are worked on.

    None is begun ahead where ``most`` is 0. Where one fails or the reader stops, those that were begun
    end first.
    """
    if most < 1:
        yield from map(work, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(most) as pool:
        begun: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(waiting, most))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(waiting, 1))
            yield result


class Early(Generic[R]):
    """Work of a Beside, which is done once however often its result is asked for."""

    def __init__(self, work: Callable[[Tick], R], stopping: Event) -> None:
        self._work, self._stopping = work, stopping
        self._share = 0.0
        self.future: Future[R] | None = None

    def run(self) -> R:
        """Do the work on the calling thread."""
        return self._work(self._tick)

    def _tick(self, share: float) -> None:
        if self._stopping.is_set():
            raise CancelledError
        self._share = share

    def begun(self) -> None:
        """Wait until the work has called its Tick, if it is done beside; what it raised by then is raised."""
        if self.future is None:
            return
        while not self._share and not wait([self.future], TICK_S).done:
            pass
        if self.future.done():
            self.future.result()

    def result(self, tick: Tick = lambda _: None) -> R:
        """Wait for the result, or do the work now where it was not begun; what it raised is raised."""
        if self.future is None:
            self.future = Future()
            try:
                self.future.set_result(self._work(tick))
            except BaseException as error:
                self.future.set_exception(error)
        while not wait([self.future], TICK_S).done:
            tick(self._share)
        return self.future.result()


class Beside(Closing):
    """A context that begins work beside what its owner does; at its end none of it runs any more.

    ``threads`` may be busy with it, in the order in which it was begun. With none, work is done when its
    result is asked for. Work is stopped when it calls its Tick.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads) if threads > 0 else None
        self._stopping = Event()
        self._kept = ExitStack()

    def begin(self, work: Callable[[Tick], R]) -> Early[R]:
        """Begin work, which is given a Tick."""
        early = Early(work, self._stopping)
        if self._pool is not None:
            early.future = self._pool.submit(early.run)
        return early

    def keep(self, begun: AbstractContextManager[R]) -> R:
        """Enter what ends with this context, such as a child process."""
        return self._kept.enter_context(begun)

    def close(self) -> None:
        """End what is running."""
        self._stopping.set()
        self._kept.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
