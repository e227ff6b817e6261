"""The graph's own operations keep it consistent."""

import random

import numpy as np
import pytest
from graph_kit import describe, graph_of, ops, run
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node

CHAIN = "(float[2,3] x) => (float[2,3] y) { a = Relu(x)\n b = Sigmoid(a)\n y = Add(b, a) }"


def test_producers_and_consumers_know_every_edge() -> None:
    graph = graph_of(CHAIN)
    assert {name: node.op for name, node in graph.producers().items()} == {
        "a": "Relu",
        "b": "Sigmoid",
        "y": "Add",
    }
    assert [node.op for node in graph.consumers()["a"]] == ["Sigmoid", "Add"]
    twice = graph_of("(float[2] x) => (float[2] y) { y = Mul(x, x) }")
    assert len(twice.consumers()["x"]) == 2


def test_a_clone_is_rewritten_alone() -> None:
    graph = graph_of(CHAIN)
    before = describe(graph)
    other = graph.clone()
    other.nodes[0].inputs[0] = "b"
    other.nodes[0].attrs["alpha"] = 1.0
    other.nodes.pop()
    other.outputs.append("a")
    other.add_constant("c", np.zeros(1))
    other.declare("new", (1,), np.float32)
    assert describe(graph) == before
    assert graph.outputs == ["y"]
    assert not graph.constants
    assert "new" not in graph.shapes


def test_fresh_names_meet_no_tensor_constant_or_node() -> None:
    graph = graph_of(CHAIN)
    graph.constants["c"] = np.zeros(1)
    graph.nodes[0].name = "relu"
    for stem in ("x", "a", "c", "relu"):
        assert graph.fresh(stem) == f"{stem}_1"
    assert graph.fresh("new") == "new"
    assert graph.add_constant("c", np.zeros(1)) == "c_1"
    assert graph.add_constant("c", np.zeros(1)) == "c_2"


def test_redirect_moves_every_reader() -> None:
    graph = graph_of(CHAIN)
    graph.redirect("a", "x")
    assert graph.nodes[1].inputs == ["x"]
    assert graph.nodes[2].inputs == ["b", "x"]
    assert graph.prune()
    assert ops(graph) == ["Sigmoid", "Add"]
    assert "a" not in graph.shapes


def test_redirect_keeps_the_name_of_an_output() -> None:
    graph = graph_of("(float[2] x) => (float[2] y) { a = Relu(x)\n b = Neg(a)\n y = Identity(a) }")
    graph.nodes.pop()
    graph.redirect("y", "a")
    assert graph.outputs == ["y"]
    assert graph.nodes[0].outputs == ["y"]
    assert graph.nodes[1].inputs == ["y"]


@pytest.mark.parametrize("source", ["x", "c", "z"])
def test_redirect_refuses_to_merge_an_output_with_another_border(source: str) -> None:
    graph = graph_of(
        "(float[2] x) => (float[2] y, float[2] z) { y = Identity(x)\n z = Relu(x) }",
        c=np.zeros(2, np.float32),
    )
    with pytest.raises(EdgeconvError, match="output y cannot be merged"):
        graph.redirect("y", source)


def test_prune_drops_what_reaches_no_output() -> None:
    graph = graph_of(
        "(float[2] x) => (float[2] y) { a = Add(x, c)\n b = Relu(a)\n y = Neg(x) }",
        c=np.zeros(2, np.float32),
    )
    assert graph.prune()
    assert ops(graph) == ["Neg"]
    assert graph.shapes.keys() == {"x", "y"}
    assert not graph.constants
    assert not graph.prune()


def test_prune_keeps_an_input_that_nobody_reads() -> None:
    graph = graph_of("(float[2] x, float[3] unused) => (float[2] y) { y = Neg(x) }")
    graph.prune()
    assert graph.shape("unused") == (3,)


@given(st.randoms(use_true_random=False))
def test_any_order_sorts_into_a_graph_that_computes_the_same(draw: random.Random) -> None:
    graph = graph_of(CHAIN)
    x = np.array([[-1, 0, 1], [2, 3, -4]], np.float32)
    expected = np.maximum(x, 0) + 1 / (1 + np.exp(-np.maximum(x, 0)))
    draw.shuffle(graph.nodes)
    graph.sort()
    assert ops(graph) == ["Relu", "Sigmoid", "Add"]
    np.testing.assert_allclose(run(graph, {"x": x})[0], expected, rtol=1e-6)


def test_sort_leaves_a_sorted_graph_alone() -> None:
    graph = graph_of("(float[2] x) => (float[2] b, float[2] a) { b = Relu(x)\n a = Neg(x) }")
    graph.sort()
    assert ops(graph) == ["Relu", "Neg"]


def test_sort_names_a_tensor_that_nothing_makes() -> None:
    graph = graph_of(CHAIN)
    graph.nodes[1].inputs = ["ghost"]
    with pytest.raises(EdgeconvError, match="tensor ghost is read but nothing makes it"):
        graph.sort()


def test_sort_refuses_a_cycle() -> None:
    graph = Graph("g", 18, ["x"], ["b"])
    graph.nodes = [Node("Add", "1", ["x", "b"], ["a"]), Node("Relu", "2", ["a"], ["b"])]
    with pytest.raises(EdgeconvError, match="nothing makes it"):
        graph.sort()


def test_attributes_have_defaults_and_types() -> None:
    node = Node("Op", "n", [], ["y"], {"i": 2, "f": 1, "s": "NOTSET", "l": [1, 2]})
    assert (node.int("i", 0), node.int("none", 7)) == (2, 7)
    assert (node.float("f", 0.0), node.float("none", 0.5)) == (1.0, 0.5)
    assert (node.str("s", ""), node.str("none", "x")) == ("NOTSET", "x")
    assert (node.ints("l", ()), node.ints("none", (3,))) == ([1, 2], [3])


def test_a_constant_input_is_none_where_it_is_absent_or_computed() -> None:
    graph = graph_of("(float[2] x) => (float[2] y) { y = Clip(x, , c) }", c=np.array(3, np.float32))
    node = graph.nodes[0]
    assert graph.constant(node, 0) is None
    assert graph.constant(node, 1) is None
    assert graph.constant(node, 2) == 3
    assert graph.constant(node, 9) is None
    assert graph.shape("c") == ()
    assert graph.dtype("c") == np.float32
