"""One pass of the float net over the calibration pictures: everything later stages ask of it.

Pictures go through the whole net a few at a time and only summaries stay, so that memory is that
of one chunk, however many pictures there are.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import to_onnx
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.quant.batching import batched, set_batch
from edgeconv.export.quant.sessions import session

Floats = NDArray[np.float32]
Feeds = Sequence[Mapping[str, Floats]]
Progress = Callable[[float], None]

SAMPLES = 100_000
"""Values kept of each tensor to choose its range by, over all pictures."""
MOST_EXTREMES = 128
"""Rows of extremes kept of each tensor; even, so that rows of one parity are half of the pictures."""
AVERAGED = 32
"""Pictures whose means are kept one by one; of vectors those of all."""
CHUNK_BYTES = 32 << 20
"""Float activations held at once."""


@dataclass
class TensorStats:
    """What one tensor did, in real values.

    ``low`` and ``high`` are (rows, channels) extremes: a row is one picture, of more than
    MOST_EXTREMES every MOST_EXTREMES-th together; ``sample`` is (pictures, k) values
    taken at the same k flat ``places`` of each picture, ``channel`` (k,) the channel of each. A
    tensor's channels are its second axis.
    """

    low: Floats
    high: Floats
    sample: Floats
    channel: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass
class Observation:
    """The float net over all pictures.

    ``tensors`` by name; ``sums`` by name and n, the sum of the first n pictures; ``outputs`` by
    name, (pictures, ...). ``means`` by name, (AVERAGED pictures at most, of vectors all, channels). ``peaks``: of tensors that a Softmax reads, the least of its rows' largest
    values.
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


def stack(feeds: Feeds, name: str) -> Floats:
    """Join pictures of shape (1, ...) to (n, ...)."""
    return np.concatenate([np.asarray(feed[name]) for feed in feeds])


