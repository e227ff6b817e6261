"""What a TFLite file holds for tiny graphs, in words: operators, options, shapes, constants and scales, and each refusal.

Where a change is meant: pytest --update-golden tests/test_emitted_tflite.py.
"""

from functools import cache

import numpy as np
import pytest
from conftest import Golden
from emitted_cases import FAMILIES, Case, listing, plain_recipe, shown

from edgeconv.errors import EdgeconvError
from edgeconv.export.tflite.builder import schema
from edgeconv.export.tflite.emit import EmittedTflite, emit_tflite
from edgeconv.export.tflite.inspect import TfliteOp, TfliteSummary, TfliteTensor, read_tflite
from edgeconv.export.tflite.table import check_supported

ENUMERATIONS = {"padding": "Padding", "fusedActivationFunction": "ActivationFunctionType",
                "inDataType": "TensorType", "outDataType": "TensorType", "outputType": "TensorType"}  # fmt: skip


@cache
def words(enumeration: str) -> dict[int, str]:
    return {
        number: word
        for word, number in vars(getattr(schema(), enumeration)).items()
        if not word.startswith("_")
    }


def scales_text(tensor: TfliteTensor) -> str:
    """Return how integers of a tensor are read."""
    if len(tensor.scales) == 1:
        return f" {tensor.scales[0]:.5g}@{tensor.zero_points[0]}"
    return f" {shown(tensor.scales)} of axis {tensor.axis}" if len(tensor.scales) else ""


def tensor_text(tensor: TfliteTensor) -> str:
    """Return name, type, shape and scales of a tensor."""
    return f"{tensor.name} {tensor.dtype}{list(tensor.shape)}{scales_text(tensor)}"


def operator_text(file: TfliteSummary, op: TfliteOp) -> str:
    """Return an operator with what it reads, makes and is told."""
    reads = [
        tensor.name
        if tensor.data is None
        else f"{tensor.name} = {shown(tensor.data)}{scales_text(tensor)}"
        for tensor in (file.tensors[index] for index in op.inputs)
    ]
    told = {
        key: words(ENUMERATIONS[key])[value] if key in ENUMERATIONS else shown(value)
        for key, value in sorted(op.options.items())
        if key == "padding"
        or (value is not None and (isinstance(value, np.ndarray | list) or value))
    }
    made = ", ".join(tensor_text(file.tensors[index]) for index in op.outputs)
    options = "".join(f"; {key} {value}" for key, value in told.items())
    return f"{op.code} {op.version} ({', '.join(reads)}) -> {made}{options}"


def tflite_text(made: EmittedTflite) -> list[str]:
    """Return the lines of a file."""
    file = read_tflite(made.data)
    borders = [
        f"{kind} {tensor_text(file.tensors[place])} {spec.layout}"
        for kind, places, specs in (
            ("in", file.inputs, made.inputs),
            ("out", file.outputs, made.outputs),
        )
        for place, spec in zip(places, specs, strict=True)
    ]
    held = [
        f"{name} is {other} ({made.layouts[name]})"
        for name, other in made.names.items()
        if name != other
    ]
    about = [f"in float: {', '.join(made.islands)}"] if made.islands else []
    if made.requantized:
        about.append(f"other scales: {made.requantized}")
    return [*borders, *(operator_text(file, op) for op in file.ops), *held, *about]


def in_tflite(case: Case, precision: str) -> list[str]:
    graph = case.graph(precision == "int8")
    try:
        check_supported(graph)
        recipe = plain_recipe(graph) if precision == "int8" else None
        made = emit_tflite(graph, recipe, precision=precision)  # type: ignore[arg-type]
    except EdgeconvError as error:
        return [f"refused: {error}"]
    if precision == "int8" and len(made.islands) == len(graph.nodes):
        return ["all in float"]
    return tflite_text(made)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tflite_file_holds_what_its_listing_says(family: str, golden: Golden) -> None:
    golden.check(
        f"emitted/tflite_{family}.txt".replace(" ", "_"), listing(FAMILIES[family], in_tflite)
    )
