"""A session on a board that somebody ends or hinders: ``fuzz.faults --session``.

An ``ssh`` of ours runs on this machine what it is given, with a home of its own, so that the calls of both
sides are counted and hindered. The board's wheel is an empty one: its Python has the runtimes.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fuzz.boards import equip
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

    def start(self, *more: str) -> int:
        """Start it as an export is started, with the board's tools in front."""
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{self.work}/tools:{before}"
        try:
            return super().start(*more)
        finally:
            os.environ["PATH"] = before

    def after(self, whole: dict[str, str], old: dict[str, str], *more: str) -> list[str]:
        """Return what is wrong after an end: the same command fails, something half is left there or here."""
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
        return faults + self.left()
