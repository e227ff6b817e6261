"""Reshapes and Transposes in TFLite: what they do together is one permutation, or nothing."""

from typing import Any

import numpy as np
import pytest
from graph_kit import floats, graph_of, ints, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quant_nets import NetBuilder
from tflite_kit import Worker, feed, float_values, minmax_recipe, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.movement import Step, movement, written


@st.composite
def factored(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A shape of ``size`` elements, ones in it too."""
    shape: list[int] = []
    while size > 1 and len(shape) < 4:
        found = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        shape.append(found)
        size //= found
    return (*shape, size)


@st.composite
def moves(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Step]]:
    """A shape, and views and permutations of it."""
    size = draw(st.sampled_from([12, 24, 36, 60, 64]))
    first = shape = draw(factored(size))
    steps = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            shape = draw(factored(size))
            steps.append(Step("shape", shape))
        else:
            perm = tuple(draw(st.permutations(range(len(shape)))))
            steps.append(Step("perm", perm))
            shape = tuple(shape[axis] for axis in perm)
    return first, steps


def done(shape: tuple[int, ...], steps: list[Step]) -> np.ndarray:
    """The steps by numpy, on a count of the elements."""
    value = np.arange(int(np.prod(shape))).reshape(shape)
    for step in steps:
        value = value.reshape(step.values) if step.kind == "shape" else value.transpose(step.values)
    return value


@settings(deadline=None, max_examples=60)
@given(moves())
def test_steps_and_their_one_permutation_are_the_same(
    drawn: tuple[tuple[int, ...], list[Step]],
) -> None:
    before, steps = drawn
    wanted, found = done(before, steps), movement(before, steps)
    if found is None:
        last = max(k for k, step in enumerate(steps) if step.kind == "shape")
        assert any(step.kind == "perm" for step in steps[:last])  # a shape that cuts through
        return
    assert 1 not in found.sizes
    assert bool(found.sizes) == (not np.array_equal(wanted.ravel(), np.arange(wanted.size)))
    if found.sizes:
        for shape, perm in ((found.sizes, found.perm), written(found, before, wanted.shape)):
            got = done(before, [Step("shape", shape), Step("perm", perm)])
            np.testing.assert_array_equal(got.ravel(), wanted.ravel())


def reshaped(net: NetBuilder, source: str, *shape: int) -> str:
    wanted = net.constant("shape", np.array(shape, np.int64))
    return net.add("Reshape", [source, wanted], shape)


def turned(net: NetBuilder, source: str, *perm: int) -> str:
    shape = net.graph.shape(source)
    return net.add("Transpose", [source], [shape[a] for a in perm], perm=list(perm))


def norm(net: NetBuilder, source: str) -> str:
    channels = net.graph.shape(source)[-1]
    values = [net.constant("norm", np.full(channels, v, np.float32)) for v in (1.5, 0.25)]
    shape = net.graph.shape(source)
    return net.add("LayerNormalization", [source, *values], shape, axis=-1, epsilon=1e-5)


def layer(net: NetBuilder, source: str, channels: int) -> str:
    """A layer of each token: a product with constant weights."""
    *rows, width = net.graph.shape(source)
    weight = np.random.default_rng(width).normal(0, width**-0.5, (width, channels))
    return net.add(
        "MatMul", [source, net.constant("weight", weight.astype(np.float32))], (*rows, channels)
    )


def mobilevit_block() -> Graph:
    """Patches of 2x2 pixels to tokens and back (arXiv 2110.02178), as PyTorch writes them."""
    net = NetBuilder(shape=(1, 3, 8, 8))
    x = net.conv("input", 12)
    x = turned(net, reshaped(net, x, 48, 2, 4, 2), 0, 2, 1, 3)
    x = turned(net, reshaped(net, x, 1, 12, 16, 4), 0, 3, 2, 1)
    x = norm(net, reshaped(net, x, 4, 16, 12))
    x = turned(net, reshaped(net, x, 1, 4, 16, 12), 0, 3, 2, 1)
    x = turned(net, reshaped(net, x, 48, 4, 2, 2), 0, 2, 1, 3)
    return net.finish(net.conv(reshaped(net, x, 1, 12, 8, 8), 4))


def convnext_block() -> Graph:
    """A norm over channels between two turns (arXiv 2201.03545): nothing has to move."""
    net = NetBuilder(shape=(1, 3, 8, 8))
    x = norm(net, turned(net, net.conv("input", 8), 0, 2, 3, 1))
    return net.finish(net.conv(turned(net, x, 0, 3, 1, 2), 4))


def heads() -> Graph:
    """Pixels to heads and back, as attention over a picture has them."""
    net = NetBuilder(shape=(1, 3, 4, 4))
    x = turned(net, reshaped(net, net.conv("input", 12), 1, 3, 4, 16), 0, 1, 3, 2)
    x = turned(net, norm(net, x), 0, 1, 3, 2)
    return net.finish(net.conv(reshaped(net, x, 1, 12, 4, 4), 4))


def grouped() -> Graph:
    """GroupNorms (arXiv 1803.08494) as PyTorch writes them, of pairs and of all channels: neither moves."""
    net = NetBuilder(shape=(2, 3, 4, 5))
    x = net.conv("input", 8)
    for groups, scale in ((4, 0.5), (1, 1.0)):
        values = [np.full(groups, value, np.float32) for value in (scale, 0.25 - scale / 4)]
        sides = [net.constant("norm", value) for value in values]
        seen = reshaped(net, x, 2, groups, 160 // groups)
        made = net.add("InstanceNormalization", [seen, *sides], (2, groups, 160 // groups))
        x = net.conv(reshaped(net, made, 2, 8, 4, 5), 8)
    return net.finish(x)


def undone() -> Graph:
    """Two turns that undo each other, with a reader between."""
    net = NetBuilder(shape=(1, 6, 4, 5))
    between = turned(net, "input", 0, 3, 1, 2)
    back = turned(net, between, 0, 2, 3, 1)
    return net.finish(net.conv(back, 4), net.add("Abs", [between], net.graph.shape(between)))


def rms_norms() -> Graph:
    """Tokens between layers, each normed by the mean of its squares (arXiv 1910.07467)."""
    net = NetBuilder(shape=(1, 16, 12))
    x = layer(net, "input", 12)
    for _ in range(2):
        squares = net.add("Mul", [x, x], (1, 16, 12))
        mean = net.add("GlobalAveragePool", [squares], (1, 16, 1))
        x = layer(net, net.add("Mul", [x, net.add("Sqrt", [mean], (1, 16, 1))], (1, 16, 12)), 12)
    return net.finish(x)


def softmax_over_tokens() -> Graph:
    """How much each token counts, as a column."""
    net = NetBuilder(shape=(1, 16, 12))
    column = layer(net, "input", 1)
    return net.finish(net.add("Softmax", [column], (1, 16, 1), axis=1))


def channels_one_by_one() -> Graph:
    """x[:, k] of a picture, each put back where it was: what torchvision does to its inputs."""
    net = NetBuilder(shape=(1, 3, 6, 5))
    parts = []
    for k in range(3):
        place = net.constant("place", np.array(k, np.int64))
        one = net.add("Gather", ["input", place], (1, 6, 5), axis=1)
        parts.append(reshaped(net, net.add("Neg", [one], (1, 6, 5)), 1, 1, 6, 5))
    return net.finish(net.conv(net.add("Concat", parts, (1, 3, 6, 5), axis=1), 4))


def summed_rows() -> Graph:
    """A picture's rows summed up, channels and columns left: a list of channels' values a column."""
    net = NetBuilder(shape=(1, 4, 6, 5))
    axes = net.constant("axes", np.array([2], np.int64))
    total = net.add("ReduceSum", [net.conv("input", 8), axes], (1, 8, 5), keepdims=0)
    return net.finish(layer(net, turned(net, total, 0, 2, 1), 3))


def attention_of_a_picture() -> Graph:
    """One head over the pixels (EfficientViT, arXiv 2305.07027): v times the turned attention."""
    net = NetBuilder(shape=(2, 3, 4, 5))
    x = net.conv("input", 24)
    q, k, v = (reshaped(net, net.conv(x, 8), 2, 8, 20) for _ in range(3))
    scores = net.add("MatMul", [turned(net, q, 0, 2, 1), k], (2, 20, 20))
    weights = net.add("Softmax", [scores], (2, 20, 20), axis=-1)
    made = net.add("MatMul", [v, turned(net, weights, 0, 2, 1)], (2, 8, 20))
    return net.finish(net.conv(reshaped(net, made, 2, 8, 4, 5), 4))


def normed_to_tokens() -> Graph:
    """A GroupNorm whose result is seen as tokens at once."""
    net = NetBuilder(shape=(1, 3, 4, 4))
    sides = [net.constant("norm", np.full(1, value, np.float32)) for value in (1.0, 0.25)]
    seen = reshaped(net, net.conv("input", 8), 1, 1, 128)
    made = net.add("InstanceNormalization", [seen, *sides], (1, 1, 128))
    return net.finish(layer(net, turned(net, reshaped(net, made, 1, 8, 16), 0, 2, 1), 3))


def cubic() -> Graph:
    """A filter that TFLite has no operator for, between convolutions."""
    net = NetBuilder(shape=(1, 3, 4, 5))
    scales = net.constant("scales", np.array([1, 1, 2, 2], np.float32))
    x = net.add("Resize", [net.conv("input", 8), "", scales], (1, 8, 8, 10), mode="cubic")
    return net.finish(net.conv(x, 4))


def super_resolution() -> Graph:
    """A PixelShuffle at the end (arXiv 1609.05158)."""
    net = NetBuilder(shape=(1, 3, 4, 5))
    x = net.conv("input", 12)
    return net.finish(net.add("DepthToSpace", [x], (1, 3, 8, 10), blocksize=2, mode="CRD"))


def mean_of_bins() -> Graph:
    """Four distances a place, each the mean of its bins (arXiv 2006.04388), as YOLO's heads write it."""
    net = NetBuilder(shape=(1, 3, 4, 5))
    x = turned(net, reshaped(net, net.conv("input", 64), 1, 4, 16, 20), 0, 2, 1, 3)
    shares = net.add("Softmax", [x], (1, 16, 4, 20), axis=1)
    mean = net.conv(shares, 1, kernel=1, clamp=None)
    return net.finish(turned(net, reshaped(net, mean, 1, 4, 20), 0, 2, 1))


def written_channels(rows: range, channels: range) -> Graph:
    """y = x.clone(); y[rows, channels] = f(y[rows, channels]): FasterNet's and TSM's layers."""
    net = NetBuilder(shape=(4, 3, 4, 5))
    x = net.conv("input", 8)
    grid = np.stack(np.meshgrid(rows, channels, indexing="ij"), -1).astype(np.int64)
    size = (len(rows), len(channels), 4, 5)
    cut = [(rows[0], channels[0]), (rows[-1] + 1, channels[-1] + 1), (0, 1), (1, 1)]
    ends = [net.constant("ends", np.array(each, np.int64)) for each in cut]
    new = net.conv(net.add("Slice", [x, *ends], size), size[1])
    y = net.add("ScatterND", [x, net.constant("at", grid), new], (4, 8, 4, 5))
    return net.finish(net.conv(y, 4))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("rows", "channels"),
    [(range(4), range(3)), (range(4), range(2, 8)), (range(1, 4), range(2, 5))],
    ids=str,
)
def test_what_is_written_into_a_picture_moves_nothing(
    worker: Worker, rows: range, channels: range, int8: bool
) -> None:
    graph = prepare(written_channels(rows, channels), int8=int8).graph
    recipe = minmax_recipe(graph, feed(graph)) if int8 else None
    made = emit_tflite(graph, recipe, precision="int8" if int8 else "fp32")
    assert not {"TRANSPOSE", "GATHER"} & set(made.ops)
    (wanted,) = run(written_channels(rows, channels), feed(graph))
    got, _ = run_nchw(worker, made, feed(graph), "auto")
    (name,) = graph.outputs
    steps = 8 * recipe.activations[name].scale if recipe else 1e-4
    np.testing.assert_allclose(got[name], wanted, atol=steps)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("build", "most"),
    [
        (mobilevit_block, 2),
        (convnext_block, 0),
        (heads, 2),
        (grouped, 0),
        (undone, 1),
        (rms_norms, 0),
        (softmax_over_tokens, 0),
        (channels_one_by_one, 0),
        (summed_rows, 0),
        (attention_of_a_picture, 0),
        (normed_to_tokens, 0),
        (cubic, 0),
        (super_resolution, 0),
        (mean_of_bins, 0),
    ],
)
def test_only_what_has_to_move_moves(worker: Worker, build: object, most: int, int8: bool) -> None:
    graph = build()  # type: ignore[operator]
    recipe = minmax_recipe(graph, feed(graph)) if int8 else None
    made = emit_tflite(graph, recipe, precision="int8" if int8 else "fp32")
    assert made.ops.get("TRANSPOSE", 0) <= most
    wanted = float_values(graph, feed(graph))
    got, _ = run_nchw(worker, made, feed(graph), "auto")
    for name in graph.outputs:
        steps = 8 * recipe.activations[name].scale if recipe else 1e-4
        np.testing.assert_allclose(got[name], wanted[name], atol=steps)


