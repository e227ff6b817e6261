"""Timing a cell on a board over SSH."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError


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


def check_board(text: str) -> None:
    """Raise UsageError naming --device where ``text`` is no board."""
    from edgeconv.device.ssh import parse_host

    try:
        parse_host(text)
    except UsageError as error:
        raise UsageError(f"--device: {error}") from None
