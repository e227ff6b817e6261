"""Print speed ratios as Markdown: ``python scripts/make_speed_results.py [--shared DIR]``.

Each net at 224 (random weights; speed does not depend on them) as FP32 and INT8, ONNX and TFLite,
beside onnxruntime's quantize_static with its defaults on the same hub graph, and litert-torch's INT8 files
(int8 borders) and Google's own (uint8) in DIR/peers. Thread CPU time of one-threaded runs, all files of a net interleaved in one
process: medians over all rounds, of the milliseconds and of each round's own ratios, which a change
of the processor's pace does not reach. Every file is opened ``--openings`` times, in another order each
time: where its weights come to lie in memory makes one opening of a file up to 3 % slower than the next.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import peers

from edgeconv import export_model
from edgeconv.artifact import load_artifact
from edgeconv.doctor import examine
from edgeconv.export.kinds import Precision
from edgeconv.runtimes.base import Runner, open_runner
from edgeconv.samples import InputSpec, load_samples

NETS = ("mobilenet_v2", "mobilenet_v1", "shufflenet_v1", "ghostnet")
OTHERS = {
    "Google's": "tf2_{}_1.0_224_ptq.tflite",
    "litert-torch's": "litert_{}_1.0_224_int8.tflite",
}
CALIBRATION = Path(__file__).parents[1] / "calib_data" / "calibration"


def make_files(net: str, folder: Path) -> dict[str, Path]:
    """Export one net in every form and return row title -> file."""
    common: dict[str, Any] = {
        "weights": "random",
        "resolution": 224,
        "mean": (0.5,),
        "std": (0.5,),
        "verify": str(CALIBRATION),
        "verify_count": 8,
    }
    integers = {"calib": str(CALIBRATION), "calib_count": 16, "recipe": "fast"}
    files = {}
    both, onnx, tflite = ("onnx", "tflite"), ("onnx",), ("tflite",)
    forms: tuple[tuple[str, str, tuple[str, ...], dict[str, Any]], ...] = (
        ("FP32", "fp32", both, {}),
        ("INT8", "int8", both, {}),
        ("INT8 --cpu x86", "int8", both, {"cpu": "x86"}),
        ("INT8 --prefer size", "int8", onnx, {"prefer": "size"}),
        ("INT8 --io uint8", "int8", onnx, {"io": "uint8"}),
        ("INT8 --io int8", "int8", tflite, {"io": "int8"}),
        ("INT8 --cpu x86 --io int8", "int8", tflite, {"cpu": "x86", "io": "int8"}),
    )
    for title, precision, targets, options in forms:
        output = folder / f"{net} {title}"
        options = options if precision == "fp32" else {**integers, **options}
        report = export_model(
            net,
            targets=targets,
            precision=cast(Precision, precision),
            output=output,
            **common,
            **options,
        )
        for artifact in report.artifacts:
            files[f"{artifact.target} {title}"] = Path(artifact.path)
    files["onnx quantize_static"] = quantize_default(files["onnx INT8"])
    return files


def quantize_default(int8: Path) -> Path:
    """Quantize the hub graph of an export as onnxruntime does when nothing is asked for."""
    artifact = load_artifact(int8)
    assert artifact is not None
    hub = artifact.evidence("hub.onnx")
    with open_runner(hub) as runner:
        spec = InputSpec({i.name: i.shape for i in runner.inputs}, artifact.preprocessing)
    samples = load_samples(str(CALIBRATION), spec)[:16]

    title = peers.STATIC[2]
    return peers.quantize_static(title, hub, samples, int8.with_name("default.onnx")).path


def prepare_run(runner: Runner) -> Callable[[], object]:
    """Return a call that runs the model once on seeded noise."""
    generator = np.random.default_rng(0)
    feed = {}
    for spec in runner.inputs:
        noise = generator.integers(0, 100, spec.shape)
        feed[spec.name] = noise.astype(spec.dtype) / (100 if spec.dtype == "float32" else 1)
        feed[spec.name] = feed[spec.name].astype(spec.dtype)
    return lambda: runner.infer(feed)


def measure(files: dict[str, Path], openings: int, rounds: int) -> dict[str, list[float]]:
    """Return row title -> CPU milliseconds of its run in every round."""
    taken: dict[str, list[float]] = {title: [] for title in files}
    shuffled = random.Random(0)
    for _ in range(openings):
        titles = shuffled.sample(list(files), len(files))
        with ExitStack() as stack:
            runs = {
                title: prepare_run(stack.enter_context(open_runner(files[title], threads=1)))
                for title in titles
            }
            for _ in range(rounds):
                for title, run in runs.items():
                    run()  # with its own caches warm
                    start = time.thread_time()
                    run()
                    taken[title].append((time.thread_time() - start) * 1e3)
    return taken


def ratio(times: list[float], others: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


@click.command()
@click.option("--shared", type=click.Path(exists=True, path_type=Path))
@click.option("--openings", default=12, show_default=True, help="Of every file.")
@click.option("--rounds", default=10, show_default=True, help="Of every opening.")
@click.option("--only", help="One net.")
def main(shared: Path | None, openings: int, rounds: int, only: str | None) -> None:
    """Print the table."""
    found = examine().machine
    click.echo(f"{found.processor}, {found.cpus} processors, Python {found.python}\n")
    click.echo(
        "| net | file | CPU ms | to FP32 of its runtime | speed to quantize_static, time to others' |"
    )
    click.echo("|---|---|---|---|---|")
    for net in NETS if only is None else (only,):
        with tempfile.TemporaryDirectory() as folder:
            files = make_files(net, Path(folder))
            others = {f"tflite {whose} INT8": named.format(net) for whose, named in OTHERS.items()}
            if shared is not None:
                found_files = {title: shared / "peers" / name for title, name in others.items()}
                files |= {title: path for title, path in found_files.items() if path.exists()}
            took = measure(files, openings, rounds)
        for title, times in sorted(took.items()):
            own = ratio(times, took[f"{title.split()[0]} FP32"])
            faster = ratio(took["onnx quantize_static"], times)
            beside = f"{faster:.2f}x" if title.startswith("onnx") else ""
            if title.startswith("tflite INT8"):
                beside = ", ".join(
                    f"{ratio(times, took[other]):.2f}x {whose}"
                    for whose, other in zip(OTHERS, others, strict=True)
                    if other in took
                )
            ms = statistics.median(times)
            click.echo(f"| {net} | {title} | {ms:.2f} | {own:.2f}x | {beside} |")


if __name__ == "__main__":
    main()
