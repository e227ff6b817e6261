"""Each exact rewrite for onnxruntime changes the file and not one output bit."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from quant_nets import NetBuilder, pictures, residual_net, shuffle_net
from random_nets import RandomNet, random_nets
from tflite_kit import minmax_recipe

from edgeconv.api import make_options
from edgeconv.errors import UsageError
from edgeconv.export.emit import EmitRequest
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.engine import quantize
from edgeconv.export.rewrites.table import (
    ALL,
    BY_CPU,
    WIDE,
    Rewrites,
    rewrite,
)
from edgeconv.export.targets import TARGETS
from edgeconv.export.tflite.rewrites import chosen


def ghost_net() -> Graph:
    """Ghost modules with their concats, a gate, and a residual that joins two of them."""
    net = NetBuilder()
    stem = net.conv("input", 12, stride=2)

    def ghost(source: str, half: int, clamp: Any) -> str:
        n, _, height, width = net.graph.shape(source)
        primary = net.conv(source, half, kernel=1, clamp=clamp)
        cheap = net.conv(primary, half, group=half, clamp=clamp)
        return net.add("Concat", [primary, cheap], (n, 2 * half, height, width), axis=1)

    wide = ghost(stem, 10, (0.0, float("inf")))
    pooled = net.add("GlobalAveragePool", [wide], (1, 20, 1, 1))
    gate = net.conv(net.conv(pooled, 4, kernel=1), 20, kernel=1, clamp=(0.0, 1.0))
    gated = net.add("Mul", [wide, gate], net.graph.shape(wide))
    narrow = ghost(gated, 6, None)
    again = ghost(ghost(narrow, 10, (0.0, float("inf"))), 6, None)
    joined = net.add("Add", [narrow, again], net.graph.shape(narrow))
    return net.head(net.conv(joined, 16, kernel=1))


def coordinates_net() -> Graph:
    """A CoordConv: constant places are joined with what a layer makes; a depthwise layer lies elsewhere."""
    net = NetBuilder()
    stem = net.conv("input", 12, stride=2)
    _, count, height, width = net.graph.shape(stem)
    places = net.constant("places", np.ones((1, 2, height, width), np.float32))
    placed = net.add("Concat", [stem, places], (1, count + 2, height, width), axis=1)
    narrow = net.conv(placed, 20, kernel=1)
    return net.head(net.conv(net.conv(narrow, 20, group=20), 16, kernel=1))


NETS = {
    **{"residual": residual_net, "shuffle": shuffle_net},
    **{"ghost": ghost_net, "coordinates": coordinates_net},
}
CASES = [
    ("shuffle", Rewrites(fold_shuffles=True), "shuffles folded"),
    ("shuffle", Rewrites(densify=True), "made dense"),
    ("shuffle", Rewrites(pad_shuffles=True), "1x shuffled channels padded"),
    ("residual", Rewrites(pad_channels=True), "padded to a multiple of 16"),
    ("ghost", Rewrites(pad_channels=True), "4x depthwise"),
    ("coordinates", Rewrites(pad_channels=True), "1x depthwise"),
    ("residual", Rewrites(pad_stem=True), "padded to 4 channels"),
    ("residual", Rewrites(fold_pixels=True), "1x input pictures read 4"),
    ("ghost", Rewrites(join_ghosts=True), "2x narrow ghost modules"),
    ("shuffle", ALL, "multiple of 16"),
    ("ghost", ALL, "multiple of 16"),
    ("ghost", WIDE, "2x narrow ghost modules"),
    ("ghost", BY_CPU["any"]["size"], "read 4"),
]


def run(graph: Graph, recipe: Any, feeds: Any, **options: Any) -> list[np.ndarray[Any, Any]]:
    data = emit_qdq(graph, recipe, **options).model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return [session.run(None, feed)[0] for feed in feeds]


@pytest.mark.parametrize(("net", "rewrites", "said"), CASES)
def test_a_rewrite_says_what_it_did_and_keeps_every_bit(
    net: str, rewrites: Rewrites, said: str
) -> None:
    graph = NETS[net]()
    done = quantize(graph, pictures(graph), recipe="fast")
    emitted = emit_qdq(done.graph, done.recipe, rewrites=rewrites)
    assert any(part in str(change) for change in emitted.changes for part in said.split("|"))
    feeds = pictures(graph, 4, seed=3)
    for wanted, got in zip(
        run(done.graph, done.recipe, feeds),
        run(done.graph, done.recipe, feeds, rewrites=rewrites),
        strict=True,
    ):
        np.testing.assert_array_equal(wanted, got)


def test_every_depthwise_layer_has_a_multiple_of_16_channels_afterwards() -> None:
    for make in (residual_net, ghost_net):
        graph = make()
        done = quantize(graph, pictures(graph), recipe="fast")
        changed, recipe, *_ = rewrite(done.graph, done.recipe, Rewrites(pad_channels=True))
        groups = [node.int("group", 1) for node in changed.of("Conv")]
        assert all(group % 16 == 0 for group in groups if group > 1)
        for node in changed.of("Conv"):
            assert recipe.weights[node.name].values.shape[0] == changed.shape(node.output)[1]


def test_shuffled_channels_are_padded_group_by_group() -> None:
    graph = shuffle_net()
    done = quantize(graph, pictures(graph), recipe="fast")
    changed, recipe, *_ = rewrite(done.graph, done.recipe, Rewrites(pad_shuffles=True))
    deep = next(n for n in changed.of("Conv") if n.int("group", 1) > 3)
    last = changed.consumers()[deep.output][0]
    assert changed.shape(deep.output)[1] == deep.int("group", 1) == 48  # three groups of 4 in 16s
    assert recipe.weights[last.name].values.shape[1] == 16
    assert not recipe.weights[last.name].values[:, 4:].any()
    assert not list(changed.of("ChannelShuffle"))


def test_a_rewrite_leaves_its_arguments_alone() -> None:
    graph = shuffle_net()
    done = quantize(graph, pictures(graph), recipe="fast")
    before = [(node.op, list(node.inputs), dict(node.attrs)) for node in done.graph.nodes]
    rewrite(done.graph, done.recipe, ALL)
    assert before == [(node.op, list(node.inputs), dict(node.attrs)) for node in done.graph.nodes]
    assert done.recipe.weights.keys() == {n.name for n in done.graph.of("Conv", "Gemm")}


def test_only_x86_is_wanted_dense_layers() -> None:
    for cpu in BY_CPU.keys() - {"x86"}:
        for wanted in BY_CPU[cpu].values():
            assert not wanted.densify
            assert not wanted.fold_shuffles
    assert BY_CPU["x86"]["speed"] == ALL


def test_a_file_for_any_processor_gives_the_same_bits_and_says_what_was_done(
    tmp_path: Path,
) -> None:
    graph = shuffle_net()
    done = quantize(graph, pictures(graph), recipe="fast")
    outputs, emitted = [], {}
    for cpu in BY_CPU:
        options = ExportOptions("net.onnx", precision="int8", cpu=cpu)
        path = tmp_path / f"{cpu}.onnx"
        request = EmitRequest(done.graph, done.recipe, options, "float", {})
        emitted[cpu] = TARGETS["onnx"].emit(request, path)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs.append(np.array([session.run(None, f)[0] for f in pictures(graph, 4, seed=3)]))
        assert Rewrites(**{change.id: True for change in emitted[cpu].changes}) == Rewrites(
            # nothing depthwise has dense neighbours until all are made dense
            fold_shuffles=cpu == "x86",
            densify=cpu == "x86",
            pad_channels=cpu == "x86",
            pad_shuffles=cpu != "x86",
            pad_stem=cpu not in ("pi4", "arm"),
        )
    for cpu, other in zip(BY_CPU, outputs, strict=True):
        if cpu == "pi5":  # whose file x86's kernels compute in float in places
            np.testing.assert_allclose(outputs[0], other, atol=0.03 * np.abs(other).max())
        else:
            np.testing.assert_array_equal(outputs[0], other)
    assert emitted["pi4"].size == emitted["arm"].size < emitted["any"].size
    kinds = {cpu: _stored_kinds(tmp_path / f"{cpu}.onnx") for cpu in BY_CPU}
    assert kinds["pi5"] == {"int8"}
    assert all(kinds[cpu] == {"uint8"} for cpu in BY_CPU.keys() - {"pi5"})
    assert ["pi5" in " ".join(emitted[cpu].notes) for cpu in BY_CPU] == [
        cpu == "any" for cpu in BY_CPU
    ]


def _stored_kinds(path: Path) -> set[str]:
    """Return the types in which a file stores activations: those of zero points of QuantizeLinear."""
    model = onnx.load(path)
    held = {i.name: onnx.numpy_helper.to_array(i).dtype.name for i in model.graph.initializer}
    return {held[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"}


def test_a_pi_4_is_given_no_joined_ghosts_in_tflite() -> None:
    assert chosen("any", "speed").join_ghosts
    assert chosen("pi5", "speed").join_ghosts
    assert chosen("x86", "speed").join_ghosts
    assert chosen("pi4", "speed") == chosen("arm", "speed")
    assert not chosen("pi4", "speed").join_ghosts


def test_an_unknown_processor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--cpu aarch64 is unknown: any, x86, pi4, pi5, arm"):
        make_options("net.onnx", precision="int8", cpu="aarch64")


@given(random_nets())
@settings(derandomize=True, database=None, max_examples=30)
def test_all_rewrites_keep_every_bit_of_random_nets(case: RandomNet) -> None:
    graph = prepare(from_onnx(case.model), int8=True).graph
    recipe = minmax_recipe(graph, case.feeds)
    wanted = run(graph, recipe, [case.feeds])
    for rewrites in (BY_CPU["any"]["speed"], ALL):
        np.testing.assert_array_equal(run(graph, recipe, [case.feeds], rewrites=rewrites), wanted)
