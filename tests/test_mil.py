"""The reference evaluator: what it refuses, and that it computes what MIL's documents say."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coreml_kit import convolution_net, expected, feeds_for, prepared, sqnr_db
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.errors import EdgeconvError
from edgeconv.formats.protobuf import Message
from edgeconv.mil import (
    CorruptFileError,
    Noise,
    accumulation_band,
    open_program,
    package_sha256,
)
from edgeconv.mil.half import round_to_half
from edgeconv.mil.kernels import convolve, convolve_transposed, interpolation
from edgeconv.runtimes.base import open_runner

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One small net as an fp32 and an fp16 package, with its reference outputs."""
    pytest.importorskip("coremltools")
    from edgeconv.export.coreml.emit import emit_coreml

    model = convolution_net()
    graph = prepared(model)
    folder = tmp_path_factory.mktemp("mil")
    feeds = feeds_for(graph)
    return {
        "fp32": emit_coreml(graph, path=folder / "fp32.mlpackage").path,
        "fp16": emit_coreml(graph, path=folder / "fp16.mlpackage", precision="fp16").path,
        "feeds": feeds,
        "wanted": expected(model, feeds)[0],
    }


def test_float32_agrees_with_onnxruntime_beyond_90_db(made: dict[str, Any]) -> None:
    result = open_program(made["fp32"]).run(made["feeds"])["logits"]
    assert sqnr_db(made["wanted"], result) > 90


def test_exact_mode_takes_the_rounding_of_activations_out(made: dict[str, Any]) -> None:
    program = open_program(made["fp16"])
    declared = sqnr_db(made["wanted"], program.run(made["feeds"])["logits"])
    exact = sqnr_db(made["wanted"], program.run(made["feeds"], rounding="exact")["logits"])
    assert 40 < declared < exact


def test_every_declared_half_precision_result_is_a_half_precision_number(
    made: dict[str, Any],
) -> None:
    program = open_program(made["fp16"])
    types = program.tensors()
    seen: list[str] = []

    def watch(name: str, value: Any) -> None:
        if types[name].startswith("float16"):
            seen.append(name)
            assert np.array_equal(value.astype(np.float16).astype(np.float32), value), name

    program.run(made["feeds"], watch=watch)
    assert len(seen) > 5


def test_noise_widens_with_its_steps_and_repeats_with_its_seed(made: dict[str, Any]) -> None:
    program = open_program(made["fp16"])
    plain = program.run(made["feeds"])["logits"]

    def moved(steps: float) -> Any:
        return program.run(made["feeds"], noise=Noise(steps))["logits"]

    assert sqnr_db(plain, moved(8)) < sqnr_db(plain, moved(1))
    assert np.array_equal(moved(8), moved(8))


def test_the_accumulation_band_narrows_with_smaller_errors(made: dict[str, Any]) -> None:
    band = accumulation_band(open_program(made["fp16"]), [made["feeds"]])
    assert band[1.0] > band[2.0] > band[8.0] > 20
    assert set(accumulation_band(open_program(made["fp32"]), [made["feeds"]]).values()) == {
        float("inf")
    }


def test_a_watcher_can_replace_a_value(made: dict[str, Any]) -> None:
    program = open_program(made["fp32"])

    def silence(name: str, value: Any) -> Any:
        return np.zeros_like(value) if name == "features" else None

    changed = program.run(made["feeds"], watch=silence)["logits"]
    assert not np.allclose(changed, made["wanted"])


def test_the_runner_is_called_mil_reference_and_is_never_timed(made: dict[str, Any]) -> None:
    with open_runner(made["fp32"], runtime="mil-reference") as runner:
        assert runner.name == "mil-reference"
        assert np.allclose(runner.infer(made["feeds"])["logits"], made["wanted"], atol=1e-4)
        with pytest.raises(EdgeconvError, match="latency needs a Mac"):
            runner.call(made["feeds"])
        with pytest.raises(EdgeconvError, match="got no input x"):
            runner.infer({})


