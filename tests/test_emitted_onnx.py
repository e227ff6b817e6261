"""What a QDQ file holds for tiny graphs, in words: operators, options, borders, integers and scales.

Where a change is meant: pytest --update-golden tests/test_emitted_onnx.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from conftest import Golden
from emitted_cases import Case, case, clamped, of, shown, w
from graph_kit import ints
from onnx import helper, numpy_helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import same_scale
from edgeconv.export.qdq.emit import EmittedOnnx, _is_finer_softmax, _miscounts, emit_qdq
from edgeconv.export.quant.fit import LayerFit
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.ranges import quantized_tensors
from edgeconv.recipe import Activation, Recipe

INF = float("inf")
POOL = "y = AveragePool<kernel_shape=[2,2], pads=[0,0,1,1], ceil_mode={}, count_include_pad={}>(x)"
CASES: dict[str, tuple[Case, Mapping[str, Any]]] = {
    "convolution": (case("y = Conv<group=2, strides=[2,1]>(x, w, b)", w=w(6, 2, 1, 1), b=w(6)), {}),
    "int8 activations": (case("y = Conv(x, w)", w=w(2, 4, 1, 1)), {"signed": True}),
    "uint8 borders": (case("y = Conv(x, w)", w=w(2, 4, 1, 1)), {"io": "uint8"}),
    "int8 borders": (case("y = Conv(x, w)", w=w(2, 4, 1, 1)), {"io": "int8"}),
    "int8 borders and activations": (case("y = Conv(x, w)", w=w(2, 4, 1, 1)), {"io": "int8", "signed": True}),
    "uint8 borders of int8 activations": (case("y = Conv(x, w)", w=w(2, 4, 1, 1)), {"io": "uint8", "signed": True}),
    "bounds": (clamped(-0.5, 0.75, "y = Conv(x, w)", w=w(2, 4, 1, 1)), {}),
    "relu": (clamped(0, INF, "y = Conv(x, w)", w=w(2, 4, 1, 1)), {}),
    "at most 0.75": (clamped(-INF, 0.75, "y = Conv(x, w)", w=w(2, 4, 1, 1)), {}),
    "a bound that the range implies": (clamped(-9, 9, "y = Conv(x, w)", w=w(2, 4, 1, 1)), {}),
    "kept in float": (case("t = Conv(x, w) y = Sigmoid(t)", w=w(2, 4, 1, 1)), {"floats": "Conv"}),
    "float after float": (case("e = Exp(x) t = Neg(e) y = Add(t, e)"), {}),
    "transposed groups": (case("y = ConvTranspose<group=2>(x, w)", w=w(4, 1, 2, 2)), {}),
    "transposed": (case("y = ConvTranspose(x, w)", w=w(4, 3, 2, 2)), {}),
    "layer": (of("float[2,5]", "y = Gemm<transB=1>(x, w, b)", w=w(3, 5), b=w(3)), {}),
    "moved": (case("t = Transpose<perm=[0,2,3,1]>(x) y = Slice(t, one, two, one)", one=ints(1), two=ints(2)), {}),
    "split": (case("y, z = Split<axis=1, num_outputs=2>(x)"), {}),
    "joined": (clamped(0, INF, "y = Concat<axis=1>(x, c)", c=w(1, 1, 5, 6)), {}),
    "padded": (case("y = Pad(x, p, c)", p=ints(0, 0, 1, 0, 0, 0, 0, 2), c=np.array(1, np.float32)), {}),
    "padded with zeros": (case("y = Pad(x, p)", p=ints(0, 0, 1, 0, 0, 0, 0, 2)), {"signed": True}),
    "constant operand": (case("y = Mul(x, c)", c=w(1, 4, 1, 1)), {}),
    "pool that is counted wrong": (case(POOL.format(1, 1)), {}),
    "pool": (case(POOL.format(1, 0)), {}),
    "softmax": (case("y = Softmax<axis=1>(x)"), {}),
    "indices": (case("y = ArgMax<axis=1>(x)", ), {}),
    "an input given back": (case("y = Relu(x)"), {"outputs": ["y", "x"], "io": "uint8"}),
    "a constant given": (case("y = Add(x, c)", c=w(1, 4, 1, 1)), {"outputs": ["y", "c"]}),
    "without zero points": (case("t = Conv(x, w) s = Sigmoid(t) y = Mul(t, s)", w=w(2, 4, 1, 1)), {"free": True}),
}  # fmt: skip


def model_text(made: EmittedOnnx) -> list[str]:
    """Return the lines of a model: borders, then nodes with their constants in words."""
    graph = made.model.graph
    held = {item.name: numpy_helper.to_array(item) for item in graph.initializer}

    def read(name: str) -> str:
        value = held.get(name)
        return name if value is None else shown(value)

    borders = [
        f"{kind} {s.name} {s.dtype}{list(s.shape)} {s.layout}"
        + (f" {s.quantization.scale:.5g}@{s.quantization.zero_point}" if s.quantization else "")
        for kind, specs in (("in", made.inputs), ("out", made.outputs))
        for s in specs
    ]
    nodes = []
    for node in graph.node:
        options = sorted((a.name, helper.get_attribute_value(a)) for a in node.attribute)
        told = "".join(f"; {name} {value}" for name, value in options)
        nodes.append(
            f"{node.op_type} {node.name} ({', '.join(map(read, node.input))}) -> {', '.join(node.output)}{told}"
        )
    names = [f"{name} is {other}" for name, other in made.names.items() if name != other]
    declared = [
        f"{v.name} {v.type.tensor_type.elem_type}{[d.dim_value for d in v.type.tensor_type.shape.dim]}"
        for v in [*graph.input, *graph.output]
    ]
    return [*borders, ", ".join(declared), *nodes, *names]


def recipe_of(graph: Graph) -> Recipe:
    """Return a recipe whose scales depend on nothing but the order of the tensors."""
    groups, held = same_scale(graph, frozenset()), dict[str, Activation]()
    for number, name in enumerate(quantized_tensors(graph, frozenset())):
        scale, zero = (8 + number) / 256, 4 * number - 20
        own = Activation(scale, zero, (-128 - zero) * scale, (127 - zero) * scale)
        held[name] = held.setdefault(groups.root(name), own)
    bare = Recipe("r", "asymmetric", held, {})
    fit = LayerFit(graph, Observation(1), held, "nearest", "none")
    return replace(bare, weights=fit.without_pictures(bare))


def emitted(one: Case, how: Mapping[str, Any]) -> EmittedOnnx:
    graph = one.graph(int8=True)
    recipe = recipe_of(graph)
    graph.outputs = how.get("outputs", graph.outputs)
    kept = tuple(node.name for node in graph.nodes if node.op == how.get("floats"))
    options = {key: value for key, value in how.items() if key not in ("outputs", "floats")}
    return emit_qdq(graph, replace(recipe, float_nodes=(*recipe.float_nodes, *kept)), **options)


def test_a_qdq_file_holds_what_its_listing_says(golden: Golden) -> None:
    parts = []
    for name, (one, how) in CASES.items():
        parts.append(
            "\n".join(
                [f"{name}: {one.nodes}", *(f"  {line}" for line in model_text(emitted(one, how)))]
            )
        )
    golden.check("emitted/onnx.txt", "\n\n".join(parts) + "\n")


def shuffled() -> tuple[Graph, Recipe]:
    graph = Graph("net", 18, ["x"], ["y"])
    graph.declare("x", (1, 6, 2, 3), np.float32)
    graph.declare("y", (1, 6, 2, 3), np.float32)
    graph.nodes = [Node("ChannelShuffle", "s", ["x"], ["y"], {"groups": 3})]
    return graph, Recipe(
        "r", "asymmetric", dict.fromkeys("xy", Activation(0.5, 0, -64.0, 63.5)), {}
    )


def test_a_shuffle_is_a_gather_or_a_transpose_of_groups() -> None:
    graph, recipe = shuffled()
    gather = model_text(emit_qdq(graph, recipe))
    assert "Gather s (x_quantized, int64[6](0 2 4 1 3 5)) -> y_quantized; axis 1" in gather
    turned = [
        line
        for line in model_text(emit_qdq(graph, recipe, shuffle="transpose"))
        if " is " not in line
    ]
    assert [line for line in turned if line.startswith(("Reshape", "Transpose"))] == [
        "Reshape y_quantized_split_Reshape (x_quantized, int64[5](1 3 2 2 3)) -> y_quantized_split",
        "Transpose y_quantized_swapped_Transpose (y_quantized_split) -> y_quantized_swapped; perm [0, 2, 1, 3, 4]",
        "Reshape s (y_quantized_swapped, int64[4](1 6 2 3)) -> y_quantized",
    ]
    floats = replace(recipe, float_nodes=("s",))
    assert any(line.startswith("Gather s (x, ") for line in model_text(emit_qdq(graph, floats)))
    made = emit_qdq(graph, recipe, metadata={"b": "2", "a": "1"}).model
    assert [(p.key, p.value) for p in made.metadata_props] == [("a", "1"), ("b", "2")]
    assert (made.producer_name, made.opset_import[0].version, made.graph.name) == (
        "edgeconv",
        18,
        "net",
    )


def test_what_a_file_cannot_hold_is_refused() -> None:
    one, _ = CASES["transposed groups"]
    graph = one.graph(int8=True)
    recipe = recipe_of(graph)
    (name,) = recipe.weights
    apart = replace(recipe.weights[name], scales=np.array([1.0, 2.0], np.float32))
    with pytest.raises(EdgeconvError, match=f"{name} is a grouped ConvTranspose"):
        emit_qdq(graph, replace(recipe, weights={name: apart}))
    bare = {key: held for key, held in recipe.activations.items() if key != "x"}
    with pytest.raises(
        EdgeconvError, match=f"integer weights for {name} but no scale for its input x"
    ):
        emit_qdq(graph, replace(recipe, activations=bare))


def test_softmaxes_and_pools_that_onnxruntime_breaks_are_known() -> None:
    soft = Node("Softmax", "s", ["x"], ["y"])
    for scale, finer in ((1 / 256, False), (1 / 257, True)):
        assert _is_finer_softmax(soft, Activation(scale, -128, 0.0, 1.0)) is finer
        assert not _is_finer_softmax(
            Node("Sigmoid", "s", ["x"], ["y"]), Activation(scale, -128, 0.0, 1.0)
        )
    for counted in (0, 1):
        for ceiled in (0, 1):
            attrs = {"count_include_pad": counted, "ceil_mode": ceiled}
            assert _miscounts(Node("AveragePool", "p", ["x"], ["y"], dict(attrs))) is bool(
                counted and ceiled
            )
            assert not _miscounts(Node("MaxPool", "p", ["x"], ["y"], dict(attrs)))
    assert not _miscounts(Node("AveragePool", "p", ["x"], ["y"], {"ceil_mode": 1}))
    assert not _miscounts(Node("AveragePool", "p", ["x"], ["y"], {"count_include_pad": 1}))
