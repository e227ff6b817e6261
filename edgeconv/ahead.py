"""Begin work before its result is asked for, on threads that none of it outlives."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
