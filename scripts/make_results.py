"""Make docs/results.md: ``python scripts/make_results.py --fashion-mnist DIR [--shared DIR] [--only NAME]``.

Exports every net through the library, FP32 and INT8, to ONNX and TFLite, on pictures that calibration
did not see, beside onnxruntime's quantize_static (per channel, min/max) on the same pictures in the
same run. ``--peers`` adds its other forms, Google's own files and, with ``--nncf-python``, NNCF (the
percentile takes minutes and 6 GB at 224). Needs the [all] extra; Fashion-MNIST's four files are in
Debian's dataset-fashion-mnist.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import peers
from numpy.typing import NDArray

from edgeconv import export_model, metrics
from edgeconv.artifact import load_artifact
from edgeconv.doctor import examine
from edgeconv.export.kinds import Precision
from edgeconv.runtimes.onnxrt import open_model
from edgeconv.samples import InputSpec, load_samples

COLUMNS = (
    "net", "file", "MB", "max abs error", "SQNR dB", "KL", "agreement %", "top-1 %",
    "float top-1 %", "McNemar p", "pictures",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One net with its weights, its calibration samples and its verification samples."""

    title: str
    net: str
    options: dict[str, Any]
    verify_count: int
    calibration: str | None = None


@dataclass(frozen=True)
class Others:
    """Which other quantizers stand beside ours; quantize_static (per channel, min/max) always does."""

    all_static: bool = False
    nncf_python: Path | None = None
    googles: Path | None = None


def bundled_cases(pictures: Path) -> list[Case]:
    """The four nets with bundled weights, over all test pictures."""
    truth = {"verify": str(pictures), "truth": str(pictures / "truth.csv")}
    nets = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
    return [Case(f"{net}, bundled", net, dict(truth), 10_000) for net in nets]


def imagenet_cases(folder: Path, scratch: Path) -> list[Case]:
    """Calibrate on the classes CCCC % 10 == 0, verify on the other 400."""
    pictures = sorted((folder / "images").glob("*.jpg"))
    calibration, rest = scratch / "imagenet-calibration", scratch / "imagenet-rest"
    link(calibration, [p for p in pictures if int(p.name[:4]) % 10 == 0])
    link(rest, [p for p in pictures if int(p.name[:4]) % 10])
    rows = "".join(f"{p.name},{int(p.name[:4])}\n" for p in pictures)
    (scratch / "imagenet.csv").write_text(rows, encoding="utf-8")
    common = {
        "mean": (0.5,),
        "std": (0.5,),
        "calib": str(calibration),
        "verify": str(rest),
        "truth": str(scratch / "imagenet.csv"),
    }
    nets = (
        ("mobilenet_v2", 1.0, 224),
        ("mobilenet_v1", 0.75, 192),
        ("mobilenet_v1", 0.25, 128),
    )
    cases = []
    for net, width, size in nets:
        weights = folder / "weights" / f"{net}_{width}_{size}.safetensors"
        options = {**common, "weights": str(weights), "width": width, "resolution": size}
        cases.append(Case(f"{net} {width}/{size}, ImageNet", net, options, 400, str(calibration)))
    return cases


def hard_cases(folder: Path, scratch: Path) -> list[Case]:
    """MobileNetV2 with weights off the INT8 grid, and with uneven channels too (hard_nets.py)."""
    from hard_nets import noisy, ruined

    from edgeconv.export.hub.onnx_io import from_onnx, load_model, save_model, to_onnx
    from edgeconv.export.prepare import prepare

    easy = imagenet_cases(folder, scratch)[0]
    options = {k: v for k, v in easy.options.items() if k not in ("weights", "width", "resolution")}
    report = export_model("mobilenet_v2", output=scratch / "easy", verify_count=1, **easy.options)
    artifact = load_artifact(Path(report.artifacts[0].path))
    assert artifact is not None
    graph = noisy(prepare(from_onnx(load_model(artifact.evidence("hub.onnx")))).graph)
    cases = []
    for name, net in (("v2n", graph), ("v2r", ruined(graph))):
        path = scratch / f"{name}.onnx"
        path.write_bytes(save_model(to_onnx(net)))
        cases.append(Case(f"{name}, ImageNet", str(path), options, 400, easy.calibration))
    return cases


