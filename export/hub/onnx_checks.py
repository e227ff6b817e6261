"""What an .onnx file may not say, named before a library stumbles over it."""

import re
from pathlib import Path

import onnx
from onnx import helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.graphs import graphs_of

KNOWN_TYPES = frozenset(helper.get_all_tensor_dtypes())
BYTES = re.compile(r"[0-9]{1,18}")
"""An offset or a length of external data."""
COUNTS = frozenset(
    ("strides", "dilations", "kernel_shape", "group", "num_groups", "blocksize", "block_shape")
)
"""Attributes whose every number is at least 1, and below 2 ** 31 for every runtime."""


def check_model(model: onnx.ModelProto, path: Path) -> None:
    """Raise EdgeconvError for types that do not exist, numbers that cannot be, data that lies elsewhere."""
    _check_types(model, path)
    _check_counts(model, path)
    _check_splits(model, path)
    _check_external_data(model, path)


def _check_counts(model: onnx.ModelProto, path: Path) -> None:
    for node in model.graph.node:
        for attribute in node.attribute if node.domain in ("", "ai.onnx") else ():
            numbers = [*attribute.ints, *([attribute.i] if attribute.type == attribute.INT else [])]
            wrong = [n for n in numbers if not 1 <= n < 2**31]
            if attribute.name in COUNTS and wrong:
                name = node.name or ", ".join(node.output)
                raise EdgeconvError(
                    f"{path}: {node.op_type} {name} has {wrong[0]} in {attribute.name}, "
                    "where every number is 1 or more: the file is damaged"
                )


def _check_splits(model: onnx.ModelProto, path: Path) -> None:
    for graph in graphs_of(model.graph):
        for node in graph.node:
            said = next((a.i for a in node.attribute if a.name == "num_outputs"), None)
            if node.op_type == "Split" and said not in (None, len(node.output)):
                name = node.name or ", ".join(node.output)
                raise EdgeconvError(
                    f"{path}: Split {name} has {len(node.output)} outputs and {said} as its num_outputs, "
                    "which onnxruntime does not run: write as many there as it has outputs"
                )


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            said = f"{path}: the data of {tensor.name}"
            if entry.key in ("offset", "length") and not BYTES.fullmatch(entry.value):
                raise EdgeconvError(
                    f"{said} has no number of bytes as {entry.key}: {entry.value[:40]!r}"
                )
            if entry.key != "location":
                continue
            target = (folder / entry.value).resolve()
            if not target.is_relative_to(folder):
                raise EdgeconvError(f"{said} lies outside the model's folder ({entry.value})")
            if not target.exists():
                raise EdgeconvError(
                    f"{path}: the data file {entry.value} of {tensor.name} is missing"
                )
            if not target.is_file():
                raise EdgeconvError(f"{said} is in {entry.value!r}, which is no file")


def _check_types(model: onnx.ModelProto, path: Path) -> None:
    """Raise EdgeconvError where a weight or an input has an element type that ONNX does not know."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    types |= {
        value.name: value.type.tensor_type.elem_type
        for value in model.graph.input
        if value.type.HasField("tensor_type")
    }
    for name, kind in types.items():
        if kind not in KNOWN_TYPES:
            raise EdgeconvError(
                f"{path}: {name} has the element type {kind}, which ONNX does not know: "
                "the file is damaged, export or download it again"
            )
