"""What each runtime costs where it is installed: ``python scripts/make_runtime_costs.py`` prints a table.

Disk: its packages and all that they need, as they lie here, without what Python compiles for itself. Import and
memory: a process of its own that imports it, the least of five.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

import click
from make_device_costs import PROBE, markdown, run
from packaging.requirements import Requirement

from edgeconv.runtimes.table import RUNTIMES, Runtime


def closure(names: tuple[str, ...]) -> set[str]:
    """Return the distributions that ``names`` need here, themselves included, of those that are installed."""
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop().lower().replace("_", "-")
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        if name in found:
            continue
        found.add(name)
        asked = [Requirement(text) for text in needs]
        open_names += [
            r.name for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})
        ]
    return found


def megabytes(names: set[str]) -> float:
    """Return what the files of distributions take."""
    files = {Path(str(f.locate())) for name in names for f in metadata.files(name) or ()}
    return sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file()) / 1e6


def cost(row: Runtime, repeats: int = 5) -> list[str]:
    """Return runtime, extra, version, MB, and seconds and MiB of its import."""
    packages = tuple(Requirement(package).name for package in row.packages)
    said = [json.loads(run([sys.executable, "-c", PROBE, row.imports])) for _ in range(repeats)]
    seconds, memory = min(s["cpu_s"] for s in said), min(s["mib"] for s in said)
    size = megabytes(closure(packages))
    version = metadata.version(packages[0])
    return [row.name, f"[{row.extra}]", version, f"{size:.0f}", f"{seconds:.2f}", f"{memory:.0f}"]


def here() -> list[Runtime]:
    """Return the runtimes whose packages lie here; one that only another Python has is not of this one."""
    return [row for row in RUNTIMES.values() if row.installed() and row.packages and not row.apart]


@click.command(help=__doc__)
def main() -> None:
    """Print the table."""
    titles = ["runtime", "extra", "version", "MB", "import, s of processor time", "MiB of memory"]
    click.echo(markdown(titles, [cost(row) for row in here()]))


if __name__ == "__main__":
    main()
