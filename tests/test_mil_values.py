"""MIL's files and types by value: what weight files hold, which types are read; what a program counts."""

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_mil_kernels import F, f, i, made
from test_mil_programs import F2, op, opened, put

from edgeconv.formats.mil_blobs import BlobFile
from edgeconv.formats.mil_types import OtherType, TensorType, read_type
from edgeconv.formats.protobuf import CorruptFileError, Message
from edgeconv.mil.census import mil_census

STORED = {
    1: np.float16, 2: np.float32, 3: np.uint8, 4: np.int8, 6: np.int16, 7: np.uint16, 14: np.int32, 15: np.uint32,
}  # fmt: skip


def weight_file(
    folder: Path, code: int, data: bytes, *, version: int = 2, sentinel: int = 0xDEADBEEF, size: int | None = None, start: int = 128,
) -> Path:  # fmt: skip
    """Return a file of one blob, whose record is at byte 64 and whose data are behind it."""
    path = folder / "weight.bin"
    record = struct.pack("<IIQQQ", sentinel, code, len(data) if size is None else size, start, 0)
    path.write_bytes(struct.pack("<II", 1, version).ljust(64, b"\0") + record.ljust(64, b"\0") + data)  # fmt: skip
    return path


@pytest.mark.parametrize("code", STORED)
def test_a_blob_is_read_in_the_type_of_its_code(code: int, tmp_path: Path) -> None:
    kind = np.dtype(STORED[code])
    held = np.arange(1, 7).astype(kind)
    blobs = BlobFile(weight_file(tmp_path, code, held.tobytes()))
    got = blobs.read(64, TensorType(kind, (2, 3)), "w")
    assert (got.dtype, got.tolist(), got.flags.writeable) == (kind, [[1, 2, 3], [4, 5, 6]], False)
    other = np.dtype(np.int8 if code != 4 else np.uint8)
    with pytest.raises(CorruptFileError, match=f"^w declares {other.name} \\[6\\], its blob holds {kind.name}$"):  # fmt: skip
        blobs.read(64, TensorType(other, (6,)), "w")


BLOBS: dict[str, tuple[dict[str, Any], int, str]] = {
    "the header": ({}, 0, "w points to byte 0 of weight.bin, which has 132"),
    "between records": ({}, 65, "w points to byte 65 of weight.bin, which has 132"),
    "behind the last record": ({}, 128, "w points to byte 128 of weight.bin, which has 132"),
    "no blob": ({"sentinel": 0xDEADBEEE}, 64, "w points to byte 64, where no blob begins"),
    "another code": ({"code": 5}, 64, "w has blob type 5, which the evaluator lacks"),
    "too few bytes": ({"size": 3}, 64, r"w declares int8 \[4\], 4 bytes; its blob has 3"),
    "data in the header": ({"start": 0}, 64, "the blob of w reaches past the end of weight.bin"),
    "data between records": ({"start": 127}, 64, "the blob of w reaches past the end of weight.bin"),
    "data behind the end": ({"start": 192}, 64, "the blob of w reaches past the end of weight.bin"),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOBS)
def test_a_blob_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    given, offset, message = BLOBS[name]
    blobs = BlobFile(weight_file(tmp_path, data=b"\1\2\3\4", **({"code": 4} | given)))
    with pytest.raises(CorruptFileError, match=f"^{message}$"):
        blobs.read(offset, TensorType(np.dtype(np.int8), (4,)), "w")


def test_a_weight_file_has_a_header_of_version_two(tmp_path: Path) -> None:
    path = weight_file(tmp_path, 4, b"1234", version=3)
    with pytest.raises(CorruptFileError, match=r"weight\.bin has blob storage version 3, not 2$"):
        BlobFile(path)
    whole = weight_file(tmp_path, 4, b"").read_bytes()
    for size in (0, 63):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptFileError, match=f"cut off: {size} bytes are no weight file$"):
            BlobFile(path)
    path.write_bytes(whole[:64])
    assert BlobFile(path).size == 64
    with pytest.raises(CorruptFileError, match=r"w points to byte 64 of weight.bin, which has 64$"):
        BlobFile(path).read(64, TensorType(np.dtype(np.int8), ()), "w")
    with pytest.raises(CorruptFileError, match=r"none\.bin: No such file"):
        BlobFile(tmp_path / "none.bin")
    path.write_bytes(whole)
    assert BlobFile(path).read(64, TensorType(np.dtype(np.int8), (0,)), "w").tolist() == []


