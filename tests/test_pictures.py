"""Pictures, arrays and functions become samples, and what is none of them is named."""

import contextlib
import hashlib
import io
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgeconv.artifact import LETTERBOX, Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.data import Data
from edgeconv.pictures import (
    BARS,
    UNLABELLED,
    crop_mask,
    find_pictures,
    picture_boxes,
    picture_names,
    placed_box,
    quiet_pillow,
    read_picture,
    resize_and_crop,
    to_input,
)
from edgeconv.samples import InputSpec, Sample, load_samples, picture_feed, split
from edgeconv.spread import spread

Pixels = NDArray[np.uint8]
PLAIN = Preprocessing((0.5,), (0.5,), 1.0, (8, 8))
PICTURES = InputSpec({"input": (1, 3, 8, 8)}, PLAIN)
VECTORS = InputSpec({"x": (1, 4)}, None)
COLOURS = (np.arange(12 * 16 * 3) * 37 % 256).astype(np.uint8).reshape(12, 16, 3)


def save(path: Path, pixels: NDArray[np.generic], mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "x.png", COLOURS, mode)
    found = read_picture(path)
    assert found.shape == (12, 16, 3)
    assert found.dtype == np.uint8
    if mode in ("RGB", "RGBA"):
        assert (found == COLOURS).all()
    if mode in ("1", "L", "LA"):
        assert (found[..., 0] == found[..., 2]).all()


