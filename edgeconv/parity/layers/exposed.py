"""The reference graph of a layer comparison: every tensor, and the layer that it is credited to."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names

Array = NDArray[Any]

ONE_LAYER = ("Relu", "Clip", "BatchNormalization", "HardSigmoid", "Reshape", "Transpose")
"""What belongs to the layer before or behind it where nothing else reads between them."""


class Reference:
    """The reference graph with every tensor exposed, in onnxruntime without rewrites."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnx

        from edgeconv.parity.layers.surgery_onnx import inferred, made_by, rewire
        from edgeconv.runtimes.onnxrt import open_model

        self.model = onnx.load(str(path))
        self.makers = makers = made_by(self.model)
        shaped = {value.name for value in inferred(self.model)}
        self.tensors = [t for t in makers if t in shaped and makers[t].op_type != "Constant"]
        self.nodes = {t: _credited(t, makers) for t in self.tensors}
        data = rewire(self.model, self.tensors, sever=False).SerializeToString()
        self.runner = open_model(data, threads=threads, optimize=False)
        self.shapes = {spec.name: spec.shape for spec in self.runner.outputs}
        for spec in self.runner.inputs:
            self.shapes[spec.name] = spec.shape
            self.nodes[spec.name] = (spec.name, "input")

    def inside(self, tensor: str, named: Collection[str]) -> bool:
        """Whether ``tensor`` only leads to a relabelling or an activation in ``named``: one layer."""
        readers = [node for node in self.model.graph.node if tensor in node.input]
        if len(readers) != 1 or readers[0].op_type not in ONE_LAYER or tensor in named:
            return False
        out = readers[0].output[0]
        return out in named or self.inside(out, named)

    def together(self, tensor: str, known: Collection[str]) -> tuple[str, ...]:
        """Return the nodes before that of ``tensor`` that run in one piece with it.

        ``known`` are the tensors that pieces are fed.
        """
        found: list[str] = []
        waiting, seen = list(self.makers[tensor].input), set(known)
        while waiting:
            source = waiting.pop()
            maker = self.makers.get(source)
            if maker is None or source in seen:
                continue
            seen.add(source)
            name, op = self.nodes.get(source, (maker.name, maker.op_type))
            if op not in ONE_LAYER and name not in found and name != self.nodes[tensor][0]:
                found.append(name)
            waiting.extend(maker.input)
        return tuple(reversed(found))

    def run(self, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
        """Return every tensor, the inputs included, for one picture."""
        names = match_names([spec.name for spec in self.runner.inputs], list(hub), "input")
        feeds = {
            spec.name: np.asarray(hub[names[spec.name]][picture : picture + 1], spec.dtype)
            for spec in self.runner.inputs
        }
        return {**feeds, **self.runner.infer(feeds)}


def _credited(tensor: str, makers: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and operator of the layer that makes ``tensor``: a fused clamp is its producer's."""
    node = makers[tensor]
    if node.op_type in ("Relu", "Clip") and node.input[0].endswith("_before_clamp"):
        node = makers.get(node.input[0], node)
    return node.name or tensor, node.op_type
