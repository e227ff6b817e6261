"""What to do next where a verdict was missed, in the order of what its figures say."""

import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from edgeconv.judge.verdict import BOXES, NO_INTEGERS, Verdict
from edgeconv.preprocessing import better_wish, flags
from edgeconv.recipe import FROM_FILE, PLACES

ENOUGH_PICTURES = 64
"""Fewer calibration pictures leave ranges to chance; more than 128 have not changed any measured net."""


def advice(
    verdict: Verdict,
    path: str,
    known: Mapping[str, Any],
    layers_shown: bool = False,
    *,
    halves: bool = True,
) -> tuple[str, ...]:
    """Return commands and options to try, the likeliest first, each with why.

    ``known`` is what the manifest says of recipe and calibration, empty for a file without one; ``preprocessing_better`` in it has
    the options of one that fits the net's own statistics better. ``layers_shown``: the layers are
    ranked beside it already. ``halves``: its target has an FP16 form.
    """
    if verdict:
        return ()
    said = []
    layers = f"edgeconv parity {shlex.quote(path)} --layers"
    if better := better_wish(known):
        said.append(f"{flags(better)}: the net was trained on such pictures")
    if path.endswith(".mlpackage") and any(map(math.isnan, (f.got for f in verdict.missed))):
        said.append("--coreml-compute fp32: half precision has no number above 65504")
    broken = {finding.metric for finding in verdict.missed if not finding.about_recipe}
    if NO_INTEGERS in broken:
        said.append(
            "--fp16, or less of --keep-float: no convolution or product that is left has an integer form "
            "in this target; another --target may have one"
        )
    departs = bool(broken - {NO_INTEGERS}) and not layers_shown
    if departs:
        said.append(f"{layers}: the layer where the file is not what it should be")
    if broken - {NO_INTEGERS} and known.get("precision") == "int8" and not verdict.blames_recipe:
        said.append(
            "another --target, or another runtime: the recipe computed in float is good enough, this file of it is not"
        )
        return tuple(said)
    if not verdict.good_enough and known.get("precision") == "fp16":
        said.append("--fp32: half precision keeps too few digits of what varies in an output")
    if verdict.good_enough or known.get("precision") in ("fp16", "fp32"):
        return tuple(said)
    if not known:
        # made elsewhere: nothing of ours says how, and options of an export change nothing
        said.append(
            "edgeconv export --int8 --calib DIR of the float model: it tries several recipes, and edgeconv rescue "
            "goes on from its file"
        )
        return tuple(said)
    recipe, calibration = known.get("recipe") or {}, known.get("calibration") or {}
    if recipe.get("name") == FROM_FILE:
        said += [] if layers_shown or departs else [f"{layers}: the layers that lose most"]
        said.append(
            "edgeconv export --int8 --calib DIR of the float model: these integers came with the file, and no option "
            "of an export changes them"
        )
        return tuple(said)
    if left := calibration.get("beyond"):
        said.insert(1 if better else 0, _like_those(left))
    elif known.get("warnings") and not better:
        said.insert(
            0,
            "other pictures for --calib, or --mean and --std of training: the warning says what looks wrong",
        )
    count = calibration.get("count")
    if count is not None and count < ENOUGH_PICTURES:
        said.append(f"more samples for --calib: there were {count}, 100 and more settle the ranges")
    if recipe.get("name") not in (None, "best"):
        said.append(f"--recipe best: this one was {recipe['name']}")
    done = PLACES in (recipe.get("notes") or {}).get("float", {}).values()
    if any(finding.metric in BOXES for finding in verdict.missed) and not done:
        said.append(
            "--keep-float NODE,... with the operators behind the last convolutions, which make boxes of what those give"
        )
    if any(finding.part for finding in verdict.missed):
        said.append(
            "the net's parts as outputs of their own: one scale cannot hold both, or --keep-float "
            "the operator that joins them"
        )
    said.append("--keep-float worst:3: the layers that lose most stay in float")
    if len(verdict.figures) == 1 and "agreement_top1" in next(iter(verdict.figures.values())):
        said.append("--max-drop 1: layers stay in float until at most 1 point of agreement is lost")
    if layers_shown:
        said.append("--keep-float NODE: the layers that lose most are those ranked here")
    elif not departs:
        said.append(f"{layers}: the layers that lose most, for --keep-float NODE")
    other = "" if halves else " --target tflite"
    said.append(f"--fp16{other}: half the size without a recipe")
    said.append(f"edgeconv rescue {shlex.quote(path)}: tries these and says which is worth it")
    return tuple(said)


def _like_those(left: Mapping[str, Any]) -> str:
    """Say that what verifies leaves the ranges of what calibrated, and what to do."""
    return (
        f"--calib with samples like those that verify: {100 * left['share']:.0f} % of the values of {left['tensor']} lie "
        "beyond the calibrated ranges"
    )


def said_once(steps: Iterable[str]) -> list[str]:
    """Return the steps of several files, those with the same reason once: as the first file has them.

    >>> said_once(["edgeconv rescue a.onnx: tries these", "edgeconv rescue a.tflite: tries these"])
    ['edgeconv rescue a.onnx: tries these']
    """
    found: dict[str, str] = {}
    for step in steps:
        found.setdefault(step.partition(": ")[2], step)
    return list(found.values())