def test_a_palette_with_transparency_needs_no_warning(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("P")
    image.save(tmp_path / "x.png", transparency=bytes([0, 128, 255]))
    assert (read_picture(tmp_path / "x.png") == np.asarray(image.convert("RGB"))).all()


def test_pillow_is_quiet_until_the_last_leaves_and_the_filters_are_then_as_before() -> None:
    before = list(warnings.filters)
    with quiet_pillow:
        for _ in range(2):
            with quiet_pillow:
                warnings.warn_explicit("metadata", UserWarning, "x.py", 1, "PIL.TiffImagePlugin")
        warnings.warn_explicit("metadata", UserWarning, "x.py", 1, "PIL.TiffImagePlugin")
        with pytest.warns(UserWarning, match="another's"):
            warnings.warn_explicit("another's", UserWarning, "x.py", 1, "net")
    assert list(warnings.filters) == before


def test_sixteen_bit_grey_keeps_its_upper_bits(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    path = save(tmp_path / "x.png", grey)
    assert read_picture(path)[0, :, 0].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_of_no_known_range_are_refused(tmp_path: Path, kind: type[np.generic]) -> None:
    path = save(tmp_path / "x.tif", np.array([[0, 1, 65535]]).astype(kind))
    with pytest.raises(EdgeconvError, match=r"x\.tif holds numbers of 32 bits"):
        read_picture(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(COLOURS)
    image.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as opened:
        upright = ImageOps.exif_transpose(opened)
    found = read_picture(tmp_path / "x.png")
    assert (found == np.asarray(upright)).all()
    assert found.shape[:2] == ((12, 16) if orientation < 5 else (16, 12))


@pytest.mark.parametrize("exif", [b"no TIFF at all", b"MM\0*\0\0"])
def test_an_exif_that_cannot_be_read_turns_nothing(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "x.png", exif=b"Exif\0\0" + exif)
    with pytest.raises(Exception, match=r"TIFF|unpack"), Image.open(tmp_path / "x.png") as opened:
        opened.getexif()
    assert (read_picture(tmp_path / "x.png") == COLOURS).all()


@pytest.mark.parametrize("chunk", [b"eXIf", b"IHDR"])
def test_damage_before_the_pixels_is_named_as_such(tmp_path: Path, chunk: bytes) -> None:
    path, turned = tmp_path / "x.png", Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(COLOURS).save(path, exif=turned)
    data = bytearray(path.read_bytes())
    at = data.index(chunk)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 255  # its checksum
    path.write_bytes(data)
    with pytest.raises(EdgeconvError, match=r"x\.png .*: it begins as PNG and is damaged"):
        read_picture(path)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(EdgeconvError, match=r"notes\.png is not a readable picture"):
        read_picture(path)
    with pytest.raises(EdgeconvError, match=r"gone\.png does not exist"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(EdgeconvError, match="is not a readable picture"):
        read_picture(tmp_path)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).resize((200, 200)).save(buffer, "jpeg")
    path = tmp_path / "half.jpg"
    path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    with pytest.raises(EdgeconvError, match=r"half\.jpg is not a readable picture.*truncated"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "ppm"])
def test_damaged_pictures_never_raise_anything_else(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, kind)
    draw, path = random.Random(0), tmp_path / "x"
    for _ in range(60):
        data = bytearray(buffer.getvalue()[: draw.randint(1, buffer.tell())])
        for _ in range(draw.randint(0, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(bytes(data))
        with contextlib.suppress(EdgeconvError):
            assert read_picture(path).ndim == 3


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.3, 1.0),
)
def test_any_picture_fills_any_tensor(
    have: tuple[int, int], want: tuple[int, int], crop: float
) -> None:
    flat = np.full((*have, 3), 77, np.uint8)
    found = resize_and_crop(flat, want, crop)
    assert found.shape == (*want, 3)
    assert (found == 77).all()  # neither padding nor a border comes in


@pytest.mark.parametrize(("height", "width"), [(100, 200), (200, 100), (100, 100)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
def test_the_crop_is_its_fraction_of_the_shorter_side(height: int, width: int, crop: float) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    found = resize_and_crop(picture, (56, 56), crop).astype(float)
    span = 100 * crop
    for plane, size in ((found[:, 28, 0], height), (found[28, :, 1], width)):
        assert plane[0] == pytest.approx(size / 2 - span / 2 + span / 112, abs=2)
        assert plane[-1] == pytest.approx(size / 2 + span / 2 - span / 112, abs=2)


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.one_of(st.floats(0.3, 1.0), st.just("letterbox")),
    st.integers(1, 9),
)
def test_a_margin_shows_what_lies_around_the_same_crop(
    have: tuple[int, int], want: tuple[int, int], crop: float | Literal["letterbox"], margin: int
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*have, 3), np.uint8)
    wide = resize_and_crop(picture, want, crop, margin)
    assert wide.shape == (want[0] + 2 * margin, want[1] + 2 * margin, 3)
    inner = resize_and_crop(picture, want, crop)
    assert (wide[margin : margin + want[0], margin : margin + want[1]] == inner).all()


def test_a_margin_is_the_picture_itself_and_then_its_edge_again() -> None:
    rows = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None], (20, 20, 3))
    wide = resize_and_crop(rows, (16, 16), 0.8, 4)  # 2 of the 4 rows above lie in the picture
    assert wide[:, 0, 0].tolist() == [0, 0, *range(20), 19, 19]


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = resize_and_crop(stripes, (8, 8), 1.0)[:, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 3


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    assert (resize_and_crop(COLOURS, (12, 16), 1.0) == COLOURS).all()


def test_values_follow_the_documented_formula() -> None:
    how = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, (12, 16))
    expected = (COLOURS / 255 - np.array(how.mean)) / np.array(how.std)
    found = to_input(COLOURS, how, 3)
    assert found.shape == (1, 3, 12, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, atol=1e-6)


def test_embedded_preprocessing_keeps_raw_pixels() -> None:
    raw = to_input(COLOURS, Preprocessing((0.5,), (0.5,), 1.0, (12, 16), embedded=True), 3)
    assert (raw[0].transpose(1, 2, 0) == COLOURS).all()


def test_one_channel_is_the_luma_that_pillow_computes() -> None:
    how = Preprocessing((0.0,), (1.0,), 1.0, (12, 16), embedded=True)
    luma = np.asarray(Image.fromarray(COLOURS).convert("L"), np.float32)
    assert np.abs(to_input(COLOURS, how, 1)[0, 0] - luma).max() <= 1
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert (to_input(grey, how, 1)[0, 0] == grey[..., 0]).all()


