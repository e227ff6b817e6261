"""The TFLite emitter on random CNNs, against onnxruntime and against fake quantization."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_nets import RandomNet, random_nets
from tflite_kit import Arrays, Worker, minmax_recipe, run_nchw, simulate

from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.recipe import Form

FORMS: tuple[Form, ...] = ("zero-point-free", "asymmetric")
RESOLVERS = ("auto", "builtin")

quiet = settings(
    derandomize=True,  # the same nets in every run: a failure can be looked at
    database=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking would convert thousands of nets
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def expected(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [value.name for value in model.graph.output]
    return dict(zip(names, session.run(None, feeds), strict=True))


def check_float(worker: Worker, case: RandomNet) -> None:
    model, feeds = case.model, case.feeds
    made = emit_tflite(prepare(from_onnx(model)).graph)
    for name, wanted in expected(model, feeds).items():
        for resolver in RESOLVERS:
            outputs, _ = run_nchw(worker, made, feeds, resolver)
            assert outputs[name].shape == wanted.shape
            span = max(float(np.abs(wanted).max()), 1e-2)
            error = np.abs(outputs[name] - wanted).max() / span
            assert error <= 3e-5, (resolver, name, [node.op_type for node in model.graph.node])


def check_int8(worker: Worker, case: RandomNet, form: Form) -> None:
    model, feeds = case.model, case.feeds
    graph = prepare(from_onnx(model), int8=True).graph
    recipe = minmax_recipe(graph, feeds, form)
    made = emit_tflite(graph, recipe, precision="int8")
    wanted = simulate(graph, recipe, feeds)
    for resolver in RESOLVERS:
        outputs, _ = run_nchw(worker, made, feeds, resolver)
        for name, value in outputs.items():
            quanta = np.rint(np.abs(value - wanted[name]) / recipe.activations[name].scale)
            what = (resolver, name, [node.op for node in graph.nodes])
            # XNNPACK rounds as fake quantization does; the builtin kernels multiply in fixed
            # point, and narrow clamps and softmax amplify the quantum by which they differ
            if resolver == "auto":
                assert (quanta <= 2).mean() >= 0.95, what
            assert quanta.mean() <= 4, what


@given(random_nets())
@settings(quiet, max_examples=25)
def test_a_random_net_computes_the_same_in_float(worker: Worker, case: RandomNet) -> None:
    check_float(worker, case)


@given(random_nets(), st.sampled_from(FORMS))
@settings(quiet, max_examples=20)
def test_a_random_net_in_int8_is_within_quanta_of_fake_quantization(
    worker: Worker, case: RandomNet, form: Form
) -> None:
    check_int8(worker, case, form)


@pytest.mark.slow
@given(random_nets())
@settings(quiet, max_examples=250)
def test_many_random_nets_compute_the_same_in_float(worker: Worker, case: RandomNet) -> None:
    check_float(worker, case)


@pytest.mark.slow
@given(random_nets(), st.sampled_from(FORMS))
@settings(quiet, max_examples=250)
def test_many_random_nets_in_int8_are_within_quanta_of_fake_quantization(
    worker: Worker, case: RandomNet, form: Form
) -> None:
    check_int8(worker, case, form)
