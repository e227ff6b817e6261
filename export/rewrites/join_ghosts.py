"""Compute both halves of a narrow ghost module in one depthwise convolution, without the Concat.

    Given:   Conv(1 x 1) -> p (8 channels) -> Concat(p, depthwise Conv(p)) -> y
    Result:  Conv(its rows twice) -> p, p (16 channels) -> depthwise Conv(8 identities, then its own
             kernels) -> y

Exact to the bit: an identity is one weight of 1 at scale 1 between equal scales. Depthwise kernels
take 16 channels or 8 in the same time, and a Concat copies a few bytes for every pixel.

GhostNet: Han et al. 2020, https://arxiv.org/abs/1911.11907.
"""

from dataclasses import replace

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.integer.groups import implied, stored_alike
from edgeconv.export.integer.pair import Pair, is_depthwise, pick_rows
from edgeconv.recipe import Weights

NARROW = 8
"""Wider halves lose more in the identities than the Concat costs (docs/results.md)."""


def join_ghosts(pair: Pair) -> int:
    """Apply the rewrite wherever it fits; return how many modules were joined."""
    return sum(_join(pair, concat) for concat in list(pair.graph.of("Concat")))


def _join(pair: Pair, concat: Node) -> bool:
    found = _halves(pair, concat)
    if found is None:
        return False
    graph, (primary, cheap) = pair.graph, found
    half = primary.output
    n, channels, height, width = graph.shape(half)
    twice = pair.add_tensor(half, "twice", (n, 2 * channels, height, width))
    pair.set_layer(primary, pick_rows(pair.weights[primary.name], np.tile(np.arange(channels), 2)))
    pair.set_layer(cheap, _behind_identities(pair.weights[cheap.name]))
    primary.outputs[0] = cheap.inputs[0] = twice
    cheap.outputs[0] = concat.output
    cheap.attrs["group"] = 2 * channels
    graph.nodes.remove(concat)
    return True


def _halves(pair: Pair, concat: Node) -> tuple[Node, Node] | None:
    """Return the convolutions that make a Concat's halves, where both are read by nothing else."""
    graph, makers, readers = pair.graph, pair.graph.producers(), pair.graph.consumers()
    if len(concat.inputs) != 2 or concat.int("axis", 1) != 1 or concat.clamp is not None:
        return None
    primary, cheap = (makers.get(name) for name in concat.inputs)
    if primary is None or cheap is None or cheap.op != "Conv" or primary.op != "Conv":
        return None
    if not pair.is_integer(primary) or not pair.is_integer(cheap):
        return None
    half, made = concat.inputs
    if cheap.inputs[0] != half or len(readers[half]) != 2 or len(readers[made]) != 1:
        return None
    if graph.shape(half)[1] > NARROW or primary.int("group", 1) != 1:
        return None
    if {half, made} & set(graph.outputs) or not is_depthwise(graph, cheap):
        return None
    joined = pair.activations[concat.output]
    same = all(stored_alike(pair.activations[name], joined) for name in (half, made))
    clamped = cheap.clamp == primary.clamp or implied(cheap.clamp, joined)
    return (primary, cheap) if same and clamped and _is_centred(cheap) else None


def _is_centred(conv: Node) -> bool:
    """Whether a window's middle is the position it makes."""
    kernel, pads = conv.ints("kernel_shape", []), conv.ints("pads", [])
    strides, dilations = conv.ints("strides", [1]), conv.ints("dilations", [1])
    odd = all(size % 2 for size in kernel) and max(strides) == 1
    return odd and pads == [d * (size // 2) for d, size in zip(dilations, kernel, strict=True)] * 2


def _behind_identities(weights: Weights) -> Weights:
    """Return depthwise kernels with as many before them that pass their channel on."""
    identities = np.zeros_like(weights.values)
    rows, columns = identities.shape[2:]
    identities[:, :, rows // 2, columns // 2] = 1
    return replace(
        weights,
        values=np.concatenate([identities, weights.values]),
        scales=np.concatenate([np.ones_like(weights.scales), weights.scales]),
        bias=np.concatenate([np.zeros_like(weights.bias), weights.bias]),
        float_bias=np.concatenate([np.zeros_like(weights.float_bias), weights.float_bias]),
    )
