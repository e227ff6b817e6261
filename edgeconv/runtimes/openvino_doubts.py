"""Layers of a compiled model that OpenVINO is known to compute wrongly (docs/runtimes.md has the cases)."""

from typing import Any

import numpy as np

KERNEL, AMX_1X1 = "primitiveType", "brgconv_avx512_amx_1x1_"
ARM_INT8 = ("acl_i8", "acl_I8")
"""The Arm Compute Library's kernels of int8 and of uint8."""
ORIGIN = "originalLayersNames"
EACH_VALUE = ("Convert", "Subtract", "Multiply", "Add", "Relu", "Clamp", "FakeQuantize")


def doubted(model: Any, running: Any) -> tuple[str, ...]:
    """Say of a ``model`` and what it was compiled to what is known to be wrong: a sentence a kind."""
    return (
        *wrong_convolutions(running),
        *wrong_orders(model, running),
        *wrong_strides(model, running),
    )


def wrong_convolutions(running: Any) -> tuple[str, ...]:
    """Say which layers of a compiled model run in a kernel that is wrong: one sentence, or none.

    oneDNN's INT8 kernel of 1x1 convolutions for AMX reads the wrong inputs in groups of more than
    64 channels that are no multiple of 64 (docs/runtimes.md). Without AMX another kernel is right.
    """
    found = []
    for node in running.get_ops():
        facts = node.get_rt_info()
        if KERNEL not in facts or not facts[KERNEL].astype(str).startswith(AMX_1X1):
            continue
        weights = [int(size) for size in node.input(1).get_shape()]
        if len(weights) == 5 and weights[0] > 1 and weights[2] > 64 and weights[2] % 64:
            found.append(node.get_friendly_name())
    return _said(
        found,
        "on this processor: its AMX kernel of grouped 1x1 convolutions fails where a group has more "
        "than 64 channels and no multiple of 64; ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI avoids it",
    )


def wrong_orders(model: Any, running: Any) -> tuple[str, ...]:
    """Say which Gathers of a model went into the weights of a convolution the wrong way round: one sentence, or none.

    OpenVINO takes a Gather of all channels in another order for a swap of red and blue, and gives the
    weights that same order; right is the inverse, which is the same for swaps alone. A Gather that is
    still there for other layers is doubted where a convolution reads it.
    """
    kept: set[str] = set()
    for node in running.get_ops():
        facts = node.get_rt_info()
        kept.update(facts[ORIGIN].astype(str).split(",") if ORIGIN in facts else ())
    gathers = [node for node in model.get_ops() if node.get_type_name() == "Gather"]
    names = {node.get_friendly_name(): node for node in gathers}
    found = [n for n, node in names.items() if _turns(node) and (n not in kept or _convolved(node))]
    return _said(
        found,
        "on every processor: it moves this order of channels into the weights of the layer after it, "
        "the wrong way round; Reshape, Transpose, Reshape in place of the Gather avoids it",
    )


def wrong_strides(model: Any, running: Any) -> tuple[str, ...]:
    """Say which INT8 convolutions of a compiled model move differently down and across on ARM: one sentence, or none.

    OpenVINO gives the Arm Compute Library other strides than the model's there: the output is wrong,
    and partly memory that nobody wrote.
    """
    layers = {node.get_friendly_name(): node for node in model.get_ops()}
    found = []
    for node in running.get_ops():
        facts = node.get_rt_info()
        if KERNEL not in facts or not facts[KERNEL].astype(str).startswith(ARM_INT8):
            continue
        for name in facts[ORIGIN].astype(str).split(",") if ORIGIN in facts else ():
            strides = layers[name].get_attributes().get("strides", ()) if name in layers else ()
            if len(set(strides)) > 1:
                found.append(name)
    return _said(
        found,
        "on ARM: its INT8 kernel fails where strides differ down and across; a file exported with "
        "--prefer size has no such layer for pictures",
    )


def _turns(gather: Any) -> bool:
    """Return whether a Gather puts all its channels into an order that is not its own inverse."""
    order, axis = (gather.input_value(place).get_node() for place in (1, 2))
    if {order.get_type_name(), axis.get_type_name()} != {"Constant"} or int(axis.data) != 1:
        return False
    taken = np.asarray(order.data).ravel()
    if len(taken) != gather.input(0).get_partial_shape()[1].get_length():
        return False
    every = np.arange(len(taken))
    return np.array_equal(np.sort(taken), every) and not np.array_equal(taken[taken], every)


def _convolved(node: Any) -> bool:
    """Return whether a convolution of one group reads a node, alone or past what works on each value by itself."""
    readers = [port.get_node() for port in node.output(0).get_target_inputs()]
    return any(
        reader.get_type_name() == "Convolution"
        or (reader.get_type_name() in EACH_VALUE and _convolved(reader))
        for reader in readers
    )


def _said(found: list[str], why: str) -> tuple[str, ...]:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return (f"openvino computes {found[0]}{more} wrong {why}",) if found else ()