def cifar_cases(folder: Path, scratch: Path) -> list[Case]:
    """Calibrate on a tenth of the pictures, verify on the others."""
    pictures = sorted((folder / "images").glob("*.jpg"))
    calibration, rest = scratch / "cifar-calibration", scratch / "cifar-rest"
    link(calibration, pictures[::10])
    link(rest, [p for i, p in enumerate(pictures) if i % 10])
    (scratch / "cifar.csv").write_text(
        "".join(f"{p.name},{p.name[0]}\n" for p in pictures), encoding="utf-8"
    )
    common = {
        "mean": (0.5,),
        "std": (0.5,),
        "crop": 1.0,
        "resolution": 64,
        "calib": str(calibration),
        "verify": str(rest),
        "truth": str(scratch / "cifar.csv"),
    }
    files = {"shufflenet_v1": "shufflenet_v1_g3_1.0_64", "ghostnet": "ghostnet_1.0_64"}
    return [
        Case(
            f"{net}, CIFAR-10",
            net,
            {**common, "weights": str(folder / "weights" / f"{name}.safetensors")},
            900,
            str(calibration),
        )
        for net, name in files.items()
    ]


def link(folder: Path, files: list[Path]) -> None:
    """Put links to ``files`` into ``folder``, unless it is there."""
    if folder.exists():
        return
    folder.mkdir()
    for path in files:
        (folder / path.name).symlink_to(path.resolve())


def write_fashion_mnist(source: Path, folder: Path) -> Path:
    """Write the 10,000 test pictures as PNG, with their classes in truth.csv."""
    from PIL import Image

    from edgeconv.models.fashion_mnist import load

    folder.mkdir()
    pictures, labels = load("t10k", source)
    rows = []
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        name = f"{index:05}.png"
        Image.fromarray(np.asarray(picture, np.uint8)).save(folder / name)
        rows.append(f"{name},{int(label)}\n")
    (folder / "truth.csv").write_text("".join(rows), encoding="utf-8")
    return folder


def rows_of(case: Case, output: Path, others: Others) -> list[dict[str, Any]]:
    """Export one case in both precisions and return its table rows, the other quantizers' last."""
    rows = []
    for precision, most in (("fp32", 1000), ("int8", case.verify_count)):
        report = export_model(
            case.net,
            targets=("onnx", "tflite"),
            precision=cast(Precision, precision),
            verify_count=min(most, case.verify_count),
            output=output,
            **case.options,
        )
        for artifact in report.artifacts:
            figures = next(iter(artifact.verdict.figures.values()))
            what = f"{precision.upper()} {artifact.target}"
            rows.append(row(case.title, what, artifact.bytes, figures, artifact.verdict.pictures))
        stages = {line.stage: line.text for line in report.stages}
        if precision == "int8":
            print(f"{case.title}: {stages['quantize']}", file=sys.stderr)
    return rows + other_rows(case, next(output.glob("*_int8.onnx")), others)


def row(
    title: str, what: str, size: int, figures: Mapping[str, Any], pictures: int
) -> dict[str, Any]:
    """Return one table row."""

    def percent(key: str) -> str:
        value = figures.get(key)
        return "" if value is None else f"{100 * value:.2f}"

    def shown(key: str, form: str) -> str:
        value = figures.get(key)
        return "" if value is None else format(float(value), form)

    return {
        "net": title,
        "file": what,
        "MB": f"{size / 1e6:.2f}",
        "max abs error": shown("max_abs_error", ".2g"),
        "SQNR dB": shown("sqnr_db", ".1f"),
        "KL": shown("kl", ".5f"),
        "agreement %": percent("agreement_top1"),
        "top-1 %": percent("top1"),
        "float top-1 %": percent("reference_top1"),
        "McNemar p": shown("mcnemar_p", ".2g"),
        "pictures": str(pictures),
    }


