"""What an ONNX file holds, read back from its bytes."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def onnx_stats(data: bytes) -> dict[str, Any]:
    """Return operator counts, and for QDQ how many compute operators read int8 on both sides.

    Keys: ops (total, Q/DQ not counted), histogram, compute, int8_compute, per_channel (weights with
    more than one scale, or layers of one output channel), transposes, quantize, dequantize.
    """
    graph = onnx.load_from_string(data).graph
    histogram = Counter(node.op_type for node in graph.node)
    makers = {out: node for node in graph.node for out in node.output}
    constants = {item.name: item for item in graph.initializer}
    compute = [node for node in graph.node if node.op_type in COMPUTE]
    integer, per_channel = 0, 0
    for node in compute:
        sources = [makers.get(name) for name in node.input[:2]]
        if not all(s is not None and s.op_type == "DequantizeLinear" for s in sources):
            continue
        integer += 1
        weights = sources[1]
        if weights is not None and {weights.input[0], weights.input[1]} <= constants.keys():
            scales = np.asarray(numpy_helper.to_array(constants[weights.input[1]]))
            per_channel += int(scales.size > 1 or 1 in constants[weights.input[0]].dims)
    quantize, dequantize = histogram.pop("QuantizeLinear", 0), histogram.pop("DequantizeLinear", 0)
    return {
        "ops": sum(histogram.values()),
        "histogram": dict(sorted(histogram.items())),
        "compute": len(compute),
        "int8_compute": integer,
        "per_channel": per_channel,
        "transposes": histogram.get("Transpose", 0),
        "quantize": quantize,
        "dequantize": dequantize,
    }
