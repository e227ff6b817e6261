"""A kind of cases: which healthy file is changed how, what reads it, and which commands take it."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz import formats, lines


@dataclass(frozen=True)
class Kind:
    """``source`` is the healthy file in the base folder, ``name`` its name in the case's folder (its
    neighbours come along), ``commands`` the command lines that take it, ``reader`` our own reader
    (None: only whole commands read it). ``twist`` changes the command line's words. ``make`` is the
    command line that makes the healthy file in {base}, where base.py does not.
    """

    name: str
    source: str
    mutate: formats.Mutator
    commands: tuple[str, ...]
    reader: Callable[[Path], object] | None = None
    fast: bool = False
    twist: lines.Twist | None = None
    make: str = ""

    def prepare(self, rng: Random, base: Path, work: Path) -> list[str]:
        """Make the case's files in ``work`` and return the command line."""
        source = base / self.source
        for other in source.parent.iterdir():  # what lies beside it belongs to it
            if other != source:
                (work / other.name).symlink_to(other)
        target = work / source.name
        try:
            self.mutate(rng, source, target)
        except Exception:  # two changes that exclude each other
            shutil.rmtree(target, ignore_errors=True)
            target.unlink(missing_ok=True)
            (formats.folder_of if source.is_dir() else formats.bytes_of)(rng, source, target)
        _rehash(work, source.name)
        if self.fast:
            return [source.name]
        line = rng.choice(self.commands).split()
        if self.twist is None:
            return [word.format(base=base) for word in line]
        unused = shutil.ignore_patterns("operator_nets", "operators")
        own = shutil.copytree(base, work / "base", ignore=unused)  # an odd line may write anywhere
        return self.twist(rng, [word.format(base=own) for word in line], own, work)

    def run(self, command: list[str]) -> int:
        """Run the command line, or the reader, in this process; return the exit code."""
        from edgeconv.errors import EdgeconvError
        from edgeconv.terminal import echo

        if not self.fast or self.reader is None:
            from edgeconv.cli import main

            if (tools := Path("tools")).is_dir():  # the case's own ssh
                os.environ["PATH"] = f"{tools.resolve()}:{os.environ['PATH']}"
            main(command)
            return 0
        try:
            self.reader(Path(command[0]))
        except EdgeconvError as error:
            echo(f"Error: {error}", err=True)
            return error.exit_code
        return 0


def _rehash(work: Path, changed: str) -> None:
    """Let the manifests beside a changed file or evidence folder belong to it: an attacker would."""
    from edgeconv.files import digest

    for beside in work.glob("*.json"):
        if not beside.is_symlink() or beside.name == changed:
            continue
        manifest = json.loads(beside.read_text())
        if "edgeconv_manifest" not in manifest:
            continue
        file, evidence = manifest["file"], manifest["evidence"]
        if changed not in (file, evidence["folder"]):
            continue
        try:
            manifest["sha256"] = digest(work / file)
            known = evidence["files"]
            for name in known:
                path = work / evidence["folder"] / name
                if path.is_file():
                    known[name] = digest(path)
        except OSError:
            continue
        beside.unlink()
        beside.write_text(json.dumps(manifest))


def untouched(rng: Random, source: Path, target: Path) -> None:
    """Leave the file as it is: the command line is what is odd."""
    shutil.copy(source, target)


def of_file(
    name: str, reference: str = "tiny.onnx", truth: str = "truth/truth.csv"
) -> tuple[str, ...]:
    """Return the command lines that take an exported file: each does well on a healthy one."""
    programs = {".tflite": "python", ".onnx": "python", ".mlpackage": "swift"}
    language = programs.get(Path(name).suffix)
    timed = () if name.endswith(".mlpackage") else (  # no runtime here times a package
        f"bench {name} --runs 2 --warmup 0 --no-reference --json", f"bundle {name} --output out/b.tar.gz",
        f"bench {name} --against {{base}}/fp32/tiny_fp32.onnx --runs 2 --warmup 0 --no-reference --json",
    )  # fmt: skip
    return (
        *timed, *((f"snippet {name} --lang {language}",) if language else ()),
        f"run {name} {{base}}/pics/p00.png", f"run {name} {{base}}/pics/p01.png --json",
        f"inspect {name} --json", f"inspect {name} --tensors", f"parity {name} --count 2 --json",
        f"report {name} --html page.html",
        f"eval {name} --data {{base}}/pics --truth {{base}}/{truth} --json",
        f"parity {name} --count 2 --layers --json", f"parity {name} --reference {{base}}/{reference} --count 2 --json",
    )  # fmt: skip


def of_foreign(name: str) -> tuple[str, ...]:
    """Return those that take a file without a manifest."""
    return (
        f"run {name} {{base}}/pics/p00.png --preprocessing unit --json", f"inspect {name} --json", f"inspect {name} --tensors",
        f"parity {name} --reference {{base}}/tiny.onnx --data {{base}}/calib.npz --count 2 --json",
        f"bench {name} --runs 2 --warmup 0 --no-reference --json", f"bundle {name} --output out/b.tar.gz",
        f"eval {name} --preprocessing unit --data {{base}}/pics --truth {{base}}/truth/truth.csv --json",
    )  # fmt: skip


def of_tflite(
    name: str, reference: str = "tiny.onnx", truth: str = "truth/truth.csv"
) -> tuple[str, ...]:
    """Return those that take a .tflite."""
    other = "int8/tiny_int8.tflite" if reference == "tiny.onnx" else "boxed/detector_fp32.mlpackage"
    return (*of_file(name, reference, truth), f"inspect {name} --mcu --json", f"inspect {name} --mcu --board stm32h743",
            f"inspect {name} --c-array net.h", f"snippet {name} --lang c",
            f"parity {{base}}/{other} --reference {name} --count 2 --json")  # fmt: skip