def other_rows(case: Case, int8: Path, others: Others) -> list[dict[str, Any]]:
    """Give the same hub graph and pictures to other quantizers, and judge them the same way."""
    artifact = load_artifact(int8)
    assert artifact is not None
    hub = artifact.evidence("hub.onnx")
    with open_model(hub) as runner:
        name, shape = runner.inputs[0].name, runner.inputs[0].shape
    spec = InputSpec({name: shape}, artifact.preprocessing)
    source = case.calibration or str(Path(__file__).parents[1] / "calib_data" / "calibration")
    wanted = {item["sha256"] for item in artifact.manifest["calibration"]["samples"]}
    samples = [s for s in load_samples(source, spec) if s.sha256 in wanted]
    verify = load_samples(case.options["verify"], spec, truth_of(case))[: case.verify_count]
    expected = peers.run_onnx(hub, verify)
    truth = np.array([s.truth for s in verify], np.int64)
    titles = peers.STATIC if others.all_static else peers.STATIC[:1]
    rows = []
    for index, title in enumerate(titles):
        made = peers.quantize_static(title, hub, samples, int8.with_name(f"other{index}.onnx"))
        rows.append(judged(case, made, expected, peers.run_onnx(made.path, verify), truth))
    if others.nncf_python is not None:
        made = peers.nncf(others.nncf_python, hub, samples, int8.with_name("nncf.onnx"))
        rows.append(judged(case, made, expected, peers.run_onnx(made.path, verify), truth))
    if others.googles is not None:
        for file in peers.GOOGLES.get(case.title.partition(",")[0], ()):
            google = peers.Made(f"Google's {file}", others.googles / file)
            scores = peers.run_google(google.path, verify)
            rows.append(judged(case, google, expected, scores, truth, logits=False))
    return rows


def judged(
    case: Case,
    made: peers.Made,
    expected: peers.Logits,
    got: peers.Logits,
    truth: NDArray[np.int64],
    *,
    logits: bool = True,
) -> dict[str, Any]:
    """Return the row of another quantizer's file; probabilities are judged by their classes alone."""
    if made.seconds is not None:
        print(f"{case.title}: {made.title} took {made.seconds:.0f} s", file=sys.stderr)
    before, after = metrics.correct(expected, truth), metrics.correct(got, truth)
    figures: dict[str, Any] = {
        "agreement_top1": metrics.agreement(expected, got),
        "top1": float(after.mean()),
        "reference_top1": float(before.mean()),
        "mcnemar_p": metrics.mcnemar_p(before, after),
    }
    if logits:
        figures |= {
            "max_abs_error": metrics.max_abs_error(expected, got),
            "sqnr_db": metrics.sqnr_db(expected, got),
            "kl": metrics.kl_softmax(expected, got),
        }
    return row(case.title, made.title, made.path.stat().st_size, figures, len(truth))


def truth_of(case: Case) -> dict[str, int]:
    """Read the case's CSV."""
    from edgeconv.truth import read_truth

    return read_truth(case.options["truth"], Path(case.options["verify"]), None)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(r[c]) for c in COLUMNS) + " |" for r in rows]
    return "\n".join(lines)


@click.command()
@click.option("--fashion-mnist", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--shared", type=click.Path(exists=True, path_type=Path))
@click.option("--only", help="Part of a case's title.")
@click.option("--peers", "with_peers", is_flag=True, help="Every other quantizer there is.")
@click.option("--nncf-python", type=click.Path(exists=True, path_type=Path), help="Where NNCF is.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Keep the rows here.")
def main(
    fashion_mnist: Path,
    shared: Path | None,
    only: str | None,
    with_peers: bool,
    nncf_python: Path | None,
    json_file: Path | None,
) -> None:
    """Print the accuracy table as Markdown."""
    googles = shared / "peers" if with_peers and shared is not None else None
    others = Others(with_peers, nncf_python, googles)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        cases = bundled_cases(scratch / "fashion-mnist")
        if shared is not None:
            cases += imagenet_cases(shared / "imagenet", scratch)
            if only is None or only in "v2n v2r, ImageNet":
                cases += hard_cases(shared / "imagenet", scratch)
            cases += cifar_cases(shared / "cifar10", scratch)
        if any(case.verify_count == 10_000 for case in cases if not only or only in case.title):
            write_fashion_mnist(fashion_mnist, scratch / "fashion-mnist")
        for index, case in enumerate(cases):
            if only is None or only in case.title:
                made = rows_of(case, scratch / f"out{index}", others)
                print(table(made), file=sys.stderr)
                rows += made
    found = examine()
    click.echo(
        f"{found.machine.processor}, {found.machine.cpus} processors, Python {found.machine.python}\n"
    )
    click.echo(table(rows))
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