def observe(
    graph: Graph,
    feeds: Feeds,
    *,
    summed: Collection[str] = (),
    counts: Collection[int] = (),
    averaged: Mapping[str, int] | None = None,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> Observation:
    """Run the float net over ``feeds``.

    ``summed`` names tensors whose sums over the first n pictures are wanted, for each n in
    ``counts``; ``averaged`` those whose means along an axis are wanted, a picture. Raises EdgeconvError naming the tensor where a value is not finite.
    """
    watched = [*graph.inputs, *(out for node in graph.nodes for out in node.outputs if out)]
    watched = [t for t in watched if graph.dtype(t) == np.float32 and 0 not in graph.shape(t)]
    seen = Observation(len(feeds))
    places = max(64, SAMPLES // len(feeds))
    rows = min(len(feeds), MOST_EXTREMES)
    gatherers = {
        t: _Gatherer(t, graph.shape(t), places, counts if t in summed else (), rows)
        for t in watched
    }
    rows_of = {
        node.inputs[0]: _from_last(node.int("axis", -1), len(graph.shape(node.inputs[0])))
        for node in graph.of("Softmax")
        if node.inputs[0] in watched
    }
    pieces: dict[str, list[Floats]] = {name: [] for name in graph.outputs}
    means: dict[str, list[Floats]] = {}
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for count, values in _run(graph, watched, feeds, threads):
            list(pool.map(lambda t, v=values: gatherers[t].take(v[t]), watched))
            for name in graph.outputs:
                pieces[name].append(np.array(values[name]))
            for name, axis in rows_of.items():
                peak = float(values[name].max(axis=axis).min())
                seen.peaks[name] = min(peak, seen.peaks.get(name, peak))
            for name, axis in (averaged or {}).items():
                whole = values[name].reshape(-1, *graph.shape(name))
                if whole[0].size > whole.shape[axis + 1]:
                    whole = whole[: max(0, AVERAGED - done)]
                if len(whole):
                    means.setdefault(name, []).append(picture_means(whole, axis))
            done += count
            progress(done / len(feeds))
    for tensor, gatherer in gatherers.items():
        seen.tensors[tensor] = gatherer.stats()
        seen.sums.update({(tensor, n): total for n, total in gatherer.totals.items()})
    seen.means = {name: np.concatenate(parts) for name, parts in means.items()}
    seen.outputs = {name: np.concatenate(parts) for name, parts in pieces.items()}
    return seen


def picture_means(values: NDArray[Any], axis: int) -> Floats:
    """Return, of pictures (n, ...), the mean of each at every place of its ``axis``: (n, places)."""
    others = tuple(i for i in range(1, values.ndim) if i != axis + 1)
    means: Floats = values.mean(axis=others, dtype=np.float32)
    return means


def _from_last(axis: int, rank: int) -> int:
    return axis % rank - rank


def _run(
    graph: Graph, watched: list[str], feeds: Feeds, threads: int
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Yield chunk after chunk: n, and every watched tensor and output of its n pictures, (n, ...)."""
    plain = graph.clone()
    expand_shuffles(plain)
    wide = batched(plain)
    model = to_onnx(wide if wide is not None else plain)
    present = {value.name for value in [*model.graph.input, *model.graph.output]}
    for tensor in watched:
        if tensor not in present:
            value = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
            model.graph.output.append(value)
    step = 1
    if wide is not None:
        set_batch(model)
        bytes_each = 4 * sum(int(np.prod(graph.shape(t))) for t in watched)
        step = int(np.clip(CHUNK_BYTES // max(bytes_each, 1), 1, 32))
    running = session(model, threads=threads)
    names = [output.name for output in model.graph.output]
    for start in range(0, len(feeds), step):
        part = feeds[start : start + step]
        fed = {name: _fed(part, name, wide is not None) for name in graph.inputs}
        if start == 0 or len(part) < step:
            binding, values = _bind(running, graph, names, len(part) if wide is not None else 0)
        for name, fed_value in fed.items():
            binding.bind_cpu_input(name, fed_value)
        running.run_with_iobinding(binding)
        made = values | fed
        wanted = dict.fromkeys([*watched, *graph.outputs])
        yield len(part), {t: _by_picture(graph, t, made[t], len(part)) for t in wanted}


def _by_picture(graph: Graph, tensor: str, made: NDArray[Any], pictures: int) -> NDArray[Any]:
    """Return (n, ...) of a tensor (1, ...), else (n, its own shape)."""
    shape = graph.shape(tensor)
    return made if shape[:1] == (1,) else made.reshape(pictures, *shape)


def _fed(part: Feeds, name: str, wide: bool) -> NDArray[Any]:
    return stack(part, name) if wide else np.asarray(part[0][name])


def _bind(
    running: Any, graph: Graph, names: list[str], pictures: int
) -> tuple[Any, dict[str, Floats]]:
    """Give the outputs memory once: fresh pages for every chunk would cost more than the net."""
    binding = running.io_binding()
    values = {}
    for name in names:
        shape = graph.shape(name)
        shape = (pictures * shape[0], *shape[1:]) if pictures else shape
        array = values[name] = np.empty(shape, graph.dtype(name))
        binding.bind_output(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
    return binding, values


class _Gatherer:
    """Summarises one tensor over chunks."""

    def __init__(
        self,
        tensor: str,
        shape: tuple[int, ...],
        count: int,
        counts: Collection[int],
        rows: int,
    ) -> None:
        self.tensor, self.shape = tensor, shape
        self.taken = 0
        size = int(np.prod(shape))
        self.channels = shape[1] if len(shape) > 1 else 1
        self.batch = shape[0] if len(shape) > 1 else 1
        shift = np.random.default_rng(size).random(min(size, count))
        places = ((np.arange(len(shift)) + shift) * (size / len(shift))).astype(np.int64)
        self.places = np.arange(size) if size <= count else np.minimum(places, size - 1)
        self.counts = sorted(counts)
        self.total = np.zeros(size if self.counts else 0, np.float32)
        self.totals: dict[int, Floats] = {}
        self.low = np.full((rows, self.channels), np.inf, np.float32)
        self.high = np.full((rows, self.channels), -np.inf, np.float32)
        self.samples: list[Floats] = []

    def take(self, values: Floats) -> None:
        """Add a chunk (n, ...)."""
        n = len(values)
        flat = values.reshape(n, -1)
        rows = values.reshape(n, self.batch, self.channels, -1)
        low, high = rows.min(axis=(1, 3)), rows.max(axis=(1, 3))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise EdgeconvError(
                f"the float net makes a value that is not finite in {self.tensor}: check the "
                "weights and the pictures"
            )
        places = np.arange(self.taken, self.taken + n) % len(self.low)
        self.low[places] = np.minimum(self.low[places], low)
        self.high[places] = np.maximum(self.high[places], high)
        self.samples.append(flat.take(self.places, axis=1))
        for start, stop in self._parts(n):
            for row in flat[start:stop]:  # a product would write a vector of its own first
                self.total += row
            if self.taken + stop in self.counts:
                self.totals[self.taken + stop] = self.total.reshape(self.shape).copy()
        self.taken += n

    def _parts(self, n: int) -> Iterator[tuple[int, int]]:
        """Cut a chunk of ``n`` where a sum is due; nothing comes after the last."""
        ends = [count - self.taken for count in self.counts if count > self.taken]
        start = 0
        for end in ends:
            if start < min(end, n):
                yield start, min(end, n)
            start = end

    def stats(self) -> TensorStats:
        """Join what the chunks left."""
        plane = max(1, int(np.prod(self.shape[2:])))
        channel = self.places // plane % self.channels
        sample = np.concatenate(self.samples)
        return TensorStats(self.low, self.high, sample, channel, self.places)
