"""ONNX files come in whole or are refused by name, and go out the same every time."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from any_net_kit import hub_of
from graph_kit import describe, floats, graph_of, ints, model_of, ops, run
from onnx import TensorProto, helper, numpy_helper, parser

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub import light
from edgeconv.export.hub.inputs import input_shapes
from edgeconv.export.hub.inputs import settle_shapes as settled
from edgeconv.export.hub.onnx_io import (
    from_onnx,
    load_model,
    save_model,
    to_onnx,
)
from edgeconv.export.hub.opset import with_opset
from edgeconv.export.hub.simplify import admit
from edgeconv.export.hub.simplify_child import open_foreign


def settle_shapes(model: onnx.ModelProto, shapes: Any) -> onnx.ModelProto:
    return settled(model, shapes)[0]


ADD = "(float[2,3] x) => (float[2,3] y) { y = Add(x, c) }"
DYNAMIC = "(float[N,3] x) => (float[N,3] y) { a = Relu(x)\n y = Neg(a) }"


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(folder: Path, location: str, write_to: Path | None) -> Path:
    """Save ADD with its constant at ``location``; the data themselves go to ``write_to``."""
    model = model_of(ADD, c=floats(2, 3))
    tensor = model.graph.initializer[0]
    if write_to is not None:
        write_to.write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return saved(folder, model)


def test_an_output_without_a_shape_is_read(tmp_path: Path) -> None:
    model = model_of("(float[2,3] x) => (float[2,3] y) { y = Neg(x) }")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert from_onnx(load_model(saved(tmp_path, model))).shape("y") == (2, 3)


def test_an_output_whose_shape_onnx_cannot_infer_is_read(tmp_path: Path) -> None:
    body = "(float[1,4,3,5] x) => (float[1,4,3,5] y) { a = GroupNormalization<num_groups = 2>(x, s, s)\n y = Mish(a) }"
    model = model_of(body, 22, s=floats(4))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert hub_of(load_model(saved(tmp_path, model))).shape("y") == (1, 4, 3, 5)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.onnx does not exist"):
        load_model(tmp_path / "gone.onnx")
    with pytest.raises(EdgeconvError, match="is a folder, not a file"):
        load_model(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"this is no model", b"PK\x03\x04zip"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(EdgeconvError, match=r"m\.onnx is not a readable ONNX model: \S"):
        load_model(tmp_path / "m.onnx")


def test_a_truncated_or_damaged_file_never_raises_anything_else(tmp_path: Path) -> None:
    data = model_of(ADD, c=floats(2, 3)).SerializeToString()
    draw, path, refused = random.Random(0), tmp_path / "m.onnx", 0
    for cut in range(len(data)):
        damaged = bytearray(data[:cut] if cut % 2 else data)
        if damaged:
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            from_onnx(load_model(path))
        except EdgeconvError:
            refused += 1
    assert refused > len(data) / 2


@pytest.mark.parametrize("damaged", ["input", "weight"])
def test_an_element_type_that_onnx_has_not_is_named(tmp_path: Path, damaged: str) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        "g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }"
    )
    if damaged == "input":
        model.graph.input[0].type.tensor_type.elem_type = 99
    else:
        model.graph.initializer[0].data_type = 99
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    name = {"input": "x", "weight": "w"}[damaged]
    with pytest.raises(EdgeconvError, match=rf"m\.onnx: {name} has the element type 99"):
        load_model(tmp_path / "m.onnx")


def test_external_data_inside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    path = external(tmp_path, "weights/c.bin", tmp_path / "weights" / "c.bin")
    graph = from_onnx(load_model(path))
    assert (graph.constants["c"] == floats(2, 3)).all()


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "linked folder"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, kind: str) -> None:
    folder, secret = tmp_path / "model", tmp_path / "secret.bin"
    folder.mkdir()
    location = {
        "parent": "../secret.bin",
        "absolute": str(secret),
        "link": "link.bin",
        "linked folder": "sub/secret.bin",
    }[kind]
    path = external(folder, location, secret)
    if kind == "link":
        (folder / "link.bin").symlink_to(secret)
    if kind == "linked folder":
        (folder / "sub").symlink_to(tmp_path)
    with pytest.raises(EdgeconvError, match="the data of c lies outside the model's folder"):
        load_model(path)


def test_external_data_of_a_node_attribute_outside_is_refused(tmp_path: Path) -> None:
    folder, secret = tmp_path / "model", tmp_path / "secret.bin"
    folder.mkdir()
    secret.write_bytes(floats(2, 3).tobytes())
    model = model_of("(float[2,3] x) => (float[2,3] y) { y = Add(x, c) }")
    tensor = numpy_helper.from_array(floats(2, 3), "c")
    onnx.external_data_helper.set_external_data(tensor, "../secret.bin")
    tensor.ClearField("raw_data")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    model.graph.node.insert(0, constant)
    with pytest.raises(EdgeconvError, match=r"m\.onnx"):
        load_model(saved(folder, model))


def test_external_data_that_is_missing_or_short_is_named(tmp_path: Path) -> None:
    path = external(tmp_path, "c.bin", None)
    with pytest.raises(EdgeconvError, match=r"the data file c\.bin of c is missing"):
        load_model(path)
    (tmp_path / "c.bin").write_bytes(b"\x00" * 5)
    with pytest.raises(EdgeconvError, match=r"m\.onnx"):
        from_onnx(load_model(path))
    (tmp_path / "c.bin").unlink()
    (tmp_path / "c.bin").mkdir()
    with pytest.raises(EdgeconvError, match=r"the data of c is in 'c\.bin', which is no file"):
        load_model(path)


@pytest.mark.parametrize("value", ["-4", "x", "1.5", "", "9" * 5000])
def test_external_data_at_no_number_is_named(value: str, tmp_path: Path) -> None:
    path = external(tmp_path, "c.bin", tmp_path / "c.bin")
    model = onnx.load(str(path), load_external_data=False)
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "offset", value
    with pytest.raises(EdgeconvError, match=r"the data of c has no number of bytes as offset"):
        load_model(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("Conv <strides = [0, 1]> (x, c)", "Conv y has 0 in strides"),
        ("Conv <dilations = [1, -1]> (x, c)", "Conv y has -1 in dilations"),
        ("Conv <group = 0> (x, c)", "Conv y has 0 in group"),
        (
            "MaxPool <kernel_shape = [2147483648, 1]> (x)",
            "MaxPool y has 2147483648 in kernel_shape",
        ),
        ("SpaceToDepth <blocksize = 0> (x)", "SpaceToDepth y has 0 in blocksize"),
    ],
)
def test_a_window_that_cannot_be_is_named(node: str, said: str, tmp_path: Path) -> None:
    body = f"(float[1,2,4,4] x) => (float[1,2,4,4] y) {{ y = {node} }}"
    with pytest.raises(EdgeconvError, match=f"{said}, where every number is 1 or more"):
        load_model(saved(tmp_path, model_of(body, c=floats(2, 2, 1, 1))))


@pytest.mark.parametrize("made", ["y", "y, z, u"])
def test_a_split_whose_number_of_outputs_is_another_is_named(made: str, tmp_path: Path) -> None:
    """onnxruntime fails on one that has fewer, and ends its process on one that has more."""
    model = model_of(f"(float[4] x) => (float[2] y) {{ {made} = Split<num_outputs = 2>(x) }}")
    path, count = saved(tmp_path, model), len(made.split(","))
    with pytest.raises(EdgeconvError, match=f"Split .* has {count} outputs and 2 as its num_outp"):
        load_model(path)
    admit(path)
    open_foreign(("onnxruntime", str(path)))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("Transpose <perm = [0, 2, 2, 1]> (x)", r"Transpose y has perm \[0, 2, 2, 1\], which"),
        ("Transpose <perm = [0, 2, 1]> (x)", r"Transpose y has perm \[0, 2, 1\], and reads 4"),
        ("Pad (x, six)", "Pad y has 6 pads; over 4 axes there are 8"),
        ("Pad (x, six, , two)", "Pad y has 6 pads; over 2 axes there are 4"),
        ("GroupNormalization <num_groups = 4> (x, s, s)", "y cannot split 6 channels into 4"),
        ("DepthToSpace <blocksize = 2> (x)", "DepthToSpace y cannot split 6 channels into 4"),
        ("Conv <pads = [1, 1]> (x, w)", "Conv y has 2 numbers in pads; over 2 axes there are 4"),
        ("MaxPool <kernel_shape = [2]> (x)", "MaxPool y has 1 numbers in kernel_shape; over 2"),
        ("Softmax <axis = 4> (x)", "Softmax y has 4 in axis, and there are 4 axes"),
        ("ReduceMax (x, two)", r"ReduceMax y has 7 in axes, and there are 4 axes"),
        ("Unsqueeze (x, twice)", r"Unsqueeze y names an axis twice in axes \[0, -6\]"),
    ],
)
def test_what_does_not_fit_the_axes_is_named(node: str, said: str, tmp_path: Path) -> None:
    weights: dict[str, np.ndarray[Any, Any]] = {
        "six": ints(*[1] * 6),
        "two": ints(2, 7 if "ReduceMax" in node else 3),
        "twice": ints(0, -6),
        "s": floats(6),
        "w": floats(6, 6, 3, 3),
    }
    body = f"(float[1,6,4,4] x) => (float[1,6,4,4] y) {{ y = {node} }}"
    with pytest.raises(EdgeconvError, match=said):
        load_model(saved(tmp_path, model_of(body, 21, **weights)))


def test_a_declared_shape_that_its_operator_contradicts_is_no_fault(tmp_path: Path) -> None:
    body = "(float[1,6,4,4] x) => (float[1,6,4] y) <float[1,4] h> { h = Relu(x)\n y = ReduceMax<keepdims = 0>(h, a) }"
    load_model(saved(tmp_path, model_of(body, 18, a=ints(3))))


def test_a_size_below_zero_is_unknown_and_no_fault(tmp_path: Path) -> None:
    body = (
        "(float[1,8,4,4] x) => (float[1,3,8,8] y) {"
        " a = DepthToSpace<blocksize = 2>(x)\n y = Conv<pads = [1,1,1,1]>(a, w) }"
    )
    model = model_of(body, w=floats(3, 2, 3, 3))
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = -1
    load_model(saved(tmp_path, model))
    model.graph.node[0].op_type = "Relu"
    del model.graph.node[0].attribute[:]
    load_model(saved(tmp_path, model))


def test_a_dynamic_input_offers_the_option() -> None:
    says = r"input x has a dynamic shape \[3, W\]: name one with --input-shape x=N,C,H,W"
    model = model_of("(float[3,W] x) => (float[3,W] y) { y = Relu(x) }")
    with pytest.raises(EdgeconvError, match=says):
        settle_shapes(model, [])


def test_a_dynamic_batch_alone_becomes_one_and_is_told() -> None:
    model, notes = settled(model_of(DYNAMIC), [])
    assert from_onnx(model).shape("y") == (1, 3)
    assert notes == ["the dynamic batch of x became 1"]


def test_shapes_by_name_settle_only_what_they_name() -> None:
    body = (
        "(float[N,3] a, float[2,H] b) => (float[N,3] y, float[2,H] z) { y = Relu(a)\n z = Neg(b) }"
    )
    model, notes = settled(model_of(body), {"b": (2, 5)})
    assert input_shapes(model) == {"a": (1, 3), "b": (2, 5)}
    assert notes == ["the dynamic batch of a became 1"]
    assert from_onnx(model).shape("z") == (2, 5)


def test_an_input_of_unknown_rank_is_dynamic_too() -> None:
    model = model_of(DYNAMIC)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(EdgeconvError, match="input x has a dynamic shape of unknown rank"):
        settle_shapes(model, [])
    assert from_onnx(settle_shapes(model, [(4, 3)])).shape("y") == (4, 3)


def test_a_given_shape_settles_every_tensor() -> None:
    graph = from_onnx(settle_shapes(model_of(DYNAMIC), [(4, 3)]))
    assert graph.shapes == {"x": (4, 3), "a": (4, 3), "y": (4, 3)}


def test_a_static_model_needs_no_shape() -> None:
    model = model_of(ADD, c=floats(2, 3))
    assert settle_shapes(model, []) is model
    assert from_onnx(settle_shapes(model, [(2, 3)])).shape("y") == (2, 3)


def test_an_output_declared_by_symbol_is_settled_by_the_input() -> None:
    graph = from_onnx(model_of("(float[2,3] x) => (float[batch,3] y) { y = Relu(x) }"))
    assert graph.shape("y") == (2, 3)


def test_weights_whose_bytes_do_not_fit_are_named() -> None:
    model = model_of("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    long = numpy_helper.from_array(np.ones(4, np.float32), "w")
    long.raw_data += b"1234"
    model.graph.initializer.append(long)
    with pytest.raises(
        EdgeconvError, match=r"the bytes of the weight w do not fit its shape \[4\]"
    ):
        from_onnx(model)
    del model.graph.initializer[-1]
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=long))
    with pytest.raises(EdgeconvError, match="the bytes of the Constant c do not fit"):
        from_onnx(model)
    model.graph.node[-1].ClearField("attribute")
    with pytest.raises(EdgeconvError, match="the Constant that makes c has 0 values, not one"):
        from_onnx(model)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ([(1, 4)], r"--input-shape 1,4 does not fit x \[N, 3\]"),
        ([(1, 3, 2)], r"--input-shape 1,3,2 does not fit x \[N, 3\]"),
        ([(1, 3), (1, 3)], r"takes 1 inputs \(x\), 2 --input-shape given"),
    ],
)
def test_a_shape_that_contradicts_the_file_is_refused(
    shapes: list[tuple[int, ...]], says: str
) -> None:
    with pytest.raises(EdgeconvError, match=says):
        settle_shapes(model_of(DYNAMIC), shapes)


@pytest.mark.parametrize(
    ("body", "op", "cure"),
    [
        ("i = NonZero(x)", "NonZero", "give the mask itself as output"),
        ("i = Unique(x)", "Unique", "give the values as output"),
        ("b = Cast<to=9>(x) i = Compress(x, b)", "Compress", "multiply by the condition"),
    ],
)
def test_a_shape_that_depends_on_values_is_named(body: str, op: str, cure: str) -> None:
    said = rf"shape of i, made by {op} \S+, cannot be inferred: how many .*{cure}"
    with pytest.raises(EdgeconvError, match=said):
        from_onnx(
            model_of(
                f"(float[4] x) => (float[4] y) {{ {body}\n f = Cast<to = 1>(i)\n"
                " s = ReduceSum<keepdims = 0>(f)\n y = Add(x, s) }"
            )
        )


def test_a_subgraph_is_refused_by_node() -> None:
    model = model_of(
        "(bool c, float[2] x) => (float[2] y) {"
        "y = If (c) <then_branch = g1 () => (float[2] a) { a = Neg(x) },"
        " else_branch = g2 () => (float[2] b) { b = Relu(x) }> }"
    )
    with pytest.raises(EdgeconvError, match=r"node 0 \(If\) holds a subgraph"):
        from_onnx(model)


def test_a_foreign_domain_is_refused_by_node() -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]>'
        "net (float[2,3] x) => (float[2,3] y) { y = com.microsoft.Gelu(x) }"
    )
    says = r"node 0 uses Gelu of the domain com\.microsoft, which is not standard ONNX"
    with pytest.raises(EdgeconvError, match=says):
        from_onnx(model)


def test_nodes_are_named_apart() -> None:
    model = model_of("(float[2] x) => (float[2] y) { a = Relu(x)\n b = Neg(a)\n y = Relu(b) }")
    model.graph.node[0].name = model.graph.node[1].name = "Relu_2"
    names = [node.name for node in from_onnx(model).nodes]
    assert len(set(names)) == 3
    assert names == [node.name for node in from_onnx(model).nodes]


def test_constant_nodes_of_every_kind_become_constants() -> None:
    model = model_of(
        "(float[2] x) => (float[2] y) {"
        "a = Constant<value_float = 2.0>()\n b = Constant<value_floats = [1.0, 3.0]>()\n"
        "c = Constant<value_int = 5>()\n d = Constant<value = float[2] {7.0, 8.0}>()\n"
        "p = Mul(x, a)\n q = Add(p, b)\n r = Add(q, d)\n e = Cast<to = 1>(c)\n y = Sub(r, e) }"
    )
    graph = from_onnx(model)
    assert "Constant" not in ops(graph)
    assert graph.constants["c"].dtype == np.int64
    x = floats(2)
    np.testing.assert_allclose(run(graph, {"x": x})[0], run(model, {"x": x})[0], rtol=1e-6)


def test_sparse_constants_and_weights_are_written_out(tmp_path: Path) -> None:
    model = model_of("(float[2,3] x) => (float[2,3] y) { p = Mul(x, w)\n y = Add(p, c) }")
    values = numpy_helper.from_array(np.array([2.0, -3.0], np.float32), "w")
    places = numpy_helper.from_array(np.array([1, 5]), "at")
    model.graph.sparse_initializer.add(values=values, indices=places, dims=[2, 3])
    by_axes = numpy_helper.from_array(np.array([[0, 2], [1, 0]]), "at")
    constant = onnx.SparseTensorProto(values=values, indices=by_axes, dims=[2, 3])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], sparse_value=constant))
    x = floats(2, 3)
    graph = hub_of(load_model(saved(tmp_path, model)))
    wanted = x * np.array([[0, 2, 0], [0, 0, -3]]) + np.array([[0, 0, 2], [-3, 0, 0]])
    for made in (graph, model):
        np.testing.assert_allclose(run(made, {"x": x})[0], wanted, rtol=1e-6)
    model.graph.sparse_initializer[0].dims[0] = 1 << 40
    with pytest.raises(
        EdgeconvError, match=r"the sparse tensor w of .* is too large to be written"
    ):
        load_model(saved(tmp_path, model))


def test_an_initializer_that_is_also_an_input_is_a_constant() -> None:
    model = model_of(
        "(float[2,3] x, float[2,3] c) => (float[2,3] y) { y = Add(x, c) }", c=floats(2, 3)
    )
    graph = from_onnx(settle_shapes(model, []))
    assert graph.inputs == ["x"]
    assert "c" not in graph.shapes


EVERY_ATTRIBUTE = (
    "(float[1,4,8,8] x) => (float[1,4,8,8] y) {"
    'a = Conv<auto_pad = "SAME_UPPER", group = 2, strides = [1, 1]>(x, w, )\n'
    "b = LeakyRelu<alpha = 0.3>(a)\n"
    "s = ConstantOfShape<value = float[1] {2.0}>(n)\n"
    "c = Clip(b, , m)\n y = Mul(c, s) }"
)


def test_reading_and_writing_round_trips() -> None:
    graph = graph_of(
        EVERY_ATTRIBUTE,
        w=floats(4, 2, 3, 3),
        n=np.array([1, 4, 1, 1]),
        m=np.array(0.5, np.float32),
    )
    again = from_onnx(to_onnx(graph))
    assert describe(again) == describe(graph)
    assert again.shapes == graph.shapes
    assert again.constants.keys() == graph.constants.keys()
    assert again.constants["m"].shape == ()
    x = floats(1, 4, 8, 8)
    assert (run(again, {"x": x})[0] == run(graph, {"x": x})[0]).all()


def test_an_empty_list_attribute_is_left_to_its_default() -> None:
    graph = graph_of("(float x) => (float y) { y = Transpose(x) }")
    graph.nodes[0].attrs["perm"] = list[int]()
    assert run(graph, {"x": np.array(3, np.float32)})[0] == 3


def clamped(*clamps: tuple[float, float]) -> Graph:
    graph = Graph("g", 18, ["t0"], [f"t{len(clamps)}"])
    graph.declare("t0", (1, 9), np.float32)
    for index, clamp in enumerate(clamps):
        out = graph.declare(f"t{index + 1}", (1, 9), np.float32)
        graph.nodes.append(Node("Neg", f"n{index}", [f"t{index}"], [out], clamp=clamp))
    return graph


@pytest.mark.parametrize(
    ("clamp", "op"),
    [
        ((0.0, float("inf")), "Relu"),
        ((0.0, 6.0), "Clip"),
        ((-1.5, float("inf")), "Clip"),
        ((-float("inf"), 2.0), "Clip"),
    ],
)
def test_a_clamp_becomes_plain_onnx(clamp: tuple[float, float], op: str) -> None:
    graph, x = clamped(clamp), np.linspace(-9, 9, 9, dtype=np.float32)[None]
    assert ops(from_onnx(to_onnx(graph))) == ["Neg", op]
    assert (run(graph, {"t0": x})[0] == np.clip(-x, *clamp)).all()


def test_clamps_whose_bounds_are_close_stay_apart() -> None:
    graph = clamped((-1e9, 1234567.0), (-1234568.0, 1e9))
    x = np.full((1, 9), -2e6, np.float32)
    assert run(graph, {"t0": x})[0][0, 0] == -1234567.0


def test_writing_expands_shuffles_without_touching_the_graph() -> None:
    graph = Graph("g", 18, ["x"], ["y"])
    graph.declare("x", (1, 6, 2, 2), np.float32)
    graph.declare("y", (1, 6, 2, 2), np.float32)
    graph.nodes = [Node("ChannelShuffle", "s", ["x"], ["y"], {"groups": 2})]
    x = floats(1, 6, 2, 2)
    assert (run(graph, {"x": x})[0] == x[:, [0, 3, 1, 4, 2, 5]]).all()
    assert ops(graph) == ["ChannelShuffle"]


def test_the_same_graph_gives_the_same_bytes_in_any_process_order() -> None:
    metadata = {"b": "2", "a": "1"}
    graph = graph_of(ADD, c=floats(2, 3))
    first = save_model(to_onnx(graph, metadata))
    assert save_model(to_onnx(graph.clone(), dict(reversed(metadata.items())))) == first
    assert save_model(onnx.load_from_string(first)) == first


def test_metadata_goes_into_the_file() -> None:
    model = to_onnx(graph_of(ADD, c=floats(2, 3)), {"edgeconv": "{}", "labels": "ä\nb"})
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found == {"edgeconv": "{}", "labels": "ä\nb"}
    assert model.producer_name == "edgeconv"
    assert model.ir_version <= 10


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 20, 21])
def test_another_opset_computes_the_same_and_keeps_the_metadata(opset: int) -> None:
    graph = graph_of(
        "(float[1,4,8,8] x) => (float[1,4] y) { a = Conv(x, w)\n b = Relu(a)\n"
        " p = Pad(b, pads)\n c = Add(p, p)\n d = LeakyRelu(c)\n e = Reshape(d, shape)\n"
        " y = ReduceMean<keepdims = 0>(e, axes) }",
        w=floats(4, 4, 3, 3),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        shape=np.array([1, 4, 16, 4]),
        axes=np.array([2, 3]),
    )
    model = to_onnx(graph, {"k": "v"})
    before = model.SerializeToString()
    other = with_opset(model, opset)
    assert [(o.domain, o.version) for o in other.opset_import] == [("", opset)]
    assert [(e.key, e.value) for e in other.metadata_props] == [("k", "v")]
    assert other.ir_version == model.ir_version
    x = floats(1, 4, 8, 8)
    np.testing.assert_allclose(run(other, {"x": x})[0], run(model, {"x": x})[0], atol=1e-6)
    assert model.SerializeToString() == before


def test_an_input_that_an_older_opset_does_not_have_is_refused() -> None:
    graph = graph_of(
        "(float[2,3] x) => (float[2,5] y) { y = Pad(x, pads, , axes) }",
        pads=np.array([1, 1]),
        axes=np.array([1]),
    )
    with pytest.raises(EdgeconvError, match=r"--opset 17: the graph needs opset 18 \(.*Pad"):
        with_opset(to_onnx(graph), 17)


def test_an_opset_that_cannot_hold_the_graph_is_refused() -> None:
    graph = graph_of("(float[2,3] x) => (float[2,3] y) { y = Mish(x) }")
    with pytest.raises(
        EdgeconvError, match=r"--opset 13: the graph needs opset 18 \(No Previous Version of Mish"
    ):
        with_opset(to_onnx(graph), 13)


def test_float_types_are_kept() -> None:
    for kind in (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64):
        x: Any = helper.make_tensor_value_info("x", kind, [2])
        y: Any = helper.make_tensor_value_info("y", kind, [2])
        proto = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
        model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        graph = from_onnx(model)
        assert graph.dtype("y") == helper.tensor_dtype_to_np_dtype(kind)
        assert to_onnx(graph).graph.input[0].type.tensor_type.elem_type == kind


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(EdgeconvError, match="is no file but a pipe"):
        load_model(tmp_path / "m.onnx")


def test_shapes_are_inferred_and_checked_without_large_weights() -> None:
    body = "(float[1,64,8,8] x) => (float[1,64] y) { a = Conv(x, w)\n b = Reshape(a, r)\n y = Gemm(b, v) }"
    wide = floats(1, 4096, 64).reshape(4096, 64)
    model = model_of(body, w=floats(64, 64, 3, 3), r=ints(1, -1), v=wide[: 64 * 36])
    whole = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = light.inferred(model, data_prop=True)
    sizes = [
        {v.name: v.type.SerializeToString() for v in (*g.input, *g.value_info, *g.output)}
        for g in (found, whole)
    ]
    assert sizes[0] == sizes[1]
    assert {"a", "b"} <= sizes[0].keys()
    assert light.without_weights(model).ByteSize() < 4096 < model.ByteSize()
    light.check(model)
    model.graph.node[0].op_type = "Cornv"
    with pytest.raises(onnx.checker.ValidationError, match="Cornv"):
        light.check(model)
