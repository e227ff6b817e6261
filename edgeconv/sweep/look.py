"""Before the work of a sweep: every picture is read once, so that one that is damaged is not found after hours."""

from collections.abc import Mapping
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.sweep.data import Evaluation
from edgeconv.sweep.engine import Engine, Task
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.progress import Progress


def look(
    evaluation: Evaluation,
    shard: int,
    inputs: Inputs,
    engine: Engine,
    progress: Progress,
    versions: Mapping[str, Any],
) -> None:
    """Raise UsageError naming a picture of ``evaluation`` that cannot be read, ``shard`` of them a task."""
    names = evaluation.names or ()
    tasks = [
        Task(
            "look",
            {"data": inputs.add_some(evaluation.source, names[start : start + shard])},
            versions,
        )
        for start in range(0, len(names), shard)
    ]
    progress.stage = "reading pictures: "
    for outcome in progress.watch(engine, tasks):
        if outcome.usage:
            raise UsageError(str(outcome.error))
