"""Mutations of a .tflite model's structure, by LiteRT's own description of the format."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.values import NUMBERS, mutate_bytes, mutate_json

INDICES = (-1, -2, 0, 1, 99, 2**31 - 1)


def tflite_of(rng: Random, source: Path, target: Path) -> object:
    """Change tensors, operators, borders, buffers, metadata; now and then bytes."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    data = source.read_bytes()
    if rng.random() < 0.3:
        return target.write_bytes(mutate_bytes(rng, data))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(STEPS)(rng, model)
    builder = flatbuffers.Builder(len(data))
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (
        TypeError,
        ValueError,
        AttributeError,
    ):  # changed twice, in ways that exclude each other
        return target.write_bytes(mutate_bytes(rng, data))
    made = bytes(builder.Output())
    return target.write_bytes(made if rng.random() < 0.9 else mutate_bytes(rng, made))


def _tensor(rng: Random, model: Any) -> None:
    tensor = rng.choice(model.subgraphs[0].tensors)
    match rng.randrange(8):
        case 0:
            tensor.shape = np.array(rng.choice(((), (0,), (-1, 3), (1, 2, 3), (2**31 - 1,) * 3)), np.int32)  # fmt: skip
        case 1:
            tensor.type = rng.choice((0, 1, 2, 3, 5, 7, 9, 16, 99, 127))
        case 2:
            tensor.buffer = rng.choice((0, 1, len(model.buffers), 2**32 - 1))
        case 3:
            tensor.name = rng.choice((b"", b"\x1b[2J", "\u202eabc".encode(), b"<img src=x>", b"x" * 9999))  # fmt: skip
        case 4:
            tensor.shapeSignature = np.array(rng.choice(((-1,), (1, -1, 1, 1), (0,))), np.int32)
        case 5:
            tensor.isVariable = True
        case 6:
            tensor.quantization = None
        case _:
            _quantization(rng, tensor)


def _quantization(rng: Random, tensor: Any) -> None:
    scales = tensor.quantization
    if scales is None:
        return
    odd = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e38))
    match rng.randrange(4):
        case 0:
            scales.scale = np.array([odd] * rng.choice((1, 2, 3)), np.float32)
        case 1:
            scales.zeroPoint = np.array([rng.choice((-129, 128, 2**40, -(2**63)))], np.int64)
        case 2:
            scales.quantizedDimension = rng.choice(INDICES)
        case _:
            scales.scale = None


def _operator(rng: Random, model: Any) -> None:
    operators = model.subgraphs[0].operators
    if not operators:
        return
    operator = rng.choice(operators)
    match rng.randrange(7):
        case 0:
            operator.inputs = np.array(rng.choices(INDICES, k=rng.randrange(4)), np.int32)
        case 1:
            operator.outputs = np.array(rng.choices(INDICES, k=rng.randrange(3)), np.int32)
        case 2:
            operator.opcodeIndex = rng.choice((0, 1, 99, 2**32 - 1))
        case 3:
            operator.builtinOptions, operator.builtinOptionsType = None, 0
        case 4:
            operators.remove(operator)
        case 5:
            operators.append(operator)
        case _ if operator.builtinOptions is not None:
            options = operator.builtinOptions
            names = [n for n, v in vars(options).items() if isinstance(v, int)]
            if names:
                name = rng.choice(names)
                setattr(options, name, type(getattr(options, name))(rng.choice((0, 1, 2, 127))))


def _borders(rng: Random, model: Any) -> None:
    graph = model.subgraphs[0]
    match rng.randrange(5):
        case 0:
            graph.inputs = np.array(rng.choices(INDICES, k=rng.randrange(3)), np.int32)
        case 1:
            graph.outputs = np.array(rng.choices(INDICES, k=rng.randrange(3)), np.int32)
        case 2:
            graph.tensors = graph.tensors[: rng.randrange(len(graph.tensors))] or graph.tensors
        case 3:
            model.subgraphs = rng.choice(([], [graph, graph]))
        case _:
            graph.name = b"\x1b[2J"
    if not model.subgraphs:
        model.subgraphs = [type(graph)()]
        model.subgraphs[0].tensors, model.subgraphs[0].operators = list(graph.tensors), []


def _rest(rng: Random, model: Any) -> None:
    match rng.randrange(6):
        case 0:
            buffer = rng.choice(model.buffers)
            size = 0 if buffer.data is None else len(buffer.data)
            buffer.data = np.zeros(rng.choice((0, size // 2, size + 3)), np.uint8)
        case 1:
            buffer = rng.choice(model.buffers)
            buffer.offset, buffer.size = rng.choice(NUMBERS), rng.choice(NUMBERS)
        case 2:
            code = rng.choice(model.operatorCodes)
            code.builtinCode = rng.choice((0, 3, 32, 127, 999, 2**31 - 1))
        case 3:
            rng.choice(model.operatorCodes).customCode = b"\x1b[2JFlex\xff"
        case 4:
            model.version = rng.choice((0, 1, 2, 2**32 - 1))
        case _:
            rng.shuffle(model.buffers)


def _metadata(rng: Random, model: Any) -> None:
    """Say something of our own in the metadata, wrongly."""
    from ai_edge_litert import schema_py_generated as schema

    buffer, entry = schema.BufferT(), schema.MetadataT()
    about = {"preprocessing": {"mean": [0.5], "std": [0.5], "crop": 0.9, "size": [16, 16]}, "labels": ["a"]}  # fmt: skip
    buffer.data = np.frombuffer(mutate_json(rng, about).encode(), np.uint8)
    model.buffers.append(buffer)
    entry.name = rng.choice((b"edgeconv", b"edgeconv", b"TFLITE_METADATA", b"min_runtime_version"))
    entry.buffer = rng.choice((len(model.buffers) - 1, len(model.buffers) - 1, 2**32 - 1))
    model.metadata = [*(model.metadata or ()), entry]


STEPS = (_tensor, _tensor, _operator, _operator, _borders, _rest, _metadata)
