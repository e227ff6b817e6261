"""What other people's files hold and ours never do: untrue shapes, negative widths, too many axes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from any_net_kit import same_everywhere
from graph_kit import floats, graph_of, ints, model_of, ops, rewritten, scalar

from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.coreml.table import stops
from edgeconv.export.hub.ingest import ingest
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.passes.crop_by_slice import crop_by_slice
from edgeconv.export.passes.fuse_activations import fuse_activations
from edgeconv.export.prepare import prepare
from edgeconv.export.quant.engine import quantize


def test_declared_shapes_that_are_untrue_do_not_count() -> None:
    model = model_of(
        "(float[1,3,6,6] x) => (float[1,2,1,1] y) { a = Relu(x)\n y = Conv(a, w) }",
        w=floats(2, 3, 3, 3),
    )
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("a", 1, [7, 7]))
    plain, _ = ingest(model)
    graph = from_onnx(plain)
    assert (graph.shape("a"), graph.shape("y")) == ((1, 3, 6, 6), (1, 2, 4, 4))


def test_a_pad_of_negative_widths_is_a_slice() -> None:
    graph = graph_of(
        "(float[1,2,6,6] x) => (float[1,2,5,7] y) { y = Pad(x, widths, value) }",
        widths=ints(0, 0, -2, 1, 0, 0, 1, 0),
        value=scalar(0.5),
    )
    assert ops(rewritten(graph, crop_by_slice)) == ["Slice", "Pad"]


def test_core_ml_refuses_six_axes_before_any_work() -> None:
    shape = "float[1,2,2,2,2,3]"
    graph = graph_of(f"({shape} x) => ({shape} y) {{ y = Sigmoid(x) }}")
    clauses = [refusal.clause for refusal in stops(graph)]
    assert len(clauses) == 3
    assert "x of 6 axes: it has 5 at most" in clauses


def test_gelu_as_onnx_defines_it_is_recognised() -> None:
    graph = graph_of(
        "(float[2,7] x) => (float[2,7] y) { d = Div(x, r)\n e = Erf(d)\n s = Sum(one, e)\n"
        " h = Mul(half, s)\n y = Mul(x, h) }",
        r=scalar(np.sqrt(2)),
        one=scalar(1.0),
        half=scalar(0.5),
    )
    after = graph.clone()
    assert fuse_activations(after)
    assert ops(after) == ["Gelu"]


def test_core_ml_takes_bytes_that_the_graph_scales(tmp_path: Path) -> None:
    graph = graph_of(
        "(uint8[1,3,6,6] b) => (float[1,2,4,4] y) { c = Cast<to = 1>(b)\n x = Div(c, k)\n y = Conv(x, w) }",
        k=scalar(255.0),
        w=floats(2, 3, 3, 3),
    )
    path, random = tmp_path / "m.mlpackage", np.random.default_rng(0)
    feeds: list[Any] = [
        {"b": random.integers(0, 256, (1, 3, 6, 6)).astype(np.uint8)} for _ in range(12)
    ]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    emitted = emit_coreml(made.graph, made.recipe, path=path, precision="int8")
    assert emitted.census.integer == 1


def test_core_ml_chooses_between_integers_that_broadcast(tmp_path: Path) -> None:
    model = model_of(
        "(int64[2,3] x) => (int64[2,3] y) { b = Less(x, zero)\n y = Where(b, one, zero) }",
        one=ints(1),
        zero=ints(0),
    )
    feeds = {"x": np.array([[-1, 2, 0], [3, -4, 5]])}
    same_everywhere(model, feeds, tmp_path, targets=("coreml",))
