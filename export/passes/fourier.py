"""Write Fourier transforms of constant length as products: their sines and cosines are constants.

Given:   x (..., n, 1 | 2, ...) -> DFT -> y
Result:  x -> Transpose -> Reshape(..., n*parts) -> MatMul -> Reshape -> Transpose -> y

Given:   signal (N, L) or (N, L, 1), constant step, length and window -> STFT -> y (N, frames, bins, 2)
Result:  signal -> Gather(the frames) -> MatMul(windowed sines and cosines) -> Reshape -> y

Emitters call this for the node that they are at; it is no pass of a list, because ONNX has the
operators, and spectra span more than 8 bits.
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.steps import Steps


def _matrix(taken: int, length: int, bins: int, parts: int, *, inverse: bool) -> Array:
    """Return the transform of ``taken`` samples, real or complex: (taken*parts, bins*2)."""
    angle = 2 * np.pi * np.outer(np.arange(taken), np.arange(bins)) / length
    cos, sin = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    rows = [np.stack([cos, sin], -1), np.stack([-sin, cos], -1)][:parts]
    whole = np.stack(rows, 1).reshape(taken * parts, bins * 2)
    return np.asarray(whole / (length if inverse else 1), np.float32)


def _from_half(taken: int, length: int) -> Array:
    """Return the inverse transform to real values of half a spectrum: (taken*2, length)."""
    bins = np.arange(taken)
    angle = 2 * np.pi * np.outer(bins, np.arange(length)) / length
    twice = np.where((bins == 0) | (2 * bins == length), 1, 2)[:, None] / length
    whole = np.stack([twice * np.cos(angle), -twice * np.sin(angle)], 1)
    return np.asarray(whole.reshape(taken * 2, length), np.float32)


def _given_axis(graph: Graph, node: Node) -> int | None:
    """Return the axis that a DFT names, as an attribute or since opset 20 as an input; None: neither."""
    rank = len(graph.shape(node.inputs[0]))
    if len(node.inputs) > 2 and node.inputs[2]:
        known = graph.constant(node, 2)
        return None if known is None else int(known.reshape(-1)[0]) % rank
    if "axis" in node.attrs or rank == 3:  # the default was 1 and is -2
        return node.int("axis", 1) % rank
    return None


def why_no_transform(graph: Graph, node: Node) -> str | None:
    """Say why a DFT or STFT cannot be written as products; None where it can."""
    shape = graph.shape(node.inputs[0])
    decided = [place for place in (1, 2, 3) if place < len(node.inputs) and node.inputs[place]]
    if any(graph.constant(node, place) is None for place in decided):
        return "its length, axis, step or window is computed"
    if node.op == "STFT":
        if not decided[1:]:
            return "it names neither a window nor the length of its frames"
        return "its signal is complex" if shape[2:] == (2,) else None
    axis = _given_axis(graph, node)
    return "its axis is not named, or that of the parts" if axis in (None, len(shape) - 1) else None


def dft_by_product(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute a DFT; their tensors and constants are declared in ``graph``."""
    shape, made = graph.shape(node.inputs[0]), graph.shape(node.output)
    length = graph.constant(node, 1) if len(node.inputs) > 1 and node.inputs[1] else None
    inverse, onesided = (bool(node.int(flag, 0)) for flag in ("inverse", "onesided"))
    rank, axis = len(shape), _given_axis(graph, node) or 0
    parts, bins, gives = shape[-1], made[axis], made[-1]
    count = shape[axis] if length is None else int(length.reshape(-1)[0])
    steps, source = Steps(graph, node), node.inputs[0]
    order = [*(place for place in range(rank - 1) if place != axis), axis, rank - 1]
    lead = [shape[place] for place in order[:-2]]
    source = steps.do("Transpose", source, shape=[shape[p] for p in order], perm=order)
    flat = [*lead, shape[axis] * parts]
    source = steps.do("Reshape", source, steps.integers(flat), shape=flat)
    taken = min(shape[axis], count)
    if inverse and onesided:
        taken = min(shape[axis], bins // 2 + 1)
        filled = _from_half(taken, bins)
    else:
        filled = _matrix(taken, count, bins, parts, inverse=inverse)
    matrix = np.zeros((flat[-1], bins * gives), np.float32)
    matrix[: taken * parts] = filled
    wide, apart = [*lead, bins * gives], [*lead, bins, gives]
    product = steps.do("MatMul", source, steps.constant(matrix), shape=wide)
    pairs = steps.do("Reshape", product, steps.integers(apart), shape=apart)
    return steps.ended("Transpose", pairs, perm=[order.index(place) for place in range(rank)])


def stft_by_products(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute an STFT; their tensors and constants are declared in ``graph``."""
    batch, length = graph.shape(node.inputs[0])[:2]
    frames, bins = graph.shape(node.output)[1:3]
    given = {
        place: np.reshape(graph.constants[node.inputs[place]], -1)
        for place in (1, 2, 3)
        if place < len(node.inputs) and node.inputs[place]
    }
    window = given.get(2)
    count = int(given[3][0]) if 3 in given else np.size(given[2])
    matrix = _matrix(count, count, bins, 1, inverse=False)
    if window is not None:
        matrix = matrix * window.reshape(-1, 1).astype(np.float32)
    steps, apart = Steps(graph, node), int(given[1][0])
    line, rows, wide = (batch, length), (batch, frames, count), (batch, frames, 2 * bins)
    signal = steps.do("Reshape", node.inputs[0], steps.integers(line), shape=line)
    places = (np.arange(frames)[:, None] * apart + np.arange(count)).reshape(-1)
    cut = steps.do("Gather", signal, steps.integers(places), shape=(batch, frames * count), axis=1)
    cut = steps.do("Reshape", cut, steps.integers(rows), shape=rows)
    product = steps.do("MatMul", cut, steps.constant(matrix), shape=wide)
    return steps.ended("Reshape", product, steps.integers(graph.shape(node.output)))
