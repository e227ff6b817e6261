"""What a microcontroller makes of a file: arena, resolver, boards, source, NPU."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click
import make_arena_results
import numpy as np
import pytest
from click.testing import CliRunner, Result
from make_arena_results import recorded
from tflite_kit import feed, minmax_recipe, small_net

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.export.tflite.builder import schema
from edgeconv.export.tflite.device_rules import MICRO, device_rules
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import TfliteOp, TfliteSummary, TfliteTensor, read_tflite
from edgeconv.mcu import npu
from edgeconv.mcu.arena import Buffer, activations, place, plan_arena
from edgeconv.mcu.boards import BOARDS, fit
from edgeconv.mcu.c_array import array
from edgeconv.mcu.npu import left_off, read_mapping
from edgeconv.mcu.resolver import method, resolver
from edgeconv.mcu.sheet import Sheet


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *words])


def tensor(name: str, *shape: int, data: bool = False, dtype: str = "int8") -> TfliteTensor:
    values = np.zeros(shape, np.int8) if data else None
    return TfliteTensor(
        name, shape, dtype, np.ones(1, np.float32), np.zeros(1, np.int64), 0, values
    )


def graph(*ops: TfliteOp) -> TfliteSummary:
    tensors = (
        tensor("x", 1, 8, 8, 2),
        tensor("a", 1, 8, 8, 4),
        tensor("b", 1, 4, 4, 4),
        tensor("y", 1, 4, 4, 4),
        tensor("w", 4, 1, 1, 2, data=True),
    )
    return TfliteSummary(tensors, ops, (0,), (3,), {}, {}, 1)


CHAIN = (
    TfliteOp("CONV_2D", 1, (0, 4), (1,)),
    TfliteOp("MAX_POOL_2D", 1, (1,), (2,)),
    TfliteOp("ADD", 1, (2, 2), (3,)),
)


def test_activations_live_from_their_maker_to_their_last_reader() -> None:
    lives = {b.tensor: (b.bytes, b.first, b.last) for b in activations(graph(*CHAIN))}
    assert lives == {0: (128, 0, 0), 1: (256, 0, 1), 2: (64, 1, 2), 3: (64, 2, 2)}


def test_a_reshape_copies_what_it_reads() -> None:
    """tflite-micro plans memory for both, though its kernel would do nothing in place."""
    ops = (TfliteOp("RESHAPE", 1, (0,), (1,)), *CHAIN[1:])
    lives = {b.tensor: (b.first, b.last) for b in activations(graph(*ops))}
    assert lives == {0: (0, 0), 1: (0, 1), 2: (1, 2), 3: (2, 2)}


def test_of_equal_buffers_the_last_is_placed_first() -> None:
    """As tflite-micro's greedy planner, which lists them from the last to the first before it sorts."""
    placed = place([Buffer(0, 32, 0, 1), Buffer(1, 32, 1, 2), Buffer(2, 16, 2, 2)])
    assert [(b.tensor, b.offset) for b in placed] == [(1, 0), (0, 32), (2, 32)]


def test_the_head_is_planned_largest_first_in_the_lowest_gap() -> None:
    arena = plan_arena(graph(*CHAIN))
    assert arena.head == 256 + 128
    assert (arena.peak, arena.peak_bytes, arena.alive) == (0, 384, (0, 1))
    offsets = {b.tensor: b.offset for b in arena.buffers}
    assert offsets == {1: 0, 0: 256, 2: 256, 3: 0}


def test_no_two_buffers_that_live_together_overlap() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        buffers = []
        for number in range(int(generator.integers(1, 20))):
            first, length = (int(v) for v in generator.integers(0, 10, 2))
            size = 16 * int(generator.integers(1, 30))
            buffers.append(Buffer(number, size, first, first + length))
        placed = place(buffers)
        for one in placed:
            for other in placed:
                together = one.first <= other.last and other.first <= one.last
                apart = (
                    one.offset + one.bytes <= other.offset
                    or other.offset + other.bytes <= one.offset
                )
                assert one is other or not together or apart


def test_the_resolver_names_each_operator_once_or_says_what_is_missing() -> None:
    assert resolver(graph(*CHAIN, CHAIN[2])).splitlines() == [
        "tflite::MicroMutableOpResolver<3> resolver;",
        "resolver.AddAdd();",
        "resolver.AddConv2D();",
        "resolver.AddMaxPool2D();",
    ]
    with pytest.raises(EdgeconvError, match="has no GELU"):
        resolver(graph(TfliteOp("GELU", 1, (0,), (1,))))


