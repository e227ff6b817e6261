"""What TFLite's exact rewrites make of small graphs, by value: numpy computes both, and what pays is counted by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")
pytest.importorskip("flatbuffers")

from graph_kit import floats, graph_of, ints, scalar
from quant_nets import NetBuilder
from tflite_kit import minmax_recipe

from edgeconv.export.graph import Graph
from edgeconv.export.kinds import Cpu
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.tflite.carry_rows import carry_rows
from edgeconv.export.tflite.channel_regions import shuffled_regions
from edgeconv.export.tflite.cut_first import cut_first
from edgeconv.export.tflite.detection import _options
from edgeconv.export.tflite.fold_transposes import fold_transposes
from edgeconv.export.tflite.join_groups import join_groups
from edgeconv.export.tflite.join_moves import join_moves
from edgeconv.export.tflite.join_turned import join_turned
from edgeconv.export.tflite.layout import conversion, is_copy, order, stored_axis, stored_shape
from edgeconv.export.tflite.lose_batch import lose_batch
from edgeconv.export.tflite.order_channels import (
    Part,
    _cost_after,
    _cost_before,
    _sink,
    order_channels,
)
from edgeconv.export.tflite.place_shuffles import place_shuffles
from edgeconv.export.tflite.plan import OPERATOR
from edgeconv.export.tflite.rewrites import chosen
from edgeconv.export.tflite.row_regions import Order, order_of
from edgeconv.export.tflite.stack_parts import _filled, _pays
from edgeconv.export.tflite.swap_places import swap_places
from edgeconv.export.tflite.table import planned
from edgeconv.export.tflite.turn_together import turn_together
from edgeconv.recipe import Recipe

Values = dict[str, NDArray[Any]]


def computed(graph: Graph, seed: int = 5) -> list[NDArray[Any]]:
    """Return the outputs for noise, by numpy, of the few operators that these nets have."""
    values: Values = dict(graph.constants)
    for number, name in enumerate(graph.inputs):
        values[name] = floats(*graph.shape(name), seed=seed + number).astype(np.float64)
    for node in graph.nodes:
        args = [values[name] for name in node.inputs if name]
        x = args[0]
        made: list[NDArray[Any]]
        if node.op == "Conv":  # of one pixel
            group, (_, step) = node.int("group", 1), node.ints("strides", [1, 1])
            x = x[:, :, ::step, ::step]
            n, c, h, w = x.shape
            parts = x.reshape(n, group, c // group, h, w)
            kernel = args[1].reshape(group, -1, c // group)
            out = np.einsum("ngchw,goc->ngohw", parts, kernel).reshape(n, -1, h, w)
            made = [out + (args[2].reshape(1, -1, 1, 1) if len(args) > 2 else 0)]
        elif node.op == "ChannelShuffle":
            n, c, h, w = x.shape
            groups = node.int("groups", 1)
            made = [x.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(n, c, h, w)]
        elif node.op == "DepthToSpace":
            n, c, h, w = x.shape
            b, deep = node.int("blocksize", 1), node.str("mode", "DCR") == "DCR"
            parts = x.reshape((n, b, b, -1, h, w) if deep else (n, -1, b, b, h, w))
            parts = parts.transpose((0, 3, 4, 1, 5, 2) if deep else (0, 1, 4, 2, 5, 3))
            made = [parts.reshape(n, c // b**2, h * b, w * b)]
        elif node.op == "Concat":
            made = [np.concatenate(args, node.int("axis", 0))]
        elif node.op == "Slice":
            cut = [slice(None)] * x.ndim
            steps = args[4] if len(args) > 4 else np.ones_like(args[1])
            for first, last, axis, step in zip(args[1], args[2], args[3], steps, strict=True):
                cut[axis] = slice(first, last, step)
            made = [x[tuple(cut)]]
        elif node.op == "Split":
            axis = node.int("axis", 0)
            sizes = [graph.shape(name)[axis] for name in node.outputs]
            made = np.split(x, np.cumsum(sizes)[:-1], axis)
        elif node.op == "Gather":
            made = [np.take(x, args[1], node.int("axis", 0))]
        elif node.op == "Reshape":
            made = [x.reshape(graph.shape(node.output))]
        elif node.op == "Transpose":
            sizes = node.ints("sizes", x.shape)
            turned = x.reshape(sizes).transpose(node.ints("perm", range(len(sizes))[::-1]))
            made = [turned.reshape(graph.shape(node.output))]
        elif node.op == "MatMul":
            made = [x @ (args[1].swapaxes(-1, -2) if node.int("transB", 0) else args[1])]
        elif node.op == "Softmax":
            powers = np.exp(x)
            made = [powers / powers.sum(node.int("axis", -1), keepdims=True)]
        else:
            made = [{"Add": np.add, "Mul": np.multiply, "Relu": lambda v: np.maximum(v, 0), "Abs": np.abs}[node.op](*args)]  # type: ignore[operator]  # fmt: skip
        for name, value in zip(node.outputs, made, strict=True):
            assert value.shape == graph.shape(name), (node, value.shape)
            values[name] = np.clip(value, *node.clamp) if node.clamp else value
    return [values[name] for name in graph.outputs]


def same(before: Graph, after: Graph) -> None:
    """Assert that both compute the same."""
    for old, new in zip(computed(before), computed(after), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-9)


def codes(graph: Graph) -> str:
    return " ".join(node.op for node in graph.nodes)


def recipe_of(graph: Graph) -> Recipe:
    values = {n: np.array([-1, 1], np.float32) for n in graph.shapes if n not in graph.constants}
    return minmax_recipe(graph, {}, values=values)


def agrees(graph: Graph, recipe: Recipe) -> None:
    """Assert that a recipe has the layers' own rows and columns, and a scale for every tensor."""
    for node in graph.of("Conv"):
        held, real = recipe.weights[node.name], graph.constants[node.inputs[1]]
        scales = held.scales.reshape(-1, 1, 1, 1)
        assert np.abs(held.values * scales - real).max() <= 0.51 * held.scales.max()
        np.testing.assert_allclose(held.float_bias, graph.constants[node.inputs[2]], atol=1e-6)
    for node in graph.nodes:
        assert all(name in recipe.activations for name in node.outputs)


