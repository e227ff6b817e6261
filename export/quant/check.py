"""Check a recipe against the rules of INT8 and against the model it is meant for."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeconv.deps import installed
from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.recipe import Recipe


def problems(recipe: Recipe) -> list[str]:
    """Return what no runtime could compute: scales, zero points, weight ranges, shapes."""
    found = []
    for name, a in recipe.activations.items():
        if not (np.isfinite(a.scale) and a.scale > 0):
            found.append(f"tensor {name} has the scale {a.scale}")
        if not -128 <= a.zero_point <= 127:
            found.append(f"tensor {name} has the zero point {a.zero_point}, outside of int8")
        free = a.final or a.zero_point in (-128, 0) or name in recipe.free_zero_points
        if recipe.form == "zero-point-free" and not free:
            found.append(f"tensor {name} has a zero point, but the form is zero-point-free")
    for name, w in recipe.weights.items():
        if int(w.values.min(initial=0)) < -127:
            found.append(f"layer {name} has the weight -128; [-127, 127] is allowed")
        if not (np.isfinite(w.scales).all() and (w.scales > 0).all()):
            found.append(f"layer {name} has a scale that is not positive")
        if len(w.bias) != len(w.float_bias) or w.scales.size not in (1, len(w.bias)):
            found.append(f"layer {name} has {w.scales.size} scales and {len(w.bias)} biases")
        if w.values.ndim <= w.axis:
            found.append(
                f"layer {name} has its output channels on axis {w.axis} of {w.values.ndim}"
            )
    return found


def check_fits(recipe: Recipe, graph: Graph) -> list[str]:
    """Return what of the recipe does not fit a prepared graph."""
    from edgeconv.export.integer.groups import check_same_scale
    from edgeconv.export.quant.copies import widen

    try:
        graph = widen(graph, recipe.copies)
    except EdgeconvError as error:
        return [str(error)]
    nodes = {node.name: node for node in graph.nodes}
    tensors = graph.shapes.keys() | graph.constants.keys()
    found = [f"the model has no tensor {t}" for t in recipe.activations if t not in tensors]
    for name, weights in recipe.weights.items():
        if name not in nodes:
            found.append(f"the model has no layer {name}")
        elif graph.shape(nodes[name].inputs[1]) != weights.values.shape:
            shape = list(graph.shape(nodes[name].inputs[1]))
            found.append(f"layer {name} is {shape} in the model, {list(weights.values.shape)} here")
    try:
        check_same_scale(graph, recipe)
    except EdgeconvError as error:
        found.append(str(error))
    return found


def check_against(
    recipe: Recipe, model: Path, shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] = ()
) -> list[str]:
    """Return what does not fit the float .onnx file that the recipe was made for.

    Its export may have appended a softmax or embedded the preprocessing, which the recipe then has integers of.

    ``shapes`` are of its inputs, in their order or by name, where the file leaves them open.
    """
    installed(("onnx", "export"))
    from edgeconv.export.hub.inputs import settle_shapes
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.export.hub.simplify import admit
    from edgeconv.export.passes.append_softmax import append_softmax
    from edgeconv.export.prepare import PixelInput, prepare

    if model.is_file():
        admit(model)
    graph = from_onnx(settle_shapes(load_model(model), shapes)[0])
    wholes = [graph]
    with contextlib.suppress(EdgeconvError):  # what gives no class scores takes no softmax
        append_softmax(scores := graph.clone())
        wholes.append(scores)
    half = (0.5,)
    borders = [None, PixelInput(half, half)]  # the shift of exactly stored pixels adds a tensor
    inputs = [graph.shape(name) for name in graph.inputs]
    if [len(shape) for shape in inputs] == [4]:  # and means of their own add a layer
        apart = (0.4, *half * (inputs[0][1] - 1))
        borders += [PixelInput(half, half, True), PixelInput(apart, half, True)]
    forms = (prepare(g, int8=True, pixels=pixels).graph for g in wholes for pixels in borders)
    return min((check_fits(recipe, form) for form in forms), key=len)
