"""onnxruntime sessions for calibration: quiet, a given thread count, nothing left running."""

import functools
from typing import Any

import onnx

from edgeconv.deps import require
from edgeconv.machine import cpuinfo


def session(
    model: onnx.ModelProto, *, threads: int = 1, optimize: bool = True, integers: bool = True
) -> Any:
    """Open a model in memory; ``optimize=False`` runs every node as written.

    ``integers=False`` computes in float between QuantizeLinear and DequantizeLinear. What
    onnxruntime's optimizer breaks is run as written too: it folds a model of constants to
    nothing, and moves transposes through a cubic Resize that has no kernel for that.
    """
    try:
        return _open(model, threads, optimize, integers)
    except Exception:  # onnxruntime's errors share no base class
        if not optimize:
            raise
        return _open(model, threads, False, integers)


def _open(model: onnx.ModelProto, threads: int, optimize: bool, integers: bool) -> Any:
    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    level = runtime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@functools.cache
def integer_kernels_are_exact() -> bool:
    """Whether onnxruntime's INT8 kernels add up without saturation on this machine.

    x86 without VNNI multiplies uint8 by int8 into saturating 16 bits; calibration there runs the
    same integers in float instead.
    """
    text = cpuinfo()
    return "vnni" in text or "asimd" in text