def tensor(code: int, *sizes: int, rank: int | None = None) -> Message:
    body = put(1, code) + put(2, len(sizes) if rank is None else rank)
    return Message(memoryview(put(1, body + b"".join(put(3, put(1, put(1, n))) for n in sizes))))


def test_types_are_read_by_their_codes() -> None:
    kinds = {1: "bool", 10: "float16", 11: "float32", 12: "float64", 21: "int8", 22: "int16", 23: "int32", 24: "int64",
             31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64"}  # fmt: skip
    for code in range(48):
        if code in kinds:
            assert read_type(tensor(code, 2, 0), "v") == TensorType(np.dtype(kinds[code]), (2, 0))
        elif code != 2:
            with pytest.raises(CorruptFileError, match=f"^v has element type {code}, which the evaluator lacks$"):  # fmt: skip
                read_type(tensor(code, 2), "v")
    assert str(read_type(tensor(11, 2, 3), "v")) == "float32 [2, 3]"
    assert read_type(tensor(2), "v") == OtherType("string")
    assert read_type(tensor(2, 3), "v") == OtherType("list")
    assert read_type(Message(memoryview(put(2, b""))), "v") == OtherType("list")
    assert read_type(Message(memoryview(put(4, b""))), "v") == OtherType("dictionary")
    most = 1 << 28
    assert read_type(tensor(11, most), "v") == TensorType(np.dtype(F), (most,))
    assert read_type(tensor(11, 1 << 14, 1 << 14), "v") == TensorType(np.dtype(F), (1 << 14,) * 2)
    assert read_type(tensor(11, *[1] * 8), "v") == TensorType(np.dtype(F), (1,) * 8)


def test_types_that_no_program_has_are_refused() -> None:
    flexible = put(1, put(1, 11) + put(2, 1) + put(3, b""))
    for message, said in [
        (None, "v has no type"), (Message(memoryview(put(3, b""))), "v has a type that the evaluator does not know"),
        (Message(memoryview(flexible)), "v has a flexible shape; the evaluator needs static ones"),
        (tensor(11, 2, rank=2), "v declares rank 2 and 1 dimensions"), (tensor(11, *[1] * 9), "v declares rank 9 and 9 dimensions"),
        (tensor(11, -1), "v declares a dimension of -1"), (tensor(11, (1 << 28) + 1), "v declares a dimension of 268435457"),
        (tensor(11, 1 << 14, (1 << 14) + 1), "v declares 268451840 elements, more than 268435456"),
    ]:  # fmt: skip
        with pytest.raises(CorruptFileError) as caught:
            read_type(message, "v")
        assert str(caught.value) == said


def test_casts_and_scales_of_one_value() -> None:
    assert made("cast", x=f(0.5, -0.5, 1.5, -1), dtype="bool").tolist() == [False, False, True, True]  # fmt: skip
    assert made("cast", x=f(2.9, -2.9), dtype="int8").tolist() == [2, -2]
    x = f([1, 2], [3, 4])
    one = made("quantize", input=x, scale=f(0.5), zero_point=np.array([1], np.int8), output_dtype="int8")  # fmt: skip
    assert one.tolist() == [[3, 5], [7, 9]]
    assert made("dequantize", input=one, scale=f(0.5), zero_point=np.array([1], np.int8)).tolist() == x.tolist()  # fmt: skip


def test_rows_without_pictures_are_upsampled_too() -> None:
    x = np.arange(4, dtype=F).reshape(1, 2, 2)
    got = made("upsample_nearest_neighbor", (1, 4, 2), x=x)
    assert got.tolist() == [[[0, 1], [0, 1], [2, 3], [2, 3]]]
    smooth = made("resize_bilinear", (1, 3, 2), x=x, sampling_mode="STRICT_ALIGN_CORNERS")
    assert smooth.tolist() == [[[0, 1], [1, 2], [2, 3]]]


def test_a_program_is_counted_by_what_its_layers_read(tmp_path: Path) -> None:
    q = ("int8", (2,))
    program = opened(
        tmp_path,
        op("quantize", {"q": q}, input="%x", scale=F(0.5), output_dtype="int8"),
        op("dequantize", {"d": F2}, input="%q", scale=F(0.5)),
        op("constexpr_affine_dequantize", {"w": ("float32", (2, 2))},
           {"quantized_data": np.ones((2, 2), np.int8), "zero_point": np.int8(0), "scale": np.ones(2, F), "axis": np.int32(0)}),
        op("constexpr_affine_dequantize", {"v": ("float32", (2, 2))},
           {"quantized_data": np.ones((2, 2), np.int8), "zero_point": np.int8(0), "scale": F(1), "axis": np.int32(0)}),
        op("linear", {"a": F2}, x="%d", weight="%w"), op("linear", {"b": F2}, x="%d", weight="%v"),
        op("linear", {"c": F2}, x="%x", weight="%w"), op("linear", {"e": F2}, x="%x", weight=np.eye(2, dtype=F)),
        op("transpose", {"t": F2}, x="%a", perm=i(0)), op("abs", {"y": F2}, x="%t"),
    )  # fmt: skip
    found = mil_census(program.parsed)
    assert (found.form, found.compute, found.integer, found.per_channel, found.weight_only) == ("mlpackage", 4, 2, 1, 1)  # fmt: skip
    assert (found.quantize, found.dequantize, found.transposes, found.conversions) == (1, 1, 1, 2)
    assert found.ops == {"abs": 1, "constexpr_affine_dequantize": 2, "dequantize": 1, "linear": 4, "quantize": 1, "transpose": 1}  # fmt: skip
    assert list(found.ops) == sorted(found.ops)
    got = program.run({"x": np.array([1.2, -3])})["y"]
    assert got.tolist() == [2, 2]


def test_halves_are_those_of_numpy_in_blocks_and_beyond() -> None:
    from edgeconv.mil.half import round_to_half

    rng = np.random.default_rng(4)
    x = (rng.standard_normal(70000) * 10.0 ** rng.integers(-9, 4, 70000)).astype(F)
    x[[0, 32767, 32768, 65535, 69999]] = [65519, -65520, 65520, np.inf, -65519]
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16).astype(F)
    assert np.array_equal(round_to_half(x), wanted)
    assert np.array_equal(round_to_half(x[:60].reshape(3, 20).T), wanted[:60].reshape(3, 20).T)
    assert round_to_half(np.zeros((0, 2), F)).shape == (0, 2)


