"""The prepared graph and its recipe as a PyTorch module of the integer operators that ExecuTorch reads.

Every stored tensor is quantized and dequantized around the float operator, with the recipe's own scale and
zero point; weights are the recipe's int8 integers behind a dequantization a channel. XNNPACK's partitioner
turns each such triple into one integer kernel. Biases are the recipe's int32 times their scale, in float32:
XNNPACK rounds them back to the same integers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgeconv.export.executorch.say import parameter
from edgeconv.export.executorch.table import OPS, on_integers
from edgeconv.export.executorch.written import write_out
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import implied, stored_alike
from edgeconv.export.integer.rules import is_pixel_shift
from edgeconv.export.integer.unrounded import is_read_unrounded, keeps_unrounded, reads_real
from edgeconv.export.op_traits import Is, operators
from edgeconv.export.passes.fold_constants import fold_node
from edgeconv.recipe import Activation, Recipe

LOW, HIGH = -128, 127
WEIGHT_LOW = -127
BROADCASTS = operators(Is.BROADCASTS)


def stored_input(graph: Graph, recipe: Recipe, name: str) -> str | None:
    """Return the tensor whose integers an integer input holds: itself, or what a pixel shift makes of it."""
    if name in recipe.activations:
        return name
    readers = graph.consumers().get(name, [])
    if len(readers) == 1 and is_pixel_shift(graph, readers[0]):
        shifted = readers[0].output
        return shifted if shifted in recipe.activations else None
    return None


@dataclass(frozen=True)
class _Run:
    """The tensors of one run by name: real values, and the integers of those that the recipe stores.

    ``real`` has both of what a float operator makes.
    """

    real: dict[str, torch.Tensor]
    stored: dict[str, torch.Tensor]


class GraphModule(torch.nn.Module):
    """Runs ``graph``, in INT8 where ``recipe`` says so. Inputs and outputs are as the graph's, in order.

    ``io`` "int8": inputs and outputs that the recipe stores are its integers themselves.
    """

    def __init__(self, graph: Graph, recipe: Recipe | None, io: str = "float") -> None:
        super().__init__()
        graph = graph.clone()
        recipe = write_out(graph, recipe)
        for node in list(graph.nodes):
            if any(0 in graph.shape(name) for name in node.inputs if name in graph.constants):
                fold_node(graph, node, outputs=True)  # a program holds no tensor without values
        self._graph, self._recipe, self._io = graph, recipe, io
        self._held: dict[str, str] = {}
        for node in graph.nodes:
            self._hold(node)
        for name in graph.outputs:
            if name in graph.constants:
                self._buffer(name, graph.constants[name])

    def _buffer(self, key: str, value: Any) -> None:
        if key not in self._held:
            self._held[key] = f"held_{len(self._held)}"
            self.register_buffer(self._held[key], torch.from_numpy(np.array(value, copy=True)))

    def _get(self, key: str) -> torch.Tensor:
        found: torch.Tensor = getattr(self, self._held[key])
        return found

    def _hold(self, node: Node) -> None:
        """Register the constants that ``node`` computes with as buffers: a tensor made while tracing is lifted and lost."""
        weights = None if self._recipe is None else self._recipe.weights.get(node.name)
        if weights is not None and self._recipe is not None:
            source = self._recipe.activations[node.inputs[0]]
            self._buffer(f"{node.name}:values", weights.values)
            self._buffer(f"{node.name}:scales", weights.scales.astype(np.float32))
            self._buffer(f"{node.name}:zeros", np.zeros(len(weights.scales), np.int64))
            step = np.float64(source.scale) * weights.scales.astype(np.float64)
            self._buffer(
                f"{node.name}:bias", (weights.bias.astype(np.float64) * step).astype(np.float32)
            )
            return
        for place, name in enumerate(node.inputs):
            if name in self._graph.constants and not parameter(self._graph, node, place):
                value = self._graph.constants[name]
                lone = value.ndim == 0 and self._spreads(node)
                self._buffer(name, value.reshape(1) if lone else value)

    def _spreads(self, node: Node) -> bool:
        """Whether one number may have an axis where ``node`` reads it: XNNPACK's passes index every stored tensor."""
        return node.op in BROADCASTS and self._graph.shape(node.output) != ()

    def _activation(self, name: str) -> Activation | None:
        return None if self._recipe is None else self._recipe.activations.get(name)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the graph once."""
        run, readers = _Run({}, {}), self._graph.consumers()
        for name, value in zip(self._graph.inputs, inputs, strict=True):
            self._enter(name, value, run)
        for node in self._graph.nodes:
            if node.output in run.stored:
                continue  # the integers of pixels came in as they are
            alike = self._alike(node)
            said = OPS[node.op].emit(self._graph, node, self._values(node, run, alike))
            made = [said] if isinstance(said, torch.Tensor) else said
            for name, result in zip(node.outputs, made, strict=False):
                if result is not None and alike:
                    run.stored[name] = result
                elif result is not None:
                    real = self._recipe is not None and is_read_unrounded(
                        self._graph, self._recipe, node, readers
                    )
                    self._store(name, self._clamped(node, result, real), run, real)
        return tuple(self._leave(name, run) for name in self._graph.outputs)

    def _in_float(self, node: Node) -> bool:
        recipe = self._recipe
        return (
            recipe is not None and keeps_unrounded(recipe) and reads_real(self._graph, recipe, node)
        )

    def _alike(self, node: Node) -> bool:
        """Whether a node moves integers that mean the same before and behind it."""
        found = [self._activation(name) for name in (node.inputs[0], node.output)]
        before, behind = found
        alike = before is not None and behind is not None and stored_alike(before, behind)
        return alike and on_integers(self._graph, node)

    def _values(self, node: Node, run: _Run, alike: bool) -> list[torch.Tensor]:
        if f"{node.name}:values" in self._held and self._recipe is not None:
            axis = self._recipe.weights[node.name].axis
            weights = torch.ops.quantized_decomposed.dequantize_per_channel(
                self._get(f"{node.name}:values"), self._get(f"{node.name}:scales"),
                self._get(f"{node.name}:zeros"), axis, WEIGHT_LOW, HIGH, torch.int8,
            )  # fmt: skip
            return [
                self._read(node.inputs[0], run),
                weights,
                self._get(f"{node.name}:bias"),
            ]
        names = [
            name
            for place, name in enumerate(node.inputs)
            if name and not parameter(self._graph, node, place)
        ]
        raw = run.real if self._in_float(node) else {}
        values = [raw[name] if name in raw else self._read(name, run) for name in names]
        values = [run.stored[node.inputs[0]], *values[1:]] if alike else values
        if not self._spreads(node):
            lone = [self._graph.shapes.get(name) == () for name in names]
            values = [v.reshape(()) if one else v for v, one in zip(values, lone, strict=True)]
        return values

    def _read(self, name: str, run: _Run) -> torch.Tensor:
        how = self._activation(name)
        if name in self._graph.constants and name not in run.stored:
            value = self._get(name)
            if how is None:
                return value
            run.stored[name] = self._quantize(value, how)
        if how is None:
            return run.real[name]
        found: torch.Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor(
            run.stored[name], how.scale, how.zero_point, LOW, HIGH, torch.int8
        )
        return found

    @staticmethod
    def _quantize(value: torch.Tensor, how: Activation) -> torch.Tensor:
        found: torch.Tensor = torch.ops.quantized_decomposed.quantize_per_tensor(
            value, how.scale, how.zero_point, LOW, HIGH, torch.int8
        )
        return found

    def _enter(
        self,
        name: str,
        value: torch.Tensor,
        run: _Run,
    ) -> None:
        """Take an input: real values, or the integers of the tensor that it stands for."""
        held = self._recipe and stored_input(self._graph, self._recipe, name)
        if self._io == "int8" and held:
            run.stored[held] = value if value.ndim else value.reshape(1)
        else:
            self._store(
                name, value, run, self._recipe is not None and keeps_unrounded(self._recipe)
            )

    def _store(self, name: str, value: torch.Tensor, run: _Run, unrounded: bool) -> None:
        how = self._activation(name)
        if how is None or unrounded:
            run.real[name] = value
        if how is not None:
            run.stored[name] = self._quantize(value if value.ndim else value.reshape(1), how)

    def _clamped(self, node: Node, value: torch.Tensor, real: bool) -> torch.Tensor:
        clamp, how = node.clamp, None if real else self._activation(node.output)
        if clamp is None or (how is not None and implied(clamp, how)):
            return value
        low, high = clamp
        if (low, high) == (0.0, float("inf")):
            return torch.relu(value)
        if how is not None:  # what the integers say; with finite bounds the delegate fuses it
            low, high = (
                float(
                    np.clip(
                        bound,
                        how.scale * (LOW - how.zero_point),
                        how.scale * (HIGH - how.zero_point),
                    )
                )
                for bound in clamp
            )
        if np.isinf(low) or np.isinf(high):
            return value.clamp(None if np.isinf(low) else low, None if np.isinf(high) else high)
        return torch.nn.functional.hardtanh(value, low, high)

    def _leave(self, name: str, run: _Run) -> torch.Tensor:
        made = (
            run.stored[name] if self._io == "int8" and name in run.stored else self._read(name, run)
        )
        return made.reshape(()) if self._graph.shapes.get(name) == () else made
