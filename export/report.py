"""What an export did, as data, as stage lines and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.export.options import ExportOptions
from edgeconv.export.verify import Verdict


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
    verdict: Verdict


@dataclass
class ExportReport:
    """Everything ``edgeconv export`` prints. Truthy where every artifact is within its budget."""

    options: ExportOptions
    stages: list[StageLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    artifacts: list[ArtifactReport] = field(default_factory=list)
    departure: str | None = None
    next_command: str = ""

    def __bool__(self) -> bool:
        return self.departure is None and all(a.verdict for a in self.artifacts)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "net": self.options.net,
            "precision": self.options.precision,
            "ok": bool(self),
            "departure": self.departure,
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
                }
                for a in self.artifacts
            ],
            "next": self.next_command,
        }


def artifact_text(name: str, size: int, stats: Mapping[str, Any], borders: str) -> str:
    """Return the line of an emitted file: name, size in bytes, operators, INT8 count, transposes.

    ``borders`` says the types of inputs and outputs.
    """
    text = f"{name}   {size / 1e6:.1f} MB · {stats['ops']} ops"
    if stats.get("int8_compute"):
        text += f" · {stats['int8_compute']}/{stats['compute']} INT8"
        if stats.get("per_channel") == stats["int8_compute"]:
            text += " per channel"
        text += f" · {borders}"
    text += f" · {stats['transposes']} transposes"
    return " · ".join([text, *stats.get("rewrites", ())])


def verdict_text(verdict: Verdict) -> str:
    """Return the closing line of an artifact: figures of its first output, and the judgement."""
    first = verdict.figures[0]
    parts = []
    if first.agreement is not None and first.agreement_interval is not None:
        low, high = first.agreement_interval
        parts.append(
            f"top-1 agreement with float {100 * first.agreement:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]"
        )
    if first.top1 is not None and first.top1_float is not None:
        parts.append(f"top-1 {100 * first.top1:.1f} % (float {100 * first.top1_float:.1f} %)")
    parts.append(f"SQNR {first.sqnr_db:.1f} dB")
    parts.append(f"max error {first.max_abs_error:.2g}")
    parts.append(f"{verdict.pictures} pictures, {verdict.runtime}")
    parts.append("within budget" if verdict else f"MISSED: {verdict.missed}")
    return " · ".join(parts)


def closing_lines(report: ExportReport, *, verbose: bool, quiet: bool) -> list[tuple[str, str]]:
    """Return what is printed after the stages, a head and a text a line.

    Notes, every figure if asked for, the verdict, the next command.
    """
    lines = [] if quiet else [("note", note) for note in report.notes]
    if verbose:
        for artifact in report.artifacts:
            for figures in artifact.verdict.figures:
                shown = {k: v for k, v in figures.to_json().items() if v is not None}
                text = " · ".join(f"{key} {_number(value)}" for key, value in shown.items())
                lines.append(("figures", f"{artifact.target} · {text}"))
    if report.departure is not None:
        lines.append(("DEPARTS", report.departure))
    if quiet:
        lines += [("verdict", f"{a.target} {verdict_text(a.verdict)}") for a in report.artifacts]
    lines.append(("verdict", "all within budget" if report else "a budget was missed"))
    if not quiet:
        lines.append(("next", report.next_command))
    return lines


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_number(item) for item in value) + "]"
    return str(value)
