"""How much of its first speed a model keeps over minutes: the retention curve."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

from edgeconv.bench.engine import Progress
from edgeconv.bench.plan import Subject
from edgeconv.bench.watch import Watch
from edgeconv.bench.worker import OPEN_TIMEOUT_S, hold
from edgeconv.errors import EdgeconvError

WINDOWS = 60
EDGE = 0.1
"""The share of windows at each end that "first" and "last" are the medians of."""


def sustain(
    subjects: Sequence[Subject], seconds: float, watch: Watch, progress: Progress | None
) -> tuple[dict[str, Any], bool]:
    """Run each model without a pause for ``seconds``, one model after the other (heat is the point).

    Returns label -> curve (times in ms, when in s from its start) and whether it was interrupted.
    """
    say = progress or (lambda _text, _share: None)
    curves: dict[str, Any] = {}
    for number, subject in enumerate(subjects):
        worker = hold(subject)
        at: list[float] = []
        medians: list[float] = []
        temperatures: list[float | None] = []
        try:
            worker.receive(OPEN_TIMEOUT_S, watch.tick)
            warm = worker.ask({"do": "warm", "runs": 3}, OPEN_TIMEOUT_S, watch.tick)
            latency = statistics.median(warm["warmup_ns"]) / 1e9
            start = time.monotonic()
            while (passed := time.monotonic() - start) < seconds:
                say(f"sustained {subject.label}", (number + passed / seconds) / len(subjects))
                runs = max(1, round(seconds / WINDOWS / latency))
                block = worker.ask({"do": "block", "runs": runs, "settle": 0}, 3600.0, watch.tick)
                at.append(time.monotonic() - start)
                medians.append(statistics.median(block["times_ns"]) / 1e6)
                temperatures.append(watch.samples[-1].temperature_c if watch.samples else None)
                latency = medians[-1] / 1e3
        except EdgeconvError as error:
            curves[subject.label] = {"error": str(error)}
            continue
        except KeyboardInterrupt:
            if medians:
                curves[subject.label] = curve(at, medians, temperatures)
            return curves, True
        finally:
            worker.close()
        curves[subject.label] = curve(at, medians, temperatures)
    return curves, False


def curve(
    at: Sequence[float], medians: Sequence[float], temperatures: Sequence[float | None]
) -> dict[str, Any]:
    """Summarise windows: ``retention`` is the first windows' latency over the last ones'."""
    edge = max(1, round(EDGE * len(medians)))
    first, last = statistics.median(medians[:edge]), statistics.median(medians[-edge:])
    return {
        "seconds": at[-1],
        "at_s": list(at),
        "medians_ms": list(medians),
        "temperatures_c": list(temperatures),
        "first_ms": first,
        "last_ms": last,
        "retention": first / last,
        "worst": first / max(medians),
    }
