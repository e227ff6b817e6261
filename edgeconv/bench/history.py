"""Earlier results in a folder, and whether today's differ from them by more than they differ among themselves."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv.bench.read import report_from_json
from edgeconv.bench.results import REPORT_VERSION, Report, Row
from edgeconv.bench.statistics import student_t
from edgeconv.errors import EdgeconvError
from edgeconv.files import write_text
from edgeconv.schema import anything, checked, read_json, table
from edgeconv.terminal import counted

MIN_EARLIER = 3
MIN_CHANGE = 0.03
"""A change below this is not worth a report, however certain."""

FLOOR = 0.01
"""Least spread between repeats that is believed, in logs: three equal results prove nothing."""


def keep(report: Report, folder: Path, device: str | None = None) -> Report:
    """Compare ``report`` with the earlier results in ``folder``, then add it to them.

    Only rows of the same file (by hash, else label), runtime, version, threads, processor and
    ``device`` (user@host; None: this machine) are compared, and only those that no mark spoils.
    Raises EdgeconvError where the folder cannot be read or written.
    """
    if report.machine.emulated or report.partial:
        return report
    if device is not None:
        report = replace(report, settings={**report.settings, "device": device})
    earlier = list(_earlier(folder))
    found = [_judge(row, report, earlier) for row in report.rows if row.summary is not None]
    names = [int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdecimal()]
    target = folder / f"{max(names, default=0) + 1:06d}.json"
    judged = replace(report, regressions=tuple(found))
    write_text(target, json.dumps(judged.to_json()) + "\n")
    return judged


def _earlier(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("[0-9]*.json")):
        data = read_json(path, "a result that bench wrote", "; remove it")
        known = checked(data, table({"edgeconv_bench": anything}), str(path))
        if known["edgeconv_bench"] == REPORT_VERSION:
            try:
                report_from_json(data)
            except EdgeconvError as error:
                raise EdgeconvError(f"{path}: {error}; remove it") from error
            yield data


def key(row: dict[str, Any], data: Mapping[str, Any]) -> tuple[Any, ...]:
    """What has to be equal for two rows, each of a report's JSON ``data``, to be repeats."""
    name = row["about"].get("sha256") or row["label"]
    where = (data["machine"]["processor"], data["settings"].get("device"))
    return (name, row["runtime"], row["version"], row["threads"], *where)


def _judge(row: Row, report: Report, earlier: Sequence[dict[str, Any]]) -> dict[str, Any]:
    here = {"machine": {"processor": report.machine.processor}, "settings": report.settings}
    mine = key(row.to_json(False), here)
    repeats = [
        old for data in earlier for old in data["rows"] if key(old, data) == mine and old["summary"]
    ]
    medians = [old["summary"]["median"] for old in repeats if not old["marks"]]
    result: dict[str, Any] = {"row": row.label, "earlier": len(medians), "regressed": False}
    if row.summary is None or len(medians) < MIN_EARLIER:
        return {**result, "sentence": f"{row.label}: {_too_few(len(medians), len(repeats))}"}
    if row.marks:
        reason = row.marks[0].reason
        return {**result, "sentence": f"{row.label}: not compared with earlier results ({reason})"}
    change, limit = compare(row.summary.median, medians)
    result |= {"change": change, "limit": limit, "regressed": change > 1 + limit}
    usual = math.exp(sum(map(math.log, medians)) / len(medians))
    verb = "slower" if change > 1 else "faster"
    percent = 100 * abs(change - 1)
    if abs(math.log(change)) > math.log1p(limit):
        sentence = f"{row.label} is {percent:.0f} % {verb} than the {len(medians)} earlier results"
    else:
        sentence = f"{row.label} is within the noise of the {len(medians)} earlier results"
    sentence += f" ({row.summary.median:.3f} ms, usually {usual:.3f}; noise {100 * limit:.0f} %)"
    return {**result, "sentence": sentence}


def _too_few(usable: int, there: int) -> str:
    """Say why ``usable`` of the ``there`` earlier results are not enough.

    >>> _too_few(0, 3)
    '3 earlier results, 3 marked as not to be trusted: 3 usable ones are needed to judge'
    """
    text = counted(there, "earlier result")
    if there > usable:
        text += f", {there - usable} marked as not to be trusted"
    return f"{text}: {MIN_EARLIER} usable ones are needed to judge"


def compare(now: float, earlier: Sequence[float]) -> tuple[float, float]:
    """Return (now over the earlier geometric mean, the relative change that noise explains at 99 %).

    The noise is a prediction interval of Student's t from the spread of the earlier results in
    logs: how far a further result of the same kind may lie.
    """
    logs = [math.log(value) for value in earlier]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((v - mean) ** 2 for v in logs) / (len(logs) - 1))
    reach = student_t(0.995, len(logs) - 1) * max(spread, FLOOR) * math.sqrt(1 + 1 / len(logs))
    return now / math.exp(mean), max(MIN_CHANGE, math.expm1(reach))
