"""What a new user does, step by step from an empty folder: ``python scripts/walkthroughs.py``.

Prints docs/walkthroughs.md. What the user owns (a trained net, pictures, an .onnx detector, a quantized
model) is made first, in PyTorch and onnxruntime alone; then every command is one of README or of the site,
run by a shell in that folder with ``--bin`` first on its path: the commands of an environment that has
edgeconv from its wheel. A step that exits otherwise than the page says ends the script.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import click
from walkthrough_things import THINGS, make_things

SHOWN = 24
"""So many lines of a step are shown, the last of them."""


@dataclass(frozen=True)
class Step:
    """A shell command, and the exit codes that a reader is told of."""

    command: str
    codes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Walk:
    """What somebody wants, the pages that say how, and the steps."""

    title: str
    pages: str
    steps: tuple[Step, ...]


OWN = "--resolution 32 --mean 0.5 --std 0.5 --crop 1"
INT8 = f"edgeconv export net.py:make --int8 --target tflite {OWN} --calib photos --truth folders --labels names.txt"
WALKS = {
    "a": Walk(
        "My own classifier, five classes, into an app and to a Raspberry Pi",
        "README, [your own classifier](tutorials/classifier.md), [a Raspberry Pi](tutorials/raspberry_pi.md)",
        (
            Step(f"{INT8} --output out --html"),
            Step("edgeconv run out/net_make_int8.tflite photos/0_t-shirt/*_00019.png"),
            Step("edgeconv eval out/net_make_int8.tflite --data photos"),
            Step(
                f"edgeconv export net.py:make --int8 --target tflite,coreml {OWN} --calib photos "
                "--image-input --recipe fast --output both"
            ),
            Step("edgeconv bench out/net_make_int8.tflite --seconds 1", (0, 1)),
            Step("edgeconv bundle out/net_make_int8.tflite --output board.tar.gz"),
            Step("tar -xf board.tar.gz && cd board && ls && python3 run.py"),
            Step("edgeconv device info ssh://pi@raspberrypi", (1,)),
        ),
    ),
    "b": Walk(
        "An .onnx detector, two outputs, an open batch",
        "[an .onnx detector](tutorials/detector.md)",
        (
            Step("edgeconv inspect detector.onnx"),
            Step(
                "edgeconv export detector.onnx --int8 --target tflite --target onnx --calib shapes/calib "
                "--preprocessing unit --crop 1 --output det",
                (0, 3),
            ),
            Step(
                "edgeconv parity det/detector_int8.tflite det/detector_int8.onnx --count 20", (0, 3)
            ),
            Step(
                "edgeconv eval detector.onnx det/detector_int8.tflite --reference detector.onnx --data shapes/test "
                "--truth shapes/test.json --preprocessing unit --crop 1"
            ),
            Step("edgeconv run det/detector_int8.tflite shapes/test/0000.png --draw seen"),
        ),
    ),
    "c": Walk(
        "Which net for 10 ms",
        "README, [choosing a net](tutorials/choosing.md), [sweep](sweep.md)",
        (
            Step("edgeconv models"),
            Step(
                "edgeconv sweep mobilenet_v1 mobilenet_v2 --resolution 32,64 --precision int8 --target tflite "
                "--count 100 --seconds 0.5 --budget-ms 10 --output found",
                (0, 1),
            ),
        ),
    ),
    "d": Walk(
        "A gate in CI",
        "[a parity gate in CI](tutorials/ci.md), examples/gate.parity.toml",
        (
            Step(
                "edgeconv export model.onnx --int8 --target tflite --calib photos --mean 0.5 --std 0.5 --crop 1 "
                "--recipe fast --output gate"
            ),
            Step(
                "edgeconv parity gate/model_int8.tflite --count 20 --baseline model.baseline.json --update-baseline"
            ),
            Step(
                "edgeconv parity gate/model_int8.tflite --count 20 --baseline model.baseline.json --junit parity.xml "
                "--html parity.html"
            ),
            Step(
                "edgeconv parity worse.tflite --reference model.onnx --data photos --mean 0.5 --std 0.5 --crop 1 "
                "--count 20",
                (3,),
            ),
            Step(
                "printf 'artifacts = [\"gate/model_int8.tflite\"]\\ncount = 20\\n' > gate.parity.toml && "
                "python -m pytest -q gate.parity.toml"
            ),
        ),
    ),
    "e": Walk(
        "Accuracy was lost",
        "[accuracy was lost](tutorials/accuracy.md)",
        (
            Step(
                "edgeconv export model.onnx --int8 --target tflite --calib photos --truth folders --recipe fast "
                "--output lost",
                (0, 3),
            ),
            Step(
                "edgeconv export model.onnx --int8 --target tflite --calib photos --truth folders --mean 0.5 --std 0.5 "
                "--crop 1 --recipe fast --output right"
            ),
            Step("edgeconv recipe show right/model_int8.tflite"),
            Step("edgeconv parity right/model_int8.tflite --count 20 --layers", (0, 3)),
            Step(
                "edgeconv rescue right/model_int8.tflite --calib photos --mean 0.5 --std 0.5 --crop 1 --target tflite "
                "--minutes 1",
                (0, 1, 3),
            ),
        ),
    ),
    "f": Walk(
        "The file in a program of mine",
        "README, [your own classifier](tutorials/classifier.md)",
        (
            Step(f"{INT8} --recipe fast --io uint8 --output own"),
            Step("edgeconv snippet own/net_make_int8.tflite --lang python --output app"),
            Step("cd app && ls && python *.py ../photos/1_trouser/1_trouser_00002.png"),
            Step("edgeconv snippet own/net_make_int8.tflite --lang kotlin --output app"),
            Step("edgeconv report own/net_make_int8.tflite --html model.html"),
        ),
    ),
    "g": Walk(
        "A model that is INT8 already",
        "[QAT models](tutorials/qat.md)",
        (
            Step("edgeconv inspect qat.onnx"),
            Step(
                "edgeconv export qat.onnx --int8 --target tflite --calib photos --mean 0.5 --std 0.5 --crop 1 "
                "--output qat"
            ),
        ),
    ),
}

FIRST = Walk(
    "The first minute, from an installed wheel in an empty folder",
    "README",
    (Step("edgeconv --help"), Step("edgeconv doctor"), Step("edgeconv demo")),
)


@dataclass(frozen=True)
class Taken:
    """A step that was taken: what it printed, its exit code and its seconds of wall time."""

    command: str
    printed: tuple[str, ...]
    code: int
    seconds: float


def take(step: Step, folder: Path, commands: Path | None) -> Taken:
    """Run a step in ``folder``. Raises RuntimeError with what it printed where it exits otherwise."""
    path = os.environ["PATH"] if commands is None else f"{commands}{os.pathsep}{os.environ['PATH']}"
    start = time.monotonic()
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", step.command], cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "110"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
    seconds = time.monotonic() - start
    text = (
        done.stdout.replace(f"{folder}/", "")
        .replace(str(folder), ".")
        .replace(str(Path.home()), "~")
    )
    if done.returncode not in step.codes:
        raise RuntimeError(f"{step.command}: exit code {done.returncode}\n{text}")
    return Taken(step.command, tuple(text.splitlines()), done.returncode, seconds)


def paragraphs(walk: Walk, taken: Sequence[Taken]) -> Iterator[str]:
    """Yield the Markdown of one walkthrough."""
    yield f"## {walk.title}\n"
    yield f"Pages: {walk.pages}. In all {sum(t.seconds for t in taken):.0f} s.\n"
    for one in taken:
        yield f"**{one.seconds:.1f} s, exit code {one.code}**\n"
        yield f"```sh\n{one.command}\n```\n"
        left = len(one.printed) - SHOWN
        more = [f"({left} lines before)"] if left > 0 else []
        lines = [*more, *(line.rstrip() for line in one.printed[-SHOWN:])]
        yield "```text\n" + "\n".join(lines) + "\n```\n"


def head(machine: str, versions: str) -> str:
    """Return how the page begins."""
    first = (
        "What a new user does, from an empty folder with README and this site: every step, its seconds of wall time in one "
        "run and the end of what it prints. Printed by `python scripts/walkthroughs.py --bin VENV/bin`, which fails where "
        f"a step exits otherwise than it should; {machine}, busy with other work, so that seconds are an upper bound; "
        f"{versions}, installed from the wheel. What the user owns is made beforehand: {THINGS}"
    )
    second = (
        "A board is not among it: nothing here was run on a Raspberry Pi. The bundle that one carries there is unpacked "
        "and run on this machine, and the last step of the first walkthrough shows what is said where a board does not "
        "answer."
    )
    return "\n\n".join(["# Walkthroughs", fill(first, 120), fill(second, 120)]) + "\n"


def machine_words(commands: Path | None) -> tuple[str, str]:
    """Return the machine and the versions of what runs the steps."""
    edgeconv = "edgeconv" if commands is None else str(commands / "edgeconv")
    said = subprocess.run([edgeconv, "doctor"], capture_output=True, encoding="utf-8", check=True)
    processor = re.search(r"^processor +(.*?) *$", said.stdout, re.MULTILINE)
    found = dict(
        re.findall(r"^(torch|onnxruntime|ai-edge-litert) +(\S+)", said.stdout, re.MULTILINE)
    )
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return processor[1] if processor else platform.machine(), versions


def refuse_without_pytest(commands: Path | None) -> None:
    """Raise RuntimeError where the environment of ``commands`` has no pytest, before minutes of steps that need none."""
    python = commands / "python" if commands else Path(sys.executable)
    if subprocess.run([python, "-c", "import pytest"], capture_output=True, check=False).returncode:
        raise RuntimeError(f"a step runs pytest, which {python} has not: pip install pytest")


@click.command(help=__doc__)
@click.option("--bin", "commands", type=click.Path(path_type=Path, exists=True, resolve_path=True))
@click.option(
    "--things", type=click.Path(path_type=Path), help="Where the user's things lie already."
)
@click.option("--only", multiple=True, type=click.Choice(["first", *WALKS]))
def main(commands: Path | None, things: Path | None, only: tuple[str, ...]) -> None:
    """Print the page."""
    wanted = {"first": FIRST, **WALKS}
    wanted = {name: walk for name, walk in wanted.items() if not only or name in only}
    if any("pytest" in step.command for walk in wanted.values() for step in walk.steps):
        refuse_without_pytest(commands)
    click.echo(head(*machine_words(commands)))
    with tempfile.TemporaryDirectory(prefix="walk-") as name:
        desk, empty = Path(name).resolve() / "desk", Path(name).resolve() / "empty"
        empty.mkdir()
        if things is not None:
            shutil.copytree(things, desk)
        elif wanted.keys() != {"first"}:
            make_things(desk)
        for key, walk in wanted.items():
            folder = empty if key == "first" else desk
            taken = []
            for step in walk.steps:
                taken.append(take(step, folder, commands))
                click.echo(f"{key}: {taken[-1].seconds:.1f} s: {step.command}", err=True)
            click.echo("\n".join(paragraphs(walk, taken)))


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
