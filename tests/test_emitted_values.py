"""The files that the listings of tests/golden/emitted describe compute what onnxruntime does."""

from typing import Any

import numpy as np
import pytest
from emitted_cases import FAMILIES
from graph_kit import run
from numpy.typing import NDArray
from tflite_kit import Worker, run_nchw

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.tflite.emit import emit_tflite

NOT_IN_ONNXRUNTIME = ("one bias for all", "linear, channels", "Cast to uint8", "Cast to int8")


def feeds_of(graph: Graph) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(5)
    feeds: dict[str, NDArray[Any]] = {}
    for name in graph.inputs:
        shape, kind = graph.shape(name), graph.dtype(name)
        numbers = (
            random.standard_normal(shape) * 2
            if kind.kind == "f"
            else random.integers(0 if kind == np.bool_ else 1, 3, shape)
        )
        if kind == np.int32:
            numbers = random.integers(1, 3, shape) * random.choice([-1, 1], shape)
        feeds[name] = np.asarray(numbers).astype(kind)
    return feeds


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tflite_file_computes_what_onnxruntime_does(family: str, worker: Worker) -> None:
    for name, case in FAMILIES[family].items():
        if case.clamp is not None or name in NOT_IN_ONNXRUNTIME:
            continue
        graph = case.graph()
        try:
            made = emit_tflite(graph)
        except EdgeconvError:
            continue
        feeds = feeds_of(graph)
        got, _ = run_nchw(worker, made, feeds)
        for spec, wanted in zip(made.outputs, run(graph, feeds), strict=True):
            assert got[spec.name] == pytest.approx(
                np.asarray(wanted), rel=1e-3, abs=1e-4, nan_ok=True
            ), f"{name}, {spec.name}"
