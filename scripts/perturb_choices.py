"""Ask whether float noise turns a choice of the quantizer, and what the turn costs.

    python scripts/perturb_choices.py run --lines choices.jsonl --work DIR [--recipes fast,std] [--seeds 0:4] [NET ...]
    python scripts/perturb_choices.py table --lines choices.jsonl

``run`` multiplies every weight of a net by 1 + 1e-6 N(0, 1), which is more than two processors' sums
differ by (seed 0 leaves them alone), makes the recipe, and appends a line: what was picked among
which candidates, and the recipe's SQNR on the pictures that verify. A NET is ``kind_seed`` of
scene_nets.py or one that plant_flags.py names (the bundled ones where none is named). A case that has a line is not run again. ``table`` says what turned.
"""

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import plant_flags
import scene_nets
import torch
from json_lines import Line, read_lines
from planted_nets import Net, trained_nets

from edgeconv.api import make_options
from edgeconv.arguments import settled
from edgeconv.export.pipeline import measure
from edgeconv.export.quant.judge import decibels, run_recipe, score

NOISE = 1e-6
BUNDLED = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")


@click.group()
def main() -> None:
    """Perturb nets, count turned choices."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="trained nets")
@click.option("--recipes", default="fast,std", show_default=True)
@click.option("--seeds", default="0:4", show_default=True, help="FIRST:END of the noise")
@click.option("--cifar10", type=click.Path(exists=True, path_type=Path))
@click.option("--imagenet", type=click.Path(exists=True, path_type=Path))
def run(
    names: tuple[str, ...],
    lines: Path,
    work: Path,
    recipes: str,
    seeds: str,
    cifar10: Path | None,
    imagenet: Path | None,
) -> None:
    """Make recipes of perturbed nets, append lines."""
    done = {line["case"] for line in read_lines(lines)}
    first, end = map(int, seeds.split(":"))
    given = {"cifar10": cifar10, "imagenet": imagenet, "torchvision": None}
    for net in found(names or BUNDLED, work, given):
        for recipe in recipes.split(","):
            for seed in range(first, end):
                case = f"{net.name} {recipe} {seed}"
                if case not in done:
                    made = chosen(perturbed(net.make(), seed), {**net.options, "recipe": recipe})
                    line = {"case": case, "net": net.name, "recipe": recipe, "seed": seed, **made}
                    with lines.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def found(names: Sequence[str], work: Path, given: dict[str, Path | None]) -> Iterator[Net]:
    """Yield the nets named: of ``kind_seed`` those of scene_nets.py, else those of plant_flags.py."""
    kinds = [name for name in names if name.rpartition("_")[0] in scene_nets.KINDS]
    for name in kinds:
        kind, _, seed = name.rpartition("_")
        yield from trained_nets((kind,), range(int(seed), int(seed) + 1), work, 150)
    if len(kinds) == len(names):
        return
    for net in plant_flags.nets(work, [], given):
        if net.name not in names:
            continue
        parts = _parts(net.folder, work / "parts" / net.name)
        options = {"calib": parts[0], "verify": parts[1], "calib_count": 64, "verify_count": 100}
        how = {"mean": net.how.mean, "std": net.how.std, "crop": net.how.crop}
        shape = {"input_shape": (1, 3, *net.how.size)}
        yield Net(net.name, partial(copy.deepcopy, net.module), {**options, **how, **shape})


def _parts(pictures: Path, place: Path) -> tuple[Path, Path]:
    """Link every third picture into a folder that calibrates, the others into one that verifies."""
    parts = place / "calib", place / "verify"
    if not place.exists():
        for part in parts:
            part.mkdir(parents=True)
        for number, file in enumerate(sorted(pictures.iterdir())):
            (parts[number % 3 > 0] / file.name).symlink_to(file.resolve())
    return parts


def perturbed(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Multiply every weight and statistic by 1 + NOISE N(0, 1); seed 0 changes nothing."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in net.state_dict().values():
            if seed and value.dtype == torch.float32:
                value.mul_(1 + NOISE * torch.randn(value.shape, generator=draw))
    return net


def chosen(net: torch.nn.Module, options: Mapping[str, Any]) -> Line:
    """Return what the quantizer chose for a net, and how far its recipe is from float."""
    work = measure(
        make_options(
            net,
            **settled({**options, "precision": "int8", "targets": ("onnx",), "threads": 1}),
        )
    )
    recipe, wanted = work.recipe, work.expected.outputs
    assert recipe is not None
    got = run_recipe(work.graph, recipe, work.expected.feeds, 1)
    judged = score(work.graph, wanted, got)
    return {
        "picked": recipe.notes["picked"],
        "form": recipe.form,
        "floats": sorted(recipe.float_nodes),
        "candidates": {e["candidate"]: e["noise"] for e in recipe.notes["candidates"]},
        "db": round(decibels(1.0, judged.noise), 3),
        "sqnr_db": round(judged.sqnr_db, 3),
    }


@main.command()
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def table(lines: Path) -> None:
    """Say of each net and recipe which choices turned, what that costs, and how far the recipe moves."""
    groups: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in read_lines(lines):
        groups[line["net"], line["recipe"]].append(line)
    click.echo("| net | recipe | runs | picked | cost of the turn, dB | form | floats | SQNR, dB |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for (net, recipe), of in groups.items():
        picked = sorted({x["picked"] for x in of})
        forms, floats = {x["form"] for x in of}, {tuple(x["floats"]) for x in of}
        figures = [x["db"] for x in of]
        click.echo(
            f"| {net} | {recipe} | {len(of)} | {' or '.join(picked)} | {turn_db(of, picked):.2f} | "
            f"{' or '.join(sorted(forms))} | {len(floats)} | {min(figures):.1f} to {max(figures):.1f} |"
        )


def turn_db(of: Sequence[Line], picked: Sequence[str]) -> float:
    """Return how far apart those that were picked are, by the noise that they make over the runs that tried all."""
    tried = [x["candidates"] for x in of if set(picked) <= set(x["candidates"])]
    means = [sum(decibels(1.0, each[name]) for each in tried) / len(tried) for name in picked]
    return max(means) - min(means)


if __name__ == "__main__":
    main()
