"""Core ML's parts by value: names, constants, integer forms, known reports, rewrites, packages, suppression and options."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from graph_kit import floats, graph_of, ints

from edgeconv.errors import EdgeconvError, UnsupportedOpError, UsageError
from edgeconv.export.coreml import emit, integers, known_issues, package, suppress, table, target
from edgeconv.export.coreml.choices import settle
from edgeconv.export.coreml.lowering import (
    Lowering,
    integers_of,
    interleave,
    mil_array,
    mil_identifier,
)
from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.integer.free_form import faint
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.op_table import Entry
from edgeconv.recipe import Activation, Recipe, Weights

INF = float("inf")


class Told:
    """A builder that keeps what it is asked for and answers with a name and a shape."""

    def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.shape = shape

    def __getattr__(self, kind: str) -> Any:
        def call(**given: Any) -> Any:
            self.calls.append((kind, given))
            return SimpleNamespace(kind=kind, name=given.get("name"), shape=self.shape)

        return call


def plain(given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with arrays as (type, values), to be compared."""
    return {
        key: (value.dtype.name, value.tolist())
        if isinstance(value, np.ndarray | np.generic)
        else value
        for key, value in given.items()
    }


SETTLED = {
    ("fp32", None, None, False): ("fp32", 16),
    ("fp32", "fp32", 18, False): ("fp32", 18),
    ("fp16", "fp16", 15, False): ("fp16", 15),
    ("int8", "fp32", 17, False): ("fp32", 17),
    ("int8", None, 18, False): ("fp16", 18),
    ("int8", "fp32", 16, True): ("fp32", 16),
    ("fp32", None, 14, False): "--min-ios 14 is not one of 15, 16, 17, 18",
    ("fp32", None, 19, False): "--min-ios 19 is not one of 15, 16, 17, 18",
    ("fp32", "fp16", None, False): "--coreml-compute fp16 contradicts --fp32: drop one of them",
    ("fp16", "fp32", None, False): "--coreml-compute fp32 contradicts --fp16: drop one of them",
    ("int8", None, 15, True): "INT8 weights need --min-ios 16 or later",
    ("int8", None, 16, False): "INT8 activations need --min-ios 17 or later, not 16; INT8 weights alone (--int8-weights) run from iOS 16",
    ("fp32", None, 15, True): ("fp32", 15),
}  # fmt: skip


@pytest.mark.parametrize("asked", SETTLED, ids=str)
def test_options_are_settled_or_refused(asked: Any) -> None:
    wanted = SETTLED[asked]
    if isinstance(wanted, str):
        with pytest.raises(UsageError) as caught:
            settle(*asked)
        assert str(caught.value) == wanted
    else:
        assert settle(*asked) == wanted


def test_names_are_identifiers_and_each_is_given_once() -> None:
    stems = ["a", "a", "a/b", "a_b", "/a", "1", "", "__", "ü", "a"]
    made = Lowering(None, graph_of("(float[1] x) => (float[1] y) { y = Relu(x) }"), 16)
    assert [made.name(stem) for stem in stems] == [
        "a", "a_1", "a_b", "a_b_1", "a_2", "_1", "tensor", "tensor_1", "tensor_2", "a_3",
    ]  # fmt: skip
    assert mil_identifier("_9.x") == "_9_x"
    assert interleave([1, 2, 3, 4, 5, 6]) == [1, 4, 2, 5, 3, 6]
    with made.exactly():
        made.name("inside")
        made.name("a")
    made.name("behind")
    with made.exactly():
        made.name("again")
    assert made.exact == {"inside", "a_4", "again"}


def test_constants_are_stored_in_types_that_mil_has() -> None:
    limits = np.array([-(2**40), -5, 2**40], np.int64)
    cases: list[tuple[Any, str, list[Any]]] = [
        (np.array([200, 3], np.uint8), "int32", [200, 3]), (np.array([-7], np.int8), "int32", [-7]), (limits, "int32", [-(2**31), -5, 2**31 - 1]),
        (np.array([0.5]), "float32", [0.5]), (np.array([4], np.int32), "int32", [4]), (np.array([True]), "bool", [True]), (np.array([0.5], np.float16), "float16", [0.5]),
    ]  # fmt: skip
    for given, kind, wanted in cases:
        made = mil_array(given)
        assert (made.dtype.name, made.tolist()) == (kind, wanted)
    fixed = np.array([1.0], np.float32)
    assert mil_array(fixed) is fixed
    fixed.setflags(write=False)
    assert mil_array(fixed) is not fixed
    assert mil_array(fixed).flags.writeable


def test_a_lowering_reads_constants_and_tensors_and_checks_shapes() -> None:
    graph = graph_of("(float[2] x) => (float[2] y) { y = Clip(x, , c) }", c=np.array(1, np.float32))
    (node,) = graph.nodes
    told = Told()
    made = Lowering(told, graph, 16, values={"x": "the x"}, names={"x": "x"})
    assert made.tensor("x") == made.variable("x", "s") == made.read(node) == "the x"
    assert made.tensor("c").tolist() == 1
    assert made.variable("c", "s").name == "s_constant"
    assert made.variable("c", "s").name == "s_constant_1"
    assert [kind for kind, _ in told.calls] == ["const", "const"]
    assert [made.has(node, index) for index in range(4)] == [True, False, True, False]
    assert integers_of(graph_of("(float[2] x) => (float[2] y) { y = Tile(x, r) }", r=ints(1)),
                       Node("Tile", "t", ["x", "r"], ["y"]), 1, "its number") == [1]  # fmt: skip
    with pytest.raises(UnsupportedOpError) as caught:
        integers_of(graph, node, 0, "its number")
    assert str(caught.value) == f"Clip {node.name}: its number must be a constant for Core ML"


