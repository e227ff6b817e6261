"""Plant wrong scalings, channel orders and crops in the user's flags, and ask what is said of each.

    python scripts/plant_flags.py run --lines flags.jsonl --work DIR [--cifar10 DIR] [--imagenet DIR] [--torchvision FILE.pth]

Nets with statistics of training: the bundled ones, nets trained here on drawn scenes under four scalings,
and those of the folders given (data/README.md of each says what they are). ``table`` counts.
"""

import copy
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from json_lines import Line, read_lines

from edgeconv.artifact import LETTERBOX, Preprocessing
from edgeconv.demo_files import demo_folder
from edgeconv.export.fit_by_scores import better_by_truth, class_scores, hint_by_scores
from edgeconv.export.fit_preprocessing import fit_preprocessing, some_pictures
from edgeconv.export.options import ExportOptions
from edgeconv.export.source import open_source
from edgeconv.files import temporary_folder
from edgeconv.preprocessing import NAMED

WRONG = {
    **NAMED,
    "by 127 and 128": ((127 / 255,), (128 / 255,)),
    "twice the std": ((0.5,), (1.0,)),
    "no mean": ((0.0,), (0.5,)),
    "mean alone": ((0.485, 0.456, 0.406), (1.0,)),
}
SAME = {"symmetric": ("symmetric", "by 127 and 128")}
COUNT = 5


@dataclass(frozen=True)
class Trained:
    """A net, the scaling that it was trained with, its pictures, and their classes where known."""

    name: str
    module: Any
    right: str
    how: Preprocessing
    folder: Path
    truth: dict[str, int] | None = None
    norm: bool = True


@click.group()
def main() -> None:
    """Plant flags, count what is named."""


@main.command()
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--cifar10", type=click.Path(exists=True, path_type=Path))
@click.option("--imagenet", type=click.Path(exists=True, path_type=Path))
@click.option("--torchvision", type=click.Path(exists=True, path_type=Path))
@click.option("--scenes", "kinds", default="plain,residual,inverted,silu", show_default=True)
def run(lines: Path, work: Path, kinds: str, **given: Path | None) -> None:
    """Ask about each net under right and wrong flags, a line each."""
    done = {line["case"] for line in read_lines(lines)}
    for net in nets(work, kinds.split(","), given):
        for case, line in cases(net, done):
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"case": case, "net": net.name, **line}) + "\n")


def nets(work: Path, kinds: list[str], given: dict[str, Path | None]) -> Iterator[Trained]:
    """Yield every net that can be had."""
    for name in ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet"):
        source = open_source(ExportOptions(net=name))
        assert source.preprocessing is not None
        yield Trained(
            name,
            source.module,
            "symmetric",
            source.preprocessing,
            demo_folder("pictures") / "calibration",
        )
    yield from _scenes(work, kinds)
    if (cifar := given["cifar10"]) is not None:
        files = {"shufflenet_v1": "shufflenet_v1_g3_1.0_64", "ghostnet": "ghostnet_1.0_64"}
        classes = {p.name: int(p.name[0]) for p in (cifar / "images").iterdir()}
        for name, file in files.items():
            weights = str(cifar / "weights" / f"{file}.safetensors")
            source = open_source(
                ExportOptions(net=name, weights=weights, resolution=64, classes=10)
            )
            how = Preprocessing(*NAMED["symmetric"], 1.0, (64, 64))
            yield Trained(
                f"cifar10 {name}", source.module, "symmetric", how, cifar / "images", classes
            )
    if (folder := given["imagenet"]) is not None:
        classes = {p.name: int(p.name[:4]) for p in (folder / "images").iterdir()}
        for file, size in (("mobilenet_v2_1.0_224", 224), ("mobilenet_v1_0.25_128", 128)):
            weights = str(folder / "weights" / f"{file}.safetensors")
            width = float(file.split("_")[2])
            source = open_source(
                ExportOptions(net=file[:12], width=width, weights=weights, resolution=size)
            )
            how = Preprocessing(*NAMED["symmetric"], 0.875, (size, size))
            yield Trained(
                f"imagenet {file}",
                source.module,
                "symmetric",
                how,
                folder / "images",
                classes,
                norm=False,
            )
        if (trained := given["torchvision"]) is not None:
            source = open_source(ExportOptions(net="mobilenet_v2", weights=str(trained)))
            how = Preprocessing(*NAMED["imagenet"], 0.875, (224, 224))
            yield Trained(
                "torchvision mobilenet_v2",
                source.module,
                "imagenet",
                how,
                _upright(folder / "images", work),
                classes,
            )


