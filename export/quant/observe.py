"""One pass of the float net over the calibration pictures: everything later stages ask of it.

Pictures go through the whole net a few at a time and only summaries stay, so that memory is that
of one chunk, however many pictures there are.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.passes.finite_masks import MASKED
from edgeconv.export.quant.batching import batched
from edgeconv.export.quant.float_run import Feeds, Floats, run_float, with_highest
from edgeconv.export.quant.gather import MOST_EXTREMES, SAMPLES, Gatherer, TensorStats

__all__ = ["Feeds", "Floats", "Observation", "Progress", "TensorStats", "observe", "picture_means"]

Progress = Callable[[float], None]

SUMMED = 257
"""Bytes that fit into a sum of 16 bits, which adds up twice as fast."""
AVERAGED = 32
"""Pictures whose means are kept one by one; of vectors those of all that are gathered whole."""


@dataclass
class Observation:
    """The float net over all pictures.

    ``tensors`` by name; ``sums`` by name and n, the sum of the first n pictures; ``outputs`` by
    name, (pictures, ...). ``means`` by name, (AVERAGED pictures at most, of vectors all that are gathered
    whole, channels). ``peaks``: of tensors that a Softmax or ReduceMax reads, the least of its rows' largest values.
    """

    pictures: int
    tensors: dict[str, TensorStats] = field(default_factory=dict)
    sums: dict[tuple[str, int], Floats] = field(default_factory=dict)
    means: dict[str, Floats] = field(default_factory=dict)
    outputs: dict[str, Floats] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def mean(self, tensor: str, pictures: int) -> Floats:
        """Return the mean of a summed tensor over the first pictures, of its own shape (1, ...)."""
        return self.sums[tensor, pictures] / np.float32(pictures)


def observe(
    graph: Graph,
    feeds: Feeds,
    *,
    summed: Collection[str] = (),
    counts: Collection[int] = (),
    averaged: Mapping[str, int] | None = None,
    whole: int | None = None,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> Observation:
    """Run the float net over ``feeds``.

    ``summed`` names tensors whose sums over the first n pictures are wanted, for each n in
    ``counts``; ``averaged`` those whose means along an axis are wanted, a picture. The first ``whole``
    pictures are gathered whole (None: all), of the others only outputs and extremes. Raises EdgeconvError
    naming the tensor where a value is not finite.
    """
    watched = [*graph.inputs, *(out for node in graph.nodes for out in node.outputs if out)]
    watched = [t for t in watched if graph.dtype(t) == np.float32 and 0 not in graph.shape(t)]
    first = len(feeds) if whole is None else min(whole, len(feeds))
    seen = Observation(len(feeds))
    places = max(64, SAMPLES // first)
    rows = min(len(feeds), MOST_EXTREMES)
    gatherers = {
        t: Gatherer(t, graph.shape(t), places, counts if t in summed else (), rows) for t in watched
    }
    peaks = _Peaks(graph, watched)
    pieces: dict[str, list[Floats]] = {name: [] for name in graph.outputs}
    means: dict[str, list[Floats]] = {}
    done = 0
    for count, values in run_float(graph, watched, feeds[:first], threads):
        for tensor, gatherer in gatherers.items():
            gatherer.take(values[tensor])
        _keep(pieces, peaks, values)
        for name, axis in (averaged or {}).items():
            found = values[name].reshape(-1, *graph.shape(name))
            if found[0].size > found.shape[axis + 1]:
                found = found[: max(0, AVERAGED - done)]
            if len(found):
                means.setdefault(name, []).append(picture_means(found, axis))
        done += count
        progress(done / len(feeds))
    others, wider, tops = _of_the_others(graph, gatherers, peaks)
    for count, values in run_float(wider, others, feeds[first:], threads):
        for name in others:
            gatherers[name].take_extremes(values[name])
        for name, tensor in tops.items():
            gatherers[tensor].take_extremes(values[name])
        _keep(pieces, peaks, values)
        done += count
        progress(done / len(feeds))
    for tensor, gatherer in gatherers.items():
        seen.tensors[tensor] = gatherer.stats()
        seen.sums.update({(tensor, n): total for n, total in gatherer.totals.items()})
    seen.means = {name: np.concatenate(parts) for name, parts in means.items()}
    seen.outputs = {name: np.concatenate(parts) for name, parts in pieces.items()}
    seen.peaks = {name: peak for name, peak in peaks.found.items() if np.isfinite(peak)}
    for node in graph.of("ReduceMax"):
        if node.output in seen.tensors:
            least = float(seen.tensors[node.output].low.min())
            seen.peaks[node.inputs[0]] = min(least, seen.peaks.get(node.inputs[0], np.inf))
    return seen


class _Peaks:
    """The least of the largest values in the rows of what each Softmax reads, wholly masked rows apart."""

    def __init__(self, graph: Graph, watched: Collection[str]) -> None:
        self.axes = {
            node.inputs[0]: _from_last(node.int("axis", -1), len(graph.shape(node.inputs[0])))
            for node in graph.of("Softmax")
            if node.inputs[0] in watched
        }
        self.found: dict[str, float] = {}

    def take(self, values: Mapping[str, Floats]) -> None:
        """Look at a chunk."""
        for name, axis in self.axes.items():
            tops = values[name].max(axis=axis)
            peak = float(tops.min(where=tops > MASKED / 2, initial=np.inf))
            self.found[name] = min(peak, self.found.get(name, np.inf))


def _keep(pieces: dict[str, list[Floats]], peaks: _Peaks, values: Mapping[str, Floats]) -> None:
    for name, parts in pieces.items():
        parts.append(np.array(values[name]))
    peaks.take(values)


def _of_the_others(
    graph: Graph, gatherers: Mapping[str, Gatherer], peaks: _Peaks
) -> tuple[list[str], Graph, dict[str, str]]:
    """Return what the extremes of further pictures are read from: tensors, and a graph with highest values.

    Of a rectified plane only the highest values can widen its range (0 is in every range), and nothing where
    they have met the activation's bound. Taking planes out of onnxruntime costs more than the net.
    """
    apart = {*graph.inputs, *graph.outputs, *peaks.axes}
    makers = graph.producers()
    others, rectified = [], []
    for tensor, gatherer in gatherers.items():
        shape = graph.shape(tensor)
        clamp = None if tensor in apart else makers[tensor].clamp
        if clamp is None or clamp[0] < 0 or len(shape) != 4 or shape[0] != 1:
            others.append(tensor)
        elif gatherer.high.max() < clamp[1]:
            rectified.append(tensor)
    if batched(graph) is None:
        return [*others, *rectified], graph, {}
    return others, *with_highest(graph, rectified)


def picture_means(values: NDArray[Any], axis: int) -> Floats:
    """Return, of pictures (n, ...), the mean of each at every place of its ``axis``: (n, places)."""
    others = tuple(i for i in range(1, values.ndim) if i != axis + 1)
    if values.dtype.itemsize == 1 and (rows := _rows(values, axis)) is not None:
        total = np.zeros((len(rows), rows.shape[2]), np.uint32)
        for start in range(0, rows.shape[1], SUMMED):
            total += np.add.reduce(rows[:, start : start + SUMMED], axis=1, dtype=np.uint16)
        return total.astype(np.float32) / np.float32(rows.shape[1])
    means: Floats = values.mean(axis=others, dtype=np.float32)
    return means


def _rows(values: NDArray[Any], axis: int) -> NDArray[Any] | None:
    """Return a view (n, places, channels) of pictures whose channels lie last; None of others."""
    last = np.moveaxis(values, axis + 1, -1)
    return last.reshape(len(last), -1, last.shape[-1]) if last.flags.c_contiguous else None


def _from_last(axis: int, rank: int) -> int:
    return axis % rank - rank
