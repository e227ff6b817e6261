"""Give operators that move or broadcast many axes as few as the same function needs.

    Given:   x -> Transpose(perm) -> y of rank above 4
    Result:  x -> Reshape -> Transpose of fewer axes -> Reshape -> y: axes of size 1 go, axes that stay
             neighbours are one; where more than 5 axes are left, one moves after the other

    Given:   x -> MatMul(constant (K, N)) -> y of rank above 4
    Result:  the same between Reshapes: all axes but the last are one

    Given:   x, z -> Add | Where | ... -> y, broadcast over more than 4 axes
    Result:  the same between Reshapes: axes over which all operands broadcast alike are one

    Given:   x -> LayerNormalization | InstanceNormalization -> y of rank above 4
    Result:  the same between Reshapes: the axes that are normalized together are one, so are the rest

    Given:   x -> ReduceMean | Pad | Relu | Cast | ... -> y of rank above 5
    Result:  the same between Reshapes: neighbours that are reduced alike are one, so are those without
             padding; to an operator of single values all axes are one

Windows of attention and pixel shuffles come with 5 and 6 axes; Core ML has 5, TFLite broadcasts over 4.
"""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS, Is, operators
from edgeconv.export.passes.between import between
from edgeconv.export.passes.merge_along import ALONG, merge_around
from edgeconv.export.passes.steps import Steps

FEW = 4  # axes over which every kernel moves and broadcasts
MOST = 5  # axes that every target can hold
APART = frozenset(["PRelu"])  # its slope belongs to an axis
ONE_BY_ONE = (operators(Is.CHANNELWISE) | {"Cast", "Not"}) - {"Identity"}


def merge_axes(graph: Graph) -> bool:
    """Apply the rewrites to every match."""
    changed = False
    for node in graph.of("LayerNormalization", "InstanceNormalization"):
        changed |= _merge_norm(graph, node)
    for node in graph.of("Transpose"):
        if len(graph.shape(node.output)) > FEW:
            changed |= _merge_transpose(graph, node)
    for node in graph.of(*ALONG):
        changed |= merge_around(graph, node)
    for node in list(graph.nodes):
        if node.inputs and len(graph.shape(node.inputs[0])) > MOST:
            changed |= _merge_others(graph, node)
        row = TRAITS.get(node.op)
        if row is None or Is.BROADCASTS not in row.true or node.op in APART:
            continue
        rank = len(graph.shape(node.output))
        shapes = {graph.shape(name) for name in node.inputs}
        matrix = node.op == "MatMul"  # its last two axes do not broadcast
        if matrix and rank > FEW and _merge_rows(graph, node):
            changed = True
        elif rank > MOST or (rank > FEW and (matrix or len(shapes) > 1)):
            changed |= _merge_broadcast(graph, node, 2 if matrix else 0)
    return changed


def _merge_rows(graph: Graph, node: Node) -> bool:
    """Merge all axes but the last of what one constant matrix is multiplied by: a layer of rows, as of two axes."""
    source, weights = node.inputs
    shape = graph.shape(weights)
    if (
        weights not in graph.constants
        or len(shape) < 2
        or shape != (1,) * (len(shape) - 2) + shape[-2:]
    ):
        return False
    rows = int(np.prod(graph.shape(source)[:-1]))
    between(graph, node, [[rows, shape[-2]], shape[-2:]], [rows, shape[-1]])
    return True


def _merge_others(graph: Graph, node: Node) -> bool:
    """Merge axes of a node of one tensor and more axes than every target can hold."""
    if node.op.startswith("Reduce"):
        return _merge_reduction(graph, node)
    if node.op == "Pad":
        return _merge_padding(graph, node)
    shape = graph.shape(node.inputs[0])
    single = node.op in ONE_BY_ONE and "kernel_shape" not in node.attrs
    if not single or shape != graph.shape(node.output):
        return False
    between(graph, node, [[int(np.prod(shape))]], [int(np.prod(shape))])
    return True


def _merge_reduction(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.inputs[0])
    axes = node.ints("axes", ())
    if len(node.inputs) > 1 and node.inputs[1]:
        known = graph.constant(node, 1)
        if known is None:
            return False
        axes = [int(axis) for axis in known.reshape(-1)]
    elif not axes and node.int("noop_with_empty_axes", 0):
        return False
    reduced = {axis % len(shape) for axis in axes} or set(range(len(shape)))
    groups = _runs([None if size == 1 else i in reduced for i, size in enumerate(shape)])
    places = [
        i for i, group in enumerate(groups) if any(shape[a] != 1 and a in reduced for a in group)
    ]
    if not places or len(groups) == len(shape):
        return False
    sizes = [int(np.prod([shape[axis] for axis in group])) for group in groups]
    made = [1 if i in places else size for i, size in enumerate(sizes)]
    between(graph, node, [sizes], made)
    node.attrs["keepdims"] = 1
    if "axes" in node.attrs:
        node.attrs["axes"] = places
    else:
        wanted = graph.add_constant(f"{node.name}.axes", np.array(places, np.int64))
        node.inputs[1:] = [wanted]
    return True


