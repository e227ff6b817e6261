"""What a Concat joins pixel by pixel is strided first, or stacked by rows: the same integers in fewer copies."""

import numpy as np
import pytest
from quant_nets import RELU, NetBuilder
from tflite_kit import Worker, feed, minmax_recipe, run_nchw

from edgeconv.export.graph import Graph
from edgeconv.export.kinds import Cpu
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.export.tflite.rewrites import NONE, Rewrites, chosen

BOTH = Rewrites(part_strides=True, stack_parts=True)


def joined(
    parts: tuple[int, ...] = (8, 8),
    stride: int = 1,
    outputs: int = 12,
    kernel: int = 1,
    *,
    twice: bool = False,
) -> Graph:
    """Convolutions side by side, a depthwise one where ``stride`` is not 1, and one over all channels."""
    net = NetBuilder()
    stem = net.conv("input", 8, stride=2)
    made = [net.conv(stem, channels, kernel=1, clamp=RELU) for channels in parts]
    n, _, height, width = net.graph.shape(made[0])
    both = net.add("Concat", made, (n, sum(parts), height, width), axis=1)
    last = both
    if stride > 1:
        last = net.conv(both, sum(parts), stride=stride, group=sum(parts), clamp=RELU)
    net.graph.outputs = [net.conv(last, outputs, kernel=kernel)]
    if twice:
        net.graph.outputs.append(net.add("Add", [both, both], net.graph.shape(both)))
    return net.graph


MOVED = "1x strided depthwise convolutions moved before a Concat"
STACKED = "1x parts stacked by rows for a 1x1 convolution"


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (joined(), [STACKED]),
        (joined((8, 8, 8)), [STACKED]),
        (joined((16, 8), stride=2), [MOVED]),
        (joined((8, 8), stride=2), [MOVED, STACKED]),
        (joined((16, 8)), []),
        (joined((12, 12), stride=2), []),
        (joined(outputs=64), []),
        (joined(kernel=3), []),
        (joined(twice=True), []),
        (joined(stride=2, twice=True), []),
    ],
    ids=[
        "two",
        "three",
        "uneven, strided",
        "strided",
        "uneven",
        "12 channels",
        "wide",
        "3x3",
        "read twice",
        "both",
    ],
)
def test_what_a_concat_joins_is_moved_in_one_piece_and_keeps_every_bit(
    worker: Worker, graph: Graph, said: list[str]
) -> None:
    recipe = minmax_recipe(graph, feed(graph))
    made, plain = (
        emit_tflite(graph, recipe, precision="int8", rewrites=rewrites) for rewrites in (BOTH, NONE)
    )
    assert [str(change) for change in made.changes] == said
    axes = [op.options["axis"] for op in read_tflite(made.data).ops if op.code == "CONCATENATION"]
    assert axes == [1 if STACKED in said else 3]
    for resolver in ("auto", "builtin"):
        wanted, _ = run_nchw(worker, plain, feed(graph), resolver)
        got, facts = run_nchw(worker, made, feed(graph), resolver)
        assert facts["delegates"] == (resolver == "auto")
        for name in graph.outputs:
            if resolver == "auto":
                np.testing.assert_array_equal(got[name], wanted[name])
            else:  # the built-in kernels round a channel by its place in a vector
                few = 3 * recipe.activations[name].scale
                np.testing.assert_allclose(got[name], wanted[name], atol=few)


@pytest.mark.parametrize(
    ("cpu", "given"), [("pi4", True), ("arm", True), ("pi5", True), ("x86", True), ("any", False)]
)
def test_a_processor_that_is_named_is_given_both_and_any_other_neither(
    cpu: Cpu, given: bool
) -> None:
    wanted = chosen(cpu, "speed")
    assert wanted.part_strides is wanted.stack_parts is given


@pytest.mark.parametrize(("groups", "folded"), [(1, True), (3, False)])
def test_a_shuffle_of_a_large_picture_is_never_cut_into_single_channels(
    groups: int, folded: bool
) -> None:
    net = NetBuilder((1, 3, 64, 64))
    first = net.conv(net.conv("input", 12), 60, kernel=1, group=groups)
    mixed = net.add("ChannelShuffle", [first], net.graph.shape(first), groups=3)
    deep = net.conv(mixed, 60, group=60, clamp=None)
    graph = net.finish(net.conv(deep, 24, kernel=1, group=3))
    made = emit_tflite(graph, rewrites=Rewrites(place_shuffles=True))
    assert "SLICE" not in made.ops
    assert ("TRANSPOSE" in made.ops) != folded