# -- channels


def cut(net: NetBuilder, source: str, first: int, last: int, step: int = 1, axis: int = 1) -> str:
    bounds = [net.constant("bound", np.array([n], np.int64)) for n in (first, last, axis, step)]
    shape = list(net.graph.shape(source))
    shape[axis] = len(range(first, last, step))
    return net.add("Slice", [source, *bounds], shape)


def mixed(net: NetBuilder, *parts: str, groups: int = 2) -> str:
    n, _, h, w = net.graph.shape(parts[0])
    shape = (n, sum(net.graph.shape(part)[1] for part in parts), h, w)
    joined = net.add("Concat", list(parts), shape, axis=1)
    return net.add("ChannelShuffle", [joined], shape, groups=groups)


def one(net: NetBuilder, source: str, channels: int, **more: Any) -> str:
    return net.conv(source, channels, kernel=1, clamp=None, **more)


def deep(net: NetBuilder, source: str, **more: Any) -> str:
    channels = net.graph.shape(source)[1]
    return one(net, source, channels, group=channels, **more)


def keep(net: NetBuilder, op: str, *sources: str) -> str:
    return net.add(op, list(sources), net.graph.shape(sources[0]))


def halves(size: int = 2, batch: int = 1) -> tuple[NetBuilder, str, str]:
    """Two layers of four channels, joined and shuffled, and both halves of that."""
    net = NetBuilder((batch, 3, size, size))
    both = mixed(net, one(net, "input", 4), one(net, "input", 4))
    return net, cut(net, both, 0, 4), cut(net, both, 4, 8)


def plain() -> Graph:
    net, left, right = halves()
    return net.finish(one(net, left, 5), one(net, right, 6))


def stepped() -> Graph:
    """Every second channel here, the others there: layers make theirs in that order."""
    net = NetBuilder((2, 3, 2, 2))
    both = mixed(net, one(net, "input", 8), one(net, "input", 4), groups=4)
    return net.finish(*(one(net, cut(net, both, k, 12, 2), 3 + k) for k in (0, 1)))


def through() -> Graph:
    """What lies between takes any order: layers by channel, Relus, products with one number."""
    net, left, right = halves()
    k = net.constant("k", np.array(0.5, np.float32))
    behind = keep(net, "Abs", deep(net, keep(net, "Relu", right)))
    scaled = net.add("Mul", [left, k], net.graph.shape(left))
    return net.finish(one(net, behind, 3), one(net, scaled, 2))


def by_channel() -> Graph:
    """A product with a number for each channel wants them in the graph's order."""
    net, left, right = halves()
    c = net.constant("c", np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1))
    scaled = net.add("Mul", [left, c], net.graph.shape(left))
    return net.finish(one(net, scaled, 2), one(net, right, 2))


def handed_out() -> Graph:
    net, left, right = halves()
    return net.finish(left, one(net, right, 2))


def source_seen() -> Graph:
    """A layer whose result is handed out too keeps its rows."""
    net = NetBuilder((1, 3, 2, 2))
    first, second = one(net, "input", 8), one(net, "input", 8)
    both = mixed(net, first, second, groups=4)
    ends = [one(net, cut(net, both, k, 16, 2), 3) for k in (0, 1)]
    return net.finish(*ends, second)


def grouped() -> Graph:
    """A grouped layer behind: channels stay where they are."""
    net, left, right = halves()
    return net.finish(one(net, left, 4, group=2), one(net, right, 2))


def summed() -> Graph:
    net, left, right = halves()
    return net.finish(one(net, keep(net, "Add", left, right), 2))


def of_layers_by_channel() -> Graph:
    """Sources made by channel from a dense layer: its rows and theirs are sorted."""
    net = NetBuilder((1, 3, 2, 2))
    first = keep(net, "Relu", deep(net, one(net, "input", 8)))
    both = mixed(net, first, one(net, "input", 8), groups=4)
    return net.finish(*(one(net, cut(net, both, k, 16, 2), 3) for k in (0, 1)))


def split() -> Graph:
    net = NetBuilder((1, 3, 2, 2))
    both = mixed(net, one(net, "input", 6), one(net, "input", 6), groups=3)
    outs = ["p0", "p1"]
    for name, size in zip(outs, (4, 8), strict=True):
        net.graph.declare(name, (1, size, 2, 2), np.float32)
    net.add("Split", [both], (1, 4, 2, 2), axis=1)
    net.graph.nodes[-1].outputs = outs
    return net.finish(one(net, "p0", 2), one(net, "p1", 3))


