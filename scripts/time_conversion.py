"""Time and memory of an INT8 export, beside another checkout: ``python scripts/time_conversion.py``.

    python scripts/time_conversion.py run --lines L.jsonl --against CHECKOUT --weights FILE --calib DIR
    python scripts/time_conversion.py table L.jsonl

Both checkouts export the same net and pictures to TFLite in turn, each with its own ``.venv``. A
line of L.jsonl is one export; what is there already is not run again. Ratios are medians of the rounds'
own: CPU time (user and system, children included) hardly follows what else the machine does, seconds do.
The highest resident size is asked of Linux anew for every stage.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from json_lines import Line, read_lines

HERE = Path(__file__).resolve().parents[1]
JOBS = ("std", "fast", "onnx std", "onnx fast")
"""Recipes, from the net or from its .onnx file."""
OURS, OTHER = "this", "other"
TICKS = os.sysconf("SC_CLK_TCK")


def python_of(checkout: Path) -> list[str]:
    """Return what runs ``edgeconv`` of a checkout: its own environment, else this one."""
    own = checkout / ".venv" / "bin" / "python"
    return [str(own if own.exists() else sys.executable), "-P", "-u", "-m", "edgeconv"]


def watched(command: Sequence[str], folder: Path | None = None) -> Line:
    """Run an export in ``folder`` and return its seconds, CPU seconds and peak MiB, whole and a stage.

    Raises ClickException with its last line where it fails (a missed budget is no failure).
    """
    start, before = time.perf_counter(), 0.0
    stages: list[dict[str, Any]] = []
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=folder,
        env=_environment(),
    )
    assert child.stdout is not None
    last, line = start, ""
    with child.stdout:
        for line in child.stdout:
            now, used = time.perf_counter(), _cpu(child.pid)
            stage = {"stage": line.split()[0], "seconds": now - last, "cpu": used - before}
            stages.append(stage | {"peak": _peak(child.pid)})
            last, before = now, used
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 3):
        raise click.ClickException(line.strip())
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": max([usage.ru_maxrss / 1024, *(stage["peak"] for stage in stages)]),
        "stages": stages,
    }


def _environment() -> dict[str, str]:
    """Return an export's: what is kept takes no conversion, and a user's modules are compiled once."""
    kept = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "EDGECONV_KEPT_MIB": "0"}


def _cpu(process: int) -> float:
    """Return the CPU seconds of a running process and of its children that have ended."""
    try:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        )
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def _peak(process: int) -> float:
    """Return the highest resident MiB since the last call."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return 0.0
    return next((int(row.split()[1]) / 1024 for row in lines if row.startswith("VmHWM")), 0.0)


def pictures(folder: Path, count: int, into: Path) -> Path:
    """Return a folder of ``count`` links to the pictures of ``folder``, which come again if need be."""
    found = sorted(path for path in folder.iterdir() if path.is_file())
    made = into / f"pictures{count}"
    if not made.exists():
        made.mkdir()
        for i in range(count):
            source = found[i % len(found)].resolve()
            (made / f"{i:05}{source.suffix}").symlink_to(source)
    return made


def given_path(text: str) -> str:
    """Return a file's absolute path, for exports run elsewhere; any other word as it is."""
    return str(Path(text).resolve()) if Path(text).exists() else text


def export(checkout: Path, what: Sequence[str], output: Path) -> list[str]:
    """Return the command that exports with a checkout."""
    return [*python_of(checkout), "export", *what, "--output", str(output), "--force"]


@click.group()
def main() -> None:
    """Measure exports, or print what was measured."""


