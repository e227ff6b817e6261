"""One contract for every runtime, and what each refuses."""

import functools
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeconv.artifact import spec_to_json
from edgeconv.device.wheels import Platform, requirements, runtime_for
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.isolate import child_failure
from edgeconv.runtimes import probe as probing
from edgeconv.runtimes.base import Runner, open_runner
from edgeconv.runtimes.choose import choose, for_board, ways
from edgeconv.runtimes.table import RUNTIMES, Runtime
from edgeconv.runtimes.tflite import count_delegation
from edgeconv.runtimes.tflite_runtime import check_numpy
from edgeconv.tensors import Quantization, TensorSpec

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
PEER = SHARED / "peers" / "mobilenet_v1_0.25_128_quant.tflite"

Opener = Callable[..., Runner]


def small_onnx(dims: list[Any] | None = None) -> bytes:
    """y = relu(conv(x)), 1x3x8x8 to 1x4x8x8, and its mean over the picture."""
    onnx = pytest.importorskip("onnx")
    helper, proto = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    weight = onnx.numpy_helper.from_array(
        rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "weight"
    )
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
        helper.make_node("GlobalAveragePool", ["y"], ["m"], "pool"),
    ]
    dims = dims or [1, 3, 8, 8]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", proto.FLOAT, dims)],
        [
            helper.make_tensor_value_info("y", proto.FLOAT, [dims[0], 4, *dims[2:]]),
            helper.make_tensor_value_info("m", proto.FLOAT, [dims[0], 4, 1, 1]),
        ],
        [weight],
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def open_onnx(optimize: bool, threads: int, folder: Path) -> Runner:
    pytest.importorskip("onnxruntime")
    path = folder / "small.onnx"
    path.write_bytes(small_onnx())
    return open_runner(path, threads=threads, optimize=optimize)


def open_tflite(runtime: str, xnnpack: bool, threads: int) -> Runner:
    if not RUNTIMES[runtime].installed():
        pytest.skip(f"{runtime} is not installed")
    if runtime == "tflite-runtime" and int(np.__version__.partition(".")[0]) >= 2:
        pytest.skip("tflite-runtime needs numpy below 2")
    if not PEER.exists():
        pytest.skip("../shared/peers is not beside this checkout")
    return open_runner(PEER, threads=threads, runtime=runtime, xnnpack=xnnpack)


def open_torch(threads: int) -> Runner:
    torch = pytest.importorskip("torch")
    from edgeconv.runtimes.pytorch import open_module

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
    return open_module(module, ["x"], ["y"], [(1, 3, 8, 8)], threads=threads)


def open_coreml(threads: int, folder: Path, **options: Any) -> Runner:
    pytest.importorskip("coremltools")
    runtime = "coreml-runtime" if options else "mil-reference"
    if not RUNTIMES[runtime].installed():
        pytest.skip(f"{runtime} runs on macOS only")
    from coreml_kit import prepared

    from edgeconv.export.coreml.emit import emit_coreml

    path = folder / "small.mlpackage"
    if not path.exists():
        import onnx

        emit_coreml(prepared(onnx.load_from_string(small_onnx())), path=path)
    return open_runner(path, threads=threads, runtime=runtime, **options)


@functools.cache
def small_pte() -> bytes:
    from edgeconv.export.executorch.lower import lower

    with tempfile.TemporaryDirectory() as name:
        graph, made = Path(name) / "graph.onnx", Path(name) / "made.pte"
        graph.write_bytes(small_onnx())
        lower({"graph": str(graph), "recipe": None, "io": "float", "output": str(made)})
        return made.read_bytes()


def open_executorch(threads: int, folder: Path) -> Runner:
    pytest.importorskip("executorch")
    path = folder / "small.pte"
    path.write_bytes(small_pte())
    return open_runner(path, threads=threads)


def open_ncnn(threads: int, folder: Path) -> Runner:
    pytest.importorskip("ncnn")
    import onnx
    from any_net_kit import hub_of

    from edgeconv.export.ncnn.emit import emit_ncnn

    made = emit_ncnn(hub_of(onnx.load_from_string(small_onnx())))
    (folder / "small.param").write_text(made.param, encoding="utf-8")
    (folder / "small.bin").write_bytes(made.weights)
    return open_runner(folder / "small.param", threads=threads)


def open_openvino(threads: int, folder: Path) -> Runner:
    pytest.importorskip("openvino")
    path = folder / "small.onnx"
    path.write_bytes(small_onnx())
    return open_runner(path, threads=threads, runtime="openvino")


