"""The benchmark as one call: line up, take turns, mark, compare, diagnose."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeconv import __version__, sensors
from edgeconv.bench.arena import with_arena
from edgeconv.bench.diagnose import causes, verdict
from edgeconv.bench.engine import Progress, Turn, measure, to_row
from edgeconv.bench.facts import ModelFacts, examine
from edgeconv.bench.plan import Plan, Subject
from edgeconv.bench.results import Report, Row
from edgeconv.bench.statistics import Ratio, ratio_of_rounds
from edgeconv.bench.subjects import Choice, Lineup, line_up
from edgeconv.bench.watch import Watch
from edgeconv.deps import version_of
from edgeconv.errors import EdgeconvError
from edgeconv.machine import Machine, describe
from edgeconv.runtimes.table import DISTRIBUTIONS
from edgeconv.system import load_average


@dataclass(frozen=True)
class Request:
    """One call of bench; see ``edgeconv bench --help`` for each field.

    ``sustained_s`` is the length of the retention curve, None for none.
    """

    models: tuple[str, ...]
    against: str | None = None
    choice: Choice = field(default_factory=Choice)
    plan: Plan = field(default_factory=Plan)
    profile: bool = False
    sustained_s: float | None = None
    mlperf: bool = False


def bench(request: Request, progress: Progress | None = None) -> Report:
    """Measure every model of ``request`` and say what can be said of the figures.

    Raises UsageError or EdgeconvError for arguments that cannot be right. A model that cannot be
    opened or crashes is a row with its ``error``; an interrupt gives a partial report.
    """
    request.plan.check()
    lineup = line_up(request.models, request.against, request.choice)
    machine = describe()
    watch = Watch()
    started, load = time.time(), load_average()
    turns, partial = measure(lineup.subjects, request.plan, watch, progress)
    rows = _with_ratios([to_row(turn, watch, machine) for turn in turns], turns, lineup)
    report = Report(
        edgeconv=__version__,
        started=started,
        machine=machine,
        versions=_versions(),
        settings=_settings(request),
        rows=tuple(rows),
        samples=tuple(watch.samples),
        governors=tuple(sorted({c.governor for c in sensors.clocks() if c.governor})),
        load_before=load,
        references=dict(lineup.reference),
        partial=partial,
        notes=_notes(request, machine),
    )
    if partial:
        return report
    if not machine.emulated:
        report = replace(report, rows=tuple(with_arena(report.rows, lineup.subjects)))
    report = replace(report, diagnosis=tuple(_diagnose(lineup, rows, machine)))
    return _extras(report, request, lineup, watch, progress)


def _extras(
    report: Report, request: Request, lineup: Lineup, watch: Watch, progress: Progress | None
) -> Report:
    """Add the profile and the retention curve where they were asked for."""
    healthy = {row.label for row in report.rows if row.error is None}
    subjects = [s for s in lineup.subjects if s.label in healthy]
    if request.profile:
        from edgeconv.bench.pairs import with_pairs
        from edgeconv.bench.profile import profile_subjects

        profiles = profile_subjects(subjects, report.rows, progress)
        report = replace(report, profile=with_pairs(profiles, lineup.reference))
    if request.sustained_s is not None:
        from edgeconv.bench.sustained import sustain

        curves, partial = sustain(subjects, request.sustained_s, watch, progress)
        report = replace(report, sustained=curves, partial=partial, samples=tuple(watch.samples))
    return report


def _settings(request: Request) -> dict[str, Any]:
    plan = request.plan
    return {
        "runs": plan.runs,
        "seconds": plan.seconds,
        "warmup": plan.warmup,
        "rounds": plan.rounds,
        "seed": plan.seed,
        "mlperf": request.mlperf,
        "affinity": list(request.choice.affinity),
        "sustained_s": request.sustained_s,
    }


def _versions() -> dict[str, str | None]:
    names = (*DISTRIBUTIONS, "torch", "numpy")
    return {"python": platform.python_version(), **{name: version_of(name) for name in names}}


def _notes(request: Request, machine: Machine) -> tuple[str, ...]:
    notes = []
    if machine.emulated:
        notes.append(
            "this machine is emulated: the models ran, but times under emulation say nothing of a"
            " board, so none is shown"
        )
    if request.mlperf:
        notes.append(
            "MLPerf single-stream minima: at least 1024 runs and 60 s; its metric is the p90"
        )
    return tuple(notes)


def _with_ratios(rows: list[Row], turns: Sequence[Turn], lineup: Lineup) -> list[Row]:
    """Give every row its ratio to the reference with as many threads."""
    by_label = {turn.subject.label: turn for turn in turns}
    compared = []
    for row in rows:
        mine, other = by_label[row.label], by_label.get(lineup.reference.get(row.label, ""))
        if other is not None:
            ratio = _ratio(mine.round_medians_ms, other.round_medians_ms)
            cpu_ratio = _ratio(mine.round_cpu_ms, other.round_cpu_ms)
            row = replace(row, ratio=ratio, cpu_ratio=cpu_ratio)
        compared.append(row)
    return compared


def _ratio(mine: Mapping[int, float], other: Mapping[int, float]) -> Ratio | None:
    common = sorted(mine.keys() & other.keys())
    if not common:
        return None
    return ratio_of_rounds([mine[n] for n in common], [other[n] for n in common])


def model_facts(subject: Subject) -> ModelFacts | None:
    """What a row's file is made of as it runs; None where that cannot be told."""
    if subject.path is None or Path(subject.path).suffix.lower() not in (".onnx", ".tflite"):
        return None
    try:
        return examine(Path(subject.path), subject.runtime)
    except EdgeconvError:
        return None  # the row itself has been measured; a model that resists a second look stays as it is


def _diagnose(lineup: Lineup, rows: Sequence[Row], machine: Machine) -> list[dict[str, Any]]:
    """Say for each quantized row whether INT8 paid, and what keeps it from its speed."""
    by_label = {row.label: row for row in rows}
    found = []
    known: dict[str, ModelFacts | None] = {}
    for subject in lineup.subjects:
        row = by_label[subject.label]
        other = by_label.get(lineup.reference.get(subject.label, ""))
        if row.error is not None or other is None or other.error is not None:
            continue
        path = subject.path or ""
        if path not in known:
            known[path] = model_facts(subject)
        facts = known[path]
        if facts is None or not facts.quantized:
            continue
        reasons = causes(facts, row, machine)
        found.append(
            {
                "row": row.label,
                "reference": other.label,
                "verdict": verdict(row, other, row.ratio, reasons),
                "causes": [cause.to_json() for cause in reasons],
                "facts": facts.to_json(),
            }
        )
    return found
