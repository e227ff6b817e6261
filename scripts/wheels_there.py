"""For which systems and Pythons an extra's wheels exist: ``python scripts/wheels_there.py`` prints a Markdown table.

pip is asked, over the network, which versions of each package of pyproject.toml it would take there as a wheel
(``pip index versions --only-binary :all: --platform ... --python-version ...``); nothing is downloaded.
Markers decide what an extra asks for there, and what it leaves out is named; packages that those packages need are
not looked at.
"""

import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from make_device_costs import markdown
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GLIBC = 36
"""Debian 12's, and Raspberry Pi OS's of that age: manylinux up to 2.36."""


def _linux(machine: str) -> tuple[str, ...]:
    newer = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    return (*newer, *(f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")))


PLATFORMS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "Linux x86-64": ("linux", "x86_64", _linux("x86_64")),
    "Linux aarch64": ("linux", "aarch64", _linux("aarch64")),
    "macOS arm64": ("darwin", "arm64", ("macosx_15_0_arm64",)),
    "Windows x86-64": ("win32", "AMD64", ("win_amd64",)),
}
"""Title -> sys_platform, platform_machine and the tags of wheels."""


def requirements(extra: str, python: str, platform: str) -> Iterator[tuple[Requirement, bool]]:
    """Yield each requirement of ``extra`` ("" is the bare install), and whether its marker asks for it there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    system, machine, _ = PLATFORMS[platform]
    words = {"python_version": python, "sys_platform": system, "platform_machine": machine}
    for line in project["optional-dependencies"][extra] if extra else project["dependencies"]:
        found = Requirement(line)
        if found.name == "edgeconv":
            for inner in sorted(found.extras):
                yield from requirements(inner, python, platform)
        elif not found.name.startswith("edgeconv-"):  # built from this repository, for any system
            yield found, found.marker is None or found.marker.evaluate(words)


@functools.cache
def newest(package: str, python: str, platform: str) -> tuple[str, ...]:
    """Return the versions that pip would take as a wheel, the newest first."""
    tags = [word for tag in PLATFORMS[platform][2] for word in ("--platform", tag)]
    asked = [sys.executable, "-m", "pip", "index", "versions", package, "--pre", *tags]
    asked += ["--python-version", python, "--implementation", "cp", "--only-binary", ":all:"]
    done = subprocess.run(asked, capture_output=True, encoding="utf-8", check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    if found is None and "No matching distribution" not in done.stderr:
        raise click.ClickException((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])
    return () if found is None else tuple(found[1].split(", "))


def lacks(extra: str, python: str, platform: str) -> str:
    """Return which packages of ``extra`` it leaves out there, and which have no wheel of a version that it takes."""
    listed = list(requirements(extra, python, platform))
    left = [found.name for found, asked in listed if not asked]
    without = [
        found.name
        for found, asked in listed
        if asked
        and not any(found.specifier.contains(v) for v in newest(found.name, python, platform))
    ]
    said = [f"{', '.join(without)}: no wheel"] if without else []
    return "; ".join([*said, f"without {', '.join(left)}"] if left else said)


def cell(extra: str, platform: str) -> str:
    """Return the Pythons on which all of an extra's packages have wheels, and what the others lack."""
    without: dict[str, list[str]] = {}
    for python in PYTHONS:
        without.setdefault(lacks(extra, python, platform), []).append(python)
    return "; ".join(f"{span(pythons)} {said}".rstrip() for said, pythons in without.items())


def span(pythons: Sequence[str]) -> str:
    """Return versions that follow each other in one word.

    >>> span(["3.11", "3.12", "3.13"]), span(["3.14"]), span([])
    ('3.11 to 3.13', '3.14', '')
    """
    return f"{pythons[0]} to {pythons[-1]}" if len(pythons) > 1 else "".join(pythons)


@click.command(help=__doc__)
@click.option("--only", multiple=True, help='Extras instead of all; "" is none.')
def main(only: tuple[str, ...]) -> None:
    """Print the table."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = []
    for extra in only or ["", *project["optional-dependencies"]]:
        cells = [cell(extra, platform) for platform in PLATFORMS]
        rows.append([f"edgeconv[{extra}]" if extra else "edgeconv", *cells])
    click.echo(markdown(["extra", *PLATFORMS], rows))


if __name__ == "__main__":
    main()
