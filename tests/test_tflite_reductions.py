"""What reduces, sorts and counts along axes, as a .tflite and in onnxruntime: every axis, with and without it kept."""

from typing import Any

import numpy as np
import pytest
from graph_kit import graph_of, ints, run
from tflite_kit import Worker, run_nchw

from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.emit import emit_tflite

pytest.importorskip("ai_edge_litert")
X = np.random.default_rng(0).permutation(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.float32)
"""Beyond what e can be raised to in float32."""
SHAPE = list(X.shape)


def without(axes: list[int], keep: int) -> list[int]:
    return [1 if at in axes else size for at, size in enumerate(SHAPE) if keep or at not in axes]


def shown(shape: list[int]) -> str:
    return ",".join(map(str, shape))


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"{op} {axes} {keep}": (
            f"float[{shown(without(axes, keep))}] y",
            f"y = {op}<keepdims = {keep}>(x, a)",
            {"a": ints(*axes)},
        )
        for op in (
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSumExp",
        )
        for axes in ([1], [2, 3], [0, 1])
        for keep in (0, 1)
    },
    **{
        f"{op} {axis} {keep}": (
            f"int64[{shown(without([axis], keep))}] y",
            f"y = {op}<axis = {axis}, keepdims = {keep}>(x)",
            {},
        )
        for op in ("ArgMax", "ArgMin")
        for axis in (1, 3)
        for keep in (0, 1)
    },
    **{
        f"Gather {axis}": (
            f"float[{shown(without([axis], 0))}] y",
            f"y = Gather<axis = {axis}>(x, i)",
            {"i": np.array(-1, np.int64)},
        )
        for axis in (0, 1, 2, 3)
    },
    **{
        f"CumSum {axis} {exclusive} {reverse}": (
            f"float[{shown(SHAPE)}] y",
            f"y = CumSum<exclusive = {exclusive}, reverse = {reverse}>(x, a)",
            {"a": np.array(axis, np.int64)},
        )
        for axis in (1, 3)
        for exclusive in (0, 1)
        for reverse in (0, 1)
    },
    **{
        f"TopK {axis} {largest}": (
            f"float[{shown(size := [2 if at == axis % 4 else n for at, n in enumerate(SHAPE)])}] y, int64[{shown(size)}] z",
            f"y, z = TopK<axis = {axis}, largest = {largest}>(x, k)",
            {"k": ints(2)},
        )
        for axis in (1, 2, -1)
        for largest in (0, 1)
    },
    "TopK": (
        f"float[{shown([2, 3, 4, 2])}] y, int64[{shown([2, 3, 4, 2])}] z",
        "y, z = TopK(x, k)",
        {"k": ints(2)},
    ),
}


@pytest.mark.parametrize("stored", ["as it is", "by channels last"])
@pytest.mark.parametrize("case", CASES)
def test_an_axis_is_the_one_that_onnx_names(case: str, stored: str, worker: Worker) -> None:
    """A convolution that changes nothing stores its picture with the channels last."""
    outputs, body, constants = CASES[case]
    if stored != "as it is":
        body = f"p = Conv(x, w) {body.replace('(x', '(p')}"
        constants = {**constants, "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}
    graph = graph_of(f"(float[{shown(SHAPE)}] x) => ({outputs}) {{ {body} }}", **constants)
    wanted = run(graph, {"x": X})
    found, _ = run_nchw(worker, emit_tflite(prepare(graph).graph), {"x": X})
    for name, values in zip(graph.outputs, wanted, strict=True):
        np.testing.assert_allclose(found[name], values, rtol=1e-5)
