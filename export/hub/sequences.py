"""Lists of tensors whose length is known, and choices by constants, as the tensors themselves.

Given:   SplitToSequence | SequenceConstruct | SequenceInsert | ... -> SequenceAt(constant place) | ConcatFromSequence -> y
Result:  Split | nothing -> Identity | Concat -> y

Given:   x -> Compress(constant condition) -> y
Result:  x [-> Reshape] -> Gather(the places that hold) -> y
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.export.hub.known import Known


@dataclass
class _Lists:
    """The lists found so far, by name, and the nodes and constants that are written."""

    known: Known
    members: dict[str, list[str]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def integers(self, values: Any, name: str) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attrs: Any) -> None:
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), **attrs))

    def add_sized(
        self,
        op: str,
        source: str,
        outputs: Sequence[str],
        key: str,
        values: Sequence[int],
        **attrs: Any,
    ) -> None:
        """Add a Split, Squeeze or Unsqueeze; what it is told is an input since opset 13."""
        if self.known.opset < 13:
            self.add(op, [source], outputs, **{key: list(values)}, **attrs)
        else:
            self.add(op, [source, self.integers(values, f"{outputs[0]}_{key}")], outputs, **attrs)

    def number(self, node: onnx.NodeProto, place: int, default: int | None = None) -> int | None:
        """Return a whole number that an input holds; None where it is computed."""
        if place >= len(node.input) or not node.input[place]:
            return default
        value = self.known.value(node.input[place])
        return None if value is None else int(value.reshape(-1)[0])


def write_sequences(model: onnx.ModelProto, known: Known) -> bool:
    """Apply the rewrites to every match, in place, and say whether there was one."""
    if not any(node.op_type in WRITTEN for node in model.graph.node):
        return False
    lists, changed = _Lists(known), False
    for node in model.graph.node:
        write = WRITTEN.get(node.op_type)
        if write is not None and write(lists, node):
            changed = True
        else:
            lists.nodes.append(node)
    read = {name for node in lists.nodes for name in node.input} | {
        v.name for v in model.graph.output
    }
    if not changed or read & lists.members.keys():
        return False  # a list goes on to what is not written here
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in lists.nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(lists.initializers)
    return True


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _construct(lists: _Lists, node: onnx.NodeProto) -> bool:
    lists.members[node.output[0]] = list(node.input)
    return True


def _insert(lists: _Lists, node: onnx.NodeProto) -> bool:
    found = lists.members.get(node.input[0])
    place = lists.number(node, 2, len(found or ()))
    if found is None or place is None:
        return False
    place = place + len(found) if place < 0 else place
    lists.members[node.output[0]] = [*found[:place], node.input[1], *found[place:]]
    return True


def _erase(lists: _Lists, node: onnx.NodeProto) -> bool:
    found, place = lists.members.get(node.input[0]), lists.number(node, 1, -1)
    if not found or place is None:
        return False
    lists.members[node.output[0]] = [n for i, n in enumerate(found) if i != place % len(found)]
    return True


def _at(lists: _Lists, node: onnx.NodeProto) -> bool:
    found, place = lists.members.get(node.input[0]), lists.number(node, 1)
    if not found or place is None:
        return False
    lists.add("Identity", [found[place]], node.output)
    return True


def _length(lists: _Lists, node: onnx.NodeProto) -> bool:
    found = lists.members.get(node.input[0])
    if found is None:
        return False
    lists.integers(len(found), node.output[0])
    return True


def _split(lists: _Lists, node: onnx.NodeProto) -> bool:
    axis, out = _attribute(node, "axis", 0), node.output[0]
    shape = lists.known.shapes.get(node.input[0])
    given = len(node.input) > 1 and node.input[1] != ""
    sizes = lists.known.value(node.input[1]) if given else np.array(1)
    if shape is None or sizes is None:
        return False
    whole = shape[axis]
    if not sizes.ndim:
        step = int(sizes)
        parts = [min(step, whole - at) for at in range(0, whole, step)]
    else:
        parts = [int(size) for size in sizes]
    names = [f"{out}_{place}" for place in range(len(parts))]
    lists.members[out] = names
    made = names
    if not given and not _attribute(node, "keepdims", 1):
        made = [f"{name}_kept" for name in names]
    lists.add_sized("Split", node.input[0], made, "split", parts, axis=axis)
    if made is not names:
        for kept, name in zip(made, names, strict=True):
            lists.add_sized("Squeeze", kept, [name], "axes", [axis])
    return True


def _concat(lists: _Lists, node: onnx.NodeProto) -> bool:
    found, axis = lists.members.get(node.input[0]), _attribute(node, "axis", 0)
    if not found:
        return False
    if _attribute(node, "new_axis", 0):
        rows = [f"{node.output[0]}_{place}" for place in range(len(found))]
        for name, row in zip(found, rows, strict=True):
            lists.add_sized("Unsqueeze", name, [row], "axes", [axis])
        found = rows
    lists.add("Concat", found, node.output, axis=axis)
    return True


def _compress(lists: _Lists, node: onnx.NodeProto) -> bool:
    condition, out = lists.known.value(node.input[1]), node.output[0]
    if condition is None:
        return False
    source, axis = node.input[0], 0
    if any(item.name == "axis" for item in node.attribute):
        axis = _attribute(node, "axis", 0)
    else:
        source = f"{out}_flat"
        lists.add("Reshape", [node.input[0], lists.integers([-1], f"{out}_shape")], [source])
    places = lists.integers(np.flatnonzero(condition), f"{out}_places")
    lists.add("Gather", [source, places], [out], axis=axis)
    return True


WRITTEN: dict[str, Callable[[_Lists, onnx.NodeProto], bool]] = {
    "Compress": _compress,
    "ConcatFromSequence": _concat,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _construct,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SplitToSequence": _split,
}