@main.command()
@click.option("--lines", required=True, type=click.Path(path_type=Path), help="Results go here.")
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Another checkout.")
@click.option("--net", default="mobilenet_v2", show_default=True)
@click.option("--weights", required=True, help="As for export.")
@click.option("--calib", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--jobs", default=",".join(JOBS), show_default=True)
@click.option("--sides", default="224", show_default=True, help="Of the pictures, in pixels.")
@click.option("--counts", default="100", show_default=True, help="Of pictures; 20 verify.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--extra", default="", help="Further options of every export.")
def run(
    lines: Path,
    against: Path | None,
    net: str,
    weights: str,
    calib: Path,
    jobs: str,
    sides: str,
    counts: str,
    rounds: int,
    extra: str,
) -> None:
    """Export in turn and append a line for each."""
    trees = {OURS: HERE} | ({OTHER: against.resolve()} if against else {})
    known = {_key(line) for line in read_lines(lines)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for turn in range(rounds):
            for side in map(int, sides.split(",")):
                source = [net, "--weights", given_path(weights), "--resolution", str(side)]
                for count in map(int, counts.split(",")):
                    for job in jobs.split(","):
                        for tree in trees:
                            line: Line = {"job": job, "side": side, "count": count}
                            line |= {"tree": tree, "round": turn}
                            if _key(line) in known:
                                continue
                            from_file = job.startswith("onnx ")
                            what = _model(source, scratch, side) if from_file else source
                            given = pictures(calib, count, scratch)
                            verify = ["--calib", str(given), "--calib-count", str(count)]
                            verify += ["--verify", str(given), "--verify-count", "20"]
                            line["options"] = ["--int8", "--recipe", job.split()[-1], "--target"]
                            line["options"] += ["tflite", "--mean", "0.5", "--std", "0.5"]
                            line["options"] += extra.split()
                            asked = [*what, *line["options"], *verify]
                            line |= watched(export(trees[tree], asked, scratch / "out"), scratch)
                            with lines.open("a", encoding="utf-8") as file:
                                file.write(json.dumps(line) + "\n")
                            said = f"{line['seconds']:.1f} s, {line['cpu']:.1f} s CPU"
                            click.echo(
                                f"{job} {side} {count} {tree}: {said}, {line['peak']:.0f} MiB"
                            )


def _model(source: Sequence[str], scratch: Path, side: int) -> list[str]:
    """Return the float .onnx file of the net, made once."""
    folder = scratch / f"float{side}"
    if not folder.exists():
        command = export(HERE, [*source, "--target", "onnx"], folder)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (model,) = folder.glob("*.onnx")
    return [str(model)]


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("job", "side", "count", "tree", "round"))


@main.command()
@click.argument("lines", type=click.Path(exists=True, path_type=Path))
def table(lines: Path) -> None:
    """Print the tables: the whole, and stage by stage."""
    found = read_lines(lines)
    click.echo("\n".join([*whole_table(found), "", *stage_table(found)]))


def whole_table(lines: Iterable[Line]) -> list[str]:
    """Return a row for each job, side and count, with ratios to the other checkout."""
    rows = [
        "| job | side | pictures | s | s CPU | MiB | s, to the other | CPU | MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (job, side, count), runs in _by(lines, ("job", "side", "count")).items():
        own = [line for line in runs if line["tree"] == OURS]
        figures = [statistics.median(line[name] for line in own) for name in FIGURES]
        cells = [f"{figures[0]:.1f}", f"{figures[1]:.1f}", f"{figures[2]:.0f}"]
        cells += [ratio_text(runs, name) for name in FIGURES]
        rows.append(f"| {job} | {side} | {count} | {' | '.join(cells)} |")
    return rows


FIGURES = ("seconds", "cpu", "peak")


def ratio_text(runs: Sequence[Line], name: str) -> str:
    """Return the median of the rounds' ratios of ours to the other, and their range."""
    turns = _by(runs, ("round",)).values()
    pairs = [{line["tree"]: line[name] for line in turn} for turn in turns]
    ratios = [pair[OURS] / pair[OTHER] for pair in pairs if len(pair) == 2]
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def stage_table(lines: Iterable[Line]) -> list[str]:
    """Return a row for each job and stage: seconds and CPU seconds of both checkouts, ours first."""
    rows = ["| job | stage | s | s CPU | MiB |", "|---|---|---|---|---|"]
    for (job, side, count), runs in _by(lines, ("job", "side", "count")).items():
        trees = [t for t in (OURS, OTHER) if any(line["tree"] == t for line in runs)]
        names = dict.fromkeys(stage["stage"] for line in runs for stage in line["stages"])
        for name in names:
            cells = []
            for figure in FIGURES:
                each = [_stage(runs, tree, name, figure) for tree in trees]
                cells.append(
                    ", ".join(f"{v:.0f}" if figure == "peak" else f"{v:.2f}" for v in each)
                )
            rows.append(f"| {job} {side} {count} | {name} | {' | '.join(cells)} |")
    return rows


def _stage(runs: Iterable[Line], tree: str, name: str, figure: str) -> float:
    """Return the median over one checkout's exports of what a stage took; several lines add up."""
    combine = max if figure == "peak" else sum
    return statistics.median(
        combine([s[figure] for s in line["stages"] if s["stage"] == name] or [0.0])
        for line in runs
        if line["tree"] == tree
    )


def _by(lines: Iterable[Line], names: Sequence[str]) -> dict[tuple[Any, ...], list[Line]]:
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line[name] for name in names), []).append(line)
    return groups


if __name__ == "__main__":
    main()
