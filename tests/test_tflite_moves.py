"""Reshapes and Transposes in TFLite: what they do together is one permutation, or nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quant_nets import NetBuilder
from tflite_kit import Worker, feed, float_values, minmax_recipe, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.movement import Step, movement, written


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    child = Worker()
    yield child
    child.close()


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


def undone() -> Graph:
    """Two turns that undo each other, with a reader between."""
    net = NetBuilder(shape=(1, 6, 4, 5))
    between = turned(net, "input", 0, 3, 1, 2)
    back = turned(net, between, 0, 2, 3, 1)
    return net.finish(net.conv(back, 4), net.add("Abs", [between], net.graph.shape(between)))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(
    ("build", "most"), [(mobilevit_block, 2), (convnext_block, 0), (heads, 2), (undone, 1)]
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
