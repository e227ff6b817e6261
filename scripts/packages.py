"""What is installed, against what was: contents by hash, and licences.

    python scripts/packages.py check      # the installed packages hold what packages.lock says
    python scripts/packages.py pin        # write packages.lock
    python scripts/packages.py licences   # write docs/licences.md
    python scripts/packages.py versions   # print packages.lock as requirements, for `make audit`

A hash covers every file that a wheel brings, by the name and SHA-256 that it records, and ``check``
hashes the files again. It depends on no index and on no download: where a package comes from does
not matter. Wheels differ between systems, so another system or Python than the lock's is not checked.
"""

import base64
import hashlib
import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, LICENCES = ROOT / "packages.lock", ROOT / "docs" / "licences.md"
OURS = {"edgeconv", "edgeconv-demo"}
Distribution = importlib.metadata.Distribution


def here() -> str:
    """Return what the lock holds for: system, machine and Python."""
    return f"{platform.system()} {platform.machine()} Python {'.'.join(platform.python_version_tuple()[:2])}"


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[str]:
    """Return the requirements of pyproject.toml: the package's, its extras', the developers'."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = data["project"]
    return [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
        *(one for one in data["dependency-groups"]["dev"] if isinstance(one, str)),
    ]


def named(requirements: Iterable[str]) -> set[str]:
    """Return the names of requirements; what belongs to an extra of theirs is left out."""
    plain = [one for one in requirements if "extra ==" not in one]
    return {normal(re.split(r"[\s\[<>=!~;(]", one, maxsplit=1)[0]) for one in plain} - OURS


def installed() -> dict[str, Distribution]:
    """Return what pyproject.toml needs, directly or not, as far as it is installed, by name."""
    known = {normal(str(d.metadata["Name"])): d for d in importlib.metadata.distributions()}
    found: dict[str, Distribution] = {}
    waiting = named(required())
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting |= named(known[name].requires or ())
    return dict(sorted(found.items()))


def recorded(distribution: Distribution) -> Iterator[tuple[str, str]]:
    """Yield (name, SHA-256 in hex) of each file of the wheel; what the installer adds is left out."""
    for file in distribution.files or ():
        added = file.name in ("INSTALLER", "REQUESTED", "direct_url.json") or file.parts[0] == ".."
        if file.hash is not None and file.hash.mode == "sha256" and not added:
            yield file.as_posix(), base64.urlsafe_b64decode(file.hash.value + "==").hex()


def content(distribution: Distribution) -> str:
    """Return the hash of what a package holds."""
    lines = sorted(f"{name} {digest}\n" for name, digest in recorded(distribution))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def changed(distribution: Distribution) -> list[str]:
    """Return the installed files that are not what the package recorded."""
    found = []
    for name, digest in recorded(distribution):
        with Path(str(distribution.locate_file(name))).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                found.append(name)
    return found


def pinned(text: str) -> dict[str, tuple[str, str]]:
    """Return name -> (version, hash) of a lock; raises ValueError where a line is none."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: (version, digest) for name, version, digest in map(str.split, lines)}


def versions(text: str) -> str:
    """Return a lock as requirements, a line each; advisories know no local label (2.13.0+cpu)."""
    rows = pinned(text).items()
    return "\n".join(f"{name}=={version.partition('+')[0]}" for name, (version, _) in rows)


def lock() -> str:
    """Return the lock of this environment."""
    lines = [f"{name} {d.version} {content(d)}" for name, d in installed().items()]
    return "\n".join([f"# {here()}", "# python scripts/packages.py pin", *lines, ""])


def check(text: str) -> list[str]:
    """Return a sentence for each package that holds other contents than the lock says."""
    wanted, found = pinned(text), []
    for name, distribution in installed().items():
        version, digest = wanted.get(name, ("", ""))
        if distribution.version != version:
            print(f"{name} {distribution.version}: the lock has {version or 'no such package'}")
        elif content(distribution) != digest:
            found.append(f"{name} {version} is another wheel than the lock's")
        elif names := changed(distribution):
            found.append(f"{name} {version}: {names[0]} is not what the wheel holds")
    return found


def licence(distribution: Distribution) -> str:
    """Return a package's licence as it says itself."""
    every = distribution.metadata.get_all
    classified = [c.rpartition(" :: ")[2] for c in every("Classifier") or () if "License ::" in c]
    said = [*(every("License-Expression") or ()), "; ".join(classified), *(every("License") or ())]
    return " ".join(next(filter(None, said), "not said").split())[:110]


DATA = (
    ("demo/edgeconv_demo, calib_data", "Fashion-MNIST pictures", "MIT, copyright 2017 Zalando SE"),
    ("demo/edgeconv_demo", "weights of the four nets, trained on them by scripts/train.py", "Apache-2.0"),
    ("docs/zoo.jsonl", "figures of other people's nets; no net and no picture is kept", "Apache-2.0"),
)  # fmt: skip
"""Bundled data: where it lies, what it is, its licence."""


def licences() -> str:
    """Return docs/licences.md."""
    direct = named(required())
    rows = [
        f"| {name} | {'yes' if name in direct else ''} | {licence(distribution)} |"
        for name, distribution in installed().items()
    ]
    data = [f"| {place} | {what} | {said} |" for place, what, said in DATA]
    return "\n".join([
        "# Licences", "", "edgeconv is Apache-2.0. None of the packages below is part of its wheel:",
        "pip installs those that an extra asks for. `python scripts/packages.py licences` writes this page",
        f"from what they say themselves ({here()}).", "", "## Bundled data", "",
        "| where | what | licence |", "|---|---|---|", *data, "", "## Packages", "",
        "| package | named in pyproject.toml | licence |", "|---|---|---|", *rows, "",
    ])  # fmt: skip


def main(arguments: list[str]) -> int:
    """Do what is asked; 1 where a package is not what was pinned."""
    match arguments:
        case ["pin"]:
            LOCK.write_text(lock(), encoding="utf-8")
        case ["licences"]:
            LICENCES.write_text(licences(), encoding="utf-8")
        case ["versions"]:
            print(versions(LOCK.read_text(encoding="utf-8")))
        case ["check"]:
            text = LOCK.read_text(encoding="utf-8")
            if (made_for := text.splitlines()[0].removeprefix("# ")) != here():
                print(f"packages are not checked: the lock is for {made_for}")
                return 0
            problems = check(text)
            print("\n".join(problems) or f"{len(pinned(text))} packages hold what was pinned")
            return 1 if problems else 0
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
