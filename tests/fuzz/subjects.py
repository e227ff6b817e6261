"""The kinds of cases: which healthy file is changed how, what reads it, and which commands take it."""

import contextlib
import json
import os
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz import formats
from fuzz.values import ODD


@dataclass(frozen=True)
class Kind:
    """``source`` is the healthy file in the base folder, ``name`` its name in the case's folder (its
    neighbours come along), ``commands`` the command lines that take it, ``reader`` our own reader.
    """

    name: str
    source: str
    mutate: formats.Mutator
    commands: tuple[str, ...]
    reader: Callable[[Path], object]
    fast: bool = False

    def prepare(self, rng: Random, base: Path, work: Path) -> list[str]:
        """Make the case's files in ``work`` and return the command line."""
        source = base / self.source
        for other in source.parent.iterdir():  # what lies beside it belongs to it
            if other != source:
                (work / other.name).symlink_to(other)
        self.mutate(rng, source, work / source.name)
        _rehash(work / source.name)
        if self.fast:
            return [source.name]
        return [word.format(base=base) for word in rng.choice(self.commands).split()]

    def run(self, command: list[str]) -> int:
        """Run the command line, or the reader, in this process; return the exit code."""
        from edgeconv.errors import EdgeconvError
        from edgeconv.terminal import echo

        if not self.fast:
            from edgeconv.cli import main

            main(command)
            return 0
        try:
            self.reader(Path(command[0]))
        except EdgeconvError as error:
            echo(f"Error: {error}", err=True)
            return error.exit_code
        return 0


def _rehash(path: Path) -> None:
    """Let the manifest beside a changed file belong to it: an attacker would."""
    beside = path.with_name(path.name + ".json")
    if beside.is_symlink() and path.exists():
        from edgeconv.files import digest

        try:
            manifest = {**json.loads(beside.read_text()), "sha256": digest(path)}
        except OSError:
            return
        beside.unlink()
        beside.write_text(json.dumps(manifest))


# our own readers, each of which raises EdgeconvError alone


def _artifact(path: Path) -> object:
    from edgeconv.artifact import load_artifact

    found = load_artifact(Path(str(path).removesuffix(".json")))
    return found and (found.inputs, found.outputs, found.preprocessing, found.labels)


def _graph(path: Path) -> object:
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.formats.onnx_file import read_onnx
    from edgeconv.inspection import inspect_file
    from edgeconv.models.onnx_summary import summarize_onnx

    for reader in (lambda: read_onnx(path.read_bytes(), str(path)), lambda: inspect_file(path),
                   lambda: summarize_onnx(path)):  # fmt: skip
        _either(reader)
    return from_onnx(load_model(path))


def _flatbuffer(path: Path) -> object:
    from edgeconv.formats.tflite_file import check_whole
    from edgeconv.inspection import inspect_file

    _either(lambda: check_whole(path, path.name))
    return inspect_file(path)


def _package(path: Path) -> object:
    from edgeconv.inspection import inspect_file
    from edgeconv.runtimes.base import open_runner

    _either(lambda: inspect_file(path))
    return open_runner(path, runtime="mil-reference")


def _either(reader: Callable[[], object]) -> None:
    from edgeconv.errors import EdgeconvError

    with contextlib.suppress(EdgeconvError):
        reader()


def _recipe(path: Path) -> object:
    from edgeconv.export.quant.explain import explain
    from edgeconv.recipe import load_recipe

    return explain(load_recipe(path)).text()


def _baseline(path: Path) -> object:
    from edgeconv.parity.baseline import compare_baseline, load_baseline

    data = load_baseline(path)
    return list(compare_baseline(data, data))


def _budget(path: Path) -> object:
    from edgeconv.judge.budget import load_budgets

    return load_budgets(path)


def _outputs(path: Path) -> object:
    from edgeconv.judge.outputs import load_outputs

    found = load_outputs(path)
    return found.label, found.scales


def _results(path: Path) -> object:
    from edgeconv.bench.html import page
    from edgeconv.bench.read import report_from_json
    from edgeconv.device.bundle import read_results

    found: Any = read_results(path)
    return page(report_from_json(found["bench"]))


def _samples(path: Path) -> object:
    from edgeconv.samples import InputSpec, load_samples

    return [s.load() for s in load_samples(str(path), InputSpec({"input": (1, 3, 16, 16)}, None))]


def _picture(path: Path) -> object:
    from edgeconv.pictures import read_picture

    return read_picture(path)


def _weights(path: Path) -> object:
    from edgeconv.models.checkpoint import read_checkpoint

    return read_checkpoint(path)


def _truth(path: Path) -> object:
    from edgeconv.truth import read_truth

    return read_truth(str(path), path.parent, ["a", "b"])


