"""What the inputs of an .onnx file are: their shapes settled, their types, how far indices may go."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, shape_inference

from edgeconv.errors import EdgeconvError, UsageError, reading
from edgeconv.export.hub.onnx_io import describe_shape

Shape = Sequence[int]


def input_values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller feeds: old files list their constants among them."""
    constants = {item.name for item in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def settle_shapes(
    model: onnx.ModelProto, shapes: Sequence[Shape] | Mapping[str, Shape]
) -> tuple[onnx.ModelProto, list[str]]:
    """Return ``model`` with its inputs' shapes fixed, and what was assumed.

    ``shapes`` are in the inputs' order or by name; inputs without one stay as they are, but for a
    batch that alone is dynamic: it becomes 1. Raises EdgeconvError for an input that stays dynamic
    and for shapes that contradict the file.
    """
    inputs = input_values(model)
    if not isinstance(shapes, Mapping):
        shapes = _in_order(inputs, shapes)
    assumed = [value.name for value in inputs if value.name not in shapes and _take_one(value)]
    for value in inputs:
        if value.name in shapes:
            _fix(value, shapes[value.name])
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or any(d.dim_value < 1 for d in dims):
            raise EdgeconvError(
                f"input {value.name} has a dynamic shape {describe_shape(value)}: "
                f"name one with --input-shape {value.name}=N,C,H,W"
            )
    if not shapes and not assumed:
        return model, []
    del model.graph.value_info[:]  # what was inferred for dynamic inputs no longer holds
    _forget_symbols(model)
    notes = [f"the dynamic batch of {', '.join(assumed)} became 1"] if assumed else []
    with reading("the model contradicts itself"):
        return shape_inference.infer_shapes(model, data_prop=True), notes


def _in_order(inputs: Sequence[onnx.ValueInfoProto], shapes: Sequence[Shape]) -> dict[str, Shape]:
    names = [value.name for value in inputs]
    if shapes and len(shapes) != len(names):
        raise EdgeconvError(
            f"the model takes {len(names)} inputs ({', '.join(names)}), "
            f"{len(shapes)} --input-shape given"
        )
    return dict(zip(names, shapes, strict=bool(shapes)))


def _take_one(value: onnx.ValueInfoProto) -> bool:
    """Make the batch 1 where nothing else is dynamic; say whether that was so."""
    dims = value.type.tensor_type.shape.dim
    dynamic = [axis for axis, dim in enumerate(dims) if dim.dim_value < 1]
    if dynamic != [0] or len(dims) < 2:
        return False
    dims[0].dim_value = 1
    return True


def _fix(value: onnx.ValueInfoProto, shape: Shape) -> None:
    dims = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField("shape"):  # the file leaves even the rank open
        value.type.tensor_type.shape.SetInParent()
        dims.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    if len(dims) != len(shape) or any(
        d.dim_value not in (0, size) for d, size in zip(dims, shape, strict=False)
    ):
        given = ",".join(map(str, shape))
        raise UsageError(f"--input-shape {given} does not fit {value.name} {describe_shape(value)}")
    for dim, size in zip(dims, shape, strict=True):
        dim.dim_value = size


def _forget_symbols(model: onnx.ModelProto) -> None:
    """Let shape inference settle outputs that were declared with symbols."""
    for value in model.graph.output:
        if any(d.dim_value < 1 for d in value.type.tensor_type.shape.dim):
            value.type.tensor_type.ClearField("shape")


def input_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the settled shapes by name, in order."""
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in input_values(model)
    }


def input_types(model: onnx.ModelProto) -> dict[str, str]:
    """Return numpy's names for the inputs that are not float32."""
    kinds = {
        value.name: np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        for value in input_values(model)
    }
    return {name: kind for name, kind in kinds.items() if kind != "float32"}


def index_limits(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many rows the constant tables have that integer inputs look up, by input."""
    tables = {item.name: tuple(item.dims) for item in model.graph.initializer}
    names = {value.name: value.name for value in input_values(model)}
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Identity", "Reshape", "Unsqueeze") and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]
        elif node.op_type == "Gather" and node.input[1] in names and node.input[0] in tables:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            rows, name = tables[node.input[0]][axis], names[node.input[1]]
            limits[name] = min(rows, limits.get(name, rows))
    return limits