@st.composite
def mixed_layouts(draw: st.DrawFn) -> Graph:
    """Layers on pictures, tokens and lists, with views and turns between."""
    net = NetBuilder(shape=(1, 4, 6, 6), seed=draw(st.integers(0, 9)))
    x = net.conv("input", 8)
    for _ in range(draw(st.integers(2, 7))):
        shape, kind = net.graph.shape(x), draw(st.sampled_from(["view", "turn", "turn", "layer"]))
        if kind == "view":
            wanted = draw(factored(int(np.prod(shape))))
            assume(len(wanted) <= 5)
            x = reshaped(net, x, *wanted)
        elif kind == "turn":
            x = turned(net, x, *draw(st.permutations(range(len(shape)))))
        elif len(shape) == 4 and shape[0] == 1 and shape[1] <= 32:
            x = net.conv(x, 8, kernel=1)
        elif 1 < len(shape) <= 4 and shape[-1] > 1:
            x = norm(net, x)
        else:
            x = net.add("Add", [x, x], shape)
    return net.finish(x)


@pytest.mark.long
@settings(deadline=None, max_examples=200)
@given(mixed_layouts())
def test_any_chain_of_layouts_keeps_its_values(graph: Graph) -> None:
    child = Worker()
    try:
        wanted = float_values(graph, feed(graph))
        got, _ = run_nchw(child, emit_tflite(graph), feed(graph), "auto")
        for name in graph.outputs:
            np.testing.assert_allclose(got[name], wanted[name], atol=1e-3, rtol=1e-3)
    finally:
        child.close()