FEW = "Conv Conv Slice Slice Concat Slice Slice Concat Conv Conv"
MORE = "Conv Conv Slice Slice Slice Slice Concat Slice Slice Concat"
CHANNELS: dict[str, tuple[Callable[[], Graph], str]] = {
    "plain": (plain, FEW), "stepped": (stepped, FEW), "split": (split, FEW), "source seen": (source_seen, FEW),
    "of layers by channel": (of_layers_by_channel, "Conv Conv Relu Conv Slice Slice Concat Slice Slice Concat Conv Conv"),
    "through": (through, f"{MORE} Relu Conv Abs Mul Conv Conv"), "by channel": (by_channel, f"{MORE} Mul Conv Conv"),
    "handed out": (handed_out, f"{MORE} Conv"), "grouped": (grouped, f"{MORE} Conv Conv"),
    "summed": (summed, "Conv Conv Concat ChannelShuffle Slice Slice Add Conv"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_are_stored_in_the_order_of_their_readers(name: str) -> None:
    build, after = CHANNELS[name]
    graph = build()
    made, _, changes = order_channels(graph, None)
    same(graph, made)
    recipe = recipe_of(graph)
    agrees(graph, recipe)
    whole, integers, again = order_channels(graph, recipe)
    assert integers is not None
    same(graph, whole)
    agrees(whole, integers)
    assert again == changes
    assert codes(made) == codes(whole) == after
    assert [(c.id, c.count) for c in changes] == (
        [] if name == "summed" else [("order_channels", 1)]
    )


def test_what_a_region_moves_is_counted() -> None:
    """Before: 96 values, two more times 32 of the shuffle, in 9 operators of 2048 each."""
    graph = plain()
    (region,) = shuffled_regions(graph)
    assert [node.op for node in region.nodes] == ["Concat", "ChannelShuffle", "Slice", "Slice"]
    assert _cost_before(graph, region) == 96 + 2 * 32 + 9 * 2048
    left, right = region.sinks
    a, b = (region.channels[left][k].source for k in (0, 1))
    assert [c.place for c in region.channels[left]] == [0, 0, 1, 1]
    assert [c.place for c in region.channels[right]] == [2, 2, 3, 3]
    assert [c.source for c in region.channels[right]] == [a, b, a, b]
    orders: dict[str, Any] = {a: None, b: None}
    sinks = {name: _sink(graph, region, name, orders) for name in region.sinks}
    assert sinks[left].parts == [Part(a, 0, 2), Part(b, 0, 2)]
    assert sinks[right].parts == [Part(a, 2, 4), Part(b, 2, 4)]
    assert sinks[left].order.tolist() == [0, 2, 1, 3]
    # a cut and a join of four pixels: 16 channels at least for every part
    assert _cost_after(graph, sinks) == 4 * (2048 + 4 * 16) + 2 * (2048 + 4 * 32)
    graph.outputs.append(left)
    stays = _sink(graph, region, left, orders)
    assert [(p.source, p.first, p.last) for p in stays.parts] == [(a, 0, 1), (b, 0, 1), (a, 1, 2), (b, 1, 2)]  # fmt: skip
    assert stays.behind is None
    turned = _sink(graph, region, right, {a: np.array([2, 3, 0, 1]), b: None})
    assert turned.parts == [Part(a, 0, 2), Part(b, 2, 4)]


# -- shuffles


def shuffle_net(group: int = 1, stride: int = 2, clamp: Any = None, last: int = 6) -> Graph:
    net = NetBuilder((1, 6, 4, 4))
    first = one(net, "input", 6, group=group)
    shuffled = net.add("ChannelShuffle", [first], (1, 6, 4, 4), clamp, groups=3)
    return net.finish(one(net, shuffled, 6, group=last, stride=stride))


def pixel_shuffle(mode: str = "CRD", group: int = 1) -> Graph:
    """torch's PixelShuffle between two layers (arXiv 1609.05158)."""
    net = NetBuilder((1, 6, 4, 4))
    first = one(net, "input", 12, group=group)
    return net.finish(
        one(net, net.add("DepthToSpace", [first], (1, 3, 8, 8), blocksize=2, mode=mode), 2)
    )


@pytest.mark.parametrize(
    ("graph", "after", "said"),
    [
        (shuffle_net(), "Conv Conv", ["fold_shuffles"]), (shuffle_net(3), "Conv Conv ChannelShuffle", ["move_shuffles"]),
        (shuffle_net(3, 1), "Conv ChannelShuffle Conv", []), (shuffle_net(3, 2, (0.0, 1.0)), "Conv ChannelShuffle Conv", []),
        (pixel_shuffle(), "Conv DepthToSpace Conv", ["order_blocks"]), (pixel_shuffle(group=3), "Conv DepthToSpace Conv", []),
        (pixel_shuffle(mode="DCR"), "Conv DepthToSpace Conv", []),
        (shuffle_net(3, 2, None, 2), "Conv ChannelShuffle Conv", []), (shuffle_net(1, 1, None, 1), "Conv Conv", ["fold_shuffles"]),
    ],
)  # fmt: skip
def test_shuffles_are_put_where_they_cost_least(graph: Graph, after: str, said: list[str]) -> None:
    made, none, changes = place_shuffles(graph, None)
    assert (codes(made), none) == (after, None)
    assert [(change.id, change.count) for change in changes] == [(name, 1) for name in said]
    same(graph, made)
    whole, recipe, _ = place_shuffles(graph, recipe_of(graph))
    assert recipe is not None
    agrees(whole, recipe)
    if said == ["fold_shuffles"]:
        assert len(recipe.activations) < len(recipe_of(graph).activations)


@pytest.mark.parametrize(
    ("inside", "count", "rows", "pays"),
    [
        # two parts of 8: nothing is filled up; 74 for the copies, 2.75 a row
        (8, 2, 24, True), (8, 2, 26, False), (8, 2, 32, False), (8, 3, 40, True), (8, 3, 41, False),
        # two parts of 4 are filled up to 16 where 8 would do: 8 more products a row
        (4, 2, 8, True), (4, 2, 16, False), (12, 2, 8, True), (12, 2, 16, False),
    ],
)  # fmt: skip
def test_parts_are_stacked_where_copies_cost_more(
    inside: int, count: int, rows: int, pays: bool
) -> None:
    assert _pays(inside, count, rows) is pays
    assert [_filled(n) for n in (1, 8, 9, 16)] == [8, 8, 16, 16]


CPUS = get_args(Cpu)


@pytest.mark.parametrize("cpu", CPUS)
def test_a_processor_is_given_the_rewrites_that_it_rewards(cpu: Cpu) -> None:
    copies, wide = cpu in {"pi4", "pi5", "arm", "x86"}, cpu in {"pi4", "arm"}
    speed, size = chosen(cpu, "speed"), chosen(cpu, "size")
    assert (speed.place_shuffles, speed.join_ghosts, speed.fold_pixels, speed.pad_rows) == (True, not wide, True, True)  # fmt: skip
    assert (size.place_shuffles, size.join_ghosts, size.fold_pixels, size.pad_rows) == (True, False, False, False)  # fmt: skip
    for found in (speed, size):
        assert (found.part_strides, found.stack_parts) == (copies, copies)


# -- rows, turns, moves


def moved(graph: Graph) -> int:
    return planned(graph).cost


W = {"w": floats(8, 8, seed=3)}


def rows_net(inner: str, **more: Any) -> Graph:
    """Rows of eight values, turned, seen one by one and turned back."""
    body = f"(float[4,6,8] x) => (float[4,6,8] y) {{ t = Transpose<perm=[1,0,2]>(x) {inner} y = Transpose<perm=[1,0,2]>(r) }}"
    return graph_of(body, **{**W, **more})


@pytest.mark.parametrize(
    ("graph", "turns"),
    [
        (rows_net("r = MatMul(t, w)"), 0), (rows_net("a = MatMul(t, w) r = Relu(a)"), 0),
        (rows_net("a = Add(t, c) r = Relu(a)", c=floats(6, 4, 8)), 0), (rows_net("a = Add(t, c) r = Relu(a)", c=floats(8)), 0),
        (rows_net("a = Mul(t, c) r = MatMul(a, w)", c=floats(6, 4, 1)), 0), (rows_net("a = Mul(c, t) r = MatMul(a, w)", c=floats(4, 1)), 0),
        (rows_net("r = Softmax<axis=-1>(t)"), 0), (rows_net("r = Softmax<axis=1>(t)"), 2), (rows_net("r = Softmax<axis=2>(t)"), 0),
        (rows_net("f = Reshape(t, s) a = MatMul(f, w) r = Reshape(a, z)", s=ints(24, 8), z=ints(6, 4, 8)), 0),
        (rows_net("a = MatMul(t, w) b = Add(a, t) r = Abs(b)"), 0),
        (rows_net("a = MatMul(t, w) b = Softmax<axis=0>(a) c = MatMul(b, w) r = Add(c, a)"), None),
        (rows_net("p, q = Split<axis=2>(t, s) r = Concat<axis=2>(q, p)", s=ints(4, 4)), None),
    ],
)  # fmt: skip
def test_rows_keep_the_order_in_which_they_come(graph: Graph, turns: int | None) -> None:
    made, none = carry_rows(graph, None, moved)
    assert none is None
    same(graph, made)
    if turns is not None:
        assert codes(join_moves(made, None)).split().count("Transpose") == turns
    assert moved(made) <= moved(graph)


def bins_net(inner: str, made: str = "", behind: str = "f = Reshape(c, b) y = Transpose<perm=[0,2,1]>(f)", **more: Any) -> Graph:  # fmt: skip
    """Bins of four sides a place, as a detector parts them, and what is made of their pictures."""
    body = (
        f"(float[1,9,64] x) => (float[1,9,4] y{made}) {{ r = Reshape(x, a) "
        f"t = Transpose<perm=[0,3,2,1]>(r) {inner} {behind} }}"
    )
    return graph_of(body, a=ints(1, 9, 4, 16), b=ints(1, 4, 9), m=floats(1, 16, 1, 1), **more)


MEAN = "c = Conv(s, m)"


@pytest.mark.parametrize(
    ("graph", "swapped"),
    [
        (bins_net(f"s = Softmax<axis=1>(t) {MEAN}"), True), (bins_net(f"s = Softmax<axis=2>(t) {MEAN}"), False),
        (bins_net(f"l = Relu(t) s = Add(l, t) {MEAN}"), True), (bins_net(f"s = Mul(t, k) {MEAN}", k=floats(16, 1, 1)), True),
        (bins_net(f"s = Mul(t, k) {MEAN}", k=floats(4, 1)), False), (bins_net(f"s = Relu(t) {MEAN}", made=", float[1,16,4,9] s"), False),
        (bins_net(f"s = Relu(t) {MEAN} u = Abs(s) o = MatMul(u, q)", made=", float[1,16,4,9] o", q=floats(9, 9)), False),
        (bins_net("c = Conv<pads=[1,1,1,1]>(t, d)", d=floats(1, 16, 3, 3)), False),
        (bins_net("c = Conv(t, z)", behind="y = Reshape(c, e)", e=ints(1, 9, 4), z=floats(1, 16, 1, 1)), False),
    ],
)  # fmt: skip
def test_pixels_lie_as_what_is_around_them_has_them(graph: Graph, swapped: bool) -> None:
    recipe = recipe_of(graph)
    made, held = swap_places(graph, recipe, moved)
    assert (made is graph, held is recipe) == (not swapped, not swapped)
    if swapped:
        assert moved(made) == 0 < moved(graph)
        same(graph, made)
        assert held is not None
        assert all(n.output in held.activations for n in made.nodes)


@pytest.mark.parametrize(
    ("shape", "perm", "found"),
    [
        ((2, 3, 4), (1, 0, 2), Order((2, 3), (1, 0))), ((2, 3, 4), (0, 2, 1), None), ((2, 3, 4), (2, 0, 1), None),
        ((2, 3, 1), (1, 0, 2), None), ((2, 3, 2), (1, 0, 2), Order((2, 3), (1, 0))),
        ((2, 3, 2, 4), (1, 0, 2, 3), Order((2, 3, 2), (1, 0, 2))), ((2, 3, 4), (0, 1, 2), None),
        ((2, 3, 5, 4), (2, 0, 1, 3), Order((6, 5), (1, 0))), ((2, 3, 5, 4), (2, 1, 0, 3), Order((2, 3, 5), (2, 1, 0))),
        ((3, 4), (1, 0), None),
    ],
)  # fmt: skip
def test_an_order_of_rows_is_how_a_transpose_moves_whole_ones(
    shape: tuple[int, ...], perm: tuple[int, ...], found: Order | None
) -> None:
    made = [shape[axis] for axis in perm]
    graph = graph_of(f"(float{[*shape]} x) => (float{made} y) {{ y = Transpose<perm={[*perm]}>(x) }}")  # fmt: skip
    assert order_of(graph, graph.nodes[0]) == found
    graph.nodes[0].clamp = (0.0, 6.0)
    assert order_of(graph, graph.nodes[0]) is None
    if found is not None:
        width = made[-1]
        rows = np.arange(np.prod(shape)).reshape(*found.sizes, width)
        there = rows.transpose(*found.perm, len(found.perm))
        np.testing.assert_array_equal(there.ravel(), np.arange(rows.size).reshape(shape).transpose(perm).ravel())  # fmt: skip
        (first, second) = found.back(width)
        np.testing.assert_array_equal(there.reshape(first.values).transpose(second.values), rows)


def attention(
    cuts: str, turns: str = "", more: str = "", y: str = "float[2,3,9,4] y", **constants: Any
) -> Graph:
    body = (
        f"(float[2,9,3,12] x) => ({y}) {{ r = Relu(x) {cuts} "
        f"{turns or 'tq = Transpose<perm=[0,2,1,3]>(q) tk = Transpose<perm=[0,2,3,1]>(k) tv = Transpose<perm=[0,2,1,3]>(v)'} "
        f"s = MatMul(tq, tk) y = MatMul(s, tv) {more} }}"
    )
    return graph_of(body, sizes=ints(4, 4, 4), **constants)


SPLIT = "q, k, v = Split<axis=3>(r, sizes)"
SLICES = "q = Slice(r, n0, n4, n3) k = Slice(r, n4, n8, n3) v = Slice(r, n8, n12, n3)"
PLACES: dict[str, Any] = {f"n{n}": ints(n) for n in (0, 1, 2, 3, 4, 8, 12)}


@pytest.mark.parametrize(
    ("graph", "turns"),
    [
        (attention(SPLIT), 2), (attention(SPLIT.replace("3", "-1")), 2), (attention(SLICES, **PLACES), 2),
        (attention(SPLIT, more="o = Relu(q)", y="float[2,3,9,4] y, float[2,9,3,4] o"), 3), (attention(SPLIT, y="float[2,3,9,4] y, float[2,9,3,4] q"), 3), (attention(SPLIT, y="float[2,3,9,4] y, float[2,9,3,12] r"), 3),
        (attention(SPLIT, more="o = Abs(r)", y="float[2,3,9,4] y, float[2,9,3,12] o"), 3),
    ],
)  # fmt: skip
def test_what_is_cut_in_parts_is_turned_once(graph: Graph, turns: int) -> None:
    made, none = turn_together(graph, None, moved)
    assert none is None
    same(graph, made)
    assert codes(made).split().count("Transpose") == turns
    held = recipe_of(graph)
    whole, recipe = turn_together(graph, held, moved)
    assert recipe is not None
    assert codes(whole).split().count("Transpose") == turns
    assert all(out in recipe.activations for node in whole.nodes for out in node.outputs)
    other = replace(held.activations["x"], scale=2.0)
    wider = replace(held, activations={**held.activations, "q": other})
    assert codes(turn_together(graph, wider, moved)[0]).split().count("Transpose") == 3


def test_parts_that_are_bounded_are_turned_one_by_one() -> None:
    for op in ("Split", "Transpose"):
        graph = attention(SPLIT)
        next(graph.of(op)).clamp = (0.0, 6.0)
        assert codes(turn_together(graph, None, moved)[0]).split().count("Transpose") == 3


def product(
    body: str, /, x: str = "float[2,3,4]", v: str = "float[2,5,4]", **constants: Any
) -> Graph:
    return graph_of(f"({x} x, {v} v) => (y) {{ {body} }}", **constants)


TURN = "t = Transpose<perm=[0,2,1]>(v)"


@pytest.mark.parametrize(
    ("graph", "folded"),
    [
        (product(f"{TURN} y = MatMul(x, t)"), True), (product(f"{TURN} m = Mul(t, k) y = MatMul(x, m)", k=scalar(0.5)), True),
        (product(f"{TURN} m = Mul(k, t) y = MatMul(x, m)", k=np.array([[2]], np.float32)), True),
        (product(f"{TURN} m = Mul(t, k) y = MatMul(x, m)", k=floats(5)), False), (product(f"{TURN} m = Mul(t, t) y = MatMul(x, m)"), False),
        (product(f"{TURN} u = Relu(t) y = MatMul(x, u)"), False), (product(f"{TURN} p = MatMul(x, t) u = Transpose<perm=[0,2,1]>(t) q = MatMul(x, t) y = Add(p, q)"), False),
        (product("t = Transpose<perm=[1,0,2]>(v) y = MatMul(x, t)", v="float[4,2,5]"), False),
        (product("t = Transpose<perm=[1,0]>(v) y = MatMul(x, t)", "float[3,4]", "float[5,4]"), True),
        (product("t = Transpose(v) y = MatMul(x, t)", "float[3,4]", "float[5,4]"), True),
        (product("t = Transpose<perm=[2,1,0]>(v) y = MatMul(x, t)", v="float[5,4,2]"), False),
        (product(f"{TURN} y = MatMul(t, x)", v="float[2,3,6]"), False),
    ],
)  # fmt: skip
def test_a_product_reads_its_right_side_as_it_lies(graph: Graph, folded: bool) -> None:
    before = codes(graph)
    made = fold_transposes(graph)
    assert codes(graph) == before
    assert [node.int("transB", 0) for node in made.of("MatMul")].count(1) == int(folded)
    assert (made is graph) is not folded
    if folded:
        assert "Transpose" not in codes(made)
    same(graph, made)
    again = fold_transposes(made)
    assert again is made
    if folded:
        next(graph.of("Transpose")).clamp = (0.0, 1.0)
        assert fold_transposes(graph) is graph


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("a = Transpose<perm=[1,0,2]>(x) y = Transpose<perm=[1,0,2]>(a)", "Reshape"),
        ("a = Transpose<perm=[1,0,2]>(x) y = Transpose<perm=[0,2,1]>(a)", "Transpose"),
        ("a = Reshape(x, s) y = Reshape(a, z)", "Reshape"), ("a = Reshape(x, s) y = Transpose<perm=[1,0]>(a)", "Transpose"),
        ("a = Transpose<perm=[1,0,2]>(x) b = Reshape(a, s) y = Transpose<perm=[1,0]>(b)", "Transpose"),
        ("a = Transpose<perm=[1,0,2]>(x) b = Relu(a) y = Transpose<perm=[1,0,2]>(b)", "Transpose Relu Transpose"),
        ("a = Transpose<perm=[1,0,2]>(x) c = Transpose<perm=[0,2,1]>(a) d = Relu(a) e = Reshape(d, u) f = Reshape(c, u) y = Add(e, f)", None),
        ("a = Transpose<perm=[1,0,2]>(x) c = Transpose<perm=[1,0,2]>(a) d = Relu(a) e = Reshape(d, u) f = Reshape(c, u) y = Add(e, f)", None),
    ],
)  # fmt: skip
def test_neighbouring_moves_are_one(body: str, after: str | None) -> None:
    graph = graph_of(f"(float[2,3,4] x) => (y) {{ {body} }}", s=ints(6, 4), z=ints(4, 6), u=ints(24))  # fmt: skip
    made = join_moves(graph, None)
    same(graph, made)
    if after is None:
        return
    assert codes(made) == after
    recipe = recipe_of(graph)
    assert codes(join_moves(graph, recipe)) == after
    other = replace(recipe.activations["a"], scale=9.0)
    if after in ("Reshape", "Transpose") and "b" not in graph.shapes:
        assert join_moves(graph, replace(recipe, activations={**recipe.activations, "a": other})) is graph  # fmt: skip
        assert join_moves(graph, replace(recipe, float_nodes=(graph.nodes[0].name,))) is graph
        both = tuple(node.name for node in graph.nodes)
        assert codes(join_moves(graph, replace(recipe, float_nodes=both))) == after
        graph.nodes[0].clamp = (0.0, 6.0)
        assert join_moves(graph, None) is graph


