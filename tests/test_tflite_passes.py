"""What XNNPACK would do in a pass of its own over a picture is left out, or done with fewer calls."""

from dataclasses import replace

import numpy as np
import pytest
from quant_nets import RELU, NetBuilder
from tflite_kit import Worker, feed, minmax_recipe, run_nchw

from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.export.tflite.rewrites import ALL, BY_PREFER, Rewrites
from edgeconv.recipe import Activation

ROWS = Rewrites(pad_rows=True)


def residual(clamp: Clamp | None) -> Graph:
    net = NetBuilder()
    stem = net.conv("input", 8)
    deep = net.conv(stem, 8, clamp=None)
    return net.finish(net.add("Add", [stem, deep], net.graph.shape(stem), clamp))


@pytest.mark.parametrize(("zero_point", "fused"), [(-128, 0), (-100, 1)])
def test_a_sum_has_no_relu_where_its_integers_cannot_fall_below_zero(
    worker: Worker, zero_point: int, fused: int
) -> None:
    graph = residual(RELU)
    recipe = minmax_recipe(graph, feed(graph))
    name = graph.outputs[0]
    scale = recipe.activations[name].scale
    lowered = {**recipe.activations, name: Activation(scale, zero_point, 0.0, 0.0)}
    recipe = replace(recipe, activations=lowered)
    made = emit_tflite(graph, recipe, precision="int8", io="int8")
    (total,) = (op for op in read_tflite(made.data).ops if op.code == "ADD")
    assert bool(total.options.get("fusedActivationFunction")) == bool(fused)
    got, _ = run_nchw(worker, made, feed(graph))
    assert got[name].min() >= 0.0


def pooled(op: str, clamp: Clamp | None) -> Graph:
    net = NetBuilder((1, 3, 12, 10))
    stem = net.conv("input", 6, clamp=clamp)
    own = {"dilations": [1, 1]} if op == "MaxPool" else {"count_include_pad": 1}
    shape = (1, 6, 6, 5)
    made = net.add(op, [stem], shape, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], **own)
    return net.finish(made)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("op", "clamp"), [("MaxPool", RELU), ("MaxPool", None), ("AveragePool", None)]
)
def test_a_picture_is_padded_for_a_pool_row_by_row_and_keeps_every_bit(
    worker: Worker, op: str, clamp: Clamp | None, precision: str
) -> None:
    graph = pooled(op, clamp)
    recipe = minmax_recipe(graph, feed(graph)) if precision == "int8" else None
    files = {
        rewrites: emit_tflite(
            graph, recipe, precision="int8" if recipe else "fp32", rewrites=rewrites
        )
        for rewrites in (ROWS, Rewrites())
    }
    for rewrites, rank in ((ROWS, 3), (Rewrites(), 4)):
        source = read_tflite(files[rewrites].data)
        (pad,) = (op for op in source.ops if op.code in ("PAD", "PADV2"))
        assert len(source.tensors[pad.inputs[0]].shape) == rank
        assert [change.id for change in files[rewrites].changes] == ["pad_rows"] * (rank == 3)
    rows, whole = (run_nchw(worker, made, feed(graph))[0] for made in files.values())
    np.testing.assert_array_equal(rows[graph.outputs[0]], whole[graph.outputs[0]])


def test_a_file_for_speed_is_padded_by_rows_and_one_for_size_as_it_was() -> None:
    assert ALL.pad_rows
    assert not BY_PREFER["size"].pad_rows
