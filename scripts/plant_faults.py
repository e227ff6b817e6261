"""Plant faults in exported files after the float reference ran, and ask the default verdict about each.

    python scripts/plant_faults.py run --lines faults.jsonl --work DIR [--kinds plain,unet] [--seeds 0:3]
    python scripts/plant_faults.py run --lines faults.jsonl --work DIR --nets FILE.py --pictures DIR NAME ...
    python scripts/plant_faults.py run --lines faults.jsonl --work DIR --drawn FILE.py --faults wrong_pad,frozen_output NAME ...
    python scripts/plant_faults.py table --lines faults.jsonl

``run`` trains small nets of many kinds (scene_nets.py), builds those of a file's ZOO or of its ``nets()``, exports each
in every form, and appends a line for the healthy file and one for each fault: what the export's own verify
stage said of the file. A case that has a line is not run again. ``table`` counts them.
"""

import copy
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from arithmetic_faults import ARITHMETIC_FAULTS
from faults import FAULTS
from json_lines import Line, read_lines
from near_faults import NEAR_FAULTS
from order_faults import ORDER_FAULTS
from part_faults import PART_FAULTS
from planted_nets import Net, drawn_nets, exported, known_nets, trained_nets
from planting import Fault, Healthy
from rule_faults import RULE_FAULTS

from edgeconv.errors import EdgeconvError
from edgeconv.export import finish
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.work import Work
from edgeconv.files import temporary_folder
from edgeconv.judge.verdict import Verdict
from edgeconv.manifest_schema import PRECISIONS

SLIGHT = 0.01
"""A fault that adds less than this share of an output's own spread as noise is drawn again elsewhere."""
TRIES = 6
KINDS = FAULTS | ORDER_FAULTS | PART_FAULTS | RULE_FAULTS | ARITHMETIC_FAULTS | NEAR_FAULTS


@click.group()
def main() -> None:
    """Plant faults, count what is named."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="trained nets")
@click.option("--kinds", default="", help="of scene_nets.py, all without it")
@click.option("--seeds", default="0:1", show_default=True, help="FIRST:END of the trained nets")
@click.option("--steps", default=150, show_default=True, help="of their training")
@click.option("--nets", type=click.Path(exists=True, path_type=Path), help="a file with a ZOO")
@click.option("--pictures", type=click.Path(exists=True, path_type=Path), help="for --nets")
@click.option("--drawn", type=click.Path(exists=True, path_type=Path), help="a file with nets()")
@click.option("--faults", default="", help="kinds of faults, all without it")
@click.option("--each", default=3, show_default=True, help="kinds of faults in a file")
@click.option("--targets", default="onnx,tflite,coreml", show_default=True)
@click.option("--precisions", default=",".join(PRECISIONS), show_default=True)
def run(
    names: tuple[str, ...],
    lines: Path,
    work: Path,
    kinds: str,
    seeds: str,
    steps: int,
    nets: Path | None,
    pictures: Path | None,
    drawn: Path | None,
    faults: str,
    each: int,
    targets: str,
    precisions: str,
) -> None:
    """Export nets, plant faults, append lines."""
    done = {line["case"] for line in read_lines(lines)}
    first, end = map(int, seeds.split(":"))
    chosen = {name: KINDS[name] for name in faults.split(",")} if faults else KINDS
    if drawn is not None:
        found = drawn_nets(drawn, names, work)
    elif nets is None:
        found = trained_nets(kinds.split(",") if kinds else (), range(first, end), work, steps)
    else:
        found = known_nets(nets, names, pictures)
    for net in found:
        for precision in precisions.split(","):
            wanted = [
                t
                for t in targets.split(",")
                if f"{net.name} {precision} {t}" not in done and (precision, t) != ("fp16", "onnx")
            ]
            if not wanted:
                continue
            with lines.open("a", encoding="utf-8") as file:
                for line in cases(net, precision, tuple(wanted), each, done, chosen):
                    file.write(json.dumps(line) + "\n")
                    file.flush()


def cases(
    net: Net,
    precision: str,
    targets: tuple[str, ...],
    each: int,
    done: set[str],
    kinds: Mapping[str, Fault] = KINDS,
) -> Iterator[Line]:
    """Yield the line of each healthy file, and of each fault planted in it."""
    try:
        with temporary_folder() as place:
            yield from _cases(net, precision, targets, each, done, place, kinds)
    except EdgeconvError as error:
        yield {"case": f"{net.name} {precision}", "net": net.name, "refused": str(error)[:200]}


def _cases(
    net: Net,
    precision: str,
    targets: tuple[str, ...],
    each: int,
    done: set[str],
    place: Path,
    kinds: Mapping[str, Fault],
) -> Iterator[Line]:
    work = exported(net, precision, targets, place)
    healthy = Healthy(work.graph, work.recipe, ranges_of(work))
    for target in [t for t in targets if t not in work.refused]:
        sound = verdict_of(work, target)
        if sound is None:
            continue
        own = f"{net.name} {precision} {target}"
        about = {"net": net.name, "form": f"{precision} {target}"}
        drawn = np.random.default_rng(zlib.crc32(own.encode()))
        planted = 0
        for name in drawn.permutation(list(kinds)):
            line = None
            if planted < each and f"{own} {name}" not in done:
                line = plant(work, healthy, target, kinds[name], drawn, sound)
            if line is not None:
                planted += "named" in line
                yield {"case": f"{own} {name}", **about, "fault": str(name), **line}
        yield {"case": own, **about, **said(sound)}


def ranges_of(work: Work) -> dict[str, tuple[float, float]]:
    """Return the least and largest value of each float tensor of the prepared graph on four samples."""
    from edgeconv.runtimes.onnxrt import open_model

    graph = opened(work.graph)
    found: dict[str, tuple[float, float]] = {}
    with open_model(save_model(to_onnx(graph)), optimize=False) as runner:
        for feed in work.expected.feeds[:4]:
            for name, value in runner.infer({s.name: feed[s.name] for s in runner.inputs}).items():
                low, high = found.get(name, (0.0, 0.0))
                found[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return found


def opened(graph: Graph) -> Graph:
    """Return a graph that gives every float tensor that a node makes."""
    graph = graph.clone()
    graph.outputs = [t for t in graph.producers() if graph.dtype(t) == np.float32]
    return graph


def plant(
    work: Work, healthy: Healthy, target: str, fault: Any, rng: np.random.Generator, sound: Verdict
) -> Line | None:
    """Write the faulty file and judge it; a fault that changes next to nothing is drawn again."""
    line = None
    for _ in range(TRIES):
        planted = fault(healthy, rng)
        if planted is None:
            return None
        faulty = copy.copy(work)
        faulty.graph, faulty.recipe, faulty.refused = planted.graph, planted.recipe, {}
        try:
            finish.emit(faulty, target)
        except Exception as error:  # the file cannot be written with it: nobody is fooled
            line = {"where": planted.where, "unwritten": f"{type(error).__name__}: {error}"[:160]}
            continue
        if target in faulty.refused:
            line = {"where": planted.where, "unwritten": faulty.refused[target][:160]}
            continue
        verdict = verdict_of(work, target)
        if verdict is None:
            line = {"where": planted.where, "unwritten": "the file does not run"}
            continue
        share = added(verdict, sound)
        line = {"where": planted.where, "added": share, **said(verdict)}
        if share >= SLIGHT:
            break
    return line


def verdict_of(work: Work, target: str) -> Verdict | None:
    """Return what the verify stage says of the file; None where it does not run."""
    finish.verify(work, target)
    return (
        None
        if target in work.refused and work.refused.pop(target)
        else work.report.artifacts[-1].verdict.verdict
    )


def added(faulty: Verdict, sound: Verdict) -> float:
    """Return the noise that the fault adds to the worst place, as a share of that place's own spread."""
    shares = [0.0]
    for place, figures in faulty.places.items():
        before = sound.places.get(place, {})
        if "sqnr_centred_db" in figures and "sqnr_centred_db" in before:
            own, base = (10 ** (-f["sqnr_centred_db"] / 10) for f in (figures, before))
            shares.append(float(own - base))
    return max(shares) if faulty.figures else np.inf


