"""The first part of a sweep: every form as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeconv.files import digest
from edgeconv.sweep.cell import Cell
from edgeconv.sweep.engine import Engine, Outcome, Task
from edgeconv.sweep.forms import Form
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.sweep.progress import Progress
from edgeconv.sweep.specs import export_spec


@dataclass(frozen=True)
class Exported:
    """A form's file in the folder ``place``, and what its export says of it.

    ``assumed`` is how pictures are prepared where nobody said it.
    """

    place: Path
    artifact: Mapping[str, Any]
    assumed: str | None


@dataclass(frozen=True)
class Refused:
    """Why a form has no file; ``usage``: what was asked for cannot be."""

    error: str
    usage: bool = False


def export(
    job: Job,
    inputs: Inputs,
    engine: Engine,
    progress: Progress,
    forms: Sequence[Form],
    versions: Mapping[str, Any],
) -> dict[Form, Exported | Refused]:
    """Return the file of every form, or why there is none.

    Targets that share trace, calibration and recipe are exported together; where that fails, alone.
    """
    groups: dict[Form, list[str]] = {}
    for form in forms:
        groups.setdefault(form.without_target(), []).append(form.target)

    def task(group: Form, targets: Sequence[str]) -> Task:
        return Task("export", export_spec(job, inputs, group, targets), versions)

    together = {
        made.key: (group, made)
        for group, targets in groups.items()
        for made in [task(group, targets)]
    }
    alone: dict[str, tuple[Form, Task]] = {}
    found: dict[Form, Exported | Refused] = {}
    progress.stage = "making files: "
    progress.expect(export=len(together))
    for outcome in progress.watch(engine, [one for _, one in together.values()]):
        group, targets = together[outcome.task.key][0], outcome.task.spec["targets"]
        if outcome.error is None or len(targets) == 1:
            found |= _files(engine, group, outcome)
            continue
        for target in targets:  # one target's refusal says nothing of the others
            made = task(group, [target])
            alone[made.key] = (group, made)
    progress.expect(export=len(alone))
    for outcome in progress.watch(engine, [one for _, one in alone.values()]):
        found |= _files(engine, alone[outcome.task.key][0], outcome)
    return found


def _files(engine: Engine, group: Form, outcome: Outcome) -> dict[Form, Exported | Refused]:
    place = engine.store.place(outcome.task.key)
    found: dict[Form, Exported | Refused] = {}
    for target in outcome.task.spec["targets"]:
        form = replace(group, target=target)
        if outcome.result is None:
            found[form] = Refused(outcome.error or "not exported", outcome.usage)
        elif target in outcome.result["artifacts"]:
            artifact, assumed = outcome.result["artifacts"][target], outcome.result["assumed"]
            found[form] = Exported(place, artifact, assumed)
        else:
            found[form] = Refused(outcome.result["refused"].get(target, "not written"))
    return found


def settle(cell: Cell, exported: Mapping[Form, Exported | Refused], folder: Path) -> None:
    """Write into ``cell`` what its export found; ``folder`` is that of the sweep."""
    found = exported.get(cell.form, Refused("not exported"))
    if isinstance(found, Refused):
        cell.error, cell.usage = found.error, found.usage
        return
    path = found.place / found.artifact["file"]
    cell.path = path.relative_to(folder).as_posix()
    cell.bytes, cell.sha256 = found.artifact["bytes"], digest(path)
    cell.assumed = found.assumed
    missed = [finding["text"] for finding in found.artifact["verification"]["missed"]]
    cell.missed = "; ".join(missed) or None
    cell.within = cell.missed is None
