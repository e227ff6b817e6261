"""Commands that somebody ends, beside an export: ``fuzz.kills --command sweep``, and what must hold afterwards."""

import json
import os
import signal
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from fuzz.exports import Export, hashes
from fuzz.tasks import TRAIN

COMMANDS = {
    "sweep": "sweep {base}/tiny.onnx --data {base}/pics --calib {base}/pics --precision fp32,int8 --recipe fast"
    " --target onnx --seconds 0.1 --output out --csv out/cells.csv --html out/page.html",
    "train": TRAIN + " --data {base}/classes --output out/w.safetensors",
    "rescue": "rescue {base}/tiny.onnx --calib {base}/pics --minutes 0.1 --target onnx --json",
    "eval": "eval {base}/fp32/tiny_fp32.onnx {base}/int8/tiny_int8.tflite --data {base}/pics"
    " --truth {base}/truth/truth.csv --workers 2 --json",
    "eval boxes": "eval {base}/detector/detector.onnx --head yolov8 --preprocessing unit --data {base}/pics"
    " --truth {base}/boxes/coco.json --draw out",
    "bench": "bench {base}/fp32/tiny_fp32.onnx {base}/int8/tiny_int8.tflite --runs 50 --history out --html out/page.html",
    "parity": "parity {base}/int8/tiny_int8.tflite --count 4 --save-outputs out --html out/page.html --junit out/cells.xml",
    "quantize": "quantize {base}/tiny.onnx --calib {base}/pics --recipe fast --output out",
    "run": "run {base}/int8/tiny_int8.tflite {base}/pics/p00.png {base}/pics/p01.png --json",
    "report": "report {base}/int8/tiny_int8.tflite --html out/page.html",
}  # fmt: skip
"""Command -> its words: tiny nets, a few seconds each."""
PARTLY = ("sweep", "bench")
"""What shows the figures so far where it is interrupted, instead of a sentence."""
ORPHANS_S = 3.0
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Command(Export):
    """``words`` is a command line whose results may be resumed, or differ from run to run."""

    def fresh(self, old: Path | None) -> None:
        """Make ``work`` anew, with the folder that the command writes to."""
        super().fresh(old)
        self.output.mkdir(exist_ok=True)

    def empty(self) -> list[str]:
        """Return nothing: the output folder was there before."""
        return []

    def after(self, whole: dict[str, str], old: dict[str, str], *more: str) -> list[str]:
        """Return what is wrong after an end: a half file, a rerun that fails or lacks files, something left behind."""
        faults = [
            f"partial: {name}" for name in hashes(self.output) if not sound(self.output / name)
        ]
        made = set(hashes(self.output))
        code, said = self.run(*more)
        if code != 0 and not (made >= set(whole) and "exists" in said):
            faults.append(f"rerun: the same command ends with {code}: {said.strip()[-120:]}")
        if missing := sorted(set(whole) - set(hashes(self.output))):
            faults.append(f"rerun: {missing[0]} is not there")
        faults += [f"rerun: half of {name}" for name in whole if not sound(self.output / name)]
        return faults + self.left()


def sound(path: Path) -> bool:
    """Whether a file is whole by its own form; of other forms, whether it holds anything."""
    data = path.read_bytes() if path.exists() else b""
    try:
        match path.suffix:
            case ".json":
                json.loads(data)
            case ".npz":
                with zipfile.ZipFile(path) as archive:
                    return archive.testzip() is None
            case ".xml":
                ElementTree.fromstring(data)
            case ".html":
                return data.rstrip().endswith(b"</html>")
            case ".safetensors":
                from safetensors.numpy import load

                load(data)
    except Exception:  # whatever a reader says of it, the file is not whole
        return False
    return bool(data)


def adopt_orphans() -> None:
    """Let what a process of ours leaves running become a child of this one, where ``orphans`` finds it."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def orphans() -> list[str]:
    """End what still runs of a command that ended, and return what each was called.

    They have a few seconds: a child hears of its parent's end by itself.
    """
    end = time.monotonic() + ORPHANS_S
    while (alive := _children()) and time.monotonic() < end:
        time.sleep(0.01)
    end_children()
    return list(alive.values())


def end_children() -> None:
    """End this process's children that run, and those that they leave."""
    while alive := _children():
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _children() -> dict[int, str]:
    """Return this process's children that run, by what they are called; those that ended are buried."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        called, (state, parent) = (
            text[text.index("(") + 1 : text.rindex(")")],
            text[text.rindex(")") + 2 :].split()[:2],
        )
        if int(parent) != os.getpid():
            continue
        if state == "Z":
            os.waitpid(int(stat.parent.name), 0)
        else:
            found[int(stat.parent.name)] = called
    return found
