"""Build wheels and sdists of this commit; the wheels are the same bytes wherever and whenever.

    python scripts/build_wheels.py --outdir dist [--twice]

What is built is what git has, with git's modes and the commit's time: neither the umask nor the time of
a checkout is in a wheel. ``--twice`` builds again in another folder, with another umask, and compares.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (".", "demo")


def build(outdir: Path, projects: Sequence[str] = PROJECTS) -> None:
    """Build ``projects`` of the commit into ``outdir``."""
    git = ["git", "-C", str(ROOT)]
    committed = subprocess.run(
        [*git, "log", "-1", "--format=%ct"],
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": committed.stdout.strip()}
    builder = [sys.executable, "-m", "build", "-q"]
    if _setuptools() >= 77:  # the one that is here, not the newest there is
        builder.append("--no-isolation")
    with tempfile.TemporaryDirectory(prefix="build-") as folder:
        tree = Path(folder, "tree")
        tree.mkdir()
        packed = subprocess.run([*git, "archive", "HEAD"], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=packed, check=True)
        for path in tree.rglob("*"):  # the modes that git knows, whatever tar made of the umask
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        for project in projects:
            built = subprocess.run(
                [*builder, "--outdir", str(outdir.absolute()), project],
                cwd=tree, env=environment, umask=0o022, capture_output=True, encoding="utf-8",
            )  # fmt: skip
            if built.returncode:
                raise SystemExit(f"{project} cannot be built:\n{built.stdout}{built.stderr}")


def _setuptools() -> int:
    """Return the version of setuptools here, 0 where there is none."""
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


def hashes(folder: Path) -> dict[str, str]:
    """Return the wheels of a folder by their SHA-256."""
    wheels = sorted(folder.glob("*.whl"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}


def main(arguments: list[str]) -> int:
    """Build, and print each wheel with its hash; 1 where a second build differs."""
    parser = argparse.ArgumentParser(prog="build_wheels", description=__doc__)
    parser.add_argument("--outdir", type=Path, default=Path("dist"))
    parser.add_argument("--twice", action="store_true")
    asked = parser.parse_args(arguments)
    shutil.rmtree(asked.outdir, ignore_errors=True)
    build(asked.outdir)
    found = hashes(asked.outdir)
    for name, digest in found.items():
        print(f"{digest}  {name}")
    if not asked.twice:
        return 0
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        os.umask(0o077)
        build(Path(folder))
        again = hashes(Path(folder))
    differ = sorted(name for name in found if found[name] != again.get(name))
    print(f"built twice: {', '.join(differ)} differ" if differ else "built twice: the same bytes")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
