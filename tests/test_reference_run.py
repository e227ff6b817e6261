"""The float reference of a file: without onnxruntime's rewrites until these are shown to change nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeconv.export.reference import FIRST, SAME, Shown, open_reference


class Answers:
    """A model of one output that gives ``value`` of how often it was asked."""

    def __init__(self, value: Any) -> None:
        self.value, self.asked = value, 0

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.asked += 1
        return {"y": np.asarray(self.value(self.asked))}


def given(run: Any, times: int) -> list[float]:
    return [float(run({})["y"].flat[0]) for _ in range(times)]


def test_rewrites_run_alone_once_they_gave_the_same_on_the_first_feeds() -> None:
    written, rewritten = Answers(lambda n: [2.0]), Answers(lambda n: [2.0 + SAME])
    got = given(Shown(written, rewritten), FIRST + 5)  # type: ignore[arg-type]
    assert (written.asked, rewritten.asked) == (FIRST, FIRST + 5)
    assert got[:FIRST] == [2.0] * FIRST
    assert got[FIRST:] == [2.0 + SAME] * 5


@pytest.mark.parametrize(
    "other",
    [
        lambda n: [2.0 if n < FIRST else 2.0 + 3 * SAME],
        lambda n: [[2.0]],
        lambda n: [np.nan],
    ],
    ids=["by a little, at last", "of another shape", "not finite"],
)
def test_rewrites_that_change_something_are_never_used(other: Any) -> None:
    written, rewritten = Answers(lambda n: [2.0]), Answers(other)
    assert given(Shown(written, rewritten), FIRST + 5) == [2.0] * (FIRST + 5)  # type: ignore[arg-type]
    assert rewritten.asked <= FIRST


@pytest.mark.parametrize("count", [2 * FIRST, 2 * FIRST + 1])
def test_few_samples_run_without_rewrites(count: int) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "g", [value], [gives])
    raw = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(raw)
    with open_reference(
        module=None,
        raw=raw,
        shapes={"x": (1, 3)},
        dtypes={},
        embedded=None,
        softmax=False,
        threads=1,
        count=count,
    ) as reference:
        assert isinstance(reference.run, Shown) is (count > 2 * FIRST)
        rows = np.random.default_rng(3).normal(size=(FIRST + 2, 1, 3)).astype(np.float32)
        for row in rows:
            np.testing.assert_allclose(reference.infer({"x": row})["y"], np.exp(row), rtol=1e-5)
