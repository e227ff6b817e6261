"""Put maxima back to where they were found, without their positions.

Given:   MaxPool(x) -> (p, places), MaxUnpool(d, places) -> y, windows side by side
Result:  x [-> Slice, of whole windows] -> SpaceToDepth -> each window's values on an axis -> ArgMax; d where that is, else 0 ->
         DepthToSpace [-> Pad] -> y

No runtime but onnxruntime gives the places.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps


def unpool(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("MaxUnpool"):
        pool = graph.producers().get(node.inputs[1])
        if pool is None or pool.op != "MaxPool" or not _side_by_side(graph, pool, node):
            continue
        _write(graph, pool.inputs[0], node)
        changed = True
    for pool in graph.of("MaxPool"):
        places = {*pool.outputs[1:]}
        if places and not places & (graph.consumers().keys() | set(graph.outputs)):
            del pool.outputs[1:]
            changed = True
    return changed


def _side_by_side(graph: Graph, pool: Node, node: Node) -> bool:
    kernel = pool.ints("kernel_shape", ())
    size = graph.shape(pool.inputs[0])
    return (
        len(set(kernel)) == 1
        and len(size) == 4
        and pool.ints("strides", [1, 1]) == kernel == node.ints("kernel_shape", ())
        and not any(pool.ints("pads", [0]))
        and set(pool.ints("dilations", [1])) == {1}
        and graph.shape(node.output) == size
        and graph.shape(pool.output)[2:] == tuple(side // kernel[0] for side in size[2:])
    )


def _write(graph: Graph, pooled: str, node: Node) -> None:
    steps, (n, channels, height, width) = Steps(graph, node), graph.shape(pooled)
    block = node.ints("kernel_shape", ())[0]
    small = (height // block, width // block)
    rest = height % block, width % block
    if any(rest):
        inside = (n, channels, small[0] * block, small[1] * block)
        cut = map(steps.integers, ([0, 0], inside[2:], [2, 3]))
        pooled = steps.do("Slice", pooled, *cut, shape=inside)
    deep, apart = (n, block**2 * channels, *small), (n, block**2, channels, *small)
    one = (n, 1, channels, *small)
    moved = steps.do("SpaceToDepth", pooled, shape=deep, blocksize=block)
    window = steps.do("Reshape", moved, steps.integers(apart), shape=apart)
    place = steps.do("ArgMax", window, shape=one, kind=np.int64, axis=1, keepdims=1)
    places = steps.integers(np.arange(block**2).reshape(1, -1, 1, 1, 1))
    here = steps.do("Equal", place, places, shape=apart, kind=np.bool_)
    given = steps.do("Reshape", node.inputs[0], steps.integers(one), shape=one)
    spread = steps.do("Where", here, given, steps.constant(0.0), shape=apart)
    joined = steps.do("Reshape", spread, steps.integers(deep), shape=deep)
    if any(rest):
        back = steps.do("DepthToSpace", joined, shape=inside, blocksize=block)
        steps.finish("Pad", back, steps.integers([0] * 6 + [*rest]))
    else:
        steps.finish("DepthToSpace", joined, blocksize=block)
