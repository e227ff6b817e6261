"""The scripts behind docs/bench_results.md and the README's sizes run; their figures are for idle machines."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from bench_kit import write_model

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.long
def test_the_results_page_is_made_in_one_command(tmp_path: Path) -> None:
    for module in ("torch", "onnx", "onnxruntime", "ai_edge_litert"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")
    page = tmp_path / "page.md"
    command = [sys.executable, str(SCRIPTS / "make_bench_results.py"), "--seconds", "0.02"]
    command += ["--recipe", "fast"]
    for section in ("repeats", "coverage"):
        command += ["--only", section]
    done = subprocess.run([*command, "--output", str(page)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text()
    assert text.count("\n## ") == 2
    assert "mobilenet_v2_1.0_64_int8.tflite" in text
    assert text.count("mobilenet_v2_1.0_64_int8.onnx") >= 10
    assert "failed" not in text


@pytest.mark.slow
def test_our_median_stands_beside_a_bare_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    checks = importlib.import_module("bench_checks")
    model = write_model(tmp_path, "a.onnx", channels=64, size=32)
    ((name, ours, loop, ratio, *_),) = checks.other_clocks([model], 0.05, 1)
    assert name == "a.onnx"
    assert float(ours) > 0
    assert float(loop) > 0
    assert 0.2 < float(ratio.split()[0]) < 5  # a wrong unit, not noise


@pytest.mark.long
def test_the_extras_resolve_for_boards_with_pips_own_options() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "make_device_costs.py"), "--no-measure"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [[c.strip() for c in row.split("|")[1:-1]] for row in done.stdout.splitlines()[2:]]
    found = {(extra, board, python): said for extra, board, python, said in rows}
    if any("onnection" in said for said in found.values()) or not any(found.values()):
        pytest.skip("no package index here")
    for python in ("3.11", "3.12", "3.13"):
        assert found["edgeconv[onnx]", "aarch64", python].startswith("onnxruntime 1.")
        assert found["edgeconv[tflite]", "aarch64", python].startswith("ai-edge-litert ")
    for board in ("aarch64", "armv7l"):
        assert found["edgeconv[tflite-runtime]", board, "3.11"].startswith("tflite-runtime 2.14")
        assert "No matching" in found["edgeconv[tflite-runtime]", board, "3.13"]
    assert "numpy 1." in found["edgeconv[tflite-runtime]", "aarch64", "3.11"]