def _scenes(work: Path, kinds: list[str]) -> Iterator[Trained]:
    import scene_nets
    import scenes
    from PIL import Image

    folder = work / "scenes"
    if not folder.exists():
        folder.mkdir(parents=True)
        drawn = scenes.draw(200, 3)
        for number, (x, shape) in enumerate(zip(drawn.pictures, drawn.shapes, strict=True)):
            pixels = np.rint((x.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}_{shape}.png")
    classes = {p.name: int(p.stem[-1]) for p in folder.iterdir()}
    for number, kind in enumerate(kinds):
        for right in NAMED:
            module = scene_nets.trained(kind, 50 + number, work, scaling=NAMED[right])
            how = Preprocessing(*NAMED[right], 1.0, (32, 32))
            yield Trained(f"{kind} on {right}", module, right, how, folder, classes)


def _upright(folder: Path, work: Path) -> Path:
    """Return a folder with the pictures turned by 180 degrees: the shared ones are stored so."""
    from PIL import Image

    made = work / "upright"
    if not made.exists():
        made.mkdir(parents=True)
        for path in folder.iterdir():
            Image.open(path).convert("RGB").rotate(180).save(made / path.name, quality=95)
    return made


def cases(net: Trained, done: set[str]) -> Iterator[tuple[str, Line]]:
    """Yield (case, what was said): right flags, five wrong scalings, the wrong channel order, negatives."""
    from PIL import ImageOps

    right = SAME.get(net.right, (net.right,))
    wrong = [name for name in WRONG if name not in right][:COUNT]
    for name in [*right, *wrong]:
        case = f"{net.name}: {name}"
        if case not in done:
            mean, std = WRONG[name]
            yield (
                case,
                about(net, name) | ask(net, replace(net.how, mean=mean, std=std)),
            )
    if f"{net.name}: BGR" not in done and coloured(net):
        yield (
            f"{net.name}: BGR",
            about(net, "BGR") | ask(turned(net), net.how),
        )
    if net.truth is not None and f"{net.name}: crop" not in done:
        yield (
            f"{net.name}: crop",
            about(net, "crop") | ask(net, replace(net.how, crop=0.5)),
        )
    with temporary_folder() as folder:
        if net.truth is not None and f"{net.name}: letterbox" not in done:
            wide = replace(net, folder=rewritten(net.folder, folder / "wide", cut_wide))
            yield f"{net.name}: cut", about(net, "cut") | ask(wide, net.how)
            how = replace(net.how, crop=LETTERBOX)
            yield f"{net.name}: letterbox", about(net, net.right) | ask(wide, how)
        if f"{net.name}: negative" not in done:
            inverted = rewritten(net.folder, folder / "inverted", ImageOps.invert)
            yield (
                f"{net.name}: negative",
                about(net, "negative") | ask(replace(net, folder=inverted), net.how),
            )
        if f"{net.name}: nearest" not in done:
            size = net.how.size[::-1]
            near = rewritten(net.folder, folder / "near", lambda picture: picture.resize(size, 0))
            yield (
                f"{net.name}: nearest",
                about(net, net.right) | ask(replace(net, folder=near), net.how),
            )


def cut_wide(picture: Any) -> Any:
    """Return the middle of a picture, two thirds as high as it is wide: in a square it is cut, or between bars."""
    wide, high = picture.size
    return picture.crop((0, high // 6, wide, high - high // 6))


def rewritten(folder: Path, place: Path, change: Callable[[Any], Any]) -> Path:
    """Write the pictures of ``folder`` changed into ``place``, under the same names."""
    from PIL import Image

    place.mkdir()
    for path in folder.iterdir():
        change(Image.open(path).convert("RGB")).save(place / path.name, quality=95)
    return place


def coloured(net: Trained) -> bool:
    """Whether any picture has a colour: the order of channels that are the same is nobody's fault."""
    pictures = some_pictures(str(net.folder), net.how, 16)
    return any((picture != picture[:, :, :1]).any() for picture in pictures)


def about(net: Trained, planted: str) -> Line:
    """Return what a line says before anything is asked."""
    return {"planted": planted, "right": net.right, "crop": net.how.crop}


def turned(net: Trained) -> Trained:
    """Return the net as if it had been trained on BGR pictures."""
    import torch

    module = copy.deepcopy(net.module)
    first = next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d))
    first.weight.data = first.weight.data.flip(1)
    return replace(net, module=module)


def ask(net: Trained, how: Preprocessing) -> Line:
    """Return what is said of ``how`` as an export says it: by statistics, else by truth, else a hint."""
    folder = str(net.folder)
    fit = fit_preprocessing(net.module, None, how, folder)
    line: Line = {"judged": fit is not None, "statistics": {} if fit is None else fit.wish}
    if fit is not None and fit.negative:
        line["reading"] = ["negative", "order"] if fit.turned else ["negative"]
    if line["statistics"]:
        return line
    scores = class_scores(net.module, None, (1, 3, *how.size))
    if scores is not None and net.truth is not None:
        scalings = fit is None or not fit.fits
        claim = better_by_truth(scores, how, 3, folder, net.truth, scalings=scalings)
        line["truth"] = {} if claim is None else claim.wish
        if claim is not None and not claim.wish:
            line["reading"] = ["negative"]
    elif scores is not None and fit is None:
        line["hint"] = hint_by_scores(scores, how, 3, folder)
    return line


def wanted(line: Line) -> dict[str, Any]:
    """Return the options that mend what was planted; nothing where nothing is wrong."""
    if line["planted"] == "BGR":
        return {"channel_order": "bgr"}
    if line["planted"] == "negative":
        return {"reading": ["negative"]}
    if line["planted"] == "cut":
        return {"crop": LETTERBOX}
    if line["planted"] == "crop":
        return {"crop": line["crop"]}
    right = SAME.get(line["right"], (line["right"],))
    return {} if line["planted"] in right else {"preprocessing": line["right"]}


@main.command()
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def table(lines: Path) -> None:
    """Count what was named right, what wrong, and where nothing was said."""
    read = read_lines(lines)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in read:
        right, said = wanted(line), line["statistics"] or line.get("truth") or {}
        if not said and "reading" in line:
            said = {"reading": line["reading"]}
        kind = "nothing" if not right else next(iter(right))
        able = line["judged"] or "truth" in line
        # which of two crops is right, so few pictures do not tell
        found = said.keys() == right.keys() if kind == "crop" else said == right
        both = len(said.get("reading", ())) == 2 and kind in ("reading", "channel_order")
        verdict = "right" if found else "one of two" if both else "wrong" if said else "silent"
        counts[kind][verdict if able else "cannot be judged"] += 1
        if able and verdict != "right":
            click.echo(f"{verdict}: {line['case']}: {said}, right is {right}")
        if line.get("hint"):
            click.echo(f"hint: {line['case']}: {line['hint']}")
    click.echo(f"{len({line['net'] for line in read})} nets")
    for kind, count in counts.items():
        click.echo(f"{kind}: " + ", ".join(f"{k} {n}" for k, n in sorted(count.items())))


if __name__ == "__main__":
    main()