def test_the_band_is_infinite_where_nothing_is_a_half() -> None:
    from edgeconv.mil import accumulation_band

    class Still:
        parsed = SimpleNamespace(outputs=("y",), types={"y": TensorType(np.dtype(F), (2,))})

        def run(self, feed: Any, *, watch: Any, noise: Any) -> None:
            watch("y", np.array([3.0, 4.0]) + (0 if noise is None else noise.steps / 100))
            watch("z", np.ones(9))

    still: Any = Still()
    found = accumulation_band(still, [{}, {}], (1.0, 10.0, 0.0))
    assert found == {1.0: pytest.approx(10 * np.log10(25 / 2e-4)), 10.0: pytest.approx(10 * np.log10(25 / 2e-2)), 0.0: float("inf")}  # fmt: skip


def test_no_repetition_leaves_nothing_and_the_largest_are_along_the_last_axis() -> None:
    assert made("tile", x=f([1, 2]), reps=i(0, 2)).shape == (0, 4)
    values, places = made("topk", x=f([[1, 3], [4, 2]], [[9, 8], [7, 6]]), k=i(1))
    assert values.tolist() == [[[3], [4]], [[9], [7]]]
    assert places.tolist() == [[[1], [0]], [[0], [0]]]
    (value, place) = made("topk", x=f(1, 5, 3))
    assert (value.tolist(), place.tolist()) == ([5], [1])


def test_whole_numbers_keep_every_digit(tmp_path: Path) -> None:
    whole = ("int32", (2,))
    large = np.array([16777217, -16777219], np.int32)
    program = opened(
        tmp_path, op("add", {"y": whole}, x="%x", y=large), inputs={"x": ("int32", (2,))}
    )
    for rounding in ("declared", "exact"):
        got = program.run({"x": np.array([1, 0])}, rounding=rounding)["y"]
        assert (got.dtype.name, got.tolist()) == ("int32", [16777218, -16777219])