def _merge_padding(graph: Graph, node: Node) -> bool:
    shape, pads = graph.shape(node.inputs[0]), graph.constant(node, 1)
    if pads is None or any(node.inputs[3:]):
        return False
    amounts = np.asarray(pads).reshape(2, len(shape))
    still = [not amounts[:, axis].any() for axis in range(len(shape))]
    groups: list[list[int]] = []
    for axis, rests in enumerate(still):
        if groups and rests and still[axis - 1]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) == len(shape):
        return False
    out = graph.shape(node.output)
    sizes, made = ([int(np.prod([s[a] for a in group])) for group in groups] for s in (shape, out))
    kept = amounts[:, [group[0] for group in groups]].reshape(-1)
    between(graph, node, [sizes], made)
    node.inputs[1] = graph.add_constant(f"{node.name}.pads", np.asarray(kept, np.int64))
    return True


def _runs(kinds: Sequence[bool | None]) -> list[list[int]]:
    """Return neighbouring axes of the same kind together; one of no kind goes with those before it."""
    groups: list[list[int]] = []
    last: bool | None = None
    for axis, kind in enumerate(kinds):
        if groups and (kind is None or last is None or kind == last):
            groups[-1].append(axis)
        else:
            groups.append([axis])
        last = last if kind is None else kind
    return groups


def _merge_norm(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.inputs[0])
    if len(shape) <= FEW or any(node.outputs[1:]):
        return False
    if node.op == "InstanceNormalization":
        whole = [*shape[:2], int(np.prod(shape[2:]))]
        between(graph, node, [whole], whole)
        return True
    axis = node.int("axis", -1) % len(shape)
    lead, spanned = int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
    given = [name for name in node.inputs[1:] if name]
    if any(graph.shape(name) != shape[axis:] for name in given):
        return False
    between(graph, node, [[lead, spanned], *([spanned] for _ in given)], [lead, spanned])
    node.attrs["axis"] = 1
    return True


def _merge_transpose(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.inputs[0])
    perm = [axis for axis in node.ints("perm", range(len(shape))[::-1]) if shape[axis] != 1]
    runs: list[list[int]] = []
    for axis in perm:
        behind = [other for other in range(len(shape)) if shape[other] != 1 and other < axis]
        if runs and behind and runs[-1][-1] == behind[-1]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if len(runs) == len(shape):
        return len(runs) > MOST and _move_first(graph, node, shape, perm)
    kept = sorted(runs)
    sizes = [int(np.prod([shape[axis] for axis in run])) for run in kept]
    node.attrs["perm"] = [kept.index(run) for run in runs]
    between(graph, node, [sizes], [sizes[place] for place in node.ints("perm", ())])
    return True


def _move_first(graph: Graph, node: Node, shape: tuple[int, ...], perm: list[int]) -> bool:
    """Bring the first axis that moves to its place by a Transpose of four, and leave the rest to the node."""
    still = next(place for place, axis in enumerate(perm) if place != axis)
    axis = perm[still]
    order = [*perm[:still], axis, *(i for i in range(still, len(shape)) if i != axis)]
    blocks = shape[:still], shape[still:axis], (shape[axis],), shape[axis + 1 :]
    sizes = [int(np.prod(block)) for block in blocks]
    steps = Steps(graph, node)
    kind = graph.dtype(node.output).type
    moved = [sizes[place] for place in (0, 2, 1, 3)]
    apart = steps.do("Reshape", node.inputs[0], steps.integers(sizes), shape=sizes, kind=kind)
    turned = steps.do("Transpose", apart, shape=moved, kind=kind, perm=[0, 2, 1, 3])
    whole = [shape[i] for i in order]
    back = steps.do("Reshape", turned, steps.integers(whole), shape=whole, kind=kind)
    steps.finish("Transpose", back, perm=[order.index(i) for i in perm])
    return True


def _merge_broadcast(graph: Graph, node: Node, fixed: int) -> bool:
    """Merge axes of a broadcasting node, the last ``fixed`` apart."""
    out = graph.shape(node.output)
    if fixed and min(len(graph.shape(name)) for name in node.inputs) < fixed:
        return False
    wide = [(1,) * (len(out) - len(graph.shape(n))) + graph.shape(n) for n in node.inputs]
    groups: list[list[int]] = []
    pattern: tuple[bool, ...] | None = None
    for axis, size in enumerate(out[: len(out) - fixed]):
        if size == 1 and groups:
            groups[-1].append(axis)
            continue
        here = tuple(shape[axis] == size for shape in wide)
        if groups and (pattern is None or here == pattern):
            groups[-1].append(axis)
        else:
            groups.append([axis])
        pattern = here if size != 1 else None
    if len(groups) > FEW - fixed and not fixed and _widen(graph, node, out):
        return True
    if len(groups) + fixed == len(out):
        return False

    def merged(shape: Sequence[int]) -> list[int]:
        sizes = [int(np.prod([shape[axis] for axis in group])) for group in groups]
        return [*sizes, *shape[len(out) - fixed :]]

    between(graph, node, [merged(shape) for shape in wide], merged(out))
    return True


def _widen(graph: Graph, node: Node, out: tuple[int, ...]) -> bool:
    """Store constants at the size that they broadcast to; say whether there were any."""
    changed = False
    for index, name in enumerate(node.inputs):
        value = graph.constants.get(name)
        if value is not None and value.size > 1 and value.shape != out:
            whole = np.ascontiguousarray(np.broadcast_to(value, out))
            node.inputs[index] = graph.add_constant(f"{name}_whole", whole)
            changed = True
    return changed