@pytest.mark.parametrize("clamp", [None, (0.0, INF)])
def test_a_clamp_stands_behind_its_operator_and_has_the_tensors_name(clamp: Clamp | None) -> None:
    graph = graph_of("(float[2] x) => (float[2] y, float[2] z) { y = Exp(x) z = Log(x) }")
    node = Node("Exp", "e", ["x"], ["y", "", "z"], clamp=clamp)
    told = Told()
    made = Lowering(told, graph, 16, values={"x": "the x"})
    pair = Entry(lambda c, node, name: [c.mb.exp(name=name), c.mb.log(name="z")])
    made.lower(node, pair)
    calls = [(kind, given["name"]) for kind, given in told.calls]
    if clamp is None:
        assert calls == [("exp", "y"), ("log", "z")]
    else:
        assert calls == [("exp", "y_before_clamp"), ("log", "z"), ("relu", "y")]
    assert (made.names, made.values["z"].kind) == ({"y": "y", "z": "z"}, "log")
    made.mb.shape = (3,)
    with pytest.raises(EdgeconvError, match=r"^Exp e: Core ML infers \[3\] for y, the graph says \[2\]$"):  # fmt: skip
        made.lower(node, pair)


def recipe_of(weights: dict[str, Weights] | None = None, /, **kinds: Activation) -> Recipe:
    return Recipe("r", "zero-point-free", kinds, weights or {})


def stored(*values: Any, scales: Any, axis: int = 0) -> Weights:
    held, found = np.array(values, np.int8), np.array(scales, np.float32)
    return Weights(held, found, np.zeros(len(found), np.int32), found * 8, axis)


def test_a_tensor_is_quantized_and_read_back_once() -> None:
    graph = graph_of("(float[1,2,4,4] x) => (float[1,2,4,4] y) { a = Conv(x, w) b = Conv(x, w) y = Add(a, b) }", w=floats(2, 2, 1, 1))  # fmt: skip
    told = Told()
    plan = integers.IntegerPlan(recipe_of(x=Activation(0.5, 3, -60, 60)), 17)
    made = Lowering(told, graph, 17, plan, values={"x": "the x", "a": 1, "b": 2}, names={"x": "x"})
    first, again = made.read(graph.nodes[0]), made.read(graph.nodes[1])
    assert first is again
    assert made.read(graph.nodes[2], 1) == 2
    assert [(kind, plain(given)) for kind, given in told.calls] == [
        ("quantize", {"input": "the x", "output_dtype": "int8", "name": "x_quantized", "scale": ("float32", 0.5), "zero_point": ("int8", 3)}),
        ("dequantize", {"input": told.calls[1][1]["input"], "name": "x_dequantized", "scale": ("float32", 0.5), "zero_point": ("int8", 3)}),
    ]  # fmt: skip
    assert told.calls[1][1]["input"].kind == "quantize"
    assert plan.affine == ["x"]
    free = Told()
    for zero, kind in [(-128, "uint8"), (0, "int8")]:
        integers.IntegerPlan(recipe_of(x=Activation(0.5, zero, 0, 1)), 17).round_trip(free, 0, "x", ("q", "d"))  # fmt: skip
        assert free.calls[-2][1]["output_dtype"] == kind
        assert "zero_point" not in free.calls[-1][1]


def test_an_addition_with_one_faint_side_stays_in_float() -> None:
    graph = graph_of("(float[2] a, float[2] b) => (float[2] y) { y = Add(a, b) }")
    kinds = {"a": Activation(0.1, 0, -1, 1), "b": Activation(1e-9, 0, -1, 1)}
    node = graph.nodes[0]
    half = integers.IntegerPlan(recipe_of(**kinds), 17, half=True)
    assert not half.reads_integers(graph, node, "a")
    assert not integers.IntegerPlan(recipe_of(**kinds), 17).reads_integers(graph, node, "a")
    assert not replace(half, half=False, activations=False).reads_integers(graph, node, "a")
    kinds["b"] = kinds["a"]
    assert integers.IntegerPlan(recipe_of(**kinds), 17, half=True).reads_integers(graph, node, "a")


def test_integer_weights_are_written_as_the_oldest_system_reads_them() -> None:
    held = stored([[1, -2, 0]], [[3, -127, 0]], scales=[0.5, 0.25, 1e-12], axis=2)
    node = Node("ConvTranspose", "n", ["x", "w"], ["y"])
    recipe = recipe_of({"n": held})
    told = Told()

    def written(min_ios: int, unsigned: bool) -> Any:
        plan = integers.IntegerPlan(recipe, min_ios, unsigned_weights=unsigned)
        found = plan.weights(told, node, "n_weight")
        assert found is not None
        assert found[1].tolist() == held.float_bias.tolist()
        kind, given = told.calls[-1]
        assert found[0].kind == kind
        return kind, plain(given)

    scales = [0.5, 0.25, 1.0]
    signed = {"zero_point": ("int8", 0), "scale": ("float32", scales), "axis": 2, "name": "n_weight",
              "quantized_data": ("int8", [[[1, -2, 0]], [[3, -127, 0]]])}  # fmt: skip
    assert written(17, False) == ("constexpr_affine_dequantize", signed)
    unsigned = signed | {
        "zero_point": ("uint8", 128), "quantized_data": ("uint8", [[[129, 126, 128]], [[131, 1, 128]]])
    }  # fmt: skip
    assert written(16, True) == ("constexpr_affine_dequantize", unsigned)
    blockwise = {"data": signed["quantized_data"], "scale": ("float32", [[scales]]), "name": "n_weight"}  # fmt: skip
    assert written(18, True) == written(18, False) == ("constexpr_blockwise_shift_scale", blockwise)
    plan = integers.IntegerPlan(recipe, 17)
    assert plan.weights(told, Node("Conv", "m", [], []), "m") is None
    assert replace(plan, recipe=replace(recipe, float_nodes=("n",))).weights(told, node, "n") is None  # fmt: skip
    one = integers.stored_scales(held.values, np.array([0.125], np.float32), 0)
    assert (one.dtype.name, one.tolist()) == ("float32", [0.125, 0.125])


