"""Write AffineGrid out: its definition in ONNX chooses by If between pictures and volumes.

Given:   AffineGrid(theta (N, D, D+1), constant size (N, C, *sides)) -> grid
Result:  the places of all pixels, a constant (1, pixels, D+1), times theta transposed, by MatMul
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def write_affine_grids(model: onnx.ModelProto) -> None:
    """Apply the rewrite to every match, in place."""
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "AffineGrid" and node.input[1] in constants:
            size = numpy_helper.to_array(constants[node.input[1]]).tolist()
            aligned = any(a.name == "align_corners" and a.i for a in node.attribute)
            graph.node.remove(node)
            for written in reversed(_written(node, size, aligned)):
                graph.node.insert(place, written)


def _written(node: onnx.NodeProto, size: list[int], aligned: bool) -> list[onnx.NodeProto]:
    theta, grid = node.input[0], node.output[0]
    batch, _, *sides = size
    places, turned, product, shape = (f"{grid}_{n}" for n in ("places", "turned", "rows", "shape"))
    values: dict[str, NDArray[Any]] = {
        places: _places(sides, aligned),
        shape: np.array([batch, *sides, len(sides)], np.int64),
    }
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in values.items()
    ]
    return [
        *constants,
        helper.make_node("Transpose", [theta], [turned], perm=[0, 2, 1]),
        helper.make_node("MatMul", [places, turned], [product]),
        helper.make_node("Reshape", [product, shape], [grid]),
    ]


def _places(sides: list[int], aligned: bool) -> NDArray[np.float32]:
    """Return the coordinates -1 to 1 of each pixel, the last axis first, and 1: (1, pixels, axes + 1)."""
    rows = [
        np.linspace(-1, 1, side) if aligned else (2 * np.arange(side) + 1) / side - 1
        for side in sides
    ]
    axes = np.meshgrid(*rows, indexing="ij")[::-1]
    stacked = np.stack([*axes, np.ones(sides)], -1)
    return stacked.reshape(1, -1, len(sides) + 1).astype(np.float32)
