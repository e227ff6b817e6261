"""A report back from its JSON: a board's, or an earlier one."""

from collections.abc import Mapping
from typing import Any

from edgeconv.bench.results import REPORT_VERSION, Report, Row
from edgeconv.bench.statistics import Interval, Ratio, Summary
from edgeconv.bench.watch import Mark, Sample
from edgeconv.errors import EdgeconvError
from edgeconv.machine import Cluster, Machine


def report_from_json(data: Mapping[str, Any]) -> Report:
    """Read what ``Report.to_json`` wrote. Raises EdgeconvError for anything else."""
    try:
        if data["edgeconv_bench"] != REPORT_VERSION:
            version = data["edgeconv_bench"]
            raise EdgeconvError(f"a report of version {version}, not {REPORT_VERSION}")
        skipped = ("edgeconv_bench", "trusted", "machine", "rows", "samples")
        rest = {key: value for key, value in data.items() if key not in skipped}
        return Report(
            **{**rest, **{key: tuple(rest[key]) for key in ("governors", "diagnosis", "regressions", "notes")}},
            machine=_machine(data["machine"]),
            rows=tuple(_row(row) for row in data["rows"]),
            samples=tuple(
                Sample(s["at"], tuple(s["clocks_mhz"]), s["temperature_c"], s["throttled"])
                for s in data["samples"]
            ),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise EdgeconvError(f"this is no report that bench wrote: {error}") from error


def _machine(data: Mapping[str, Any]) -> Machine:
    clusters = tuple(Cluster(tuple(c["cpus"]), c["core"], c["max_mhz"]) for c in data["clusters"])
    return Machine(**{**data, "clusters": clusters, "features": tuple(data["features"])})


def _interval(data: Mapping[str, Any] | None) -> Interval | None:
    return None if data is None else Interval(data["low"], data["high"])


def _ratio(data: Mapping[str, Any] | None) -> Ratio | None:
    return None if data is None else Ratio(data["value"], _interval(data["interval"]))


def _summary(data: Mapping[str, Any] | None) -> Summary | None:
    if data is None:
        return None
    intervals = {key: _interval(data[key]) for key in ("interval", "median_interval")}
    return Summary(**{**data, **intervals})


def _row(data: Mapping[str, Any]) -> Row:
    fields = {key: value for key, value in data.items() if key != "throughput"}
    fields |= {key: tuple(data[key]) for key in ("latencies_ms", "rounds_ms", "starts_s")}
    fields |= {key: _ratio(data[key]) for key in ("ratio", "cpu_ratio")}
    fields |= {"summary": _summary(data["summary"])}
    fields |= {"marks": tuple(Mark(m["code"], m["reason"]) for m in data["marks"])}
    return Row(**fields)