def test_what_micro_runs_is_not_said_to_be_missing() -> None:
    """The operators that tflite-micro registers, by the pinned wheel's own symbols; and how its header spells them."""
    assert method("BATCH_MATMUL") == "AddBatchMatMul"
    assert method("UNIDIRECTIONAL_SEQUENCE_LSTM") == "AddUnidirectionalSequenceLSTM"
    package = find_spec("tflite_micro")
    if package is None or package.origin is None:
        pytest.skip("tflite-micro is not installed")
    names = {name for name in vars(schema().BuiltinOperator) if name.isupper()}
    wheel = next(Path(package.origin).parent.rglob("_runtime.so")).read_bytes()
    assert set(re.findall(r"Register_([A-Z_0-9]+)Ev", wheel.decode("latin-1"))) & names == MICRO


def test_places_of_another_type_than_micros_are_told() -> None:
    """tflite-micro: Positions of type 'INT64' are not supported by gather."""
    whole = graph(TfliteOp("GATHER", 1, (0, 1), (3,)))
    places = [replace(t, dtype="int64" if i == 1 else "int8") for i, t in enumerate(whole.tensors)]
    outside = device_rules(replace(whole, tensors=tuple(places)))["tflite_micro"]["outside"]
    assert outside == {"TensorFlow Lite Micro's GATHER takes places of int32, not of int64": 1}
    places[1] = replace(places[1], dtype="int32")
    assert device_rules(replace(whole, tensors=tuple(places)))["tflite_micro"]["fits"]


def test_float_borders_are_told_by_what_stands_behind_them() -> None:
    """A border that is quantized is --io's; one that is computed in float, or of a float file, is not."""
    whole = graph(TfliteOp("QUANTIZE", 1, (0,), (1,)), TfliteOp("DEQUANTIZE", 1, (1,), (3,)))

    def said(*floats: int, ops: tuple[TfliteOp, ...] = whole.ops) -> dict[str, str]:
        tensors = (
            replace(t, dtype="float32" if i in floats else "int8")
            for i, t in enumerate(whole.tensors)
        )
        summary = replace(whole, tensors=tuple(tensors), ops=ops)
        sheet = Sheet(Path("x"), 1, summary, plan_arena(summary), None, None, (), ())
        return dict(sheet.lines())

    assert said(0, 3)["borders"] == "float x, y: --io int8 saves the conversions on the device"
    computed = (
        whole.ops[0],
        TfliteOp("DEQUANTIZE", 1, (1,), (2,)),
        TfliteOp("RELU", 1, (2,), (3,)),
    )
    assert said(2, 3, ops=computed)["borders"] == "float y: computed in float, whatever --io says"
    whole_float = said(*range(5))["borders"]
    assert whole_float.startswith("float x, y, and all between: --int8 --io int8")
    sizes = tensor(
        "sizes", 4, data=True, dtype="int32"
    )  # a float file's paddings are whole numbers
    padded = replace(whole, tensors=(*(replace(t, dtype="float32") for t in whole.tensors), sizes))
    sheet = Sheet(Path("x"), 1, padded, plan_arena(padded), None, None, (), ())
    assert dict(sheet.lines())["borders"] == whole_float
    assert "borders" not in said()


def test_what_lowers_the_peak_is_told_by_what_is_alive_there() -> None:
    def told(*ops: TfliteOp, shapes: Mapping[int, tuple[int, ...]] = {}, floats: int = -1) -> str:
        whole = graph(*ops)
        tensors = tuple(
            replace(t, shape=shapes.get(i, t.shape), dtype="float32" if i == floats else t.dtype)
            for i, t in enumerate(whole.tensors)
        )
        summary = replace(whole, tensors=tensors)
        sheet = Sheet(Path("x"), 1, summary, plan_arena(summary), None, None, (), ())
        return dict(sheet.lines())["lower it"]

    assert "half the resolution quarters" in told(*CHAIN)
    assert "a shorter input" in told(*CHAIN, shapes={0: (1, 64, 2)})
    assert "fewer features" in told(*CHAIN, shapes={0: (1, 64)})
    read = TfliteOp("QUANTIZE", 1, (0,), (1,))
    assert told(read, *CHAIN[1:], floats=0) == "--io int8: x lies there in float and in integers"
    soft = TfliteOp("SOFTMAX", 1, (0,), (1,))
    square = {1: (1, 4, 64, 64)}
    assert "attention's 64x64 a sixteenth" in told(soft, *CHAIN[1:], shapes=square)
    assert "attention's 64x64 a quarter" in told(soft, *CHAIN[1:], shapes={**square, 0: (1, 64, 2)})


