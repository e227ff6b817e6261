"""Write a prepared graph and its recipe as ONNX QDQ, integer for integer.

Activations are stored as uint8 (the recipe's int8 integers + 128), because onnxruntime fuses
nothing around shared tensors where they are int8. Weights are int8 initializers behind
DequantizeLinear, biases int32. Operators that only move values run on the integers themselves,
so that no float island is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub import light
from edgeconv.export.hub.onnx_io import IR_VERSION
from edgeconv.export.integer.groups import check_same_scale, implied, rescales
from edgeconv.export.integer.pair import Order
from edgeconv.export.integer.rules import is_pixel_shift, moves_integers
from edgeconv.export.integer.unrounded import in_float, is_read_unrounded, keeps_unrounded
from edgeconv.export.op_traits import RULES, WEIGHTED
from edgeconv.export.qdq.tensors import Io, QdqTensors, Shuffle, value_info
from edgeconv.export.rewrites.table import NONE, Change, Rewrites, rewrite
from edgeconv.recipe import Activation, Recipe, Weights, quantize_values
from edgeconv.tensors import Quantization, TensorSpec


@dataclass(frozen=True)
class EmittedOnnx:
    """A QDQ model and what it holds.

    ``names`` maps each tensor of the prepared graph to its ONNX tensor: the integers where the
    recipe quantizes it, the real values elsewhere. ``inputs`` and ``outputs`` describe the borders.
    ``changes`` says which exact rewrites were applied, ``channels`` where the channels of padded
    tensors are (rewrites/table.py).
    """

    model: onnx.ModelProto
    names: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    changes: tuple[Change, ...] = ()
    channels: Mapping[str, Order] = field(default_factory=dict)


def emit_qdq(
    graph: Graph,
    recipe: Recipe,
    *,
    io: Io = "float",
    shuffle: Shuffle = "gather",
    signed: bool = False,
    free: bool = False,
    rounded: bool = False,
    rewrites: Rewrites = NONE,
    metadata: Mapping[str, str] | None = None,
) -> EmittedOnnx:
    """Return the QDQ model of a prepared graph; the same arguments give the same bytes.

    ``io`` is the type of the model's own inputs and outputs; int8 and uint8 ones hold the
    recipe's integers (+ 128 for uint8), and a leading pixel shift is then already in them.
    ``shuffle`` is the form of a channel shuffle that stays. ``rewrites`` are exact (rewrites.py).
    ``signed`` stores activations as int8. ``free`` (float borders) rounds for those readers alone that do so
    in a file without zero points, as a promise of one. ``rounded`` rounds what is stored for all readers.
    Raises EdgeconvError where the recipe does not fit the graph.
    """
    check_same_scale(graph, recipe)
    held = recipe.on("onnx") if io == "float" else recipe
    made = rewrite(graph, held, rewrites)
    emitter = _Emitter(made.graph, made.recipe, io, shuffle, signed, free, rounded)
    emitted = emitter.emit(dict(metadata or {}))
    return replace(emitted, changes=made.changes, channels=made.channels)


@dataclass
class _Emitter(QdqTensors):
    def emit(self, metadata: dict[str, str]) -> EmittedOnnx:
        """Write borders and nodes and return the checked model."""
        self.readers = self.graph.consumers()
        self.inputs = [self._input(name) for name in self.graph.inputs]
        for node in self.graph.nodes:
            self._node(node)
        outputs = [self._output(name) for name in self.graph.outputs]
        proto = helper.make_graph(
            self.nodes,
            self.graph.name,
            [value_info(spec) for spec in self.inputs],
            [value_info(spec) for spec in outputs],
            list(self.initializers.values()),
        )
        model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", self.graph.opset)])
        model.ir_version = IR_VERSION
        model.producer_name = "edgeconv"
        helper.set_model_props(model, dict(sorted(metadata.items())))
        light.check(model)
        return EmittedOnnx(model, self.names, tuple(self.inputs), tuple(outputs))

    # Borders

    def _spec(self, name: str, quantization: Activation | None) -> TensorSpec:
        shape = self.graph.shape(name)
        layout: Literal["nchw", "other"] = "nchw" if len(shape) == 4 else "other"
        if quantization is None:
            return TensorSpec(name, shape, self.graph.dtype(name).name, layout)
        zero = quantization.zero_point + (128 if self.io == "uint8" else 0)
        return TensorSpec(name, shape, self.io, layout, Quantization(quantization.scale, zero))

    def _input(self, name: str) -> TensorSpec:
        stored = self._stored_input(name)
        quantization = self.recipe.activations.get(stored)
        if self.io == "float" or quantization is None:
            self.names[name] = name
            if stored == name and quantization is not None:
                self._quantize(name, name)
                self._keep(name, name)
            return self._spec(name, None)
        self.names[stored] = self._convert(name, f"{stored}_quantized", quantization, inward=True)
        return self._spec(name, quantization)

    def _stored_input(self, name: str) -> str:
        """Return the tensor whose integers an integer input holds: behind a pixel shift."""
        readers = self.graph.consumers().get(name, [])
        if name not in self.recipe.activations and len(readers) == 1:
            node = readers[0]
            if is_pixel_shift(self.graph, node) and node.output in self.recipe.activations:
                return node.output
        return name

    def _output(self, name: str) -> TensorSpec:
        if name in self.graph.constants:
            self._constant(name, self.graph.constants[name])
            return self._spec(name, None)
        quantization = self.recipe.activations.get(name)
        if name in self.graph.inputs:  # the border itself, whatever it holds
            return self._spec(name, None if self.io == "float" else quantization)
        if quantization is None:
            return self._spec(name, None)
        if self.io == "float" and self.free and name in self.unrounded:
            self._add("Identity", [self.unrounded[name]], name)
            return self._spec(name, None)
        if self.io == "float":
            self._add("DequantizeLinear", [self.names[name], *self._scale(name)], name)
            return self._spec(name, None)
        if self.names[name] != name:
            self._convert(self.names[name], name, quantization, inward=False)
        return self._spec(name, quantization)

    def _convert(self, source: str, target: str, quantization: Activation, *, inward: bool) -> str:
        """Bridge the border's integer type and the inner one; return the tensor to read."""
        if self.io == self._type.__name__:
            return source
        border: Any = np.int8 if self.io == "int8" else np.uint8
        here, there = (border, self._type) if inward else (self._type, border)
        real = f"{target}_border"
        for op, out, kind, start in (
            ("DequantizeLinear", real, here, source),
            ("QuantizeLinear", target, there, real),
        ):
            self._add(op, [start, *self._pair(quantization, kind)], out)
        return target

    # Nodes

    def _node(self, node: Node) -> None:
        if node.output in self.names:
            return  # a pixel shift that an integer input already holds
        if not in_float(self.recipe, node) and moves_integers(node) and self._can_move(node):
            self._move(node)
            return
        weights = (
            None if node.name in self.recipe.float_nodes else self.recipe.weights.get(node.name)
        )
        if weights is not None:
            inputs = self._weighted_inputs(node, weights)
        else:
            inputs = [self._real(name, node) for name in node.inputs]
        self._compute(node, inputs, weighted=weights is not None)

    def _can_move(self, node: Node) -> bool:
        found = RULES[node.op]
        if rescales(node, self.recipe.activations):
            return False
        data = node.inputs if found.data is None else [node.inputs[i] for i in found.data]
        stored = all(name in self.recipe.activations for name in data if name)
        return stored and (not self.free or all(self._rounds(node, name) for name in data if name))

    def _compute(self, node: Node, inputs: list[str], *, weighted: bool) -> None:
        """Write the operator on real values, its clamp where the range does not imply it."""
        quantized = [self.recipe.activations.get(out) for out in node.outputs]
        raw = [
            f"{out}_real" if q is not None and out else out
            for out, q in zip(node.outputs, quantized, strict=True)
        ]
        clamp = node.clamp
        real = self.free or is_read_unrounded(self.graph, self.recipe, node, self.readers)
        if quantized[0] is not None and implied(clamp, quantized[0]) and not real:
            clamp = None
        made = list(raw)
        if clamp is not None:
            made[0] = f"{node.output}_before_clamp"
        guarded = quantized[0] is not None and (
            (not weighted and node.op in WEIGHTED)
            or _miscounts(node)
            or _is_finer_softmax(node, quantized[0])
        )
        first = f"{node.output}_unguarded" if guarded else made[0]
        if node.op == "ChannelShuffle":
            self._shuffle(node, inputs[0], first)
        else:
            self._add(node.op, inputs, first, *made[1:], name=node.name, **node.attrs)
        if guarded:
            # onnxruntime quantizes a float layer between DequantizeLinear and QuantizeLinear by
            # itself, with one weight scale; an identity that it fuses instead keeps it float
            self._add("LeakyRelu", [first], made[0], alpha=1.0)
        if clamp is not None:
            self._clamp(clamp, made[0], raw[0])
        for out, source, q in zip(node.outputs, raw, quantized, strict=True):
            if q is not None:
                self._quantize(source, out)
                if self.free or in_float(self.recipe, node):
                    self._keep(out, source)
            else:
                self.names[out] = out

    def _keep(self, tensor: str, real: str) -> None:
        if keeps_unrounded(self.recipe) and not self.rounded:
            self.unrounded[tensor] = real

    def _move(self, node: Node) -> None:
        found = RULES[node.op]
        data = range(len(node.inputs)) if found.data is None else found.data
        inputs = [
            self._stored(name) if i in data and name else self._real(name, node)
            for i, name in enumerate(node.inputs)
        ]
        outputs = [self._place(out) if out else "" for out in node.outputs]
        clamped = not implied(node.clamp, self.recipe.activations[node.output])
        if clamped:
            outputs[0] = f"{node.output}_before_clamp_quantized"
        if node.op == "Pad":
            inputs = self._pad_inputs(node, inputs)
        if node.op == "ChannelShuffle":
            self._shuffle(node, inputs[0], outputs[0])
        else:
            self._add(node.op, inputs, *outputs, name=node.name, **node.attrs)
        if clamped and node.clamp is not None:
            real, bounded = f"{node.output}_before_clamp", f"{node.output}_real"
            self._add("DequantizeLinear", [outputs[0], *self._scale(node.output)], real)
            self._clamp(node.clamp, real, bounded)
            self._quantize(bounded, node.output)

    def _pad_inputs(self, node: Node, inputs: list[str]) -> list[str]:
        quantization = self.recipe.activations[node.output]
        fill = self.graph.constant(node, 2)
        value = np.zeros((), np.float32) if fill is None else np.asarray(fill, np.float32)
        integer = self._integers(quantize_values(value.reshape(()), quantization))
        name = self._constant(f"{node.name}_fill", np.asarray(integer).reshape(()))
        return [inputs[0], inputs[1], name, *inputs[3:]]

    def _weighted_inputs(self, node: Node, weights: Weights) -> list[str]:
        source = self.recipe.activations.get(node.inputs[0])
        if source is None:
            raise EdgeconvError(
                f"the recipe has integer weights for {node.name} but no scale for its input "
                f"{node.inputs[0]}: name the node in float_nodes or give the input a scale"
            )
        scales = weights.scales
        grouped_transpose = node.op == "ConvTranspose" and node.int("group", 1) > 1
        if grouped_transpose and not np.all(scales == scales[0]):
            raise EdgeconvError(
                f"{node.name} is a grouped ConvTranspose, whose weights ONNX can only store with "
                "one scale: make its recipe scales equal"
            )
        weight_scales = scales[:1].reshape(()) if grouped_transpose else scales
        inputs = [self._real(node.inputs[0], node)]
        inputs.append(
            self._initializer(f"{node.name}_weight", weights.values, weight_scales, weights.axis)
        )
        step = (np.float32(source.scale) * scales.astype(np.float32)).astype(np.float32)
        inputs.append(self._initializer(f"{node.name}_bias", weights.bias, step, 0))
        return inputs


def _is_finer_softmax(node: Node, made: Activation) -> bool:
    """Whether onnxruntime's INT8 softmax would overflow: its sums have room for steps of 1/256."""
    prescribed = RULES["Softmax"].fixed
    return node.op == "Softmax" and prescribed is not None and made.scale < prescribed[0]


def _miscounts(node: Node) -> bool:
    """Whether onnxruntime's INT8 pool divides by the wrong count (microsoft/onnxruntime#16203)."""
    counted = node.int("count_include_pad", 0) == 1 and node.int("ceil_mode", 0) == 1
    return node.op == "AveragePool" and counted