def test_opening_a_package_imports_neither_coremltools_nor_protobuf(made: dict[str, Any]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from edgeconv.mil import open_program;"
        "open_program(Path(sys.argv[1]));"
        "bad = {'coremltools', 'google.protobuf', 'torch', 'onnx'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(made["fp32"])], check=True)


def test_a_package_hash_sees_every_file(made: dict[str, Any], tmp_path: Path) -> None:
    copy = tmp_path / "copy.mlpackage"
    shutil.copytree(made["fp32"], copy)
    assert package_sha256(copy) == package_sha256(made["fp32"])
    (copy / "extra").write_bytes(b"")
    assert package_sha256(copy) != package_sha256(made["fp32"])


# Corruption: each fault is made in a copy by way of coremltools' own protobuf classes.


def edited(package: Path, folder: Path, change: Callable[[Any, Any], None]) -> Path:
    from coremltools.proto import Model_pb2

    copy = folder / "bad.mlpackage"
    shutil.copytree(package, copy)
    spec = Model_pb2.Model()
    spec.ParseFromString((copy / MODEL).read_bytes())
    function = spec.mlProgram.functions["main"]
    change(function, function.block_specializations[function.opset])
    (copy / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    return copy


def first(block: Any, kind: str) -> Any:
    return next(op for op in block.operations if op.type == kind)


def blob_constant(block: Any) -> Any:
    return next(
        op
        for op in block.operations
        if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue"
    )


def wrong_shape(function: Any, block: Any) -> None:
    first(block, "conv").outputs[0].type.tensorType.dimensions[1].constant.size = 77


def wrong_type(function: Any, block: Any) -> None:
    first(block, "conv").outputs[0].type.tensorType.dataType = 10


def dangling(function: Any, block: Any) -> None:
    first(block, "conv").inputs["x"].arguments[0].name = "nowhere"


def twice(function: Any, block: Any) -> None:
    first(block, "relu6").outputs[0].name = first(block, "conv").outputs[0].name


def unknown(function: Any, block: Any) -> None:
    first(block, "relu6").type = "relu7"


def no_output(function: Any, block: Any) -> None:
    block.outputs[0] = "nothing"


def offset(function: Any, block: Any) -> None:
    blob_constant(block).attributes["val"].blobFileValue.offset += 32


def far_offset(function: Any, block: Any) -> None:
    blob_constant(block).attributes["val"].blobFileValue.offset = 2**63


def outside(function: Any, block: Any) -> None:
    blob_constant(block).attributes["val"].blobFileValue.fileName = "@model_path/../../../secret"


def absolute(function: Any, block: Any) -> None:
    blob_constant(block).attributes["val"].blobFileValue.fileName = "/etc/passwd"


def hostile_size(function: Any, block: Any) -> None:
    for dimension in first(block, "conv").outputs[0].type.tensorType.dimensions:
        dimension.constant.size = 2**40


def hostile_padding(function: Any, block: Any) -> None:
    for op in block.operations:
        if op.type == "const" and "pad_0" in op.outputs[0].name:
            values = op.attributes["val"].immediateValue.tensor.ints.values
            values[:] = [2**30] * len(values)


def misfit_constant(function: Any, block: Any) -> None:
    kind = blob_constant(block).attributes["val"].type.tensorType
    kind.dimensions[0].constant.size += 1


def flexible(function: Any, block: Any) -> None:
    function.inputs[0].type.tensorType.dimensions[2].unknown.variadic = False


FAULTS: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "wrong shape": (wrong_shape, "declares .*77"),
    "wrong type": (wrong_type, "declares float16"),
    "dangling reference": (dangling, "reads nowhere"),
    "a name made twice": (twice, "already exists"),
    "unknown operator": (unknown, "relu7"),
    "output from nowhere": (no_output, "nothing"),
    "bad offset": (offset, "points to byte"),
    "offset past the end": (far_offset, "points to byte|declares"),
    "path out of the package": (outside, "outside itself|not there"),
    "absolute path": (absolute, "@model_path"),
    "hostile size": (hostile_size, "dimension"),
    "hostile padding": (hostile_padding, "elements at once|shape"),
    "blob of another size": (misfit_constant, "declare"),
    "flexible shape": (flexible, "flexible"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_corrupt_program_is_refused_in_one_sentence(
    fault: str, made: dict[str, Any], tmp_path: Path
) -> None:
    change, message = FAULTS[fault]
    bad = edited(made["fp32"], tmp_path, change)
    with pytest.raises(CorruptFileError, match=message) as caught:
        open_program(bad).run(made["feeds"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 40, 64, 200, 700])
def test_a_truncated_weight_file_is_refused(
    kept: int, made: dict[str, Any], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mlpackage"
    shutil.copytree(made["fp32"], bad)
    (bad / WEIGHTS).write_bytes((bad / WEIGHTS).read_bytes()[:kept])
    with pytest.raises(CorruptFileError):
        open_program(bad)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_model_is_refused(share: float, made: dict[str, Any], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mlpackage"
    shutil.copytree(made["fp32"], bad)
    whole = (bad / MODEL).read_bytes()
    (bad / MODEL).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptFileError):
        open_program(bad)


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{", '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": 3}}}'],
)
def test_a_manifest_that_is_none_is_refused(
    manifest: str, made: dict[str, Any], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mlpackage"
    shutil.copytree(made["fp32"], bad)
    (bad / "Manifest.json").write_text(manifest)
    with pytest.raises(CorruptFileError, match="Manifest"):
        open_program(bad)


@pytest.mark.parametrize("target", ["../../outside.mlmodel", "/etc/hostname", "a\0b"])
def test_a_manifest_cannot_point_outside_its_package(
    target: str, made: dict[str, Any], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mlpackage"
    shutil.copytree(made["fp32"], bad)
    (tmp_path / "outside.mlmodel").write_bytes((bad / MODEL).read_bytes())
    data = json.loads((bad / "Manifest.json").read_text())
    data["itemInfoEntries"][data["rootModelIdentifier"]]["path"] = target
    (bad / "Manifest.json").write_text(json.dumps(data))
    with pytest.raises(CorruptFileError, match=r"outside|no file name|not there"):
        open_program(bad)


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="Manifest"):
        open_program(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = Message(memoryview(data))
        for number in message.fields:
            message.numbers(number)
            message.children(number)
    except CorruptFileError:
        pass


@settings(max_examples=40)
@given(data=st.data())
def test_flipped_bytes_never_escape_as_another_error(
    data: st.DataObject, made_bytes: tuple[Path, bytes, dict[str, Any]]
) -> None:
    path, original, feeds = made_bytes
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    (path / MODEL).write_bytes(bytes(changed))
    with suppress(EdgeconvError):  # anything else is a bug
        open_program(path).run(feeds)


@pytest.fixture(scope="module")
def made_bytes(
    made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes, dict[str, Any]]:
    copy = tmp_path_factory.mktemp("flip") / "flip.mlpackage"
    shutil.copytree(made["fp32"], copy)
    return copy, (copy / MODEL).read_bytes(), made["feeds"]


# Kernels against the definition of the operator, element by element.


def slow_convolution(x: Any, w: Any, pads: Any, strides: Any, dilations: Any, groups: int) -> Any:
    padded = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[1]), (pads[2], pads[3])])
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    outs = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, strides, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *outs))
    per = w.shape[0] // groups
    for o in range(w.shape[0]):
        channels = slice((o // per) * w.shape[1], (o // per + 1) * w.shape[1])
        for i in range(outs[0]):
            for j in range(outs[1]):
                window = padded[
                    :,
                    channels,
                    i * strides[0] : i * strides[0] + reach[0] : dilations[0],
                    j * strides[1] : j * strides[1] + reach[1] : dilations[1],
                ]
                y[:, o, i, j] = (window * w[o]).sum(axis=(1, 2, 3))
    return y


@settings(max_examples=60)
@given(data=st.data())
def test_convolution_is_its_definition(data: st.DataObject) -> None:
    groups, per_in, per_out = (data.draw(st.integers(1, 3)) for _ in range(3))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(2)]
    strides, dilations = ([data.draw(st.integers(1, 2)) for _ in range(2)] for _ in range(2))
    pads = [data.draw(st.integers(0, 2)) for _ in range(4)]
    x = data.draw(hnp.arrays(np.float64, (2, groups * per_in, 6, 7), elements=st.integers(-9, 9)))
    shape = (groups * per_out, per_in, *kernel)
    w = data.draw(hnp.arrays(np.float64, shape, elements=st.integers(-9, 9)))
    made = convolve(x, w, pads, strides, dilations, groups, "conv")
    assert np.array_equal(made, slow_convolution(x, w, pads, strides, dilations, groups))


def test_a_transposed_convolution_is_the_adjoint_of_the_convolution() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 9, 8)), rng.standard_normal((6, 2, 3, 2))
    y = convolve(x, w, [0] * 4, [2, 1], [1, 2], 2, "conv")
    g = rng.standard_normal(y.shape)
    back = convolve_transposed(g, w, [2, 1], [1, 2], 2, "conv_transpose")
    padded = np.zeros_like(x)
    padded[:, :, : back.shape[2], : back.shape[3]] = back
    assert np.isclose((y * g).sum(), (x * padded).sum())


@pytest.mark.parametrize(
    ("mode", "made", "points"),
    [
        # the grid points in the documentation of MIL's resize_bilinear, input [0, 1]
        ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("STRICT_ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]),
        ("DEFAULT", 6, [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
    ],
)
def test_linear_resampling_has_the_documented_grid(
    mode: str, made: int, points: list[float]
) -> None:
    assert np.allclose(interpolation(2, made, mode) @ np.array([0.0, 1.0]), points)


@given(hnp.arrays(np.uint32, 64, elements=st.integers(0, 2**32 - 1)))
def test_rounding_to_half_is_numpys_for_any_float(bits: Any) -> None:
    x = bits.view(np.float32)
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float16).astype(np.float32)
    assert np.array_equal(round_to_half(x), wanted, equal_nan=True)


def test_rounding_to_half_breaks_ties_to_even_at_every_half_number() -> None:
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)
    steps = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (halves + steps) / 2  # exact in float32
    for x in (middle, -middle, np.nextafter(middle, np.float32(np.inf)), halves):
        assert np.array_equal(round_to_half(x), x.astype(np.float16).astype(np.float32))
