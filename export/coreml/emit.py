"""Emit a prepared graph, float or with its recipe, as an .mlpackage."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.coreml.choices import Compute, Precision, settle
from edgeconv.export.coreml.convert import Border, Converted, convert
from edgeconv.export.coreml.integers import (
    IntegerPlan,
    faint_scales,
    weight_inputs,
)
from edgeconv.export.coreml.known_issues import Target, avoid, known_issues
from edgeconv.export.coreml.package import write_package
from edgeconv.export.coreml.suppress import with_suppression
from edgeconv.export.coreml.table import check_supported
from edgeconv.export.graph import Graph
from edgeconv.export.integer.weights_alone import round_weights
from edgeconv.export.nms.suppression import Suppression
from edgeconv.files import temporary_folder
from edgeconv.formats.census import Census
from edgeconv.mil import Program, open_program
from edgeconv.mil.census import mil_census
from edgeconv.mil.program import Reference
from edgeconv.recipe import Recipe
from edgeconv.tensors import TensorSpec
from edgeconv.terminal import counted

GAINS = (
    "INT8 activations run faster on the Neural Engine of A17 Pro, M4 and later, and can be slower "
    "elsewhere; only a compute plan on the device shows where an operator runs"
)

TAKES_ARRAYS = "Vision hands over pictures, and this NMS pipeline takes an array: --image-input makes it take them"


@dataclass(frozen=True)
class EmittedCoreml:
    """A written package.

    ``names``: prepared tensor -> MIL tensor that holds it (absent where coremltools' passes fused
    it away). ``integers``: prepared tensor -> MIL tensor of its quantized form (the recipe's
    integers, + 128 where the recipe's zero point is -128). ``rescaled``: prepared tensor -> (MIL
    tensor, factor) where coremltools took one input's scale out of an addition, so that the tensor's
    value is factor times what MIL holds. ``bytes`` is the size of the whole folder, ``census`` what
    it holds, ``notes`` what the user should be told.
    """

    path: Path
    names: dict[str, str]
    integers: dict[str, str]
    rescaled: dict[str, tuple[str, float]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    bytes: int
    census: Census
    notes: tuple[str, ...] = field(default=())


def emit_coreml(
    graph: Graph,
    recipe: Recipe | None = None,
    *,
    path: Path,
    precision: Precision = "fp32",
    compute: Compute | None = None,
    min_ios: int | None = None,
    weights_only: bool = False,
    image_input: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    probabilities: bool = False,
    metadata: Mapping[str, str] | None = None,
    avoid_known_issues: bool = False,
    coarse: Collection[str] = (),
    nms: Suppression | None = None,
) -> EmittedCoreml:
    """Write ``graph`` as the package ``path``, read it again from disk, and check it.

    ``compute`` is fp16 unless precision is fp32; ``min_ios`` 15 to 18, default 16, 17 for INT8
    activations. ``weights_only`` is INT8 weights alone, from ``recipe`` or, without one, rounded
    from the float weights. ``image_input`` makes image inputs with that preprocessing inside,
    ``labels`` a classifier with a softmax,
    which a graph that gives ``probabilities`` has already. ``metadata``: "author", "license", "version" and
    "description" are Core ML's own fields, every other key goes to the user-defined ones.
    Half precision would round the digits of the outputs ``coarse`` away (wide.py): their last layers
    stay in float32. ``nms`` makes a pipeline of a graph that gives what it takes (suppress.py);
    ``labels`` then name its classes.
    Raises UsageError for options that do not go together, UnsupportedOpError before any work.
    """
    compute, min_ios = settle(precision, compute, min_ios, weights_only)
    if precision == "int8" and not weights_only:
        _check_recipe(graph, recipe)
    if labels is not None and nms is None:
        _check_labels(graph, labels)
    check_supported(graph)
    if avoid_known_issues:
        graph, shared = avoid(graph)
        recipe = None if recipe is None else _extended(recipe, shared)
    plan = None
    if precision == "int8":
        plan = replace(
            _plan(graph, recipe, min_ios, weights_only, avoid_known_issues), half=compute == "fp16"
        )
    with temporary_folder() as folder:
        converted = convert(
            graph,
            plan,
            half=compute == "fp16",
            min_ios=min_ios,
            border=Border(image_input, None if nms else labels, probabilities),
            folder=folder,
            coarse=coarse,
        )
        _describe(converted.spec, metadata or {})
        spec = converted.spec if nms is None else with_suppression(converted.spec, nms, labels)
        model = spec.SerializeToString(deterministic=True)
        write_package(path, model, converted.weights)
    notes = [] if plan is None else _integer_notes(plan)
    target = Target(precision, compute == "fp16", min_ios, weights_only, avoid_known_issues)
    notes += [str(warned) for warned in known_issues(graph, target)]
    notes += [] if labels is None or nms is not None else _shared_names(labels)
    notes += [TAKES_ARRAYS] if nms is not None and image_input is None else []
    return _read_back(path, converted, None if plan is None else plan.recipe, tuple(notes))


def _check_recipe(graph: Graph, recipe: Recipe | None) -> None:
    if recipe is None:
        raise UsageError("INT8 activations need a recipe: calibrate with pictures first")
    known = {node.name for node in graph.nodes}
    if missing := sorted(recipe.weights.keys() - known):
        raise EdgeconvError(f"the recipe has weights for {missing[0]}, which the graph has not")


def _check_labels(graph: Graph, labels: Sequence[str]) -> None:
    if len(graph.outputs) != 1:
        raise UsageError("--labels makes a classifier, which has one output")
    shape = graph.shape(graph.outputs[0])
    if len(shape) != 2 or shape[0] != 1 or shape[1] != len(labels):
        raise UsageError(f"{len(labels)} labels do not fit an output of shape {list(shape)}")


def _shared_names(labels: Sequence[str]) -> list[str]:
    """Return a note where classes share a name: Core ML's probabilities are a dictionary by name."""
    shared = [name for name, count in Counter(labels).items() if count > 1]
    if not shared:
        return []
    classes = ", ".join(str(index) for index, name in enumerate(labels) if name == shared[0])
    more = f", and {len(shared) - 1} more names" if len(shared) > 1 else ""
    return [
        f"classes {classes} share the name {shared[0]!r}{more}: an app is given probabilities by name, "
        "one of each name; give every class a name of its own"
    ]


