"""ExecuTorch takes what TFLite takes: the onnx package's backend node tests, in FP32 and in INT8."""

import json
from pathlib import Path

import pytest
from executorch_cases import Ready, eager, failures, lowered, ready
from onnx_node_cases import NodeCase
from test_tflite_nodes import TABLE, known_cases

from edgeconv.export.executorch.table import OPS
from edgeconv.export.executorch.written import write_out
from edgeconv.export.tflite.table import OPS as TFLITE

pytest.importorskip("torch", reason="needs the export extra")

TIES = "of equal values ExecuTorch's TopK gives the places in another order"
EXCEPT = {
    "test_top_k_same_values": TIES,
    "test_top_k_same_values_2d": TIES,
    "test_top_k_same_values_largest": TIES,
}
"""Cases that TFLite takes and ExecuTorch does not."""
NARROW = (
    "test_averagepool_2d_pads",
    "test_averagepool_2d_same_lower",
    "test_averagepool_2d_same_upper",
    "test_gemm_default_scalar_bias",
    "test_pow_bcast_scalar",
)
"""Cases whose integers XNNPACK's passes once refused: an average of padded ones, a stored number without axes."""
QUICK = 10
PARTS = 16
THEIRS = pytest.mark.filterwarnings("ignore")
"""What PyTorch and ExecuTorch warn of while one imports and lowers is theirs; elsewhere a child hears it."""


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


@pytest.mark.parametrize("name", NARROW[:3])
def test_an_average_reads_a_padded_tensor_as_it_is_stored(name: str) -> None:
    (case,) = (case for case in known_cases() if case.name == name)
    part = ready(case, int8=True)
    assert isinstance(part, Ready)
    assert part.recipe is not None
    said = write_out(part.graph, part.recipe)
    assert said is not None
    (padded,) = (node for node in part.graph.nodes if node.op == "Pad")
    assert said.activations[padded.output] == part.recipe.activations[padded.inputs[0]]


@THEIRS
@pytest.mark.long
def test_what_xnnpack_refused_is_lowered(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    few = [case for case in cases(int8=True) if case.name in NARROW]
    assert len(few) == len(NARROW)
    assert failures(few, tmp_path, lowered, int8=True) == {}


@THEIRS
@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
def test_every_case_of_tflites_passes(int8: bool, part: int, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    assert failures(cases(int8)[part::PARTS], tmp_path, lowered, int8=int8) == {}
