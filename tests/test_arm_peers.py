"""Counting beside others: functions are found in a library, and a file's borders go without its integers changing."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import parity_kit
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import arm_borders
import arm_functions
import make_arm_peers

from edgeconv.export.tflite.inspect import read_tflite

LIBRARY = "int one(int x) { return x + 1; } int two(int x) { return one(x) * 3; }"


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
@pytest.mark.parametrize("stripped", [False, True])
def test_blocks_are_added_up_by_the_function_that_holds_them(
    tmp_path: Path, stripped: bool
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, path = tmp_path / "two.c", tmp_path / "libtwo.so"
    source.write_text(LIBRARY)
    flags = ["-shared", "-fPIC", "-fasynchronous-unwind-tables", *(["-s"] if stripped else [])]
    subprocess.run([compiler, *flags, "-o", str(path), str(source)], check=True)
    library = arm_functions.read_library(path)
    whole = tmp_path / "whole.so"
    subprocess.run([compiler, *flags[:3], "-o", str(whole), str(source)], check=True)
    known = arm_functions.read_library(whole)
    one, two = (known.starts[known.names.index(name)] for name in ("one", "two"))
    names = (f"at {one:x}", f"at {two:x}") if stripped else ("one", "two")
    maps = f"10000-20000 r-xp 0 0:0 1 {path}\n20000-30000 rw-p 0 0:0 0\n"
    places = arm_functions.read_maps(maps)
    lines = [f"{0x10000 + one:x} 5 2", f"{0x10000 + two + 1:x} 3 7", "25000 1 1"]
    found = arm_functions.by_function(lines, places, {path.name: library})
    assert found == Counter({names[0]: 10, names[1]: 21, "elsewhere": 1})


def test_what_is_left_of_a_tflite_file_takes_and_gives_integers(tmp_path: Path) -> None:
    path = parity_kit.int8_export(tmp_path, "tflite")
    before = read_tflite(path.read_bytes())
    assert {before.tensors[i].dtype for i in (*before.inputs, *before.outputs)} == {"float32"}
    bare = read_tflite(arm_borders.integer_tflite(path, tmp_path / "bare.tflite").read_bytes())
    assert {bare.tensors[i].dtype for i in (*bare.inputs, *bare.outputs)} == {"int8"}
    assert [op.code for op in bare.ops] == [op.code for op in before.ops][1:-1]
    layers = read_tflite(arm_borders.layers_tflite(path, tmp_path / "l.tflite").read_bytes())
    kept = [op.code for op in before.ops if op.code in arm_borders.LAYERS]
    assert [op.code for op in layers.ops] == kept
    made = {out for op in layers.ops for out in op.outputs}
    assert all(op.inputs[0] in made or op.inputs[0] in layers.inputs for op in layers.ops)


def test_what_is_left_of_an_onnx_file_gives_the_integers_that_it_gave(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    constants = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("z", TensorProto.INT8, [], [3]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Relu", ["d"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["k"]),
        helper.make_node("DequantizeLinear", ["k", "s", "z"], ["y"]),
    ]
    borders = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", borders[:1], borders[1:], constants)
    path, bare = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path
    )
    arm_borders.integer_onnx(path, bare)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bare), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == "tensor(int8)"
    got = session.run(None, {session.get_inputs()[0].name: np.array([-9, 2, 3, 9], np.int8)})[0]
    assert got.tolist() == [3, 3, 3, 9]


def test_the_table_is_of_ratios_on_both_boards(tmp_path: Path) -> None:
    lines = [
        {"net": "ghostnet", "board": board, "format": "tflite", "maker": maker, "form": form,
         "total": total, "functions": {"xnn_gemm": total // 2}}
        for board in ("pi4", "pi5")
        for maker, total in (("ours", 9_000_000), ("litert-torch", 10_000_000))
        for form in ("bare", "shipped", "layers")
    ]  # fmt: skip
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = CliRunner().invoke(make_arm_peers.main, ["tables", "--lines", str(path)])
    assert said.exit_code == 0, said.output
    assert "| ghostnet | Pi 4 | 9.00 | 9.00 | 0.900x | `gemm` 4.50 |" in said.output
    (row,) = [line for line in said.output.splitlines() if "| litert-torch |" in line]
    assert row.count("0.900x") == 4
    said = CliRunner().invoke(make_arm_peers.main, ["functions", "--lines", str(path)])
    assert "ghostnet pi4 tflite ours: 9.00" in said.output
    assert "4.500 xnn_gemm" in said.output
