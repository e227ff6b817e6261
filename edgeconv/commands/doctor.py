"""``edgeconv doctor``: print what edgeconv.doctor.examine found."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgeconv.defaults import find_defaults
from edgeconv.doctor import Examination, examine
from edgeconv.terminal import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def command(as_json: bool) -> None:
    """Say which runtimes and converters are installed and what each missing one adds.

    Also what this machine's processor has, and where the cache is.
    """
    found = examine()
    defaults = find_defaults(Path())
    if as_json:
        told = (
            None if defaults is None else {"file": str(defaults[0]), "options": _plain(defaults[1])}
        )
        print_json({**found.to_json(), "defaults": told})
        return
    _show(found, defaults)


def _plain(tables: Mapping[str, Any]) -> Any:
    """Return TOML's tables as JSON has them: dates and times as text."""
    return json.loads(json.dumps(tables, default=str))


def _show(found: Examination, defaults: tuple[Path, Mapping[str, Any]] | None) -> None:
    from edgeconv.tables import Column, open_console, print_facts, print_table

    machine, console = found.machine, open_console()
    facts = [
        ("edgeconv", f"{found.edgeconv}, Python {machine.python}, {machine.architecture}"),
        ("machine", ", ".join(filter(None, [machine.board, machine.system]))),
        ("processor", f"{machine.processor}, {machine.cpus} processors"),
        ("features", ", ".join(machine.features) or "none of those that matter"),
        ("INT8", found.int8),
    ]
    if machine.memory_mib is not None:
        facts.append(("memory", f"{machine.memory_mib} MiB"))
    facts.append(("cache", str(found.cache)))
    if defaults is not None:
        path, tables = defaults
        facts.append(("defaults", f"{path}: {json.dumps(_plain(tables), ensure_ascii=False)}"))
    print_facts(console, facts)
    columns = [
        Column("package"),
        *(Column(t, named=False) for t in ("version", "what it adds", "")),
    ]
    rows, styles = list[list[str]](), list[str | None]()
    for finding in found.findings:
        note = finding.problem or ("" if finding.version else finding.pip)
        rows.append([finding.name, finding.version or "missing", finding.adds, note])
        styles.append("yellow" if finding.problem and finding.version else None)
    console.print()
    print_table(console, columns, rows, styles, keys=2)
