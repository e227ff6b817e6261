"""TFLite's operators one by one: its Python package has no profiler, so each is cut out and run alone."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bench.costs import OpCost
from edgeconv.bench.loop import timed_runs
from edgeconv.bench.worker import random_feeds
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.formats.tflite_file import check_whole
from edgeconv.runtimes.table import RUNTIMES
from edgeconv.runtimes.tflite import TfliteRunner, taken_operators

SECONDS_PER_OP, MIN_RUNS = 0.03, 15
CHANNELS, SIZE = 256, 28


class Cutter:
    """Cuts operators out of a .tflite file and times each in the runtime that runs the whole."""

    def __init__(self, path: Path, runtime: str, threads: int, xnnpack: bool) -> None:
        require("flatbuffers", "tflite")
        self._schema: Any = require("ai_edge_litert.schema_py_generated", "tflite")
        check_whole(path, path.name)
        root = self._schema.Model.GetRootAs(path.read_bytes(), 0)
        self._model = self._schema.ModelT.InitFromObj(root)
        self._codes = {
            value: name
            for name, value in vars(self._schema.BuiltinOperator).items()
            if isinstance(value, int)
        }
        self._types = {
            value: name.lower()
            for name, value in vars(self._schema.TensorType).items()
            if isinstance(value, int)
        }
        self._module = RUNTIMES[runtime].load()
        self._path, self._threads, self._xnnpack = path, threads, xnnpack

    def _open(self, data: bytes) -> TfliteRunner:
        runner: TfliteRunner = self._module.open_model(
            data, threads=self._threads, xnnpack=self._xnnpack
        )
        return runner

    def profile(self) -> list[OpCost]:
        """Time every operator of the main graph."""
        with self._module.open_model(
            self._path, threads=self._threads, xnnpack=self._xnnpack
        ) as runner:
            taken = taken_operators(runner.interpreter._get_ops_details())
        return [
            self._cost(number, operator, number in taken if self._xnnpack else None)
            for number, operator in enumerate(self._model.subgraphs[0].operators)
        ]

    def _cost(self, number: int, operator: Any, taken: bool | None) -> OpCost:
        graph = self._model.subgraphs[0]
        name = graph.tensors[operator.outputs[0]].name
        text = name.decode() if isinstance(name, bytes) else str(name)
        op = self._code(operator)
        try:
            with self._open(self.cut([number])) as runner:
                us = _time_us(runner)
        except EdgeconvError:
            us = 0.0  # an operator that cannot stand alone shows as free, not as a lie
        integer = self._type(operator.inputs[0]) in ("int8", "uint8", "int16")
        return OpCost(text, op, us, self._macs(operator, op), self._bytes(operator), integer, taken)

    def _code(self, operator: Any) -> str:
        entry = self._model.operatorCodes[operator.opcodeIndex]
        if entry.customCode:
            return str(entry.customCode)
        return str(self._codes.get(max(entry.builtinCode, entry.deprecatedBuiltinCode), "?"))

    def _type(self, tensor: int) -> str:
        return str(self._types.get(self._model.subgraphs[0].tensors[tensor].type, "?"))

    def _shape(self, tensor: int) -> list[int]:
        shape = self._model.subgraphs[0].tensors[tensor].shape
        return [] if shape is None else [int(d) for d in shape]

    def _macs(self, operator: Any, op: str) -> int:
        """Multiply-adds from shapes: filters are OHWI, depthwise ones 1HWO, matrices (out, in)."""
        produced = math.prod(self._shape(operator.outputs[0]))
        if len(operator.inputs) < 2:
            return 0
        weights = self._shape(operator.inputs[1])
        if op == "CONV_2D":
            return produced * math.prod(weights[1:])
        if op == "DEPTHWISE_CONV_2D":
            return produced * math.prod(weights[1:3])
        if op in ("FULLY_CONNECTED", "BATCH_MATMUL"):
            return produced * (weights[-1] if weights else 0)
        if op == "TRANSPOSE_CONV" and len(operator.inputs) > 2:
            return math.prod(self._shape(operator.inputs[2])) * math.prod(weights[:3])
        return 0

    def _bytes(self, operator: Any) -> int:
        total = 0
        for tensor in [*operator.inputs, *operator.outputs]:
            if tensor >= 0:
                kind = self._type(tensor)
                size = np.dtype(kind).itemsize if kind in np.sctypeDict else 1
                total += size * math.prod(self._shape(tensor))
        return total

    def cut(self, numbers: list[int]) -> bytes:
        """Return a model of these operators only; what they read from others becomes its inputs."""
        schema, graph = self._schema, self._model.subgraphs[0]
        operators = [copy.copy(graph.operators[n]) for n in numbers]
        used = [int(t) for op in operators for t in [*op.inputs, *op.outputs] if t >= 0]
        places = {old: new for new, old in enumerate(dict.fromkeys(used))}
        part, buffers, tensors = schema.SubGraphT(), [schema.BufferT()], []
        constants = set()
        for old in places:
            tensor = copy.copy(graph.tensors[old])
            buffer = self._model.buffers[tensor.buffer]
            tensor.buffer = 0
            if buffer.data is not None and len(buffer.data):
                constants.add(old)
                tensor.buffer = len(buffers)
                buffers.append(buffer)
            tensors.append(tensor)
        made = {int(t) for op in operators for t in op.outputs}
        read = {int(t) for op in operators for t in op.inputs if t >= 0}
        part.tensors, part.operators = tensors, operators
        part.inputs = [places[t] for t in places if t in read - made - constants]
        part.outputs = [places[t] for t in places if t in made - read]
        for op in operators:
            op.inputs = [places[int(t)] if t >= 0 else -1 for t in op.inputs]
            op.outputs = [places[int(t)] for t in op.outputs]
        return self._pack(part, buffers)

    def _pack(self, graph: Any, buffers: list[Any]) -> bytes:
        import flatbuffers

        model = self._schema.ModelT()
        model.version, model.description = 3, "cut by edgeconv bench"
        model.operatorCodes = self._model.operatorCodes
        model.subgraphs, model.buffers = [graph], buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def peak_macs(self) -> tuple[float | None, float | None]:
        """Multiply-adds a second of a 256-channel 1x1 convolution here, in float and in int8."""
        return self._peak("FLOAT32"), self._peak("INT8")

    def _peak(self, kind: str) -> float | None:
        schema = self._schema
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
        code.version = 3
        codes, self._model.operatorCodes = self._model.operatorCodes, [code]
        try:
            with self._open(self._pack(*self._peak_graph(kind))) as runner:
                return CHANNELS**2 * SIZE**2 / (_time_us(runner, best=True) * 1e-6)
        except EdgeconvError:
            return None
        finally:
            self._model.operatorCodes = codes

    def _peak_graph(self, kind: str) -> tuple[Any, list[Any]]:
        """One 1x1 convolution, 256 channels to 256 at 28x28, and its buffers."""
        schema, integer = self._schema, kind == "INT8"
        number = getattr(schema.TensorType, kind)
        values = np.random.default_rng(0).integers(-127, 128, (CHANNELS, 1, 1, CHANNELS))
        weight = values.astype(np.int8) if integer else (values / 127).astype(np.float32)
        bias = np.zeros(CHANNELS, np.int32 if integer else np.float32)
        buffers = [schema.BufferT() for _ in range(3)]
        buffers[1].data, buffers[2].data = weight.tobytes(), bias.tobytes()
        sums = schema.TensorType.INT32 if integer else number
        picture = (1, SIZE, SIZE, CHANNELS)
        graph, operator, options = schema.SubGraphT(), schema.OperatorT(), schema.Conv2DOptionsT()
        graph.tensors = [
            self._tensor("x", number, picture, 0, [0.02], integer),
            self._tensor("w", number, weight.shape, 1, [0.02] * CHANNELS, integer),
            self._tensor("b", sums, (CHANNELS,), 2, [0.0004] * CHANNELS, integer),
            self._tensor("y", number, picture, 0, [0.5], integer),
        ]
        options.strideH = options.strideW = 1
        operator.inputs, operator.outputs, operator.builtinOptions = [0, 1, 2], [3], options
        operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
        return graph, buffers

    def _tensor(
        self,
        name: str,
        kind: int,
        shape: tuple[int, ...],
        buffer: int,
        scales: list[float],
        integer: bool,
    ) -> Any:
        tensor = self._schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = name, kind, list(shape), buffer
        if integer:
            quantization = self._schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = scales, [0] * len(scales)
            tensor.quantization = quantization
        return tensor


def _time_us(runner: TfliteRunner, best: bool = False) -> float:
    """Median time of a run in microseconds (the smallest where a peak is asked for)."""
    call = runner.call(random_feeds(runner))
    first = timed_runs(call, 3)
    runs = max(MIN_RUNS, min(2000, math.ceil(SECONDS_PER_OP * 1e9 / max(1, min(first)))))
    times = timed_runs(call, runs)
    return float(min(times) if best else np.median(times)) / 1000
