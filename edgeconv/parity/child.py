"""Run one cell of the matrix in a process of its own: a crash costs that cell and nothing else.

``run_cell`` is the parent's side, ``work`` the child's, which runs every picture.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import spec_from_json, spec_to_json
from edgeconv.isolate import call
from edgeconv.judge.outputs import Outputs
from edgeconv.judge.run import batches, placed, run_feeds
from edgeconv.runtimes.base import Delegates, Doubts, Runner, open_runner
from edgeconv.spread import spread_rows
from edgeconv.tensors import Layout, TensorSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """What a child runs. ``inputs``: hub input -> .npy of (pictures, ...) in ``layout``.

    ``input_specs`` and ``output_specs`` replace what the runtime says of the file, where a manifest
    knows better (half steps of exact pixels); ``file_layout`` says where a foreign file's channels
    are; ``count`` is how many samples to run at most, whole feeds of them, spread evenly (None: all). ``out`` is the .npz to write.
    ``frozen`` is what goes into inputs that the hub has not: they are constants there.
    """

    path: Path
    runtime: str
    inputs: Mapping[str, Path]
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    layout: Layout = "nchw"
    input_specs: Sequence[TensorSpec] = ()
    output_specs: Sequence[TensorSpec] = ()
    file_layout: Layout | None = None
    count: int | None = None
    frozen: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON data."""
        return {
            "path": str(self.path),
            "runtime": self.runtime,
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "out": str(self.out),
            "options": dict(self.options),
            "threads": self.threads,
            "layout": self.layout,
            "input_specs": [spec_to_json(spec) for spec in self.input_specs],
            "output_specs": [spec_to_json(spec) for spec in self.output_specs],
            "file_layout": self.file_layout,
            "count": self.count,
            "frozen": dict(self.frozen),
        }


def job_from_json(data: Mapping[str, Any]) -> Job:
    """Read what Job.to_json wrote."""
    return Job(
        path=Path(data["path"]),
        runtime=data["runtime"],
        inputs={name: Path(path) for name, path in data["inputs"].items()},
        out=Path(data["out"]),
        options=data["options"],
        threads=data["threads"],
        layout=data["layout"],
        input_specs=[spec_from_json(item) for item in data["input_specs"]],
        output_specs=[spec_from_json(item) for item in data["output_specs"]],
        file_layout=data["file_layout"],
        count=data["count"],
        frozen=data["frozen"],
    )


def save_feeds(inputs: Mapping[str, Array], scratch: Path) -> dict[str, Path]:
    """Write each input as .npy, which the children map instead of copying."""
    feeds = {}
    for number, (name, array) in enumerate(inputs.items()):
        feeds[name] = scratch / f"input{number}.npy"
        np.save(feeds[name], array)
    return feeds


def run_cell(job: Job, python: Sequence[str] = (), timeout_s: float | None = None) -> Outputs:
    """Run ``job`` in a child process and return its outputs.

    ``python`` starts the interpreter (default: this one). Raises EdgeconvError with the child's own
    sentence, with the signal's name where it crashed, or where it takes longer than ``timeout_s``.
    """
    what = f"{job.runtime} on {job.path.name}"
    asked = job.to_json()
    about = call("edgeconv.parity.child:work", asked, what, timeout_s=timeout_s, python=python)
    with np.load(job.out, allow_pickle=False) as stored:
        arrays = {name.removeprefix("output:"): stored[name] for name in stored.files}
    return Outputs(arrays, about)


def run_pictures(
    runner: Any, job: Job, hub: Mapping[str, Array]
) -> tuple[dict[str, Array], float, list[int] | None]:
    """Run the pictures; return real outputs in the hub's layout, the seconds inside infer, and which, where not all."""
    inputs = [placed(spec, job.input_specs, job.file_layout) for spec in runner.inputs]
    outputs = [placed(spec, job.output_specs, job.file_layout) for spec in runner.outputs]
    count = min(len(array) for array in hub.values())
    size = inputs[0].shape[0] if inputs and inputs[0].shape else 1
    rows = None
    if job.count is not None and job.count // size < count // size:
        chosen = spread_rows(count, size, job.count // size)
        hub = {name: array[chosen] for name, array in hub.items()}
        rows, count = [int(row) for row in chosen], len(chosen)
    frozen = {
        spec.name: np.broadcast_to(job.frozen[spec.name], spec.shape)
        for spec in inputs
        if spec.name in job.frozen
    }
    feeds = ({**feed, **frozen} for feed in batches(hub, size, count))
    arrays, seconds = run_feeds(runner, feeds, inputs, outputs, job.layout)
    return {name: array[:count] for name, array in arrays.items()}, seconds, rows


def delegation(runner: Runner, job: Job) -> dict[str, float]:
    """Return how many nodes XNNPACK left to the builtin kernels, where the runtime has delegates."""
    if not isinstance(runner, Delegates) or not job.options.get("xnnpack", True):
        return {}
    found = runner.delegation()
    return {"fallback_nodes": float(found.ops - found.delegated)}


def work(value: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job here: write the outputs and return what ran; the child's side of ``run_cell``."""
    started = time.perf_counter()
    job = job_from_json(value)
    hub = {name: np.load(path, mmap_mode="r") for name, path in job.inputs.items()}
    with open_runner(
        job.path, threads=job.threads, runtime=job.runtime, **dict(job.options)
    ) as runner:
        loaded = time.perf_counter()
        arrays, seconds, rows = run_pictures(runner, job, hub)
        about = {
            "runtime": runner.name,
            "version": runner.version,
            "threads": runner.threads,
            "rows": rows,
            "infer_s": seconds,
            "loop_s": time.perf_counter() - loaded,
            "load_s": loaded - started,
            "scales": {
                spec.name: spec.quantization.scale
                for spec in runner.outputs
                if spec.quantization is not None
            },
            "delegation": delegation(runner, job),
            "doubts": list(runner.doubts()) if isinstance(runner, Doubts) else [],
            "integer": any(spec.dtype in ("int8", "uint8") for spec in runner.inputs),
        }
    prefixed = {f"output:{name}": array for name, array in arrays.items()}
    np.savez(job.out, **prefixed)  # type: ignore[arg-type] # names become keywords
    return about
