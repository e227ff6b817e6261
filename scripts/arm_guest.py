"""Runs inside the emulated Python of make_arm_results.py: of each file two warm-up runs, then a mark and
RUNS times a run and a mark. ``arm_guest.py RUNS FILE...`` prints a checksum of each file's first output; with
ARM_MAPS=FILE in the environment where libraries lie in memory is written there.
"""

import contextlib
import gc
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MARK = 0x7EC0DE


def mark() -> None:
    """Make the plugin write its totals: no process has this number, and nothing else asks for it."""
    with contextlib.suppress(ProcessLookupError):
        os.getpriority(os.PRIO_PROCESS, MARK)


def noise(shape: Any, dtype: Any = np.float32) -> Any:
    """Return a seeded input: -1..1, or every value that integers of one byte have."""
    generator = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        known = np.iinfo(dtype)
        return generator.integers(known.min, known.max, shape, dtype, endpoint=True)
    return generator.uniform(-1, 1, shape).astype(dtype)


def open_onnx(path: str) -> Callable[[], Any]:
    """Return a call of the model in onnxruntime, one thread."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    feeds = {b.name: noise(b.shape, kinds[b.type]) for b in session.get_inputs()}
    return lambda: session.run(None, feeds)[0]


def open_tflite(path: str) -> Callable[[], Any]:
    """Return a call of the model in ai-edge-litert with XNNPACK, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    for source in interpreter.get_input_details():
        interpreter.set_tensor(source["index"], noise(source["shape"], source["dtype"]))
    target = interpreter.get_output_details()[0]["index"]

    def run() -> Any:
        interpreter.invoke()
        return interpreter.get_tensor(target)

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
    if maps := os.environ.get("ARM_MAPS"):
        Path(maps).write_bytes(Path("/proc/self/maps").read_bytes())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
