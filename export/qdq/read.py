"""Read a QDQ model of any tool as prepared graph plus recipe, its scales kept to the last bit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.integer.groups import only_moved, same_scale
from edgeconv.export.integer.rules import data_inputs, float_weights, why_float
from edgeconv.export.op_traits import RULES, WEIGHTED, Is, operators, output_axis
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.islands import islands_of
from edgeconv.export.qdq.qoperator import as_qdq, is_qoperator, refuse_dynamic
from edgeconv.export.qdq.strip import StoredConstant, Stripped, strip_qdq
from edgeconv.export.quant.weights import rows, unrows
from edgeconv.recipe import (
    FROM_FILE,
    Activation,
    Form,
    Recipe,
    Weights,
    bias_integers,
    choose_scale,
)

TAKES_CLAMP = operators(Is.TAKES_CLAMP)


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized model as data.

    ``islands`` maps each node that the file leaves in float to the reason; ``notes`` says what had to
    be completed, and whether zero points keep Core ML from computing in integers.
    """

    graph: Graph
    recipe: Recipe
    islands: dict[str, str]
    notes: tuple[str, ...]


def read_qdq(model: onnx.ModelProto) -> QuantizedModel:
    """Return graph and recipe of a QDQ model.

    Raises UnsupportedOpError, naming node and reason, for what an INT8 recipe cannot express.
    """
    refuse_dynamic(model)
    before = strip_qdq(from_onnx(as_qdq(model) if is_qoperator(model) else model))
    layers = {node.name: node for node in before.graph.of(*WEIGHTED)}
    notes: list[str] = []
    scales = _with_followers(before, notes)
    _fence(before.graph, scales)
    graph = prepare(before.graph, int8=True).graph
    _split_shared(graph, scales, notes)
    islands = islands_of(graph, scales)
    activations = _activations(graph, scales, frozenset(islands))
    weights = {}
    for node in graph.of(*WEIGHTED):
        if node.name not in islands:
            weights[node.name] = _weights(graph, node, layers, before, activations, notes)
    ends = only_moved(graph, islands, same_scale(graph, frozenset(islands)))
    activations = {t: replace(a, final=t in ends) for t, a in activations.items()}
    _saturate(graph, activations, islands)
    free = all(a.final or a.zero_point in (-128, 0) for a in activations.values())
    if not free:
        notes.append("activations have zero points: Core ML does not compute in integers then")
    form: Form = "zero-point-free" if free else "asymmetric"
    recipe = Recipe(
        FROM_FILE,
        form,
        activations,
        weights,
        tuple(islands),
        {"picked": "the file's own", "float": dict(islands), "completed": notes},
    )
    return QuantizedModel(graph, recipe, islands, tuple(notes))


def _saturate(
    graph: Graph, activations: Mapping[str, Activation], islands: Mapping[str, str]
) -> None:
    """Say what the integers imply: no value lies beyond them, also where a target stores real ones."""
    for node in graph.nodes:
        held = activations.get(node.output)
        if held is None or node.name in islands or node.op not in TAKES_CLAMP:
            continue
        low, high = node.clamp or (-np.inf, np.inf)
        node.clamp = max(low, held.low), min(high, held.high)


KEEPS_GRID = frozenset(["Clip", "Relu"])
AGAIN = "no target multiplies such int8; they were rounded again, symmetrically"
MEANS = frozenset(["GlobalAveragePool", "ReduceMean"])


def _with_followers(before: Stripped, notes: list[str]) -> dict[str, tuple[float, int]]:
    """Return the file's scales, and those of results that PyTorch leaves to the scale of what they read.

    A ReLU's values are its input's; a mean is rounded to the steps of what it is of.
    """
    scales = dict(before.scales)
    for node in before.graph.of(*KEEPS_GRID, *MEANS):
        source = node.inputs[0]
        if node.output in scales or source not in scales:
            continue
        scales[node.output] = scales[source]
        if node.op in MEANS:
            notes.append(f"{node.output} has no scale in the file: it has that of {source}")
    return scales


AFFINE = frozenset(["Add", "BatchNormalization", "Div", "Mul", "Sub"])


def _fence(graph: Graph, scales: dict[str, tuple[float, int]]) -> None:
    """Put an identity on tensors of a scale of their own over which passes would fold layers together.

    One that is there and changes the scale stays: as an operator that no pass drops.
    """
    for node in graph.of("Identity", "Dropout"):
        if scales.get(node.output, scales.get(node.inputs[0])) != scales.get(node.inputs[0]):
            node.op, node.inputs, node.attrs = "LeakyRelu", node.inputs[:1], {"alpha": 1.0}
    makers = graph.producers()
    for tensor in list(scales):
        maker, reader = makers.get(tensor), graph.sole_reader(tensor)
        if maker is None or reader is None:
            continue
        kinds = {maker.op, reader.op}
        constant = any(
            name in graph.constants
            for node in (maker, reader)
            if node.op in AFFINE
            for name in node.inputs
        )
        if constant and kinds & WEIGHTED and kinds & AFFINE:
            inner = graph.declare(graph.fresh(f"{tensor}_kept"), graph.shape(tensor), np.float32)
            kept = Node("LeakyRelu", graph.fresh(f"keep_{tensor}"), [tensor], [inner])
            kept.attrs["alpha"] = 1.0
            graph.nodes.insert(graph.nodes.index(maker) + 1, kept)
            reader.inputs = [inner if name == tensor else name for name in reader.inputs]
            scales[inner] = scales[tensor]