def open_micro(threads: int, folder: Path) -> Runner:
    pytest.importorskip("tflite_micro")
    return open_runner(small_int8(folder), threads=threads, runtime="tflite-micro")


def small_int8(folder: Path) -> Path:
    """The file of tests/tflite_kit.py's net with integer borders."""
    from tflite_kit import feed, minmax_recipe, small_net

    from edgeconv.export.tflite.emit import emit_tflite

    net = small_net().graph
    made = emit_tflite(net, minmax_recipe(net, feed(net)), precision="int8", io="int8")
    path = folder / "small.tflite"
    path.write_bytes(made.data)
    return path


def test_what_is_asked_for_takes_part_only_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"")
    assert not {way.label for way in ways(path)} & {"openvino", "tflite-micro"}
    for name in ("openvino", "tflite-micro"):
        if RUNTIMES[name].installed():
            assert name in {way.label for way in ways(path, (name,))}
    with pytest.raises(UsageError, match="nothing: openvino, onnxruntime-newest, tflite-m"):
        ways(path, ("nothing",))


@pytest.mark.parametrize("name", ["openvino", "tflite-micro"])
def test_a_foreign_kernel_stays_within_a_quantum_of_the_reference_kernels(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip(name.replace("-", "_"))
    pytest.importorskip("ai_edge_litert")
    path = small_int8(tmp_path)
    generator = np.random.default_rng(0)
    with (
        open_runner(path, runtime=name) as mine,
        open_runner(path, runtime="ai-edge-litert", xnnpack=False) as wanted,
    ):
        shown = [(s.name, s.shape, s.dtype, s.layout) for s in mine.inputs]
        assert shown == [(s.name, s.shape, s.dtype, s.layout) for s in wanted.inputs]
        assert [s.name for s in mine.outputs] == [s.name for s in wanted.outputs]
        for _ in range(5):
            spec = wanted.inputs[0]
            feeds = {spec.name: generator.integers(-128, 128, spec.shape, np.int8)}
            outputs, reference = mine.infer(feeds), wanted.infer(feeds)
            for key, value in reference.items():
                apart = np.abs(outputs[key].astype(int) - value.astype(int))
                assert apart.max() <= (1 if name == "tflite-micro" else 3), key


CASES: dict[str, Callable[[int, Path], Any]] = {
    "onnxruntime": lambda threads, folder: open_onnx(True, threads, folder),
    "onnxruntime-unoptimized": lambda threads, folder: open_onnx(False, threads, folder),
    "ai-edge-litert": lambda threads, _: open_tflite("ai-edge-litert", True, threads),
    "ai-edge-litert/no-xnnpack": lambda threads, _: open_tflite("ai-edge-litert", False, threads),
    "tflite-runtime": lambda threads, _: open_tflite("tflite-runtime", True, threads),
    "coreml-runtime/CPU_ONLY": lambda t, folder: open_coreml(t, folder, compute_unit="CPU_ONLY"),
    "coreml-runtime/CPU_AND_GPU": lambda t, to: open_coreml(t, to, compute_unit="CPU_AND_GPU"),
    "coreml-runtime/CPU_AND_NE": lambda t, to: open_coreml(t, to, compute_unit="CPU_AND_NE"),
    "coreml-runtime/ALL": lambda threads, folder: open_coreml(threads, folder, compute_unit="ALL"),
    "mil-reference": lambda threads, folder: open_coreml(threads, folder),
    "executorch": lambda threads, folder: open_executorch(threads, folder),
    "ncnn": lambda threads, folder: open_ncnn(threads, folder),
    "openvino": lambda threads, folder: open_openvino(threads, folder),
    "tflite-micro": lambda threads, folder: open_micro(threads, folder),
    "pytorch": lambda threads, _: open_torch(threads),
}


def test_the_contract_holds_every_runtime_in_every_variant() -> None:
    rows = [row for row in RUNTIMES.values() if not row.apart]
    known = {row.name + variant.suffix for row in rows for variant in row.variants}
    assert known <= CASES.keys()


@pytest.mark.parametrize("row", RUNTIMES.values(), ids=list(RUNTIMES))
def test_a_row_says_what_its_module_takes(row: Runtime) -> None:
    module = row.load()
    taken = inspect.signature(module.open).parameters
    assert set(list(taken)[1:]) == {"threads", "shapes", *row.options}
    for options in (row.as_written, *(variant.options for variant in row.variants)):
        row.check_options(options)
    assert hasattr(module, "open_model") or not row.lays_open or row.suffixes == (".mlpackage",)


def test_an_option_that_a_runtime_lacks_is_refused_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "small.onnx"
    path.write_bytes(small_onnx())
    with pytest.raises(UsageError, match=r"onnxruntime has no option xnnpack: it takes threads"):
        open_runner(path, xnnpack=False)
    with pytest.raises(UsageError, match=r"optimize is a bool, not 'no'"):
        open_runner(path, optimize="no")
    with pytest.raises(UsageError, match=r"ai-edge-litert runs \.tflite, not .*small\.onnx"):
        open_runner(path, runtime="ai-edge-litert")


def test_a_board_gets_the_runtimes_that_have_wheels_for_it() -> None:
    assert for_board(".tflite", "aarch64").name == "ai-edge-litert"
    assert for_board(".tflite", "armv7l").name == "tflite-runtime"
    with pytest.raises(UsageError, match=r"32-bit ARM has no onnxruntime: bench a \.tflite there"):
        for_board(".onnx", "armv7l")


def test_what_cannot_be_timed_is_not_benched(tmp_path: Path) -> None:
    from edgeconv.bench.subjects import Choice, line_up

    path = tmp_path / "any.mlpackage"
    path.mkdir()
    with pytest.raises(UsageError, match="mil-reference only checks numbers"):
        line_up([str(path)], None, Choice(runtime="mil-reference"))


@pytest.fixture(params=CASES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    with ExitStack() as stack:

        def open_it(threads: int = 1) -> Runner:
            runner: Runner = stack.enter_context(CASES[request.param](threads, tmp_path))
            return runner

        yield open_it


def random_feeds(runner: Runner) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    feeds: dict[str, Any] = {}
    for spec in runner.inputs:
        if spec.dtype == "float32":
            feeds[spec.name] = rng.standard_normal(spec.shape).astype(np.float32)
        else:
            info = np.iinfo(spec.dtype)
            feeds[spec.name] = rng.integers(info.min, info.max + 1, spec.shape).astype(spec.dtype)
    return feeds


def test_a_runner_returns_what_its_outputs_declare(opener: Opener) -> None:
    runner = opener()
    outputs = runner.infer(random_feeds(runner))
    assert list(outputs) == [spec.name for spec in runner.outputs]
    for spec in runner.outputs:
        assert outputs[spec.name].shape == spec.shape
        assert outputs[spec.name].dtype.name == spec.dtype


def test_a_runner_names_itself_its_version_and_layouts(opener: Opener) -> None:
    runner = opener()
    assert runner.version[0].isdigit()
    wanted = "nhwc" if "lite" in runner.name else "nchw"
    for spec in (*runner.inputs, *runner.outputs):
        assert spec.layout == (wanted if len(spec.shape) == 4 else "other")


def test_outputs_outlive_the_next_run_and_do_not_depend_on_it(opener: Opener) -> None:
    runner = opener()
    feeds = random_feeds(runner)
    first = runner.infer(feeds)
    kept = {name: array.copy() for name, array in first.items()}
    runner.infer({name: np.zeros_like(array) for name, array in feeds.items()})
    again = runner.infer(feeds)
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)
        np.testing.assert_array_equal(again[name], array)


def test_wrong_feeds_are_refused_with_the_input_named(opener: Opener) -> None:
    runner = opener()
    feeds = random_feeds(runner)
    name = runner.inputs[0].name
    with pytest.raises(EdgeconvError, match=name):
        runner.infer({})
    with pytest.raises(EdgeconvError, match=name):
        runner.infer({**feeds, name: feeds[name][..., :-1]})
    with pytest.raises(EdgeconvError, match="float64"):
        runner.infer({**feeds, name: feeds[name].astype(np.float64)})
    with pytest.raises(EdgeconvError, match="no input stray"):
        runner.infer({**feeds, "stray": feeds[name]})
    with pytest.raises(EdgeconvError, match=name):
        runner.call({})


def test_a_prepared_call_runs_again_and_again(opener: Opener) -> None:
    runner = opener()
    row = RUNTIMES.get(runner.name.partition("/")[0])
    if row is not None and not row.timed:
        with pytest.raises(EdgeconvError, match="only checks numbers"):
            runner.call(random_feeds(runner))
        return
    call = runner.call(random_feeds(runner))
    for _ in range(3):
        call()


def test_threads_are_kept_and_nonsense_is_refused(opener: Opener) -> None:
    assert opener(2).threads == 2
    for threads in (0, -1, 10_000):
        with pytest.raises(UsageError, match="threads"):
            opener(threads)


def test_pytorch_settings_come_back_when_the_runner_closes() -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.runtimes.pytorch import open_module

    before = torch.get_num_threads()
    module = torch.nn.Dropout(0.5).train()
    with open_module(module, ["x"], ["y"], [(4,)], threads=2 if before == 1 else 1) as runner:
        ones = np.ones(4, np.float32)
        np.testing.assert_array_equal(runner.infer({"x": ones})["y"], ones)
    assert torch.get_num_threads() == before
    assert module.training


def test_a_module_with_another_number_of_outputs_is_refused() -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.runtimes.pytorch import open_module

    with pytest.raises(EdgeconvError, match="returns 1 outputs, not the 2"):
        open_module(torch.nn.ReLU(), ["x"], ["y", "z"], [(4,)])


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize("content", [b"", b"garbage", bytes(64), b"\x20\0\0\0TFL3" + bytes(40)])
def test_garbage_is_refused_in_one_sentence_that_names_the_file(
    suffix: str, content: bytes, tmp_path: Path
) -> None:
    if not any(r.installed() for r in RUNTIMES.values() if suffix in r.suffixes):
        pytest.skip(f"no runtime for {suffix}")
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(EdgeconvError, match="bad") as caught:
        open_runner(path, isolate=True)
    assert "\n" not in str(caught.value)


# the model ends at 480,884; behind it lies a zip with labels, which nobody needs to run it
@pytest.mark.parametrize("kept", [9, 1000, 240_000, 480_883])
def test_a_truncated_tflite_file_never_takes_the_caller_down(kept: int, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    if not PEER.exists():
        pytest.skip("../shared/peers is not beside this checkout")
    data = PEER.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[:kept])
    with pytest.raises(EdgeconvError, match=r"cut\.tflite") as caught:
        open_runner(path, isolate=True)
    assert "\n" not in str(caught.value)


def test_a_truncated_onnx_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = small_onnx()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EdgeconvError, match=r"cut\.onnx"):
        open_runner(path)


