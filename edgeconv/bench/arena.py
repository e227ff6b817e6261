"""The memory that a runtime sets aside for a model, asked in a process of its own after the timing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgeconv.bench.plan import Subject
from edgeconv.bench.results import Row
from edgeconv.bench.worker import open_subject, random_feeds
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import call
from edgeconv.runtimes.base import Arena

LIMIT_S = 600.0
"""How long a model may take to open and run twice."""


def with_arena(rows: Sequence[Row], subjects: Sequence[Subject]) -> list[Row]:
    """Return the rows with their arena, MiB, where the runtime lets it be known."""
    by_label = {subject.label: subject for subject in subjects}
    known: dict[tuple[object, ...], float | None] = {}
    found = []
    for row in rows:
        subject = by_label[row.label]
        key = (subject.path, subject.runtime, subject.threads, str(subject.options))
        if row.error is None and key not in known:
            known[key] = _ask(subject)
        found.append(replace(row, arena_mib=known.get(key)) if row.error is None else row)
    return found


def _ask(subject: Subject) -> float | None:
    if subject.path is None:
        return None
    try:
        what = f"arena of {subject.path}"
        asked = subject.to_json()
        size = call("edgeconv.bench.arena:arena_here", asked, what, timeout_s=LIMIT_S)["bytes"]
    except EdgeconvError:
        return None  # the row itself has been measured; this is beside it
    return None if size is None else size / 2**20


def arena_here(subject: Mapping[str, Any]) -> dict[str, int | None]:
    """Answer for one subject (``Subject.to_json``): {"bytes": size or None}."""
    with open_subject(subject) as runner:
        if not isinstance(runner, Arena):
            return {"bytes": None}
        return {"bytes": runner.arena_bytes(random_feeds(runner))}
