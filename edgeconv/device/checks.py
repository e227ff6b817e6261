"""Inputs with the outputs they gave here, so that a board can say how far its own are from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs
from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.base import Runner, open_runner
from edgeconv.spread import places

COUNT = 8

Arrays = dict[str, NDArray[Any]]


def record(path: Path, count: int = COUNT) -> Arrays:
    """Run a file here; return ``input:NAME`` and ``output:NAME`` with ``count`` samples on the first axis.

    The samples are the export's own verification pictures where they are there, else random.
    """
    with open_runner(path, isolate=True) as runner:
        samples = _samples(path, runner, count)
        results = [runner.infer(sample) for sample in samples]
        found = {f"input:{n}": np.stack([s[n] for s in samples]) for n in samples[0]}
        found |= {f"output:{n}": np.stack([r[n] for r in results]) for n in results[0]}
        return found


def _samples(path: Path, runner: Runner, count: int) -> list[dict[str, Any]]:
    artifact = load_artifact(path)
    if artifact is not None and len(runner.inputs) == 1 and runner.inputs[0].shape[0] == 1:
        spec = runner.inputs[0]
        try:
            arrays = artifact.verification()
        except EdgeconvError:
            arrays = {}
        pictures = [value for name, value in arrays.items() if name.startswith("input:")]
        if len(pictures) == 1:
            chosen = pictures[0][places(len(pictures[0]), count)]
            batch = adapt_inputs(chosen, "nchw", artifact.inputs[0])
            return [{spec.name: np.ascontiguousarray(batch[i : i + 1])} for i in range(len(batch))]
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(count):
        sample: dict[str, Any] = {}
        for spec in runner.inputs:
            kind = np.dtype(spec.dtype)
            if kind.kind == "f":
                sample[spec.name] = rng.standard_normal(spec.shape).astype(kind)
            else:
                low, high = (
                    (0, 2) if kind.itemsize > 1 else (np.iinfo(kind).min, np.iinfo(kind).max)
                )
                sample[spec.name] = rng.integers(low, high, spec.shape).astype(kind)
        samples.append(sample)
    return samples


def compare(path: Path, recorded: Mapping[str, NDArray[Any]], **options: Any) -> dict[str, Any]:
    """Run a file on the recorded inputs; say for each output how far it is from the recorded one.

    ``max_difference`` is in the output's stored unit (levels for integers), ``equal`` the share of
    equal values, ``same_top1`` the share of samples with the same largest value.
    """
    inputs = {n[6:]: a for n, a in recorded.items() if n.startswith("input:")}
    with open_runner(path, **options) as runner:
        count = len(next(iter(inputs.values())))
        results = [runner.infer({n: a[i] for n, a in inputs.items()}) for i in range(count)]
        name = f"{runner.name} {runner.version}"
    found = {}
    for key, wanted in recorded.items():
        if not key.startswith("output:"):
            continue
        got = np.stack([result[key[7:]] for result in results])
        difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
        if not np.isfinite(difference).all():
            raise EdgeconvError(f"{path.name}: output {key[7:]} is not finite on this board")
        flat_got, flat_wanted = got.reshape(count, -1), wanted.reshape(count, -1)
        found[key[7:]] = {
            "max_difference": float(difference.max()),
            "equal": float((got == wanted).mean()),
            "same_top1": float((flat_got.argmax(1) == flat_wanted.argmax(1)).mean()),
        }
    return {"runtime": name, "samples": count, "outputs": found}