def norm(x: str = "float[2,4,3,3]", s: Any = (2, 2, 18), t: Any = (2, 4, 3, 3), more: str = "", y: str = "y") -> Graph:  # fmt: skip
    body = f"({x} x) => ({y}) {{ r = Reshape(x, s) n = InstanceNormalization(r, g, b) y = Reshape(n, t) {more} }}"
    return graph_of(body, s=ints(*s), t=ints(*t), g=floats(s[1]), b=floats(s[1], seed=1))


@pytest.mark.parametrize(
    ("graph", "joined"),
    [
        (norm(), True), (norm("float[2,4,9]", t=(2, 4, 9)), True), (norm(s=(2, 2, 6, 3)), True), (norm(s=(2, 1, 36)), True),
        (norm(s=(2, 4, 9)), True), (norm(s=(1, 4, 18)), False), (norm(s=(2, 6, 6)), False), (norm(t=(2, 4, 9)), True),
        (norm(more="z = Relu(r)", y="y, z"), False), (norm(more="z = Relu(n)", y="y, z"), False), (norm(y="y, n"), False),
        (norm("float[2,4,3,3,1]", t=(2, 4, 3, 3, 1)), False), (norm("float[2,36]", t=(2, 36)), False),
    ],
)  # fmt: skip
def test_groups_of_a_norm_are_seen_where_nothing_moves(graph: Graph, joined: bool) -> None:
    made, _ = join_groups(graph, None)
    assert (made is graph) is not joined
    if not joined:
        return
    node, *seen = made.nodes
    groups = graph.constants[graph.nodes[1].inputs[1]].size
    assert (node.int("groups", 0), node.inputs[0], made.shape(node.output)) == (
        groups,
        "x",
        graph.shape("x"),
    )
    assert [*seen, node][0].outputs == ["y"]
    assert len(seen) == (graph.shape("x") != graph.shape("y"))
    recipe = recipe_of(graph)
    whole, held = join_groups(graph, recipe)
    assert whole is not graph
    assert held is not None
    assert held.activations[whole.nodes[0].output] == recipe.activations["n"]
    for name in ("r", "n"):
        other = replace(recipe.activations[name], scale=9.0)
        changed = replace(recipe, activations={**recipe.activations, name: other})
        assert join_groups(graph, changed)[0] is graph
    for number in (0, 2):
        bounded = graph.clone()
        bounded.nodes[number].clamp = (0.0, 6.0)
        assert join_groups(bounded, None)[0] is bounded


