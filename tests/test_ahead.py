"""Work that is begun before it is asked for."""

from collections.abc import Callable, Iterator
from threading import Event, active_count

import pytest

from edgeconv.ahead import Beside, Tick, in_order


def test_results_come_in_order_although_later_items_end_first() -> None:
    second_ended = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_ended.wait(60)
        if item == 1:
            second_ended.set()
        return 10 * item

    assert list(in_order(work, range(5), 2)) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_no_more_is_begun_than_was_said(most: int) -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            asked.append(item)
            yield item

    results = in_order(lambda item: item, items(), most)
    assert next(results) == 0
    assert len(asked) == 1 + most
    assert list(results) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_where_the_reader_or_an_item_fails(stop: type[BaseException]) -> None:
    before = active_count()

    def fails(item: int) -> int:
        if item == 1:
            raise stop
        return item

    def read(work: Callable[[int], int], fail_at: int) -> None:
        for result in in_order(work, range(100), 2):
            if result == fail_at:
                raise stop

    for work, place in ((fails, 99), (lambda item: item, 1)):
        with pytest.raises(stop):
            read(work, place)
        assert active_count() == before


def test_what_was_begun_runs_while_nobody_asks_and_its_error_waits_to_be_asked_for() -> None:
    ran = Event()

    def fails(_: Tick) -> None:
        ran.set()
        raise ValueError("late")

    with Beside(1) as beside:
        early = beside.begin(fails)
        assert ran.wait(60)
        with pytest.raises(ValueError, match="late"):
            early.result()
        assert beside.begin(lambda _: 7).result() == 7


def test_without_threads_work_is_done_when_it_is_asked_for() -> None:
    shares: list[float] = []
    ran = Event()

    def work(tick: Tick) -> int:
        ran.set()
        tick(0.5)
        return 7

    with Beside(0) as beside:
        early = beside.begin(work)
        assert not ran.is_set()
        assert early.result(shares.append) == early.result(shares.append) == 7
    assert shares == [0.5]


def test_an_interrupt_ends_what_nobody_asked_for_and_begins_nothing_more() -> None:
    before, began, never = active_count(), Event(), Event()

    def endless(tick: Tick) -> None:
        began.set()
        while True:
            tick(0.0)

    def interrupted() -> None:
        with Beside(1) as beside:
            beside.begin(endless)
            beside.begin(lambda _: never.set())
            assert began.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert active_count() == before
    assert not never.is_set()
