"""Random models of every layout and operator: float files are right, INT8 files stay near the float net."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from any_net_kit import hub_of, same_everywhere
from draw_models import draw
from draw_operators import STEPS
from graph_kit import run
from test_int8_kinds import samples, sqnr
from tflite_kit import Worker, run_nchw

from edgeconv.errors import EdgeconvError
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import sessions
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.table import stops

OPSETS = (11, 12, 13, 14, 15, 16, 17, 18)  # newer ones need a child process each
LEAST_DB = 8.0
FEW, MANY = 10, 300


def feeds_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    return {n: np.asarray(random.standard_normal(s), np.float32) for n, s in shapes.items()}


def float_files(model: onnx.ModelProto, worker: Worker, folder: Path, *, coreml: bool) -> None:
    """Hold every float file against onnxruntime; a refusal names an operator before any work."""
    feeds = feeds_of(model)
    refused = stops(hub_of(model))
    targets = ("onnx", *(() if refused else ("tflite",)), *(("coreml",) if coreml else ()))
    graph = same_everywhere(model, feeds, folder, targets=targets)
    if refused:
        return
    wanted = dict(zip(graph.outputs, run(model, feeds), strict=True))
    plain, _ = run_nchw(worker, emit_tflite(graph), feeds, "builtin")  # XNNPACK off
    for name, value in wanted.items():
        reach = max(1.0, float(np.abs(np.asarray(value, np.float64)).max(initial=0)))
        np.testing.assert_allclose(plain[name], value, rtol=0, atol=2e-4 * reach)


def integer_files(model: onnx.ModelProto, worker: Worker) -> None:
    """Quantize and run by onnxruntime and LiteRT: no output is lost."""
    hub = hub_of(model)
    prepared = prepare(hub, int8=True).graph
    seen = samples(prepared, 12, 1)
    try:
        made = quantize(prepared, seen, recipe="fast")
    except EdgeconvError as error:
        if "no output depends on" in str(error):
            return
        raise
    fresh = seen[:4]  # a range is no promise for what nobody has seen
    wanted = [run(model, feed) for feed in fresh]
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    rows = {"onnx": [session.run(prepared.outputs, feed) for feed in fresh]}
    if not stops(made.graph):
        file = emit_tflite(made.graph, made.recipe, precision="int8")
        lite = [run_nchw(worker, file, feed)[0] for feed in fresh]
        rows["tflite"] = [[row[name] for name in prepared.outputs] for row in lite]
    for target, got in rows.items():
        for place, name in enumerate(prepared.outputs):
            real = np.stack([row[place] for row in wanted])
            if real.dtype.kind != "f" or float(np.abs(real).max()) < 1e-3:
                continue
            assert sqnr(real, np.stack([row[place] for row in got])) > LEAST_DB, (target, name)


@pytest.mark.parametrize("seed", range(FEW))
def test_a_drawn_model_is_right(seed: int, worker: Worker, tmp_path: Path) -> None:
    model = draw(seed, STEPS, OPSETS)
    float_files(model, worker, tmp_path, coreml=False)
    integer_files(model, worker)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_many_drawn_models_are_right(seed: int, worker: Worker, tmp_path: Path) -> None:
    model = draw(seed, STEPS, OPSETS)
    float_files(model, worker, tmp_path, coreml=seed % 4 == 0)
    integer_files(model, worker)