def test_a_dynamic_input_asks_for_a_shape_and_takes_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "dynamic.onnx"
    path.write_bytes(small_onnx(["n", 3, "h", "w"]))
    with pytest.raises(EdgeconvError, match=r"--shape x=1,3,1,1"):
        open_runner(path)
    with open_runner(path, shapes={"x": (2, 3, 8, 6)}) as runner:
        assert runner.inputs[0].shape == (2, 3, 8, 6)
        assert runner.outputs[0].shape == (2, 4, 8, 6)
        runner.call(random_feeds(runner))()
    with pytest.raises(UsageError, match=r"cannot be \[1, 4, 8, 8\]"):
        open_runner(path, shapes={"x": (1, 4, 8, 8)})
    with pytest.raises(UsageError, match="no input z"):
        open_runner(path, shapes={"z": (1, 4, 8, 8)})


def test_an_integer_onnx_input_gets_its_scale_from_our_own_description() -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from edgeconv.runtimes.onnxrt import open_model

    model = onnx.load_from_string(small_onnx())
    spec = TensorSpec("x", (1, 3, 8, 8), "int8", "nchw", Quantization(0.5, -3))
    entry = model.metadata_props.add()
    entry.key = "edgeconv"
    entry.value = json.dumps({"inputs": [spec_to_json(spec)]})
    with open_model(model.SerializeToString()) as runner:
        assert runner.inputs[0].quantization == spec.quantization


