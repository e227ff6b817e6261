"""The float net over pictures, a few at a time, with what it makes on its way."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeconv.ahead import in_order
from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import to_onnx
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.quant.batching import batched, set_batch
from edgeconv.export.quant.sessions import session

Floats = NDArray[np.float32]
Feeds = Sequence[Mapping[str, Floats]]

CHUNK_BYTES = 32 << 20
"""Float activations of one chunk, where more than a picture fits."""
AHEAD_BYTES = 128 << 20
"""Those of the chunks that run while one is looked at."""


def stack(feeds: Feeds, name: str) -> Floats:
    """Join pictures of shape (1, ...) to (n, ...)."""
    return np.concatenate([np.asarray(feed[name]) for feed in feeds])


def with_highest(graph: Graph, tensors: Sequence[str]) -> tuple[Graph, dict[str, str]]:
    """Return a graph that makes the highest value of each channel of ``tensors`` (1, C, H, W) too.

    Second come the tensors' names by those of their highest values, (1, C, 1, 1). onnxruntime takes
    these from where a convolution left its output, which is not how the output leaves the session.
    """
    other, names = graph.clone(), {}
    for tensor in tensors:
        name = f"{tensor}.highest"
        other.nodes.append(Node("GlobalMaxPool", name, [tensor], [name]))
        other.outputs.append(other.declare(name, (*graph.shape(tensor)[:2], 1, 1), np.float32))
        names[name] = tensor
    return other, names


def run_float(
    graph: Graph, watched: Sequence[str], feeds: Feeds, threads: int
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Yield chunk after chunk: n, and every watched tensor and output of its n pictures, (n, ...).

    The arrays last until the next chunk is asked for. While one is looked at the next ones run, a thread
    each, where memory permits: the layers of one picture are too small to share.
    """
    plain = graph.clone()
    expand_shuffles(plain)
    wide = batched(plain)
    model = to_onnx(wide if wide is not None else plain)
    present = {value.name for value in [*model.graph.input, *model.graph.output]}
    for tensor in watched:
        if tensor not in present:
            value = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
            model.graph.output.append(value)
    made = [out for node in graph.nodes for out in node.outputs if out]
    bytes_each = max(1, 4 * sum(int(np.prod(graph.shape(t))) for t in made))
    step = 1
    if wide is not None:
        set_batch(model)
        step = int(np.clip(CHUNK_BYTES // bytes_each, 1, 32))
    ahead = min(threads, AHEAD_BYTES // (step * bytes_each)) if threads > 1 else 0
    running = session(model, threads=threads // max(1, ahead))
    names = [output.name for output in model.graph.output]
    free = SimpleQueue[_Bound]()

    def run(part: Feeds) -> tuple[int, dict[str, Floats], _Bound]:
        bound = _Bound.of(free, running, graph, names, len(part) if wide is not None else 0)
        fed = {name: _fed(part, name, wide is not None) for name in graph.inputs}
        for name, fed_value in fed.items():
            bound.binding.bind_cpu_input(name, fed_value)
        running.run_with_iobinding(bound.binding)
        there = bound.values | fed
        wanted = dict.fromkeys([*watched, *graph.outputs])
        return len(part), {t: _by_picture(graph, t, there[t], len(part)) for t in wanted}, bound

    parts = (feeds[start : start + step] for start in range(0, len(feeds), step))
    for count, values, bound in in_order(run, parts, ahead if len(feeds) > step else 0):
        yield count, values
        free.put(bound)


def _by_picture(graph: Graph, tensor: str, made: NDArray[Any], pictures: int) -> NDArray[Any]:
    """Return (n, ...) of a tensor (1, ...), else (n, its own shape)."""
    shape = graph.shape(tensor)
    return made if shape[:1] == (1,) else made.reshape(pictures, *shape)


def _fed(part: Feeds, name: str, wide: bool) -> NDArray[Any]:
    return stack(part, name) if wide else np.asarray(part[0][name])


@dataclass(frozen=True)
class _Bound:
    """Memory for the outputs of so many pictures (0: a net that takes one), bound to a session once.

    Fresh pages for every chunk would cost more than the net.
    """

    pictures: int
    binding: Any
    values: dict[str, Floats]

    @classmethod
    def of(
        cls,
        free: "SimpleQueue[_Bound]",
        running: Any,
        graph: Graph,
        names: list[str],
        pictures: int,
    ) -> "_Bound":
        """Return what nobody looks at any more, else a new one."""
        with suppress(Empty):
            bound = free.get_nowait()
            if bound.pictures == pictures:
                return bound
        binding = running.io_binding()
        values = {}
        for name in names:
            shape = graph.shape(name)
            shape = (pictures * shape[0], *shape[1:]) if pictures else shape
            array = values[name] = np.empty(shape, graph.dtype(name))
            binding.bind_output(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
        return cls(pictures, binding, values)