WINDOWS = {
    "w": (8, 3, 3, 3),
    "qkv": (8, 24),
    "bias": (24,),
    "proj": (8, 8),
    "up": (8, 16),
    "down": (16, 8),
    "place": (1, 16, 8),
    "last": (5, 8, 1, 1),
}
SHAPES = {
    "apart": (32, 2, 4, 2),
    "grid": (1, 8, 16, 4),
    "tokens": (4, 16, 8),
    "heads": (4, 16, 3, 2, 4),
    "whole": (4, 16, 8),
    "back": (1, 4, 16, 8),
    "lines": (32, 4, 2, 2),
    "picture": (1, 8, 8, 8),
}


def windows(picks: str) -> Graph:
    """Two layers of attention in windows of 2 by 2, as MobileViT writes them."""
    layer = """
 n{k} = LayerNormalization<axis = -1>({x}, one, zero)
 m{k} = MatMul(n{k}, qkv)
 o{k} = Add(m{k}, bias)
 r{k} = Reshape(o{k}, heads)
 t{k} = Transpose<perm = [2,0,3,1,4]>(r{k})
 PICKS
 s{k} = Transpose<perm = [0,1,3,2]>(b{k})
 l{k} = MatMul(a{k}, s{k})
 p{k} = Softmax<axis = -1>(l{k})
 g{k} = MatMul(p{k}, c{k})
 f{k} = Transpose<perm = [0,2,1,3]>(g{k})
 h{k} = Reshape(f{k}, whole)
 k{k} = MatMul(h{k}, proj)
 j{k} = Add({x}, k{k})
 u{k} = MatMul(j{k}, up)
 v{k} = Relu(u{k})
 d{k} = MatMul(v{k}, down)
 e{k} = Add(j{k}, d{k})""".replace("PICKS", picks)
    body = (
        "(float[1,3,16,16] x) => (float[1,5,8,8] y) {"
        " z = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w)\n z0 = Reshape(z, apart)\n"
        " z1 = Transpose<perm = [0,2,1,3]>(z0)\n z2 = Reshape(z1, grid)\n"
        " z3 = Transpose<perm = [0,3,2,1]>(z2)\n z4 = Reshape(z3, tokens)\n z5 = Add(z4, place)"
        + layer.format(k=1, x="z5")
        + layer.format(k=2, x="e1")
        + "\n q0 = Reshape(e2, back)\n q1 = Transpose<perm = [0,3,2,1]>(q0)\n q2 = Reshape(q1, lines)\n"
        " q3 = Transpose<perm = [0,2,1,3]>(q2)\n q4 = Reshape(q3, picture)\n y = Conv(q4, last) }"
    )
    constants: dict[str, np.ndarray[Any, Any]] = {
        name: floats(*shape, seed=number) * np.float32(0.4)
        for number, (name, shape) in enumerate(WINDOWS.items())
    }
    constants |= {"one": np.ones(8, np.float32), "zero": np.zeros(8, np.float32)}
    constants |= {name: ints(*shape) for name, shape in SHAPES.items()}
    constants |= {f"i{k}": np.array(k) for k in range(3)} | {"first": ints(0)}
    return graph_of(body, **constants)