def _plan(
    graph: Graph,
    recipe: Recipe | None,
    min_ios: int,
    weights_only: bool,
    avoid_known_issues: bool,
) -> IntegerPlan:
    used = recipe
    if used is None:
        used = round_weights(graph)
    elif used.form != "zero-point-free":
        used = used.with_form("zero-point-free", weight_inputs(graph))
    return IntegerPlan(
        used,
        min_ios,
        activations=not weights_only,
        unsigned_weights=weights_only or avoid_known_issues,
    )


def _integer_notes(plan: IntegerPlan) -> list[str]:
    notes = [GAINS] if plan.activations else []
    if plan.affine:
        keep = "keep" if len(plan.affine) > 1 else "keeps"
        notes.append(
            f"{counted(len(plan.affine), 'tensor')} {keep} a zero point ({plan.affine[0]} first): "
            "Core ML is not known to compute with those in integers"
        )
    if faint := faint_scales(plan):
        notes.append(
            f"scales of {counted(len(faint), 'tensor')} are too small for half precision ({faint[0]} first): those stay "
            "floats where larger ones are read as integers"
        )
    return notes


def _extended(recipe: Recipe, shared: Mapping[str, str]) -> Recipe:
    """Give tensors that a rewrite made the scale of the tensor they were made from."""
    known = dict(recipe.activations)
    known |= {new: known[old] for new, old in shared.items() if old in known}
    return replace(recipe, activations=known)


FIELDS = {
    "author": "author",
    "license": "license",
    "version": "versionString",
    "description": "shortDescription",
}


def _describe(spec: Any, metadata: Mapping[str, str]) -> None:
    """Put our metadata into the specification, and take out what differs from day to day."""
    target = spec.description.metadata
    for key in ("com.github.apple.coremltools.conversion_date",):
        target.userDefined.pop(key, None)
    for key, value in sorted(metadata.items()):
        if key in FIELDS:
            setattr(target, FIELDS[key], value)
        else:
            target.userDefined[key] = value


def _read_back(
    path: Path, converted: Converted, recipe: Recipe | None, notes: tuple[str, ...]
) -> EmittedCoreml:
    """Open the package from disk by the reference evaluator, and find our tensors in it."""
    program = open_program(path)
    held = program.tensors()
    names = {
        tensor: found
        for tensor, name in converted.names.items()
        if (found := _final_name(name, held)) is not None
    }
    integers, rescaled = _quantized(program, names, recipe)
    for tensor in rescaled:
        del names[tensor]
    return EmittedCoreml(
        path,
        names,
        integers,
        rescaled,
        program.input_specs(),
        program.output_specs(),
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        mil_census(program.parsed),
        notes,
    )


def _quantized(
    program: Program, names: Mapping[str, str], recipe: Recipe | None
) -> tuple[dict[str, str], dict[str, tuple[str, float]]]:
    """Find the integers of each quantized tensor, and the factor where a pass changed its scale."""
    integers: dict[str, str] = {}
    rescaled: dict[str, tuple[str, float]] = {}
    held = {found: tensor for tensor, found in names.items()}
    for operation in program.parsed.operations:
        if operation.kind != "quantize" or recipe is None:
            continue
        source, scale = operation.arguments["input"][0], operation.arguments["scale"][0]
        tensor = held.get(source.name) if isinstance(source, Reference) else None
        # a cast of an integer input may be all that is left of the tensor that is stored
        if tensor is None or tensor not in recipe.activations or not isinstance(scale, np.ndarray):
            continue
        integers[tensor] = operation.results[0][0]
        factor = recipe.activations[tensor].scale / float(scale)
        if not 0.99 < factor < 1.01:  # half precision alone moves a scale by less than 0.1 %
            rescaled[tensor] = (names[tensor], factor)
    return integers, rescaled


def _final_name(name: str, held: Mapping[str, str]) -> str | None:
    """Return what coremltools' float16 pass made of a name; the half-precision tensor comes first."""
    for found in (f"{name}_cast_fp16", f"{name}_to_fp16", name):
        if found in held:
            return found
    return None