# -- layouts


@pytest.mark.parametrize(
    ("body", "x", "layouts", "cost"),
    [
        ("y = Relu(x)", "float[1,4,5,6]", "last last", 0), ("y = Relu(x)", "float[4,5,6]", "plain plain", 0),
        ("y = Conv(x, w)", "float[1,4,9]", "last last", 36 + 27 + 2 * 2048),
        ("y = Conv(x, w)", "float[1,4,1]", "last last", 0),
        ("a = Conv(x, w) y = Reshape(a, s)", "float[1,4,9]", "last last plain", 36 + 27 + 2 * 2048),
        ("a = Relu(x) b = Transpose<perm=[0,2,1]>(a) y = Conv(b, w)", "float[1,9,4]", "plain plain last last", 27 + 2048),
    ],
)  # fmt: skip
def test_layouts_are_those_that_move_least(body: str, x: str, layouts: str, cost: int) -> None:
    graph = graph_of(f"({x} x) => (y) {{ {body} }}", w=floats(3, 4, 1), s=ints(27))
    plan = planned(graph)
    names = ["x", *(node.output for node in graph.nodes)]
    assert (" ".join(plan.of(name) for name in names), plan.cost) == (layouts, cost)


def gemm(how: str = "transB=1", more: str = "", y: str = "y", x: str = "float[1,4,2,3]", s: Any = (1, 24), w: Any = (2, 24)) -> Graph:  # fmt: skip
    body = f"({x} x) => ({y}) {{ f = Reshape(x, s) y = Gemm<{how}>(f, w) {more} }}"
    return graph_of(body, s=ints(*s), w=floats(*w))


