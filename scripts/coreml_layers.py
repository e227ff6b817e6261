"""How far a Core ML package's INT8 layers are from the recipe, each fed the reference's integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeconv.export.coreml.emit import EmittedCoreml
from edgeconv.export.graph import Graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.mil import open_program
from edgeconv.recipe import Activation, Recipe
from edgeconv.runtimes.onnxrt import open_model

Array = NDArray[Any]


@dataclass
class Quanta:
    """Distances in quanta over all compared layers and pictures."""

    layers: set[str] = field(default_factory=set)
    worst: int = 0
    differing: int = 0
    elements: int = 0

    def add(self, tensor: str, distance: Array) -> None:
        """Take one tensor of one picture in."""
        self.layers.add(tensor)
        self.worst = max(self.worst, int(distance.max(initial=0)))
        self.differing += int(np.count_nonzero(distance))
        self.elements += distance.size


def teacher_forced(
    graph: Graph, recipe: Recipe, emitted: EmittedCoreml, feeds: Sequence[Mapping[str, Array]]
) -> Quanta:
    """Run the package with every quantized tensor replaced by onnxruntime's own integers.

    The reference is the same recipe as QDQ, every graph rewrite off. ``recipe`` must be in the form
    that the package has. Each layer's result is counted against the reference's before it is
    replaced, so that no layer inherits another's error.
    """
    qdq = emit_qdq(graph, recipe)
    present = {o.name for o in qdq.model.graph.output}
    present |= {i.name for i in qdq.model.graph.initializer}
    taps = {
        tensor: name
        for tensor, name in qdq.names.items()
        if tensor in recipe.activations and tensor not in graph.inputs and name not in present
    }
    for name in sorted(set(taps.values())):
        qdq.model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    places = {name: (tensor, 1.0) for tensor, name in emitted.names.items()}
    places |= {name: (tensor, factor) for tensor, (name, factor) in emitted.rescaled.items()}
    program, found = open_program(emitted.path), Quanta()
    with open_model(qdq.model.SerializeToString(), optimize=False) as runner:
        for feed in feeds:
            reference = runner.infer(feed)

            def watch(name: str, value: Array, reference: Any = reference) -> Array | None:
                tensor, factor = places.get(name, ("", 1.0))
                if tensor not in taps:
                    return None
                grid = recipe.activations[tensor]
                wanted = reference[taps[tensor]].astype(np.int64) - 128  # written as uint8
                found.add(tensor, np.abs(_integers(value * factor, grid) - wanted))
                real = (wanted - grid.zero_point) * np.float32(grid.scale)
                return np.asarray(real / np.float32(factor), np.float32)

            program.run(feed, watch=watch)
    return found


def _integers(real: Array, grid: Activation) -> Array:
    steps = np.rint(real / np.float32(grid.scale)) + grid.zero_point
    return np.asarray(np.clip(steps, -128, 127), np.int64)
