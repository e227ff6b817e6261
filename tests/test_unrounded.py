"""A float operator reads what a float operator made, or a float input, before it is rounded for others."""

from dataclasses import replace

import numpy as np
import pytest
from graph_kit import floats, graph_of, run
from tflite_kit import Worker, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import sessions
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.recipe import FROM_FILE, Recipe
from edgeconv.runtimes.litert import open_model

Made = tuple[Graph, Recipe, Graph]


@pytest.fixture(scope="module")
def made() -> Made:
    """Exp and Log have no INT8 form; the convolutions read x and e as integers."""
    graph = simplify_graph(
        graph_of(
            """(float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z, float[1,4,8,8] u) {
 e = Exp(x)
 y = Conv(e, w)
 z = Log(e)
 u = Conv(x, v) }""",
            w=floats(4, 4, 1, 1, seed=1),
            v=floats(4, 4, 1, 1, seed=2),
        )
    )
    feeds = [{"x": 2 * floats(1, 4, 8, 8, seed=seed)} for seed in range(12)]
    done = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    assert {"e", "x"} <= done.recipe.activations.keys()
    return done.graph, done.recipe, graph


def test_the_float_branch_is_exact_and_the_integers_are_as_they_were(
    made: Made, worker: Worker
) -> None:
    graph, recipe, real = made
    feed = {"x": 2 * floats(1, 4, 8, 8, seed=99)}
    wanted = dict(zip(real.outputs, run(real, feed), strict=True))
    own = replace(recipe, name=FROM_FILE)  # whose every reader reads the integers
    onnx, rounded = (sessions.session(emit_qdq(graph, r).model) for r in (recipe, own))
    found = dict(zip(graph.outputs, onnx.run(graph.outputs, feed), strict=True))
    coarse = dict(zip(graph.outputs, rounded.run(graph.outputs, feed), strict=True))
    lite, _ = run_nchw(worker, emit_tflite(graph, recipe, precision="int8"), feed)
    step = recipe.activations["z"].scale if "z" in recipe.activations else 0.0
    for outputs in (found, lite):
        np.testing.assert_allclose(outputs["z"], wanted["z"], atol=step / 2 + 1e-5)
        np.testing.assert_array_equal(outputs["u"], coarse["u"])
    assert np.abs(coarse["z"] - wanted["z"]).max() > 0.5
    file = emit_tflite(graph, own, precision="int8")
    assert np.abs(run_nchw(worker, file, feed)[0]["z"] - wanted["z"]).max() > 0.5


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 6, 4)])
def test_an_input_that_is_an_output_goes_out_as_it_came_in(shape: tuple[int, ...]) -> None:
    sizes, one = ",".join(map(str, shape)), (1,) * (len(shape) - 2)
    body = f"(float[{sizes}] x) => (float[{sizes}] y, float[{sizes}] x) {{ y = Conv(x, w) }}"
    graph = graph_of(body, w=floats(shape[1], shape[1], *one))
    feeds = [{"x": floats(*shape, seed=seed)} for seed in range(8)]
    done = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    made = emit_tflite(done.graph, done.recipe, precision="int8")
    with open_model(made.data) as runner:
        given = floats(*made.inputs[0].shape, seed=9)  # as the file stores it
        np.testing.assert_array_equal(runner.infer({"x": given})["x"], given)


@pytest.mark.parametrize("writer", ["onnx", "promise", "executorch"])
def test_the_real_values_of_a_relu_that_its_integers_imply_are_clamped(writer: str) -> None:
    """A convolution in float; another reads its ReLU as integers, and Exp, which has no INT8 form, as it was."""
    graph = simplify_graph(
        graph_of(
            """(float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
 c = Conv(x, v)
 r = Relu(c)
 y = Conv(r, w)
 z = Exp(r) }""",
            w=floats(4, 4, 1, 1, seed=1),
            v=floats(4, 4, 1, 1, seed=2) / 4,
        )
    )
    feeds = [{"x": 2 * floats(1, 4, 8, 8, seed=seed)} for seed in range(12)]
    done = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    clamped = next(node for node in done.graph.nodes if node.clamp is not None)
    assert clamped.output in done.recipe.activations
    others = {n: w for n, w in done.recipe.weights.items() if n != clamped.name}
    recipe = replace(
        done.recipe, weights=others, float_nodes=(*done.recipe.float_nodes, clamped.name)
    )
    feed = {"x": 2 * floats(1, 4, 8, 8, seed=99)}
    if writer == "executorch":
        torch = pytest.importorskip("torch")
        pytest.importorskip("executorch")
        from torch.ao.quantization.fx import _decomposed  # noqa: F401 - registers the integer operators

        from edgeconv.export.executorch.module import GraphModule

        ran = GraphModule(done.graph, recipe)(torch.from_numpy(feed["x"]))
        made = dict(zip(done.graph.outputs, (value.numpy() for value in ran), strict=True))["z"]
    else:
        model = emit_qdq(done.graph, recipe, free=writer == "promise").model
        made = sessions.session(model, integers=False).run(["z"], feed)[0]
    step = recipe.activations["z"].scale if "z" in recipe.activations else 0.0
    wanted = run(graph, feed)[1]
    np.testing.assert_allclose(made, wanted, atol=step / 2 + 1e-5)


def test_a_promise_without_zero_points_rounds_for_those_who_read_integers() -> None:
    """A Core ML file's Conv reads integers beside a Transpose that moves the same tensor's real values."""
    graph = simplify_graph(
        graph_of(
            """(float[1,4,16,16] x) => (float[1,4,16,16] y, float[1,16,16,4] z) {
 a = Conv(x, w)
 y = Conv(a, v)
 z = Transpose<perm=[0,2,3,1]>(a) }""",
            w=floats(4, 4, 1, 1, seed=1),
            v=floats(4, 4, 1, 1, seed=2),
        )
    )
    feeds = [{"x": floats(1, 4, 16, 16, seed=seed)} for seed in range(12)]
    done = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    recipe, feed = replace(done.recipe, float_outputs={}), {"x": floats(1, 4, 16, 16, seed=99)}

    def values(free: bool) -> int:
        session = sessions.session(emit_qdq(done.graph, recipe, free=free).model, integers=False)
        return len(np.unique(session.run(["z"], feed)[0]))

    assert values(free=False) <= 256
    assert values(free=True) > 900  # of 1024
