"""A report back from its JSON: a board's, or an earlier one."""

from collections.abc import Mapping
from typing import Any

from edgeconv.bench.results import REPORT_VERSION, Report, Row
from edgeconv.bench.statistics import Interval, Ratio, Summary
from edgeconv.bench.watch import Mark, Sample
from edgeconv.errors import EdgeconvError
from edgeconv.machine import Cluster, Machine
from edgeconv.schema import (
    anything,
    as_long,
    checked,
    either,
    flag,
    items,
    mapping,
    maybe,
    number,
    table,
    text,
    whole,
)

REAL, TIME = number(), maybe(number(low=0.0, high=1e12))
INTERVAL = maybe(table({"low": REAL, "high": REAL}))
RATIO = maybe(table({"value": REAL, "interval": INTERVAL}))
TIMES = items(number(low=0.0, high=1e12))

SUMMARY = table(
    {
        "count": whole(1),
        "effective": REAL,
        **dict.fromkeys(("minimum", "median", "mean"), number(above=0.0, high=1e12)),
        **dict.fromkeys(("interval", "median_interval"), INTERVAL),
        **dict.fromkeys(("p90", "p95", "p99"), TIME),
        "variation": REAL,
    },
    closed=True,
)

CURVE = table({"at_s": TIMES, "medians_ms": TIMES, "retention": REAL})

ROW = table(
    {
        **dict.fromkeys(("label", "runtime", "version"), text),
        "threads": whole(0, 1 << 20),
        "summary": maybe(SUMMARY),
        **dict.fromkeys(("latencies_ms", "rounds_ms", "starts_s"), TIMES),
        **dict.fromkeys(("ratio", "cpu_ratio"), RATIO),
        "marks": items(table({"code": text, "reason": text})),
        "about": table(
            {},
            {
                "bytes": maybe(whole(0)),
                "sha256": maybe(text),
                "precision": maybe(text),
                "accuracy": maybe(mapping(either(REAL, maybe(items(REAL))))),
            },
        ),
        "error": maybe(text),
    },
    {
        "threads_ran": maybe(whole(0)),
        "warmup_runs": whole(0),
        **dict.fromkeys(
            ("import_ms", "load_ms", "first_ms", "cpu_ms", "peak_mib", "base_mib", "arena_mib"),
            TIME,
        ),
        "delegation": maybe(mapping(anything)),
        "providers": maybe(items(text)),
        "inputs": items(mapping(anything)),
    },
)

MACHINE = table(
    {
        **dict.fromkeys(("processor", "architecture", "system", "kernel", "python"), text),
        **dict.fromkeys(("board", "container"), maybe(text)),
        "cpus": whole(0),
        "cpus_usable": REAL,
        "clusters": items(table({"cpus": items(whole()), "core": text, "max_mhz": TIME})),
        "features": items(text),
        "memory_mib": maybe(whole(0)),
        **dict.fromkeys(("hypervisor", "emulated"), flag),
    },
    closed=True,
)

REPORT = table(
    {
        "edgeconv": text,
        "started": number(low=0.0, high=1e11),
        "machine": MACHINE,
        "versions": mapping(maybe(text)),
        "settings": mapping(anything),
        "rows": items(as_long(ROW, "rounds_ms", "starts_s")),
        "samples": items(
            table(
                {
                    "at": REAL,
                    "clocks_mhz": items(REAL),
                    "temperature_c": maybe(REAL),
                    "throttled": maybe(whole(0)),
                }
            )
        ),
        **dict.fromkeys(("governors", "notes"), items(text)),
        "references": mapping(text),
        "partial": flag,
        "diagnosis": items(
            table(
                {
                    "verdict": text,
                    "causes": items(table({"code": text, "sentence": text, "cure": maybe(text)})),
                }
            )
        ),
        "regressions": items(table({"sentence": text, "regressed": flag})),
        "sustained": mapping(
            either(
                table({"error": text}),
                as_long(CURVE, "at_s", "medians_ms"),
            )
        ),
        "profile": mapping(mapping(anything)),
    },
    {"load_before": maybe(REAL)},
)
"""What a report must hold: a board's, or one of the history."""


def report_from_json(data: Mapping[str, Any]) -> Report:
    """Read what ``Report.to_json`` wrote. Raises EdgeconvError for anything else."""
    ours = "this is no report that bench wrote"
    version = checked(data, table({"edgeconv_bench": anything}), ours)["edgeconv_bench"]
    if version != REPORT_VERSION:
        raise EdgeconvError(f"a report of version {version}, not {REPORT_VERSION}")
    data = checked(data, REPORT, ours)
    try:
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
        raise EdgeconvError(f"{ours}: {error}") from error


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
