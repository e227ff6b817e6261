"""The timed loop: two clock readings around the runtime's own call and nothing else of ours."""

import gc
import time
from collections.abc import Callable


def timed_runs(call: Callable[[], object], runs: int) -> list[int]:
    """Run ``call`` ``runs`` times; return each one's wall time in nanoseconds.

    The garbage collector is off meanwhile: its pauses are ours, not the runtime's.
    """
    clock = time.perf_counter_ns
    times = [0] * runs
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(runs):
            start = clock()
            call()
            times[i] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return times


def warm_up(call: Callable[[], object], runs: int | None, seconds: float = 0.5) -> list[int]:
    """Run ``call`` ``runs`` times, or at least 3 times and ``seconds`` long; return the times."""
    if runs is not None:
        return timed_runs(call, runs)
    end = time.perf_counter() + seconds
    times = timed_runs(call, 3)
    while time.perf_counter() < end:
        times += timed_runs(call, 1)
    return times
