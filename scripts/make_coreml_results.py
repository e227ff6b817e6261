"""Make docs/coreml_results.md: ``python scripts/make_coreml_results.py --fashion-mnist DIR --shared DIR``.

Exports every net to Core ML in each precision through the library and runs the packages, re-read
from disk, by the reference evaluator (``mil-reference``: no Apple device is involved) on pictures that
calibration did not see, beside the same recipe in onnxruntime. Needs the [all] extra.
"""

import copy
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from coreml_layers import teacher_forced
from coreml_tables import HALF_COUNT, PACKAGES, Logits, Measured, package_rows, paired_rows, table
from make_results import Case, bundled_cases, cifar_cases, imagenet_cases

from edgeconv import export_model, metrics
from edgeconv.artifact import load_artifact
from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.coreml.integers import weight_inputs
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx, load_model, save_model
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.source import open_source
from edgeconv.mil import open_program
from edgeconv.recipe import Recipe, load_recipe, quantize_values
from edgeconv.runtimes.onnxrt import open_model
from edgeconv.samples import InputSpec, load_samples
from edgeconv.truth import read_truth

LAYER_COUNT = 5
"""Pictures for the layers fed the reference's integers."""


def measure(case: Case, count: int, output: Path) -> Measured:
    """Export one case in every form and run it over its verification pictures."""
    options = {key: value for key, value in case.options.items() if key not in ("verify", "truth")}
    first = export_model(
        case.net,
        targets=("onnx", "coreml"),
        precision="int8",
        verify_count=LAYER_COUNT,
        output=output / "int8",
        threads=1,
        **case.options,
    )
    packages = {"int8": first.artifacts[1].path}
    for key in ("fp32", "fp16", "weights"):
        report = export_model(
            case.net,
            targets=("coreml",),
            verify_count=LAYER_COUNT,
            output=output / key,
            threads=1,
            **case.options,
            **PACKAGES[key][1],
        )
        packages[key] = report.artifacts[0].path
    onnx_file = first.artifacts[0].path
    graph, recipe = evidence_of(onnx_file)
    full = emit_coreml(
        graph, recipe, path=output / "int8_fp32.mlpackage", precision="int8", compute="fp32"
    )
    half = emit_coreml(graph, recipe, path=output / "int8_fp16.mlpackage", precision="int8")
    packages["int8_fp32"] = full.path
    same_form = recipe.with_form("zero-point-free", weight_inputs(graph))
    if recipe.form == "zero-point-free":
        same_form = recipe
    samples = samples_of(case, onnx_file)[:count]
    truth = np.array([sample.truth for sample in samples], np.int64)
    few = [sample.load() for sample in samples[:LAYER_COUNT]]
    quanta = {}
    for key, emitted in (("int8", half), ("int8_fp32", full)):
        seen = teacher_forced(graph, same_form, emitted, few)
        share = 100 * seen.differing / seen.elements
        quanta[key] = f"{seen.worst} ({share:.2g} % of elements, {len(seen.layers)} tensors)"
    logits, half_db = run_all(case.net, options, packages, same_form, graph, onnx_file, samples)
    grid = same_form.activations[graph.outputs[0]]
    for key in ("int8", "int8_fp32"):
        steps = quantize_values(logits[key], grid).astype(np.float32) - grid.zero_point
        logits[f"{key}_grid"] = steps * np.float32(grid.scale)
    sizes = {key: size_of(path) for key, path in packages.items()}
    words = next(line.text for line in first.stages if line.stage == "quantize")
    return Measured(logits, truth, sizes, half_db, quanta, words)


def write_pictures(source: Path, folder: Path, count: int) -> None:
    """Write the first ``count`` Fashion-MNIST test pictures as PNG, their classes in truth.csv."""
    from PIL import Image

    from edgeconv.models.fashion_mnist import load

    folder.mkdir()
    pictures, labels = load("t10k", source)
    rows = []
    for index in range(count):
        name = f"{index:05}.png"
        Image.fromarray(pictures[index]).save(folder / name)
        rows.append(f"{name},{int(labels[index])}\n")
    (folder / "truth.csv").write_text("".join(rows), encoding="utf-8")


def evidence_of(file: Path) -> tuple[Graph, Recipe]:
    """Return the graph that the recipe of an artifact speaks of, and the recipe."""
    artifact = load_artifact(file)
    assert artifact is not None
    model = load_model(artifact.evidence("prepared.onnx"))
    return prepare(from_onnx(model), int8=True).graph, load_recipe(artifact.evidence("recipe.json"))


def samples_of(case: Case, file: Path) -> list[Any]:
    """Return the verification samples with their true classes."""
    artifact = load_artifact(file)
    assert artifact is not None
    with open_model(artifact.evidence("hub.onnx")) as runner:
        shapes = {spec.name: spec.shape for spec in runner.inputs}
    known = read_truth(case.options["truth"], Path(case.options["verify"]), None)
    return load_samples(case.options["verify"], InputSpec(shapes, artifact.preprocessing), known)


