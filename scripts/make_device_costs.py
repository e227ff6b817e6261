"""What the device side costs: ``python scripts/make_device_costs.py`` prints a Markdown table.

Each extra goes into a virtual environment of its own, from a wheel built here. Disk: what pip added.
Import and memory: those of a bench's runner process with its runtime, the least of five; seconds are
processor time, which other work on the machine hardly moves. Last: whether each extra resolves for boards, by pip's platform options.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import click

from edgeconv.device.wheels import Platform

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"onnx": "onnxruntime", "tflite": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}  # fmt: skip
"""Extra -> the module that a bench imports."""
BOARDS = [
    (extra, architecture, python)
    for extra, architectures in (
        ("onnx", ("aarch64",)),
        ("tflite", ("aarch64",)),
        ("tflite-runtime", ("aarch64", "armv7l")),
    )
    for architecture in architectures
    for python in ("3.11", "3.12", "3.13")
]

PROBE = """
import importlib, json, sys, time
start, busy = time.perf_counter(), time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
took, busy = time.perf_counter() - start, time.process_time() - busy
lines = open("/proc/self/status").read().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps({"s": took, "cpu_s": busy, "mib": peak / 1024, "modules": sorted(sys.modules)}))
"""


def run(command: list[str]) -> str:
    """Run a command and return what it says. Raises RuntimeError with its last line."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build our wheel from a copy, so that no build folder is left in the checkout."""
    copy = folder / "source"
    for name in ("edgeconv", "models", "export"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(copy)])
    return next(folder.glob("edgeconv-*.whl"))


def size_mb(folder: Path) -> float:
    """Disk use below a folder, without what Python compiles for itself."""
    files = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sum(f.lstat().st_size for f in files if "__pycache__" not in f.parts) / 1e6


def cost(wheel: Path, extra: str, folder: Path) -> list[str]:
    """Return a row: extra, MB on disk, processor seconds and MiB of an import, whether torch or onnx came along."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    site = next((folder / "lib").glob("python*/site-packages"))
    before = size_mb(site)
    asked = f"{wheel}[{extra}]" if extra else str(wheel)
    run([python, "-m", "pip", "install", "-q", "--no-compile", asked])
    modules = ["edgeconv.bench.worker", *([EXTRAS[extra]] if extra else [])]
    said = [json.loads(run([python, "-c", PROBE, *modules])) for _ in range(6)][1:]
    heavy = {"torch", "onnx", "tensorflow", "coremltools"} & set(said[0]["modules"])
    installed = size_mb(site) - before
    seconds, memory = min(s["cpu_s"] for s in said), min(s["mib"] for s in said)
    name = f"edgeconv[{extra}]" if extra else "edgeconv"
    return [name, f"{installed:.0f}", f"{seconds:.2f}", f"{memory:.0f}", ", ".join(heavy) or "none"]


def resolves(wheel: Path, extra: str, architecture: str, python: str) -> str:
    """Say what pip finds of an extra for a board: the runtime's version, or why it has none.

    32-bit ARM has no numpy on PyPI, so there the packages are asked for one by one without it.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
    command += ["--ignore-installed", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", python, "--target", "unused", "--disable-pip-version-check"]
    for tag in [*Platform(architecture, python).tags(), "any"]:
        command += ["--platform", tag]
    if architecture == "armv7l":
        asked = ["--no-deps", "tflite-runtime>=2.14", "click>=8.1", "rich>=13"]
    elif extra == "tflite-runtime":  # pip evaluates our python_version marker for this Python
        asked = ["tflite-runtime>=2.14", "numpy<2", "click>=8.1", "rich>=13"]
    else:
        asked = [f"{wheel}[{extra}]"]
    try:
        report = json.loads(run([*command, *asked]))
    except RuntimeError as error:
        return str(error).removeprefix("ERROR: ")
    names = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
    wanted = (names.get(extra, extra), "numpy")
    found = {
        i["metadata"]["name"].lower().replace("_", "-"): i["metadata"]["version"]
        for i in report["install"]
    }
    return ", ".join(f"{name} {found[name]}" for name in wanted if name in found)


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


@click.command()
@click.option("--resolve/--no-resolve", default=True, help="Ask the index for every board too.")
@click.option("--measure/--no-measure", default=True, help="Install and measure here.")
def main(resolve: bool, measure: bool) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="edgeconv-costs-") as name:
        scratch = Path(name)
        wheel = build_wheel(scratch)
        if measure:
            wanted = ["", "onnx", "tflite"] + ["tflite-runtime"] * (sys.version_info < (3, 12))
            rows = [cost(wheel, extra, scratch / f"venv-{extra}") for extra in wanted]
            titles = [
                "install",
                "MB on disk",
                "import, s of processor time",
                "MiB of memory",
                "heavy packages imported",
            ]
            click.echo(markdown(titles, rows) + "\n")
        if resolve:
            rows = [[f"edgeconv[{e}]", a, p, resolves(wheel, e, a, p)] for e, a, p in BOARDS]
            click.echo(markdown(["install", "board", "Python", "resolves to"], rows))


if __name__ == "__main__":
    main()
