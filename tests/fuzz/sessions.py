"""A session on a board that somebody ends or hinders: ``fuzz.faults --session``.

An ``ssh`` of ours runs on this machine what it is given, with a home of its own, so that the calls of both
sides are counted and hindered. The board's wheel is an empty one: its Python has the runtimes. What it compiles is
kept elsewhere, by its bytes: a session is quicker, and the calls are those of a Python that writes nothing down.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuzz.boards import equip
from fuzz.commands import end_children
from fuzz.exports import Export

BENCH = (
    "bench {base}/fp32/tiny_fp32.onnx --device ssh://pi@board.test --runs 2 --warmup 0 --no-reference"
    " --json"
)
SSH = """#!/bin/sh
HOME={work}/board; export HOME; unset XDG_CACHE_HOME EDGECONV_CACHE
for last; do :; done
eval "$last"
"""
PYTHON = """#!/bin/sh
PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{site}"; export PYTHONPATH
exec "{python}" -B "$@"
"""
COMPILED = """
import hashlib, marshal, os, sys
from importlib.machinery import SourceFileLoader

KEPT = {site!r}
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
plain = SourceFileLoader.get_code

def get_code(loader, name):
    path = loader.get_filename(name)
    if "edgeconv-device/src-" not in path:
        return plain(loader, name)
    data = loader.get_data(path)
    kept = os.path.join(KEPT, hashlib.sha256(path.encode() + data).hexdigest())
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError, TypeError):
        code = loader.source_to_code(data, path)
    with open(kept + str(os.getpid()), "wb") as file:
        marshal.dump(code, file)
    os.replace(kept + str(os.getpid()), kept)
    return code

SourceFileLoader.get_code = get_code
"""
"""The board's sitecustomize. A checkout that is installed here lends it nothing that was not copied."""


@dataclass(frozen=True)
class Session(Export):
    """``words`` is a command line that works on ssh://pi@board.test; it writes no files here."""

    @property
    def board(self) -> Path:
        """The folder there that everything of ours lies below."""
        return self.work / "board" / ".cache" / "edgeconv-device"

    def fresh(self, old: Path | None) -> None:
        """Make ``work`` anew: the board's tools and an empty home, and wheels found earlier."""
        super().fresh(old)
        (self.work / "board").mkdir()
        equip(self.work, SSH.format(work=self.work))
        site = self.work.with_name("site")
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(COMPILED.format(site=str(site)))
        (self.work / "tools" / "python3").write_text(
            PYTHON.format(site=site, python=sys.executable)
        )

    def start(self, *more: str) -> int:
        """Start it as an export is started, with the board's tools in front."""
        before = os.environ["PATH"]
        os.environ["PATH"] = self.path
        try:
            return super().start(*more)
        finally:
            os.environ["PATH"] = before

    @property
    def path(self) -> str:
        """PATH with the board's tools in front."""
        return f"{self.work}/tools:{os.environ['PATH']}"

    def lying(self) -> list[Path]:
        """Of jobs only that there are some: no later session looks into them within a day."""
        jobs = self.board / "jobs"
        return [path for path in super().lying() if path.parent == jobs or jobs not in path.parents]

    def _called(self, path: Path) -> str:
        called = super()._called(path)
        return "a job" if path.parent == self.board / "jobs" else called

    def ask(self) -> None:
        """Take a session's first step, which removes what is half there."""
        from edgeconv.device.board import ASK, BASE

        subprocess.run([self.work / "tools" / "ssh", f"python3 - {BASE}"], input=ASK.encode(),
                       capture_output=True, env={**os.environ, "PATH": self.path})  # fmt: skip

    def after(self, whole: dict[str, str], old: dict[str, str], *more: str) -> list[str]:
        """Return what is wrong after an end: the same command fails, something half is left there or here.

        Where a session's first step makes of the disk what another case found, the rest is not done once more.
        """
        end_children()
        self.ask()
        before = self.state()
        if before in self.sound:
            return []
        faults = []
        code, said = self.run()
        if code != 0:
            faults.append(f"rerun: the same command ends with {code}: {said.strip()[-120:]}")
        said = (self.work / ".out").read_text()
        rows = next(iter(json.loads(said).values()))["rows"] if code == 0 else []
        if code == 0 and (not rows or any(row.get("error") for row in rows)):
            faults.append("rerun: a row without a figure")
        half = [path.name for path in self.board.rglob("*.part.*")]
        if half:
            faults.append(f"left behind: {half[0].partition('.part.')[0][:12]} on the board")
        faults += self.left()
        if not faults:
            self.sound.add(before)
        return faults
