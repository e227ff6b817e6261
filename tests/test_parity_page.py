"""docs/parity_results.md: what stands in its tables."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from make_parity_results import bits

from edgeconv.judge.outputs import Outputs


def row(label: str, values: list[list[float]], **scales: float) -> Any:
    outputs = Outputs({"y": np.array(values)}, {"scales": scales})
    return SimpleNamespace(stage="int8", label=f"net.x · {label}", outputs=outputs)


def test_outputs_that_onnx_gives_unrounded_are_compared_in_the_other_files_quanta() -> None:
    kernels = row("ai-edge-litert", [[0.5, 1.0], [0.0, -0.5]], y=0.5)
    matrix: Any = SimpleNamespace(rows=[row("onnxruntime", [[0.6, 1.0], [0.0, 0.1]]), kernels])
    assert bits(matrix) == (["3 of 4", "1 of 2", "1"], [1])
    matrix.rows[0] = row("onnxruntime", [[0.5, 1.0], [0.0, -0.5]], y=0.5)
    assert bits(matrix) == (["4 of 4", "2 of 2", "0"], [])
