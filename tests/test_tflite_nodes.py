"""The onnx package's backend node tests through each emitter, TFLite's in INT8 too: all that we claim, or why not."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import onnx
import pytest
from onnx_node_cases import (
    Column,
    NodeCase,
    in_coreml,
    in_int8,
    in_tflite,
    load_cases,
    try_case,
)
from tflite_kit import Worker

TABLE = Path(__file__).with_name("golden") / "node_cases.json"

REASONS = (
    (r"feeds that are no tensors", "float16, float8, int4 and the like"),
    (r"is (float16|float64|bfloat16|int16|uint16|uint32|uint64|object)", "dtypes TFLite lacks"),
    (r" as (b?float\d+|u?int\d+|object): it has", "dtypes Core ML lacks"),
    (r"its operands are", "operands of two types"),
    (r"exceeds Core ML's 5 axes", "more than five axes"),
    (r"Core ML infers", "a rounded-up size that Core ML counts otherwise"),
    (r"onnxruntime does not run it", "what onnxruntime has no kernel for: no range is known"),
    (
        r"its input is (u?int\d+|whole numbers)",
        "integer arithmetic in a dtype that the kernel lacks",
    ),
    (r"is empty|\(\[0, ", "empty tensors"),
    (r"cannot be inferred|cannot be computed", "shapes computed at run time"),
    (r"computed at run time|must be constant", "operands computed at run time"),
    (r"is a constant|(express|form of) (Shape|Size|ConstantOfShape)", "nothing is computed"),
    (r"(express|form of) Dropout", "Dropout in training mode or with its mask"),
    (r"(express|form of) BatchNormalization", "BatchNormalization in training mode"),
    (r"its input has \d axes", "3-D windows"),
    (r"reduces no axis", "reductions of no axis"),
    (r"input is bool", "reductions of bool"),
    (
        r"its mode is|antialias|it crops|coordinate|aspect ratio",
        "a Resize or SpaceToDepth that TFLite lacks",
    ),
    (r"takes maxima, not averages", "the maxima of regions"),
    (r"dilated|indices", "pooling with dilation or indices"),
    (r"last of equal", "ArgMax of the last of equal values"),
    (r"statistics|only its first output", "statistics as outputs"),
    (r"peepholes|layout 1|weights are computed|lengths|activations", "recurrence of unusual forms"),
)


AS_ONNXRUNTIME = frozenset(
    f"test_resize_downsample_scales_{mode}_align_corners" for mode in ("linear", "cubic")
)
"""onnxruntime and torch count whole pixels between aligned corners, ONNX's reference parts of them."""


def category(failure: str) -> str:
    """Return the short reason for a refusal; a wrong value or a failing kernel is no reason."""
    if not failure.startswith(("refused", "feeds")):
        return failure
    return next((why for pattern, why in REASONS if re.search(pattern, failure)), failure)


@cache
def known_cases() -> list[NodeCase]:
    return [case for case in load_cases() if case.name not in AS_ONNXRUNTIME]


def skipped_by(column: Column, cases: Sequence[NodeCase]) -> dict[str, str]:
    """Case -> why it is none of the column."""
    results = {case.name: try_case(case, column) for case in cases}
    return {name: category(why) for name, why in results.items() if why is not None}


def hold(name: str, skipped: Mapping[str, str], *, update: bool) -> None:
    """The table may neither grow nor go stale: --update-golden rewrites it, and the diff is the news."""
    reasons: dict[str, list[str]] = {}
    for case, why in sorted(skipped.items()):
        reasons.setdefault(why, []).append(case)
    passed = len(known_cases()) - len(skipped)
    found = {"onnx": onnx.__version__, "passed": passed, "skipped": dict(sorted(reasons.items()))}
    table = json.loads(TABLE.read_text())
    if update:
        TABLE.write_text(json.dumps({**table, name: found}, indent=1) + "\n")
        return
    listed = table[name]
    if listed["onnx"] == onnx.__version__:
        assert found == listed
        return
    # another onnx brings other cases: what both know must agree, and nothing may break
    known = {case: why for why, cases in listed["skipped"].items() for case in cases}
    broken = {case for case, why in skipped.items() if why not in {w for _, w in REASONS}}
    assert not broken - known.keys()


COLUMNS = {"tflite": pytest.mark.slow, "int8": pytest.mark.long, "coreml": pytest.mark.long}


@pytest.fixture
def column(request: pytest.FixtureRequest, worker: Worker, tmp_path: Path) -> Column:
    if request.param == "coreml":
        return in_coreml(tmp_path)
    return (in_tflite if request.param == "tflite" else in_int8)(worker)


@pytest.mark.parametrize(
    ("column", "name"),
    [pytest.param(name, name, marks=mark) for name, mark in COLUMNS.items()],
    indirect=["column"],
)
def test_every_case_passes_or_is_listed_with_its_reason(
    column: Column, name: str, request: pytest.FixtureRequest
) -> None:
    skipped = skipped_by(column, known_cases())
    hold(name, skipped, update=request.config.getoption("--update-golden"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "name"), [(name, name) for name in ("int8", "coreml")], indirect=["column"]
)
def test_some_cases_pass(column: Column, name: str) -> None:
    listed = json.loads(TABLE.read_text())[name]["skipped"]
    known = {case: why for why, names in listed.items() for case in names}
    assert skipped_by(column, known_cases()[::40]).items() <= known.items()


def test_the_listed_reasons_are_refusals_and_never_wrong_results() -> None:
    for listed in json.loads(TABLE.read_text()).values():
        assert set(listed["skipped"]) <= {why for _, why in REASONS}
        assert listed["passed"] >= 450
