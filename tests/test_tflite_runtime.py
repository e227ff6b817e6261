"""Files for tflite-runtime 2.14, which needs numpy 1: run by the Python that a variable names."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from tflite_kit import Arrays, Worker, feed, float_values, minmax_recipe, run_nchw, small_net

from edgeconv.export.graph import Graph
from edgeconv.export.tflite.emission import Io, Precision
from edgeconv.export.tflite.emit import emit_tflite

VARIABLE = "EDGECONV_TFLITE_RUNTIME_PYTHON"
RESOLVERS = ("auto", "builtin", "ref")


@pytest.fixture(scope="module")
def old() -> Iterator[Worker]:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no Python with tflite-runtime and numpy 1")
    child = Worker(python)
    yield child
    child.close()


@pytest.fixture(scope="module")
def case() -> tuple[Graph, Arrays, np.ndarray]:
    graph = small_net().graph
    feeds = feed(graph)
    return graph, feeds, float_values(graph, feeds)[graph.outputs[0]]


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_files_run_there_too(
    old: Worker, case: tuple[Graph, Arrays, np.ndarray], precision: Precision, resolver: str
) -> None:
    graph, feeds, wanted = case
    made = emit_tflite(graph, precision=precision)
    outputs, _ = run_nchw(old, made, feeds, resolver)
    tolerance = 1e-2 if precision == "fp16" else 1e-5
    assert np.abs(outputs[graph.outputs[0]] - wanted).max() <= tolerance * np.ptp(wanted)


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_int8_files_run_there_too_per_channel_classifier_included(
    old: Worker, case: tuple[Graph, Arrays, np.ndarray], io: Io, resolver: str
) -> None:
    """The classifier's channels differ 300-fold in size: one scale for all would show."""
    graph, feeds, wanted = case
    recipe = minmax_recipe(graph, feeds)
    made = emit_tflite(graph, recipe, precision="int8", io=io)
    outputs, _ = run_nchw(old, made, feeds, resolver)
    quantum = recipe.activations[graph.outputs[0]].scale
    assert np.abs(outputs[graph.outputs[0]] - wanted).max() <= 4 * quantum
