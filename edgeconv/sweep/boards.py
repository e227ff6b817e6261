"""Timing a cell on a board over SSH."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def bench_there(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the bench of ``spec`` on its board (ssh://...) and return the report as JSON data."""
    from edgeconv.cache import cache_dir
    from edgeconv.device.remote import bench_on
    from edgeconv.device.ssh import Connection, parse_host

    options = ["--threads", str(spec["threads"]), "--seconds", str(spec["seconds"])]
    connection = Connection(parse_host(spec["board"]))
    report = bench_on(connection, [Path(spec["file"])], options, cache_dir(), lambda _text: None)
    data: Mapping[str, Any] = report.to_json()
    return data
