"""Nodes of an .onnx file whose numbers do not fit the axes or the channels of what they read.

onnx and onnxruntime report them in words of their own source, or take them and crash later.
"""

from collections.abc import Mapping, Sequence

import onnx

Sizes = Mapping[str, Sequence[int]]
"""The shapes of tensors as far as they are known, 0 for a size that is not."""
Values = Mapping[str, list[int]]
"""Constant whole numbers by name."""

WINDOWS = ("Conv", "ConvTranspose", "AveragePool", "LpPool", "MaxPool", "MaxUnpool")
AXIS = frozenset(
    [
        *("ArgMax", "ArgMin", "Concat", "Gather", "GatherElements", "Hardmax", "LogSoftmax"),
        *("LpNormalization", "LayerNormalization", "ScatterElements", "Softmax", "Split", "TopK"),
    ]
)
"""Operators whose ``axis`` is one of their first input's."""
BLOCKS = ("DepthToSpace", "SpaceToDepth")


def fault(node: onnx.NodeProto, sizes: Sizes, values: Values) -> str | None:
    """Say what cannot be of a standard operator, as the rest of a sentence about it; None where all fits."""
    given = {item.name: item for item in node.attribute}
    read = sizes.get(node.input[0]) if node.input else None
    said = None
    if node.op_type == "Transpose" and "perm" in given:
        said = _permutation(list(given["perm"].ints), read)
    elif node.op_type in WINDOWS:
        said = _window(node, given, read, sizes)
    elif node.op_type == "Pad":
        said = _pads(node, given, read, values)
    elif node.op_type == "GroupNormalization" and "num_groups" in given:
        said = _divides(given["num_groups"].i, "groups of equal size", read, 1)
    elif node.op_type == "DepthToSpace" and "blocksize" in given:
        said = _divides(given["blocksize"].i ** 2, "equal parts", read, 1)
    elif node.op_type in AXIS and "axis" in given:
        said = _axes([given["axis"].i], "axis", read)
    elif node.op_type.startswith("Reduce") or node.op_type in ("Squeeze", "Unsqueeze"):
        axes = list(given["axes"].ints) if "axes" in given else _second(node, values)
        more = len(axes or ()) if node.op_type == "Unsqueeze" else 0
        said = _axes(axes or [], "axes", read, more)
    return said


def _second(node: onnx.NodeProto, values: Values) -> list[int] | None:
    return values.get(node.input[1]) if len(node.input) > 1 else None


def _permutation(perm: list[int], read: Sequence[int] | None) -> str | None:
    if sorted(perm) != list(range(len(perm))):
        return f"has perm {perm}, which does not name each of {len(perm)} axes once"
    if read is not None and len(read) != len(perm):
        return f"has perm {perm}, and reads {len(read)} axes"
    return None


def _window(
    node: onnx.NodeProto,
    given: Mapping[str, onnx.AttributeProto],
    read: Sequence[int] | None,
    sizes: Sizes,
) -> str | None:
    """Hold the attributes of a convolution or pool against the axes that its window has."""
    shape = read
    if shape is None and len(node.input) > 1 and node.op_type.startswith("Conv"):
        shape = sizes.get(node.input[1])
    if shape is None or len(shape) < 3:
        return None if shape is None else f"reads {len(shape)} axes, which leave none to its window"
    axes = len(shape) - 2
    for key, count in (
        *(("kernel_shape", axes), ("strides", axes), ("dilations", axes)),
        *(("pads", 2 * axes), ("output_padding", axes)),
    ):
        numbers = list(given[key].ints) if key in given else []
        if numbers and len(numbers) != count:
            return f"has {len(numbers)} numbers in {key}; over {axes} axes there are {count}"
    return None


def _pads(
    node: onnx.NodeProto,
    given: Mapping[str, onnx.AttributeProto],
    read: Sequence[int] | None,
    values: Values,
) -> str | None:
    pads = list(given["pads"].ints) if "pads" in given else _second(node, values)
    named = len(node.input) > 3 and node.input[3]
    axes = values.get(node.input[3]) if named else None
    if named and axes is not None and (said := _axes(axes, "axes", read)):
        return said
    count = len(axes) if axes is not None else len(read) if read is not None and not named else None
    if pads is None or count is None or len(pads) == 2 * count:
        return None
    return f"has {len(pads)} pads; over {count} axes there are {2 * count}"


def _divides(parts: int, what: str, read: Sequence[int] | None, axis: int) -> str | None:
    size = read[axis] if read is not None and len(read) > axis else 0
    if parts > 0 and size % parts:
        return f"cannot split {size} channels into {parts} {what}"
    return None


def _axes(axes: list[int], key: str, read: Sequence[int] | None, more: int = 0) -> str | None:
    """Hold axes against those of what is read and ``more``."""
    if read is None:
        return None
    rank = len(read) + more
    wrong = [axis for axis in axes if not -rank <= axis < rank]
    if wrong:
        return f"has {wrong[0]} in {key}, and there are {rank} axes"
    if len({axis % rank for axis in axes if rank}) < len(axes):
        return f"names an axis twice in {key} {axes}"
    return None