def test_a_board_is_big_enough_up_to_its_last_byte() -> None:
    board = BOARDS["nrf52840"]
    assert fit(board, board.flash, board.ram)[0]
    assert not fit(board, board.flash + 1, 1)[0]
    assert not fit(board, 1, board.ram + 1)[0]


def test_velas_answer_is_read_and_another_form_is_refused() -> None:
    text = "CPU operators = 2 (5.0%)\n   CPU: Quantize = x\n   CPU: Sub = y\nNPU operators = 38 (95.0%)"
    row = {
        "sram_memory_used": "99.5", "off_chip_flash_memory_used": "10", "on_chip_flash_memory_used": "0",
        "cycles_total": "1200.0", "inference_time": "0.0025", "system_config": "S", "memory_mode": "M",
    }  # fmt: skip
    found = read_mapping(text, row, "ethos-u55-128")
    assert (found.on_npu, found.on_cpu, found.cycles) == (38, {"Quantize": 1, "Sub": 1}, 1200)
    assert found.estimate_ms == 2.5
    with pytest.raises(EdgeconvError, match="not of the form"):
        read_mapping(text, {}, "ethos-u55-128")


def test_what_vela_leaves_off_is_called_as_the_file_does_with_its_reason() -> None:
    text = (
        "Warning (supported operators) operator: SUB, ofm: 'x (1)/sub'\n"
        "Reason: Operation has tensor with unsupported DataType Float32 (x)\nmore\n"
        "   CPU: Passthrough = x (1)/sub (outputs [1, 2])\n   CPU: Quantize = y (outputs [1, 2])\n"
        "   NPU: Conv2D = z (outputs [1, 2])\n"
    )
    counts, why = left_off(text)
    assert counts == {"SUB": 1, "Quantize": 1}
    assert why == {"SUB": "Operation has tensor with unsupported DataType Float32 (x)"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mcu") / "net 1.tflite"
    net = small_net().graph
    made = emit_tflite(net, minmax_recipe(net, feed(net)), precision="int8", io="int8")
    path.write_bytes(made.data)
    return path


def test_the_sheet_says_all_of_it(model: Path) -> None:
    shown = run(str(model), "--mcu", "--board", "rp2040")
    assert shown.exit_code == 0, shown.output
    assert "resolver.AddConv2D();" in shown.output
    assert "fits: flash" in shown.output
    data = json.loads(run(str(model), "--mcu", "--board", "rp2040", "--json").stdout)
    assert data["arena"]["total"] == data["arena"]["head"] + data["arena"]["tail"]
    assert data["boards"][0]["fits"] is True


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--board", "rp2040"], 2, "belong to --mcu"),
        (["--mcu", "--board", "rp204"], 2, "did you mean rp2040"),
        (["--mcu", "--board", "rp2040, rp204"], 2, "did you mean rp2040"),
        (["--mcu", "--npu", "ethos-u99"], 2, "--npu ethos-u99 is unknown"),
        (["--mcu", "--npu", "ethos-u55-128,ethos-u99"], 2, "--npu ethos-u99 is unknown"),
        (["--c-array", "model.txt"], 2, "it ends in"),
    ],
)
def test_wrong_words_are_one_sentence(model: Path, words: list[str], code: int, says: str) -> None:
    result = run(str(model), *words)
    assert result.exit_code == code, result.output
    assert says in result.output


