"""Tensors, scales, constants and operators made of several, while a QDQ model is written; emit.py writes the nodes."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.export.graph import Array, Clamp, Graph, Node
from edgeconv.export.integer.free_form import reads_free
from edgeconv.export.integer.unrounded import reads_real
from edgeconv.export.passes.find_shuffles import shuffle_order
from edgeconv.recipe import Activation, Recipe, quantize_values
from edgeconv.tensors import TensorSpec

Io = Literal["float", "int8", "uint8"]
Shuffle = Literal["gather", "transpose"]


@dataclass
class QdqTensors:
    """What has been written so far; ``names`` maps hub tensors to ONNX tensors.

    ``free``: only what Core ML reads as integers is rounded (integer/free_form.py); ``rounded``: all that is stored is. ``unrounded`` maps stored
    tensors to their real values, where some operator reads those.
    """

    graph: Graph
    recipe: Recipe
    io: Io
    shuffle: Shuffle
    signed: bool
    free: bool = False
    rounded: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unrounded: dict[str, str] = field(default_factory=dict)
    _dequantized: dict[str, int] = field(default_factory=dict)

    # Scales and constants

    @property
    def _type(self) -> Any:
        return np.int8 if self.signed else np.uint8

    def _integers(self, values: Array) -> Array:
        return values if self.signed else (values.astype(np.int16) + 128).astype(np.uint8)

    def _pair(self, quantization: Activation, kind: Any) -> list[str]:
        zero = quantization.zero_point + (128 if kind is np.uint8 else 0)
        scale = np.float32(quantization.scale)
        return [
            self._constant(f"scale_{scale.view(np.uint32):08x}", np.array(scale)),
            self._constant(f"zero_point_{np.dtype(kind).name}_{zero}", np.array(zero, kind)),
        ]

    def _scale(self, tensor: str) -> list[str]:
        return self._pair(self.recipe.activations[tensor], self._type)

    def _constant(self, name: str, value: Array) -> str:
        if name not in self.initializers:
            data = np.ascontiguousarray(value).reshape(value.shape)
            self.initializers[name] = numpy_helper.from_array(data, name)
        return name

    def _add(self, op: str, inputs: list[str], *outputs: str, **attrs: Any) -> None:
        name = attrs.pop("name", None) or f"{outputs[0]}_{op}"
        self.nodes.append(helper.make_node(op, inputs, list(outputs), name=name, **attrs))

    # Tensors

    def _stored(self, name: str) -> str:
        """Return the integer tensor of a quantized tensor or constant."""
        if name in self.graph.constants and name not in self.names:
            integers = quantize_values(
                self.graph.constants[name], self.recipe.activations[name]
            ).reshape(self.graph.shape(name))
            self.names[name] = self._constant(f"{name}_quantized", self._integers(integers))
        return self.names[name]

    def _rounds(self, node: Node, name: str) -> bool:
        """Whether ``node`` computes with the integers of a stored tensor."""
        if self.free:
            return reads_free(self.graph, self.recipe, node, name)
        return not reads_real(self.graph, self.recipe, node)

    def _real(self, name: str, node: Node) -> str:
        """Return real values for one reader; a DequantizeLinear each keeps fusions simple."""
        if not name:
            return ""
        if name in self.unrounded and not self._rounds(node, name):
            return self.unrounded[name]
        if name in self.recipe.activations:
            number = self._dequantized[name] = self._dequantized.get(name, 0) + 1
            out = f"{name}_dequantized_{number}"
            self._add("DequantizeLinear", [self._stored(name), *self._scale(name)], out)
            return out
        if name in self.graph.constants:
            return self._constant(name, self.graph.constants[name])
        return self.names.get(name, name)

    def _place(self, tensor: str) -> str:
        """Name the integers of a tensor: an integer output keeps the model's own name."""
        border = self.io == self._type.__name__ and tensor in self.graph.outputs
        self.names[tensor] = tensor if border else f"{tensor}_quantized"
        return self.names[tensor]

    def _quantize(self, source: str, tensor: str) -> None:
        self._place(tensor)
        self._add("QuantizeLinear", [source, *self._scale(tensor)], self.names[tensor])

    def _initializer(self, name: str, values: Array, scales: Array, axis: int) -> str:
        stored = self._constant(f"{name}_quantized", values)
        pair = [
            self._constant(f"{name}_scale", scales.astype(np.float32)),
            self._constant(f"{name}_zero_point", np.zeros(scales.shape, values.dtype)),
        ]
        self._add(
            "DequantizeLinear", [stored, *pair], name, **({"axis": axis} if scales.ndim else {})
        )
        return name

    # Operators made of several

    def _shuffle(self, node: Node, source: str, target: str) -> None:
        n, c, h, w = self.graph.shape(node.inputs[0])
        groups = node.int("group" if "group" in node.attrs else "groups", 1)
        if self.shuffle == "gather":
            index = self._constant(f"shuffle_{c}_{groups}", shuffle_order(c, groups))
            self._add("Gather", [source, index], target, axis=1, name=node.name)
            return
        split = self._constant(
            f"split_{c}_{groups}_{h}_{w}", np.array([n, groups, c // groups, h, w], np.int64)
        )
        merge = self._constant(f"merge_{c}_{h}_{w}", np.array([n, c, h, w], np.int64))
        self._add("Reshape", [source, split], f"{target}_split")
        self._add("Transpose", [f"{target}_split"], f"{target}_swapped", perm=[0, 2, 1, 3, 4])
        self._add("Reshape", [f"{target}_swapped", merge], target, name=node.name)

    def _clamp(self, clamp: Clamp, source: str, target: str) -> None:
        low, high = clamp
        if (low, high) == (0.0, np.inf):
            self._add("Relu", [source], target)
            return
        bounds = [
            "" if np.isinf(b) else self._constant(f"bound_{b:g}", np.array(b, np.float32))
            for b in (low, high)
        ]
        self._add("Clip", [source, *bounds], target)


def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """Return the declaration of a model's input or output."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return onnx.helper.make_tensor_value_info(spec.name, kind, spec.shape)
