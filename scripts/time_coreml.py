"""Cost of the Core ML target: ``python scripts/time_coreml.py MODEL.onnx [PACKAGE.mlpackage ...]``.

Each lowering runs in a process of its own: seconds from before coremltools is imported until the
package is saved and read back, and the process's peak memory. Each package, those made here
included, is then evaluated ten times on one thread. Run it on an idle machine.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def lower(model: Path, precision: Any, output: Path) -> None:
    """Lower, save and read back; print seconds and peak memory."""
    from edgeconv.export.coreml.emit import emit_coreml
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.export.prepare import prepare

    graph = prepare(from_onnx(load_model(model))).graph
    start, used = time.perf_counter(), time.process_time()
    made = emit_coreml(graph, path=output, precision=precision)
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{output.name}: lowered and saved in {wall:.1f} s ({cpu:.1f} s CPU), peak {peak:.0f} MB")
    print(f"  {made.bytes / 1e6:.2f} MB")


def evaluate(package: Path) -> None:
    """Print the median time of one evaluation."""
    import numpy as np

    from edgeconv.mil import open_program

    program = open_program(package)
    random = np.random.default_rng(0)
    feeds = {
        spec.name: random.standard_normal(spec.shape).astype(np.float32)
        for spec in program.input_specs()
    }
    program.run(feeds)  # expands constants
    walls, used = [], []
    for _ in range(10):
        start, before = time.perf_counter(), time.process_time()
        program.run(feeds)
        walls.append(1e3 * (time.perf_counter() - start))
        used.append(1e3 * (time.process_time() - before))
    wall, cpu = statistics.median(walls), statistics.median(used)
    print(f"{package.name}: {wall:.0f} ms a picture ({cpu:.0f} ms CPU)")


def main(model: Path, packages: list[Path]) -> None:
    """Run each measurement in a child with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def child(*arguments: str) -> None:
        subprocess.run([sys.executable, __file__, *arguments], check=True, env=environment)

    with tempfile.TemporaryDirectory() as scratch:
        for precision in ("fp32", "fp16"):
            packages.append(Path(scratch) / f"{precision}.mlpackage")
            child("lower", str(model), precision, str(packages[-1]))
        for package in packages:
            child("evaluate", str(package))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["lower", model, precision, output]:
            lower(Path(model), precision, Path(output))
        case ["evaluate", package]:
            evaluate(Path(package))
        case [model, *packages]:
            main(Path(model), [Path(package) for package in packages])
        case _:
            sys.exit(__doc__)
