"""Channel shuffles in TFLite: folded or moved where that is cheaper, without changing one bit."""

import numpy as np
import pytest
from quant_nets import RELU, NetBuilder
from tflite_kit import Worker, feed, minmax_recipe, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.export.tflite.place_shuffles import place_shuffles
from edgeconv.export.tflite.rewrites import NONE, Rewrites


def net_of(first_groups: int, stride: int, *, read_twice: bool = False) -> Graph:
    """A 1x1 convolution, a shuffle, a depthwise convolution and a 1x1 convolution."""
    net = NetBuilder()
    stem = net.conv("input", 12)
    first = net.conv(stem, 12, kernel=1, group=first_groups)
    shape = net.graph.shape(first)
    mixed = net.add("ChannelShuffle", [first], shape, groups=3)
    deep = net.conv(mixed, 12, stride=stride, group=12, clamp=None)
    last = net.conv(deep, 8, kernel=1, group=2)
    net.graph.outputs = [last]
    if read_twice:
        net.graph.outputs += [
            net.add("Add", [mixed, first], shape, RELU),
        ]
    return net.graph


@pytest.mark.parametrize(
    ("first_groups", "stride", "said", "pixels"),
    [
        (1, 1, "1x channel shuffles folded into the dense convolution before", None),
        (1, 2, "1x channel shuffles folded into the dense convolution before", None),
        (3, 2, "1x channel shuffles moved behind a strided depthwise convolution", 8 * 8),
        (3, 1, None, 16 * 16),
    ],
)
@pytest.mark.parametrize("int8", [False, True])
def test_a_placed_shuffle_keeps_every_bit(
    worker: Worker, first_groups: int, stride: int, said: str | None, pixels: int | None, int8: bool
) -> None:
    graph = net_of(first_groups, stride)
    recipe = minmax_recipe(graph, feed(graph)) if int8 else None
    made, plain = (
        emit_tflite(graph, recipe, precision="int8" if int8 else "fp32", rewrites=rewrites)
        for rewrites in (Rewrites(place_shuffles=True), NONE)
    )
    assert [str(change) for change in made.changes] == ([] if said is None else [said])
    assert plain.changes == ()
    for resolver in ("auto", "builtin"):
        wanted, _ = run_nchw(worker, plain, feed(graph), resolver)
        got, facts = run_nchw(worker, made, feed(graph), resolver)
        assert facts["delegates"] == (resolver == "auto")
        for name in graph.outputs:
            if int8 and resolver == "auto":
                np.testing.assert_array_equal(got[name], wanted[name])
            else:  # float sums, and roundings of the built-in kernels, depend on the place in a vector
                few = 4 * recipe.activations[name].scale if recipe else 1e-6
                np.testing.assert_allclose(got[name], wanted[name], atol=few)
    summary = read_tflite(made.data)
    moves = [op for op in summary.ops if op.code == "TRANSPOSE"]
    assert len(moves) == (0 if pixels is None else 3)
    for op in moves:
        assert int(np.prod(summary.tensors[op.outputs[0]].shape)) == 12 * (pixels or 0)


def test_a_shuffle_between_tensors_that_others_read_stays() -> None:
    graph = net_of(1, 2, read_twice=True)
    assert emit_tflite(graph).changes == ()


def test_the_recipe_moves_with_the_rows_and_the_originals_stay() -> None:
    graph = net_of(3, 2)
    recipe = minmax_recipe(graph, feed(graph))
    before = {name: weights.values.copy() for name, weights in recipe.weights.items()}
    placed, moved, _ = place_shuffles(graph, recipe)
    assert moved is not None
    deep = next(node for node in placed.of("Conv") if node.int("group", 1) == 12)
    behind = np.arange(12).reshape(3, 4).T.reshape(-1)  # channel k behind a shuffle was behind[k]
    np.testing.assert_array_equal(moved.weights[deep.name].values[behind], before[deep.name])
    np.testing.assert_array_equal(
        placed.constants[deep.inputs[1]][behind],
        graph.constants[next(n for n in graph.nodes if n.name == deep.name).inputs[1]],
    )
    for name, values in before.items():
        np.testing.assert_array_equal(recipe.weights[name].values, values)
