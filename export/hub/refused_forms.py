"""Forms of the standard, or of PyTorch's exporter, that onnx or onnxruntime refuses, written in those that they take.

Given:   x -> GroupNormalization(a scale and bias each group: opset 18 to 20) -> y
Result:  x -> Reshape (N, groups, -1) -> InstanceNormalization(scale, bias) -> Reshape -> y

Given:   x (N, T, I) -> LSTM | GRU | RNN(layout 1) -> y (N, T, D, H)
Result:  x -> Transpose -> the same, layout 0 -> Transpose -> y, its states as well

Given:   x -> LayerNormalization -> y, statistics that nobody reads
Result:  x -> LayerNormalization -> y

Given:   x -> Transpose(axes counted from the end, as of ``x.movedim(-1, 1).swapaxes(0, 1)``) -> y
Result:  x -> Transpose(axes counted from the front) -> y
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.export.hub.graphs import graphs_of, opset_of

GROUPED_SINCE, CHANNELS_SINCE = 18, 21
"""Opsets: GroupNormalization, and its scale and bias one a channel."""
STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""Which inputs are states that a recurrence starts from."""


def write_refused_forms(model: onnx.ModelProto) -> None:
    """Apply the rewrites to every match, in place."""
    grouped = GROUPED_SINCE <= opset_of(model) < CHANNELS_SINCE
    read = {value.name for value in model.graph.output}
    read.update(*(node.input for graph in graphs_of(model.graph) for node in graph.node))
    for graph in graphs_of(model.graph):
        for place, node in reversed(list(enumerate(graph.node))):
            attributes = {item.name: item for item in node.attribute}
            written: list[onnx.NodeProto] = []
            if grouped and node.op_type == "GroupNormalization" and "num_groups" in attributes:
                written = _by_instance(node, attributes)
            elif node.op_type in STATES and "layout" in attributes:
                turned = attributes["layout"].i == 1
                node.attribute.remove(attributes["layout"])
                written = _time_first(node) if turned else []
            elif node.op_type == "LayerNormalization" and read.isdisjoint(node.output[1:]):
                del node.output[1:]
            elif node.op_type == "Transpose" and "perm" in attributes:
                axes = attributes["perm"].ints
                axes[:] = [axis % len(axes) for axis in axes]
            if written:
                del graph.node[place]
                for item in reversed(written):
                    graph.node.insert(place, item)


def _by_instance(
    node: onnx.NodeProto, attributes: dict[str, onnx.AttributeProto]
) -> list[onnx.NodeProto]:
    x, made = node.input[0], node.output[0]
    shape, size, apart, even = (f"{made}_{part}" for part in ("groups", "size", "apart", "even"))
    groups = numpy_helper.from_array(np.array([0, attributes["num_groups"].i, -1], np.int64))
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
    return [
        helper.make_node("Constant", [], [shape], value=groups),
        helper.make_node("Shape", [x], [size]),
        helper.make_node("Reshape", [x, shape], [apart]),
        helper.make_node(
            "InstanceNormalization",
            [apart, *node.input[1:3]],
            [even],
            name=node.name,
            epsilon=epsilon,
        ),
        helper.make_node("Reshape", [even, size], [made]),
    ]


def _time_first(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return ``node``, changed to read and give sequences time first, between Transposes."""
    before, behind = [], []
    for index in (0, *STATES[node.op_type]):
        if index < len(node.input) and node.input[index]:
            given, turned = node.input[index], f"{node.output[0] or node.name}_{index}_turned"
            before.append(helper.make_node("Transpose", [given], [turned], perm=[1, 0, 2]))
            node.input[index] = turned
    for index, made in enumerate(node.output):
        if made:
            node.output[index] = f"{made}_time_first"
            perm = [1, 0, 2] if index else [2, 0, 1, 3]
            behind.append(helper.make_node("Transpose", [node.output[index]], [made], perm=perm))
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    return [*before, kept, *behind]