def test_scales_that_halves_change_by_a_hundredth_are_faint() -> None:
    # a subnormal half is a multiple of 2**-24
    step = 2.0**-24
    for steps, said in [(0.3, True), (1, False), (40.4, False), (40.45, True), (0, False), (60.5, False)]:  # fmt: skip
        assert faint(np.array([1.0, steps * step])) is said
    kinds = {"f": Activation(step / 3, 0, -1, 1), "g": Activation(1.0, 0, -1, 1)}
    plan = integers.IntegerPlan(recipe_of(**kinds), 17)
    assert integers.faint_scales(plan) == ["f"]
    assert integers.faint_scales(replace(plan, activations=False)) == []
    graph = graph_of("(float[1,2,4,4] x) => (float[1,2,4,4] y) { a = Conv(x, w) y = Relu(a) }", w=floats(2, 2, 1, 1))  # fmt: skip
    assert integers.weight_inputs(graph) == {graph.nodes[0].name: "x"}


def net(nodes: str, x: str = "float[1,4,8,8]", /, **constants: Any) -> Graph:
    return graph_of(f"({x} x) => (float y) {{ {nodes} }}", **constants)


ALL = ("fp32", False, 16)
GROUPED = "y = Conv<kernel_shape=[1,1], group={}>(x, w)"
STRIDED = "y = Conv<kernel_shape=[{}], strides=[{}], pads=[{}]>(x, w)"
POOLED = "y = AveragePool<kernel_shape=[{}], pads=[{}]{}>(x)"
REPORTS: dict[str, tuple[str, Any, Clamp | None, tuple[Any, ...], list[str]]] = {
    "two groups and a clamp": (GROUPED.format(2), (4, 2, 1, 1), (0, 6), ALL, ["grouped-conv-activation"]),
    "two groups": (GROUPED.format(2), (4, 2, 1, 1), None, ALL, []),
    "one group and a clamp": (GROUPED.format(1), (4, 4, 1, 1), (0, 6), ALL, []),
    "a group a channel": (GROUPED.format(4), (4, 1, 1, 1), (0, 6), ALL, []),
    "even and strided": (STRIDED.format("3,2", "1,2", "0,1,0,0"), (4, 4, 3, 2), None, ALL, ["even-kernel-stride"]),
    "odd and strided": (STRIDED.format("3,3", "1,2", "0,1,0,0"), (4, 4, 3, 3), None, ALL, []),
    "even": (STRIDED.format("2,2", "1,1", "0,1,0,0"), (4, 4, 2, 2), None, ALL, []),
    "even without padding": (STRIDED.format("2,2", "2,2", "0,0,0,0"), (4, 4, 2, 2), None, ALL, []),
    "even without a word": ("y = Conv<kernel_shape=[2,2]>(x, w)", (4, 4, 2, 2), None, ALL, []),
    "even, no stride": ("y = Conv<kernel_shape=[2,2], pads=[1,1,1,1]>(x, w)", (4, 4, 2, 2), None, ALL, []),
    "a wide average": (POOLED.format("1,4", "0,1,0,1", ""), None, None, ALL, ["wide-average-pool"]),
    "an average of three": (POOLED.format("3,3", "0,1,0,1", ""), None, None, ALL, []),
    "a wide average inside": (POOLED.format("4,4", "0,0,0,0", ""), None, None, ALL, []),
    "an average upwards": (POOLED.format("3,3", "0,0,0,0", ", ceil_mode=1"), None, None, ALL, ["ceil-average-pool"]),
    "integer weights": (GROUPED.format(1), (4, 4, 1, 1), None, ("int8", True, 17), ["signed-int8-weights", "compressed-weights-on-cpu"]),
    "integer weights of iOS 18": (GROUPED.format(1), (4, 4, 1, 1), None, ("int8", True, 18), ["compressed-weights-on-cpu"]),
    "integer weights alone": (GROUPED.format(1), (4, 4, 1, 1), None, ("int8", True, 16, True), ["compressed-weights-on-cpu"]),
    "integer weights and avoiding": (GROUPED.format(1), (4, 4, 1, 1), None, ("int8", True, 17, False, True), ["compressed-weights-on-cpu"]),
    "no weights": ("y = Relu(x)", None, None, ("int8", True, 17), []),
    **{
        f"{op} in {'halves' if half else 'floats'}": (f"y = {op}(x)", None, None, ("fp16", half, 16), [key] if half else [])
        for op, key in [("Mish", "half-mish"), ("Softplus", "half-mish"), ("HardSwish", "half-hard-swish"), ("LeakyRelu", "half-leaky-relu")]
        for half in (True, False)
    },
    "PRelu in halves": ("y = PRelu(x, w)", (4, 1, 1), None, ("fp16", True, 16), ["half-leaky-relu"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_matches_what_it_was_reported_of(name: str) -> None:
    nodes, weights, clamp, asked, wanted = REPORTS[name]
    graph = net(nodes, **({} if weights is None else {"w": floats(*weights)}))
    graph.nodes[0].clamp = clamp
    found = known_issues.known_issues(graph, known_issues.Target(*asked))
    assert [warned.issue.key for warned in found] == wanted
    assert all(warned.nodes == (graph.nodes[0].name,) for warned in found)


def test_a_report_says_where_it_comes_from_and_what_it_is_about() -> None:
    by_key = {issue.key: issue for issue in known_issues.KNOWN}
    assert str(known_issues.Warned(by_key["even-kernel-stride"], ("a",))) == (
        "verify on device: a strided, padded convolution with an even kernel side was reported wrong in its last pixel "
        "(https://github.com/apple/coremltools/issues/2515); here a; --avoid-known-issues pads in front of the convolution instead"
    )
    assert str(known_issues.Warned(by_key["half-mish"], ("a", "b", "c"))) == (
        "verify on device: Mish in float16 was reported far off on the Neural Engine "
        "(https://github.com/apple/coremltools/issues/2359); here a and 2 more"
    )
    assert [key for key, issue in by_key.items() if issue.cure] == [
        "grouped-conv-activation", "even-kernel-stride", "wide-average-pool", "signed-int8-weights",
    ]  # fmt: skip


def shuffled(more: str = "", y: str = "float y", groups: int = 2) -> Graph:
    """Return a grouped convolution that ends in [0, 6] in front of a shuffle."""
    graph = graph_of(
        f"(float[1,4,3,3] x) => ({y}) {{ c = Conv<kernel_shape=[1,1], group={groups}>(x, w) y = Identity(c) {more} }}",
        w=floats(4, 4 // groups, 1, 1),
    )  # fmt: skip
    graph.nodes[1].op, graph.nodes[1].attrs = "ChannelShuffle", {"groups": 2}
    graph.nodes[0].clamp = (0.0, 6.0)
    return graph


def test_an_activation_moves_behind_the_shuffle_that_alone_reads_it() -> None:
    graph = shuffled()
    moved, shared = known_issues.avoid(graph)
    assert [node.clamp for node in moved.nodes] == [None, (0.0, 6.0)]
    assert [node.output for node in moved.nodes] == ["c_unclamped", "y"]
    assert (moved.shape("c_unclamped"), shared) == ((1, 4, 3, 3), {})
    assert [node.clamp for node in graph.nodes] == [(0.0, 6.0), None]
    kept = [
        shuffled("z = Relu(c)", "float y, float z"),
        shuffled(y="float y, float c"),
        shuffled(groups=1),
        shuffled(groups=4),
        shuffled(),
        shuffled(),
        shuffled(),
    ]
    kept[4].nodes[1].op = "Identity"
    kept[5].nodes[1].clamp = (0.0, INF)
    kept[6].nodes[0].clamp = None
    for number, one in enumerate(kept):
        before = [(node.clamp, node.outputs) for node in one.nodes]
        changed, _ = known_issues.avoid(one)
        assert [(node.clamp, node.outputs) for node in changed.nodes] == before, number


def test_an_even_kernel_is_padded_in_front() -> None:
    graph = net(
        "a = Conv<kernel_shape=[2,3], strides=[2,1], pads=[1,2,3,4]>(x, w) y = Conv<kernel_shape=[2,2], pads=[1,0,0,0]>(a, v)",
        w=floats(4, 4, 2, 3), v=floats(4, 4, 2, 2),
    )  # fmt: skip
    first = graph.nodes[0].name
    changed, shared = known_issues.avoid(graph)
    pad, conv, other = changed.nodes
    assert (pad.op, pad.name, pad.inputs, pad.outputs) == ("Pad", f"{first}_pad", ["x", f"{first}_pads"], ["x_padded"])  # fmt: skip
    widths = changed.constants[pad.inputs[1]]
    assert (widths.dtype.name, widths.tolist()) == ("int64", [0, 0, 1, 2, 0, 0, 3, 4])
    assert (changed.shape("x_padded"), changed.dtype("x_padded").name) == (
        (1, 4, 12, 14),
        "float32",
    )
    assert (conv.inputs, conv.attrs["pads"], conv.attrs["strides"]) == (["x_padded", "w"], [0] * 4, [2, 1])  # fmt: skip
    assert (other.inputs[0], other.attrs["pads"], shared) == ("a", [1, 0, 0, 0], {"x_padded": "x"})
    line = net("y = Conv<kernel_shape=[4], strides=[3], pads=[2,1]>(x, w)", "float[2,3,9]", w=floats(3, 3, 4))  # fmt: skip
    changed, _ = known_issues.avoid(line)
    assert changed.constants[changed.nodes[0].inputs[1]].tolist() == [0, 0, 2, 0, 0, 1]
    assert changed.shape("x_padded") == (2, 3, 12)


def test_a_wide_average_that_counts_its_padding_becomes_a_convolution() -> None:
    counted = "AveragePool<kernel_shape=[4,2], pads=[1,0,1,0], count_include_pad=1{}>"
    graph = net(
        f"a = {counted.format('')}(x) b = {counted.format(', strides=[2,1]')}(a) c = AveragePool<kernel_shape=[4,4], pads=[1,1,1,1]>(b) "
        f"d = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(c) y = {counted.format(', ceil_mode=1')}(d)"
    )
    changed, _ = known_issues.avoid(graph)
    assert [node.op for node in changed.nodes] == ["Conv", "Conv", *["AveragePool"] * 3]
    window = {"kernel_shape": [4, 2], "pads": [1, 0, 1, 0], "dilations": [1, 1], "group": 4}
    for node, strides in zip(changed.nodes[:2], ([1, 1], [2, 1]), strict=True):
        assert node.attrs == window | {"strides": strides}
        share = changed.constants[node.inputs[1]]
        assert (share.dtype.name, share.shape, np.unique(share).tolist()) == ("float32", (4, 1, 4, 2), [0.125])  # fmt: skip
        assert node.inputs[1] == f"{node.name}_weight"


def manifest_of(model: bytes, parts: dict[str, str]) -> dict[str, Any]:
    """Return the manifest that a model's bytes decide."""
    digest = hashlib.sha256(model).hexdigest()
    entries = {}
    for part, path in parts.items():
        h = hashlib.sha256(f"{digest} {part}".encode()).hexdigest().upper()
        ident = f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"
        whole = {"model": ("CoreML Model Specification", "model.mlmodel"), "weights": ("CoreML Model Weights", "weights")}  # fmt: skip
        says, name = whole[part]
        entries[ident] = {"author": "com.apple.CoreML", "description": says, "name": name, "path": path}  # fmt: skip
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": dict(sorted(entries.items())),
        "rootModelIdentifier": next(i for i, e in entries.items() if e["name"] == "model.mlmodel"),
    }


def test_a_package_is_a_folder_whose_names_follow_from_its_bytes(tmp_path: Path) -> None:
    weights = tmp_path / "w"
    weights.write_bytes(b"1234")
    path = tmp_path / "new" / "folder" / "a.mlpackage"
    held = {"model": "com.apple.CoreML/model.mlmodel", "weights": "com.apple.CoreML/weights"}
    for model, given in [(b"one", weights), (b"two", None), (b"three", weights)]:
        package.write_package(path, model, given)
        parts = held if given else {"model": held["model"]}
        text = (path / "Manifest.json").read_text(encoding="utf-8")
        assert text == json.dumps(manifest_of(model, parts), indent=4) + "\n"
        files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*"))
        data = "Data/com.apple.CoreML"
        kept = ["Data", data, f"{data}/model.mlmodel", *([f"{data}/weights", f"{data}/weights/weight.bin"] if given else []), "Manifest.json"]  # fmt: skip
        assert files == kept
        assert (path / data / "model.mlmodel").read_bytes() == model
        assert path.stat().st_mode & 0o777 == 0o755
        assert [one.name for one in path.parent.iterdir()] == ["a.mlpackage"]
    assert (path / data / "weights" / "weight.bin").read_bytes() == b"1234"


def test_an_older_package_comes_back_where_the_new_one_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mlpackage"
    package.write_package(path, b"old", None)
    before = (path / "Manifest.json").read_bytes()
    real = os.replace

    def failing(source: Any, to: Any) -> None:
        if str(source).endswith(".part"):
            raise OSError(28, "No space left on device")
        real(source, to)

    monkeypatch.setattr(os, "replace", failing)
    for one in (path, tmp_path / "b.mlpackage"):
        with pytest.raises(EdgeconvError) as caught:
            package.write_package(one, b"new", None)
        assert str(caught.value) == f"cannot write {one}: No space left on device"
    assert (path / "Manifest.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.mlpackage"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(EdgeconvError, match=r"other exists and is no \.mlpackage; it is left alone$"):  # fmt: skip
        package.write_package(other, b"new", None)
    assert [one.name for one in other.iterdir()] == ["kept"]


def decoded_net(classes: int = 3) -> Graph:
    graph = graph_of(
        f"(float[1,6,4] x) => (float[1,6,4] b, float[1,6,{classes}] s) {{ b = Relu(x) s = MatMul(x, w) }}",
        w=floats(4, classes),
    )
    return suppress.for_coreml(graph)


def test_boxes_lose_the_axis_of_pictures_for_suppression() -> None:
    graph = decoded_net()
    assert graph.outputs == ["raw_coordinates", "raw_confidence"]
    assert [graph.shape(name) for name in graph.outputs] == [(6, 4), (6, 3)]
    assert [(node.op, node.inputs[0], node.output) for node in graph.nodes[2:]] == [
        ("Reshape", "b", "raw_coordinates"), ("Reshape", "s", "raw_confidence"),
    ]  # fmt: skip
    shapes = [graph.constants[node.inputs[1]] for node in graph.nodes[2:]]
    assert [(one.dtype.name, one.tolist()) for one in shapes] == [("int64", [6, 4]), ("int64", [6, 3])]  # fmt: skip


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a", "b"], None, []])
def test_a_pipeline_ends_in_suppression_of_its_programs_boxes(labels: Any) -> None:
    pytest.importorskip("coremltools")
    from coremltools.proto import Model_pb2

    program = Model_pb2.Model()
    program.specificationVersion = 7
    program.description.metadata.author = "us"
    program.description.input.add(name="image")
    for name, shape in [("raw_coordinates", (6, 4)), ("raw_confidence", (6, 3))]:
        feature = program.description.output.add(name=name, shortDescription=f"of {name}")
        feature.type.multiArrayType.shape.extend(shape)
        feature.type.multiArrayType.dataType = 65568
    whole = suppress.with_suppression(program, Suppression(0.25, 0.75), labels)
    assert whole.specificationVersion == 7
    limits = ["iouThreshold", "confidenceThreshold"]
    assert [one.name for one in whole.description.input] == ["image", *limits]
    assert [one.shortDescription for one in whole.description.input][1:] == [
        "overlap above which the weaker box goes; optional", "least score; optional",
    ]  # fmt: skip
    kinds = [(one.type.WhichOneof("Type"), one.type.isOptional) for one in whole.description.input]
    assert kinds == [(None, False), *[("doubleType", True)] * 2]
    assert whole.description.metadata.author == "us"
    detector, thinning = whole.pipeline.models
    assert list(whole.pipeline.names) == ["detector", "nms"]
    assert (detector.description.metadata.author, thinning.specificationVersion) == ("", 7)
    raw = ["raw_coordinates", "raw_confidence"]
    assert [one.name for one in thinning.description.input] == raw
    assert [list(one.type.multiArrayType.shape) for one in thinning.description.input] == [[6, 4], [6, 3]]  # fmt: skip
    for outputs in (thinning.description.output, whole.description.output):
        assert [one.name for one in outputs] == ["coordinates", "confidence"]
        for one, width in zip(outputs, (4, 3), strict=True):
            array = one.type.multiArrayType
            ranges = [(r.lowerBound, r.upperBound) for r in array.shapeRange.sizeRanges]
            assert (list(array.shape), ranges, array.dataType) == ([], [(0, -1), (width, width)], 65568)  # fmt: skip
    nms = thinning.nonMaximumSuppression
    named = ["a", "b", "c"] if labels and len(labels) == 3 else ["0", "1", "2"]
    assert (list(nms.stringClassLabels.vector), nms.pickTop.perClass) == (named, True)
    assert (nms.iouThreshold, nms.confidenceThreshold) == (0.25, 0.75)
    assert [nms.coordinatesInputFeatureName, nms.confidenceInputFeatureName] == raw
    assert nms.coordinatesOutputFeatureName == "coordinates"
    assert nms.confidenceOutputFeatureName == "confidence"
    assert [nms.iouThresholdInputFeatureName, nms.confidenceThresholdInputFeatureName] == limits


STOPS: dict[str, tuple[str, list[str]]] = {
    "fits": ("(float[1,1,1,1,2] x) => (float[1,1,1,1,2] y) { y = Exp(x) }", []),
    "six axes inside": (
        "(float[2,3] x) => (float[2,3] y) { a = Reshape(x, s) b = Exp(a) y = Reshape(b, t) }",
        ["Reshape (node n0): rank 6 exceeds Core ML's 5 axes", "Exp (node ?): it makes 6 axes, and Core ML has 5"],
    ),
    "reshaping through three": ("(float[2,3] x) => (float[2,3] y) { a = Identity(x) b = Unsqueeze(a, n) y = Squeeze(b, n) }", []),
    "six axes in": (
        "(float[1,1,1,1,2,3] x) => (float[2,3] y) { y = Reshape(x, t) }", ["x of 6 axes: it has 5 at most"],
    ),
    "another type": (
        "(double[2] x) => (double[2] y) { y = Neg(x) }",
        [f"{name} as float64: it has float32, int32, int64, uint8, int8, bool" for name in "xy"],
    ),
    **{f"{kind} crosses": (f"({kind}[2] x) => (int32[2] y) {{ y = Cast<to=6>(x) }}", []) for kind in ("int64", "uint8", "int8", "bool", "float")},
    "no operator": ("(float[3,3] x) => (float y) { y = Det(x) }", ["Det (node ?): none is written yet; the nearest supported form is one of up to 4 rows, which is written out, or the matrix as output"]),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_what_core_ml_cannot_take_is_said(name: str) -> None:
    body, wanted = STOPS[name]
    given = {"s": ints(1, 1, 1, 1, 2, 3), "t": ints(2, 3), "n": ints(0)}
    graph = graph_of(body, **{k: v for k, v in given.items() if f", {k})" in body})
    for number, node in enumerate(graph.nodes):
        node.name = "?" if node.op in ("Exp", "Det") else f"n{number}"
    found = table.stops(graph)
    assert [one.clause for one in found] == wanted
    if not wanted:
        table.check_supported(graph)
        return
    lack = "edgeconv has no Core ML form of" if name == "no operator" else "Core ML cannot express"
    more = f" (and {len(wanted) - 1} more)" if len(wanted) > 1 else ""
    with pytest.raises(UnsupportedOpError) as caught:
        table.check_supported(graph)
    assert str(caught.value) == f"{lack} {wanted[0]}{more}"


def test_labels_and_recipes_fit_their_graph() -> None:
    graph = graph_of("(float[1,3] x) => (float[1,3] y) { y = Exp(x) }")
    emit._check_labels(graph, ["a", "b", "c"])
    for shape, labels in [((1, 3), "ab"), ((2, 3), "abc"), ((1, 1, 3), "abc"), ((3,), "abc")]:
        graph.shapes["y"] = shape
        with pytest.raises(UsageError) as caught:
            emit._check_labels(graph, list(labels))
        assert str(caught.value) == f"{len(labels)} labels do not fit an output of shape {list(shape)}"  # fmt: skip
    graph.outputs = ["y", "x"]
    with pytest.raises(UsageError, match=r"^--labels makes a classifier, which has one output$"):
        emit._check_labels(graph, ["a"])
    with pytest.raises(UsageError, match=r"^INT8 activations need a recipe: calibrate with pictures"):  # fmt: skip
        emit._check_recipe(graph, None)
    emit._check_recipe(graph, recipe_of())
    one = stored([1], scales=[1])
    emit._check_recipe(graph, recipe_of({graph.nodes[0].name: one}))
    with pytest.raises(EdgeconvError, match=r"^the recipe has weights for b, which the graph has not"):  # fmt: skip
        emit._check_recipe(graph, recipe_of({"c": one, "b": one}))


def test_notes_say_what_a_user_should_know() -> None:
    assert emit._shared_names(["a", "b"]) == []
    told = ": an app is given probabilities by name, one of each name; give every class a name of its own"  # fmt: skip
    assert emit._shared_names(["x", "a", "b", "a", "a"]) == [f"classes 1, 3, 4 share the name 'a'{told}"]  # fmt: skip
    assert emit._shared_names(["b", "a", "b", "a", "c", "c"]) == [f"classes 0, 2 share the name 'b', and 2 more names{told}"]  # fmt: skip
    faint = recipe_of({"u": stored([1], scales=[1e-9])}, f=Activation(1e-9, 0, -1, 1))
    plan = integers.IntegerPlan(faint, 17, affine=["t", "s"])
    zero = "2 tensors keep a zero point (t first): Core ML is not known to compute with those in integers"  # fmt: skip
    small = (
        "scales of 1 tensor are too small for half precision (f first): those stay floats where larger ones "
        "are read as integers"
    )
    assert emit._integer_notes(plan) == [emit.GAINS, zero, small]
    one = emit._integer_notes(replace(plan, affine=["t"]))[1]
    assert one.startswith("1 tensor keeps a zero point (t first): ")
    assert emit._integer_notes(replace(plan, affine=[], activations=False)) == []


@pytest.mark.parametrize(("weights_only", "avoid", "unsigned"), [(True, False, True), (False, True, True), (False, False, False)])  # fmt: skip
def test_a_plan_has_the_recipe_in_core_mls_form(weights_only: bool, avoid: bool, unsigned: bool) -> None:  # fmt: skip
    graph = graph_of("(float[1,1,2,2] x) => (float[1,2,2,2] y) { y = Conv(x, w) }", w=np.array([2.54, -1.27], np.float32).reshape(2, 1, 1, 1))  # fmt: skip
    made = emit._plan(graph, None, 16, weights_only, avoid)
    assert (made.activations, made.unsigned_weights, made.min_ios) == (not weights_only, unsigned, 16)  # fmt: skip
    (held,) = made.recipe.weights.values()
    assert held.values.ravel().tolist() == [127, -127]
    name = graph.nodes[0].name
    one = Weights(held.values, held.scales, held.bias, np.array([1, 2], np.float32))
    ranges = {"x": Activation(0.02, 3, -1.0, 4.0)}
    free = emit._plan(graph, Recipe("r", "asymmetric", ranges, {name: one}), 17, weights_only, avoid).recipe  # fmt: skip
    assert (free.form, free.activations["x"].zero_point) == ("zero-point-free", 0)
    assert free.activations["x"].scale == pytest.approx(4 / 127)
    kept = Recipe("r", "zero-point-free", ranges, {name: one})
    assert emit._plan(graph, kept, 17, weights_only, avoid).recipe is kept


def test_padded_tensors_share_a_scale_that_is_known() -> None:
    recipe = recipe_of(a=Activation(0.5, 0, -1, 1))
    made = emit._extended(recipe, {"a_padded": "a", "b_padded": "b"})
    assert made.activations == {"a": recipe.activations["a"], "a_padded": recipe.activations["a"]}
    assert recipe.activations.keys() == {"a"}


def test_metadata_goes_to_core_mls_fields_and_the_date_goes() -> None:
    held = {"com.github.apple.coremltools.conversion_date": "today", "other": "kept"}
    metadata = SimpleNamespace(userDefined=held)
    spec = SimpleNamespace(description=SimpleNamespace(metadata=metadata))
    emit._describe(spec, {"zebra": "z", "author": "A", "license": "L", "version": "V", "description": "D"})  # fmt: skip
    assert held == {"other": "kept", "zebra": "z"}
    assert vars(metadata) == {"userDefined": held, "author": "A", "license": "L", "versionString": "V", "shortDescription": "D"}  # fmt: skip


def test_a_tensor_is_found_under_the_name_that_half_precision_gave_it() -> None:
    for held, wanted in [
        (["a", "a_to_fp16", "a_cast_fp16"], "a_cast_fp16"), (["a", "a_to_fp16"], "a_to_fp16"), (["a"], "a"), (["b"], None),
    ]:  # fmt: skip
        assert emit._final_name("a", dict.fromkeys(held, "")) == wanted


def test_integers_are_found_behind_their_tensor_with_the_factor_of_its_scale() -> None:
    from edgeconv.mil.program import Reference

    def quantize(name: str, source: Any, scale: Any, kind: str = "quantize") -> Any:
        return SimpleNamespace(kind=kind, results=[(name, None)], arguments={"input": [source], "scale": [scale]})  # fmt: skip

    half, one = np.float32(0.5), np.array(0.5, np.float32)
    operations = [
        quantize("qa", Reference("mil_a"), one), quantize("qb", Reference("mil_b"), np.array(0.25, np.float32)),
        quantize("qc", Reference("mil_c"), one), quantize("qd", Reference("elsewhere"), one), quantize("qe", one, one),
        quantize("qf", Reference("mil_f"), Reference("computed")), quantize("qg", Reference("mil_g"), one, "dequantize"),
        quantize("qh", Reference("mil_h"), np.array(0.5 / 1.0095, np.float32)), quantize("qi", Reference("mil_i"), np.array(0.5 / 0.98, np.float32)),
    ]  # fmt: skip
    program: Any = SimpleNamespace(parsed=SimpleNamespace(operations=operations))
    names = {name: f"mil_{name}" for name in "abcfghi"}
    recipe = recipe_of(**dict.fromkeys("abfghi", Activation(float(half), 0, -1, 1)))
    found, rescaled = emit._quantized(program, names, recipe)
    assert found == {"a": "qa", "b": "qb", "h": "qh", "i": "qi"}
    assert rescaled == {"b": ("mil_b", 2.0), "i": ("mil_i", pytest.approx(0.98))}
    assert emit._quantized(program, names, None) == ({}, {})


def request_of(**given: Any) -> Any:
    graph = graph_of("(float[2] x) => (float[2] y) { a = Add(x, x) y = Exp(a) }")
    options = SimpleNamespace(
        author=None, license=None, model_version=None, precision="fp32", coreml_compute=None, min_ios=None,
        int8_weights=False, avoid_known_issues=False,
    )  # fmt: skip
    for key in list(given):
        if hasattr(options, key):
            setattr(options, key, given.pop(key))
    description = {"net": {"source": "a net"}, "precision": "fp32", "preprocessing": None, "labels": ["p", "q", "p"]}  # fmt: skip
    held = {"graph": graph, "recipe": None, "description": description, "image": None, "labels": None,
            "probabilities": False, "reference": {}, "nms": None}  # fmt: skip
    return SimpleNamespace(options=options, **(held | given))


def emitted(monkeypatch: pytest.MonkeyPatch, request: Any) -> tuple[dict[str, Any], Any]:
    census = SimpleNamespace(integer=3, weight_only=4, to_json=lambda: {"ops": 7})
    asked: dict[str, Any] = {}

    def emit_coreml(graph: Graph, recipe: Any, **given: Any) -> Any:
        asked.update(given, graph=graph, recipe=recipe)
        return SimpleNamespace(
            bytes=99, names={"x": "x"}, inputs=(1,), outputs=(2,), integers={"x": "q"}, notes=("n",),
            rescaled={"a": ("m", 0.5)}, census=census,
        )  # fmt: skip

    monkeypatch.setattr(emit, "emit_coreml", emit_coreml)
    return asked, target._emit(request, Path("a.mlpackage"))


def test_the_target_hands_the_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(author="A", license="L", model_version="V", min_ios=17, coreml_compute="fp32", labels=["p", "q", "p"],
                         image="how", probabilities=True, precision="int8", avoid_known_issues=True)  # fmt: skip
    asked, made = emitted(monkeypatch, request)
    metadata = asked.pop("metadata")
    assert asked == {
        "graph": request.graph, "recipe": None, "path": Path("a.mlpackage"), "precision": "int8", "compute": "fp32", "min_ios": 17,
        "weights_only": False, "image_input": "how", "labels": ["p", "q", "p (class 2)"], "probabilities": True,
        "avoid_known_issues": True, "coarse": (), "nms": None,
    }  # fmt: skip
    assert json.loads(metadata["edgeconv"]) == request.description
    assert metadata["edgeconv"] == json.dumps(request.description, sort_keys=True)
    assert {k: v for k, v in metadata.items() if k != "edgeconv"} == {
        "author": "A", "license": "L", "version": "V", "description": "a net, fp32, by edgeconv",
    }  # fmt: skip
    assert (made.size, made.names, made.inputs, made.outputs, made.notes) == (99, {"x": "x"}, (1,), (2,), ("n",))  # fmt: skip
    assert made.stats == {"ops": 7, "int8_compute": 3, "image_input": True, "int8_tensors": 1, "rescaled": {"a": ["m", 0.5]}}  # fmt: skip


def test_the_target_counts_what_computes_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_recipe = recipe_of(**dict.fromkeys("xay", Activation(0.5, 0, -1, 1)))
    asked, made = emitted(monkeypatch, request_of(recipe=plain_recipe, int8_weights=True))
    assert (made.stats["int8_compute"], made.stats["image_input"]) == (7, False)
    # Exp has no reader of integers in Core ML
    assert (made.stats["operators"], made.stats["int8_operators"]) == (2, 1)
    assert (asked["labels"], asked["metadata"].keys()) == (None, {"edgeconv", "description"})


@pytest.mark.parametrize("far", [500.0, 0.0])
def test_the_target_prepares_boxes_for_suppression(far: float, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    graph = graph_of("(float[1,6,4] x) => (float[1,6,4] b, float[1,6,4] s) { b = Relu(x) s = Exp(x) }")  # fmt: skip
    limits, values = Suppression(0.5, 0.25), np.array([[far], [far + 1]], np.float32)
    request = request_of(graph=graph, nms=limits, reference={"s": values})
    asked, _ = emitted(monkeypatch, request)
    assert asked["graph"].outputs == ["raw_coordinates", "raw_confidence"]
    assert (asked["labels"], asked["nms"]) == (["p", "q", "p (class 2)"], limits)
    assert asked["coarse"] == (("raw_coordinates",) if far else ())
    request.nms = None
    assert emitted(monkeypatch, request)[0]["coarse"] == (("s",) if far else ())


def test_the_target_is_described() -> None:
    made = target.COREML
    assert (made.name, made.suffix, made.title, made.verified, made.then) == ("coreml", ".mlpackage", "Core ML", 50, "parity")  # fmt: skip
    assert made.needs == (("coremltools", "coreml"),)
    assert made.lacks == dict.fromkeys(["io int8", "io uint8"], "a package takes and returns floats or images")  # fmt: skip
    assert target.unique(["a", "a", "b", "a"]) == ["a", "a (class 1)", "b", "a (class 3)"]
    given: Any = SimpleNamespace(precision="int8", coreml_compute=None, min_ios=15, int8_weights=True)  # fmt: skip
    with pytest.raises(UsageError, match=r"^INT8 weights need"):
        target._refuse(given)
    given.min_ios = 16
    target._refuse(given)
    graph = graph_of("(float[1,1,1,1,2,3] x) => (float[2,3] y) { y = Reshape(x, s) }", s=ints(2, 3))
    assert [one.name for one in target._stops(graph)] == ["x"]
    two = graph_of("(float[2] x) => (float[2] a, float[2] y, float[2] z) { a = Exp(x) y = Sin(a) z = Cos(x) }")  # fmt: skip
    known = recipe_of(**dict.fromkeys("xay", Activation(0.5, 0, -1, 1)))
    assert target._float_outputs(two, known) == ("y",)


class Op(SimpleNamespace):
    """An operator of a program: its kind, what it makes, and what reads that."""


def program_of(*lines: tuple[str, str, tuple[str, ...]], outputs: tuple[str, ...]) -> Any:
    made: dict[str, Any] = {}
    operations = []
    for kind, name, inputs in lines:
        op = Op(op_type=kind, outputs=[SimpleNamespace(name=name, child_ops=[])])
        for one in inputs:
            made[one].child_ops.append(op)
        made[name] = op.outputs[0]
        operations.append(op)
    block = SimpleNamespace(operations=operations, outputs=[made[name] for name in outputs])
    for op in operations:
        op.enclosing_block = block
    return block


def test_the_last_layer_of_a_coarse_output_stays_in_floats() -> None:
    from edgeconv.export.coreml.wide import halved

    block = program_of(
        ("const", "k", ()), ("constexpr_affine", "w", ()), ("conv", "a", ("w",)), ("dequantize", "d", ("a",)), ("relu", "r", ("d",)),
        ("constexpr_affine", "v", ()), ("linear", "l", ("r", "v", "k")), ("add", "s", ("l", "k")), ("exp", "e", ("r",)), ("relu", "p", ("r",)),
        outputs=("s", "e"),
    )  # fmt: skip

    def floats_of(outputs: Any, exact: Any = ()) -> str:
        selects = halved(outputs, exact)
        return "".join(op.outputs[0].name for op in block.operations if not selects(op))

    assert floats_of(["s"]) == "kvls"
    assert floats_of(["e"]) == "wadre"
    assert floats_of(["p", "k"]) == ""
    assert floats_of([], {"p"}) == "wadrp"
    assert floats_of([], {"l"}) == "vl"
    selects = halved(["s"], ())
    first = selects(block.operations[7])
    block.outputs = []
    assert (first, selects(block.operations[6]), selects(block.operations[8])) == (False, False, True)  # fmt: skip
