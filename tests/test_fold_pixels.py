"""Pixels folded into channels, and ghost modules joined: the same integers from other convolutions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quant_nets import RELU, NetBuilder, pictures
from tflite_kit import Worker, feed, minmax_recipe, run_nchw

from edgeconv.export.emit import EmitRequest
from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.integer.pair import Pair
from edgeconv.export.options import ExportOptions
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.engine import quantize
from edgeconv.export.rewrites.fold_pixels import Columns, fold_four, fold_stride
from edgeconv.export.rewrites.join_ghosts import join_ghosts
from edgeconv.export.rewrites.table import Rewrites as OnnxRewrites
from edgeconv.export.targets import TARGETS
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.export.tflite.rewrites import NONE, Rewrites
from edgeconv.recipe import Recipe


def stem_net(
    kernel: int = 3, stride: int = 2, colours: int = 3, size: tuple[int, int] = (16, 16)
) -> Graph:
    """A strided convolution of the pixels and a 1x1 convolution."""
    net = NetBuilder((1, colours, *size))
    return net.finish(net.conv(net.conv("input", 5, kernel, stride), 7, kernel=1))


def ghost(half: int, cheap: Clamp | None = RELU, primary: Clamp | None = RELU) -> Graph:
    """One ghost module between two convolutions."""
    net = NetBuilder()
    first = net.conv(net.conv("input", 9, stride=2), half, kernel=1, clamp=primary)
    second = net.conv(first, half, group=half, clamp=cheap)
    both = net.add("Concat", [first, second], (1, 2 * half, 8, 8), axis=1)
    return net.finish(net.conv(both, 6, kernel=1))


def recipe_of(graph: Graph) -> Recipe:
    return minmax_recipe(graph, feed(graph))


# Columns


@settings(max_examples=60)
@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    pad=st.integers(0, 6),
    windows=st.integers(1, 3),
    positions=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_folded_kernels_make_the_sums_of_the_row(
    kernel: int, stride: int, pad: int, windows: int, positions: int, seed: int
) -> None:
    columns = Columns(kernel, stride, pad, windows * stride)
    random = np.random.default_rng(seed)
    row = random.integers(-9, 9, (2, positions * columns.pixels))
    kernels = random.integers(-9, 9, (3, 2, 1, kernel))
    wide = np.pad(row, ((0, 0), (pad, kernel + columns.pixels * 4)))
    wanted = [
        [np.sum(k[:, 0] * wide[:, x * stride : x * stride + kernel]) for k in kernels]
        for x in range(positions * windows)
    ]
    folded = columns.fold(kernels)[:, :, :, :, 0]  # windows, outputs, colours, pixels, taps
    places = row.reshape(2, positions, columns.pixels)
    places = np.pad(places, ((0, 0), (columns.before, columns.taps), (0, 0)))
    got = [
        [np.einsum("cpt,ctp->", k, places[:, at : at + columns.taps]) for k in folded[window]]
        for at in range(positions)
        for window in range(windows)
    ]
    np.testing.assert_array_equal(got, wanted)


# TFLite


@pytest.mark.parametrize(
    ("graph", "changes"),
    [
        (stem_net(), 1),
        (stem_net(kernel=7), 1),
        (stem_net(kernel=5, colours=1), 1),
        (stem_net(kernel=5, stride=4), 1),
        (stem_net(size=(15, 16)), 1),
        (stem_net(size=(16, 15)), 0),
        (stem_net(stride=1), 0),
        (stem_net(colours=8), 0),
    ],
    ids=["3x3", "7x7", "grey", "stride 4", "odd height", "odd width", "stride 1", "8 channels"],
)
@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_tflite_reads_pixels_by_the_stride_and_keeps_every_bit(
    worker: Worker, graph: Graph, changes: int, io: str
) -> None:
    recipe = recipe_of(graph)
    made, plain = (
        emit_tflite(graph, recipe, precision="int8", io=io, rewrites=rewrites)  # type: ignore[arg-type]
        for rewrites in (Rewrites(fold_pixels=True), NONE)
    )
    assert len(made.changes) == changes
    assert [s.shape for s in made.inputs] == [s.shape for s in plain.inputs]
    assert made.ops.get("RESHAPE", 0) == changes
    assert "TRANSPOSE" not in made.ops
    for resolver in ("auto", "builtin"):
        wanted, _ = run_nchw(worker, plain, feed(graph), resolver)
        got, facts = run_nchw(worker, made, feed(graph), resolver)
        assert facts["delegates"] == (resolver == "auto")
        np.testing.assert_array_equal(got[graph.outputs[0]], wanted[graph.outputs[0]])


@pytest.mark.parametrize(
    ("graph", "joined"),
    [
        (ghost(8), True),
        (ghost(3, cheap=None, primary=None), True),
        (ghost(6, cheap=(0.0, 1.0), primary=(0.0, 1.0)), True),
        (ghost(9), False),
        (ghost(6, cheap=RELU, primary=None), False),
    ],
    ids=["relu", "linear", "clip", "too wide", "only one clamped"],
)
def test_tflite_joins_narrow_ghosts_and_keeps_every_bit(
    worker: Worker, graph: Graph, joined: bool
) -> None:
    recipe = recipe_of(graph)
    made, plain = (
        emit_tflite(graph, recipe, precision="int8", rewrites=rewrites)
        for rewrites in (Rewrites(join_ghosts=True), NONE)
    )
    assert bool(made.changes) == joined
    assert ("CONCATENATION" in made.ops) != joined
    for resolver in ("auto", "builtin"):
        wanted, _ = run_nchw(worker, plain, feed(graph), resolver)
        got, _ = run_nchw(worker, made, feed(graph), resolver)
        for name in graph.outputs:
            if resolver == "auto":
                np.testing.assert_array_equal(got[name], wanted[name])
            else:  # the built-in kernels round a channel by its place in a vector
                few = 3 * recipe.activations[name].scale
                np.testing.assert_allclose(got[name], wanted[name], atol=few)
    twice = [op for op in read_tflite(made.data).ops if op.code == "DEPTHWISE_CONV_2D"]
    assert len(twice) == 1


def test_a_small_file_is_asked_for_with_prefer_size(tmp_path: Path) -> None:
    graph = stem_net()
    recipe, ops = recipe_of(graph), {}
    for prefer in ("speed", "size"):
        options = ExportOptions("net.onnx", precision="int8", prefer=prefer)
        about = {"preprocessing": None, "precision": "int8", "net": {"source": "net.onnx"}}
        request = EmitRequest(graph, recipe, options, "float", about)
        made = TARGETS["tflite"].emit(request, tmp_path / f"{prefer}.tflite")
        ops[prefer] = made.stats["histogram"].get("RESHAPE", 0)
        assert bool(made.changes) == (prefer == "speed")
    assert ops == {"speed": 1, "size": 0}


# ONNX


def run_onnx(graph: Graph, recipe: Recipe, rewrites: OnnxRewrites, **options: str) -> np.ndarray:
    data = emit_qdq(graph, recipe, rewrites=rewrites, **options).model.SerializeToString()  # type: ignore[arg-type]
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    answers = []
    for picture in pictures(graph, 4, seed=3):
        value = picture["input"]
        if spec.type != "tensor(float)":
            value = np.clip(np.rint(value * 100) + 128, 0, 255).astype(np.uint8)
        answers.append(session.run(None, {spec.name: value})[0])
    return np.array(answers)


@pytest.mark.parametrize(
    ("graph", "folded"),
    [
        (stem_net(), True),
        (stem_net(kernel=7, colours=1), True),
        (stem_net(size=(9, 20)), True),
        (stem_net(size=(16, 18)), False),
        (stem_net(stride=1), False),
        (stem_net(colours=4), False),
    ],
    ids=["3x3", "7x7 grey", "odd height", "18 wide", "stride 1", "4 channels"],
)
def test_onnx_reads_four_pixels_at_a_time_and_keeps_every_bit(graph: Graph, folded: bool) -> None:
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    wanted = OnnxRewrites(fold_pixels=True)
    changed = emit_qdq(graph, recipe, rewrites=wanted)
    assert bool(changed.changes) == folded
    for io in ("float", "uint8"):
        np.testing.assert_array_equal(
            run_onnx(graph, recipe, wanted, io=io), run_onnx(graph, recipe, OnnxRewrites(), io=io)
        )
    ops = [node.op_type for node in changed.model.graph.node]
    assert ops.count("QuantizeLinear") == 3  # no more than before: pixels move as integers
    assert ops.count("Transpose") == 4 * folded


def test_onnxruntime_transposes_the_pixels_once_and_the_output_once(tmp_path: Path) -> None:
    graph = stem_net()
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    for rewrites in (OnnxRewrites(), OnnxRewrites(fold_pixels=True)):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3  # it warns that the file suits this machine alone
        data = emit_qdq(graph, recipe, rewrites=rewrites).model.SerializeToString()
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        kept = onnx.load(options.optimized_model_filepath).graph.node
        assert sum(node.op_type == "Transpose" for node in kept) == 2


# What keeps a rewrite away


def test_pixels_that_something_else_reads_stay_as_they_are() -> None:
    net = NetBuilder()
    stem = net.conv("input", 5, stride=2)
    other = net.conv("input", 5, stride=2)
    graph = net.finish(net.add("Add", [stem, other], net.graph.shape(stem)))
    pair = Pair.of(graph, recipe_of(graph))
    assert fold_four(pair) == fold_stride(pair) == 0


def test_a_half_that_something_else_reads_or_that_is_an_output_is_not_joined() -> None:
    graph = ghost(6)
    half, made = next(graph.of("Concat")).inputs
    for name in (half, made):
        seen = graph.clone()
        seen.outputs = [*graph.outputs, name]
        assert join_ghosts(Pair.of(seen, recipe_of(seen))) == 0
    pair = Pair.of(graph, recipe_of(graph))
    pair.activations[half] = replace(pair.activations[half], zero_point=3)
    assert join_ghosts(pair) == 0


def test_layers_in_float_are_left_alone() -> None:
    graph, stem = ghost(6), stem_net()
    for found in (graph, stem):
        recipe = recipe_of(found)
        names = tuple(node.name for node in found.of("Conv"))
        pair = Pair.of(found, replace(recipe, float_nodes=names))
        assert join_ghosts(pair) == fold_four(pair) == fold_stride(pair) == 0