def test_a_runtime_that_crashes_is_named_with_its_signal(tmp_path: Path) -> None:
    said = child_failure("onnxruntime on bad.onnx", -11, "")
    assert said == "onnxruntime on bad.onnx crashed with SIGSEGV"
    assert "memory" in child_failure("x", -9, "")
    assert child_failure("x", 1, "noise\nError: it is cut short\n") == "it is cut short"


def test_a_probe_that_hangs_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")
    with pytest.raises(EdgeconvError, match=r"within 0\.001 s"):
        probing.probe(path, "onnxruntime", timeout_s=0.001)


def test_a_child_that_has_imported_its_runtime_serves_one_probe(tmp_path: Path) -> None:
    good, bad = tmp_path / "m.onnx", tmp_path / "bad.onnx"
    good.write_bytes(small_onnx())
    bad.write_bytes(b"x")
    with probing.EarlyProbe("onnxruntime") as child:
        child.begin(good, 1)
        child.result(probing.TIMEOUT_S)
    with probing.EarlyProbe("onnxruntime") as child:
        child.begin(bad, 1)
        with pytest.raises(EdgeconvError, match=r"bad\.onnx"):
            child.result(probing.TIMEOUT_S)


def test_delegation_counts_what_a_delegate_computes() -> None:
    def op(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
        return {"op_name": name, "inputs": np.array(inputs), "outputs": np.array(outputs)}

    operators = [
        op("CONV_2D", [0, 10, 11], [1]),
        op("RELU", [1], [2]),
        op("GATHER", [2, 12], [3]),
        op("ADD", [3, 2], [4]),
        op("DELEGATE", [0, 10, 11], [2]),
        op("DELEGATE", [3, 2], [4]),
    ]
    counted = count_delegation(operators)
    assert (counted.ops, counted.delegated, counted.partitions) == (4, 3, 2)
    assert counted.fallback == {"GATHER": 1}


def test_tflite_runtime_refuses_numpy_2_with_the_cure() -> None:
    check_numpy("1.26.4")
    with pytest.raises(EdgeconvError, match=r"edgeconv\[tflite-runtime\]"):
        check_numpy("2.4.6")


def test_the_runtime_table_explains_a_missing_runtime(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runtime here runs a folder"):
        choose(tmp_path)
    with pytest.raises(UsageError, match=r"no runtime here runs \.txt"):
        open_runner(tmp_path / "x.txt")
    with pytest.raises(EdgeconvError, match="does not exist"):
        open_runner(tmp_path / "x.onnx")


def test_what_boards_run_is_said_wherever_another_file_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.device import places
    from edgeconv.device.parity import run_on_boards
    from edgeconv.device.remote import check_models

    monkeypatch.setattr(places, "check_host", lambda: None)
    cells: Any = [SimpleNamespace(path=tmp_path / "m.mlpackage", stage="int8")]
    nothing: Any = None
    board = places.EmulatedBoard("pi5")
    asked: list[Callable[[], object]] = [
        lambda: check_models([tmp_path / "m.mlpackage"]),
        lambda: run_on_boards(cells, [], nothing, nothing, tmp_path, print),
        lambda: board.run(cells, nothing, nothing, tmp_path),
    ]
    for ask in asked:
        with pytest.raises(UsageError, match=r"a board runs \.onnx, \.tflite, \.pte and \.param"):
            ask()


def test_a_newer_onnxruntime_runs_where_its_python_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = RUNTIMES["onnxruntime-newest"]
    monkeypatch.delenv(row.other_python, raising=False)
    with pytest.raises(EdgeconvError, match=f"name a Python that has .* in {row.other_python}"):
        ways(tmp_path / "m.onnx", [row.name])
    assert row.name not in [way.label for way in ways(tmp_path / "m.onnx")]
    monkeypatch.setenv(row.other_python, sys.executable)
    found = {way.label: way.python for way in ways(tmp_path / "m.onnx", [row.name])}
    assert found[row.name] == sys.executable
    assert found["onnxruntime"] == ""


def test_a_wheel_for_later_processors_is_told() -> None:
    said = child_failure("executorch on m.pte", -4, "")
    assert said == (
        "executorch on m.pte crashed with SIGILL: its wheel uses instructions that this processor has not"
    )


def test_what_a_board_gets_for_a_pte_is_a_list_of_its_own() -> None:
    board = Platform("aarch64", "3.11")
    assert runtime_for([".pte"], board) == ["executorch"]
    wanted = requirements(["executorch"], board)
    assert wanted[-4:] == list(RUNTIMES["executorch"].board_packages)
    assert "torch" not in wanted
    with pytest.raises(UsageError, match="32-bit ARM has no executorch"):
        runtime_for([".pte"], Platform("armv7l", "3.11"))


def test_an_executorch_without_its_runtime_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("executorch")
    from edgeconv.runtimes import executorch

    monkeypatch.setattr(executorch, "BINDINGS", ("_of_another_version",))
    path = tmp_path / "m.pte"
    path.write_bytes(b"\0\0\0\0ET12" + bytes(64))
    with pytest.raises(EdgeconvError, match="has no Python runtime that is known here"):
        open_runner(path)


def test_a_damaged_model_says_nothing_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    from edgeconv.runtimes.onnxrt import open_model

    data = bytearray(small_onnx())
    place = data.index(b"Conv")
    data[place : place + 4] = b"\xff\xfe\xfd\xfc"
    with pytest.raises(EdgeconvError):
        open_model(bytes(data))
    assert capsys.readouterr().out == ""


def test_a_runtime_that_is_asked_for_and_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(RUNTIMES["onnxruntime"]), "installed", lambda _: False)
    with pytest.raises(EdgeconvError, match=r"^openvino is not installed: pip install"):
        choose(tmp_path / "net.tflite", "openvino")
    with pytest.raises(EdgeconvError, match=r"^nothing installed runs net\.tflite: pip install"):
        choose(tmp_path / "net.tflite")