@pytest.mark.parametrize(
    ("graph", "flattened"),
    [
        (gemm(), True), (gemm("transB=0", w=(24, 2)), False), (gemm("transB=1, transA=1", x="float[6,4,1,1]", s=(6, 4), w=(2, 6)), False),
        (gemm(y="y, f"), False), (gemm(more="z = Relu(f)", y="y, z"), False), (gemm(more="z = Gemm<transB=1>(f, w)", y="y, z"), True),
        (gemm(s=(2, 12), w=(2, 12)), False), (gemm(x="float[1,4,6]"), False), (gemm(x="float[1,4,1,1]", s=(1, 4), w=(2, 4)), False),
        (gemm(x="float[1,1,2,3]", s=(1, 6), w=(2, 6)), False),
    ],
)  # fmt: skip
def test_a_layers_columns_are_reordered_where_they_alone_read_a_picture(
    graph: Graph, flattened: bool
) -> None:
    assert planned(graph).flattened == ({"f"} if flattened else set())


def test_axes_are_stored_channels_last() -> None:
    assert [order("last", rank) for rank in (1, 2, 3, 4, 5)] == [(0,), (0, 1), (0, 2, 1), (0, 2, 3, 1), (0, 2, 3, 4, 1)]  # fmt: skip
    assert order("plain", 4) == (0, 1, 2, 3)
    assert stored_shape((5, 6, 7, 8), "last") == (5, 7, 8, 6)
    assert [stored_axis(axis, 4, "last") for axis in (0, 1, 2, 3, -1, -3)] == [0, 3, 1, 2, 2, 3]
    assert conversion(4, "last", "plain") == (0, 3, 1, 2)
    assert conversion(4, "plain", "last") == (0, 2, 3, 1)
    assert conversion(3, "last", "last") == (0, 1, 2)
    assert is_copy((2, 1, 3), (1, 0, 2))
    assert not is_copy((2, 2, 3), (1, 0, 2))


