"""A tensor that a Concat joins with far larger ones keeps a scale of its own where something computes with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_kit import graph_of, ints
from quant_nets import NetBuilder, pictures
from test_qdq import optimized_ops
from tflite_kit import Worker, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.integer.groups import stored_alike
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.engine import Quantized, quantize
from edgeconv.export.quant.judge import run_recipe
from edgeconv.export.quant.rescaled import finer
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.recipe import Activation

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def u_net(size: float, read_twice: bool = True) -> Graph:
    """Two layers whose results a Concat joins; the second one's are ``size`` times as large as the first one's."""
    net = NetBuilder()
    first = net.conv("input", 8)
    source = first if read_twice else "input"
    second = net.conv(source, 8)
    graph = net.graph
    weights = graph.producers()[second].inputs[1]
    graph.constants[weights] = graph.constants[weights] * np.float32(size)
    last = net.conv(net.add("Concat", [first, second], (1, 16, 16, 16), axis=1), 4, clamp=None)
    return net.finish(last)


def scales_of(made: Quantized) -> tuple[bool, bool]:
    """Return whether the Concat's first and second input are stored as what it makes is."""
    held, (concat,) = made.recipe.activations, made.graph.of("Concat")
    first, second = (stored_alike(held[n], held[concat.output]) for n in concat.inputs)
    return first, second


@pytest.fixture(scope="module")
def made() -> Quantized:
    graph = u_net(20.0)
    return quantize(graph, pictures(graph), recipe="fast")


def test_a_tensor_that_a_layer_reads_too_keeps_its_own_scale(
    made: Quantized, tmp_path: Path
) -> None:
    assert scales_of(made) == (False, True)
    operators = optimized_ops(emit_qdq(made.graph, made.recipe).model, tmp_path / "optimized.onnx")
    assert operators.count("QLinearConcat") == 1
    assert "Concat" not in operators


@pytest.mark.parametrize(
    ("size", "read_twice"), [(20.0, False), (0.5, True)], ids=["concat-alone", "small"]
)
def test_one_scale_holds_where_nothing_is_gained(size: float, read_twice: bool) -> None:
    graph = u_net(size, read_twice)
    assert scales_of(quantize(graph, pictures(graph), recipe="fast")) == (True, True)


def test_tflite_rounds_in_front_of_the_concat_and_agrees_with_onnx(
    made: Quantized, worker: Worker
) -> None:
    emitted = emit_tflite(made.graph, made.recipe, precision="int8")
    assert emitted.requantized == 1
    feeds = pictures(made.graph, 3, seed=5)
    wanted = run_recipe(made.graph, made.recipe, feeds, 1)
    (output,) = made.graph.outputs
    for row, feed in enumerate(feeds):
        got = run_nchw(worker, emitted, feed)[0][output]
        assert np.abs(got - wanted[output][row]).max() <= 1.01 * step(made, output)


def test_the_twin_and_executorch_round_it_again_too(made: Quantized) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.ao.quantization.fx._decomposed")
    from edgeconv.export.executorch.module import GraphModule
    from edgeconv.export.twin.net import Twin

    feeds = pictures(made.graph, 3, seed=5)
    wanted = run_recipe(made.graph, made.recipe, feeds, 1)
    (output,) = made.graph.outputs
    module, twin = GraphModule(made.graph, made.recipe), Twin(made.graph, made.recipe)
    for row, feed in enumerate(feeds):
        value = torch.from_numpy(feed["input"])
        with torch.no_grad():
            found = module(value)[0], twin.run({"input": value}, integer=True)[output]
        for got in found:
            assert np.abs(got.numpy() - wanted[output][row]).max() <= 1.01 * step(made, output)


def step(made: Quantized, tensor: str) -> float:
    return made.recipe.activations[tensor].scale


A = "a = Relu(x) b = Sigmoid(a)"
C = "c = Concat<axis=1>(a, a)"


@pytest.mark.parametrize(
    ("body", "steps", "floats", "found"),
    [
        (f"{A} y = Concat<axis=1>(a, x)", {"a": 2, "x": 4, "y": 4}, (), ["a to y"]),
        (f"{A} y = Concat<axis=1>(a, x)", {"a": 3, "x": 4, "y": 4}, (), []),
        (f"{A} y = Concat<axis=1>(a, x)", {"a": 2, "x": 4, "y": 4}, ("y",), []),
        (f"{A} y = Concat<axis=1>(a, x)", {"a": 2, "x": 4, "y": 4}, ("b",), ["a to y"]),
        # nothing computes with them
        ("a = Relu(x) m = Reshape(a, s) y = Concat<axis=1>(a, x)", {"a": 2, "x": 4, "y": 4}, (), []),
        ("a = Relu(x) m = Reshape(a, s) b = Sigmoid(m) y = Concat<axis=1>(a, x)", {"a": 2, "x": 4, "y": 4}, (), ["a to y"]),
        # another Concat reads them
        (f"a = Relu(x) y = Concat<axis=1>(a, x) {C} d = Sigmoid(c)", {"a": 2, "c": 2, "x": 4, "y": 4}, (), ["a to y"]),
        (f"a = Relu(x) y = Concat<axis=1>(a, x) {C} d = Sigmoid(c)", {"a": 2, "c": 3, "x": 4, "y": 4}, (), []),
        # an output is made of them
        ("a = Relu(x) m = Reshape(a, s) y = Concat<axis=1>(a, x)", {"m": 2, "a": 2, "x": 4, "y": 4}, (), ["a to y"]),
        # what is joined and joined again is compared with the last one, and rounded at most once
        (f"{A} {C} y = Concat<axis=1>(c, x)", {"a": 2, "c": 2, "x": 4, "y": 4}, (), ["a to c"]),
        (f"{A} {C} d = Sigmoid(c) y = Concat<axis=1>(c, x)", {"a": 2, "c": 2, "x": 4, "y": 4}, (), ["c to y"]),
        (f"{A} {C} d = Sigmoid(c) y = Concat<axis=1>(c, x)", {"a": 1, "c": 2, "x": 4, "y": 4}, (), ["a to c", "c to y"]),
    ],
)  # fmt: skip
def test_which_tensors_have_a_finer_scale(
    body: str, steps: dict[str, float], floats: Any, found: list[str]
) -> None:
    width = 6 if "(c, x)" in body else 4
    graph = graph_of(f"(float[1,2] x) => (float[1,{width}] y) {{ {body} }}", s=ints(1, 2))
    graph.outputs += [name for name in steps if name == "m"]
    names = {node.output: node.name for node in graph.nodes}
    cut = frozenset((name, node.name) for node in graph.of("Concat") for name in node.inputs)
    own = {name: Activation(each, 0, 0.0, 0.0) for name, each in steps.items()}
    links = finer(graph, cut, own, frozenset(names[name] for name in floats))
    assert links == {(a, names[b]) for a, b in (each.split(" to ") for each in found)}
