"""Copies of noisy channels: the same net with finer steps, zeros as they were, in every runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quant_nets import NetBuilder, pictures

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.check import check_fits
from edgeconv.export.quant.copies import chain_from, copied, shared_out, widen
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.judge import run_recipe, score
from edgeconv.export.quant.observe import observe
from edgeconv.export.quant.sessions import session
from edgeconv.recipe import load_recipe


def chained(dead: bool = False) -> tuple[Graph, str]:
    """Return a net with a chain to copy and its first tensor; ``dead``: ReLU leaves zeros alone."""
    net = NetBuilder()
    first = net.conv("input", 8)
    deep = net.conv(first, 8, group=8)
    graph = net.head(net.conv(deep, 12, kernel=1))
    for node, factor in zip(graph.nodes[:2], (1 / 40, 40), strict=True):  # one channel is noisy
        for name in node.inputs[1 : 3 if factor < 1 else 2]:
            graph.constants[name] = np.array(graph.constants[name])
            graph.constants[name][0] *= factor
    if dead:
        for node in graph.nodes[:2]:
            bias = np.asarray(graph.constants[node.inputs[2]])
            graph.constants[node.inputs[2]] = np.full_like(bias, -100)
    return graph, first


def test_shares_add_up_to_the_weight() -> None:
    values = np.arange(-127, 128, dtype=np.int8).reshape(51, 5, 1, 1)
    each = (1, 2, 3, 4, 2)
    parts = shared_out(values, each)
    ends = np.cumsum([0, *each])
    for channel in range(5):
        part = parts[:, ends[channel] : ends[channel + 1]].astype(int)
        assert np.array_equal(part.sum(axis=1), values[:, channel])
        assert np.ptp(part, axis=1).max() <= 1


def test_a_widened_net_is_the_same_function() -> None:
    graph, first = chained()
    wide = widen(graph, {first: (1, 2, 3, 4, 1, 1, 2, 1)})
    assert wide.shape(first)[1] == 15
    feeds = pictures(graph, 3)
    (name,) = graph.outputs
    np.testing.assert_allclose(
        observe(wide, feeds).outputs[name], observe(graph, feeds).outputs[name], atol=1e-5
    )
    with pytest.raises(EdgeconvError, match="nowhere"):
        widen(graph, {"nowhere": (2,)})
    assert chain_from(graph, graph.outputs[0]) is None


def test_zeros_padding_and_relu_stay_exact_in_every_copy() -> None:
    """Channels that ReLU keeps at zero are the integer zero in all copies: nothing changes behind."""
    graph, first = chained()
    feeds = pictures(graph)
    done = quantize(graph, feeds, recipe="fast")
    dead, _ = chained(dead=True)
    held = {}
    for node in dead.nodes:
        weights = done.recipe.weights.get(node.name)
        if weights is not None and node in dead.nodes[:2]:
            weights = replace(weights, bias=np.full_like(weights.bias, -(1 << 24)))
            weights = replace(weights, float_bias=np.full_like(weights.float_bias, -100))
        if weights is not None:
            held[node.name] = weights
    recipe = replace(done.recipe, weights=held, float_outputs={})
    wide, copies = copied(dead, recipe, {first: (4, 3, 2, 1, 4, 3, 2, 1)})
    plain = run_recipe(dead, recipe, feeds, 1)[graph.outputs[0]]
    assert np.array_equal(run_recipe(wide, copies, feeds, 1)[graph.outputs[0]], plain)


def test_copies_take_noise_away_and_travel_in_the_recipe(tmp_path: Path) -> None:
    graph, _ = chained()
    feeds, fresh = pictures(graph, 20), pictures(graph, 24, seed=7)
    wanted = observe(graph, fresh).outputs
    plain, finer = (quantize(graph, feeds, recipe="fast", copies=share) for share in (0.0, 1.0))
    assert finer.recipe.copies
    noise = [score(graph, wanted, run_recipe(d.graph, d.recipe, fresh, 1)) for d in (plain, finer)]
    assert noise[1].sqnr_db > noise[0].sqnr_db + 1
    finer.recipe.save(tmp_path / "recipe.json")
    loaded = load_recipe(tmp_path / "recipe.json")
    assert check_fits(loaded, graph) == []
    assert check_fits(replace(loaded, copies={}), graph) != []
    again = emit_qdq(widen(graph, loaded.copies), loaded).model
    model = emit_qdq(finer.graph, finer.recipe).model
    for feed in fresh[:2]:
        first, second = (session(m).run(None, feed)[0] for m in (again, model))
        assert np.array_equal(first, second)


def test_onnx_tflite_and_core_ml_hold_the_copies(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("coremltools")
    from ai_edge_litert.interpreter import Interpreter
    from coreml_kit import sqnr_db

    from edgeconv.export.coreml.emit import emit_coreml
    from edgeconv.export.tflite.emit import emit_tflite
    from edgeconv.mil import open_program

    graph, _ = chained()
    done = quantize(graph, pictures(graph, 20), recipe="fast", copies=1.0, form="zero-point-free")
    assert done.recipe.copies
    (feed,) = pictures(graph, 1, seed=5)
    name = graph.outputs[0]
    recipe = replace(done.recipe, float_outputs={})
    wanted = run_recipe(done.graph, recipe, [feed], 1)[name][0]
    step = recipe.activations[name].scale
    made = emit_tflite(done.graph, recipe, precision="int8")
    interpreter: Any = Interpreter(model_content=made.data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], np.moveaxis(feed["input"], 1, 3)
    )
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.abs(got - wanted).max() <= 1.01 * step
    package = emit_coreml(done.graph, recipe, path=tmp_path / "a.mlpackage", precision="int8")
    assert sqnr_db(wanted, open_program(package.path).run(feed)[name]) > 30