def test_three_means_do_not_fit_one_channel() -> None:
    how = Preprocessing((0.4, 0.5, 0.6), (0.5,), 1.0, (12, 16))
    with pytest.raises(UsageError, match="one value, or 1 for this model"):
        to_input(COLOURS, how, 1)


def test_a_batch_repeats_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", COLOURS)
    value = picture_feed(path, "input", (2, 3, 8, 8), PLAIN)["input"]
    assert value.shape == (2, 3, 8, 8)
    assert (value[0] == value[1]).all()


def test_pictures_are_found_sorted_in_subfolders_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    wanted = [save(tmp_path / "a.PNG", COLOURS), save(tmp_path / "b" / "c.jpg", COLOURS)]
    (tmp_path / "notes.txt").write_text("x")
    assert find_pictures(tmp_path) == wanted


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="holds no picture"):
        load_samples(str(tmp_path), PICTURES)
    with pytest.raises(EdgeconvError, match="does not exist"):
        load_samples(str(tmp_path / "gone"), PICTURES)
    with pytest.raises(EdgeconvError, match="is not a folder of pictures"):
        load_samples(str(save(tmp_path / "x.png", COLOURS)), PICTURES)


def test_a_model_without_a_picture_input_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the model takes x \[1, 4\]: give an \.npz"):
        load_samples(str(tmp_path), VECTORS)


def test_a_folders_samples_carry_names_hashes_and_truth(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    first, second = save(tmp_path / "cat" / "1.png", COLOURS), save(tmp_path / "2.png", COLOURS)
    samples = load_samples(str(tmp_path), PICTURES, {"cat/1.png": 3})
    assert [(s.name, s.truth) for s in samples] == [("2.png", None), ("cat/1.png", 3)]
    assert samples[0].sha256 == hashlib.sha256(second.read_bytes()).hexdigest()
    how = picture_feed(first, "input", (1, 3, 8, 8), PLAIN)
    assert (samples[1].load()["input"] == how["input"]).all()


def test_truth_of_other_pictures_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "x.png", COLOURS)
    with pytest.raises(EdgeconvError, match=r"names no picture of .*, but 'y\.png'"):
        load_samples(str(tmp_path), PICTURES, {"y.png": 0})