def test_the_detection_operator_is_told_its_limits() -> None:
    from flatbuffers import flexbuffers

    limits = Suppression(score=0.25, iou=0.5, most=40)
    told = flexbuffers.Loads(_options(limits, 30, 7))
    assert told == {
        "max_detections": 30, "max_classes_per_detection": 1, "detections_per_class": 30, "use_regular_nms": False,
        "nms_score_threshold": 0.25, "nms_iou_threshold": 0.5, "num_classes": 7,
        "y_scale": 1.0, "x_scale": 1.0, "h_scale": 1.0, "w_scale": 1.0,
    }  # fmt: skip


def attention_net(inner: str = "", made: str = "", **more: Any) -> Graph:
    """YOLO's attention: q, k and v of a picture, and v once more as a picture of its own."""
    body = (
        f"(float[1,32,3,4] x) => (float[1,16,3,4] y{made}) {{ c = Conv(x, w) r = Reshape(c, a) "
        f"q, k, v = Split<axis=2>(r, s) u = Mul(q, h) t = Transpose<perm=[0,1,3,2]>(u) m = MatMul(t, k) {inner} "
        "n = Softmax<axis=3>(m) d = Transpose<perm=[0,1,3,2]>(n) o = MatMul(v, d) p = Reshape(o, b) "
        "e = Reshape(v, b) g = Conv(e, z) y = Add(p, g) }"
    )
    shapes = {"a": ints(1, 2, 16, 12), "b": ints(1, 16, 3, 4), "s": ints(4, 4, 8)}
    weights = {"w": floats(32, 32, 1, 1), "z": floats(16, 16, 1, 1), "h": scalar(0.5)}
    return graph_of(body, **shapes, **weights, **more)


