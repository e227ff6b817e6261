"""Operators on whole numbers and truth values: right, or refused before any work, never a runtime's own error."""

from pathlib import Path

import numpy as np
import pytest
from any_net_kit import hub_of, same_everywhere
from graph_kit import model_of

from edgeconv.export.targets import TARGETS


def test_bytes_wrap_around_and_truth_values_are_kept(tmp_path: Path) -> None:
    body = (
        "(%s[1,6] x, %s[1,6] y) => (%s[1,6] a, %s[1,6] s, %s[1,6] m)"
        " { a = Add(x, y)\n s = Sub(x, y)\n m = Mul(x, y) }"
    )
    values = np.array([[0, 3, 100, 127, -128, -7]]), np.array([[0, 127, 100, 1, -128, 9]])
    for kind in (np.int8, np.uint8):
        feeds = {name: value.astype(kind) for name, value in zip(("x", "y"), values, strict=True)}
        model = model_of(body.replace("%s", np.dtype(kind).name))
        same_everywhere(model, feeds, tmp_path, targets=("coreml",))
    model = model_of(
        "(bool[4,4] x) => (bool[4,4] t, bool[2,4] a, bool[2,4] b, bool[4,4] c)"
        " { t = Trilu(x)\n a, b = Split<axis = 0, num_outputs = 2>(x)\n c = Cast<to = 9>(x) }"
    )
    same_everywhere(model, {"x": np.arange(16).reshape(4, 4) % 3 == 0}, tmp_path)


WHOLE = "its input is whole numbers; a Cast to float has a form"
REFUSED = {
    "int32[1,4,2,2] x) => (int32[1,4,4,4] y) { y = Resize<mode = \"nearest\">(x, none, twice) }": ("coreml", WHOLE),
    "int8[1,4,2,2] x) => (int8[1,4,2,2] y) { y = Relu(x) }": ("coreml", WHOLE),
    "uint8[1,4,2,2] x) => (uint8[1,1,4,4] y) { y = DepthToSpace<blocksize = 2>(x) }": ("coreml", WHOLE),
    "bool[1,4,2,2] x) => (bool[1,2,2,2] y) { y = Gather<axis = 1>(x, places) }": ("coreml", "its input is bool"),
    "int32[1,4,2,2] x) => (int32[1,4,2,2] y) { y = MatMul(x, x) }": ("tflite", "it is of int32"),
}  # fmt: skip


@pytest.mark.parametrize("body", REFUSED)
def test_types_that_a_target_has_not_are_refused_by_the_table(body: str) -> None:
    target, clause = REFUSED[body]
    graph = hub_of(
        model_of(
            f"({body}",
            none=np.zeros(0, np.float32),
            twice=np.array([1, 1, 2, 2], np.float32),
            places=np.array([2, 0]),
        )
    )
    (found,) = TARGETS[target].stops(graph)
    assert clause in found.clause
