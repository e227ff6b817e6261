"""Pools that round their size up, without the windows that would start behind the picture.

Given:   x -> MaxPool | AveragePool | LpPool(ceil_mode 1) -> y, a last window all in the padding behind x
Result:  x -> the same(ceil_mode 0, pads up to the last window that counts) -> y

Frameworks and onnxruntime leave such a window out; onnx's shape inference counts it, and every size
behind it would be wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

POOLS = frozenset(["AveragePool", "LpPool", "MaxPool"])
Sizes = Sequence[int]


def drop_late_windows(graph: onnx.GraphProto, shapes: Mapping[str, Sizes]) -> bool:
    """Rewrite the first such pool in place and say whether there was one.

    ``shapes`` are the inferred ones, 0 where a size is unknown; those behind the pool are to be
    inferred anew.
    """
    for node in graph.node:
        given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type not in POOLS or not given.get("ceil_mode", 0):
            continue
        sizes = list(shapes.get(node.input[0], ()))[2:]
        if given.get("auto_pad", b"NOTSET") != b"NOTSET" or not sizes or not all(sizes):
            continue
        settled = _without_late(node.op_type, given, sizes)
        if settled is not None:
            kept = [item for item in node.attribute if item.name not in settled]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.extend(helper.make_attribute(k, v) for k, v in settled.items())
            return True
    return False


def _without_late(op: str, given: Mapping[str, Any], sizes: Sizes) -> dict[str, Any] | None:
    """Return pads and ceil_mode without late windows; None where there are none."""
    kernel, axes = given["kernel_shape"], len(sizes)
    strides, dilations = (given.get(key, [1] * axes) for key in ("strides", "dilations"))
    pads = given.get("pads", [0] * 2 * axes)
    late, over, needed = False, False, []
    for axis, size in enumerate(sizes):
        before, after = pads[axis], pads[axis + axes]
        span, step = (kernel[axis] - 1) * dilations[axis] + 1, strides[axis]
        steps = -(-(size + before + after - span) // step)
        if steps * step >= size + before:
            steps, late = steps - 1, True
        needed.append(max(0, steps * step + span - size - before))
        over |= needed[-1] > after
    if not late:
        return None
    behind = pads[axes:]
    if over and op == "AveragePool" and given.get("count_include_pad", 0):
        # what is beyond the padding is not counted: pads must not grow there, and shrink elsewhere
        return {"pads": [*pads[:axes], *map(min, behind, needed)]}
    return {"pads": [*pads[:axes], *map(max, behind, needed)], "ceil_mode": 0}
