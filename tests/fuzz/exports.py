"""One export in a fork that somebody ends or hinders, and what must hold afterwards."""

import hashlib
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.harness import child, limit_s, wait
from fuzz.run import load_all
from fuzz.subjects import build_base

PAIR = (
    "export {base}/tiny.onnx --calib {base}/calib.npz --target onnx --target tflite --output out -q"
)
SMALL = "export {base}/tiny.onnx --calib {base}/calib.npz --target tflite --output out -q"


SAID = (".out", ".err")
RANDOM = re.compile(r"((?:edgeconv-(?:tmp|set)|\.new)-)\w{8}")


@dataclass(frozen=True)
class Export:
    """``words`` is a command line that writes to ``out`` in the folder ``work``; {base} is filled in.

    ``started``: its process starts Python anew, as a user's does, instead of being forked with our code loaded.
    """

    base: Path
    work: Path
    words: str
    started: bool = False
    sound: set[str] = field(default_factory=set, compare=False)
    """What was on the disk, as ``state`` says it, where the same command did well afterwards."""

    @property
    def output(self) -> Path:
        """Where the files go."""
        return self.work / "out"

    def start(self, *more: str) -> int:
        """Start it and return the process; ``more`` words follow."""
        from edgeconv.cli import main

        command = [*self.words.format(base=self.base).split(), *more]
        anew = [sys.executable, "-m", "edgeconv", *command]
        if (pid := os.fork()) == 0:
            child(lambda: os.execv(anew[0], anew) if self.started else main(command), self.work)
        return pid

    def run(self, *more: str) -> tuple[int | None, str]:
        """Run it to its end; return the exit code and what it said on standard error."""
        code, _ = wait(self.start(*more), time.monotonic() + limit_s())
        return code, self.said()

    def said(self) -> str:
        """Return what the last run said on standard error."""
        err = self.work / ".err"  # not there where the process ended before all else
        return err.read_text(errors="replace") if err.exists() else ""

    def fresh(self, old: Path | None) -> None:
        """Make ``work`` anew, with the files of ``old`` in the output folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        if old is not None:
            shutil.copytree(old, self.output)

    def empty(self) -> list[str]:
        """Return whether an output folder is there in which nothing is: what cleans up leaves none."""
        there = self.output.exists() and not any(self.output.iterdir())
        return ["left behind: an empty output folder"] if there else []

    def after(self, whole: dict[str, str], old: dict[str, str], *more: str) -> list[str]:
        """Return what is wrong after an end: half a set, a rerun that fails, something left behind.

        Where no rename can be made any more, not even back, half a set is said to be one, and the rerun finishes it.
        """
        time.sleep(0.1)  # a mover that outlives its parent needs no longer
        found, faults = hashes(self.output), []
        unfinished = "the same command finishes the set" in self.said()
        if found not in (old, whole) and not unfinished:
            faults.append("partial: neither the old set nor the new one")
        before = self.state()
        if before in self.sound and not faults:
            return faults
        code, said = self.run(*more)
        if code != 0 and not (found == whole and "exists" in said):
            faults.append(f"rerun: the same command ends with {code}: {said.strip()[-120:]}")
        if hashes(self.output) != whole:
            faults.append("rerun: the set is not whole")
        faults += self.left()
        if not faults:
            self.sound.add(before)
        return faults

    def state(self) -> str:
        """Return a hash of all that lies in ``work`` but what was said; random parts of names count as one."""
        found = hashlib.sha256()
        for path in sorted(self.lying(), key=self._called):
            data = path.read_bytes() if path.is_file() else b""
            found.update(f"{self._called(path)} {hashlib.sha256(data).hexdigest()}\n".encode())
        return found.hexdigest()

    def lying(self) -> list[Path]:
        """Return all that lies in ``work`` but what was said."""
        return [path for path in self.work.rglob("*") if path.name not in SAID]

    def _called(self, path: Path) -> str:
        return RANDOM.sub(r"\1*", path.relative_to(self.work).as_posix())

    def left(self) -> list[str]:
        """Return what was left in the output folder and in TMPDIR."""
        faults = []
        hidden = [p.name for p in self.output.glob(".*")]
        if hidden:
            faults.append(f"left behind: {hidden[0][:14]}")
        if kept := [p.name for p in (self.work / ".tmp").glob("*")]:
            faults.append(f"left in TMPDIR: {kept[0][:13]}")
        return faults


def hashes(folder: Path) -> dict[str, str]:
    """Return the files under final names by their SHA-256."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def prepare(
    place: Path, base: Path | None, words: str, started: bool = False
) -> tuple[Export, dict[str, str], float]:
    """Return the export of ``words`` in ``place``/work, the hashes of its complete set and how long it takes.

    Another complete set goes into ``place``/old. Healthy files are made in ``place``/base, or in
    ``base`` where it has none.
    """
    export = Export(prepared_base(place, base), place / "work", words, started=started)
    export.fresh(None)
    export.run()
    export.fresh(None)
    start = time.monotonic()
    code, said = export.run()
    assert code == 0, said
    seconds, whole = time.monotonic() - start, hashes(export.output)
    export.fresh(None)
    export.run("--crop", "0.5")
    export.output.rename(place / "old")
    return export, whole, seconds


def prepared_base(place: Path, base: Path | None, whole: bool = False) -> Path:
    """Return the folder of healthy files, made where there are none yet, with our code loaded."""
    base = base or place / "base"
    if not (base / "tiny.onnx").exists():
        build_base(base, whole)
    load_all()
    return base
