"""What an export did, as data, as stage lines and as JSON."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.export.emit import Emitted
from edgeconv.export.options import ExportOptions
from edgeconv.export.targets import TARGETS
from edgeconv.export.verify import FileVerdict
from edgeconv.files import in_bytes
from edgeconv.judge.advice import said_once
from edgeconv.judge.measures import show
from edgeconv.judge.missed import DOUBTED
from edgeconv.judge.text import figures_text, judgement
from edgeconv.terminal import counted

WARNING = "warning"
"""The head of a line that no option hides."""


@dataclass(frozen=True)
class StageLine:
    """One stage: what it did and how long it took."""

    stage: str
    text: str
    seconds: float


@dataclass(frozen=True)
class ArtifactReport:
    """One written file."""

    target: str
    path: Path
    bytes: int
    stats: dict[str, Any]
    verdict: FileVerdict
    advice: tuple[str, ...] = ()


@dataclass
class ExportReport:
    """Everything ``edgeconv export`` prints. Truthy where every target was written within its budget.

    ``refused`` says by target why it could not be written, ``warnings`` what makes a verdict that holds
    worth little: it is no miss, and no option hides it.
    """

    options: ExportOptions
    stages: list[StageLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    artifacts: list[ArtifactReport] = field(default_factory=list)
    departure: str | None = None
    next_command: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        within = self.departure is None and all(a.verdict for a in self.artifacts)
        return within and not self.refused

    @property
    def exit_code(self) -> int:
        """0; 1 where a target could not be written, 3 where a budget was missed."""
        return 1 if self.refused else 0 if self else 3

    def __str__(self) -> str:
        stages = [(line.stage, line.text) for line in self.stages]
        lines = [*stages, *closing_lines(self, verbose=False, quiet=False)]
        return "\n".join(f"{head:<10} {text}" for head, text in lines)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "net": self.options.named,
            "precision": self.options.precision,
            "ok": bool(self),
            "departure": self.departure,
            "refused": self.refused,
            "warnings": list(self.warnings),
            "notes": self.notes,
            "stages": [
                {"stage": s.stage, "text": s.text, "seconds": round(s.seconds, 3)}
                for s in self.stages
            ],
            "artifacts": [
                {
                    "target": a.target,
                    "file": str(a.path),
                    "bytes": a.bytes,
                    "graph": a.stats,
                    "verification": a.verdict.to_json(),
                    "advice": list(a.advice),
                }
                for a in self.artifacts
            ],
            "next": self.next_command,
        }


def note_of(notes: list[str], target: str, text: str) -> None:
    """Add what is to say of a target's file to ``notes``, to the note of another target that says the same.

    >>> notes = ["tflite: y is still"]
    >>> note_of(notes, "onnx", "y is still"), notes
    (None, ['tflite, onnx: y is still'])
    """
    for place, note in enumerate(notes):
        said, _, rest = note.partition(": ")
        if rest == text and set(said.split(", ")) <= set(TARGETS):
            notes[place] = f"{said}, {target}: {text}"
            return
    notes.append(f"{target}: {text}")


def artifact_text(name: str, made: Emitted, borders: str) -> str:
    """Return the line of an emitted file: name, size in bytes, operators, INT8 count, transposes.

    The INT8 count is of all operators that compute. ``borders`` says the types of inputs and outputs.
    """
    stats = made.stats
    text = f"{name}   {in_bytes(made.size)} · {stats['ops']} ops"
    if "operators" in stats:
        text += f" · {stats['int8_operators']}/{stats['operators']} INT8"
        if stats.get("per_channel") and stats["per_channel"] == stats["int8_compute"]:
            text += " per channel"
        text += f" · {borders}"
    text += f" · {stats['transposes']} transposes"
    return " · ".join([text, *map(str, made.changes)])


def verdict_text(found: FileVerdict) -> str:
    """Return the closing line of an artifact: its figures, and the judgement."""
    some = "" if found.pictures == found.of else f"{found.pictures} of "
    said = (
        figures_text(found.verdict),  # none where a value was not finite
        "" if found.boxes is None else found.boxes.short,
        f"{some}{counted(found.of, found.unit)}, {found.runtime}",
        judgement(found.verdict, integer=found.integer),
    )
    return " · ".join(filter(None, said))


def closing_lines(report: ExportReport, *, verbose: bool, quiet: bool) -> list[tuple[str, str]]:
    """Return what is printed after the stages, a head and a text a line.

    Warnings, notes, every figure if asked for, the verdict, the next command.
    """
    lines = [(WARNING, warning) for warning in report.warnings]
    lines += [] if quiet else [("note", note) for note in report.notes]
    if verbose:
        for artifact in report.artifacts:
            for (output, part), figures in artifact.verdict.verdict.places.items():
                text = " · ".join(f"{key} {show(key, value)}" for key, value in figures.items())
                place = ", ".join(filter(None, (output, part)))
                lines.append(("figures", f"{artifact.target} · {place} · {text}"))
    if report.departure is not None:
        lines.append(("DEPARTS", report.departure))
    if quiet:
        lines += [("verdict", f"{a.target} {verdict_text(a.verdict)}") for a in report.artifacts]
    lines += [("REFUSED", f"{target} · {reason}") for target, reason in report.refused.items()]
    lines.append(("verdict", _closing(report)))
    steps = (step for artifact in report.artifacts for step in artifact.advice)
    lines += [("try", step) for step in said_once(steps)]
    if not quiet:
        lines.append(("next", report.next_command))
    return lines


def _closing(report: ExportReport) -> str:
    missed = report.departure is not None or not all(a.verdict for a in report.artifacts)
    open_questions = any(a.verdict.verdict.doubts for a in report.artifacts)
    text = "nothing missed, not all decided" if open_questions else "all within budget"
    if missed:
        text = "a budget was missed"
    elif report.warnings:
        text += f", but {DOUBTED} (see above)"
    return f"{text}; not written: {', '.join(report.refused)}" if report.refused else text
