"""Inputs that the user fixes: their values become constants of the model (``--freeze-input``)."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeconv.errors import UsageError
from edgeconv.export.hub.inputs import input_values
from edgeconv.export.source.freeze import frozen_value

Array = NDArray[Any]


def freeze_inputs(
    model: onnx.ModelProto,
    values: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> dict[str, Array]:
    """Make constants of the inputs that ``values`` names, in place; return what they hold.

    A single number fills an input's whole shape. ``shapes`` settle dimensions that the file leaves open.
    Raises UsageError for a name that no input has, for a value that does not fit, and where no input
    would be left.
    """
    inputs = {value.name: value for value in input_values(model)}
    for name in values:
        if name not in inputs:
            raise UsageError(
                f"--freeze-input {name}: no input is called so; there is {', '.join(inputs)}"
            )
    if values and len(values) == len(inputs):
        raise UsageError("--freeze-input fixes every input: nothing would be left to compute")
    frozen = {}
    for name, given in values.items():
        kind = inputs[name].type.tensor_type
        shape = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        frozen[name] = frozen_value(
            name, given, shapes.get(name, shape if kind.HasField("shape") else None), dtype
        )
        model.graph.input.remove(inputs[name])
        model.graph.initializer.append(numpy_helper.from_array(frozen[name], name))
    return frozen
