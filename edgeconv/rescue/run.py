"""Try one attempt after another with the export's own stages, as long as the time lasts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.files import temporary_folder
from edgeconv.isolate import call
from edgeconv.rescue.attempts import AS_IT_IS, Attempt, attempts, available_samples
from edgeconv.rescue.child import as_data
from edgeconv.rescue.results import Rescue, Tried

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions

TIMED = 0.15
"""Share of the time that is kept for timing what was made."""
SECONDS_EACH, LEAST_EACH = 2.0, 0.2
"""How long a file is timed, and what is too short to tell anything."""
UNTIMED = "the files were not timed: the time was up (--minutes)"
OPENING = 0.5
"""Share of the timing that goes into opening files."""

Say = Callable[[str], None]


def rescue(
    options: "ExportOptions",
    minutes: float,
    say: Say = lambda _: None,
    other: Attempt | None = None,
) -> Rescue:
    """Export ``options`` as they are, then with each attempt, and time what was made.

    ``other`` is tried first, and the rest along with it: other pictures to calibrate on than the file's own.
    The net as it is always is exported, however long that takes. An attempt is not begun where less
    of ``minutes`` is left than the longest before it took, and stopped when they are over. Raises what
    the export as it is raises; an attempt that fails is a row with its error.
    """
    from edgeconv.export.checks import check_first

    check_first(options)
    begin = time.monotonic()
    over = begin + 60.0 * minutes
    end = over - 60.0 * minutes * TIMED
    with temporary_folder() as scratch:
        first = _try(options, AS_IT_IS, scratch / "0", say, None)
        if first.error is not None:
            raise EdgeconvError(first.error)
        known = _manifest(first)
        about = known.manifest
        if other is not None:
            options = replace(options, **other.fields)
        available = 0 if options.calib is None else available_samples(options.calib)
        if options.verify is None:  # what verifies never calibrates
            available -= (about.get("verification") or {}).get("pictures", 0)
        if other is not None:
            about = {**about, "calibration": {"count": min(available, options.calib_count)}}
        classes = len(known.outputs) == 1 and "agreement_top1" in first.figures
        waiting = attempts(options, about, available, classes=classes)
        if other is not None:
            waiting = (other, *(other.along(attempt) for attempt in waiting))
        notes: list[str] = []
        if time.monotonic() + 2.0 * first.seconds < end:
            say("halves of the calibration samples, a recipe each")
            notes += _halves(options, end)
        tried = [first]
        left = []
        for attempt in waiting:
            training = replace(options, **attempt.fields).training_minutes
            longest = max(each.seconds for each in tried) + 60.0 * training
            if time.monotonic() + longest > end:
                left.append(attempt)
            else:
                tried.append(_try(options, attempt, scratch / str(len(tried)), say, end))
        notes += _time(tried, say, over)
        for each in tried:
            each.path = None  # it goes with the scratch folder
    return Rescue(tuple(tried), tuple(left), tuple(notes))


def _try(
    options: "ExportOptions", attempt: Attempt, output: Path, say: Say, end: float | None
) -> Tried:
    """Export in a process of its own, which is stopped at ``end`` on the monotonic clock."""
    say(f"{attempt.label}: {attempt.why}")
    begin = time.monotonic()
    changed = replace(options, **{**attempt.fields, "output": output, "force": True})
    left = None if end is None else end - begin
    try:
        changed.check()
        made = call(
            "edgeconv.rescue.child:export_here", as_data(changed), attempt.label, timeout_s=left
        )
    except EdgeconvError as error:
        seconds = time.monotonic() - begin
        stopped = left is not None and seconds >= left
        why = f"stopped after {seconds:.0f} s: the time was up" if stopped else str(error)
        return Tried(attempt, seconds, error=why.splitlines()[0])
    path = Path(made.pop("path"))
    return Tried(attempt, time.monotonic() - begin, path=path, **made)


def _manifest(tried: Tried) -> Artifact:
    assert tried.path is not None
    artifact = load_artifact(tried.path)
    assert artifact is not None
    return artifact


def _halves(options: "ExportOptions", end: float) -> Sequence[str]:
    try:
        found = call(
            "edgeconv.rescue.child:halves_here",
            as_data(options),
            "recipes of two halves",
            timeout_s=end - time.monotonic(),
        )
    except EdgeconvError:
        return ()  # too few samples for two recipes, whose advice stands already, or too little time
    return () if found is None else (found,)


def _time(tried: Sequence[Tried], say: Say, over: float) -> Sequence[str]:
    """Time the files against each other in what is left of the time; return a note where it is too short."""
    made = [each for each in tried if each.path is not None]
    left = over - time.monotonic()
    each_s = min(SECONDS_EACH, left * (1.0 - OPENING) / len(made))
    if each_s < LEAST_EACH:
        return (UNTIMED,)
    say("timing")
    asked = {"paths": [str(each.path) for each in made], "seconds": each_s}
    try:
        found = call("edgeconv.rescue.child:time_here", asked, "timing", timeout_s=left)
    except EdgeconvError:
        return (UNTIMED,) if time.monotonic() >= over else ()  # or it cannot be timed here
    for one, (median, interval) in zip(made, found or (), strict=False):
        one.latency_ms = median
        one.interval_ms = None if interval is None else (interval[0], interval[1])
    return ()
