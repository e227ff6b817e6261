"""The TFLite emitter: form, layout, clamps, metadata, refusals."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from quant_nets import NetBuilder
from tflite_kit import Worker, feed, float_values, minmax_recipe, run_nchw, small_net

from edgeconv.errors import EdgeconvError, UnsupportedOpError, UsageError
from edgeconv.export.graph import Attribute, Clamp, Graph, Node
from edgeconv.export.tflite.builder import schema
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.export.tflite.table import check_supported
from edgeconv.recipe import Activation


@pytest.mark.parametrize("reader", ["inspect", "whole"])
def test_a_file_that_is_cut_anywhere_is_told_in_our_words(reader: str, tmp_path: Path) -> None:
    """The runtime's and struct's own texts say nothing of a file."""
    from edgeconv.formats.tflite_file import check_whole
    from edgeconv.inspection import inspect_file

    whole = emit_tflite(small_net().graph).data
    path = tmp_path / "cut.tflite"
    said = []
    for length in (*range(1, 41), *range(41, len(whole), 37), *range(len(whole) - 40, len(whole))):
        path.write_bytes(whole[:length])
        try:
            inspect_file(path) if reader == "inspect" else check_whole(path, str(path))
        except EdgeconvError as error:
            said.append(str(error))
    assert all(text.startswith(f"{path} ") for text in said)
    told = {text.removeprefix(str(path)).partition(":")[0] for text in said}
    assert told <= {" is damaged or cut short", " is cut short", " is not a TFLite file"}
    assert len(told) > 1


def test_an_fp32_file_computes_what_the_graph_computes(worker: Worker) -> None:
    graph = small_net().graph
    feeds = feed(graph)
    wanted = float_values(graph, feeds)[graph.outputs[0]]
    made = emit_tflite(graph)
    for resolver in ("auto", "builtin", "ref"):
        outputs, facts = run_nchw(worker, made, feeds, resolver)
        np.testing.assert_allclose(outputs[graph.outputs[0]], wanted, rtol=1e-5, atol=1e-6)
        assert facts["delegates"] == (1 if resolver == "auto" else 0)


def test_fp16_stores_weights_once_as_halves_and_stays_one_partition(worker: Worker) -> None:
    graph = small_net().graph
    feeds = feed(graph)
    wanted = float_values(graph, feeds)[graph.outputs[0]]
    full, half = emit_tflite(graph), emit_tflite(graph, precision="fp16")
    outputs, facts = run_nchw(worker, half, feeds)
    np.testing.assert_allclose(outputs[graph.outputs[0]], wanted, rtol=2e-2, atol=2e-3)
    assert facts["delegates"] == 1
    summary = read_tflite(half.data)
    assert {summary.weights(op).data is None for op in summary.weighted} == {True}
    assert sum(t.dtype == "float16" for t in summary.tensors) == len(summary.weighted)
    weights = [summary.tensors[op.inputs[1]].shape for op in read_tflite(full.data).weighted]
    assert len(weights) == len(summary.weighted)


def test_a_weight_beyond_the_halves_stays_a_float() -> None:
    net = NetBuilder()
    out = net.conv("input", 2)
    net.graph.outputs = [out]
    net.graph.constants["weight"] = net.graph.constants["weight"] * 1e9
    summary = read_tflite(emit_tflite(net.graph, precision="fp16").data)
    assert summary.weights(summary.weighted[0]).dtype == "float32"


def test_the_same_graph_gives_the_same_bytes() -> None:
    first, second = (emit_tflite(small_net().graph, metadata={"b": "2", "a": "1"}) for _ in "12")
    assert first.data == second.data


def test_equal_constants_are_stored_once() -> None:
    net = NetBuilder()
    one = net.conv("input", 3, kernel=5)
    two = net.add("Conv", [one, *net.graph.nodes[0].inputs[1:]], (1, 3, 16, 16))
    net.graph.nodes[1].attrs = dict(net.graph.nodes[0].attrs)
    net.graph.outputs = [two]
    single = NetBuilder()
    single.graph.outputs = [single.conv("input", 3, kernel=5)]
    grown = len(emit_tflite(net.graph).data) - len(emit_tflite(single.graph).data)
    assert grown < 3 * 3 * 25 * 4


def test_weights_are_aligned_for_vector_loads() -> None:
    made = emit_tflite(small_net().graph)
    for tensor in read_tflite(made.data).tensors:
        if tensor.data is not None and tensor.data.nbytes > 64:
            assert made.data.index(tensor.data.tobytes()) % 16 == 0


def test_names_inside_are_the_graphs_and_unique() -> None:
    graph = small_net().graph
    made = emit_tflite(graph)
    names = [tensor.name for tensor in read_tflite(made.data).tensors]
    assert len(names) == len(set(names))
    for node in graph.nodes:
        assert made.names[node.output] == node.output


def test_the_description_is_in_the_metadata() -> None:
    made = emit_tflite(small_net().graph, metadata={"net": "mobilenet_v2", "labels": "Größe"})
    assert read_tflite(made.data).metadata == {
        "edgeconv": {"net": "mobilenet_v2", "labels": "Größe"}
    }


@pytest.mark.parametrize(
    ("clamp", "code"),
    [((0.0, np.inf), "RELU"), ((0.0, 6.0), "RELU6"), ((-1.0, 1.0), "RELU_N1_TO_1")],
)
def test_a_standard_clamp_is_fused(clamp: Clamp, code: str) -> None:
    net = NetBuilder()
    net.graph.outputs = [net.conv("input", 4, clamp=clamp)]
    summary = read_tflite(emit_tflite(net.graph).data)
    assert summary.histogram == {"CONV_2D": 1}
    activations = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
    assert summary.ops[0].options["fusedActivationFunction"] == activations[code]


@pytest.mark.parametrize("clamp", [(0.0, 1.0), (-0.5, 0.25), (0.125, np.inf), (-np.inf, 0.0)])
def test_any_other_clamp_is_kept_in_float_and_int8(worker: Worker, clamp: Clamp) -> None:
    net = NetBuilder()
    net.graph.outputs = [net.conv("input", 4, clamp=clamp)]
    feeds = feed(net.graph)
    wanted = float_values(net.graph, feeds)[net.graph.outputs[0]]
    outputs, facts = run_nchw(worker, emit_tflite(net.graph), feeds)
    np.testing.assert_allclose(outputs[net.graph.outputs[0]], wanted, atol=1e-5)
    assert facts["delegates"] == 1
    recipe = minmax_recipe(net.graph, feeds)
    # a range wider than the clamp, as a shared scale would give it
    wide = Activation(0.05, 0, -6.35, 6.35)
    activations = {**recipe.activations, net.graph.outputs[0]: wide}
    recipe = dataclasses.replace(recipe, activations=activations)
    outputs, _ = run_nchw(worker, emit_tflite(net.graph, recipe, precision="int8"), feeds)
    assert np.abs(outputs[net.graph.outputs[0]] - wanted).max() < 0.07


def test_a_shuffle_is_three_transposes_and_nothing_else_transposes() -> None:
    net = NetBuilder()
    stem = net.conv(net.conv("input", 12), 12, group=3)
    mixed = net.add("ChannelShuffle", [stem], net.graph.shape(stem), groups=3)
    net.graph.outputs = [net.conv(mixed, 4, group=2)]
    assert read_tflite(emit_tflite(net.graph).data).histogram["TRANSPOSE"] == 3


def test_flattened_pictures_reach_a_classifier_without_transposes(worker: Worker) -> None:
    net = NetBuilder()
    stem = net.conv("input", 6, stride=2)
    flat = net.add("Reshape", [stem, net.constant("shape", np.array([1, 384]))], (1, 384))
    weight = net.constant("fc", net.random.normal(0, 0.1, (7, 384)).astype(np.float32))
    net.graph.outputs = [net.add("Gemm", [flat, weight], (1, 7), transB=1)]
    feeds = feed(net.graph)
    wanted = float_values(net.graph, feeds)[net.graph.outputs[0]]
    for recipe in (None, minmax_recipe(net.graph, feeds)):
        made = emit_tflite(net.graph, recipe, precision="int8" if recipe else "fp32")
        assert "TRANSPOSE" not in read_tflite(made.data).histogram
        outputs, _ = run_nchw(worker, made, feeds)
        tolerance = np.ptp(wanted) * (0.03 if recipe else 1e-5)
        assert np.abs(outputs[net.graph.outputs[0]] - wanted).max() < tolerance


def test_a_detection_head_transposes_nothing(worker: Worker) -> None:
    net = NetBuilder()
    stem = net.conv("input", 8, clamp=None)
    last = net.add("Transpose", [stem], (1, 16, 16, 8), perm=[0, 2, 3, 1])
    shape = net.constant("shape", np.array([1, 512, 4]))
    net.graph.outputs = [net.add("Reshape", [last, shape], (1, 512, 4))]
    made = emit_tflite(net.graph)
    assert "TRANSPOSE" not in read_tflite(made.data).histogram
    feeds = feed(net.graph)
    outputs, _ = run_nchw(worker, made, feeds)
    wanted = float_values(net.graph, feeds)[net.graph.outputs[0]]
    np.testing.assert_allclose(outputs[net.graph.outputs[0]], wanted, atol=1e-5)


def refused(op: str, **attrs: Attribute) -> Graph:
    graph = Graph("net", 18, ["x"], ["y"])
    graph.declare("x", (1, 3, 8, 8), np.float32)
    graph.declare("y", (1, 3, 8, 8), np.float32)
    graph.nodes = [Node(op, "layer4.strange", ["x"], ["y"], dict(attrs))]
    return graph


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (refused("Det"), ["Det"]),
        (
            refused("MaxPool", kernel_shape=[3, 3], dilations=[2, 2]),
            ["dilated", "without dilation"],
        ),
        (
            refused("ArgMax", select_last_index=1),
            ["last of equal"],
        ),
        (refused("Xyz"), ["Xyz"]),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_op_node_and_nearest_form(
    graph: Graph, words: list[str]
) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        check_supported(graph)
    text = str(caught.value)
    assert "layer4.strange" in text
    assert "nearest supported form" in text
    assert "\n" not in text
    assert all(word in text for word in words)


def test_contradicting_options_are_usage_errors() -> None:
    graph = small_net().graph
    recipe = minmax_recipe(graph, feed(graph))
    for options in ({"precision": "int8"}, {"recipe": recipe}, {"io": "uint8"}):
        with pytest.raises(UsageError):
            emit_tflite(graph, **options)


def test_a_truncated_or_foreign_file_is_refused_with_a_sentence() -> None:
    data = emit_tflite(small_net().graph).data
    for broken in (b"", b"hello, this is text", *(data[:n] for n in range(8, len(data), 97))):
        with pytest.raises(EdgeconvError):
            read_tflite(broken, "x.tflite")


def test_no_damaged_byte_escapes_as_another_error() -> None:
    data = emit_tflite(small_net().graph).data
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[random.integers(8, len(data))] ^= int(random.integers(1, 256))
        with contextlib.suppress(EdgeconvError):
            read_tflite(bytes(damaged))


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_an_operator_of_tensors_that_are_not_there_is_refused(where: str) -> None:
    with pytest.raises(EdgeconvError, match=r"a\.tflite is damaged: .* names tensor 99 of \d+"):
        read_tflite(with_first_convolution(**{where: [99, 1, 2]}), "a.tflite")


@pytest.mark.parametrize("inputs", [[], [0], [0, -1, 2]])
def test_a_layer_without_its_input_or_weights_is_refused(inputs: list[int]) -> None:
    with pytest.raises(EdgeconvError, match=r"damaged: CONV_2D lacks what it works on"):
        read_tflite(with_first_convolution(inputs=inputs), "a.tflite")


def with_first_convolution(**changed: list[int]) -> bytes:
    """Return a small file whose first convolution has other tensors."""
    import flatbuffers

    data = emit_tflite(small_net().graph).data
    first = next(n for n, op in enumerate(read_tflite(data).ops) if op.code == "CONV_2D")
    model = schema().ModelT.InitFromPackedBuf(data, 0)
    for field, places in changed.items():
        setattr(model.subgraphs[0].operators[first], field, places)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
