"""Values of the core worked out by hand: which tensors, which bytes, which rows."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quant_nets import pictures, shuffle_net

from edgeconv.mil.call import Rule
from edgeconv.mil.ops_move import OPS as MOVES
from edgeconv.mil.ops_store import OPS as STORES
from edgeconv.parity.baseline import compare_baseline


def called(rule: Rule, values: dict[str, Any]) -> Any:
    """Call a kernel with ``values`` as arguments."""

    def ints(name: str, default: Sequence[int] = ()) -> list[int]:
        return list(values.get(name, default))

    call: Any = SimpleNamespace(
        array=lambda name="x": values[name], real=values.__getitem__, ints=ints,
        has=values.__contains__, dtype=np.float32, operation=SimpleNamespace(what="a slice"),
    )  # fmt: skip
    return rule.kernel(call)


def test_a_slice_takes_each_mask_for_what_it_is() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    bounds = {"x": x, "begin": [1, 1, 1], "end": [2, 2, 3], "stride": [1, 1, 1]}
    slice_of = MOVES["slice_by_index"]
    assert called(slice_of, bounds).tolist() == [[[17, 18]]]
    assert called(slice_of, {**bounds, "begin_mask": [0, 1, 0]}).tolist() == [[[13, 14], [17, 18]]]
    assert called(slice_of, {**bounds, "end_mask": [0, 0, 1]}).tolist() == [[[17, 18, 19]]]
    assert called(slice_of, {**bounds, "squeeze_mask": [1, 0, 0]}).tolist() == [[17, 18]]
    assert called(slice_of, {**bounds, "stride": [1, 1, 2]}).tolist() == [[[17]]]


def test_scales_of_blocks_are_those_of_their_rows_and_columns() -> None:
    data = np.full((2, 4), 3, np.int8)
    scale = np.array([[1.0, 10.0], [100.0, 1000.0]], np.float32)
    offset = np.array([[1, 2], [3, 0]], np.int8)
    got = called(
        STORES["constexpr_blockwise_shift_scale"], {"data": data, "scale": scale, "offset": offset}
    )
    assert got.tolist() == [[2, 2, 10, 10], [0, 0, 3000, 3000]]


def test_equalisation_reaches_every_tensor_but_the_borders() -> None:
    """Through shuffles, pools, Concats and Reshapes; an input and an output stay as they are."""
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant.equalize import equalize
    from edgeconv.export.quant.observe import observe

    graph = shuffle_net()
    _, _, factors = equalize(graph, observe(graph, pictures(graph, 4)), frozenset())
    inside = {o for node in graph.nodes for o in node.outputs} - set(graph.outputs)
    assert factors.keys() == inside
    shuffled = next(node for node in graph.nodes if node.op == "ChannelShuffle")
    before, after = factors[shuffled.inputs[0]], factors[shuffled.output]
    groups = shuffled.int("groups", 1)
    assert after.tolist() == before.reshape(groups, -1).T.reshape(-1).tolist()


def test_a_layer_kept_in_float_keeps_what_it_reads_and_writes() -> None:
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant.equalize import equalize
    from edgeconv.export.quant.observe import observe

    graph = shuffle_net()
    kept = graph.nodes[1]
    _, _, factors = equalize(graph, observe(graph, pictures(graph, 4)), frozenset({kept.name}))
    assert kept.inputs[0] not in factors
    assert kept.output not in factors


OLD = {"rows": {"onnx": {"outputs": {"y": {"sqnr_db": 30.0, "top1": 0.9}}, "file": {"bytes": 9}}}}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"outputs": {"y": {"sqnr_db": 30.0}}, "file": {"bytes": 9}}, "top1 was 0.9000 and is no longer"),
        ({"outputs": {}, "file": {"bytes": 9}}, "sqnr_db was 30.0 and is no longer measured"),
        ({"outputs": {"y": {"sqnr_db": 30.0, "top1": 0.9}}, "file": {}}, "bytes was 9 and is no longer"),
        ({"error": "it crashed"}, "ran before and now fails: it crashed"),
        (None, "is in the baseline and was not run"),
    ],
)  # fmt: skip
def test_what_vanishes_from_a_report_is_worse(now: dict[str, Any] | None, said: str) -> None:
    sentences = list(compare_baseline(OLD, {"rows": {} if now is None else {"onnx": now}}))
    assert any(said in sentence for sentence in sentences)


def test_a_row_that_failed_before_asks_nothing() -> None:
    failed = {"rows": {"onnx": {"error": "no runtime"}}}
    assert list(compare_baseline(failed, OLD)) == []
    assert list(compare_baseline(OLD, OLD)) == []