def _split_shared(graph: Graph, scales: dict[str, tuple[float, int]], notes: list[str]) -> None:
    """Put an identity where an operator that only moves integers joins different scales."""
    for node in list(graph.nodes):
        rule = RULES.get(node.op)
        if rule is None or rule.kind != "same-scale" or why_float(graph, node) is not None:
            continue
        target = scales.get(node.output)
        inputs = [name for name in data_inputs(graph, node) if name not in graph.constants]
        if len(inputs) == 1 and target is None and inputs[0] in scales:
            scales.update(dict.fromkeys(node.outputs, scales[inputs[0]]))
            continue
        if target is None:
            continue
        for position, name in enumerate(node.inputs):
            if name in inputs and scales.get(name) not in (None, target):
                own = graph.fresh(f"{name}_rescaled")
                fresh = graph.declare(own, graph.shape(name), np.float32)
                rescale = Node("LeakyRelu", graph.fresh(f"rescale_{name}"), [name], [fresh])
                rescale.attrs["alpha"] = 1.0
                graph.nodes.insert(graph.nodes.index(node), rescale)
                node.inputs[position] = fresh
                scales[fresh] = target
                notes.append(f"{name} is rescaled before {node.op} {node.name}")


def _activations(
    graph: Graph, scales: dict[str, tuple[float, int]], islands: frozenset[str]
) -> dict[str, Activation]:
    found: dict[str, Activation] = {}
    for node in graph.nodes:
        if node.name in islands or node.op not in RULES:
            continue
        for name in [*data_inputs(graph, node), *node.outputs]:
            if not name or name in found or graph.dtype(name) != np.float32:
                continue
            if name in scales:
                scale, zero = scales[name]
                low, high = (-128 - zero) * scale, (127 - zero) * scale
                found[name] = Activation(scale, zero, low, high, fixed=True)
            elif name in graph.constants:
                shared = found.get(node.output)
                values = graph.constants[name]
                own = choose_scale(float(values.min()), float(values.max()), "asymmetric")
                same = RULES[node.op].kind == "same-scale" and shared is not None
                found[name] = shared if same and shared is not None else own
    return found


def _weights(
    graph: Graph,
    node: Node,
    layers: dict[str, Node],
    before: Stripped,
    activations: dict[str, Activation],
    notes: list[str],
) -> Weights:
    real, bias = float_weights(graph, node)
    source = layers.get(node.name)
    stored = before.constants.get(source.inputs[1]) if source is not None else None
    flat = rows(node, real)
    input_scale = activations[node.inputs[0]].scale
    if stored is None:
        scales = _symmetric_scales(flat)
        notes.append(f"the weights of {node.name} are float in the file and were rounded")
    else:
        scales = _expand(stored, len(flat), node)
    steps = np.rint(flat.astype(np.float64) / scales[:, None])
    if np.abs(steps * scales[:, None] - flat).max() > 1e-3 * scales.max() and stored is not None:
        notes.append(f"the weights of {node.name} were folded into; they were rounded again")
    if steps.min(initial=0) < -128 or steps.max(initial=0) > 127:
        notes.append(f"the weights of {node.name} had zero points: {AGAIN}")
        scales = _symmetric_scales(flat)
        steps = np.rint(flat.astype(np.float64) / scales[:, None])
    weights = Weights(
        unrows(node, steps.astype(np.int8), real.shape),
        scales,
        np.zeros(len(bias), np.int32),
        bias,
        axis=output_axis(node),
    )
    integers = _bias(node, source, before, weights, input_scale)
    return Weights(weights.values, scales, integers, bias, axis=weights.axis)


def _symmetric_scales(flat: Array) -> NDArray[np.float32]:
    """Return the scale of each channel of (channels, values) at which all fit [-127, 127]."""
    return np.asarray(np.maximum(np.abs(flat).max(axis=1) / 127, 1e-8), np.float32)


def _expand(stored: StoredConstant, outputs: int, node: Node) -> NDArray[np.float32]:
    if stored.scales.size == outputs:
        return stored.scales.astype(np.float32)
    if stored.scales.size != 1:
        raise UnsupportedOpError(
            f"the weights of {node.name} have {stored.scales.size} scales for {outputs} channels"
        )
    return np.full(outputs, stored.scales[0], np.float32)


def _bias(
    node: Node, source: Node | None, before: Stripped, weights: Weights, input_scale: float
) -> NDArray[np.int32]:
    """Return the file's int32 bias where it is at s_in * s_w, else the real bias rounded to that."""
    name = source.inputs[2] if source is not None and len(source.inputs) > 2 else ""
    stored = before.constants.get(name)
    if stored is not None and stored.values.size == len(weights.float_bias):
        step = np.float64(input_scale) * weights.scales.astype(np.float64)
        ratio = np.broadcast_to(stored.scales.astype(np.float64), step.shape) / step
        same = np.array_equal(
            (stored.values.ravel() * stored.scales).astype(np.float32), weights.float_bias
        )
        if np.abs(ratio - 1).max() < 1e-5 and same:
            return stored.values.ravel().astype(np.int32)
    return bias_integers(weights, input_scale)