SPLIT = """x{k}, y{k}, w{k} = Split<axis = 0, num_outputs = 3>(t{k})
 a{k} = Squeeze(x{k}, first)
 b{k} = Squeeze(y{k}, first)
 c{k} = Squeeze(w{k}, first)"""
GATHER = """a{k} = Gather(t{k}, i0)
 b{k} = Gather(t{k}, i1)
 c{k} = Gather(t{k}, i2)"""


@pytest.mark.parametrize("picks", [SPLIT, GATHER], ids=["split", "gather"])
def test_windows_are_not_put_apart_before_their_attention(picks: str, worker: Worker) -> None:
    graph = windows(picks)
    (wanted,) = run(graph, {"x": floats(1, 3, 16, 16)})
    ready = prepare(graph).graph
    made = emit_tflite(ready)
    assert made.ops["TRANSPOSE"] == 4, "two of each attention, none around the windows"
    got, _ = run_nchw(worker, made, {"x": floats(1, 3, 16, 16)})
    np.testing.assert_allclose(got["y"], wanted, atol=1e-4)
    assert not set(made.names) & {"z5", "j1", "e2"}, "what is stored in another order has no name"


def test_windows_keep_their_integers(worker: Worker) -> None:
    graph = prepare(windows(SPLIT), int8=True).graph
    recipe = minmax_recipe(graph, feed(graph), "asymmetric")
    given = feed(graph)
    made = emit_tflite(graph, recipe, precision="int8")
    assert made.ops["TRANSPOSE"] == 4
    got, _ = run_nchw(worker, made, given)
    (real,) = run(graph, given)
    assert np.abs(got["y"] - real).max() < 0.1 * np.abs(real).max()


