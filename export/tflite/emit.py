"""A prepared graph, and a recipe or none, to a TFLite flatbuffer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeconv.errors import UsageError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.unrounded import keeps_unrounded, reads_real
from edgeconv.export.integer.weights_alone import round_weights
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.rewrites.table import Change
from edgeconv.export.tflite.detection import add_detection
from edgeconv.export.tflite.emission import Emission, Io, Precision
from edgeconv.export.tflite.layout import (
    LAST,
    PLAIN,
    Layout,
    conversion,
    order,
    stored_shape,
)
from edgeconv.export.tflite.rewrites import ALL, Rewrites, rewrite
from edgeconv.export.tflite.table import OPS, check_supported, planned
from edgeconv.recipe import Recipe
from edgeconv.tensors import Layout as TensorLayout
from edgeconv.tensors import Quantization, TensorSpec

Told = Mapping[str, str | bytes]
Describe = Callable[[tuple[TensorSpec, ...], tuple[TensorSpec, ...]], Told]
METADATA_NAME = "edgeconv"  # the metadata entry that holds our description, as JSON


@dataclass(frozen=True)
class EmittedTflite:
    """A TFLite file in memory, and what it is.

    ``names`` maps each tensor of the prepared graph to the tensor of the file that holds it, and
    ``layouts`` says whether that one is in ONNX's order ("plain") or channels last ("last").
    ``inputs`` and ``outputs`` are the file's borders in the graph's order. ``ops`` counts
    operators. ``requantized`` counts int8 tensors moved to another scale because a recipe gave
    different ones where TFLite needs one. ``islands`` are the nodes that compute in float
    although the file is INT8. ``changes`` says which exact rewrites were made for TFLite.
    """

    data: bytes
    names: dict[str, str]
    layouts: dict[str, Layout]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: dict[str, int] = field(default_factory=dict)
    requantized: int = 0
    islands: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def emit_tflite(
    graph: Graph,
    recipe: Recipe | None = None,
    *,
    precision: Precision = "fp32",
    io: Io = "float",
    metadata: Told | Describe | None = None,
    rewrites: Rewrites = ALL,
    nms: Suppression | None = None,
    weights_only: bool = False,
) -> EmittedTflite:
    """Return the flatbuffer of a prepared graph.

    Pictures are channels last, at the borders too. ``precision`` "fp16" stores weights of
    convolutions and matrix products as float16; "int8" takes every integer from ``recipe``.
    ``io`` (INT8 only): "float" quantizes inside the model, "int8" and "uint8" make the borders
    integer; an input that the graph first centres on integers (exact pixels) then is the centred
    tensor: for uint8, the raw pixel. ``metadata``, or what it returns for the file's inputs and
    outputs, goes into the file: texts together as JSON, bytes as an entry of that name. ``rewrites`` are exact (rewrites.py).
    ``nms`` puts the detection operator behind a graph that gives what it takes (detection.py).
    ``weights_only`` stores int8 weights, of ``recipe`` or rounded from the float ones, behind a
    DEQUANTIZE, and computes in float.

    Raises UnsupportedOpError where the graph cannot be expressed, UsageError for options that
    contradict each other, MissingDependencyError without the export extra.
    """
    if weights_only:
        recipe = recipe or round_weights(graph)
    elif (precision == "int8") != (recipe is not None):
        raise UsageError(
            f"precision {precision} {'needs' if recipe is None else 'takes no'} recipe"
        )
    if (recipe is None or weights_only) and io != "float":
        raise UsageError(
            f"{io} inputs and outputs need an INT8 model: leave out --io or add --int8"
        )
    check_supported(graph)
    known = graph.shapes.keys()
    if recipe is not None and io == "float":
        recipe = recipe.on("tflite")
    if weights_only:  # the others need integers all through
        rewrites = Rewrites(place_shuffles=rewrites.place_shuffles, pad_rows=rewrites.pad_rows)
    graph, recipe, changes = rewrite(graph, recipe, rewrites)
    alone = recipe.weights if recipe is not None and weights_only else {}
    recipe = None if weights_only else recipe
    plan = planned(graph)
    em = Emission(
        graph, recipe, precision, io, plan, ops=OPS, alone=alone, pad_rows=rewrites.pad_rows
    )
    inputs: dict[str, int] = {}
    for name in graph.inputs:
        _add_input(em, name, inputs)
    islands = _emit_nodes(em)
    if em.padded_rows:
        said = "pictures padded for a pool row by row"
        changes = (*changes, Change("pad_rows", em.padded_rows, said))
    if nms is None:
        outputs = {name: _add_output(em, name) for name in graph.outputs}
    else:
        boxes, scores = graph.outputs
        outputs = add_detection(em, boxes, scores, nms)
    borders = (
        tuple(_spec(em, name, index) for name, index in inputs.items()),
        tuple(_spec(em, name, index) for name, index in outputs.items()),
    )
    told = metadata(*borders) if callable(metadata) else metadata or {}
    texts = {name: text for name, text in sorted(told.items()) if isinstance(text, str)}
    entries = {name: data for name, data in sorted(told.items()) if isinstance(data, bytes)}
    description = json.dumps(texts, ensure_ascii=False)
    data = em.builder.finish(inputs, outputs, {METADATA_NAME: description.encode(), **entries})
    return EmittedTflite(
        data,
        {name: em.builder.name(index) for name, index in em.stored.items() if name in known},
        {name: plan.of(name) for name in em.stored if name in known},
        *borders,
        dict(sorted(em.builder.op_counts.items())),
        em.requantized,
        tuple(islands),
        changes,
    )


def _emit_nodes(em: Emission) -> list[str]:
    islands = []
    unrounded = em.recipe is not None and keeps_unrounded(em.recipe)
    for node in em.graph.nodes:
        if node.output in em.stored:
            continue  # the input itself, at an integer border
        entry = OPS[node.op]
        native = entry.native(em.graph, node) and node.name not in em.shifts
        em.integer = em.computes_on_int8(node, native)
        em.floats = unrounded and em.recipe is not None and reads_real(em.graph, em.recipe, node)
        if em.recipe is not None and not em.integer and _is_real(em.graph, node):
            islands.append(node.name)
        entry.emit(em, node)
    em.integer = em.floats = False
    return [name for name in islands if name not in em.shifts]


def _is_real(graph: Graph, node: Node) -> bool:
    return any(graph.dtype(name) == np.float32 for name in (*node.inputs, *node.outputs) if name)


def exact_pixel_shift(graph: Graph, recipe: Recipe, name: str) -> Node | None:
    """Return the Sub that centres an input's pixels on integers (export/passes/exact_pixels.py)."""
    readers = [node for node in graph.nodes if name in node.inputs]
    if len(readers) != 1 or readers[0].op != "Sub" or readers[0].inputs[0] != name:
        return None
    shift, made = graph.constant(readers[0], 1), recipe.activations.get(readers[0].output)
    if shift is None or shift.size != 1 or readers[0].clamp is not None:
        return None
    return readers[0] if made is not None and made.fixed else None


