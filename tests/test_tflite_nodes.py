"""The onnx package's backend node tests through the TFLite emitter: all that we claim, or why not."""

import json
import re
from pathlib import Path

import onnx
import pytest
from onnx_node_cases import load_cases, try_case
from tflite_kit import Worker

TABLE = Path(__file__).with_name("golden") / "tflite_node_skips.json"

REASONS = (
    (r"feeds that are no tensors", "float16, float8, int4 and the like"),
    (r"is (float16|float64|bfloat16|int16|uint16|uint32|uint64|object)", "dtypes TFLite lacks"),
    (r"its input is u?int\d+", "integer arithmetic in a dtype that the kernel lacks"),
    (r"is empty", "empty tensors"),
    (r"cannot be inferred|cannot be computed", "shapes computed at run time"),
    (r"computed at run time", "operands computed at run time"),
    (r"is a constant|express (Shape|Size|ConstantOfShape)", "nothing is computed"),
    (r"express Dropout", "Dropout in training mode or with its mask"),
    (r"express BatchNormalization", "BatchNormalization in training mode"),
    (r"its input has \d axes", "3-D windows"),
    (r"reduces no axis", "reductions of no axis"),
    (r"input is bool", "reductions of bool"),
    (r"its mode is|antialias|it crops|coordinates", "a Resize or SpaceToDepth that TFLite lacks"),
    (
        r"by cubics|it reflects|it samples",
        "a GridSample that is cubic, reflects or samples volumes",
    ),
    (r"dilated|indices", "pooling with dilation or indices"),
    (r"last of equal", "ArgMax of the last of equal values"),
    (r"statistics", "statistics as outputs"),
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


@pytest.mark.slow
def test_every_node_case_passes_or_is_listed_with_its_reason(
    request: pytest.FixtureRequest,
) -> None:
    """The list may neither grow nor go stale: --update-golden rewrites it, and the diff is the news."""
    worker = Worker()
    cases = [case for case in load_cases() if case.name not in AS_ONNXRUNTIME]
    results = {case.name: try_case(case, worker) for case in cases}
    worker.close()
    skipped: dict[str, list[str]] = {}
    for name, failure in sorted(results.items()):
        if failure is not None:
            skipped.setdefault(category(failure), []).append(name)
    passed = sum(failure is None for failure in results.values())
    found = {"onnx": onnx.__version__, "passed": passed, "skipped": dict(sorted(skipped.items()))}
    if request.config.getoption("--update-golden"):
        TABLE.write_text(json.dumps(found, indent=1) + "\n")
    listed = json.loads(TABLE.read_text())
    if listed["onnx"] == onnx.__version__:
        assert found == listed
        return
    # another onnx brings other cases: what both know must agree, and nothing may break
    known = {name: why for why, names in listed["skipped"].items() for name in names}
    broken = {n for why, names in skipped.items() for n in names if why == results[n]}
    assert not broken - known.keys()


def test_the_listed_reasons_are_refusals_and_never_wrong_results() -> None:
    listed = json.loads(TABLE.read_text())
    assert set(listed["skipped"]) <= {why for _, why in REASONS}
    assert listed["passed"] >= 450
