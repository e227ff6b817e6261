"""Choose the range of every tensor that is stored as int8, and from it scale and zero point."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.integer.groups import Groups, Link, needed_bounds, only_moved, same_scale
from edgeconv.export.integer.rules import data_inputs, is_pixel_shift
from edgeconv.export.op_traits import RULES
from edgeconv.export.quant.bounds import ends, fill_bounds, limit_bounds, mask_bounds
from edgeconv.export.quant.clip import clip_search
from edgeconv.export.quant.observe import Observation
from edgeconv.recipe import Activation, Form, choose_scale

RangeMethod = Literal["minmax", "mse3"]
"""minmax covers everything seen; mse3 clips where the mean cube of the error is smallest."""


def quantized_tensors(graph: Graph, float_nodes: frozenset[str]) -> list[str]:
    """Return the tensors and constants stored as int8: what an int8 node makes or reads."""
    found: dict[str, None] = {}
    for node in graph.nodes:
        if node.name in float_nodes or node.op not in RULES or is_pixel_shift(graph, node):
            continue
        for name in [*data_inputs(graph, node), *node.outputs]:
            if name and graph.dtype(name) == np.float32:
                found[name] = None
    return list(found)


def fixed_scales(
    graph: Graph, input_scale: Mapping[str, tuple[float, int]], float_nodes: frozenset[str]
) -> dict[str, Activation]:
    """Return the tensors whose scale is prescribed: exact pixels, sigmoid, softmax, tanh, gates."""
    found = {}
    for tensor, (scale, zero) in input_scale.items():
        found[tensor] = _fixed(scale, zero)
    for node in graph.nodes:
        rule = RULES.get(node.op)
        if node.name in float_nodes or rule is None:
            continue
        if rule.fixed is not None:
            found[node.output] = _fixed(*rule.fixed)
        elif node.clamp == (0.0, 1.0) and rule.kind == "weighted":
            found[node.output] = _fixed(1 / 255, -128)
    return found


def _fixed(scale: float, zero: int) -> Activation:
    step = float(np.float32(scale))
    return Activation(step, zero, (-128 - zero) * step, (127 - zero) * step, fixed=True)


def conflicts(graph: Graph, fixed: Mapping[str, Activation]) -> dict[str, str]:
    """Return same-scale nodes whose tensors have prescribed scales that differ, with the reason.

    A fixed scale next to free tensors conflicts too: their ranges would not fit it.
    """
    found: dict[str, str] = {}
    for node in graph.nodes:
        rule = RULES.get(node.op)
        inputs = data_inputs(graph, node)
        if rule is None or rule.kind != "same-scale" or len(inputs) < 2:
            continue
        apart = same_scale(graph, frozenset([*found, node.name]))
        shared = {apart.root(t): a for t, a in fixed.items()}
        if len({shared.get(apart.root(name)) for name in inputs}) > 1:
            found[node.name] = "it joins tensors whose prescribed scales differ"
    return found


def choose_ranges(
    graph: Graph,
    seen: Observation,
    *,
    form: Form,
    method: RangeMethod,
    fixed: Mapping[str, Activation],
    float_nodes: frozenset[str],
    rescaled: Collection[Link] = (),
) -> dict[str, Activation]:
    """Return tensor -> Activation for every tensor stored as int8, the same within a group.

    ``rescaled`` tensors keep a scale of their own beside that of the Concat.
    Outputs of the graph always keep their whole range: a clipped logit costs accuracy.
    """
    names = quantized_tensors(graph, float_nodes)
    groups: Groups = same_scale(graph, float_nodes, rescaled)
    bounds = needed_bounds(graph, seen.peaks, float_nodes)
    bounds.update(mask_bounds(graph, seen, bounds))
    bounds.update(fill_bounds(graph, seen))
    bounds.update(limit_bounds(graph, seen))
    moved = only_moved(graph, float_nodes, groups)
    members = groups.members(names)
    chosen: dict[str, Activation] = {}
    for tensors in members.values():
        prescribed = next((fixed[t] for t in tensors if t in fixed), None)
        if prescribed is None:
            whole = method == "minmax" or any(t in graph.outputs for t in tensors)
            low, high = _extremes(graph, seen, tensors, bounds)
            if not whole:
                values = _values(graph, seen, tensors, bounds)
                low, high = clip_search(values, low, high, form)
            if tensors[0] in moved:
                prescribed = replace(choose_scale(low, high, "asymmetric"), final=True)
            else:
                prescribed = choose_scale(low, high, form)
        chosen.update(dict.fromkeys(tensors, prescribed))
    for root, wider in _whole_shifts(graph, groups, chosen, form).items():
        chosen.update(dict.fromkeys(members[root], wider))
    return {name: chosen[name] for name in names}


AVERAGES = "GlobalAveragePool", "ReduceMean"
BEYOND = 2.0**-9
"""How much is left beyond the whole number: more than float32 loses, nothing for a rounding."""


def _whole_shifts(
    graph: Graph, groups: Groups, chosen: Mapping[str, Activation], form: Form
) -> dict[str, Activation]:
    """Return wider ranges of groups that an average begins, for kernels that cut its shift to cut nothing.

    LiteRT's own MEAN (without XNNPACK) adds the input's zero point in steps of the output as a whole
    number, without its fraction: up to a quantum too much in every channel, which the next layer sums.
    An output's step that divides the shift (by up to 1/128 larger) leaves no fraction. A small zero point, of
    values on both sides of 0, would ask for up to twice the step: there the input does without.
    """
    found: dict[str, Activation] = {}
    averages = [node for node in graph.of(*AVERAGES) if node.output in chosen]
    sources = [groups.root(node.inputs[0]) for node in averages]
    for node, source in zip(averages, sources, strict=True):
        made, root = chosen[node.output], groups.root(node.output)
        given = found.get(source, chosen.get(node.inputs[0]))
        if given is None or made.fixed or root in found or source == root:
            continue
        # with zero points, whatever the form: both are read off one range (without, a shift is whole or 0)
        given, made = _with_zero_point(given), _with_zero_point(made)
        shift = abs(given.zero_point) * given.scale / made.scale
        if shift - BEYOND < 1:
            continue
        factor = shift / (np.floor(shift - BEYOND) + BEYOND)
        free = not (given.fixed or given.final) and sources.count(source) == 1
        if free and factor > 1 + abs(given.zero_point) / 128:
            reach = max(-given.low, given.high)
            found[source] = choose_scale(-reach, reach, form)
            continue
        held = "asymmetric" if made.final else form
        wider = choose_scale(made.low * factor, made.high * factor, held)
        found[root] = replace(wider, final=made.final)
    return found


def _with_zero_point(held: Activation) -> Activation:
    if held.fixed:
        return held
    return replace(choose_scale(held.low, held.high, "asymmetric"), final=held.final)


def _extremes(
    graph: Graph,
    seen: Observation,
    tensors: list[str],
    bounds: Mapping[str, Clamp],
) -> tuple[float, float]:
    lows, highs = [], []
    for tensor in tensors:
        low, high = ends(graph, seen, tensor)
        floor, ceiling = bounds.get(tensor, (-np.inf, np.inf))
        lows.append(float(np.clip(low, floor, ceiling)))
        highs.append(float(np.clip(high, floor, ceiling)))
    return min(lows), max(highs)


def _values(
    graph: Graph,
    seen: Observation,
    tensors: list[str],
    bounds: Mapping[str, Clamp],
) -> NDArray[np.float32]:
    parts = []
    for tensor in tensors:
        constant = graph.constants.get(tensor)
        values = seen.tensors[tensor].sample if constant is None else constant
        parts.append(np.clip(values, *bounds.get(tensor, (-np.inf, np.inf))).ravel())
    return np.concatenate(parts)
