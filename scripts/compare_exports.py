"""Compare every form of every net with another commit's: ``python scripts/compare_exports.py [COMMIT]``.

Without COMMIT: the parent of HEAD. Both run here, one after the other, with the packages installed
here; each writes its own tests/export_forms.py. Exit code 1 where a file differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]


def hashes(tree: Path, into: Path) -> dict[str, str]:
    """Return name -> hash of the files that the code in ``tree`` writes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "tests")])}
    command = [sys.executable, str(tree / "tests" / "export_forms.py"), str(into)]
    subprocess.run(command, cwd=tree, env=environment, check=True)
    found: dict[str, str] = json.loads(into.read_text(encoding="utf-8"))
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return a line for every file that is not in both with the same bytes."""
    words = {name: "is new" for name in after.keys() - before.keys()}
    words |= {name: "is gone" for name in before.keys() - after.keys()}
    words |= {n: "has other bytes" for n in before.keys() & after.keys() if before[n] != after[n]}
    return [f"{name} {word}" for name, word in sorted(words.items())]


@click.command()
@click.argument("commit", default="HEAD^")
def main(commit: str) -> None:
    """Export with this tree and with COMMIT, and compare file by file."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(tree), commit], check=True)
        try:
            before = hashes(tree, Path(folder, "before.json"))
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        after = hashes(ROOT, Path(folder, "after.json"))
    lines = differences(before, after)
    same = sum(after.get(name) == value for name, value in before.items())
    click.echo("\n".join([*lines, f"{same} of {len(after)} files are the same to the byte"]))
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
