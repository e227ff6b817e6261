"""Run a file over samples: the one loop of an export's verification and of parity."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, adapt_outputs, match_names
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.base import Runner
from edgeconv.tensors import Layout, TensorSpec

Array = NDArray[Any]
Feed = Mapping[str, Array]


def run_feeds(
    runner: Runner,
    feeds: Iterable[Feed],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    layout: Layout = "nchw",
) -> tuple[dict[str, Array], float]:
    """Run every feed, hub input -> one batch in ``layout``; return what it gave and the seconds in it.

    Inputs and outputs are converted as ``inputs`` and ``outputs`` (the file's own) declare. Outputs
    are real values, (samples, ...), batches one after the other; one that has no batch is repeated.
    """
    kept: dict[str, list[Array]] = {spec.name: [] for spec in outputs}
    batch = inputs[0].shape[0] if inputs and inputs[0].shape else 1
    names: dict[str, str] | None = None
    seconds = 0.0
    for feed in feeds:
        names = names or match_names([spec.name for spec in inputs], list(feed), "input")
        given = {
            spec.name: adapt_inputs(feed[names[spec.name]], layout, spec).reshape(spec.shape)
            for spec in inputs
        }
        begin = time.perf_counter()
        made = runner.infer(given)
        seconds += time.perf_counter() - begin
        for spec in outputs:
            kept[spec.name].append(as_rows(adapt_outputs(made[spec.name], spec), batch))
    return {name: _joined(name, rows) for name, rows in kept.items()}, seconds


def _joined(name: str, rows: Sequence[Array]) -> Array:
    shapes = sorted({row.shape[1:] for row in rows})
    if len(shapes) > 1:
        raise EdgeconvError(
            f"output {name} has another shape from sample to sample, {list(shapes[0])} and {list(shapes[-1])} (NMS inside the "
            "graph?): a file with outputs of one shape can be compared, such as the graph up to its NMS"
        )
    return np.concatenate(rows)


def placed(
    spec: TensorSpec, known: Sequence[TensorSpec], layout: Layout | None = None
) -> TensorSpec:
    """Return the manifest's description of ``spec`` where there is one, else ``spec`` in ``layout``."""
    for other in known:
        if other.name == spec.name and other.shape == spec.shape and other.dtype == spec.dtype:
            return other
    if layout is None or len(spec.shape) != 4:
        return spec
    return TensorSpec(spec.name, spec.shape, spec.dtype, layout, spec.quantization)


def all_placed(specs: Sequence[TensorSpec], known: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return ``placed`` of each; by position where the runtime knows no names."""
    if len(specs) == len(known) and not {s.name for s in specs} & {s.name for s in known}:
        known = [replace(k, name=s.name) for s, k in zip(specs, known, strict=True)]
    return [placed(spec, known) for spec in specs]


def as_rows(value: Array, batch: int) -> Array:
    """Return an output as (samples, ...): one that has no batch is the same for all of it."""
    return value if value.ndim and len(value) == batch else np.repeat(value[None], batch, axis=0)


def batches(arrays: Mapping[str, Array], size: int, count: int) -> Iterable[Feed]:
    """Yield ``count`` samples, ``size`` at a time, the last repeated where the last batch has fewer."""
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield {name: array[rows] for name, array in arrays.items()}
