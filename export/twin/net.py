"""The prepared graph and its recipe in PyTorch, with a gradient for every weight, bias and scale.

It computes real values on the recipe's grids: what an INT8 file computes, up to the last bit of sums. The
operators are those that ExecuTorch is told (executorch/table.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.export.executorch.say import PARAMETERS
from edgeconv.export.executorch.table import OPS, stops
from edgeconv.export.executorch.written import as_it_is
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import Groups, implied, rescales, same_scale
from edgeconv.export.integer.rules import data_inputs, is_pixel_shift, moves_integers
from edgeconv.export.quant.batching import batched
from edgeconv.export.twin.rounding import rounded, rounded_to
from edgeconv.recipe import Activation, Recipe, bias_integers, choose_scale

Values = Mapping[str, torch.Tensor]
KNOWN = frozenset(
    (
        *(
            "Add",
            "AveragePool",
            "ChannelShuffle",
            "Clip",
            "Concat",
            "Conv",
            "Div",
            "Exp",
            "Flatten",
        ),
        *("Gelu", "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
        *("MatMul", "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Resize", "Sigmoid"),
        *("Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"),
    )
)
"""Operators through which training was tried."""
LOW, HIGH = -128, 127
PROCESSOR = torch.device("cpu")


def why_not(graph: Graph) -> str | None:
    """Say which operator keeps a net from running here; None where it runs."""
    for node in graph.nodes:
        real = all(graph.dtype(name) == np.float32 for name in node.outputs if name)
        if node.op not in KNOWN or not real or not as_it_is(graph, node):
            return f"{node.name}: training through {node.op} in this form was not tried"
    refused = stops(graph)
    return f"{refused[0].name}: {refused[0].clause}" if refused else None


@dataclass
class Layer:
    """What can be trained of a layer with integer weights.

    ``values`` are its integers as real numbers, in units of ``step`` (broadcasts to them); ``bias`` is
    its real bias in units of ``unit``, the step of its output; ``grain`` the step of its int32 bias.
    """

    values: torch.Tensor
    step: torch.Tensor
    bias: torch.Tensor
    unit: float
    grain: torch.Tensor


class Twin:
    """Runs ``graph`` in float or as ``recipe`` rounds it.

    ``growth``: root of a group of tensors with one scale -> natural logarithm of the factor on it.
    ``limit`` is the largest integer of a weight. Everything lies on ``place``.
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        limit: int = 127,
        place: torch.device = PROCESSOR,
    ) -> None:
        self.graph, self.recipe, self.limit, self.place = graph, recipe, limit, place
        self.stored = recipe.on("onnx").activations
        self.groups: Groups = same_scale(graph, frozenset(recipe.float_nodes))
        self.layers = {
            node.name: self._layer(node) for node in graph.nodes if node.name in recipe.weights
        }
        self.growth: dict[str, torch.Tensor] = {}
        self._most: dict[str, float] = {}
        for name, held in self.stored.items():
            if not held.fixed and not held.final and name not in graph.constants:
                self.growth.setdefault(self.groups.root(name), torch.zeros((), device=place))
        for node in graph.nodes:
            self._bound(node)
        self._wide: dict[int, Graph] = {}
        self._makers = graph.producers()
        self._constants = {
            name: self._held(np.array(value))
            for name, value in graph.constants.items()
            if value.dtype == np.float32
        }

    def _layer(self, node: Node) -> Layer:
        weights = self.recipe.weights[node.name]
        shape = [1] * weights.values.ndim
        shape[weights.axis] = -1
        made = self.recipe.activations.get(node.output)
        unit = float(weights.scales.mean()) if made is None else made.scale
        grain = np.float32(self.recipe.activations[node.inputs[0]].scale) * weights.scales
        return Layer(
            self._held(weights.values.astype(np.float32)),
            self._held(weights.scales.copy()).reshape(shape),
            self._held(weights.float_bias / np.float32(unit)),
            unit,
            self._held(grain),
        )

    def _held(self, values: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.place)

    def _bound(self, node: Node) -> None:
        """Let no scale grow so far that an activation which its range implies is lost."""
        held = self.stored.get(node.output)
        if held is None or node.clamp is None or not implied(node.clamp, held):
            return
        if np.isfinite(node.clamp[1]):
            widest = node.clamp[1] / (126.5 - held.zero_point) / held.scale
            root = self.groups.root(node.output)
            most = max(0.0, float(np.log(widest)) - 1e-6)
            self._most[root] = min(most, self._most.get(root, most))

    @property
    def batches(self) -> bool:
        """Whether several pictures can run at once."""
        return batched(self.graph) is not None

    def trainable(self, kind: str) -> list[torch.Tensor]:
        """Return the tensors of a kind: weights (in steps), biases (in output steps) or scales."""
        if kind == "scales":
            return list(self.growth.values())
        field = {"weights": "values", "biases": "bias"}[kind]
        return [getattr(layer, field) for layer in self.layers.values()]

    def run(
        self,
        inputs: Values,
        *,
        integer: bool,
        keep: Callable[[str, torch.Tensor], torch.Tensor] = lambda _, value: value,
    ) -> dict[str, torch.Tensor]:
        """Return the outputs for inputs (rows, ...), rounded where ``integer``.

        ``keep`` is shown every tensor, and what it returns is read by later layers.
        """
        graph = self._graph(len(next(iter(inputs.values()))))
        last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
        values = {name: keep(name, _wide(value.to(self.place))) for name, value in inputs.items()}
        if integer:
            values = {name: self._store(name, value) for name, value in values.items()}
        for i, node in enumerate(graph.nodes):
            made = OPS[node.op].emit(graph, node, self._inputs(node, values, integer))
            assert isinstance(made, torch.Tensor), "operators of several outputs are not known here"
            made = self._finish(node, made, integer)
            values[node.output] = keep(node.output, made)
            for name in node.inputs:
                if last[name] == i and name not in graph.outputs:
                    values.pop(name, None)
        return {name: values[name] for name in graph.outputs}

    def _graph(self, rows: int) -> Graph:
        """Return the graph whose shapes are those of so many pictures."""
        if rows not in self._wide:
            wide = self.graph if rows == 1 else batched(self.graph)
            assert wide is not None, "a net that does not batch runs a picture at a time"
            wide = wide.clone()
            wide.shapes = {
                name: (shape[0] * rows, *shape[1:]) if name not in wide.constants else shape
                for name, shape in wide.shapes.items()
                if shape
            }
            self._wide[rows] = wide
        return self._wide[rows]

    def _inputs(self, node: Node, values: Values, integer: bool) -> list[torch.Tensor]:
        if integer and node.name in self.layers:
            layer = self.layers[node.name]
            weights = rounded(layer.values, -self.limit, self.limit) * layer.step
            return [values[node.inputs[0]], weights, self._bias(layer)]
        parameters = PARAMETERS.get(node.op, ())
        return [
            values[name] if name in values else self._constant(name, integer)
            for place, name in enumerate(node.inputs)
            if name and place not in parameters
        ]

    @staticmethod
    def _bias(layer: Layer) -> torch.Tensor:
        limit = 2**31 - 1
        return rounded(layer.bias * (layer.unit / layer.grain), -limit, limit) * layer.grain

    def _constant(self, name: str, integer: bool) -> torch.Tensor:
        value = self._constants[name]
        return self._store(name, value) if integer else value

    def _finish(self, node: Node, made: torch.Tensor, integer: bool) -> torch.Tensor:
        held = self.stored.get(node.output) if integer else None
        if node.clamp is not None and (held is None or not implied(node.clamp, held)):
            made = made.clamp(*node.clamp)
        return made if held is None or self._moved(node) else self._store(node.output, made)

    def rounds(self, name: str) -> bool:
        """Whether storing a tensor rounds it: moved integers and exact pixels stay what they are."""
        held, maker = self.stored.get(name), self._makers.get(name)
        if held is None or maker is None or self._moved(maker):
            return False
        return not (held.fixed and is_pixel_shift(self.graph, maker))

    def error(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Return what storing ``value`` as the integers of a tensor adds to it."""
        value = value.detach()
        return self._store(name, value).detach() - value

    def _moved(self, node: Node) -> bool:
        stored = all(n in self.stored for n in data_inputs(self.graph, node))
        return moves_integers(node) and stored and not rescales(node, self.stored)

    def _store(self, name: str, value: torch.Tensor) -> torch.Tensor:
        held = self.stored.get(name)
        if held is None:
            return value
        growth = self.growth.get(self.groups.root(name))
        if growth is None or held.fixed or held.final:
            return rounded_to(value, float(np.float32(held.scale)), held.zero_point)
        return rounded_to(value, held.scale * self._factor(name, growth), held.zero_point)

    def _factor(self, name: str, growth: torch.Tensor) -> torch.Tensor:
        most = self._most.get(self.groups.root(name), float("inf"))
        return growth.clamp(max=most).exp().reshape(1)

    def to_recipe(self) -> Recipe:
        """Return the recipe with the integers and scales that the twin has now."""
        activations = {
            name: self._activation(name, a) for name, a in self.recipe.activations.items()
        }
        weights = {}
        for node in self.graph.nodes:
            if (layer := self.layers.get(node.name)) is None:
                continue
            values = layer.values.detach().cpu().round().clamp(-self.limit, self.limit)
            made = replace(
                self.recipe.weights[node.name],
                values=values.numpy().astype(np.int8),
                float_bias=(layer.bias.detach().cpu() * layer.unit).numpy(),
            )
            source = activations[node.inputs[0]].scale
            weights[node.name] = replace(made, bias=bias_integers(made, source))
        return replace(self.recipe, activations=activations, weights=weights, free_bias={})

    def _activation(self, name: str, held: Activation) -> Activation:
        growth = self.growth.get(self.groups.root(name))
        if growth is None or held.fixed or held.final or name not in self.stored:
            return held
        factor = float(self._factor(name, growth.detach()))
        made = choose_scale(held.low * factor, held.high * factor, self.recipe.form)
        return replace(
            made, scale=float(np.float32(held.scale * factor)), zero_point=held.zero_point
        )


def _wide(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