def said(verdict: Verdict) -> Line:
    """Return what is kept of a verdict."""
    kept = (
        "sqnr_db",
        "sqnr_centred_db",
        "floor_sqnr_db",
        "below_floor_db",
        "beyond_promise_db",
        "agreement_top1",
        "agreement_top1_low",
        "agreement_top1_high",
        "float_error",
        "flips_beyond",
        "equal",
        "turned_beyond_low",
        "turned_row_low",
        "lost_samples_low",
        "worst_row_beyond_db",
        "odd_place_beyond_db",
        "worst_sample_beyond_db",
        "lost_bits",
        "lost_float_bits",
    )
    places = {
        ", ".join(filter(None, place)): {k: round(f[k], 4) for k in kept if k in f}
        for place, f in verdict.places.items()
    }
    return {
        "named": not verdict,
        "converted": verdict.converted,
        "good_enough": verdict.good_enough,
        "missed": [str(f) for f in verdict.missed][:4],
        "doubts": list(verdict.doubts),
        "places": places,
    }


@main.command()
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def table(lines: Path) -> None:
    """Count faults named and healthy files complained of."""
    read = read_lines(lines)
    planted = [x for x in read if "added" in x]
    counted = [x for x in planted if x["added"] >= SLIGHT]
    click.echo(
        f"{sum(x['named'] for x in counted)} of {len(counted)} faults named; {len(planted) - len(counted)} slighter than {SLIGHT:.0%} of the spread, {sum('unwritten' in x for x in read)} not writable"
    )
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for x in counted:
        groups[x["fault"]].update(all=1, named=x["named"], converted=not x["converted"])
    for name, count in groups.items():
        click.echo(f"| {name} | {count['all']} | {count['named']} | {count['converted']} |")
    for x in counted:
        if not x["named"]:
            click.echo(f"passed: {x['case']} added {x['added']:.3f} {x['places']}")
    healthy = [x for x in read if "fault" not in x and "named" in x]
    nets = {x["net"] for x in healthy}
    click.echo(
        f"{len(healthy)} healthy files of {len(nets)} nets: {sum(not x['converted'] for x in healthy)} called not what was promised, {sum(not x['good_enough'] for x in healthy)} whose recipe is called not good enough"
    )
    for x in healthy:
        if x["named"]:
            click.echo(f"alarm: {x['case']} {x['missed']}")


if __name__ == "__main__":
    main()
