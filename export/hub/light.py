"""onnx's inference and checks of a model without its large weights, whose values neither reads.

Each hands the whole model over as bytes, and inference takes it back: most of what that costs are weights.
"""

import math

import onnx
from onnx import TensorProto, helper, shape_inference

LARGE = 4096
"""Numbers of a weight behind which it is left out."""
VALUES = frozenset(
    (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
    )
)
"""Types that are no shapes, axes or indices."""


def inferred(model: onnx.ModelProto, *, data_prop: bool = False) -> onnx.GraphProto:
    """Return the inputs, outputs and other tensors of ``model`` as far as their types follow from its inputs."""
    graph = shape_inference.infer_shapes(without_weights(model), data_prop=data_prop).graph
    del graph.input[len(model.graph.input) :]
    return graph


def check(model: onnx.ModelProto) -> None:
    """Let onnx check a model of ours, whose large weights are as long as their shapes say."""
    onnx.checker.check_model(without_weights(model))


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with further inputs, which come last, in place of large weights."""
    light, graph = onnx.ModelProto(), onnx.GraphProto()
    inputs = {value.name for value in model.graph.input}
    graph.input.extend(model.graph.input)
    for item in model.graph.initializer:
        large = item.data_type in VALUES and math.prod(item.dims) > LARGE
        if large and item.name not in inputs:
            graph.input.append(helper.make_tensor_value_info(item.name, item.data_type, item.dims))
        else:
            graph.initializer.append(item)
    _copy(model.graph, graph, {"input", "initializer"})
    _copy(model, light, {"graph"})
    light.graph.CopyFrom(graph)
    return light


def _copy(
    source: onnx.ModelProto | onnx.GraphProto,
    into: onnx.ModelProto | onnx.GraphProto,
    but: set[str],
) -> None:
    """Copy every field but some."""
    for field, value in source.ListFields():
        if field.name in but:
            continue
        if field.is_repeated:
            getattr(into, field.name).extend(value)
        elif field.message_type is not None:
            getattr(into, field.name).CopyFrom(value)
        else:
            setattr(into, field.name, value)
