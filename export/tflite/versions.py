"""The version that an operator needs from the runtime, as tensorflow/lite/tools/versioning says.

An old runtime refuses a version it does not know, so each operator states the lowest that holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# operator -> (version with real-valued inputs, version with int8 inputs)
_VERSIONS = {
    "CONV_2D": (1, 3),
    "DEPTHWISE_CONV_2D": (2, 3),
    "TRANSPOSE_CONV": (1, 2),
    "FULLY_CONNECTED": (1, 5),
    "BATCH_MATMUL": (1, 2),
    "ADD": (1, 2),
    "SUB": (1, 2),
    "MUL": (1, 2),
    "MAXIMUM": (1, 2),
    "MINIMUM": (1, 2),
    "AVERAGE_POOL_2D": (1, 2),
    "MAX_POOL_2D": (1, 2),
    "MEAN": (1, 2),
    "SUM": (1, 2),
    "REDUCE_MAX": (1, 2),
    "REDUCE_MIN": (1, 2),
    "CONCATENATION": (1, 2),
    "SPLIT": (1, 2),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2),
    "PAD": (1, 2),
    "PADV2": (1, 2),
    "MIRROR_PAD": (1, 2),
    "TRANSPOSE": (1, 2),
    "GATHER": (1, 2),
    "TILE": (1, 2),
    "BROADCAST_TO": (2, 2),
    "DEPTH_TO_SPACE": (1, 2),
    "SPACE_TO_DEPTH": (1, 2),
    "RESIZE_BILINEAR": (1, 2),
    "RESIZE_NEAREST_NEIGHBOR": (1, 2),
    "LOGISTIC": (1, 2),
    "TANH": (1, 2),
    "SOFTMAX": (1, 2),
    "LEAKY_RELU": (1, 2),
    "GELU": (1, 2),
    "ELU": (1, 1),
    "RELU": (1, 2),
    "RELU6": (1, 2),
    "QUANTIZE": (1, 2),
    "DEQUANTIZE": (1, 2),
    "ARG_MAX": (1, 2),
    "ARG_MIN": (1, 2),
    "SELECT_V2": (1, 1),
}


def op_version(
    code: str,
    kinds: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    fields: Mapping[str, Any],
    per_channel: bool = False,
) -> int:
    """Return the version for inputs of these dtypes and shapes with these options.

    ``per_channel``: an input has a scale for each of its channels.
    """
    real, quantized = _VERSIONS.get(code, (1, 1))
    int8 = "int8" in kinds
    version = quantized if int8 else real
    if code == "CONV_2D" and not int8 and shapes[0][3] != shapes[1][3]:
        return 6  # grouped
    if code == "TRANSPOSE_CONV" and len(kinds) == 4:
        version = 3
    if code == "FULLY_CONNECTED" and fields.get("keepNumDims"):
        version = max(version, 5)
    if code.startswith("RESIZE") and (fields.get("halfPixelCenters") or fields.get("alignCorners")):
        version = 3
    if code == "DEQUANTIZE" and "float16" in kinds:
        version = 3
    if code == "DEQUANTIZE" and per_channel:
        version = 5
    if code == "TRANSPOSE" and len(shapes[0]) > 4:
        version = max(version, 3)
    if code in ("STRIDED_SLICE", "SLICE") and len(shapes[0]) > 4:
        version = max(version, 4 if code == "STRIDED_SLICE" else 5)
    return version
