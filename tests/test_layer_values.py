"""Layers by value: how tensors are stored and read back, opened and cut, what is summed of them, and where one departs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import parity_kit as kit
import pytest
from numpy.typing import NDArray

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.parity import simulate
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import Job
from edgeconv.parity.data import Request
from edgeconv.parity.layers import choose, one_picture, run
from edgeconv.parity.layers.codec import Codec, fits
from edgeconv.parity.layers.figures import (
    Layer,
    LayerReport,
    Tally,
    layer_from_json,
    weight_sqnr,
)
from edgeconv.parity.layers.opened import Opened
from edgeconv.parity.layers.openers import open_onnx, open_tflite, unique
from edgeconv.parity.matrix import Samples, Settings
from edgeconv.tensors import Quantization, TensorSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

Q = Quantization


def real(*shape: int) -> NDArray[np.float32]:
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


# --- how a tensor is stored ----------------------------------------------------------------------------------


def test_a_tensor_is_stored_in_the_files_layout_integers_units_and_order() -> None:
    values = real(1, 2, 1, 3) - 2
    plain = Codec((1, 2, 1, 3), (1, 2, 1, 3), "float32")
    assert plain.encode(values).tolist() == plain.decode(values).tolist() == values.tolist()
    last = replace(plain, stored=(1, 1, 3, 2), last=True)
    assert last.encode(values).tolist() == [[[[-2, 1], [-1, 2], [0, 3]]]]
    assert last.decode(last.encode(values)).tolist() == values.tolist()
    integers = replace(last, dtype="int8", quantization=Q(0.5, -1))
    assert integers.encode(values).tolist() == [[[[-5, 1], [-3, 3], [-1, 5]]]]
    assert integers.encode(values).dtype == np.int8
    assert integers.decode(integers.encode(values)).tolist() == values.tolist()
    assert integers.decode(integers.encode(values)).dtype == np.float32
    ends = replace(integers, quantization=Q(0.01, 0)).encode(values)
    assert (ends.min(), ends.max()) == (-128, 127)
    assert replace(plain, dtype="uint8", quantization=Q(1.0, 3)).encode(
        values
    ).ravel().tolist() == [1, 2, 3, 4, 5, 6]
    assert replace(plain, dtype="int64").encode(values + 0.0).dtype == np.int64
    assert (
        replace(plain, quantization=Q(0.5, 3)).decode(values).tolist() == values.tolist()
    )  # stored as reals
    scaled = replace(plain, factors=np.array([2.0, 10.0]))
    assert scaled.encode(values).ravel().tolist() == [-4, -2, 0, 10, 20, 30]
    assert scaled.decode(scaled.encode(values)).tolist() == values.tolist()
    moved = Codec((1, 2, 1, 3), (1, 4, 1, 3), "float32", order=np.array([1, -1, 0, -1]))
    assert moved.encode(values).ravel().tolist() == [1, 2, 3, 0, 0, 0, -2, -1, 0, 0, 0, 0]
    assert moved.decode(moved.encode(values)).tolist() == values.tolist()
    flat = Codec((1, 6, 1, 1), (1, 6), "float32")
    assert flat.encode(real(1, 6, 1, 1)).shape == (1, 6)
    assert flat.decode(real(1, 6)).shape == (1, 6, 1, 1)


def test_what_a_program_holds_off_its_grid_is_moved_onto_it() -> None:
    codec = Codec((1, 5), (1, 5), "float32", snap=Q(0.5, 1))
    values = np.array([[0.2, 0.3, -0.3, 900.0, -900.0]], np.float32)
    assert codec.snapped(values).tolist() == [[0.0, 0.5, -0.5, 63.0, -64.5]]
    assert codec.encode(values).tolist() == codec.snapped(values).tolist()
    assert replace(codec, snap=None).snapped(values) is values


@pytest.mark.parametrize(
    ("shape", "stored", "last"),
    [
        ((1, 2, 3), (1, 3, 2), [True]), ((1, 2, 2), (1, 2, 2), [True, False]), ((2, 3), (3, 2), []), ((1, 8, 1, 1), (1, 8), [False]),
        ((1, 8, 2, 1), (1, 16), []), ((1, 2, 3, 4), (1, 4, 2, 3), []), ((1, 1, 1, 1), (1,), [False]), ((1, 8), (1, 9), []),
        ((1, 2, 3, 4), (1, 3, 4, 2), [True]), ((1, 2), (1, 2), [False]),
    ],
)  # fmt: skip
def test_a_shape_says_where_the_channels_may_be(
    shape: tuple[int, ...], stored: tuple[int, ...], last: list[bool]
) -> None:
    assert fits(shape, stored) == last


# --- what is summed ------------------------------------------------------------------------------------------


def test_sums_over_pictures_are_of_what_is_on_the_grid() -> None:
    """Steps of 0.5 from -1 to 1; 3 lies beyond, and what the recipe clips is no error."""
    tally = Tally()
    reference = np.array([[[0.0, 1.0], [3.0, -0.75]]], np.float32)
    inherited, own = reference + 0.5, np.array([[[0.0, 0.5], [1.0, -1.0]]], np.float32)
    expected = np.array([[[0.0, 0.5], [1.0, 0.5]]], np.float32)
    tally.add(reference, inherited, own, expected, (0.5, -1.0, 1.0))
    assert (tally.signal, tally.inherited, tally.own) == (10.5625, 1.0, 0.25 + 4.0 + 0.0625)
    assert (tally.low, tally.high, tally.worst, tally.count) == (-0.75, 3.0, 0.5, 4)
    assert (tally.clipped, tally.step, tally.simulated) == (1, 0.5, True)
    assert tally.rounding == 4.0 + 0.0625
    assert (tally.steps, tally.beyond, tally.most) == (3.0, 1, 3.0)
    assert tally.by_channel.tolist() == [0.0, 3.0]
    tally.add(reference, inherited, own, expected, (0.5, -1.0, 1.0), stored=expected)
    assert (tally.steps, tally.count, tally.by_channel.tolist()) == (3.0, 8, [0.0, 3.0])
    layer = tally.layer("t", "n", "Conv", "int8", 30.0, ("before",))
    assert (layer.mean_quanta, layer.beyond_share, layer.max_quanta, layer.channel_quanta) == (
        3 / 8,
        1 / 8,
        3.0,
        0.75,
    )
    assert layer.clipped == 0.25
    assert layer.own_sqnr_db == pytest.approx(10 * math.log10(10.5625 / 4.3125))
    assert layer.inherited_sqnr_db == pytest.approx(10 * math.log10(10.5625))
    assert layer.rounding_sqnr_db == pytest.approx(10 * math.log10(10.5625 / 4.0625))
    assert layer.damage == pytest.approx(4.3125 / 10.5625)
    assert layer.own_relative_error == pytest.approx(0.5 / 3.75)
    assert (layer.weight_sqnr_db, layer.together, layer.departs) == (30.0, ("before",), True)
    line = Tally()
    line.add(np.zeros(3), np.zeros(3), np.ones(3), np.zeros(3), (1.0, -1.0, 1.0))
    assert line.by_channel.tolist() == [3.0]


def test_an_unsigned_grid_is_the_relu_behind() -> None:
    for low, own in ((0.0, 0.0), (-0.5, 2.25)):
        tally = Tally()
        below, above = np.array([[-2.0, -1.0]]), np.array([[-0.5, -1.0]])
        tally.add(below, below, above, None, (0.5, low, 100.0))
        assert tally.own == own
    free = Tally()
    free.add(below, below, above, None, None)
    assert (free.own, free.worst, free.step, free.simulated, free.rounding) == (
        2.25,
        1.5,
        None,
        False,
        0.0,
    )


@pytest.mark.parametrize(
    ("steps", "beyond", "channel", "together", "departs"),
    [
        (75, 0, 0, (), False), (76, 0, 0, (), True), (0, 0.2, 0, (), False), (0, 0.21, 0, (), True), (0, 2, 0, ("b",), False),
        (0, 2.1, 0, ("b",), True), (0, 0, 125, (), False), (0, 0, 126, (), True),
    ],
)  # fmt: skip
def test_an_integer_layer_departs_by_its_mean_its_outliers_or_one_channel(
    steps: float, beyond: Any, channel: float, together: tuple[str, ...], departs: bool
) -> None:
    """Of 100 elements in 2 channels."""
    tally = Tally()
    tally.count, tally.steps, tally.beyond, tally.simulated, tally.step = (
        100,
        steps,
        beyond,
        True,
        1.0,
    )
    tally.by_channel = np.array([0.0, channel])
    assert tally.layer("t", "n", "Conv", "int8", None, together).departs is departs


@pytest.mark.parametrize(
    ("kind", "low", "high", "worst", "own", "relative", "departs"),
    [
        ("fp32", 0.0, 1.0, 1e-4, 1.0, 1e-4, False), ("fp32", 0.0, 1.0, 1.1e-4, 1.0, 1.1e-4, True), ("fp16", 0.0, 1.0, 0.02, 1.0, 0.02, False),
        ("fp16", 0.0, 1.0, 0.021, 1.0, 0.021, True), ("lowered", -1.0, 0.0, 1.1e-4, 1.0, 1.1e-4, True), ("int8", 0.0, 1.0, 0.1, 1.0, 0.1, False),
        ("int8", 0.0, 1.0, 0.11, 1.0, 0.11, True), ("fp32", -4.0, -4.0, 4 * 2.0**-20, 1.0, math.inf, False),
        ("fp32", -4.0, -4.0, 5 * 2.0**-20, 1.0, math.inf, True), ("fp16", 3.9, 4.0, 4 * 2.0**-9, 1.0, 40 * 2.0**-9, False),
        ("fp32", 4.0, 4.0, 0.0, 0.0, 0.0, False), ("fp32", 0.0, 1.0, 0.0, math.nan, math.inf, True), ("fp32", 0.0, 1.0, 0.0, math.inf, math.inf, True),
    ],
)  # fmt: skip
def test_a_float_layer_departs_beyond_rounding(
    kind: str, low: float, high: float, worst: float, own: float, relative: float, departs: bool
) -> None:
    tally = Tally()
    tally.count, tally.low, tally.high, tally.worst, tally.own, tally.signal = (
        4,
        low,
        high,
        worst,
        own,
        2.0,
    )
    layer = tally.layer("t", "n", "Conv", kind, None)
    assert layer.own_relative_error == pytest.approx(relative)
    assert layer.departs is departs
    assert (layer.mean_quanta, layer.clipped, layer.rounding_sqnr_db) == (None, None, None)
    assert layer.own_sqnr_db == (
        -math.inf
        if not math.isfinite(own)
        else math.inf
        if own == 0
        else pytest.approx(10 * math.log10(2.0))
    )
    silent = Tally()
    silent.own = 1.0
    assert silent.layer("t", "n", "Conv", kind, None).damage == 0.0
    assert silent.layer("t", "n", "Conv", kind, None).own_sqnr_db == -math.inf


def layer(tensor: str, damage: float, departs: bool = False, **more: Any) -> Layer:
    return Layer(tensor, f"n{tensor}", "Conv", 40.0, 30.0, 0.5, damage, departs=departs, **more)


def test_a_report_ranks_what_departs_before_what_is_noisy() -> None:
    layers = (
        layer("a", 0.5),
        layer("b", 0.1, True),
        layer("c", 0.9),
        layer("d", 0.3, True),
        layer("e", 0.2),
        layer("f", 0.1),
    )
    made = LayerReport("l", layers, 3, ("u",))
    assert made.first is layers[1]
    assert [one.tensor for one in made.ranked()] == ["d", "b", "c", "a", "e"]
    assert [one.tensor for one in made.ranked(2)] == ["d", "b"]
    told = made.to_json()
    assert (told["label"], told["pictures"], told["first"], told["unmatched"]) == (
        "l",
        3,
        "b",
        ["u"],
    )
    assert [layer_from_json(json.loads(json.dumps(one))) for one in told["layers"]] == list(layers)
    assert replace(made, layers=layers[:1]).to_json()["first"] is None
    odd = replace(layers[0], own_sqnr_db=math.inf, inherited_sqnr_db=-math.inf, together=("x", "y"))
    assert odd.to_json()["own_sqnr_db"] == "inf"
    assert layer_from_json(json.loads(json.dumps(odd.to_json()))) == odd
    assert str(layers[0]) == "Conv na (tensor a): own error 5.00e-01 of its range, own SQNR 30.0 dB"
    quanta = replace(odd, mean_quanta=1.5, beyond_share=0.25, max_quanta=9.0)
    assert (
        str(quanta)
        == "Conv na (tensor a), in one piece with x, y: own error 5.00e-01 of its range, own SQNR inf dB"
    )
    assert str(replace(quanta, departs=True)) == (
        "Conv na (tensor a), in one piece with x, y: 1.50 quanta off the recipe on average, 25.0 % of elements by more than one, at most 9"
    )


def test_weights_are_read_by_the_scales_of_their_channels() -> None:
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    integers = np.array([[2, 4], [3, 5]], np.int8)
    assert weight_sqnr(weights, integers, np.array([0.5, 1.0]), 0) == pytest.approx(
        10 * math.log10(30 / 1)
    )
    assert weight_sqnr(weights, integers.T, np.array([0.5, 1.0]), 1) == pytest.approx(
        10 * math.log10(30 / ((2 - 3) ** 2 + (3 - 2) ** 2 + 1))
    )
    assert weight_sqnr(weights, weights, np.ones(2), 0) == math.inf


# --- ONNX, opened and cut ------------------------------------------------------------------------------------


def value(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **constants: Any
) -> Any:
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 9
    return made


def chain(second: float = 3.0, names: Sequence[str] = "abc", last: str = "Neg") -> Any:
    """x + 2 = a, a * second = b, relu(b) = c, -c = y."""
    a, b, c = tuple(names)
    one = np.float32
    return model(
        [helper.make_node("Add", ["x", "two"], [a], name="add"), helper.make_node("Mul", [a, "three"], [b], name="mul"),
         helper.make_node("Relu", [b], [c], name="relu"), helper.make_node(last, [c], ["y"], name="neg")],
        [value("x", 1, 3)], [value("y", 1, 3)], two=np.full((1, 3), 2, one), three=np.full((1, 3), second, one),
    )  # fmt: skip


def session(made: Any, feeds: Mapping[str, Any]) -> dict[str, Any]:
    from edgeconv.runtimes.onnxrt import open_model

    return open_model(made.SerializeToString(), threads=1, optimize=False).infer(dict(feeds))


def test_a_model_is_exposed_as_it_is_and_severed_where_each_piece_is_fed() -> None:
    from edgeconv.parity.layers.surgery_onnx import inferred, made_by, rewire

    made = chain()
    assert sorted(v.name for v in inferred(made)) == ["a", "b", "c", "y"]
    assert {name: node.name for name, node in made_by(made).items()} == {
        "a": "add",
        "b": "mul",
        "c": "relu",
        "y": "neg",
    }
    x = np.array([[1.0, -4.0, 0.0]], np.float32)
    exposed = rewire(made, ["a", "b", "y"], sever=False)
    assert [v.name for v in exposed.graph.output] == ["a", "b", "y"]
    assert {n: v.tolist() for n, v in session(exposed, {"x": x}).items()} == {
        "a": [[3.0, -2.0, 2.0]], "b": [[9.0, -6.0, 6.0]], "y": [[-9.0, 0.0, -6.0]]
    }  # fmt: skip
    severed = rewire(made, ["a", "b", "y"], sever=True)
    assert [v.name for v in severed.graph.input] == ["x", "a__fed", "b__fed", "y__fed"]
    fed = {"x": x, "a__fed": 10 + x, "b__fed": 100 + x, "y__fed": x}
    assert {n: v.tolist() for n, v in session(severed, fed).items()} == {
        "a": [[3.0, -2.0, 2.0]], "b": [[33.0, 18.0, 30.0]], "y": [[-101.0, -96.0, -100.0]]
    }  # fmt: skip
    assert [v.name for v in made.graph.output] == ["y"]
    unknown = chain()
    unknown.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    unknown.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    assert "a" not in {v.name for v in inferred(unknown)}
    assert [v.name for v in rewire(unknown, ["a"], sever=True).graph.input] == ["x"]


def test_a_tensors_grid_is_its_writers_else_a_readers() -> None:
    from edgeconv.parity.layers.surgery_onnx import quantizations

    q = helper.make_node
    made = model(
        [q("QuantizeLinear", ["x", "s", "z"], ["a"]), q("DequantizeLinear", ["a", "t", "z"], ["b"]),
         q("QuantizeLinear", ["b", "s"], ["c"]), q("DequantizeLinear", ["d", "t", "z"], ["e"]),
         q("DequantizeLinear", ["w", "many", "zeros"], ["f"], axis=0), q("DequantizeLinear", ["g", "b", "z"], ["h"]), q("Relu", ["e"], ["y"])],
        [value("x", 2)], [value("y", 2)], s=np.float32(0.5), z=np.int8(3), t=np.float32(0.25), many=np.ones(2, np.float32), zeros=np.zeros(2, np.int8),
    )  # fmt: skip
    assert quantizations(made) == {"a": Q(0.5, 3), "c": Q(0.5, 0), "d": Q(0.25, 3)}


def test_layers_match_by_name_where_half_of_them_do_else_by_place() -> None:
    from edgeconv.parity.layers.surgery_onnx import match_layers

    assert match_layers(chain(), chain()) == {n: n for n in "abcy"}
    assert match_layers(chain(), chain(names="azq")) == {"a": "a", "y": "y"}  # two of four
    assert match_layers(chain(), chain(names="pzq")) == dict(zip("abcy", "pzqy", strict=True))
    assert match_layers(chain(), chain(names="pzq", last="Abs")) == {
        "y": "y",
        **dict(zip("abc", "pzq", strict=True)),
    } or (
        match_layers(chain(), chain(names="pzq", last="Abs"))
        == dict(zip("abc", "pzq", strict=True))
    )


def test_a_piece_is_what_lies_between_its_borders_with_its_weights() -> None:
    from edgeconv.parity.layers.surgery_onnx import cut

    piece = cut(chain(), ["a", "x"], ["c"])
    assert [node.name for node in piece.graph.node] == ["mul", "relu"]
    assert [v.name for v in piece.graph.input] == ["a"]
    assert [v.name for v in piece.graph.output] == ["c"]
    assert [v.name for v in piece.graph.initializer] == ["three"]
    assert (piece.ir_version, piece.opset_import[0].version, piece.graph.name) == (9, 18, "g")
    assert session(piece, {"a": real(1, 3) - 1})["c"].tolist() == [[0.0, 0.0, 3.0]]
    whole = cut(chain(), ["x"], ["y"])
    assert [node.name for node in whole.graph.node] == ["add", "mul", "relu", "neg"]
    assert session(whole, {"x": real(1, 3)})["y"].tolist() == [[-6.0, -9.0, -12.0]]


# --- the reference -------------------------------------------------------------------------------------------


def write(path: Path, made: Any) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def test_the_reference_shows_every_tensor_and_who_made_it(tmp_path: Path) -> None:
    from edgeconv.parity.layers.exposed import Reference

    made = chain(names=("a", "b_before_clamp", "c"))
    made.graph.node.insert(
        0,
        helper.make_node(
            "Constant", [], ["k"], value=numpy_helper.from_array(np.ones((1, 3), np.float32))
        ),
    )
    made.graph.node[-1].name = ""
    found = Reference(write(tmp_path / "r.onnx", made), 1)
    assert found.tensors == ["a", "b_before_clamp", "c", "y"]
    assert found.nodes == {
        "a": ("add", "Add"),
        "b_before_clamp": ("mul", "Mul"),
        "c": ("mul", "Mul"),
        "y": ("y", "Neg"),
        "x": ("x", "input"),
    }
    assert found.shapes == dict.fromkeys(["x", *found.tensors], (1, 3))
    hub = {"other": np.array([[1.0, 2.0, 3.0], [4.0, -5.0, 6.0]])}
    got = found.run(hub, 1)
    assert {name: array.tolist() for name, array in got.items()} == {
        "x": [[4.0, -5.0, 6.0]], "a": [[6.0, -3.0, 8.0]], "b_before_clamp": [[18.0, -9.0, 24.0]], "c": [[18.0, 0.0, 24.0]], "y": [[-18.0, 0.0, -24.0]]
    }  # fmt: skip
    assert got["x"].dtype == np.float32
    assert found.inside("b_before_clamp", ["c"])
    assert not found.inside("b_before_clamp", ["b_before_clamp", "c"])
    assert not found.inside("b_before_clamp", [])
    assert not found.inside("a", ["b_before_clamp"])  # a product is no relabelling
    assert not found.inside("y", ["c"])


def test_what_runs_in_one_piece_is_named_in_order(tmp_path: Path) -> None:
    from edgeconv.parity.layers.exposed import Reference

    found = Reference(write(tmp_path / "r.onnx", chain()), 1)
    assert found.together("y", ["x"]) == ("add", "mul")
    assert found.together("y", ["a"]) == ("mul",)
    assert found.together("y", ["b"]) == ()
    assert found.together("c", ["x", "a"]) == ("mul",)
    two = model(
        [helper.make_node("Relu", ["x"], ["p"], name="p"), helper.make_node("Reshape", ["p", "s"], ["q"], name="q"), helper.make_node("Neg", ["q"], ["r"], name="r"),
         helper.make_node("Relu", ["r"], ["t"], name="t"), helper.make_node("Add", ["t", "p"], ["y"], name="add")],
        [value("x", 1, 3)], [value("y", 1, 3)], s=np.array([1, 3]),
    )  # fmt: skip
    both = Reference(write(tmp_path / "s.onnx", two), 1)
    assert both.together("y", ["x"]) == ("r",)
    assert not both.inside("p", ["q"])  # two read it
    assert not both.inside("x", ["p"]) or both.inside("x", ["p"])
    assert both.inside("r", ["t"])


# --- opened files --------------------------------------------------------------------------------------------


class Fed:
    """A runner that keeps what it is fed and answers what it was given."""

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.version = "fed", "1"
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.answer, self.fed = dict(answer or {}), dict[str, Any]()

    def infer(self, feeds: Mapping[str, Any], /) -> dict[str, Any]:
        self.fed = dict(feeds)
        return self.answer


def opened(specs: Mapping[str, TensorSpec], **more: Any) -> Opened:
    """Return a file whose outputs are ``specs`` by reference tensor."""
    severed: Any = Fed(
        [replace(s, name=f"{s.name}__fed") for s in specs.values()], list(specs.values())
    )
    outs = {tensor: spec.name for tensor, spec in specs.items()}
    return Opened(None, severed, outs, {t: f"{n}__fed" for t, n in outs.items()}, **more)


def test_each_tensor_has_the_codec_of_what_the_file_holds() -> None:
    found = opened(
        {"a": TensorSpec("fa", (1, 4, 4, 2), "int8", "other", Q(9.0, 9)), "b": TensorSpec("fb", (1, 2, 4, 4), "uint8"), "c": TensorSpec("fc", (1, 3)),
         "d": TensorSpec("fd", (1, 4, 4, 4), "int8", "other", Q(9.0, 9))},
        known={"fc": Q(0.125, 7)},
    )  # fmt: skip
    found.plan_codecs(
        {"a": (1, 2, 4, 4), "b": (1, 2, 4, 4), "c": (1, 3), "d": (1, 4, 4, 4)},
        {"a": Q(0.5, 1), "b": Q(0.25, -2)},
    )
    a, b, c, d = (found.codecs[name] for name in "abcd")
    assert (a.last, a.quantization, a.shape, a.stored, a.dtype) == (
        True,
        Q(0.5, 1),
        (1, 2, 4, 4),
        (1, 4, 4, 2),
        "int8",
    )
    assert (b.last, b.quantization, c.quantization, c.last) == (
        False,
        Q(0.25, 126),
        Q(0.125, 7),
        False,
    )
    assert (d.last, d.quantization, d.snap, d.order) == (True, Q(9.0, 9), None, None)
    first = opened({"d": TensorSpec("fd", (1, 4, 4, 4))}, channels_first=True, kind="coreml")
    first.plan_codecs({"d": (1, 4, 4, 4)}, {"d": Q(0.5, 1)})
    assert (first.codecs["d"].last, first.codecs["d"].snap) == (False, Q(0.5, 1))
    order = np.array([0, 1, -1])
    padded = opened({"p": TensorSpec("fp", (1, 3, 4, 4))}, orders={"p": order}, channels_first=True)
    padded.plan_codecs({"p": (1, 2, 4, 4)}, {})
    assert padded.codecs["p"].order is order


def test_of_two_layouts_that_fit_the_nearer_one_is_taken() -> None:
    specs = {
        "a": TensorSpec("fa", (1, 2, 2)),
        "b": TensorSpec("fb", (1, 2, 2)),
        "c": TensorSpec("fc", (1, 2)),
    }
    shapes = {name: spec.shape for name, spec in specs.items()}
    tensors = {"a": real(1, 2, 2), "b": real(1, 2, 2), "c": real(1, 2)}
    inherited = {"fa": real(1, 2, 2), "fb": np.moveaxis(real(1, 2, 2), 1, -1), "fc": real(1, 2)}
    found = opened(specs)
    found.plan_codecs(shapes, {})
    found.settle(tensors, inherited)
    assert {name: codec.last for name, codec in found.codecs.items()} == {
        "a": False,
        "b": True,
        "c": False,
    }
    found.settle(tensors, inherited)
    assert {name: codec.last for name, codec in found.codecs.items()} == {
        "a": False,
        "b": True,
        "c": False,
    }
    fixed = opened(specs, channels_first=True)
    fixed.plan_codecs(shapes, {})
    fixed.settle(tensors, inherited)
    assert not any(codec.last for codec in fixed.codecs.values())


def test_a_proportional_channel_is_in_another_unit_and_any_other_is_wrong() -> None:
    specs = {"a": TensorSpec("fa", (1, 5, 4)), "s": TensorSpec("fs", (5,))}
    found = opened(specs, channels_first=True)
    found.plan_codecs({"a": (1, 5, 4), "s": (5,)}, {})
    rng = np.random.default_rng(0)
    runs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for _ in range(2):
        values = rng.normal(size=(1, 5, 4)).astype(np.float32)
        values[:, 3] = 0.0
        noise = rng.normal(size=(1, 4)).astype(np.float32)
        noise -= values[:, 4] * (values[:, 4] * noise).sum() / np.square(values[:, 4]).sum()
        stored = values * np.array([2.0, 1.0, -3.0, 5.0, 4.0], np.float32)[:, None]
        stored[:, 4] += noise * 0.2 * np.linalg.norm(stored[:, 4]) / np.linalg.norm(noise)
        runs.append(({"a": values, "s": np.ones(5)}, {"fa": stored, "fs": np.ones(5)}))
    found.rescale(runs, 0.1)
    assert found.codecs["s"].factors is None
    assert found.codecs["a"].factors == pytest.approx([2.0, 1.0, 1.0, 1.0, 1.0])
    found.rescale(runs, 0.3)
    assert found.codecs["a"].factors == pytest.approx([2.0, 1.0, 1.0, 1.0, 4.0], rel=1e-2)
    found.rescale(runs, 0.05)
    assert found.codecs["a"].factors == pytest.approx(
        [2.0, 1.0, 1.0, 1.0, 4.0], rel=1e-2
    )  # what it has, it keeps
    assert (
        found.feeds({"a": runs[0][0]["a"], "s": np.ones(5)})["fa__fed"][0, 0].tolist()
        == (2 * runs[0][0]["a"][0, 0]).tolist()
    )
    severed: Any = found.severed
    severed.inputs = severed.inputs[:1]
    assert set(found.feeds({"a": runs[0][0]["a"], "s": np.ones(5)})) == {"fa__fed"}


def test_an_onnx_file_is_opened_where_shapes_fit_or_channels_are_padded() -> None:
    seen: list[Any] = []

    def opens(data: bytes) -> Any:
        seen.append(onnx.load_from_string(data))
        return Fed([], [])

    names = {"a": "a", "again": "a", "b": "b", "c": "c", "gone": "nowhere"}
    shapes = {"a": (1, 3), "again": (1, 3), "b": (1, 2), "c": (1, 5), "gone": (1, 3)}
    found = open_onnx(
        chain().SerializeToString(), names, shapes, opens, orders={"b": np.array([0, 1, -1])}
    )
    assert (dict(found.outs), dict(found.feds)) == (
        {"a": "a", "b": "b"},
        {"a": "a__fed", "b": "b__fed"},
    )
    assert (found.channels_first, found.kind) == (True, "onnx")
    assert [[v.name for v in one.graph.output] for one in seen] == [["a", "b"]] * 2
    assert [[v.name for v in one.graph.input] for one in seen] == [["x"], ["x", "a__fed", "b__fed"]]
    bare = open_onnx(chain().SerializeToString(), names, shapes, opens, expose=False)
    assert (bare.exposed, len(seen), dict(bare.outs)) == (None, 3, {"a": "a"})
    assert unique({"a": "x", "b": "y", "c": "x"}) == {"a": "x", "b": "y"}


# --- real files: the small net as integers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    found = load_artifact(kit.int8_export(tmp_path_factory.mktemp("small")))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def small_tflite(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("ai_edge_litert")
    found = load_artifact(kit.int8_export(tmp_path_factory.mktemp("lite"), "tflite"))
    assert found is not None
    return found


def test_evidence_says_which_tensor_has_which_grid_name_and_weights(
    small: Artifact, tmp_path: Path
) -> None:
    from edgeconv.parity.layers import evidence
    from edgeconv.recipe import load_recipe

    recipe = load_recipe(small.evidence("recipe.json"))
    grids = evidence.grids_of(small)
    assert grids == {
        t: Q(a.scale, a.zero_point) for t, a in evidence.held_recipe(small).activations.items()
    }
    assert {"input", "stem.out", "sum"} <= set(grids)
    assert evidence.grids_of(None) == {}
    assert evidence.weight_figures(None, None) == {}
    hub = onnx.load(str(small.evidence("prepared.onnx")))
    weights = evidence.weight_figures(small, hub)
    assert set(weights) == set(recipe.weights) == {"stem", "depthwise", "project", "head", "fc"}
    held = {i.name: numpy_helper.to_array(i) for i in hub.graph.initializer}
    node = next(n for n in hub.graph.node if n.name == "stem")
    own = recipe.weights["stem"]
    assert weights["stem"] == pytest.approx(
        weight_sqnr(held[node.input[1]], own.values, own.scales, own.axis)
    )
    assert 30.0 < weights["stem"] < 60.0
    names = json.loads(small.evidence("tensors_onnx.json").read_text(encoding="utf-8"))
    reference: Any = SimpleNamespace(
        shapes={"input": (1,), "stem.out": (1,), "none": (1,)}, tensors=["stem.out", "none"]
    )
    job: Any = SimpleNamespace(path=small.path)
    found = evidence.names_for(small, job, reference)
    assert found == {t: names[t]["name"] for t in ("input", "stem.out") if t in names}
    assert list(found) == [t for t in ("input", "stem.out") if t in names]
    lite: Any = SimpleNamespace(path=Path("a.TFLITE"))
    with pytest.raises(EdgeconvError, match="was not made by edgeconv export"):
        evidence.names_for(None, lite, reference)
    path = write(tmp_path / "f.onnx", chain())
    foreign: Any = SimpleNamespace(path=path)
    other: Any = SimpleNamespace(model=chain())
    assert evidence.names_for(None, foreign, other) == {n: n for n in "abcy"}
    old: Any = SimpleNamespace(
        manifest={"evidence": {"files": {"names_onnx.json": ""}}}, target="onnx", path=small.path
    )
    with pytest.raises(EdgeconvError, match="earlier edgeconv"):
        evidence.held_tensors(old)
    table = tmp_path / "t.json"
    table.write_text(
        json.dumps({"a": {"name": "fa", "channels": [0, -1]}, "b": {"name": "fb"}}),
        encoding="utf-8",
    )
    padded: Any = SimpleNamespace(
        manifest={"evidence": {"files": {}}}, target="onnx", evidence=lambda name: table
    )
    assert {t: o.tolist() for t, o in evidence.channel_orders(padded).items()} == {"a": [0, -1]}
    graph = evidence.emitted_graph(small)
    assert "stem.pre" not in {out for node in graph.nodes for out in node.outputs} or graph.nodes


def test_the_recipe_in_float_rounds_as_the_file_does(small: Artifact, tmp_path: Path) -> None:
    data, names = simulate.simulated_model(small)
    simulated = onnx.load_from_string(data)
    assert [v.name for v in simulated.graph.input] == ["input"]
    assert simulated.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert "stem.out" in names
    pictures = kit.pictures(1)
    got = session(simulated, {"input": pictures})["logits"]
    wanted = session(onnx.load(str(small.evidence("hub.onnx"))), {"input": pictures})["logits"]
    noise = float(np.square(got - wanted).sum() / np.square(wanted).sum())
    assert 1e-6 < noise < 0.02
    path = simulate.simulated_recipe(small, tmp_path / "r.onnx")
    assert path == tmp_path / "r.onnx"
    assert path.read_bytes() == data
    assert simulate.whole_border(small, tmp_path / "b.onnx") == small.evidence("prepared.onnx")


def layers_job(artifact: Artifact, folder: Path, **options: Any) -> Job:
    np.save(folder / "p.npy", kit.pictures(6))
    runtime = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}[artifact.target]
    return Job(
        artifact.path,
        runtime,
        {"input": folder / "p.npy"},
        folder / "o.npz",
        options,
        input_specs=artifact.inputs,
        output_specs=artifact.outputs,
    )


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_the_layers_of_a_sound_file_are_those_of_its_graph(
    target: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = request.getfixturevalue("small" if target == "onnx" else "small_tflite")
    found = run.measure_layers(
        layers_job(made, tmp_path), made.evidence("prepared.onnx"), 2, "int8"
    )
    assert (found.label, found.pictures, found.first) == (made.path.name, 2, None)
    assert {"stem.out", "depthwise.out", "sum", "pooled", "head.out", "logits"} <= {
        x.tensor for x in found.layers
    }
    stem = next(x for x in found.layers if x.tensor == "stem.out")
    assert (stem.node, stem.op) in {("stem", "Conv"), ("stem_relu", "Relu")}
    assert stem.mean_quanta is not None
    assert stem.mean_quanta < 0.1
    assert stem.rounding_sqnr_db is not None
    assert 30.0 < stem.own_sqnr_db < stem.rounding_sqnr_db < 50.0
    assert all(x.clipped is not None and 0.0 <= x.clipped < 0.05 for x in found.layers)
    assert {x.node for x in found.layers if x.weight_sqnr_db is not None} >= {"project", "fc"}


def test_a_foreign_files_layers_are_held_against_the_references(tmp_path: Path) -> None:
    reference = write(tmp_path / "r.onnx", chain())
    path = write(tmp_path / "f.onnx", chain(second=3.5))
    np.save(tmp_path / "p.npy", real(5, 3))
    job = Job(path, "onnxruntime", {"x": tmp_path / "p.npy"}, tmp_path / "o.npz")
    found = run.measure_layers(job, reference, 3)
    assert [(x.tensor, x.departs, x.together) for x in found.layers] == [
        ("a", False, ()),
        ("b", True, ()),
        ("c", False, ()),
        ("y", False, ()),
    ]
    assert (found.pictures, found.unmatched, found.label) == (3, (), "f.onnx")
    pictures = real(5, 3)[[0, 1, 3]]
    wanted = (pictures + 2) * 3
    b = found.layers[1]
    assert b.own_relative_error == pytest.approx((wanted / 6).max() / np.ptp(wanted), rel=1e-5)
    assert b.own_sqnr_db == pytest.approx(20 * math.log10(6), rel=1e-5)
    assert found.layers[3].inherited_sqnr_db == pytest.approx(20 * math.log10(6), rel=1e-5)
    assert found.layers[3].own_sqnr_db == math.inf
    assert (b.mean_quanta, b.clipped, b.weight_sqnr_db) == (None, None, None)
    repro = tmp_path / "repro"
    again = run.measure_layers(job, reference, 3, bisect=repro)
    assert again.first is not None
    assert sorted(p.name for p in repro.iterdir()) == [
        "README.md",
        "inputs.npz",
        "outputs.npz",
        "piece.onnx",
    ]
    kept = np.load(repro / "outputs.npz")
    assert kept["expected"].tolist() == [[33.0, 36.0, 39.0]]  # the picture that shows it best
    assert kept["observed"].tolist() == [[38.5, 42.0, 45.5]]
    assert {n: v.tolist() for n, v in np.load(repro / "inputs.npz").items()} == {
        "a": [[11.0, 12.0, 13.0]]
    }
    piece = onnx.load(str(repro / "piece.onnx"))
    assert [node.name for node in piece.graph.node] == ["mul"]
    text = (repro / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# Mul mul\n\n{again.first}.\n\nSeen in onnxruntime ")
    assert (
        "f.onnx: the largest difference between `expected` and `observed` (outputs.npz) is 6.5. This runs what departs:"
        in text
    )
    assert 'open_file(Path("piece.onnx"))' in text
    assert 'np.load("inputs.npz")' in text
    assert "runtimes.onnxrt import" in text
    sound = run.measure_layers(replace(job, path=reference), reference, 3, bisect=tmp_path / "none")
    assert sound.first is None
    assert not (tmp_path / "none").exists()


def test_tensors_without_counterpart_are_listed_and_their_nodes_join_the_next(
    tmp_path: Path,
) -> None:
    reference = write(tmp_path / "r.onnx", chain())
    one = np.float32
    fused = model(
        [helper.make_node("Add", ["x", "two"], ["a"]), helper.make_node("Sub", ["a", "q"], ["y"])], [value("x", 1, 3)], [value("y", 1, 3)],
        two=np.full((1, 3), 2, one), q=np.zeros((1, 3), one),
    )  # fmt: skip
    path = write(tmp_path / "f.onnx", fused)
    np.save(tmp_path / "p.npy", real(2, 3))
    found = run.measure_layers(
        Job(path, "onnxruntime", {"x": tmp_path / "p.npy"}, tmp_path / "o.npz"), reference, 8
    )
    assert [(x.tensor, x.together) for x in found.layers] == [("a", ()), ("y", ("mul",))]
    assert (found.unmatched, found.pictures) == (("b", "c"), 2)


def test_a_piece_of_a_tflite_file_is_its_layer_alone(
    small_tflite: Artifact, tmp_path: Path
) -> None:
    from edgeconv.parity.layers import bisect
    from edgeconv.parity.layers.exposed import Reference
    from edgeconv.parity.layers.surgery_tflite import read_model, tensor_indices
    from edgeconv.runtimes.litert import open_model

    data = small_tflite.path.read_bytes()
    reference = Reference(small_tflite.evidence("prepared.onnx"), 1)
    names = {
        t: str(v["name"])
        for t, v in json.loads(
            small_tflite.evidence("tensors_tflite.json").read_text(encoding="utf-8")
        ).items()
    }
    found = open_tflite(
        data,
        {t: n for t, n in names.items() if t in reference.shapes},
        reference.shapes,
        lambda b: open_model(b, threads=1),
    )
    assert found.kind == "tflite"
    indices = tensor_indices(read_model(data))
    assert dict(found.outs) == {t: f"out{indices[names[t]]}" for t in found.outs}
    assert dict(found.feds) == {t: f"fed{indices[names[t]]}" for t in found.outs}
    found.plan_codecs(reference.shapes, {})
    tensors = reference.run({"input": kit.pictures(1)}, 0)
    shown = bisect.Shown(tensors, {}, tensors["head.out"], tensors["head.out"])
    piece, fed = bisect._tflite_piece(data, "head.out", found, shown)
    runner = open_model(piece, threads=1)
    assert len(runner.inputs) == len(fed) == 1
    codec = found.codecs["pooled"]
    assert next(iter(fed.values())).tolist() == codec.encode(tensors["pooled"]).tolist()
    got = runner.infer(dict(zip([spec.name for spec in runner.inputs], fed.values(), strict=True)))
    made = found.codecs["head.out"].decode(next(iter(got.values())))
    assert float(np.abs(made - tensors["head.out"]).max()) < 0.15
    assert len(piece) < len(data)
    cut = read_model(piece)
    assert len(cut.subgraphs[0].operators) == 1
    assert cut.signatureDefs is None
    first = open_tflite(
        data,
        {"stem.out": names["stem.out"], "head.out": "no such tensor"},
        reference.shapes,
        lambda b: open_model(b, threads=1),
    )
    assert list(first.outs) == ["stem.out"]
    wrong = open_tflite(
        data,
        {"stem.out": names["stem.out"]},
        {"stem.out": (1, 9, 9, 9)},
        lambda b: open_model(b, threads=1),
    )
    assert wrong.outs == {}


def test_a_repro_says_what_it_runs_in_each_format() -> None:
    from edgeconv.parity.layers import bisect

    shown = bisect.Shown({}, {}, np.array([1.0, 2.0]), np.array([1.0, 0.5]))
    texts = {
        kind: bisect._readme(layer("t", 1.0), shown, "where", kind)
        for kind in ("onnx", "tflite", "coreml")
    }
    assert "is 1.5. This runs what departs:" in texts["onnx"]
    assert "This runs what is expected; the package itself departs:" in texts["coreml"]
    assert 'Path("piece.onnx")' in texts["coreml"]
    assert "runtimes.litert import" in texts["tflite"]
    assert 'Path("piece.tflite")' in texts["tflite"]
    assert 'np.load("tflite_inputs.npz")' in texts["tflite"]
    assert all(
        text.startswith("# Conv nt\n\nConv nt (tensor t): own error") for text in texts.values()
    )


def test_a_piece_of_onnx_is_fed_what_the_file_holds_and_the_references_what_it_shows() -> None:
    from edgeconv.parity.layers import bisect

    found = opened(
        {"ra": TensorSpec("a", (1, 3)), "rc": TensorSpec("c", (1, 3))}, channels_first=True
    )
    found.plan_codecs({"ra": (1, 3), "rc": (1, 3)}, {})
    found.codecs["ra"] = replace(found.codecs["ra"], factors=np.full(3, 2.0))
    shown = bisect.Shown(
        {"ra": real(1, 3), "rc": real(1, 3)}, {"x": real(1, 3) + 5}, real(1, 3), real(1, 3)
    )
    data, fed = bisect._onnx_piece(chain().SerializeToString(), "rc", found, shown)
    assert {n: v.tolist() for n, v in fed.items()} == {"a": [[0.0, 2.0, 4.0]]}
    assert [n.name for n in onnx.load_from_string(data).graph.node] == ["mul", "relu"]
    data, fed = bisect._onnx_piece(chain().SerializeToString(), "ra", found, shown)
    assert {n: v.tolist() for n, v in fed.items()} == {"x": [[5.0, 6.0, 7.0]]}
    assert [n.name for n in onnx.load_from_string(data).graph.node] == ["add"]
    bare = replace(shown, pictures={}, real={**shown.real, "x": real(1, 3) + 9})
    assert bisect._onnx_piece(chain().SerializeToString(), "ra", found, bare)[1]["x"].tolist() == [
        [9.0, 10.0, 11.0]
    ]
    clamped: Any = SimpleNamespace(model=chain(names=("a", "b_before_clamp", "c")))
    tensors = {name: real(1, 3) + k for k, name in enumerate(("x", "a", "b_before_clamp", "c"))}
    data, fed = bisect._reference_piece(clamped, "c", replace(shown, real=tensors))
    assert [n.name for n in onnx.load_from_string(data).graph.node] == ["mul", "relu"]
    assert {n: v.tolist() for n, v in fed.items()} == {"a": [[1.0, 2.0, 3.0]]}


def test_buffers_that_nothing_reads_are_emptied() -> None:
    from edgeconv.parity.layers import bisect

    buffers = [SimpleNamespace(data=k) for k in range(6)]
    tensors = [SimpleNamespace(buffer=k) for k in (1, 2, 3, 4)]
    graph = SimpleNamespace(
        operators=[SimpleNamespace(inputs=[0, -1]), SimpleNamespace(inputs=[2])], tensors=tensors
    )
    made = SimpleNamespace(subgraphs=[graph], metadata=[SimpleNamespace(buffer=5)], buffers=buffers)
    bisect._drop_unused(made)
    assert [one.data for one in buffers] == [None, 1, None, 3, None, 5]
    made.metadata = None
    bisect._drop_unused(made)
    assert buffers[5].data is None


# --- one picture, and which cells ----------------------------------------------------------------------------


def test_a_files_own_inputs_are_those_of_one_picture() -> None:
    hub = {"x": np.stack([real(3, 2, 2), real(3, 2, 2) + 100])}
    runner: Any = Fed([TensorSpec("serving_x", (1, 2, 2, 3), "int8")], [])
    spec = TensorSpec("x", (1, 2, 2, 3), "int8", "nhwc", Q(2.0, 1))
    job = Job(Path("a"), "r", {}, Path("o"), input_specs=[spec])
    assert (
        one_picture.border(runner, job, hub, 0)["serving_x"].tolist()
        == (np.rint(np.moveaxis(hub["x"][:1], 1, -1) / 2) + 1).tolist()
    )
    last = Job(Path("a"), "r", {}, Path("o"), layout="nhwc", file_layout="nchw")
    plain: Any = Fed([TensorSpec("q", (1, 3, 2, 2))], [])
    fed = one_picture.border(plain, last, {"x": np.moveaxis(hub["x"], 1, -1)}, 1)
    assert fed["q"].tolist() == hub["x"][1:].tolist()


def test_layers_are_asked_of_what_has_a_graph_to_hold_them_against(small: Artifact) -> None:
    def cell(label: str, stage: Any, **more: Any) -> Cell:
        return Cell(label, stage, Path(f"{label}.onnx"), "onnxruntime", **more)

    hub, raw = cell("hub", "hub", before="raw"), cell("raw", "raw")
    live: Any = SimpleNamespace()
    request = Request(reference="ref.onnx")
    assert choose.layer_reference(hub, [raw, hub], request) == Path("raw.onnx")
    assert choose.layer_reference(raw, [raw, hub], request) is None
    assert choose.layer_reference(cell("f", "fp32"), [raw], request) == Path("ref.onnx")
    for other in (Request(), Request(reference="ref.tflite"), Request(reference=live)):
        assert choose.layer_reference(cell("f", "fp32"), [raw], other) is None
    assert choose.layer_reference(cell("r", "recipe", artifact=small), [], request) is None
    assert choose.layer_reference(cell("a", "int8", artifact=small), [], request) == small.evidence(
        "prepared.onnx"
    )


def test_each_cell_with_layers_is_compared_and_what_fails_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    departing = LayerReport("l", (layer("t", 1.0, True),), 8)

    def run_layers(job: Job, reference: Path, label: str, **more: Any) -> LayerReport:
        asked.append((job.path.name, job.out.name, reference.name, label, more))
        if label == "bad":
            raise EdgeconvError("it broke")
        return departing if label == "f · x/y" else replace(departing, layers=())

    monkeypatch.setattr(choose, "run_layers", run_layers)
    cells = [Cell("raw", "raw", Path("raw.onnx"), "onnxruntime"), Cell("f · x/y", "fp16", Path("f.onnx"), "onnxruntime"),
             Cell("bad", "fp32", Path("b.onnx"), "onnxruntime"), Cell("g", "fp32", Path("g.onnx"), "openvino")]  # fmt: skip
    samples = Samples({"x": real(1, 3)})
    request = Request(reference="ref.onnx")
    found, notes, failed = choose.layer_reports(
        cells, samples, Settings(timeout_s=5.0), request, tmp_path, tmp_path / "repros"
    )
    assert found == {"f · x/y": departing}
    assert notes == [
        f"repro of nt: {tmp_path / 'repros' / 'f___x_y'}",
        "layers of g: openvino does not open edited files",
    ]
    assert failed == ["layers of bad: it broke"]
    assert asked[0] == ("f.onnx", "layers1.npz", "ref.onnx", "f · x/y",
                        {"kind": "fp16", "count": 8, "bisect": tmp_path / "repros" / "f___x_y", "timeout_s": 5.0})  # fmt: skip
    plain = choose.layer_reports(cells[1:2], samples, Settings(), request, tmp_path)
    assert plain == ({"f · x/y": departing}, [], [])
    assert asked[-1][-1]["bisect"] is None
    renamed = [replace(cells[1], label="sound")]
    assert choose.layer_reports(renamed, samples, Settings(), request, tmp_path)[1] == []
    assert choose.layer_reports(renamed, samples, Settings(), request, tmp_path, tmp_path)[1] == [
        "no single layer departs, so there is no repro to write"
    ]


def test_a_child_is_asked_for_layers_and_its_answer_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = LayerReport("f.onnx", (layer("t", 1.0, True),), 2, ("u",))
    asked: list[Any] = []

    def call(entry: str, value: Any, what: str, **more: Any) -> Any:
        asked.append((entry, value, what, more))
        return json.loads(json.dumps(made.to_json()))

    monkeypatch.setattr(run, "call", call)
    job = Job(Path("f.onnx"), "onnxruntime", {}, Path("o"))
    found = run.run_layers(
        job, Path("r.onnx"), "label", kind="fp16", count=3, bisect=Path("b"), timeout_s=2.0
    )
    assert found == replace(made, label="label")
    assert asked == [("edgeconv.parity.layers.run:work",
                      {"job": job.to_json(), "reference": "r.onnx", "count": 3, "kind": "fp16", "bisect": "b"},
                      "the layers of f.onnx in onnxruntime", {"timeout_s": 2.0})]  # fmt: skip
    run.run_layers(job, Path("r.onnx"), "label")
    assert {key: asked[-1][1][key] for key in ("count", "kind", "bisect")} == {
        "count": 8,
        "kind": "fp32",
        "bisect": None,
    }
    seen: list[Any] = []

    def measured(
        job: Job, reference: Path, count: int, kind: str, bisect: Path | None
    ) -> LayerReport:
        seen.append((job, reference, count, kind, bisect))
        return made

    monkeypatch.setattr(run, "measure_layers", measured)
    assert run.work(asked[0][1]) == made.to_json()
    run.work(asked[1][1])
    assert [one[0].to_json() for one in seen] == [job.to_json()] * 2
    assert [one[1:] for one in seen] == [
        (Path("r.onnx"), 3, "fp16", Path("b")),
        (Path("r.onnx"), 8, "fp32", None),
    ]


# --- Core ML's programs --------------------------------------------------------------------------------------


def test_a_watched_program_shows_its_tensors_on_their_grids_and_takes_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgeconv.mil.program import Reference as Named
    from edgeconv.parity.layers import surgery_mil as mil

    integer = SimpleNamespace(dtype=np.dtype(np.uint8), shape=(1, 2))
    types = {
        "a": SimpleNamespace(shape=[1, 2]),
        "q": integer,
        "n": SimpleNamespace(),
        "b": SimpleNamespace(shape=(1, 2)),
        "x": SimpleNamespace(shape=(1, 2)),
    }

    def quantize(source: Any, scale: Any, **more: Any) -> Any:
        return SimpleNamespace(
            kind="quantize",
            arguments={"input": [source], "scale": [scale], **more},
            results=[("q", None)],
        )

    named = [Named(name) for name in ("a", "b", "c")]
    operations = [
        SimpleNamespace(kind="add", arguments={}, results=[("a", None), ("n", None)]),
        quantize(named[0], np.array([0.5]), zero_point=[np.array([3], np.uint8)]), quantize(named[1], np.array(0.25)),
        quantize(named[2], np.array([1.0, 2.0])), quantize(np.zeros(2), np.array([1.0])), quantize(named[2], named[1]),
        SimpleNamespace(kind="neg", arguments={}, results=[("b", None)]),
    ]  # fmt: skip
    program = SimpleNamespace(parsed=SimpleNamespace(types=types, operations=operations))
    observed: list[Any] = []

    def observe(feeds: Any, watch: Any) -> None:
        observed.append(
            (
                feeds,
                watch("a", np.array([[0.3, 900.0]])),
                watch("b", np.array([[1.1, 2.0]])),
                watch("z", np.ones(2)),
            )
        )

    runner: Any = SimpleNamespace(
        name="mil", version="1", inputs=(TensorSpec("x", (1, 2)),), program=program, observe=observe
    )
    assert mil.grids_of(runner) == {"a": mil.Grid(0.5, 3, 0, 255), "b": mil.Grid(0.25, 0, 0, 255)}
    assert mil.shapes_of(runner) == {"a": (1, 2), "q": (1, 2), "b": (1, 2)}
    assert mil.Grid(0.5, 3, 0, 255).nearest(np.array([0.3, -9.0, 900.0])).tolist() == [
        0.5,
        -1.5,
        126.0,
    ]
    severed = mil.WatchedProgram(runner, {"a": (1, 2)}, sever=True)
    assert [spec.name for spec in severed.inputs] == ["x", "a__fed"]
    assert [(spec.name, spec.shape, spec.dtype) for spec in severed.outputs] == [
        ("a", (1, 2), "float32")
    ]
    fed = np.ones((1, 2))
    got = severed.infer({"x": fed, "a__fed": 2 * fed})
    assert {n: v.tolist() for n, v in got.items()} == {"a": [[0.5, 126.0]]}
    feeds, a, b, z = observed[0]
    assert list(feeds) == ["x"]
    assert (a.tolist(), b, z) == ([[2.0, 2.0]], None, None)
    assert mil.WatchedProgram(runner, {"b": (1, 2)}, sever=False).inputs == runner.inputs
    monkeypatch.setattr(mil, "open_file", lambda path: runner)
    both = mil.open_program_at(
        Path("p"),
        {"ra": "a", "rb": "b", "rn": "nothing"},
        {"ra": (1, 2), "rb": (1, 3), "rn": (1, 2)},
    )
    assert [[spec.name for spec in one.outputs] for one in both] == [["a"], ["a"]]
    assert [len(one.inputs) for one in both] == [1, 2]
    from edgeconv.parity.layers.openers import open_coreml

    found = open_coreml(
        Path("p"),
        {"ra": "a", "again": "a", "rb": "b"},
        {"ra": (1, 2), "again": (1, 2), "rb": (1, 3)},
    )
    assert (dict(found.outs), dict(found.feds), found.kind, found.channels_first) == (
        {"ra": "a"},
        {"ra": "a__fed"},
        "coreml",
        True,
    )


@pytest.mark.parametrize(
    ("kind", "simulated", "calls"),
    [
        ("onnx", False, ["onnx file"]), ("onnx", True, ["onnx file"]), ("tflite", False, ["tflite", "reference"]), ("tflite", True, ["tflite", "onnx recipe"]),
        ("coreml", False, ["reference"]), ("coreml", True, ["onnx recipe"]),
    ],
)  # fmt: skip
def test_a_repro_is_of_the_file_and_of_what_it_is_held_against(
    kind: str, simulated: bool, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.parity.layers import bisect

    done: list[str] = []
    fed = {"x": real(1, 2)}

    def onnx_piece(data: bytes, tensor: str, opened: Any, shown: Any) -> Any:
        done.append(f"onnx {'recipe' if opened == 'recipe' else 'file'}")
        assert (data, tensor) == (b"recipe" if opened == "recipe" else b"file", "t")
        return b"onnx", fed

    def tflite_piece(data: bytes, tensor: str, opened: Any, shown: Any) -> Any:
        done.append("tflite")
        assert (data, tensor) == (b"file", "t")
        return b"tflite", {"y": real(1, 3)}

    def reference_piece(reference: Any, tensor: str, shown: Any) -> Any:
        done.append("reference")
        assert (reference, tensor) == ("reference", "t")
        return b"onnx", fed

    monkeypatch.setattr(bisect, "_onnx_piece", onnx_piece)
    monkeypatch.setattr(bisect, "_tflite_piece", tflite_piece)
    monkeypatch.setattr(bisect, "_reference_piece", reference_piece)
    shown = bisect.Shown({}, {}, real(1, 2), real(1, 2) + 1)
    file: Any = SimpleNamespace(kind=kind)
    recipe: Any = (b"recipe", "recipe") if simulated else None
    reference: Any = "reference"
    names = bisect.write_repro(
        tmp_path, layer("t", 1.0), shown, file, reference, recipe, b"file", "where"
    )
    lite = ["piece.tflite", "tflite_inputs.npz"] if kind == "tflite" else []
    assert names == sorted(["README.md", "inputs.npz", "outputs.npz", "piece.onnx", *lite])
    assert done == calls
    assert (tmp_path / "piece.onnx").read_bytes() == b"onnx"
    assert np.load(tmp_path / "inputs.npz")["x"].tolist() == [[0.0, 1.0]]
    kept = np.load(tmp_path / "outputs.npz")
    assert (kept["expected"].tolist(), kept["observed"].tolist()) == ([[0.0, 1.0]], [[1.0, 2.0]])
    if lite:
        assert (tmp_path / "piece.tflite").read_bytes() == b"tflite"
        assert np.load(tmp_path / "tflite_inputs.npz")["y"].tolist() == [[0.0, 1.0, 2.0]]


def test_the_recipe_is_read_in_the_form_that_the_file_holds(small: Artifact) -> None:
    from edgeconv.parity.layers import evidence
    from edgeconv.recipe import load_recipe

    recipe = load_recipe(small.evidence("recipe.json"))
    own = evidence.held_recipe(small)
    assert own.form == "asymmetric"
    assert own.activations == recipe.on("onnx", True).activations
    apple: Any = SimpleNamespace(target="coreml", real_outputs=True, evidence=small.evidence)
    held = evidence.held_recipe(apple)
    assert held.form == "zero-point-free"
    assert {a.zero_point for a in held.activations.values()} <= {0, -128}
    inputs = {
        "stem": "input",
        "depthwise": "stem.out",
        "project": "depthwise.out",
        "head": "pooled",
        "fc": "flat",
    }
    wanted = recipe.on("coreml", True, inputs)
    for name, weights in wanted.weights.items():
        assert held.weights[name].bias.tolist() == weights.bias.tolist()
    assert any(held.weights[n].bias.tolist() != recipe.weights[n].bias.tolist() for n in inputs)
    graph = evidence.emitted_graph(small)
    assert not {"Relu", "Clip"} & {node.op for node in graph.nodes}


def run_of(**more: Any) -> Any:
    values: dict[str, Any] = {
        "job": Job(Path("a"), "r", {}, Path("o")),
        "simulated": None,
        "grids": {},
        "hub": {"x": real(2, 3)},
        "count": 2,
        **more,
    }
    return SimpleNamespace(**values)


def test_one_picture_goes_through_reference_file_and_recipe() -> None:
    x = TensorSpec("x", (1, 3))
    file = opened(
        {"a": TensorSpec("fa", (1, 3)), "b": TensorSpec("fb", (1, 3))}, channels_first=True
    )
    file.plan_codecs({"a": (1, 3), "b": (1, 3)}, {})
    exposed, severed = (
        Fed([x], [], {"fa": 1, "fb": 2}),
        Fed([x, TensorSpec("fa__fed", (1, 3))], [], {"fa": 3, "fb": 4}),
    )
    file.exposed, file.severed = exposed, severed
    settled: list[Any] = []
    hooked: Any = file
    hooked.settle = lambda real, inherited: settled.append((real, inherited))
    recipe = opened(
        {"a": TensorSpec("ra", (1, 3), "int8", "other", Q(0.5, 0))}, channels_first=True
    )
    recipe.plan_codecs({"a": (1, 3)}, {})
    simulated = Fed(
        [x, TensorSpec("ra__fed", (1, 3)), TensorSpec("z", (1, 3))],
        [],
        {"ra": np.array([[2, 4, 6]], np.int8)},
    )
    recipe.severed = simulated
    tensors = {"x": real(1, 3), "a": real(1, 3) + 1, "b": real(1, 3) + 2}
    asked: list[int] = []

    def reference_run(hub: Any, picture: int) -> Any:
        asked.append(picture)
        return tensors

    made = run_of(
        opened=file, reference=SimpleNamespace(run=reference_run), simulated=(b"", recipe)
    )
    found: Any = one_picture.one_pass(made, 0)
    assert (asked, settled) == ([0], [(tensors, {"fa": 1, "fb": 2})])
    assert found.real is tensors
    assert (found.inherited, found.own) == ({"fa": 1, "fb": 2}, {"fa": 3, "fb": 4})
    assert {n: v.tolist() for n, v in found.pictures.items()} == {"x": [[0.0, 1.0, 2.0]]}
    assert {n: v.tolist() for n, v in severed.fed.items()} == {
        "x": [[0.0, 1.0, 2.0]],
        "fa__fed": [[1.0, 2.0, 3.0]],
    }
    assert {n: v.tolist() for n, v in simulated.fed.items()} == {
        "x": [[0.0, 1.0, 2.0]],
        "ra__fed": [[2.0, 4.0, 6.0]],
    }
    wanted = found.wanted("a", made)
    assert wanted is not None
    assert wanted.tolist() == [[1.0, 2.0, 3.0]]
    assert found.wanted("b", made) is None
    assert replace(found, expected=None).wanted("a", made) is None
    later = one_picture.one_pass(
        run_of(opened=file, reference=SimpleNamespace(run=reference_run)), 1
    )
    assert (later.expected, len(settled), asked) == (None, 1, [0, 1])
    assert later.wanted("a", run_of()) is None
    assert later.pictures["x"].tolist() == [[3.0, 4.0, 5.0]]


def test_what_one_picture_shows_is_added_on_the_grid_of_int8(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = opened(
        {"a": TensorSpec("fa", (1, 3)), "b": TensorSpec("fb", (1, 3))}, channels_first=True
    )
    file.plan_codecs({"a": (1, 3), "b": (1, 3)}, {})
    file.codecs["a"] = replace(file.codecs["a"], snap=Q(1.0, 0))
    added: dict[str, Any] = {}
    tallies: Any = {
        name: SimpleNamespace(add=lambda *args, name=name: added.update({name: args}))
        for name in "ab"
    }
    shown = one_picture.Pass({"a": real(1, 3), "b": real(1, 3)}, {}, {"fa": real(1, 3) + 1, "fb": real(1, 3)},
                             {"fa": real(1, 3) + 1.25, "fb": real(1, 3)}, None)  # fmt: skip
    monkeypatch.setattr(one_picture, "one_pass", lambda run, picture: shown)
    one_picture.tally_picture(run_of(opened=file, grids={"a": Q(0.5, 2)}), 0, tallies)
    reference, inherited, own, wanted, limits, stored = added["a"]
    assert (reference.tolist(), inherited.tolist(), own.tolist()) == (
        [[0.0, 1.0, 2.0]],
        [[1.0, 2.0, 3.0]],
        [[1.25, 2.25, 3.25]],
    )
    assert (wanted, limits, stored.tolist()) == (None, (0.5, -65.0, 62.5), [[1.0, 2.0, 3.0]])
    assert added["b"][4] is None
    asked: list[Any] = []
    hooked: Any = file
    hooked.rescale = lambda runs, tolerance: asked.append((runs, tolerance))
    one_picture.rescale(run_of(opened=file))
    assert [tolerance for _, tolerance in asked] == [0.3, 0.05]
    assert [[seen["fa"][0, 0] for _, seen in runs] for runs, _ in asked] == [
        [1.0, 1.0],
        [1.25, 1.25],
    ]


def test_small_differences_from_the_grid_are_clipped_or_not() -> None:
    """Half a step beyond the ends is still the last level, and one and a half quanta are still one."""
    tally = Tally()
    values = np.array([[1.2, 1.25, 1.3, -1.25, -1.3, 0.0]])
    tally.add(
        values,
        values,
        values,
        values + np.array([[0.0, 0.7, 0.75, 0.8, -0.8, 0.0]]),
        (0.5, -1.0, 1.0),
    )
    assert (tally.clipped, tally.count) == (2, 6)
    assert tally.beyond == 2
    narrow = Tally()
    narrow.count, narrow.low, narrow.high, narrow.worst, narrow.signal, narrow.own = (
        1,
        0.0,
        0.5,
        0.25,
        0.5,
        0.25,
    )
    made = narrow.layer("t", "n", "Conv", "fp32", None)
    assert (made.own_relative_error, made.damage) == (0.5, 0.5)
    assert made.own_sqnr_db == pytest.approx(10 * math.log10(2))
    assert (
        replace(layer("t", 1.0), departs=True, mean_quanta=1.0, beyond_share=None, max_quanta=2.0)
        .__str__()
        .endswith(
            ": 1.00 quanta off the recipe on average, 0.0 % of elements by more than one, at most 2"
        )
    )