def run_all(
    net: str,
    options: Mapping[str, Any],
    packages: Mapping[str, Path],
    recipe: Recipe,
    graph: Graph,
    onnx_file: Path,
    samples: list[Any],
) -> tuple[dict[str, Logits], tuple[float, float]]:
    """Return the logits of every runner, and PyTorch's SQNRs in half precision (plain, folded)."""
    import torch
    from torch.fx.experimental.optimization import fuse

    torch.set_num_threads(1)
    module = open_source(ExportOptions(net=net, **options)).module
    assert module is not None
    module.eval()
    halved = {"half": copy.deepcopy(module).half(), "folded": fuse(module).half()}
    programs = {key: open_program(path) for key, path in packages.items()}
    qdq = save_model(emit_qdq(graph, recipe).model)
    sessions = {
        "ort": open_model(qdq),
        "ort_plain": open_model(qdq, optimize=False),
        "onnx": open_model(onnx_file),
    }
    rows: dict[str, list[Any]] = {key: [] for key in ("float", *halved, *programs, *sessions)}
    with torch.no_grad():
        for index, sample in enumerate(samples):
            feed = sample.load()
            (picture,) = feed.values()
            tensor = torch.from_numpy(picture)
            rows["float"].append(module(tensor).numpy()[0])
            for key, other in halved.items() if index < HALF_COUNT else ():
                rows[key].append(other(tensor.half()).float().numpy()[0])
            for key, program in programs.items():
                (made,) = program.run(feed).values()
                rows[key].append(made[0])
            for key, session in sessions.items():
                (made,) = session.infer(feed).values()
                rows[key].append(made[0])
    logits = {key: np.stack(values).astype(np.float32) for key, values in rows.items()}
    plain, folded = (
        metrics.sqnr_db(logits["float"][:HALF_COUNT], logits.pop(key)) for key in halved
    )
    return logits, (plain, folded)


def size_of(package: Path) -> int:
    """Return the bytes of all files of a package."""
    return sum(file.stat().st_size for file in package.rglob("*") if file.is_file())


TEXT = """# Core ML results

Made by `python scripts/make_coreml_results.py --fashion-mnist DIR --shared DIR`, recipe std. Every package is read again
from disk and run by the reference evaluator, `mil-reference`; **nothing here ran on an Apple device**. The float
reference is PyTorch; calibration saw none of the pictures.

PyTorch's half precision is measured twice: the module as it is, and with its batch norms folded into the convolutions,
as in every deployed file. The bundled weights are stored in half precision, so that the first rounds no weight at all.
INT8 weights alone were corrected with the same calibration pictures, except for the bundled nets (`--int8-weights`
without `--calib`: plain rounding).

## Packages

{packages}
## INT8 beside the same recipe in onnxruntime

Both hold the same weights and scales in the form without zero points (the exported .onnx may have the asymmetric one).
"Quanta" are the largest distance of any layer's integers when each layer is fed onnxruntime's ({layers} pictures). Then
how many pictures agree with the float reference only here, and only in onnxruntime. The row "rewrites off" says how
far onnxruntime is from itself when its graph rewrites are off: two sound implementations of one recipe differ that
much. Core ML does not quantize what a global average pool reads, nor the logits, where onnxruntime does both; rounding
the logits costs SQNR and ties the first two classes of close pictures, so the rows "on the grid" round Core ML's logits
to the recipe's integers too.

{paired}
{recipes}
"""


@click.command()
@click.option("--fashion-mnist", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--shared", type=click.Path(exists=True, path_type=Path))
@click.option("--only", help="Part of a case's title.")
@click.option("--bundled-count", default=1000, show_default=True, help="Pictures for bundled nets.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the page here.")
def main(
    fashion_mnist: Path,
    shared: Path | None,
    only: str | None,
    bundled_count: int,
    output: Path | None,
) -> None:
    """Print the page, or write it."""
    packages: list[dict[str, str]] = []
    paired: list[dict[str, str]] = []
    recipes: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        cases = [
            replace(case, verify_count=bundled_count)
            for case in bundled_cases(scratch / "fashion-mnist")
        ]
        if shared is not None:
            cases += imagenet_cases(shared / "imagenet", scratch)
            cases += cifar_cases(shared / "cifar10", scratch)
        write_pictures(fashion_mnist, scratch / "fashion-mnist", bundled_count)
        for index, case in enumerate(cases):
            if only is not None and only not in case.title:
                continue
            made = measure(case, case.verify_count, scratch / f"out{index}")
            packages += package_rows(case, made)
            paired += paired_rows(case, made)
            recipes.append(f"- {case.title}: {made.recipe}")
            print(table(packages[-5:]), table(paired[-6:]), sep="\n", file=sys.stderr, flush=True)
    text = TEXT.format(
        packages=table(packages),
        paired=table(paired),
        layers=LAYER_COUNT,
        recipes="\n".join(recipes),
    )
    if output is None:
        click.echo(text)
    else:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
