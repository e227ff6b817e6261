"""scripts/recipe_figures.py: a case is exported and measured in every file's own runtime."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from quant_nets import residual_net

from edgeconv.export.hub.onnx_io import save_model, to_onnx

pytest.importorskip("ai_edge_litert")


@pytest.mark.slow
def test_a_case_is_measured_in_both_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("recipe_figures")
    net = tmp_path / "net.onnx"
    net.write_bytes(save_model(to_onnx(residual_net())))
    walk = np.random.default_rng(0).normal(0, 0.2, (16, 3, 16, 16)).cumsum(axis=3)
    for name, part in (("calib", walk[:8]), ("rest", walk[8:])):
        np.savez(tmp_path / f"{name}.npz", input=part.astype(np.float32))
    given = {"verify": str(tmp_path / "rest.npz")}
    case = script.Case("tiny", str(net), given, 8, str(tmp_path / "calib.npz"))
    line = {"case": case.title, **script.measured(case, tmp_path / "out", recipe="fast")}
    assert line["files"].keys() == {"onnx", "tflite"}
    assert all(figures["sqnr_db"] > 15 for figures in line["files"].values())
    head, _, *found = script.rows([line])
    assert head.count("|") == found[0].count("|")
    assert [row.split(" | ")[2] for row in found] == ["onnx", "tflite"]
    assert found[0].startswith("| tiny | fast (")