def _add_input(em: Emission, name: str, inputs: dict[str, int]) -> None:
    shift = exact_pixel_shift(em.graph, em.recipe, name) if em.recipe is not None else None
    target = name if shift is None else shift.output
    held = em.quantization(target)
    if shift is not None and em.io == "float":
        # pixels are centred in float: quantizing them first would round at ties
        em.shifts.add(shift.name)
        held, target = None, name
    shape = em.graph.shape(name)
    shape = stored_shape(shape, em.layout(name)) if len(shape) == 4 else shape
    if held is None:
        index = inputs[name] = em.builder.tensor(name, shape, em.graph.dtype(name))
    elif em.io == "int8":
        index = inputs[name] = em.builder.tensor(name, shape, np.int8, held)
    else:
        inputs[name], index = _converted_input(em, name, shape, held)
        if em.io == "float" and em.recipe is not None and keeps_unrounded(em.recipe):
            em.unrounded[name] = inputs[name], em.layout(name) if len(shape) == 4 else PLAIN
    if em.is_relaid_border(name):
        index = em.transpose(index, order("last", len(shape)))
    em.stored[target] = index


def _converted_input(
    em: Emission, name: str, shape: tuple[int, ...], held: Quantization
) -> tuple[int, int]:
    b, raw = em.builder, Quantization(held.scale, held.zero_point + 128)
    kind, quantization = (np.uint8, raw) if em.io == "uint8" else (np.float32, None)
    border = b.tensor(name, shape, kind, quantization)
    index = b.tensor(f"{name}_int8", shape, np.int8, held)
    b.op("QUANTIZE", [border], [index], "QuantizeOptions")
    return border, index


def _add_output(em: Emission, name: str) -> int:
    b = em.builder
    if name in em.graph.constants or name in em.graph.inputs:
        return _copied_output(em, name)
    index = em.stored[name]
    held, rank = b.quantization(index), len(em.graph.shape(name))
    if em.is_relaid_border(name):
        permutation = conversion(rank, "last", "plain")
        label = name if held is None or em.io == "int8" else f"{name}_plain"
        turned = b.tensor(label, em.graph.shape(name), b.dtype(index), held)
        b.op("TRANSPOSE", [index, em.ints(permutation)], [turned], "TransposeOptions")
        index = turned
    if held is None or em.io == "int8":
        return index
    if em.io == "uint8":
        raw = Quantization(held.scale, held.zero_point + 128)
        border = b.tensor(name, b.shape(index), np.uint8, raw)
        b.op("QUANTIZE", [index], [border], "QuantizeOptions")
    else:
        border = b.tensor(name, b.shape(index), np.float32)
        b.op("DEQUANTIZE", [index], [border], "DequantizeOptions")
    return border


def _copied_output(em: Emission, name: str) -> int:
    """Return a copy of a constant or an input that the model hands out: borders are tensors of their own."""
    if name in em.graph.constants:  # under another name: tools find the output by its own
        index = em.builder.shared(f"{name}_value", em.graph.constants[name])
    elif name in em.unrounded:  # what comes in goes out, not its integers
        index, _ = em.unrounded[name]
    else:
        index = em.read(name, em.layout(name) if len(em.graph.shape(name)) == 4 else PLAIN)
    shape = em.builder.shape(index)
    shape_constant = em.ints(shape, "shape")
    made = em.builder.tensor(name, shape, em.builder.dtype(index), em.builder.quantization(index))
    em.builder.op(
        "RESHAPE", [index, shape_constant], [made], "ReshapeOptions", newShape=list(shape)
    )
    return made


def _spec(em: Emission, name: str, index: int) -> TensorSpec:
    b = em.builder
    last = len(b.shape(index)) == 4 and em.layout(name) == LAST
    layout: TensorLayout = "nhwc" if last else "other"
    return TensorSpec(name, b.shape(index), b.dtype(index).name, layout, b.quantization(index))
