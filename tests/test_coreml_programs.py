"""Core ML programs and packages as coremltools makes them of tiny graphs: borders, refusals, precision and what is read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_cases import w
from graph_kit import graph_of, ints
from test_emitted_coreml import mil_text
from tflite_kit import minmax_recipe

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml import convert, emit
from edgeconv.export.coreml.table import OPS
from edgeconv.export.graph import Graph, Node
from edgeconv.export.nms.suppression import Suppression
from edgeconv.mil import open_program

ct = pytest.importorskip("coremltools")

INF = float("inf")


def built(graph: Graph, border: convert.Border | None = None) -> tuple[list[str], Any, list[str]]:
    with convert.quiet():
        program, lowering, names = convert.build_program(ct, graph, None, 16, border or convert.Border())  # fmt: skip
    return mil_text(program), lowering, names


BORDERS: dict[str, tuple[str, list[str]]] = {
    "whole numbers": (
        "(int64[2] x, uint8[2] v) => (int64[2] y) { y = Abs(x) }",
        ["in x int[2]", "in v int[2]", "abs (x=x) -> y int[2]", "out y"],
    ),
    "a number of no axes": (
        "(float x) => (float y) { y = Exp(x) }",
        ["in x fp32[1]", "squeeze (axes=int32[1](0), x=x) -> squeeze_0 fp32[]", "exp (x=squeeze_0) -> y fp32[]",
         "expand_dims (axes=int32[1](0), x=y) -> y_scalar fp32[1]", "out y_scalar"],
    ),
    "truth values": (
        "(bool[2] x) => (bool[2] y) { y = Not(x) }",
        ["in x int[2]", "cast (dtype=bool, x=x) -> cast_0 bool[2]", "logical_not (x=cast_0) -> y bool[2]",
         "cast (dtype=int32, x=y) -> y_number int[2]", "out y_number"],
    ),
    "a constant": ("(float[2] x) => (float[2] y, float[2] c) { y = Exp(x) }", ["in x fp32[2]", "exp (x=x) -> y fp32[2]", "out y, c"]),
    "an input": (
        "(float[2] x) => (float[2] y, float[2] x) { y = Exp(x) }",
        ["in x fp32[2]", "exp (x=x) -> y fp32[2]", "identity (x=x) -> x_out fp32[2]", "out y, x_out"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BORDERS)
def test_borders_are_what_core_ml_has(name: str) -> None:
    body, wanted = BORDERS[name]
    graph = graph_of(body, **({"c": scaled(1, 2)} if name == "a constant" else {}))
    text, lowering, names = built(graph)
    assert text == wanted
    assert ", ".join(names) == wanted[-1].removeprefix("out ")
    assert lowering.inputs == tuple(graph.inputs)
    assert {name: lowering.names[name] for name in graph.inputs} == {name: name for name in graph.inputs}  # fmt: skip


def scaled(*values: float) -> Any:
    return np.array(values, np.float32)


HOW = Preprocessing((0.5, 0.25, 0.125), (0.5, 0.25, 2.0), 0.875, (2, 2))


@pytest.mark.parametrize("embedded", [False, True])
def test_pixels_become_what_a_net_wants_by_channel(embedded: bool) -> None:
    from dataclasses import replace

    graph = graph_of("(float[1,3,2,2] x) => (float[1,3,2,2] y) { y = Exp(x) }")
    text, lowering, _ = built(graph, convert.Border(replace(HOW, embedded=embedded)))
    if embedded:
        assert text == ["in x fp32[1, 3, 2, 2]", "exp (x=x) -> y fp32[1, 3, 2, 2]", "out y"]
        return
    assert text == [
        "in x fp32[1, 3, 2, 2]",
        "mul (x=x, y=float32[1, 3, 1, 1](0.00784314 0.0156863 0.00196078)) -> x_scaled fp32[1, 3, 2, 2]",
        "add (x=x_scaled, y=float32[1, 3, 1, 1](-1 -1 -0.0625)) -> x_preprocessed fp32[1, 3, 2, 2]",
        "exp (x=x_preprocessed) -> y fp32[1, 3, 2, 2]",
        "out y",
    ]
    assert (lowering.names["x"], lowering.inputs) == ("x_preprocessed", ("x",))


@pytest.mark.parametrize(("labels", "probabilities", "softmax"), [(["a", "b"], False, True), (["a", "b"], True, False), (None, False, False), (None, True, False)])  # fmt: skip
def test_a_classifier_gets_the_softmax_that_it_lacks(labels: Any, probabilities: bool, softmax: bool) -> None:  # fmt: skip
    graph = graph_of("(float[1,2] x) => (float[1,2] y) { y = Exp(x) }")
    text, _, names = built(graph, convert.Border(None, labels, probabilities))
    assert names == ["y_probabilities" if softmax else "y"]
    assert [line for line in text if line.startswith("softmax")] == (
        ["softmax (axis=-1, x=y) -> y_probabilities fp32[1, 2]"] if softmax else []
    )


COLOURS = [(3, "rgb", 20), (3, "bgr", 30), (1, "bgr", 10)]


@pytest.mark.parametrize(("channels", "order", "code"), COLOURS)
def test_pictures_come_in_the_order_of_colours_that_is_said(channels: int, order: Any, code: int, tmp_path: Path) -> None:  # fmt: skip
    graph = graph_of(
        f"(float[1,{channels},2,4] x, float[1,{channels},2,4] v) => (float[1,{channels},2,4] y) {{ y = Add(x, v) }}"
    )
    how = Preprocessing((0.5,) * channels, (0.5,) * channels, 0.875, (2, 4), order=order)
    made = convert.convert(graph, None, half=False, min_ios=16, border=convert.Border(how), folder=tmp_path)  # fmt: skip
    inputs = [(one.name, one.type.imageType) for one in made.spec.description.input]
    assert [(n, i.width, i.height, i.colorSpace) for n, i in inputs] == [("x", 4, 2, code), ("v", 4, 2, code)]  # fmt: skip
    assert (made.outputs, made.names) == (("y",), {"x": "x_preprocessed", "v": "v_preprocessed", "y": "y"})  # fmt: skip
    assert made.weights is None or made.weights.is_relative_to(tmp_path)


def test_inputs_are_called_what_identifiers_allow(tmp_path: Path) -> None:
    graph = graph_of("(float[1,3,2,4] x, float[1,1,6,8] v) => (float[1,3,2,4] y, float[1,1,6,8] z) { y = Exp(x) z = Sin(v) }")  # fmt: skip
    for old, new in [("x", "/in/0"), ("v", "1")]:
        graph.rename(old, new)
    graph.inputs = ["/in/0", "1"]
    border = convert.Border(Preprocessing((0.0,), (1.0,), 0.875, (2, 4)))
    made = convert.convert(graph, None, half=False, min_ios=16, border=border, folder=tmp_path)
    inputs = [(one.name, one.type.imageType) for one in made.spec.description.input]
    assert [(n, i.width, i.height, i.colorSpace) for n, i in inputs] == [("in_0", 4, 2, 20), ("_1", 8, 6, 10)]  # fmt: skip
    assert made.outputs == ("y", "z")


@pytest.mark.parametrize("whole", [False, True])
def test_coremltools_is_asked_for_what_was_settled(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from edgeconv.export.coreml.integers import IntegerPlan
    from edgeconv.export.integer.weights_alone import round_weights

    graph = graph_of("(float[1,3] x) => (float[1,2] y) { y = Gemm<transB=1>(x, w, b) }", w=w(2, 3), b=w(2))  # fmt: skip
    plan = IntegerPlan(round_weights(graph), 18, activations=False) if whole else None
    asked: dict[str, Any] = {}

    def answer(program: Any, **given: Any) -> None:
        asked.update(given)
        raise OSError("asked")

    monkeypatch.setattr(ct, "convert", answer)
    with pytest.raises(OSError, match="asked"):
        convert.convert(graph, plan, half=not whole, min_ios=15 + 3 * whole, border=convert.Border(), folder=tmp_path)  # fmt: skip
    passes = asked.pop("pass_pipeline").passes
    assert ("common::fuse_conv_bias" in passes) is not whole
    assert "common::fuse_linear_bias" in passes
    assert asked == {
        "source": "milinternal", "convert_to": "mlprogram", "minimum_deployment_target": ct.target.iOS18 if whole else ct.target.iOS15,
        "compute_precision": ct.precision.FLOAT32 if whole else ct.precision.FLOAT16, "inputs": None, "classifier_config": None, "skip_model_load": True,
    }  # fmt: skip


def test_places_stay_floats_in_a_package_of_halves(tmp_path: Path) -> None:
    graph = graph_of("(float[1,2,3,4] x, float[1,2,2,2] v) => (float[1,2,2,2] y) { a = Sin(x) y = GridSample(a, v) }")  # fmt: skip
    made = emit.emit_coreml(graph, path=tmp_path / "a.mlpackage", precision="fp16")
    kinds: dict[str, set[str]] = {}
    for op in open_program(made.path).parsed.operations:
        kinds.setdefault(op.kind, set()).add(str(op.results[0][1]).split(" ")[0])
    assert (kinds["sin"], kinds["floor"]) == ({"float16"}, {"float32"})
    assert kinds["gather"] == {"float16"}


def half_of(tmp_path: Path, **given: Any) -> dict[str, str]:
    """Return the kind of each convolution's and product's result in a program of halves."""
    graph = graph_of(
        "(float[1,4,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z) { a = Conv(x, w) y = Conv(a, v) z = Sin(a) }",
        w=w(4, 4, 1, 1), v=w(4, 4, 1, 1, seed=2),
    )  # fmt: skip
    emitted = emit.emit_coreml(graph, path=tmp_path / "a.mlpackage", **given)
    program = open_program(emitted.path)
    return {op.results[0][0]: str(op.results[0][1]).split(" ")[0] for op in program.parsed.operations if op.kind in ("conv", "sin")}  # fmt: skip


def test_coarse_outputs_keep_their_last_layers_in_floats(tmp_path: Path) -> None:
    assert set(half_of(tmp_path, precision="fp16").values()) == {"float16"}
    assert set(half_of(tmp_path, precision="fp32", coarse=["y"]).values()) == {"float32"}
    kinds = half_of(tmp_path, precision="fp16", coarse=["y"])
    assert sorted(kinds.values()) == ["float16", "float16", "float32"]
    assert kinds["y"] == "float32"
    kinds = half_of(tmp_path, precision="fp16", coarse=["z"])
    assert (kinds["z"], sorted(kinds.values())) == ("float32", ["float16", "float32", "float32"])


def test_a_classifier_of_coarse_figures_is_all_in_halves(tmp_path: Path) -> None:
    graph = graph_of("(float[1,3] x) => (float[1,2] y) { y = Gemm<transB=1>(x, w, b) }", w=w(2, 3), b=w(2))  # fmt: skip
    labels = ["b", "a"]
    for coarse, kind in [(("y",), "float16"), ((), "float16")]:
        made = emit.emit_coreml(graph, path=tmp_path / "a.mlpackage", precision="fp16", labels=labels, coarse=coarse)  # fmt: skip
        program = open_program(made.path)
        (layer,) = (op for op in program.parsed.operations if op.kind == "linear")
        assert str(layer.results[0][1]) == f"{kind} [1, 2]"
        assert program.labels() == labels
        assert [spec.shape for spec in made.outputs] == [(1, 2)]
    assert made.notes == ()
    twice = emit.emit_coreml(graph, path=tmp_path / "a.mlpackage", labels=["a", "a"])
    assert [note.split(":")[0] for note in twice.notes] == ["classes 0, 1 share the name 'a'"]


def test_a_written_package_is_measured_and_described(tmp_path: Path) -> None:
    graph = graph_of("(float[1,3] x) => (float[1,16] y) { h = Gemm<transB=1>(x, w) y = Mish(h) }", w=w(16, 3))  # fmt: skip
    path = tmp_path / "a.mlpackage"
    made = emit.emit_coreml(graph, path=path, precision="fp16", metadata={"author": "A", "k": "v"})
    sizes = [one.stat().st_size for one in path.rglob("*") if one.is_file()]
    assert (made.path, made.bytes, len(sizes)) == (path, sum(sizes), 3)
    program = open_program(path)
    assert {key: program.parsed.metadata[key] for key in ("author", "k")} == {"author": "A", "k": "v"}  # fmt: skip
    assert not any("date" in key for key in program.parsed.metadata)
    assert (program.parsed.version, program.parsed.opset) == (7, "CoreML6")
    assert (made.integers, made.rescaled, made.census.compute) == ({}, {}, 1)
    assert made.names["h"] == "h_cast_fp16"
    assert [note.split(" (")[0] for note in made.notes] == ["verify on device: Mish in float16 was reported far off on the Neural Engine"]  # fmt: skip
    got = program.run({"x": np.ones((1, 3), np.float32)})
    assert got[made.outputs[0].name].shape == (1, 16)
    plain = emit.emit_coreml(graph, path=path, precision="fp32", min_ios=18)
    assert (plain.notes, plain.names["h"]) == ((), "h")
    assert open_program(path).parsed.version == 9


@pytest.mark.parametrize("image", [None, HOW])
def test_a_pipeline_says_where_it_takes_arrays(image: Any, tmp_path: Path) -> None:
    graph = graph_of(
        "(float[1,3,2,2] x) => (float[3,4] raw_coordinates, float[3,4] raw_confidence) { r = Reshape(x, s) raw_coordinates = Relu(r) raw_confidence = Exp(r) }",
        s=ints(3, 4),
    )  # fmt: skip
    made = emit.emit_coreml(
        graph, path=tmp_path / "a.mlpackage", nms=Suppression(0.5, 0.25), image_input=image,
        labels=["a", "a", "b", "c"],
    )  # fmt: skip
    assert made.notes == (() if image else (emit.TAKES_ARRAYS,))
    parsed = open_program(made.path).parsed
    assert (parsed.thinned, parsed.outputs) == (True, ("raw_coordinates", "raw_confidence"))
    assert parsed.features["x"].kind == ("image" if image else "array")


def test_integers_are_told_with_what_they_cost(tmp_path: Path) -> None:
    graph = graph_of("(float[1,4,4,4] x) => (float[1,4,4,4] y) { a = Conv<kernel_shape=[1,1]>(x, w, b) y = Conv<kernel_shape=[1,1]>(a, v, b) }",
                     w=w(4, 4, 1, 1), v=w(4, 4, 1, 1, seed=2), b=w(4))  # fmt: skip
    spans = {"x": scaled(-1, 1), "a": scaled(0, 4), "y": scaled(-2, 2)}
    recipe = minmax_recipe(graph, {}, values=spans)
    path = tmp_path / "a.mlpackage"
    made = emit.emit_coreml(graph, recipe, path=path, precision="int8")
    assert made.integers.keys() == {"x", "a"}
    assert (made.census.compute, made.census.integer, made.census.weight_only) == (2, 2, 0)
    assert made.notes[0] == emit.GAINS
    assert [note.split(" (")[0].split(": ")[-1] for note in made.notes[1:]] == [
        "int8 weights with zero point 0 gave wrong results on GPU and Neural Engine when activations were not quantized",
        "look at the compute plan",
    ]  # fmt: skip
    assert (made.rescaled, open_program(path).parsed.version) == ({}, 8)
    alone = emit.emit_coreml(graph, path=path, precision="int8", weights_only=True)
    assert (alone.integers, alone.census.integer, alone.census.weight_only) == ({}, 0, 2)
    assert [note.split(" (")[0].split(": ")[-1] for note in alone.notes] == ["look at the compute plan"]  # fmt: skip
    with pytest.raises(Exception, match=r"^INT8 activations need a recipe"):
        emit.emit_coreml(graph, path=path, precision="int8")


def test_what_coremltools_writes_on_the_way_is_inside_the_folder(tmp_path: Path) -> None:
    import tempfile

    before = tempfile.tempdir
    with convert._temporaries_in(tmp_path):
        assert Path(tempfile.mkdtemp()).parent == tmp_path
    assert tempfile.tempdir == before
    with pytest.raises(ValueError, match="x"), convert._temporaries_in(tmp_path):
        raise ValueError("x")
    assert tempfile.tempdir == before


def asked(body: str, /, attrs: Any = None, **constants: Any) -> tuple[str, Any, dict[str, Any]]:
    return body, attrs or {}, constants


CONV = "(float[{}] x) => (float y) {{ y = Conv(x, w) }}"
RESIZE = '(float[1,2,4,4] x) => (float{} y) {{ y = Resize<mode="linear"{}>(x, , {}) }}'
REFUSED: dict[str, tuple[tuple[str, Any, dict[str, Any]], str | None]] = {
    "an axis": (asked(CONV.format("1,2,5"), w=w(2, 2, 3)), None),
    "two axes": (asked(CONV.format("1,2,5,5"), w=w(2, 2, 3, 3)), None),
    "three axes": (asked(CONV.format("1,2,5,5,5"), w=w(2, 2, 3, 3, 3)), None),
    "four axes": (asked(CONV.format("1,2,3,3,3,3"), w=w(2, 2, 1, 1, 1, 1)), "its input has rank 6; Core ML convolves over one to three axes"),
    "no padding by itself": (asked(CONV.format("1,2,5"), {"auto_pad": "SAME_UPPER"}, w=w(2, 2, 3)), "auto_pad is not resolved; prepare the graph first"),
    "valid by itself": (asked(CONV.format("1,2,5"), {"auto_pad": "VALID"}, w=w(2, 2, 3)), None),
    "pool of no padding by itself": (asked("(float[1,2,5] x) => (float y) { y = MaxPool<kernel_shape=[2]>(x) }", {"auto_pad": "SAME_LOWER"}), "auto_pad is not resolved; prepare the graph first"),
    "pool, valid by itself": (asked("(float[1,2,5] x) => (float y) { y = MaxPool<kernel_shape=[2]>(x) }", {"auto_pad": "VALID"}), None),
    "pool of one window": (asked("(float[1,2,5] x) => (float y) { y = MaxPool<kernel_shape=[2], dilations=[1]>(x) }"), None),
    "pool of four axes": (asked("(float[1,2,3,3,3,3] x) => (float y) { y = MaxPool<kernel_shape=[1,1,1,1]>(x) }"), "its input has rank 6; Core ML pools 1 to 3 axes"),
    "sum of truths": (asked("(float[2] x) => (float y) { y = ReduceSum(x) }", {"noop_with_empty_axes": 0}), None),
    "max of truths": (asked("(bool[2] x) => (bool y) { y = ReduceMax(x) }"), "its input is bool; a Cast to float has a form"),
    "sum of nothing": (asked("(float[2,0] x) => (float y) { y = ReduceSum(x) }"), "its input is empty"),
    "sum of no axes": (asked("(float[2] x) => (float y) { y = ReduceSum(x) }", {"noop_with_empty_axes": 1}), "it reduces no axis"),
    "sum of an axis or none": (asked("(float[2] x) => (float y) { y = ReduceSum(x, a) }", {"noop_with_empty_axes": 1}, a=ints(0)), None),
    "sum of old axes": (asked("(float[2] x) => (float y) { y = ReduceSum(x) }", {"noop_with_empty_axes": 1, "axes": [0]}), None),
    "slope": (asked("(float[2] x, float[2] v) => (float[2] y) { y = PRelu(x, v) }"), None),
    "bounds": (asked("(float[2] x, float v) => (float[2] y) { y = Clip(x, v) }"), "its bounds must be constant"),
    "cast": (asked("(float[2] x) => (float16[2] y) { y = Cast<to=10>(x) }"), "a cast to float16 has no Core ML form; float32 has"),
    "cast to truth": (asked("(float[2] x) => (bool[2] y) { y = Cast<to=9>(x) }"), None),
    "one type": (asked("(float[2] x, float[2] v) => (float[2] y) { y = Pow(x, v) }"), None),
    "size": (asked("(float[1,2,3,3] x) => (float[1,2,3,3] y) { y = LRN<size=3>(x) }"), None),
    "places": (asked("(float[2] x) => (int64 y) { y = ArgMax<axis=0>(x) }", {"select_last_index": 1}), "the last of equal values has no Core ML form; the first has"),
    "axis": (asked("(float[2] x, int64 v) => (float[2] y) { y = CumSum(x, v) }"), "its axis must be constant"),
    "widths": (asked("(float[2] x, int64[2] v) => (float y) { y = Pad(x, v) }"), "its widths and value must be constant"),
    "less": (asked("(float[2] x) => (float y) { y = Pad(x, p) }", p=ints(-1, 0)), "negative widths have no Core ML form; a Slice has"),
    "numbers": (asked("(int32[2] x) => (int32 y) { y = Pad(x, p) }", p=ints(1, 0)), "it pads whole numbers; a Cast to float has a form"),
    "numbers repeated": (asked('(int32[2] x) => (int32 y) { y = Pad<mode="edge">(x, p) }', p=ints(1, 0)), None),
    "cut": (asked("(float[2] x, int64[1] v) => (float y) { y = Slice(x, v, e) }", e=ints(1)), "its bounds must be constant"),
    "five": (asked("(float[2,3] x) => (float[1,1,1,2,3] y) { y = Reshape(x, s) }", s=ints(1, 1, 1, 2, 3)), None),
    "six": (asked("(float[2,3] x) => (float[1,1,1,1,2,3] y) { y = Reshape(x, s) }", s=ints(1, 1, 1, 1, 2, 3)), "rank 6 exceeds Core ML's 5 axes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_says_what_it_has_no_form_of(name: str) -> None:
    (body, attrs, constants), wanted = REFUSED[name]
    graph = graph_of(body, **constants)
    node = graph.nodes[-1]
    node.attrs.update(attrs)
    assert OPS[node.op].check(graph, node) == wanted


FOREIGN: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "half pixels": ("float[1,2,8,8]", {"s": scaled(1, 1, 2, 2)}, None),
    "cubic": ("float[1,2,8,8]", {"s": scaled(1, 1, 2, 2), "mode": "cubic"}, "mode cubic has no Core ML form; nearest and linear have"),
    "symmetric": ("float[1,2,8,8]", {"s": scaled(1, 1, 2, 2), "how": "half_pixel_symmetric"}, "coordinate_transformation_mode half_pixel_symmetric has no Core ML form; half_pixel has"),
    "channels": ("float[1,4,8,8]", {"s": scaled(1, 2, 2, 2)}, "only height and width of an NCHW tensor can be resized"),
    "pictures": ("float[2,2,8,8]", {"s": scaled(2, 1, 2, 2)}, "only height and width of an NCHW tensor can be resized"),
    "antialiased": ("float[1,2,2,2]", {"s": scaled(1, 1, 0.5, 0.5), "antialias": 1}, "antialiasing has no Core ML form; antialias=0 has"),
    "one row": ("float[1,2,1,8]", {"z": ints(1, 2, 1, 8), "how": "pytorch_half_pixel"}, "pytorch_half_pixel to one row or column has no Core ML form; half_pixel has"),
    "one row of half pixels": ("float[1,2,1,8]", {"z": ints(1, 2, 1, 8)}, None),
    "two rows": ("float[1,2,2,8]", {"z": ints(1, 2, 2, 8), "how": "pytorch_half_pixel"}, None),
    "no whole size": ("float[1,2,6,6]", {"s": scaled(1, 1, 1.6, 1.5)}, "a scale that does not give a whole size has no Core ML form; give sizes"),
    "nearly a whole size": ("float[1,2,6,6]", {"s": scaled(1, 1, 1.5001, 1.5)}, None),
    "a little less": ("float[1,2,6,6]", {"s": scaled(1, 1, 1.5004, 1.5)}, "a scale that does not give a whole size has no Core ML form; give sizes"),
    "no whole size, aligned": ("float[1,2,6,6]", {"s": scaled(1, 1, 1.6, 1.5), "how": "align_corners"}, None),
    "computed": ("float[1,2,8,8]", {}, "its scales are computed at run time"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_resize_that_mil_has_not_is_named(name: str) -> None:
    from edgeconv.export.coreml.ops_resize import _foreign, _refuse

    made, given, wanted = FOREIGN[name]
    attrs = {"mode": given.get("mode", "linear"), "antialias": given.get("antialias", 0)}
    if "how" in given:
        attrs["coordinate_transformation_mode"] = given["how"]
    graph = graph_of("(float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Exp(x) }")
    graph.constants |= {key: given[key] for key in "sz" if key in given}
    inputs = ["x", "", "", "z"] if "z" in given else ["x", "", "s"]
    node = Node("Resize", "r", inputs, ["y"], attrs)
    graph.nodes = [node]
    graph.shapes["y"] = tuple(int(size) for size in made[6:-1].split(","))
    assert _foreign(graph, node) == wanted
    # matrices do the others
    assert _refuse(graph, node) == (wanted if name == "computed" else None)
    attrs["mode"] = "nearest"
    assert _refuse(graph, node) == (
        None if name != "computed" else "its sizes or its region are computed"
    )


LISTED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "vectors": (
        "(float[4] x, float[4] v) => (float y) { y = MatMul(x, v) }", {},
        ["expand_dims (axes=int32[1](0), x=x) -> y_row fp32[1, 4]", "expand_dims (axes=int32[1](1), x=v) -> y_column fp32[4, 1]",
         "matmul (transpose_x=False, transpose_y=False, x=y_row, y=y_column) -> y_product fp32[1, 1]",
         "squeeze (axes=int32[2](-2 -1), x=y_product) -> y fp32[]"],
    ),
    "Gelu": ("(float[2] x) => (float[2] y) { y = Gelu(x) }", {}, ["gelu (mode=EXACT, x=x) -> y fp32[2]"]),
    "Gelu, tanh": ('(float[2] x) => (float[2] y) { y = Gelu<approximate="tanh">(x) }', {}, ["gelu (mode=TANH_APPROXIMATION, x=x) -> y fp32[2]"]),
    "PRelu of rows": (
        "(float[2,3,4] x) => (float[2,3,4] y) { y = PRelu(x, a) }", {"a": w(3, 1)},
        ["minimum (x=x, y=0) -> y_below fp32[2, 3, 4]", "mul (x=y_below, y=float32[3, 1](0.25 0.75 0.25)) -> y_scaled fp32[2, 3, 4]",
         "relu (x=x) -> y_above fp32[2, 3, 4]", "add (x=y_above, y=y_scaled) -> y fp32[2, 3, 4]"],
    ),
    "whole numbers by truth": (
        "(int32[2] x) => (int32[2] y) { t = Cast<to=9>(x) y = Cast<to=6>(t) }", {},
        ["not_equal (x=x, y=int32[](0)) -> t bool[2]", "cast (dtype=int32, x=t) -> y int[2]"],
    ),
    "blocks by columns": (
        "(float[1,2,4,6] x) => (float[1,8,2,3] y) { y = SpaceToDepth<blocksize=2>(x) }", {"mode": "CRD"},
        ["pixel_unshuffle (downscale_factor=2, x=x) -> y fp32[1, 8, 2, 3]"],
    ),
    "pieces of rows": (
        "(float[3,2] x) => (float[1,2] y, float[2,2] z) { y, z = Split(x, n) }", {"n": ints(1, 2)},
        ["split (axis=0, split_sizes=int32[2](1 2), x=x) -> y_0 fp32[1, 2], y_1 fp32[2, 2]"],
    ),
    "the first of a table": (
        "(float[2,3] x) => (float[3] y) { y = Gather(x, i) }", {"i": np.array(-1, np.int64)},
        ["gather (axis=0, batch_dims=0, indices=1, x=x) -> y fp32[3]"],
    ),
    "the layer's last axis": (
        "(float[2,3] x) => (float[2,3] y) { y = LayerNormalization<axis=-1, epsilon=0.25>(x, g, b) }", {"g": w(3), "b": w(3, seed=2)},
        ["layer_norm (axes=int32[1](1), beta=float32[3](0.25 -0.5 -0.5), epsilon=0.25, gamma=float32[3](0.25 0.75 0.25), x=x) -> y fp32[2, 3]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTED)
def test_an_operator_becomes_mils(name: str) -> None:
    body, given, wanted = LISTED[name]
    graph = graph_of(body, **{key: value for key, value in given.items() if key != "mode"})
    if "mode" in given:
        graph.nodes[-1].attrs["mode"] = given["mode"]
    text, _, _ = built(graph)
    assert [line for line in text if not line.startswith(("in ", "out "))][: len(wanted)] == wanted


def test_places_are_computed_in_floats_and_values_are_not() -> None:
    """Of a sampling by rows only what reads the picture, and what reads that, may be halves."""
    graph = graph_of("(float[1,2,3,4] x, float[1,2,2,2] v) => (float[1,2,2,2] y) { y = GridSample(x, v) }")  # fmt: skip
    text, lowering, _ = built(graph)
    makers = {}
    for line in text:
        if ") -> " in line:
            told, made = line.rsplit(") -> ", 1)
            makers[made.split(" ")[0]] = told
    depends: set[str] = {"x"}
    for name, told in makers.items():
        words = told.replace("(", " ").replace(",", " ").replace("[", " ").replace("]", " ")
        if any(word.split("=")[-1] in depends for word in words.split()):
            depends.add(name)
    assert "y_1" in depends
    assert lowering.exact
    assert depends.isdisjoint(lowering.exact)
    # what a gather of the picture makes of its places is of whole numbers
    assert {n for n in makers.keys() - depends if "gather" not in n} <= lowering.exact


def test_a_program_that_contradicts_its_graph_is_refused() -> None:
    graph = graph_of("(float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Exp(x) }")
    graph.shapes["y"] = (1, 2, 4)
    with pytest.raises(Exception, match=r"Core ML infers \[1, 2, 4, 4\] for y, the graph says \[1, 2, 4\]"):  # fmt: skip
        built(graph)
    named = pytest.raises(
        UnsupportedOpError, match=r"^coremltools cannot convert this graph: ValueError$"
    )
    with named, convert._converter_errors():
        raise ValueError
    with pytest.raises(OSError, match="full"), convert._converter_errors():
        raise OSError("full")


def test_pools_reach_out_to_their_last_window() -> None:
    from edgeconv.export.coreml.ops_pooling import _overflow, _reaching, _shares

    graph = graph_of("(float[1,1,6,9] x) => (float[1,1,3,4] y) { y = AveragePool<kernel_shape=[4,3], strides=[3,2], pads=[1,0,1,0], ceil_mode=1>(x) }")  # fmt: skip
    (node,) = graph.nodes
    assert graph.shape("y") == (1, 1, 3, 4)
    assert (_overflow(graph, node), _reaching(graph, node)) == ([2, 0], [1, 0, 3, 0])
    shares = _shares(graph, node, [4, 3], [3, 2], [1, 0, 1, 0])
    assert shares.dtype == np.float32
    wanted = 1 / (np.array([[4], [4], [2]]) * np.full((1, 4), 3.0))
    assert shares.ravel().tolist() == pytest.approx(wanted.ravel().tolist())
    del node.attrs["strides"], node.attrs["pads"]
    graph.shapes["y"] = (1, 1, 4, 7)
    assert (_overflow(graph, node), _reaching(graph, node)) == ([1, 0], [0, 0, 1, 0])


def test_gates_are_put_in_mils_order() -> None:
    from edgeconv.export.coreml.ops_recurrent import _ordered

    assert _ordered(np.arange(8), 2).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert _ordered(np.arange(4).reshape(4, 1), 1).tolist() == [[0], [2], [1], [3]]


def test_slices_and_pads_are_resolved_against_shapes() -> None:
    from edgeconv.export.coreml.ops_shape import _pad_widths, _slice_bounds

    graph = graph_of("(float[4,6] x) => (float y) { y = Slice(x, b, e, a, s) }", b=ints(-2, 5), e=ints(99, -99), a=ints(-2, 1), s=ints(1, -2))  # fmt: skip
    assert _slice_bounds(graph, graph.nodes[0]) == [(0, 2, 4, 1), (1, 5, -1, -2)]
    graph = graph_of("(float[4,6] x) => (float y) { y = Slice(x, b, e, , s) }", b=ints(1, 0), e=ints(3, 5), s=ints(1, 2))  # fmt: skip
    assert _slice_bounds(graph, graph.nodes[0]) == [(0, 1, 3, 1), (1, 0, 5, 2)]
    graph = graph_of("(float[4,6] x) => (float y) { y = Pad(x, p, , a) }", p=ints(1, 2), a=ints(-1))
    assert _pad_widths(graph, graph.nodes[0]) == [0, 0, 1, 2]
    graph = graph_of("(float[4,6] x) => (float y) { y = Pad(x, p) }", p=ints(1, 2, 3, 4))
    assert _pad_widths(graph, graph.nodes[0]) == [1, 3, 2, 4]