def named(rng: Random, source: Path, target: Path) -> None:
    """Leave the file as it is: the command line is what is odd."""
    shutil.copy(source, target)


EXPORT = "export tiny.onnx --calib {base}/calib.npz --output out"
MODEL = (
    "inspect tiny.onnx --json", "summary tiny.onnx --json", f"{EXPORT} --target tflite",
    f"{EXPORT} --target coreml --json", f"{EXPORT} --int8 --target onnx --recipe fast",
    "quantize tiny.onnx --calib {base}/pics --output out --recipe fast --json",
    "bundle tiny.onnx --output out/b.tar.gz",
)  # fmt: skip


def _file(name: str) -> tuple[str, ...]:
    return (
        f"run {name} {{base}}/pics/p00.png", f"run {name} {{base}}/pics/p01.png --json",
        f"inspect {name} --json", f"parity {name} --count 3 --json",
    )  # fmt: skip


WEIGHTS = "export mobilenet_v1 --width 0.25 --resolution 32 --verify-count 2 --output out --weights"

ALL = (
    Kind("onnx", "tiny.onnx", formats.onnx_of, MODEL, _graph),
    Kind("onnx int8", "int8/tiny_int8.onnx", formats.onnx_of, _file("tiny_int8.onnx"), _graph),
    Kind("tflite", "fp32/tiny_fp32.tflite", formats.bytes_of, _file("tiny_fp32.tflite"), _flatbuffer),
    Kind("tflite int8", "int8/tiny_int8.tflite", formats.bytes_of, _file("tiny_int8.tflite"), _flatbuffer),
    Kind("mlpackage", "int8/tiny_int8.mlpackage", formats.package_of, _file("tiny_int8.mlpackage"), _package),
    Kind("manifest", "int8/tiny_int8.tflite.json", formats.json_of, _file("tiny_int8.tflite"), _artifact),
    Kind("manifest float", "fp32/tiny_fp32.onnx.json", formats.json_of, _file("tiny_fp32.onnx"), _artifact),
    Kind("recipe", "recipe/recipe.json", formats.json_of, (
        "recipe show recipe.json --json", "recipe check recipe.json --model {base}/tiny.onnx",
        "recipe diff recipe.json {base}/recipe/recipe.json",
        "export {base}/tiny.onnx --int8 --recipe recipe.json --calib {base}/pics --output out",
    ), _recipe),
    Kind("baseline", "judge/baseline.json", formats.json_of, (
        "parity {base}/int8/tiny_int8.tflite --count 3 --baseline baseline.json --json",), _baseline),
    Kind("budget", "judge/budget.toml", formats.text_of, (
        "parity {base}/int8/tiny_int8.tflite --count 3 --budget budget.toml --json",), _budget),
    Kind("outputs", "saved/outputs.npz", formats.archive_of, ("parity --load-outputs . --json",), _outputs),
    Kind("results", "results/results.json", formats.json_of, ("bundle --show results.json",), _results),
    Kind("calib npz", "calib.npz", formats.archive_of, (
        "export {base}/tiny.onnx --int8 --calib calib.npz --recipe fast --output out",), _samples),
    Kind("calib npy", "calib.npy", formats.array_of, (
        "export {base}/tiny.onnx --int8 --calib calib.npy --recipe fast --output out",), _samples),
    Kind("picture", "pics/p00.png", formats.picture_of, (
        "run {base}/fp32/tiny_fp32.onnx p00.png --json",
        "export {base}/tiny.onnx --int8 --calib . --recipe fast --output out"), _picture),
    Kind("pth", "weights/weights.pth", formats.checkpoint_of, (f"{WEIGHTS} weights.pth",), _weights),
    Kind("safetensors", "weights/weights.safetensors", formats.tensors_of,
         (f"{WEIGHTS} weights.safetensors",), _weights),
    Kind("truth", "truth/truth.csv", formats.text_of, (
        "parity {base}/fp32/tiny_fp32.onnx --data {base}/pics --truth truth.csv --count 3 --json",), _truth),
)  # fmt: skip

KINDS = {kind.name: kind for kind in ALL}


def odd_words(rng: Random) -> str:
    """Return something to stand where a command line wants a value."""
    return str(
        rng.choice((*ODD, "-1", "0", "--", "-", "1,2", "nan", "a.py:b", "/dev/null", ".", "ö"))
    )


def build_base(folder: Path) -> None:
    """Make the healthy files: a net of five layers, pictures, every export, parity's files, weights."""
    from fuzz.base import build

    if os.fork() == 0:  # its threads would not survive the forks of the cases
        code = 1
        try:
            build(folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.wait()
    assert status == 0, "the healthy files cannot be made"
