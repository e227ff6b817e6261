"""ExecuTorch takes what TFLite takes: the onnx package's backend node tests, in FP32 and in INT8."""

import json
from pathlib import Path

import pytest
from executorch_cases import eager, failures, lowered
from onnx_node_cases import NodeCase
from test_tflite_nodes import TABLE, known_cases

from edgeconv.export.executorch.table import OPS
from edgeconv.export.tflite.table import OPS as TFLITE

pytest.importorskip("torch", reason="needs the export extra")

TIES = "of equal values ExecuTorch's TopK gives the places in another order"
EXCEPT = {
    "test_top_k_same_values": TIES,
    "test_top_k_same_values_2d": TIES,
    "test_top_k_same_values_largest": TIES,
}
"""Cases that TFLite takes and ExecuTorch does not."""
NO_AXES = (
    "XNNPACK's passes index every stored tensor, and an input without axes has nothing to index"
)
LOWERED_INT8 = {
    "test_averagepool_2d_same_lower": "ExecuTorch does not open the program (error 0x01), not known why",
    "test_gemm_default_scalar_bias": NO_AXES,
    "test_pow_bcast_scalar": NO_AXES,
}
"""Cases that are right in PyTorch and are refused where integers are lowered."""
QUICK = 10


def cases(int8: bool) -> list[NodeCase]:
    """Return the cases that TFLite takes."""
    listed = json.loads(TABLE.read_text(encoding="utf-8"))["int8" if int8 else "tflite"]
    refused = {name for names in listed["skipped"].values() for name in names}
    return [c for c in known_cases() if c.name not in refused and c.name not in EXCEPT]


def test_every_operator_that_tflite_takes_has_a_form() -> None:
    assert TFLITE.keys() <= OPS.keys()


def test_where_an_operator_runs_is_one_of_three() -> None:
    from edgeconv.export.executorch import say

    assert {entry.becomes for entry in OPS.values()} == {say.DELEGATE, say.PORTABLE, say.EITHER}


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_some_cases_pass(int8: bool, tmp_path: Path) -> None:
    assert failures(cases(int8)[::QUICK], tmp_path, eager, int8=int8) == {}


@pytest.mark.long
@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_every_case_of_tflites_passes(int8: bool, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    found = failures(cases(int8), tmp_path, lowered, int8=int8)
    assert found.keys() == (LOWERED_INT8.keys() if int8 else set()), found
