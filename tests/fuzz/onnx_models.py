"""Mutations of an ONNX model's structure."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.values import NUMBERS, ODD, mutate_bytes, mutate_json
from fuzz.wire import mutate_message

MANY = 20_000
"""Unused initializers: what an optimiser that compares each with each does not come to an end of."""


def onnx_of(rng: Random, source: Path, target: Path) -> None:
    """Change the model: shapes, types, data, names, nodes, attributes, metadata; its fields; its bytes."""
    import onnx

    data = source.read_bytes()
    match rng.randrange(10):
        case 0:
            target.write_bytes(mutate_bytes(rng, data))
        case 1 | 2:
            target.write_bytes(mutate_message(rng, data))
        case _:
            model = onnx.load_model_from_string(data)
            for _ in range(rng.choice((1, 1, 2, 3))):
                rng.choice(ONNX_STEPS)(rng, model)
            target.write_bytes(model.SerializeToString())


def _constant(rng: Random, model: Any) -> None:
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(10):
        case 0:
            tensor.data_type = rng.choice((0, 2, 3, 7, 8, 10, 16, 17, 20, 99))
        case 1:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case 2:
            del tensor.dims[:]
            tensor.dims.extend(rng.choice(((), (0,), (1,), (-1,), (2**40, 2**40), (3, 3, 3))))
        case 3:
            tensor.name = rng.choice(("", "x", "\x1b[2J", "input"))
        case 4:
            tensor.data_location = 1
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice(("../../etc/passwd", "gone.bin", "."))
        case 5:
            tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, "<f4").tobytes()
        case 6:
            tensor.data_type = 8
            tensor.ClearField("raw_data")
            tensor.string_data.append(rng.choice((b"abc", b"\xff\xfe")))
        case 7:
            tensor.float_data.append(rng.choice((0.0, float("inf"))))
        case 8:
            model.graph.sparse_initializer.add().values.CopyFrom(tensor)
        case _:
            model.graph.initializer.append(tensor)


def _crowd(rng: Random, model: Any) -> None:
    """Now and then: thousands of initializers that nothing reads."""
    if rng.random() < 0.1:
        for number in range(MANY):
            model.graph.initializer.add(name=f"u{number}", data_type=1, raw_data=bytes(4)).dims[:] = [1]  # fmt: skip
    else:
        _constant(rng, model)


def _node(rng: Random, model: Any) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node = rng.choice(nodes)
    match rng.randrange(8):
        case 0:
            node.op_type = rng.choice(("Relu", "Conv", "Gemm", "Loop", "NoSuchOp", "", "Reshape"))
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(("", "gone", node.output[0]))
        case 2 if node.output:
            node.output[0] = rng.choice(("", "again", nodes[0].output[0]))
        case 3:
            nodes.remove(node)
        case 4:
            node.domain = rng.choice(("com.microsoft", "evil", "ai.onnx.ml"))
        case 5 if node.input:
            node.input.append(rng.choice(node.input))
        case 6:
            nodes.append(node)
        case _:
            node.name = rng.choice(("", "\x1b]0;x\x07", "a/b", nodes[0].name))


def _constant_node(rng: Random, model: Any) -> None:
    """Put a Constant, healthy or not, in the place of an initializer."""
    from onnx import helper

    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    made = helper.make_node("Constant", [], [tensor.name])
    if key := rng.choice(
        ("", "value", "value_float", "value_ints", "value_string", "sparse_value")
    ):
        attribute = made.attribute.add(name=key, type=rng.choice((1, 3, 4, 7)))
        attribute.t.CopyFrom(tensor)
        attribute.s = b"abc"
        attribute.ints.extend([1, 2, 3])
        if rng.random() < 0.3:
            attribute.t.data_location = 1
            attribute.t.external_data.add(key="location", value="data.bin")
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, made)


def _attribute(rng: Random, model: Any) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if not found:
        return
    attribute = rng.choice(found)
    match rng.randrange(5):
        case 0:
            attribute.i = rng.choice((-1, *NUMBERS))
        case 1:
            del attribute.ints[:]
            attribute.ints.extend(rng.choice((-1, *NUMBERS)) for _ in range(rng.randrange(5)))
        case 2:
            attribute.f = rng.choice((0.0, float("nan"), float("inf"), -1e38))
        case 3:
            attribute.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER"))
        case _:
            attribute.type = rng.choice((0, 1, 2, 3, 4, 5, 7))


def _border(rng: Random, model: Any) -> None:
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    if not values:
        return
    value = rng.choice(values)
    kind = value.type.tensor_type
    match rng.randrange(8):
        case 0:
            kind.elem_type = rng.choice((0, 2, 3, 7, 8, 9, 10, 11, 16, 99))
        case 1 if kind.shape.dim:
            rng.choice(kind.shape.dim).dim_value = rng.choice((0, 2, -1, 65536, 2**62))
        case 2 if kind.shape.dim:
            rng.choice(kind.shape.dim).dim_param = "N"
        case 3:
            kind.ClearField("shape")
        case 4:
            value.name = rng.choice(("", "gone", "\u202eabc", "input"))
        case 5:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1
        case 6 if graph.initializer:
            graph.output.add().CopyFrom(value)
            graph.output[-1].name = rng.choice(graph.initializer).name
        case _:
            kind.shape.dim.add().dim_value = 2


def _about(rng: Random, model: Any) -> None:
    match rng.randrange(6):
        case 0:
            model.opset_import[0].version = rng.choice((0, 1, 6, 11, 99))
        case 1:
            model.ir_version = rng.choice((0, 1, 99))
        case 2:
            del model.opset_import[:]
        case 3:
            model.graph.name = rng.choice(("", "\x1b[2J"))
        case 4:
            function = model.functions.add(name="f", domain="evil", output=["y"])
            function.node.add(op_type="f", domain="evil", output=["y"])
            model.graph.node.add(op_type="f", domain="evil", output=["z"])
        case _:
            inside = type(model.graph)()
            inside.CopyFrom(model.graph)
            branch = model.graph.node.add(op_type="If", input=["input"], output=["z"]).attribute
            branch.add(name="then_branch", type=5).g.CopyFrom(inside)


def _described(rng: Random, model: Any) -> None:
    """Describe the net as an export does, and wrongly."""
    found = {entry.key: entry.value for entry in model.metadata_props}
    about: dict[str, Any] = {
        "preprocessing": {"mean": [0.5], "std": [0.5], "crop": 0.875, "size": [16, 16], "embedded": False},
        "labels": ["a", "b"], "inputs": rng.choice(ODD), "net": rng.choice(ODD),
    }  # fmt: skip
    if "edgeconv" in found:
        about = json.loads(found["edgeconv"])
    del model.metadata_props[:]
    model.metadata_props.add(key="edgeconv", value=mutate_json(rng, about))


ONNX_STEPS = (
    _constant, _constant, _crowd, _node, _node, _constant_node, _attribute, _border, _border,
    _about, _described, _described,
)  # fmt: skip

SLIGHT = (_attribute, _attribute, _border)
"""What onnx's own check lets pass more often."""
