"""``edgeconv bench --device``: the same bench on boards, one table and one set of files."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.errors import BudgetMissedError, EdgeconvError
from edgeconv.terminal import echo, print_json

if TYPE_CHECKING:
    from edgeconv.bench.results import Report
    from edgeconv.device.ssh import Connection

FORWARDED = ("threads", "runs", "seconds", "warmup", "runtime", "affinity", "sustained")


def forwarded(options: dict[str, Any]) -> list[str]:
    """Return bench's options as the board's command line takes them."""
    passed: list[str] = []
    for name in FORWARDED:
        if options[name] is not None:
            passed += [f"--{name}", str(options[name])]
    passed += [f"--{n}" for n in ("profile", "mlperf") if options[n]]
    passed += [] if options["xnnpack"] else ["--no-xnnpack"]
    return passed + [word for shape in options["shapes"] for word in ("--shape", shape)]


def on_devices(models: tuple[str, ...], options: dict[str, Any]) -> None:
    """Run on every --device at once, print one table, write what was asked for, set the exit code."""
    from edgeconv.cache import cache_dir
    from edgeconv.device.remote import bench_on, check_models, side_by_side
    from edgeconv.device.ssh import Connection, parse_host

    connections = [Connection(parse_host(text)) for text in options["devices"]]
    paths = [Path(model) for model in models]
    against = None if options["against"] is None else Path(options["against"])
    check_models([*paths, *([against] if against else [])])

    def say(text: str) -> None:
        if not options["quiet"]:
            echo(text, err=True)

    def work(connection: "Connection", stopping: threading.Event) -> "Report":
        return bench_on(connection, paths, forwarded(options), cache_dir(), say, stopping, against)

    results = side_by_side(connections, work)
    reports = [(name, found) for name, found in results if not isinstance(found, EdgeconvError)]
    if options["history"] is not None:
        from edgeconv.bench.history import keep

        reports = [(name, keep(r, options["history"], name)) for name, r in reports]
    _write(reports, options)
    _exit(reports, [error for _, error in results if isinstance(error, EdgeconvError)], options)


def _write(reports: "list[tuple[str, Report]]", options: dict[str, Any]) -> None:
    from edgeconv.bench.text import devices_to_csv, print_devices
    from edgeconv.files import write_text
    from edgeconv.tables import open_console

    if options["csv_file"] is not None:
        write_text(options["csv_file"], devices_to_csv(reports))
    if options["html_file"] is not None:
        from edgeconv.bench.html import devices_page

        write_text(options["html_file"], devices_page(reports))
    if options["as_json"]:
        print_json({name: report.to_json() for name, report in reports})
        return
    print_devices(reports, open_console())


def _exit(
    reports: "list[tuple[str, Report]]", failed: list[EdgeconvError], options: dict[str, Any]
) -> None:
    for error in failed:
        echo(f"Error: {error}", err=True)
    if any(report.partial for _, report in reports):
        raise SystemExit(130)
    regressed = [i["sentence"] for _, r in reports for i in r.regressions if i["regressed"]]
    if regressed:
        raise BudgetMissedError(regressed[0])
    if failed or any(row.error is not None for _, r in reports for row in r.rows):
        raise SystemExit(1)
    if options["strict"] and not all(report.trusted for _, report in reports):
        raise BudgetMissedError("--strict: not every row can be trusted, see its marks")
