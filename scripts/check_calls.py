"""Check each call about a healthy file of a campaign: is it so on far more samples, or a false alarm?

    python scripts/check_calls.py run --lines fresh.jsonl --checked checked.jsonl --work DIR --drawn FILE.py
    python scripts/check_calls.py table --checked checked.jsonl

``run`` takes the healthy files that plant_faults.py complained of, exports their nets again from the same samples, and
verifies the files on ``--count`` others. It appends a line a file with the figures on these, with those of onnxruntime's
quantize_static on the same graph and samples, and whether the call is right (docs/verdict.md says when). A file that has a
line is not asked again.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import click
import peers
from json_lines import Line, read_lines
from plant_faults import said, verdict_of
from planted_nets import Net, drawn_nets, exported

from edgeconv.export.targets import TARGETS
from edgeconv.export.work import Work
from edgeconv.files import temporary_folder
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.run import run_feeds
from edgeconv.judge.verdict import compare
from edgeconv.runtimes.onnxrt import open_model

FIRST = 1000
"""The number of the first sample that checks: no campaign has drawn it."""
INT8 = DEFAULTS["int8"].limits
ASKED = {
    "agreement_top1": INT8["agreement_top1_high"],
    "sqnr_centred_db": INT8["sqnr_centred_db"],
}
"""What a recipe must keep of a net, on any place of its outputs."""


@click.group()
def main() -> None:
    """Check calls about healthy files."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--checked", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="drawn samples")
@click.option("--drawn", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--count", default=500, show_default=True, help="samples that check")
def run(
    names: tuple[str, ...], lines: Path, checked: Path, work: Path, drawn: Path, count: int
) -> None:
    """Export the nets of the files complained of again, and append a line a file."""
    done = {line["case"] for line in read_lines(checked)}
    called: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in read_lines(lines):
        if "fault" not in line and line.get("named") and line["case"] not in done:
            precision, target = line["form"].split()
            called[line["net"]][precision].append(target)
    chosen = tuple(name for name in called if not names or name in names)
    if not chosen:
        return
    for net in drawn_nets(drawn, chosen, work, range(FIRST, FIRST + count)):
        for precision, targets in called[net.name].items():
            for line in checks(net, precision, tuple(targets)):
                with checked.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


def checks(net: Net, precision: str, targets: tuple[str, ...]) -> Iterator[Line]:
    """Yield what each file is called on the samples that check."""
    with temporary_folder() as place:
        work = exported(net, precision, targets, place)
        beside = {"static": static(work)} if precision == "int8" else {}
        for target in targets:
            every = {target: replace(TARGETS[target], verified=None)}
            with mock.patch.dict(TARGETS, every):  # a slow runtime too
                verdict = verdict_of(work, target)
            if verdict is None:
                continue
            line = said(verdict)
            yield {
                "case": f"{net.name} {precision} {target}",
                "net": net.name,
                "form": f"{precision} {target}",
                "samples": work.report.artifacts[-1].verdict.pictures,
                "converted": line["converted"],
                "right": line["converted"] and bool(below(line["places"])),
                "missed": line["missed"],
                "places": kept(line["places"]),
                **beside,
            }


def static(work: Work) -> Any:
    """Return what quantize_static keeps of the same float graph, by place; its words where it fails."""
    hub = work.place / f"{work.stem}.evidence" / "hub.onnx"
    try:
        made = peers.quantize_static(
            peers.STATIC[0], hub, work.data.calibration, work.place / "static.onnx"
        )
        with open_model(made.path) as runner:
            got, _ = run_feeds(runner, work.expected.feeds, runner.inputs, runner.outputs)
    except Exception as error:  # another project's tool: that it fails is the answer
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    expected = work.expected
    verdict = compare(
        expected.outputs, got, budget=DEFAULTS["int8"], cuts=expected.cuts, whole=expected.whole
    )
    return kept(said(verdict)["places"])


def kept(places: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the figures that decide, by place."""
    return {
        place: {name: figures[name] for name in ASKED if name in figures}
        for place, figures in places.items()
    }


def below(places: Mapping[str, Mapping[str, float]]) -> Collection[str]:
    """Return the places that lie below what a recipe must keep.

    >>> below({"scores": {"agreement_top1": 0.94, "sqnr_centred_db": 20.0}, "boxes": {"sqnr_centred_db": 12.5}})
    ['scores']
    """
    return [
        place
        for place, figures in places.items()
        if any(figures.get(name, limit) < limit for name, limit in ASKED.items())
    ]


@main.command()
@click.option("--checked", type=click.Path(exists=True, path_type=Path), required=True)
def table(checked: Path) -> None:
    """Say of each call whether it is right, and with which figures."""
    lines = read_lines(checked)
    click.echo(
        "| file | samples | worst agreement, % | worst SQNR (mean removed), dB | quantize_static | the call is |"
    )
    click.echo("|---|---|---|---|---|---|")
    for line in lines:
        beside = line.get("static", {})
        own = beside if isinstance(beside, str) else " and ".join(worst(beside))
        cells = (line["case"], str(line["samples"]), *worst(line["places"]), own)
        click.echo(f"| {' | '.join(cells)} | {'right' if line['right'] else 'an alarm'} |")
    click.echo(f"{sum(line['right'] for line in lines)} of {len(lines)} calls are right")


def worst(places: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
    """Return the least agreement in percent and the least SQNR in dB of all places, a dash where there is none."""
    least = [
        min((figures[name] for figures in places.values() if name in figures), default=None)
        for name in ASKED
    ]
    return (
        "-" if least[0] is None else f"{100 * least[0]:.1f}",
        "-" if least[1] is None else f"{least[1]:.1f}",
    )


if __name__ == "__main__":
    main()
