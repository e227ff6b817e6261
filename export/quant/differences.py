"""What differs between two recipes, a line each."""

from collections.abc import Iterator

import numpy as np

from edgeconv.recipe import Activation, Recipe


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Return a line for everything that differs between two recipes; none where they are equal."""
    lines = []
    if first.form != second.form:
        lines.append(f"form: {first.form} -> {second.form}")
    for kind, left, right in (
        ("tensor", first.activations, second.activations),
        ("layer", first.weights, second.weights),
    ):
        lines += [f"{kind} {name}: only in the first" for name in left if name not in right]
        lines += [f"{kind} {name}: only in the second" for name in right if name not in left]
    for name, one in first.activations.items():
        two = second.activations.get(name)
        if two is not None and (one.scale, one.zero_point) != (two.scale, two.zero_point):
            lines.append(f"tensor {name}: {', '.join(_range_differences(one, two))}")
    for name in first.weights:
        if name in second.weights:
            lines += _layer_differences(name, first, second)
    if set(first.float_nodes) != set(second.float_nodes):
        before, after = (", ".join(r.float_nodes) or "none" for r in (first, second))
        lines.append(f"in float: {before} -> {after}")
    return lines


def _range_differences(one: Activation, two: Activation) -> Iterator[str]:
    if one.scale != two.scale:
        before, after = f"{one.scale:.6g}", f"{two.scale:.6g}"
        if before == after:
            before, after = repr(one.scale), repr(two.scale)
        yield f"scale {before} -> {after}"
    if one.zero_point != two.zero_point:
        yield f"zero point {one.zero_point} -> {two.zero_point}"


def _layer_differences(name: str, first: Recipe, second: Recipe) -> list[str]:
    one, two = first.weights[name], second.weights[name]
    if one.values.shape != two.values.shape:
        return [f"layer {name}: shape {list(one.values.shape)} -> {list(two.values.shape)}"]
    parts = []
    if changed := int((one.values != two.values).sum()):
        steps = int(np.abs(one.values.astype(int) - two.values.astype(int)).max())
        parts.append(f"{changed} of {one.values.size} weights, by up to {steps}")
    for what, mine, others in (
        ("scales", one.scales, two.scales),
        ("biases", one.bias, two.bias),
    ):
        if mine.shape != others.shape:
            parts.append(f"{mine.size} -> {others.size} {what}")
        elif changed := int((mine != others).sum()):
            parts.append(f"{changed} of {mine.size} {what}")
    return [f"layer {name}: {', '.join(parts)}"] if parts else []
