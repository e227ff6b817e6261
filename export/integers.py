"""The quantize stage of an export: checked pictures in, the recipe (made, read or cut back) out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.ahead import Early, Tick
from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError
from edgeconv.export.data import Data, load_feeds
from edgeconv.export.graph import Graph
from edgeconv.export.integer.counts import count_operators
from edgeconv.export.integer.free_form import held_without
from edgeconv.export.keep_float import read_keep_float
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import Prepared
from edgeconv.export.quant.budget import meet_budget, without_worst
from edgeconv.export.quant.calibration import PictureCheck, check_pictures
from edgeconv.export.quant.copies import multiply_adds, widen
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.equalize import rescale
from edgeconv.export.stages import Stages
from edgeconv.export.targets import TARGETS
from edgeconv.export.verify import Expected
from edgeconv.recipe import WITHOUT_ZERO_POINTS, Recipe
from edgeconv.samples import Feed
from edgeconv.terminal import counted


@dataclass(frozen=True)
class Integers:
    """The graph that the recipe speaks of, the recipe, and what the user should be told."""

    graph: Graph
    recipe: Recipe
    notes: tuple[str, ...]


def read_calibration(
    options: ExportOptions, data: Data, how: Preprocessing | None, tick: Tick
) -> tuple[Sequence[Feed], PictureCheck]:
    """Return the samples that calibrate and what they look like; raises EdgeconvError for poor ones."""
    feeds = load_feeds(data.calibration, "calibration sample", tick)
    allow_poor = options.allow_poor_calibration
    return feeds, check_pictures(feeds, expected=value_range(how, feeds), allow_poor=allow_poor)


def make_integers(
    options: ExportOptions,
    prepared: Prepared,
    data: Data,
    how: Preprocessing | None,
    expected: Callable[[], Expected],
    stages: Stages,
    threads: int,
    given: Recipe | None = None,
    loaded: Early[tuple[Sequence[Feed], PictureCheck]] | None = None,
) -> Integers:
    """Quantize ``prepared`` as ``options`` say, or take the recipe ``given``; ``expected`` gives what
    --max-drop is judged by. ``loaded`` is what ``read_calibration`` gives, where it was begun already.

    Raises BudgetMissedError where --max-drop cannot be met, EdgeconvError for pictures that do not
    fit.
    """
    if given is not None:
        with stages.stage("quantize") as say:
            recipe, graph = given, prepared.graph
            if recipe.equalized:
                graph = rescale(graph, recipe.equalized)  # layers in float read rescaled channels
            graph = widen(graph, recipe.copies)
            say(f"recipe {recipe.name} from {options.recipe}, {recipe.form}")
        return Integers(graph, recipe, ())
    with stages.stage("calibrate") as say:
        share = stages.share("calibrate")
        if loaded is None:
            feeds, checked = read_calibration(options, data, how, share)
        else:
            feeds, checked = loaded.result(share)
        say(f"{counted(len(feeds), 'sample')} · {data.origin}")
    keep = read_keep_float(options.keep_float)
    with stages.stage("quantize") as say:
        made = quantize(
            prepared.graph,
            feeds,
            recipe=options.recipe,
            threads=threads,
            progress=stages.share("quantize"),
            input_scale=prepared.exact_inputs,
            keep_float=keep.nodes,
            reduce_range=options.reduce_range,
            copies=options.copies_share(multiply_adds(prepared.graph)),
            minutes=options.training_minutes,
            accelerator=options.accelerator,
            float_outputs={name: target.float_outputs for name, target in TARGETS.items()},
        )
        recipe = without_worst(made.recipe, keep.worst)
        picked = recipe.notes.get("picked")
        say(
            f"recipe {recipe.name}{f' ({picked})' if isinstance(picked, str) else ''}, {recipe.form}"
        )
        if recipe.copies:
            say(recipe.notes["copies"]["said"])
        if trained := recipe.notes.get("training"):
            say(trained)
        if options.max_drop is not None:
            held = expected()
            recipe = meet_budget(
                made.graph,
                recipe,
                held.feeds,
                {name: np.asarray(value) for name, value in held.outputs.items()},
                max_drop=options.max_drop,
                truth=None if held.truth is None else [int(t) for t in held.truth],
                threads=threads,
                progress=stages.share("quantize"),
            )
            say(f"at most {options.max_drop:g} points lost")
        if in_float := count_operators(made.graph, recipe).float_text():
            say(in_float)
    notes = list(checked.warnings)
    if recipe.form == "asymmetric":
        read = held_without(made.graph, recipe).activations
        kept = [name for name in recipe.free_zero_points if name in read]
        notes.append(form_note(recipe.notes["form"], len(kept), options.targets))
    return Integers(made.graph, recipe, tuple(notes))


def form_note(said: str, kept: int, targets: Sequence[str]) -> str:
    """Return what a user is told of zero points; of Core ML's form, with ``kept`` of them, where it is a target.

    >>> form_note("zero points take 3.0 dB of the noise away", 1, ["onnx"])
    'zero points take 3.0 dB of the noise away: ONNX and TFLite store zero points'
    """
    note = f"{said}: ONNX and TFLite store zero points"
    if not any(target in WITHOUT_ZERO_POINTS for target in targets):
        return note
    but = f" but for {counted(kept, 'tensor')} that would cost it too much" if kept else ""
    return f"{note}, Core ML takes the same ranges without them{but}, and biases that fit"


def value_range(
    how: Preprocessing | None, feeds: Sequence[Feed]
) -> Mapping[str, tuple[float, float]] | None:
    """Return the values that preprocessing can give the one picture input; None without one."""
    if how is None or not feeds or len(feeds[0]) != 1:
        return None
    name = next(iter(feeds[0]))
    if how.embedded:
        return {name: (0.0, 255.0)}
    mean, std = np.asarray(how.mean), np.asarray(how.std)
    return {name: (float((-mean / std).min()), float(((1 - mean) / std).max()))}


def check_recipe(path: str, recipe: Recipe, prepared: Prepared) -> None:
    """Raise EdgeconvError, naming what differs, where a recipe from ``path`` is not this net's."""
    graph = prepared.graph
    names = {node.name for node in graph.nodes}
    tensors = graph.shapes.keys() | graph.constants.keys()
    if missing := sorted(recipe.weights.keys() - names):
        raise EdgeconvError(f"{path} has weights for {missing[0]}, which this net has not")
    if missing := sorted(recipe.activations.keys() - tensors):
        raise EdgeconvError(f"{path} has a scale for {missing[0]}, which this net has not")
    for tensor, (scale, zero_point) in prepared.exact_inputs.items():
        held = recipe.activations.get(tensor)
        if held is None or (np.float32(held.scale), held.zero_point) != (
            np.float32(scale),
            zero_point,
        ):
            raise EdgeconvError(
                f"{path} was made for another form of the pixels in {tensor}: give the --mean, --std"
                " and --embed-preprocessing it was made with, or make a recipe for these"
            )
    graph = widen(graph, recipe.copies)
    for node in graph.nodes:
        weights = recipe.weights.get(node.name)
        if weights is not None and weights.values.shape != graph.shape(node.inputs[1]):
            raise EdgeconvError(
                f"{path}: the weights of {node.name} are {list(weights.values.shape)}, here they are "
                f"{list(graph.shape(node.inputs[1]))}"
            )
