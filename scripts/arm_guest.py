"""Runs inside the emulated Python of make_arm_results.py: of each file two warm-up runs, then a mark and
RUNS times a run and a mark. ``arm_guest.py RUNS FILE...`` prints a checksum of each file's output.
"""

import contextlib
import gc
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

MARK = 0x7EC0DE


def mark() -> None:
    """Make the plugin write its totals: no process has this number, and nothing else asks for it."""
    with contextlib.suppress(ProcessLookupError):
        os.getpriority(os.PRIO_PROCESS, MARK)


def noise(shape: Any) -> Any:
    """Return a seeded input."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def open_onnx(path: str) -> Callable[[], Any]:
    """Return a call of the model in onnxruntime, one thread."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {border.name: noise(border.shape) for border in session.get_inputs()}
    return lambda: session.run(None, feeds)[0]


def open_tflite(path: str) -> Callable[[], Any]:
    """Return a call of the model in ai-edge-litert with XNNPACK, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(source["index"], noise(source["shape"]))

    def run() -> Any:
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return run


def main(runs: int, paths: list[str]) -> None:
    """Run every file."""
    gc.disable()  # a collection in one run is no part of an inference
    for path in paths:
        run = (open_onnx if path.endswith(".onnx") else open_tflite)(path)
        run()
        output = run()
        mark()
        for _ in range(runs):
            run()
            mark()
        print(zlib.crc32(output.tobytes()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
