"""Every extra in an environment of its own: ``python scripts/try_extras.py`` prints a Markdown table.

The wheels of this commit are built; for each extra of pyproject.toml, and for none, a new virtual
environment gets the wheel with that extra, and in an empty folder ``edgeconv --help`` and ``edgeconv
doctor`` are run. Disk is what pip added, without what Python compiles for itself. Where an extra needs
torch, pip is asked for ``--torch`` too: a version whose CPU build it finds.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import build_wheels
import click
from make_device_costs import markdown, size_mb

ROOT = Path(__file__).resolve().parents[1]
TITLES = ["extra", "MB on disk", "pip", "doctor finds", "problems"]


def needs_torch(extra: str) -> bool:
    """Whether ``extra`` of pyproject.toml brings torch along.

    >>> needs_torch("all"), needs_torch("tflite")
    (True, False)
    """
    listed = _project()["optional-dependencies"].get(extra, [])
    names = ",".join(re.findall(r"edgeconv\[(.*?)\]", " ".join(listed))).split(",")
    return any(word.startswith("torch") for word in listed) or "torch" in names


def _project() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project)


def extras() -> list[str]:
    """Return "" and every extra of pyproject.toml, in its order."""
    return ["", *_project()["optional-dependencies"]]


def told(doctor: Mapping[str, Any]) -> tuple[str, str]:
    """Return what ``doctor --json`` says is there, and what it says is broken.

    >>> told({"packages": [{"name": "onnx", "version": "1.2", "problem": None}]})
    ('onnx 1.2', 'none')
    """
    there = [f"{p['name']} {p['version']}" for p in doctor["packages"] if p["version"]]
    broken = [f"{p['name']}: {p['problem']}" for p in doctor["packages"] if p["problem"]]
    return ", ".join(there) or "nothing", "; ".join(broken) or "none"


def run(words: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder``, whatever it exits with."""
    return subprocess.run(words, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def attempt(python: str, extra: str, wheels: Path, folder: Path, first: str) -> list[str]:
    """Return the row of ``extra``: what pip added, took and checked, and what doctor says of it."""
    name = f"edgeconv[{extra}]" if extra else "edgeconv"
    bin_folder = folder / "venv" / "bin"
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    before, start = size_mb(site), time.monotonic()
    pip: list[str | Path] = [bin_folder / "python", "-m", "pip"]
    wheel = next(wheels.glob("edgeconv-*.whl"))
    asked = f"{wheel}[{extra}]" if extra else str(wheel)
    install = [*pip, "install", "-q", "--no-compile", "--find-links", wheels]
    done = run([*install, *([first] if needs_torch(extra) else []), asked], folder)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["failed"])[-1].removeprefix("ERROR: ")
        return [name, "-", f"refused: {why}", "-", "-"]
    seconds, megabytes = time.monotonic() - start, size_mb(site) - before
    checked = run([*pip, "check"], folder)
    consistent = "consistent" if checked.returncode == 0 else checked.stdout.strip().splitlines()[0]
    shown = run([bin_folder / "edgeconv", "--help"], folder)
    doctor = run([bin_folder / "edgeconv", "doctor", "--json"], folder)
    if shown.returncode or doctor.returncode:
        words = (shown.stderr + doctor.stderr).strip().splitlines()
        return [name, f"{megabytes:.0f}", consistent, "-", (words or ["failed"])[-1]]
    there, broken = told(json.loads(doctor.stdout))
    return [name, f"{megabytes:.0f}", f"{consistent}, {seconds:.0f} s", there, broken]


@click.command(help=__doc__)
@click.option("--python", default=sys.executable, help="Whose environments.")
@click.option("--only", multiple=True, help='Extras instead of all; "" is none.')
@click.option("--torch", "first", default="torch", help="What pip is asked for beside it.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave the last environment here.")
def main(python: str, only: tuple[str, ...], first: str, keep: Path | None) -> None:
    """Print the table."""
    said = run([python, "-c", "import platform; print(platform.python_version())"], Path.cwd())
    click.echo(f"Python {said.stdout.strip()}\n")
    click.echo(markdown(TITLES, []))
    with tempfile.TemporaryDirectory(prefix="edgeconv-extras-") as name:
        scratch = Path(name)
        build_wheels.build(scratch / "wheels")
        for extra in only or extras():
            place = scratch / "extra"
            place.mkdir()
            row = attempt(python, extra, scratch / "wheels", place, first)
            click.echo("| " + " | ".join(row) + " |")
            if keep is not None:
                shutil.rmtree(keep, ignore_errors=True)
                shutil.move(place, keep)
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
