"""Where the runtimes of a .tflite file part from LiteRT with XNNPACK, and which operators do it.

Every tensor of the file is an output, so that the first one with other integers is seen. Then every
operator is fed LiteRT's own integers: what differs now is that operator's own rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.tflite.builder import schema
from edgeconv.files import temporary_folder
from edgeconv.isolate import other_python
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.child import Job, run_cell, save_feeds
from edgeconv.parity.layers.surgery_tflite import FED, OUT, read_model, rewire
from edgeconv.runtimes.checks import picture_layout
from edgeconv.runtimes.choose import ways
from edgeconv.tensors import Quantization, TensorSpec

Array = NDArray[Any]
Ends = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
JUDGE = "ai-edge-litert"
ALSO = ("tflite-micro", "openvino")
DTYPES = {9: "int8", 3: "uint8"}
"""TFLite's TensorType of quantized values by number."""


def first_departures(path: Path, pictures: int = 4) -> dict[str, dict[str, Any]]:
    """Return, by runtime, the first tensor that differs and what each operator does on its own.

    ``first``: the operator, its tensor, the share of values that differ and the most quanta; absent where
    nothing differs. ``alone``: operator -> [values, how many differ, most quanta].
    """
    artifact = load_artifact(path)
    assert artifact is not None
    model = read_model(path.read_bytes())
    makers = _makers(model)
    outs, feds = (tuple(_spec(model, i, word) for i in makers) for word in (OUT, FED))
    ends = ((*artifact.inputs, *feds), outs)
    hub = {
        name.removeprefix("input:"): array[:pictures]
        for name, array in artifact.verification().items()
        if name.startswith("input:")
    }
    with temporary_folder() as folder:
        exposed, severed = folder / "exposed.tflite", folder / "severed.tflite"
        exposed.write_bytes(rewire(model, list(makers), sever=False))
        severed.write_bytes(rewire(model, list(makers), sever=True))
        whole = _everywhere(exposed, ends, hub, folder)
        wanted = whole.pop(JUDGE)
        assert isinstance(wanted, Outputs)
        fed = {FED + name.removeprefix(OUT): array for name, array in wanted.arrays.items()}
        alone = _everywhere(severed, ends, {**hub, **fed}, folder)
        del alone[JUDGE]
    return {
        runtime: _first(whole[runtime], wanted, makers) | _each(alone[runtime], wanted, makers)
        for runtime in whole
    }


def _makers(model: Any) -> dict[int, tuple[str, str]]:
    """Return tensor -> (operator, name) of the quantized tensors that operators make, in their order."""
    kinds = {
        value: name for name, value in vars(schema().BuiltinOperator).items() if name[0].isupper()
    }
    graph = model.subgraphs[0]
    found = {}
    for operator in graph.operators:
        for index in map(int, operator.outputs):
            tensor = graph.tensors[index]
            scales = None if tensor.quantization is None else tensor.quantization.scale
            if scales is not None and len(scales) == 1 and int(tensor.type) in DTYPES:
                kind = kinds[model.operatorCodes[operator.opcodeIndex].builtinCode]
                found[index] = (kind, tensor.name.decode())
    return found


def _spec(model: Any, index: int, word: str) -> TensorSpec:
    """Describe one tensor as an output or an input: OpenVINO does not say how it is quantized."""
    tensor = model.subgraphs[0].tensors[index]
    shape = tuple(int(size) for size in tensor.shape)
    dtype = DTYPES[int(tensor.type)]
    scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    layout = picture_layout(shape, "nhwc")
    return TensorSpec(f"{word}{index}", shape, dtype, layout, Quantization(scale, zero))


def _everywhere(
    path: Path, ends: Ends, inputs: Mapping[str, Array], folder: Path
) -> dict[str, Outputs | str]:
    """Run a file in every runtime of .tflite; a failure is its sentence."""
    feeds = save_feeds(inputs, folder)
    found: dict[str, Outputs | str] = {}
    for number, way in enumerate(ways(path, ALSO)):
        job = Job(path, way.runtime.name, feeds, folder / f"out{number}.npz", way.options)
        job = replace(job, input_specs=ends[0], output_specs=ends[1])
        python = other_python(way.python) if way.python else ()
        try:
            found[way.label] = run_cell(job, python, timeout_s=600)
        except EdgeconvError as error:
            found[way.label] = str(error)
    return found


def _quanta(got: Outputs, wanted: Outputs, index: int) -> Array:
    """Return by how many steps one tensor differs from LiteRT's."""
    name = f"{OUT}{index}"
    apart = (got.arrays[name] - wanted.arrays[name]) / wanted.scales[name]
    rounded: Array = np.abs(np.rint(apart))
    return rounded


def _first(
    got: Outputs | str, wanted: Outputs, makers: Mapping[int, tuple[str, str]]
) -> dict[str, Any]:
    if isinstance(got, str):
        return {"error": got}
    for index, (kind, name) in makers.items():
        apart = _quanta(got, wanted, index)
        if apart.any():
            share = float((apart > 0).mean())
            return {"first": {"op": kind, "tensor": name, "share": share, "most": int(apart.max())}}
    return {}


def _each(
    got: Outputs | str, wanted: Outputs, makers: Mapping[int, tuple[str, str]]
) -> dict[str, Any]:
    if isinstance(got, str):
        return {"alone_error": got}
    counts: dict[str, list[int]] = {}
    for index, (kind, _) in makers.items():
        apart = _quanta(got, wanted, index)
        values, differ, most = counts.get(kind, [0, 0, 0])
        more = (apart.size, int((apart > 0).sum()), int(apart.max()))
        counts[kind] = [values + more[0], differ + more[1], max(most, more[2])]
    return {"alone": counts}


def departures_page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown table of what ``first_departures`` said of each net, "" where none has it."""
    rows = [
        f"| {line['net']} | {runtime} | {_where(found)} | {_which(found)} |"
        for line in lines
        for runtime, found in line.get("first", {}).items()
    ]
    head = (
        "| net | runtime | first other integer | operators that differ on LiteRT's own integers |"
    )
    return "\n".join([head, "|---|---|---|---|", *rows]) + "\n" if rows else ""


def _where(found: Mapping[str, Any]) -> str:
    if "first" not in found:
        return str(found.get("error", ""))
    first = found["first"]
    return f"{first['op']} `{first['tensor']}`: {100 * first['share']:.2g} % of values"


def _which(found: Mapping[str, Any]) -> str:
    """Say which operators differ: share of values in percent, most quanta."""
    parts = [
        f"{kind} {100 * differ / values:.2g} %, {most}"
        for kind, (values, differ, most) in found.get("alone", {}).items()
        if differ
    ]
    return "; ".join(parts) or str(found.get("alone_error", "none"))