PARTS = {
    "split": "q, k, v = Split<axis=3>(r, sizes)\n",
    "slices": "q = Slice(r, n0, n4, n3)\n k = Slice(r, n4, n8, n3)\n v = Slice(r, n8, n14, n3)\n",
}


def turned_there_and_back(graph: Graph, x: Any, int8: bool, worker: Worker) -> None:
    """Hold the file of ``graph`` to two Transposes and to what it makes of ``x`` as it is."""
    given = {"x": x}
    (wanted,) = run(graph, given)
    ready = prepare(graph, int8=int8).graph
    recipe = minmax_recipe(ready, given, "asymmetric") if int8 else None
    made = emit_tflite(ready, recipe, precision="int8" if int8 else "fp32")
    assert made.ops["TRANSPOSE"] == 2, "one there, one back"
    got, _ = run_nchw(worker, made, given)
    reach = np.abs(wanted).max()
    np.testing.assert_allclose(got["y"], wanted, atol=(0.1 if int8 else 1e-5) * reach)


def turned_one_by_one(parts: str) -> Graph:
    """Heads whose q, k and v are cut off the same layer and turned each, as TinyViT and LeViT have it."""
    body = (
        "(float[2,9,12] x) => (float[2,9,12] y) { a = MatMul(x, w)\n r = Reshape(a, heads)\n "
        f"{PARTS[parts]} tq = Transpose<perm=[0,2,1,3]>(q)\n tk = Transpose<perm=[0,2,3,1]>(k)\n"
        " tv = Transpose<perm=[0,2,1,3]>(v)\n s = MatMul(tq, tk)\n h = Mul(s, half)\n"
        " p = Softmax<axis=-1>(h)\n o = MatMul(p, tv)\n b = Transpose<perm=[0,2,1,3]>(o)\n"
        " c = Reshape(b, rows)\n y = MatMul(c, u) }"
    )
    constants = {"heads": ints(2, 9, 3, 14), "rows": ints(2, 9, 18), "sizes": ints(4, 4, 6)}
    places = {f"n{n}": ints(n) for n in (0, 3, 4, 8, 14)}
    half = np.array(0.5, np.float32)
    w, u = floats(12, 42, seed=1) / 3, floats(18, 12, seed=2) / 4
    return graph_of(body, w=w, u=u, half=half, **constants, **places)


