"""Cut all windows of a tensor at once: PyTorch writes ``x.unfold(axis, size, step)`` as a cut for each.

Given:   x -> Slices of one size along one axis [-> Transpose] -> Unsqueeze -> Concat along the new axis -> y
Result:  x -> Reshape -> [Transpose] -> y where the windows are x, side by side
         x -> Gather(windows, places) -> [Transpose] -> y where they overlap or leave something out
"""

from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import slice_bounds
from edgeconv.export.passes.steps import Steps


@dataclass(frozen=True)
class _Window:
    """One cut: ``size`` values from ``start`` along ``axis`` of ``source``, then turned by ``perm``."""

    source: str
    axis: int
    size: int
    perm: tuple[int, ...]
    start: int


def join_windows(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Concat"):
        makers = graph.producers()
        axis = node.int("axis", 0) % len(graph.shape(node.output))
        found = [_window(graph, makers, name, axis) for name in node.inputs]
        windows = [window for window in found if window is not None]
        kinds = {(w.source, w.axis, w.size, w.perm) for w in windows}
        if len(windows) == len(found) > 1 and len(kinds) == 1:
            _join(graph, node, windows, axis)
            changed = True
    return changed


def _window(graph: Graph, makers: dict[str, Node], name: str, place: int) -> _Window | None:
    """Return the window that has a new axis at ``place``; None where the tensor is no such."""
    added = makers.get(name)
    if added is None or added.op not in ("Reshape", "Unsqueeze"):
        return None
    inner, outer = graph.shape(added.inputs[0]), graph.shape(name)
    if outer != (*inner[:place], 1, *inner[place:]):
        return None
    cut, perm = makers.get(added.inputs[0]), list(range(len(inner)))
    if cut is not None and cut.op == "Transpose":
        perm = cut.ints("perm", perm[::-1])
        cut = makers.get(cut.inputs[0])
    if cut is None or cut.op != "Slice":
        return None
    if not all(given in graph.constants for given in cut.inputs[1:] if given):
        return None
    bounds = slice_bounds(graph, cut)
    (axis, (start, _, step)), *others = bounds.items()
    if others or step != 1:
        return None
    return _Window(cut.inputs[0], axis, graph.shape(cut.output)[axis], tuple(perm), start)


def _join(graph: Graph, node: Node, windows: list[_Window], place: int) -> None:
    first, steps = windows[0], Steps(graph, node)
    shape, axis = graph.shape(first.source), first.axis
    starts = np.array([window.start for window in windows])
    places = starts[:, None] + np.arange(first.size)
    apart = [*shape[:axis], len(windows), first.size, *shape[axis + 1 :]]
    if np.array_equal(places.reshape(-1), np.arange(shape[axis])):
        cut = steps.do("Reshape", first.source, steps.integers(apart), shape=apart)
    else:
        cut = steps.do("Gather", first.source, steps.integers(places), shape=apart, axis=axis)
    perm = [old + (old >= axis) for old in first.perm]
    steps.finish("Transpose", cut, perm=[*perm[:place], axis, *perm[place:]])