def write(path: Path, **arrays: Any) -> str:
    if path.suffix == ".npy":
        np.save(path, arrays["x"])
    else:
        np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize("shape", [(5, 4), (5, 1, 4)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_samples_with_or_without_the_batch_axis(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    x = np.arange(20, dtype=np.float64).reshape(shape)
    samples = load_samples(write(tmp_path / f"a{suffix}", x=x), VECTORS)
    assert [s.name for s in samples] == [f"a{suffix}[{i}]" for i in range(5)]
    assert len({s.sha256 for s in samples}) == 5
    value = samples[2].load()["x"]
    assert value.dtype == np.float32
    assert (value == [[8, 9, 10, 11]]).all()


def test_an_npz_may_hold_the_truth_and_any_name_for_one_input(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", pictures=np.zeros((3, 4)), truth=np.array([2, 0, 1]))
    assert [s.truth for s in load_samples(path, VECTORS)] == [2, 0, 1]


TWO = InputSpec({"x": (1, 4), "y": (1, 2)}, None)
BAD: list[tuple[str, InputSpec, Mapping[str, NDArray[np.generic]], str]] = [
    ("npy", VECTORS, {"x": np.zeros((3, 5))}, r"sample 0 of x is \[5\], the model takes \[1, 4\]"),
    (
        "npy",
        VECTORS,
        {"x": np.array([[0, 1, 2, 3], [0, 1, np.nan, 2]])},
        "sample 1 of x holds NaN or infinity",
    ),
    (
        "npz",
        VECTORS,
        {"x": np.array([[0, 1, np.inf, 2]])},
        "a.npz: sample 0 of x holds NaN or infinity",
    ),
    ("npz", VECTORS, {"x": np.array([[0, 1, 1e300, 2]])}, "holds values that are no float32"),
    ("npy", VECTORS, {"x": np.zeros((0, 4))}, "holds no sample"),
    ("npy", VECTORS, {"x": np.float32(3)}, "holds no samples of numbers"),  # type: ignore[dict-item]  # on purpose
    ("npy", VECTORS, {"x": np.array(["a", "b"])}, "holds no samples of numbers"),
    (
        "npz",
        TWO,
        {"x": np.zeros((2, 4)), "z": np.zeros((2, 2))},
        r"no array y; it holds \['x', 'z'",
    ),
    ("npz", TWO, {"x": np.zeros((2, 4)), "y": np.zeros((3, 2))}, "different numbers of samples"),
    ("npz", VECTORS, {"x": np.zeros((2, 4)), "truth": np.zeros(1, int)}, "different numbers"),
    ("npz", VECTORS, {"x": np.zeros((2, 4)), "truth": np.zeros(2)}, "one integer class a sample"),
]


@pytest.mark.parametrize(("suffix", "spec", "arrays", "says"), BAD)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path,
    suffix: str,
    spec: InputSpec,
    arrays: Mapping[str, NDArray[np.generic]],
    says: str,
) -> None:
    path = write(tmp_path / f"a.{suffix}", **arrays)
    with pytest.raises(EdgeconvError, match=says) as caught:
        load_samples(path, spec)
    assert path in str(caught.value)


def test_damaged_arrays_never_raise_anything_else(tmp_path: Path) -> None:
    buffer, draw = io.BytesIO(), random.Random(0)
    np.savez_compressed(buffer, x=np.arange(40.0).reshape(10, 4))
    for suffix in ("npz", "npy"):
        path = tmp_path / f"a.{suffix}"
        for _ in range(150):
            data = bytearray(buffer.getvalue()[: draw.randint(1, buffer.tell())])
            data[draw.randrange(len(data))] = draw.randrange(256)
            path.write_bytes(bytes(data))
            with contextlib.suppress(EdgeconvError):
                load_samples(str(path), VECTORS)


def test_pickled_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EdgeconvError, match=r"a\.npy is not a readable \.npy file"):
        load_samples(str(tmp_path / "a.npy"), VECTORS)


def script(folder: Path, text: str, name: str = "feed") -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return f"{path}:{name}"


def test_a_function_yields_arrays_or_dictionaries(tmp_path: Path) -> None:
    text = (
        "import numpy as np\ndef feed():\n    yield np.ones(4)\n    yield {'x': np.zeros((1, 4))}\n"
    )
    samples = load_samples(script(tmp_path, text), VECTORS)
    assert [s.name for s in samples] == ["feed[0]", "feed[1]"]
    assert [s.load()["x"].sum() for s in samples] == [4, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no function feed"),
        ("feed = 3", "has no function feed"),
        ("import nothing_of_this_name", "fails to import: ModuleNotFoundError"),
        ("def feed(): return []", "gave no sample"),
        ("def feed(): raise KeyError('k')", "feed fails: KeyError"),
        ("def feed(): return 3", "feed fails: TypeError"),
        ("def feed(): yield {'z': [1]}", "gave no x in sample 0"),
        ("def feed(): yield [1, 2]", r"sample 0 of x is \[2\], the model takes \[1, 4\]"),
        ("def feed(): yield [1, 2, 3, float('nan')]", "holds NaN or infinity"),
    ],
)
def test_a_function_that_does_not_fit_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(EdgeconvError, match=says) as caught:
        load_samples(script(tmp_path, text), VECTORS)
    assert "mine.py" in str(caught.value)


def test_a_script_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.py does not exist"):
        load_samples(f"{tmp_path}/gone.py:feed", VECTORS)


def samples(count: int) -> list[Sample]:
    return [Sample(str(i), dict) for i in range(count)]


@given(st.integers(2, 500), st.integers(1, 300), st.integers(1, 300))
def test_calibration_and_verification_are_disjoint_and_even(
    total: int, calib: int, verify: int
) -> None:
    first, second = split(samples(total), calib, verify)
    left, right = {s.name for s in first}, {s.name for s in second}
    assert not left & right
    assert len(left) == len(first) == min(calib, max(1, total * 4 // 5))
    assert len(right) == len(second) == min(verify, total - len(first))
    numbers = sorted(int(name) for name in left)
    gaps = np.diff([*numbers, total + numbers[0]])
    assert gaps.max() - gaps.min() <= 1


def test_a_sample_that_verifies_and_calibrates_is_found_under_any_name() -> None:
    def held(name: str, content: str) -> Sample:
        return Sample(name, dict, hashed=lambda: content)

    first = held("a", "one"), held("b", ""), held("c", "two")
    other = held("d", "two"), held("e", ""), held("f", "three")
    (said,) = Data(first, other, "").doubts()
    assert said.startswith("1 of 3 samples that verify calibrate too, such as d:")
    assert Data((), other, "").doubts() == []


def test_a_single_sample_does_both() -> None:
    only = samples(1)
    assert split(only, 5, 5) == (only, only)


@given(st.integers(1, 60), st.integers(1, 60))
def test_spread_takes_from_everywhere_once(total: int, count: int) -> None:
    found = [int(s.name) for s in spread(samples(total), count)]
    assert found == sorted(set(found))
    assert len(found) == min(count, total)
    assert found[0] == 0
    assert total - found[-1] <= -(-total // len(found))


@pytest.mark.parametrize("given", [(20, 60), (60, 20), (33, 33), (7, 500)])
def test_a_letterbox_shows_all_of_a_picture_and_boxes_come_back(given: tuple[int, int]) -> None:
    """A mark in the corner is found in the input, bars are grey, and boxes return to its pixels."""
    picture = np.full((*given, 3), 255, np.uint8)
    how = Preprocessing((0.0,), (1.0,), LETTERBOX, (48, 64))
    seen = resize_and_crop(picture, how.size, how.crop)
    whole = (0.0, 0.0, float(given[1]), float(given[0]))
    (x1, y1, x2, y2), share = placed_box(whole, given, how)
    assert share == pytest.approx(1.0)
    inside = np.zeros(how.size, bool)
    inside[round(y1) : round(y2), round(x1) : round(x2)] = True
    assert (seen[inside] == 255).all()
    assert (seen[~inside] == BARS).all()
    back = picture_boxes(np.array([[x1, y1, x2, y2]]), given, how)
    assert np.abs(back[0] - whole).max() < 1e-9
    from PIL import Image

    mask = crop_mask(Image.fromarray(np.full(given, 3, np.uint8)), how.size, how.crop)
    assert ((mask == 3) == inside).all()
    assert (mask[~inside] == UNLABELLED).all()


def test_pictures_are_listed_in_the_order_of_sorted_paths(tmp_path: Path) -> None:
    """A folder comes where its name does, whatever follows it: "a" before "a-b", though "/" is after "-"."""
    for name in ("a/2.png", "a/1.PNG", "a-b/3.png", "a.png", "b/c/4.jpg", "b/notes.txt", ".png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    wanted = ["a/1.PNG", "a/2.png", "a-b/3.png", "a.png", "b/c/4.jpg"]
    assert picture_names(tmp_path) == wanted
    assert find_pictures(tmp_path) == sorted(tmp_path / name for name in wanted)


def test_linked_folders_are_followed_and_none_is_entered_in_itself(tmp_path: Path) -> None:
    """Data sets are linked more often than copied; a link upwards has no end."""
    place, kept = tmp_path / "photos", tmp_path / "kept"
    for name in (kept / "cat/1.png", kept / "cat/more/2.png", place / "dog/3.png"):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(b"")
    (place / "cat").symlink_to(kept / "cat", target_is_directory=True)
    (place / "dog/up").symlink_to(place, target_is_directory=True)
    (kept / "cat/more/self").symlink_to(kept / "cat", target_is_directory=True)
    (place / "gone").symlink_to(tmp_path / "gone")
    (place / "loop").symlink_to(place / "loop")
    assert picture_names(place) == ["cat/1.png", "cat/more/2.png", "dog/3.png"]
    (tmp_path / "link").symlink_to(place, target_is_directory=True)
    assert picture_names(tmp_path / "link") == picture_names(place)