@pytest.mark.parametrize("parts", list(PARTS))
@pytest.mark.parametrize("int8", [False, True])
def test_queries_keys_and_values_are_turned_together(
    parts: str, int8: bool, worker: Worker
) -> None:
    turned_there_and_back(turned_one_by_one(parts), floats(2, 9, 12, seed=7), int8, worker)


def multihead_attention(picks: str) -> Graph:
    """torch's MultiheadAttention as it exports it, its batch first: q, k and v are picked and turned each."""
    body = (
        "(float[3,9,12] x) => (float[3,9,12] y) { t = Transpose<perm=[1,0,2]>(x)\n m = MatMul(t, w)\n"
        " r = Reshape(m, apart)\n s = Transpose<perm=[3,1,2,0,4]>(r)\n t1 = Squeeze(s, third)\n"
        + picks.format(k=1).replace("first", "front")
        + "\n q = Reshape(a1, heads)\n k = Reshape(b1, heads)\n v = Reshape(c1, heads)\n"
        " tq = Transpose<perm=[1,0,2]>(q)\n tk = Transpose<perm=[1,2,0]>(k)\n tv = Transpose<perm=[1,0,2]>(v)\n"
        " h = Mul(tq, half)\n n = MatMul(h, tk)\n p = Softmax<axis=-1>(n)\n o = MatMul(p, tv)\n"
        " b = Transpose<perm=[1,0,2]>(o)\n c = Reshape(b, rows)\n d = MatMul(c, u)\n e = Reshape(d, back)\n"
        " f = Transpose<perm=[1,0,2]>(e)\n y = Add(x, f) }"
    )
    shapes = {"apart": (1, 9, 3, 3, 12), "third": (3,), "front": (0,), "heads": (9, 6, 6)}
    shapes |= {"rows": (27, 12), "back": (9, 3, 12)}
    constants: dict[str, Any] = {name: ints(*shape) for name, shape in shapes.items()}
    constants |= {f"i{k}": np.array(k) for k in range(3)} | {"half": np.array(0.5, np.float32)}
    return graph_of(body, w=floats(12, 36, seed=1) / 3, u=floats(12, 12, seed=2) / 4, **constants)


@pytest.mark.parametrize("picks", [SPLIT, GATHER], ids=["split", "gather"])
@pytest.mark.parametrize("int8", [False, True])
def test_what_is_picked_is_turned_together(picks: str, int8: bool, worker: Worker) -> None:
    turned_there_and_back(multihead_attention(picks), floats(3, 9, 12, seed=7), int8, worker)
