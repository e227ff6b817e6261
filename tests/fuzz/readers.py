"""Our own readers, each of which raises EdgeconvError alone."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def artifact(path: Path) -> object:
    """Read a manifest."""
    from edgeconv.artifact import load_artifact

    found = load_artifact(Path(str(path).removesuffix(".json")))
    return found and (found.inputs, found.outputs, found.preprocessing, found.labels)


def graph(path: Path) -> object:
    """Read an .onnx file."""
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.formats.onnx_file import read_onnx
    from edgeconv.inspection import inspect_file
    from edgeconv.models.onnx_summary import summarize_onnx

    for reader in (lambda: read_onnx(path.read_bytes(), str(path)), lambda: inspect_file(path),
                   lambda: summarize_onnx(path)):  # fmt: skip
        _either(reader)
    return from_onnx(load_model(path))


def wire_graph(path: Path) -> object:
    """Read an .onnx file without onnx's own library."""
    from edgeconv.formats.onnx_file import read_onnx

    return read_onnx(path.read_bytes(), str(path))


def flatbuffer(path: Path) -> object:
    """Read a .tflite file."""
    from edgeconv.formats.tflite_file import check_whole
    from edgeconv.inspection import inspect_file

    _either(lambda: check_whole(path, path.name))
    return inspect_file(path)


def pair(path: Path) -> object:
    """Read ncnn's pair of files."""
    from edgeconv.formats.ncnn_file import read_pair
    from edgeconv.inspection import inspect_file

    _either(lambda: read_pair(path))
    return inspect_file(path)


def package(path: Path) -> object:
    """Read an .mlpackage."""
    from edgeconv.inspection import inspect_file
    from edgeconv.runtimes.base import open_runner

    _either(lambda: inspect_file(path))
    return open_runner(path, runtime="mil-reference")


def _either(reader: Callable[[], object]) -> None:
    from edgeconv.errors import EdgeconvError

    with contextlib.suppress(EdgeconvError):
        reader()


def recipe(path: Path) -> object:
    """Read a recipe."""
    from edgeconv.export.quant.explain import explain
    from edgeconv.recipe import load_recipe

    return explain(load_recipe(path)).text()


def baseline(path: Path) -> object:
    """Read a baseline."""
    from edgeconv.parity.baseline import compare_baseline, load_baseline

    data = load_baseline(path)
    return list(compare_baseline(data, data))


def budget(path: Path) -> object:
    """Read a budget."""
    from edgeconv.judge.budget import load_budgets

    return load_budgets(path)


def outputs(path: Path) -> object:
    """Read saved outputs."""
    from edgeconv.judge.outputs import load_outputs

    found = load_outputs(path)
    return found.label, found.scales


def results(path: Path) -> object:
    """Read a board's results."""
    from edgeconv.bench.html import page
    from edgeconv.bench.read import report_from_json
    from edgeconv.device.bundle import read_results

    found: Any = read_results(path)
    return page(report_from_json(found["bench"]))


def samples(path: Path) -> object:
    """Read calibration samples."""
    from edgeconv.samples import InputSpec, load_samples

    return [s.load() for s in load_samples(str(path), InputSpec({"input": (1, 3, 16, 16)}, None))]


def picture(path: Path) -> object:
    """Read a picture."""
    from edgeconv.pictures import read_picture

    return read_picture(path)


def weights(path: Path) -> object:
    """Read a checkpoint."""
    from edgeconv.models.checkpoint import read_checkpoint

    return read_checkpoint(path)


def truth(path: Path) -> object:
    """Read a table of classes."""
    from edgeconv.truth import read_truth

    return read_truth(str(path), path.parent, ["a", "b"])
