"""Take out of a file what makers do differently at its borders: make_arm_peers.py compares what is left.

Left are integers in and integers out; of TFLite also, as a floor, the layers with weights alone.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.export.tflite.builder import schema

BORDERS = ("QUANTIZE", "DEQUANTIZE", "SOFTMAX")
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def integer_tflite(source: Path, target: Path) -> Path:
    """Write a .tflite file without the QUANTIZE, DEQUANTIZE and SOFTMAX at its borders."""

    def strip(graph: Any, code: Callable[[Any], str]) -> None:
        while True:
            first = [op for op in graph.operators if op.inputs[0] in graph.inputs]
            last = [op for op in graph.operators if op.outputs[0] in graph.outputs]
            op = next((op for op in (*first, *last) if code(op) in BORDERS), None)
            if op is None:
                return
            graph.operators.remove(op)
            source, made = op.inputs[0], op.outputs[0]
            graph.inputs = [made if tensor == source else tensor for tensor in graph.inputs]
            graph.outputs = [source if tensor == made else tensor for tensor in graph.outputs]

    return _edited(source, target, strip)


def layers_tflite(source: Path, target: Path) -> Path:
    """Write a .tflite file of the layers with weights alone: what each reads and nobody makes is an input."""

    def strip(graph: Any, code: Callable[[Any], str]) -> None:
        graph.operators = [op for op in graph.operators if code(op) in LAYERS]
        made = [tensor for op in graph.operators for tensor in op.outputs]
        read = [op.inputs[0] for op in graph.operators]
        graph.inputs = list(dict.fromkeys(t for t in read if t not in made))
        graph.outputs = [tensor for tensor in made if tensor not in read]

    return _edited(source, target, strip)


def _edited(source: Path, target: Path, edit: Callable[[Any, Callable[[Any], str]], None]) -> Path:
    import flatbuffers

    s, data = schema(), source.read_bytes()
    model = s.ModelT.InitFromPackedBuf(bytearray(data), 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # its bytes lie behind the flatbuffer, which comes to be another
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    codes = {value: name for name, value in vars(s.BuiltinOperator).items() if name.isupper()}

    def code(op: Any) -> str:
        entry = model.operatorCodes[op.opcodeIndex]
        return str(codes[max(entry.builtinCode, entry.deprecatedBuiltinCode)])

    for graph in model.subgraphs:
        graph.inputs, graph.outputs = list(graph.inputs), list(graph.outputs)
        edit(graph, code)
    model.signatureDefs = None  # it names tensors that are no borders any more
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


def integer_onnx(source: Path, target: Path) -> Path:
    """Write a .onnx file without the QuantizeLinear of its inputs and the DequantizeLinear of its outputs."""
    import onnx

    model = onnx.load(source)
    graph = model.graph
    kinds = {constant.name: constant.data_type for constant in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "QuantizeLinear":
            _take_out(graph, node, graph.input, node.input[0], node.output[0], kinds)
        elif node.op_type == "DequantizeLinear":
            _take_out(graph, node, graph.output, node.output[0], node.input[0], kinds)
    onnx.save(model, target)
    return target


def _take_out(
    graph: Any, node: Any, borders: Collection[Any], old: str, new: str, kinds: dict[str, int]
) -> None:
    """Make ``new``, on the integer side of a border's node, the border instead of ``old``."""
    for border in borders:
        if border.name == old:
            border.name = new
            border.type.tensor_type.elem_type = kinds[node.input[2]]
            graph.node.remove(node)
            return