@pytest.mark.parametrize("held", [True, False])
def test_an_attention_on_pictures_is_turned_once_and_back(held: bool) -> None:
    graph = fold_transposes(attention_net())
    recipe = recipe_of(graph) if held else None
    cut, kept = cut_first(graph, recipe, moved)
    assert [node.op for node in cut.nodes].count("Slice") == 1
    made, kept = lose_batch(cut, kept, moved)
    same(graph, made)
    assert moved(graph) - moved(cut) == 16 * 12 + OPERATOR  # v as a picture
    assert moved(made) == (32 + 16) * 12 + 2 * OPERATOR  # the picture turned, and what comes of it
    assert {len(made.shape(node.output)) for node in made.of("MatMul", "Softmax")} == {3}
    assert held == (kept is not None)
    assert kept is None or all(n.output in kept.activations for n in made.nodes)


@pytest.mark.parametrize(
    "graph",
    [
        attention_net("o1 = Relu(m)", made=", float[1,2,12,12] o1"), attention_net("i = Add(m, j)", j=floats(1, 2, 12, 12)),
        attention_net("i = Add(m, j) l = MatMul(i, f)", j=floats(12, 12), f=floats(1, 1, 12, 12)),
        attention_net("i = Slice(m, z0, z1, z3)", z0=ints(0), z1=ints(12), z3=ints(3)),
        attention_net("i = Concat<axis=1>(m, m)"), attention_net("i = Conv(m, f)", f=floats(2, 2, 1, 1)),
        attention_net("i = Transpose<perm=[1,0,2,3]>(m)"), attention_net("i = Reshape(m, f)", f=ints(4, 6, 12)),
    ],
)  # fmt: skip
def test_matrices_without_a_batch_compute_the_same(graph: Graph) -> None:
    graph.outputs += [n for n in graph.producers() if n in "il" and n not in graph.outputs]
    made, _ = lose_batch(graph, None, lambda trial: -sum(len(trial.shape(n.output)) == 3 for n in trial.nodes))  # fmt: skip
    assert made is not graph
    assert made.outputs == graph.outputs
    same(graph, made)


@pytest.mark.parametrize(
    "body",
    [
        "(float[2,4,3,2] x) => (float[2,4,3,3] y) { t = Transpose<perm=[0,1,3,2]>(x) y = MatMul(x, t) }",
        "(float[1,4,3,2] x, float[2] w) => (float[1,4,3] y) { y = MatMul(x, w) }",
    ],
)
def test_batches_that_are_more_than_one_stay(body: str) -> None:
    graph = graph_of(body)
    assert lose_batch(graph, None, lambda trial: -len(trial.nodes))[0] is graph


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("c = Slice(r, s, e, a) y = Reshape(c, b)", {"s": ints(1), "e": ints(3), "a": ints(3)}),  # across heads
        ("c = Slice(r, s, e, a, t) y = Reshape(c, b)", {"s": ints(0), "e": ints(7), "a": ints(2), "t": ints(3)}),
        ("c = Slice(r, s, e, a) d = Relu(c) y = Reshape(d, b)", {"s": ints(0), "e": ints(4), "a": ints(2)}),
    ],
)  # fmt: skip
def test_parts_that_are_no_even_cut_of_a_picture_are_turned(
    body: str, constants: dict[str, Any]
) -> None:
    whole = f"(float[1,16,3,4] x) => (float[1,8,3,4] y) {{ r = Reshape(x, f) {body} }}"
    shapes = {"f": ints(1, 2, 8, 12), "b": ints(1, 8, 3, 4)}
    if constants["a"] == 3:
        whole, shapes["b"] = whole.replace("[1,8,3,4]", "[1,8,2,2]"), ints(1, 8, 2, 2)
    if "t" in constants:
        whole, shapes["b"] = whole.replace("[1,8,3,4]", "[1,6,3,4]"), ints(1, 6, 3, 4)
    graph = graph_of(whole, **shapes, **constants)
    assert cut_first(graph, None, lambda trial: -len(trial.nodes))[0] is graph


def scores_net(behind: str, shape: str = "8,21", **more: Any) -> Graph:
    """Scores of two sizes, joined; what is behind wants them in ONNX's order."""
    body = (
        f"(float[1,8,4,4] p, float[1,8,1,5] q, float[1,40,21] k) => (float[1,{shape}] y) "
        f"{{ a = Reshape(p, s) b = Reshape(q, t) c = Concat<axis=2>(a, b) {behind} }}"
    )
    return graph_of(body, s=ints(1, 8, 16), t=ints(1, 8, 5), **more)


@pytest.mark.parametrize("held", [True, False])
def test_parts_that_are_turned_alike_are_joined_and_turned_once(held: bool) -> None:
    graph = scores_net("d = Abs(c) y = Concat<axis=1>(d, k)", "48,21")
    recipe = recipe_of(graph) if held else None
    made, kept = join_turned(graph, recipe, moved)
    assert moved(graph) - moved(made) == OPERATOR
    assert made.shape(next(made.of("Concat")).output) == (1, 21, 8)
    same(graph, made)
    assert held == (kept is not None)
    assert kept is None or all(n.output in kept.activations for n in made.nodes)


@pytest.mark.parametrize(
    "graph",
    [
        scores_net("y = Transpose<perm=[0,2,1]>(c)", shape="21,8"),  # channels last already
        scores_net("d = Relu(a) e = Concat<axis=2>(d, c) f = Slice(e, m, n, o) y = MatMul(w, f)", m=ints(0), n=ints(21), o=ints(2), w=floats(8, 8)),  # no move makes all
    ],
)  # fmt: skip
def test_parts_that_are_not_are_joined_as_they_were(graph: Graph) -> None:
    assert codes(join_turned(graph, None, moved)[0]) == codes(graph)