def test_only_a_tflite_file_has_a_sheet(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    other = run(str(tmp_path / "m.onnx"), "--mcu", "--npu", "ethos-u55-128")
    assert other.exit_code == 2
    assert "--io int8 --target tflite makes one" in other.output
    assert run(str(tmp_path / "gone.tflite"), "--mcu").exit_code == 2
    (tmp_path / "cut.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    assert run(str(tmp_path / "cut.tflite"), "--mcu").exit_code == 1


def test_the_array_holds_every_byte(model: Path, tmp_path: Path) -> None:
    result = run(str(model), "--c-array", str(tmp_path / "model.h"))
    assert result.exit_code == 0, result.output
    text = (tmp_path / "model.h").read_text()
    values = re.findall(r"0x([0-9a-f]{2}),", text)
    assert bytes(int(v, 16) for v in values) == model.read_bytes()
    assert "g_net_1[" in text
    kept = run(str(model), "--c-array", str(tmp_path / "model.h"))
    assert kept.exit_code == 2
    assert "exists; --force replaces it" in kept.output
    assert run(str(model), "--c-array", str(tmp_path / "model.h"), "--force").exit_code == 0
    assert "_Alignas" in array(model, "g_m", Path("m.c"))
    run(str(model), "--c-array", str(tmp_path / "model.S"))
    assert f'.incbin "{model}"' in (tmp_path / "model.S").read_text()
    told = run(str(model), "--c-array", str(tmp_path / "model.S"), "--force")
    assert f"finds {model} from where the assembler runs" in told.output.replace("\n", "")


@pytest.mark.parametrize("ending", [".h", ".c", ".cc", ".cpp", ".S"])
def test_every_form_of_the_array_compiles_for_two_files_that_read_it(
    model: Path, tmp_path: Path, ending: str
) -> None:
    if not (shutil.which("cc") and shutil.which("c++")):
        pytest.skip("needs a C and a C++ compiler")
    source = tmp_path / f"model{ending}"
    assert run(str(model), "--c-array", str(source)).exit_code == 0
    if ending == ".h":
        told = '#include "model.h"'
    else:
        told = "extern const unsigned char g_net_1[]; extern const unsigned int g_net_1_len;"
    body = "return g_net_1_len - %d || g_net_1[4] != 'T' || (unsigned long)g_net_1 %% 16;"
    language = (
        ("cc", "-std=c11", ".c") if ending in (".h", ".c", ".S") else ("c++", "-std=c++17", ".cc")
    )
    pairs = [language] if ending != ".h" else [language, ("c++", "-std=c++17", ".cc")]
    for compiler, standard, suffix in pairs:
        (tmp_path / f"main{suffix}").write_text(
            f"{told}\nint other(void);\nint main(void) {{ if (other()) return 2; {body % len(model.read_bytes())} }}\n",
            encoding="utf-8",
        )
        (tmp_path / f"other{suffix}").write_text(
            f"{told}\nint other(void) {{ return g_net_1[4] != 'T'; }}\n", encoding="utf-8"
        )
        sources = [str(tmp_path / f"{name}{suffix}") for name in ("main", "other")]
        sources += [] if ending == ".h" else [str(source)]
        made = subprocess.run(
            [compiler, standard, "-Wall", "-Werror", "-o", "app", *sources],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert subprocess.run([str(tmp_path / "app")], check=False).returncode == 0


def test_a_file_that_cannot_be_read_leaves_no_array(tmp_path: Path) -> None:
    (tmp_path / "cut.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    result = run(str(tmp_path / "cut.tflite"), "--c-array", str(tmp_path / "cut.h"))
    assert result.exit_code == 1
    assert not (tmp_path / "cut.h").exists()


def test_a_file_with_a_custom_operator_is_not_handed_to_vela(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.mcu import sheet

    monkeypatch.setattr(npu, "require", lambda *_: None)
    whole = read_tflite(model.read_bytes(), "net")
    odd = replace(whole, ops=(*whole.ops, replace(whole.ops[-1], code="CUSTOM:Mine")))
    monkeypatch.setattr(sheet, "read_tflite", lambda *_: odd)
    (answer,) = sheet.mcu_sheet(model, npus=("ethos-u55-128",)).npus
    assert isinstance(answer, npu.Refusal)
    assert answer.error.endswith("here Mine")


def test_a_board_that_is_too_small_is_a_missed_budget(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.mcu import boards

    small = replace(BOARDS["rp2040"], name="small", ram=1000)
    monkeypatch.setitem(boards.BOARDS, "small", small)
    words = (str(model), "--mcu", "--board", "rp2040", "--board", "small")
    shown = run(*words)
    assert shown.exit_code == 3, shown.output
    assert "TOO SMALL: flash" in shown.output
    told = run(*words, "--json")
    assert told.exit_code == 3
    assert [board["fits"] for board in json.loads(told.stdout)["boards"]] == [True, False]


def test_a_board_that_is_large_enough_cannot_run_what_its_runtime_has_not(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.mcu import sheet

    whole = read_tflite(model.read_bytes(), "net")
    odd = replace(whole, ops=(*whole.ops, replace(whole.ops[-1], code="CUSTOM:Mine")))
    monkeypatch.setattr(sheet, "read_tflite", lambda *_: odd)
    shown = run(str(model), "--mcu", "--board", "rp2040")
    assert shown.exit_code == 3, shown.output
    said = " ".join(shown.output.split())
    assert "CANNOT RUN: TensorFlow Lite Micro has no CUSTOM:Mine" in said
    assert "fits:" not in said
    (board,) = json.loads(run(str(model), "--mcu", "--board", "rp2040", "--json").stdout)["boards"]
    assert board["fits"] is False
    assert run(str(model), "--mcu").exit_code == 0  # no board was asked about


@pytest.mark.slow
def test_vela_maps_the_whole_of_an_int8_file(model: Path) -> None:
    pytest.importorskip("ethosu.vela", reason="needs edgeconv[mcu]")
    data = json.loads(run(str(model), "--mcu", "--npu", "ethos-u55-128", "--json").stdout)
    assert data["npus"][0]["on_cpu"] == {}
    assert data["npus"][0]["on_npu"] > 0


@pytest.mark.slow
def test_vela_says_why_float_borders_stay_off(tmp_path: Path) -> None:
    pytest.importorskip("ethosu.vela", reason="needs edgeconv[mcu]")
    graph = small_net().graph
    made = emit_tflite(graph, minmax_recipe(graph, feed(graph)), precision="int8", io="float")
    (tmp_path / "net.tflite").write_bytes(made.data)
    found = npu.compile_for(tmp_path / "net.tflite", "ethos-u55-128")
    assert found.on_cpu.keys() == found.why.keys() == {"QUANTIZE", "DEQUANTIZE"}
    assert "Float32" in found.why["QUANTIZE"]


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet"])
def test_the_arena_is_within_five_percent_of_tflite_micros_own_count(
    net: str, tmp_path: Path
) -> None:
    pytest.importorskip("tflite_micro", reason="needs edgeconv[mcu] on x86-64")
    from edgeconv import export_model

    report = export_model(
        net, targets=("tflite",), precision="int8", io="int8", recipe="fast", resolution=32,
        calib_count=4, verify_count=4, output=tmp_path,
    )  # fmt: skip
    path = report.artifacts[0].path
    head, total = recorded(path)
    arena = plan_arena(read_tflite(path.read_bytes()), pointer=8)
    assert arena.head == pytest.approx(head, rel=0.05)
    assert arena.total == pytest.approx(total, rel=0.05)


def test_what_tflite_micro_does_not_run_is_a_row_of_the_arenas_table(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> tuple[int, int]:
        raise subprocess.CalledProcessError(1, "python", stderr="no such op\nTraceback")

    monkeypatch.setattr(make_arena_results, "recorded", refuse)
    assert "| not run: no such op |" in make_arena_results.row("net", "8", model)


def test_what_vela_refuses_is_a_line_of_the_sheet(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, name: str, limit_s: float) -> npu.Mapping:
        assert npu.START_S < limit_s < 60
        raise EdgeconvError("Vela refuses it: no such operator")

    monkeypatch.setattr(npu, "compile_for", refuse)
    monkeypatch.setattr(npu, "require", lambda *_: None)
    said = run(str(model), "--mcu", "--npu", "ethos-u55-128")
    assert said.exit_code == 1
    assert "ethos-u55-128" in said.output
    assert "Vela refuses it: no such operator" in said.output
    assert "arena" in said.output
    (told,) = json.loads(run(str(model), "--mcu", "--npu", "ethos-u55-128", "--json").stdout)[
        "npus"
    ]
    assert told == {"npu": "ethos-u55-128", "error": "Vela refuses it: no such operator"}


@pytest.mark.slow
def test_micro_and_reference_kernels_are_compared_integer_by_integer(tmp_path: Path) -> None:
    """A net of one convolution gives both the same; a file with float borders is refused."""
    pytest.importorskip("tflite_micro", reason="needs tflite-micro")
    torch = pytest.importorskip("torch")
    from compare_micro import compared
    from PIL import Image

    from edgeconv import export_model

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(6):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
    made = {
        io: export_model(
            net, input_shape=(1, 3, 8, 8), precision="int8", targets=["tflite"], io=io, calib=tmp_path / "pictures",
            verify_count=2, preprocessing="unit", output=tmp_path / io,
        ).artifacts[0].path
        for io in ("int8", "float")
    }  # fmt: skip
    seen, equal, most = compared(made["int8"], tmp_path / "pictures", 5)
    assert (seen, most <= 1) == (5 * 4 * 6 * 6, True)
    assert equal > 0.9
    with pytest.raises(click.ClickException, match="--io int8"):
        compared(made["float"], tmp_path / "pictures", 5)
