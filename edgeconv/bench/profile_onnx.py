"""onnxruntime's profiler, its trace turned into one cost an operator."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bench.costs import OpCost
from edgeconv.bench.loop import timed_runs, warm_up
from edgeconv.bench.worker import random_feeds
from edgeconv.files import temporary_folder
from edgeconv.formats.census import ONNX_DYNAMIC, ONNX_INTEGER
from edgeconv.formats.onnx_file import WireConstant, WireGraph, WireNode, read_onnx
from edgeconv.runtimes.checks import Shapes
from edgeconv.runtimes.onnxrt import open_model

SUFFIX = "_kernel_time"
MIN_RUNS, SECONDS = 20, 1.0


def profile(path: Path, threads: int, shapes: Shapes | None) -> list[OpCost]:
    """Run an .onnx file under the profiler; return each operator's mean time without the slowest tenth."""
    with temporary_folder() as folder:
        saved = folder / "optimised.onnx"
        with open_model(
            path,
            threads=threads,
            shapes=shapes,
            profile=folder / "trace",
            save_optimized=saved,
        ) as runner:
            call = runner.call(random_feeds(runner))
            warm = warm_up(call, None, 0.2)
            runs = max(MIN_RUNS, math.ceil(SECONDS * 1e9 / max(1, min(warm))))
            timed_runs(call, runs)
            trace = json.loads(runner.end_profile().read_bytes())
        graph = read_onnx(saved.read_bytes(), path.name)
    return costs_of_trace(trace, graph, skip=len(warm))


def costs_of_trace(trace: list[dict[str, Any]], graph: WireGraph, skip: int) -> list[OpCost]:
    """Turn a trace into costs, dropping each operator's first ``skip`` runs (the warm-up)."""
    nodes = {node.name: node for node in graph.nodes if node.name}
    events: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in trace:
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX):
            key = (event["name"].removesuffix(SUFFIX), event["args"].get("node_index", ""))
            events.setdefault(key, []).append(event)
    costs = []
    for (name, _), seen in events.items():
        times = sorted(event["dur"] for event in seen[min(skip, len(seen) - 1) :])
        kept = times[: max(1, math.ceil(0.9 * len(times)))]
        args = seen[-1]["args"]
        weights = _weights(nodes.get(name), graph)
        costs.append(
            OpCost(
                name=name,
                op=args["op_name"],
                us=sum(kept) / len(kept),
                macs=multiply_adds(args, weights),
                bytes=_bytes(args, nodes.get(name), graph),
                integer=args["op_name"] in ONNX_INTEGER | ONNX_DYNAMIC,
            )
        )
    return costs


def _weights(node: WireNode | None, graph: WireGraph) -> WireConstant | None:
    """The constant operand with two or more axes: the filter or the matrix."""
    if node is None:
        return None
    found = [graph.constants[n] for n in node.inputs if n in graph.constants]
    for maker in graph.nodes:  # int8 weights of a float operator come through a DequantizeLinear
        if maker.op == "DequantizeLinear" and maker.outputs[0] in node.inputs:
            found += [graph.constants[n] for n in maker.inputs[:1] if n in graph.constants]
    wide = [constant for constant in found if len(constant.shape) >= 2]
    return max(wide, key=lambda constant: math.prod(constant.shape), default=None)


def _shapes(args: Mapping[str, Any], side: str) -> list[list[int]]:
    return [next(iter(item.values())) for item in args.get(side, [])]


def multiply_adds(args: Mapping[str, Any], weights: WireConstant | None) -> int:
    """Multiply-adds of one operator from the shapes in its event; 0 for what only moves data."""
    op = args["op_name"]
    inputs, outputs = _shapes(args, "input_type_shape"), _shapes(args, "output_type_shape")
    if not inputs or not outputs:
        return 0
    produced = math.prod(outputs[0])
    if "ConvTranspose" in op:
        return math.prod(inputs[0]) * math.prod(weights.shape[1:]) if weights else 0
    if "Conv" in op:
        return produced * math.prod(weights.shape[1:]) if weights else 0
    if "Gemm" in op or "MatMul" in op:
        return produced * (inputs[0][-1] if inputs[0] else 0)
    return 0


def _bytes(args: Mapping[str, Any], node: WireNode | None, graph: WireGraph) -> int:
    """Activations read and written, and the constants (the event leaves out packed ones)."""
    moved = int(args.get("activation_size", 0)) + int(args.get("output_size", 0))
    if node is None:
        return moved + int(args.get("parameter_size", 0))
    for name in node.inputs:
        constant = graph.constants.get(name)
        if constant is not None and not constant.dtype.startswith("type"):
            moved += math.prod(constant.shape) * np.dtype(constant.dtype).itemsize
    return moved


CHANNELS, SIZE = 256, 28


def peak_macs(threads: int) -> tuple[float | None, float | None]:
    """Multiply-adds a second that a 256-channel 1x1 convolution reaches here in float and in int8."""
    return (_rate(_float_model(), threads), _rate(_int8_model(), threads))


def _rate(model: bytes, threads: int) -> float | None:
    with open_model(model, threads=threads) as runner:
        call = runner.call(random_feeds(runner))
        times = warm_up(call, None, 0.3)
    return CHANNELS * CHANNELS * SIZE * SIZE / (min(times) * 1e-9)


def _float_model() -> bytes:
    from edgeconv.formats.onnx_write import model_bytes, tensor_bytes

    weight = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, 1, 1))
    return model_bytes(
        [("Conv", ["x", "w"], ["y"])],
        [tensor_bytes("w", weight.astype(np.float32))],
        ("x", "float32", (1, CHANNELS, SIZE, SIZE)),
        ("y", "float32", (1, CHANNELS, SIZE, SIZE)),
    )


def _int8_model() -> bytes:
    from edgeconv.formats.onnx_write import model_bytes, tensor_bytes

    weight = np.random.default_rng(0).integers(-127, 128, (CHANNELS, CHANNELS, 1, 1))
    constants = [
        tensor_bytes("w", weight.astype(np.int8)),
        tensor_bytes("s", np.array(0.02, np.float32)),
        tensor_bytes("ws", np.full(CHANNELS, 0.02, np.float32)),
        tensor_bytes("z", np.array(128, np.uint8)),
        tensor_bytes("wz", np.zeros(CHANNELS, np.int8)),
    ]
    return model_bytes(
        [("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"])],
        constants,
        ("x", "uint8", (1, CHANNELS, SIZE, SIZE)),
        ("y", "uint8", (1, CHANNELS, SIZE, SIZE)),
    )
