"""Programs written by hand, byte by byte as MIL.proto has them: how they are read, refused and run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeconv.errors import EdgeconvError
from edgeconv.formats.protobuf import CorruptFileError, Message
from edgeconv.mil import Noise, Program, accumulation_band, open_program
from edgeconv.mil.program import Feature
from edgeconv.tensors import TensorSpec

CODES = {
    "bool": 1,
    "string": 2,
    "float16": 10,
    "float32": 11,
    "float64": 12,
    "int8": 21,
    "int32": 23,
    "uint8": 31,
}
Typed = tuple[str, Sequence[int]]


def varint(number: int) -> bytes:
    out = bytearray()
    number %= 1 << 64
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def put(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def typed(kind: Typed) -> bytes:
    name, shape = kind
    if name in ("list", "dictionary"):
        return put({"list": 2, "dictionary": 4}[name], b"")
    sizes = b"".join(put(3, put(1, put(1, size))) for size in shape)
    return put(1, put(1, CODES[name]) + put(2, len(shape)) + sizes)


def value(given: Any) -> bytes:
    """Return a Value: an array by its bytes, a text, or a list of them."""
    if isinstance(given, list):
        return put(2, typed(("list", ()))) + put(
            3, put(3, b"".join(put(1, value(one)) for one in given))
        )
    if isinstance(given, str):
        return put(2, typed(("string", ()))) + put(3, put(1, put(4, put(1, given))))
    array = np.asarray(given)
    kind = typed((array.dtype.name, array.shape))
    return put(2, kind) + put(3, put(1, put(7, put(1, array.tobytes()))))


def named(name: str, kind: Typed) -> bytes:
    return put(1, name) + put(2, typed(kind))


def entry(number: int, key: str, inner: bytes) -> bytes:
    return put(number, put(1, key) + put(2, inner))


def op(
    kind: str,
    results: Mapping[str, Typed],
    attributes: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> bytes:
    """Return an operation; an argument "%name" refers to a value, a tuple of those to several."""
    raw = put(1, kind)
    for key, given in arguments.items():
        items = given if isinstance(given, tuple) else (given,)
        bound = b"".join(
            put(
                1,
                put(1, one[1:])
                if isinstance(one, str) and one.startswith("%")
                else put(2, value(one)),
            )
            for one in items
        )
        raw += entry(2, key, bound)
    raw += b"".join(put(3, named(name, kind_)) for name, kind_ in results.items())
    return raw + b"".join(entry(5, key, value(one)) for key, one in (attributes or {}).items())


def feature(name: str, kind: int, inner: bytes = b"") -> bytes:
    return put(1, name) + put(3, put(kind, inner))


def net(
    operations: Sequence[bytes],
    outputs: Sequence[str] = ("y",),
    inputs: Mapping[str, Typed] | None = None,
    description: bytes = b"",
    opset: str = "CoreML7",
    blocks: str = "CoreML7",
    function: str = "main",
) -> bytes:
    """Return a model of one function."""
    inputs = {"x": ("float32", (2,))} if inputs is None else inputs
    block = b"".join(put(2, name) for name in outputs) + b"".join(put(3, one) for one in operations)
    body = b"".join(put(1, named(name, kind)) for name, kind in inputs.items())
    body += put(2, opset) + entry(3, blocks, block)
    return put(1, 8) + put(2, description) + put(502, entry(2, function, body))


def package(folder: Path, model: bytes) -> Path:
    path = folder / "net.mlpackage"
    (path / "Data").mkdir(parents=True, exist_ok=True)
    (path / "Data" / "m").write_bytes(model)
    manifest = {"itemInfoEntries": {"i": {"path": "m"}}, "rootModelIdentifier": "i"}
    (path / "Manifest.json").write_text(json.dumps(manifest))
    return path


def opened(
    folder: Path, *operations: bytes, function_name: str | None = None, **how: Any
) -> Program:
    return open_program(package(folder, net(operations, **how)), function_name)


F2: Typed = ("float32", (2,))
H2: Typed = ("float16", (2,))
DOUBLE = op("add", {"y": F2}, x="%x", y="%x")


def test_a_program_runs_and_says_what_it_is(tmp_path: Path) -> None:
    program = opened(
        tmp_path,
        op("const", {"c": F2}, {"val": np.array([10, 20], np.float32)}),
        op("mul", {"m": F2}, x="%x", y="%c"),
        op("add", {"y": F2}, x="%m", y=np.array([1, 2], np.float32)),
    )
    feeds = {"x": np.array([1, 2])}
    made = program.run(feeds)
    assert {name: array.tolist() for name, array in made.items()} == {"y": [11, 42]}
    assert made["y"].dtype == np.float32
    assert program.run(feeds, rounding="exact")["y"].dtype == np.float64
    assert program.op_types() == ["mul", "add"]
    assert program.tensors() == {name: "float32 [2]" for name in ("x", "c", "m", "y")}
    assert program.input_specs() == (TensorSpec("x", (2,), "float32", "other"),)
    assert program.output_specs() == (TensorSpec("y", (2,), "float32", "other"),)
    assert program.labels() is None
    parsed = program.parsed
    assert (parsed.version, parsed.opset, parsed.thinned, parsed.outputs) == (
        8,
        "CoreML7",
        False,
        ("y",),
    )
    seen: dict[str, Any] = {}
    program.run(feeds, watch=lambda name, array: seen.update({name: array.tolist()}))
    assert seen == {"m": [10, 40], "y": [11, 42]}
    other = program.run(
        feeds, watch=lambda name, array: np.array([0, 1], np.float64) if name == "m" else None
    )
    assert (other["y"].tolist(), other["y"].dtype) == ([1, 3], np.float32)
    with pytest.raises(EdgeconvError, match=r"a watcher gave \[3\] for \[2\]"):
        program.run(feeds, watch=lambda name, array: np.zeros(3))
    with pytest.raises(EdgeconvError, match=r"net.mlpackage got no input x; it has \['z'\]"):
        program.run({"z": feeds["x"]})
    with pytest.raises(EdgeconvError, match=r"net.mlpackage: input x is \[2\], got \[3\]"):
        program.run({"x": np.zeros(3)})


def test_pictures_and_whole_numbers_cross_the_border_as_they_are(tmp_path: Path) -> None:
    picture: Typed = ("float16", (1, 1, 1, 2))
    program = opened(
        tmp_path,
        op("relu", {"y": picture}, x="%x"),
        op("cast", {"i": ("int32", (1, 1, 1, 2))}, x="%x", dtype="int32"),
        outputs=("y", "i", "n"),
        inputs={"x": picture, "n": ("int32", (2,))},
    )
    assert program.input_specs() == (
        TensorSpec("x", (1, 1, 1, 2), "float16", "nchw"),
        TensorSpec("n", (2,), "int32", "other"),
    )
    assert program.output_specs() == (
        TensorSpec("y", (1, 1, 1, 2), "float32", "nchw"), TensorSpec("i", (1, 1, 1, 2), "int32", "nchw"), TensorSpec("n", (2,), "int32", "other")
    )  # fmt: skip
    made = program.run({"x": np.array([[[[1.0001, -2.5]]]]), "n": np.array([3.0, 4.0])})
    assert made["y"].ravel().tolist() == [1, 0]  # the feed is rounded to a half
    assert made["i"].ravel().tolist() == [1, -2]
    assert (made["n"].tolist(), made["n"].dtype) == ([3, 4], np.int32)


def test_halves_are_rounded_where_they_are_computed(tmp_path: Path) -> None:
    third = np.array([1 / 3, 2048.5], np.float32)
    program = opened(
        tmp_path,
        op("cast", {"h": H2}, x="%x", dtype="fp16"),
        op("relu", {"r": H2}, x="%h"),
        op("add", {"s": H2}, x="%r", y="%r"),
        op("cast", {"y": F2}, x="%s", dtype="fp32"),
    )
    half = third.astype(np.float16).astype(np.float32)
    assert program.run({"x": third})["y"].tolist() == (2 * half).tolist()
    assert (
        program.run({"x": third}, rounding="exact")["y"].tolist()
        == (2 * third.astype(np.float64)).tolist()
    )
    moved = [program.run({"x": third}, noise=Noise(64, seed))["y"] for seed in (0, 0, 1)]
    assert np.array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[0], moved[2])
    assert np.array_equal(moved[0], program.run({"x": third}, noise=Noise(64))["y"])
    away = np.abs(np.array(moved) / (2 * half) - 1)
    assert 2**-11 < away.max() <= 2 * 64 * 2**-11 + 2**-9
    assert np.array_equal(program.run({"x": third}, noise=Noise(0))["y"], 2 * half)


def test_the_band_is_signal_over_moved_outputs(tmp_path: Path) -> None:
    program = opened(
        tmp_path,
        op("cast", {"h": H2}, x="%x", dtype="fp16"),
        op("cast", {"y": F2}, x="%h", dtype="fp32"),
    )
    feeds = [{"x": np.array([1.0, 3.0])}, {"x": np.array([-2.0, 0.5])}]
    found = accumulation_band(program, feeds, (16.0, 64.0))
    signal = error = 0.0
    for number, feed in enumerate(feeds):
        plain = program.run(feed)["y"].astype(np.float64)
        signal += np.square(plain).sum()
        error += np.square(program.run(feed, noise=Noise(64.0, number))["y"] - plain).sum()
    assert list(found) == [16.0, 64.0]
    assert found[64.0] == pytest.approx(10 * np.log10(signal / error))
    assert found[16.0] == pytest.approx(found[64.0] + 12, abs=3)
    assert list(accumulation_band(program, feeds)) == [1.0, 2.0, 8.0]
    with pytest.raises(EdgeconvError, match="needs at least one sample"):
        accumulation_band(program, [])
    shares: Typed = ("float16", (1, 2))
    labelled = opened(
        tmp_path,
        op("cast", {"h": shares}, x="%x", dtype="fp16"),
        op(
            "classify",
            {"label": ("string", ()), "p": ("dictionary", ())},
            probabilities="%h",
            classes=["a", "b"],
        ),
        outputs=("label", "p"),
        inputs={"x": ("float32", (1, 2))},
    )
    assert 20 < accumulation_band(labelled, [{"x": np.array([[0.25, 0.75]])}], (8.0,))[8.0] < 70
    assert labelled.labels() == ["a", "b"]
    assert labelled.output_specs() == (TensorSpec("p", (1, 2), "float32", "other"),)
    got = labelled.run({"x": np.array([[0.25, 0.75]])})
    assert got == {"label": "b", "p": {"a": 0.25, "b": 0.75}}


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    program = opened(
        tmp_path,
        op(
            "classify",
            {"label": ("int32", ()), "p": ("dictionary", ())},
            probabilities="%x",
            classes=np.array([4, 9], np.int32),
        ),
        outputs=("label", "p"),
    )
    assert program.labels() == [4, 9]
    assert program.run({"x": np.array([0.5, 0.25])}) == {"label": 4, "p": {4: 0.5, 9: 0.25}}


def test_stored_weights_are_unfolded_once_for_each_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.mil import evaluate
    from edgeconv.mil.call import Call, Rule

    program = opened(
        tmp_path,
        op(
            "constexpr_affine_dequantize",
            {"w": F2},
            {
                "quantized_data": np.array([3, 5], np.int8),
                "zero_point": np.int8(1),
                "scale": np.float32(0.5),
                "axis": np.int32(0),
                "name": "w",
            },
        ),
        op("add", {"y": F2}, x="%x", y="%w"),
    )
    asked: list[str] = []
    kept = evaluate.OPS["constexpr_affine_dequantize"]

    def counted(c: Call) -> Any:
        asked.append(c.dtype.name)
        return kept.kernel(c)

    monkeypatch.setitem(evaluate.OPS, "constexpr_affine_dequantize", Rule(counted))
    for _ in range(2):
        assert program.run({"x": np.array([10, 20])})["y"].tolist() == [11, 22]
        assert program.run({"x": np.array([10, 20])}, rounding="exact")["y"].tolist() == [11, 22]
    assert asked == ["float32", "float64"]
    assert program.parsed.operations[0].arguments.keys() == {
        "quantized_data",
        "zero_point",
        "scale",
        "axis",
    }


def test_a_value_is_let_go_when_nothing_reads_it_any_more(tmp_path: Path) -> None:
    from edgeconv.mil.evaluate import _last_uses

    program = opened(
        tmp_path,
        op("relu", {"a": F2}, x="%x"),
        op("add", {"b": F2}, x="%a", y="%x"),
        op("add", {"y": F2}, x="%a", y="%b"),
        outputs=("y", "b"),
    )
    assert _last_uses(program.parsed) == [[], ["x"], ["a"]]


def test_an_output_may_be_a_constant(tmp_path: Path) -> None:
    held = op("const", {"c": F2}, {"val": np.array([1, 2], np.float32)})
    made = opened(tmp_path, held, outputs=("c", "x")).run({"x": np.array([3, 4])})
    assert {name: array.tolist() for name, array in made.items()} == {"c": [1, 2], "x": [3, 4]}


MISFITS: dict[str, tuple[list[bytes], str]] = {
    "another shape": ([op("add", {"y": ("float32", (3,))}, x="%x", y="%x")], r"add y declares \[3\], computes \[2\]"),
    "another type": ([op("add", {"y": H2}, x="%x", y="%x")], "add y declares float16, its arguments make float32"),
    "an unknown operator": ([op("addd", {"y": F2}, x="%x", y="%x")], "addd y: the evaluator has no addd"),
    "another named type": ([op("cast", {"y": H2}, x="%x", dtype="fp32")], "cast y declares float16, its arguments make float32"),
    "an unknown named type": ([op("cast", {"y": H2}, x="%x", dtype="fp8")], "the type fp8 is not evaluated"),
    "quantized to another": ([op("quantize", {"y": ("uint8", (2,))}, input="%x", scale=np.float32(1), output_dtype="int8")], "declares uint8, its arguments make int8"),
    "dequantized to another": ([op("quantize", {"q": ("int8", (2,))}, input="%x", scale=np.float32(1), output_dtype="int8"), op("dequantize", {"y": H2}, input="%q", scale=np.float32(1))], "declares float16, its arguments make float32"),
    "two results of one": ([op("add", {"y": F2, "z": F2}, x="%x", y="%x")], "add y makes 1 values, declares 2"),
    "what cannot be computed": ([op("transpose", {"y": F2}, x="%x", perm=np.array([0, 1], np.int32))], "transpose y cannot be computed: axes don't match array"),
    "no result": ([op("add", {}, x="%x", y="%x")], "an operation add makes nothing"),
    "a constant of nothing": ([op("const", {"y": F2})], "const y has no value"),
    "a constant of another shape": ([op("const", {"y": F2}, {"val": np.zeros(3, np.float32)})], r"const y is declared float32 \[2\] and holds float32"),
    "a constant of another type": ([op("const", {"y": F2}, {"val": np.zeros(2, np.int32)})], r"const y is declared float32 \[2\] and holds int32"),
    "a constant that is no list": ([op("const", {"y": ("list", ())}, {"val": np.zeros(2, np.int32)})], "and holds int32"),
    "an argument from nowhere": ([op("add", {"y": F2}, x="%x", y="%z")], "add y reads z, which nothing before it makes"),
    "an argument made later": ([op("add", {"y": F2}, x="%x", y="%z"), op("relu", {"z": F2}, x="%x")], "add y reads z"),
    "an input made again": ([op("relu", {"x": F2}, x="%x")], "relu x makes x, which already exists"),
    "an output from nowhere": ([op("relu", {"z": F2}, x="%x")], "the output y is made by nothing"),
    "an empty argument": ([put(1, "relu") + entry(2, "x", put(1, b"")) + put(3, named("y", F2))], "relu y has an empty argument x"),
    "blocks inside": ([put(1, "cond") + put(3, named("y", F2)) + put(4, b"")], "cond y holds blocks of its own"),
    "a value of nothing": ([put(1, "const") + put(3, named("y", F2)) + entry(5, "val", put(2, typed(F2)))], "const y has no value"),
    "a value that is neither": ([put(1, "const") + put(3, named("y", F2)) + entry(5, "val", put(2, typed(F2)) + put(3, b""))], "neither tensor nor list"),
    "a list in a file": ([put(1, "const") + put(3, named("y", F2)) + entry(5, "val", put(2, typed(("list", ()))) + put(5, put(1, "f")))], "keeps something that is no tensor in a file"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_program_that_contradicts_itself_is_refused(name: str, tmp_path: Path) -> None:
    operations, message = MISFITS[name]
    with pytest.raises(CorruptFileError, match=message):
        opened(tmp_path, *operations).run({"x": np.zeros(2)})


def test_other_models_and_functions_are_refused(tmp_path: Path) -> None:
    for model, message in [
        (put(1, 8) + put(2, b""), "holds no ML Program"), (put(1, 8) + put(502, b""), "holds no ML Program"),
        (net([DOUBLE], function="other"), "has no function main"), (net([DOUBLE], opset="CoreML8"), "no code for its own opset 'CoreML8'"),
        (net([DOUBLE], inputs={"x": ("list", ())}), "the input x is no tensor"),
    ]:  # fmt: skip
        with pytest.raises(CorruptFileError, match=message):
            open_program(package(tmp_path, model))
    feeds = {"x": np.array([1, 2])}
    assert opened(tmp_path, DOUBLE, function="other", function_name="other").run(feeds)[
        "y"
    ].tolist() == [2, 4]
    named_ = opened(tmp_path, DOUBLE, function="best", description=put(21, "best"))
    assert named_.run(feeds)["y"].tolist() == [2, 4]


def test_nested_lists_end_somewhere(tmp_path: Path) -> None:
    def nested(depth: int) -> Any:
        found: Any = "a"
        for _ in range(depth):
            found = [found]
        return found

    held = [op("const", {"c": ("list", ())}, {"val": nested(16)}), DOUBLE]
    assert opened(tmp_path, *held).parsed.constants["c"] == nested(16)
    with pytest.raises(CorruptFileError, match="nested more than 16 deep"):
        opened(tmp_path, op("const", {"c": ("list", ())}, {"val": nested(17)}), DOUBLE)


def test_numbers_are_read_in_every_way_to_write_them(tmp_path: Path) -> None:
    def held(kind: Typed, tensor: bytes) -> Any:
        raw = (
            put(1, "const")
            + put(3, named("c", kind))
            + entry(5, "val", put(2, typed(kind)) + put(3, put(1, tensor)))
        )
        return opened(tmp_path, raw, DOUBLE).parsed.constants["c"]

    packed = {
        "<f4": np.array([1.5, -2], "<f4").tobytes(),
        "<f8": np.array([1.5, -2], "<f8").tobytes(),
    }
    assert held(F2, put(1, put(1, packed["<f4"]))).tolist() == [1.5, -2]
    assert held(("float64", (2,)), put(6, put(1, packed["<f8"]))).tolist() == [1.5, -2]
    for number in (2, 5):
        assert held(("int32", (2,)), put(number, put(1, 7) + put(1, -3))).tolist() == [7, -3]
    assert held(("bool", (2,)), put(3, put(1, 1) + put(1, 0))).tolist() == [True, False]
    assert held(
        ("float16", (2,)), put(7, put(1, np.array([1.5, -2], np.float16).tobytes()))
    ).tolist() == [1.5, -2]
    assert held(("int32", (0,)), b"").tolist() == []
    assert held(("int8", (2, 1)), put(7, put(1, b"\x01\xff"))).tolist() == [[1], [-1]]
    assert held(("string", ()), put(4, put(1, "one"))) == "one"
    assert held(("string", (2,)), put(4, put(1, "one") + put(1, "two"))) == ["one", "two"]
    for kind, tensor, message in [
        (("string", ()), put(4, put(1, "one") + put(1, "two")), "is one string and holds 2"),
        (("string", ()), put(4, b""), "is one string and holds 0"),
        (("list", ()), put(2, put(1, 1)), "is declared .* and holds numbers"),
        (F2, put(7, put(1, b"\0" * 7)), "is cut in the middle of a number"),
        (F2, put(7, put(1, b"\0" * 12)), r"is declared float32 \[2\] and holds 3 values"),
        (F2, b"", r"is declared float32 \[2\] and holds 0 values"),
    ]:  # fmt: skip
        with pytest.raises(CorruptFileError, match=f"const c {message}"):
            held(kind, tensor)


def test_the_description_names_kinds_colours_and_authors(tmp_path: Path) -> None:
    def image(colours: int) -> bytes:
        return put(3, colours)

    metadata = (
        put(1, "says")
        + put(2, "1.5")
        + put(3, "me")
        + put(4, "MIT")
        + put(100, put(1, "k") + put(2, "v"))
    )
    inputs = [
        feature("a", 4, image(10)),
        feature("b", 4, image(20)),
        feature("c", 4, image(30)),
        feature("d", 4, image(40)),
        feature("e", 4, image(50)),
        feature("f", 5),
        feature("g", 7),
        put(1, "h"),
    ]
    outputs = [feature("i", 3), feature("j", 6)]
    body = (
        b"".join(put(1, one) for one in inputs)
        + b"".join(put(10, one) for one in outputs)
        + put(100, metadata)
    )
    parsed = opened(tmp_path, DOUBLE, description=body).parsed
    assert list(parsed.features.values()) == [
        Feature("a", "image", "L"), Feature("b", "image", "RGB"), Feature("c", "image", "BGR"), Feature("d", "image", "L"), Feature("e", "image"),
        Feature("f", "array"), Feature("g", "other"), Feature("h", "other"), Feature("i", "string"), Feature("j", "dictionary"),
    ]  # fmt: skip
    assert parsed.metadata == {
        "description": "says",
        "version": "1.5",
        "author": "me",
        "license": "MIT",
        "k": "v",
    }
    assert opened(tmp_path, DOUBLE).parsed.metadata == {}
    several = (
        put(21, "main")
        + put(20, put(1, "main") + put(2, feature("a", 5)) + put(3, feature("b", 6)))
        + put(20, put(1, "other") + put(2, feature("z", 5)))
    )
    assert opened(tmp_path, DOUBLE, description=several).parsed.features == {
        "a": Feature("a", "array"),
        "b": Feature("b", "dictionary"),
    }


def test_a_pipeline_is_read_where_it_ends_in_suppression(tmp_path: Path) -> None:
    inner, thinning, other = net([DOUBLE]), put(1, 8) + put(610, b""), put(1, 8)
    whole = put(2, put(100, put(3, "us")))
    parsed = open_program(
        package(tmp_path, put(1, 7) + whole + put(202, put(1, inner) + put(1, thinning)))
    ).parsed
    assert (parsed.thinned, parsed.version, parsed.outputs, parsed.metadata) == (
        True,
        8,
        ("y",),
        {"author": "us"},
    )
    for steps in (
        put(1, inner),
        put(1, inner) + put(1, other),
        put(1, inner) + put(1, thinning) + put(1, thinning),
    ):
        with pytest.raises(CorruptFileError, match="holds no ML Program"):
            open_program(package(tmp_path, put(1, 7) + whole + put(202, steps)))


def test_a_message_is_what_was_put_together() -> None:
    found = Message(memoryview(put(1, -5) + put(2, "a") + put(2, "b")))
    assert (found.number(1), found.text(2), [bytes(raw) for raw in found.all_bytes(2)]) == (
        -5,
        "b",
        [b"a", b"b"],
    )
