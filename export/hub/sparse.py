"""Sparse constants and weights as what they stand for: onnx's version converter takes none.

Given:   Constant(sparse_value) -> y, or a sparse initializer y
Result:  Constant(value) -> y, or an initializer y, with the zeros written out
"""

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.graphs import graphs_of

MAX_ELEMENTS = 1 << 28
"""Numbers of a tensor: a GB of float32; no .onnx file holds twice as many."""


def write_sparse(model: onnx.ModelProto) -> None:
    """Apply the rewrite to every match, in place; raises EdgeconvError for a tensor too large to write out."""
    for graph in graphs_of(model.graph):
        graph.initializer.extend(_dense(item) for item in graph.sparse_initializer)
        del graph.sparse_initializer[:]
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "sparse_value":
                value = _dense(node.attribute[0].sparse_tensor)
                node.attribute[0].CopyFrom(helper.make_attribute("value", value))


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    name, shape = sparse.values.name, tuple(sparse.dims)
    if math.prod(shape) > MAX_ELEMENTS:
        raise EdgeconvError(f"the sparse tensor {name} of {shape} is too large to be written out")
    values, places = map(numpy_helper.to_array, (sparse.values, sparse.indices))
    dense = np.zeros(shape, values.dtype)
    if places.ndim == 2:  # a row of coordinates each
        dense[tuple(places.T)] = values
    else:
        dense.reshape(-1)[places] = values
    return numpy_helper.from_array(dense, name)
