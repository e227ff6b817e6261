"""The description inside every artifact and the manifest beside it."""

import platform
from collections.abc import Iterable, Mapping
from typing import Any

from edgeconv import __version__
from edgeconv.artifact import MANIFEST_VERSION, spec_to_json
from edgeconv.deps import versions_of
from edgeconv.export.beyond import beyond_ranges
from edgeconv.export.data import Data
from edgeconv.export.emit import Emitted
from edgeconv.export.options import ExportOptions
from edgeconv.export.source import Source
from edgeconv.export.targets import packages
from edgeconv.export.verify import Expected
from edgeconv.recipe import Recipe


def versions(targets: Iterable[str]) -> dict[str, str]:
    """Return the versions of edgeconv, of Python and of every package that had a part in ``targets``."""
    tools = versions_of(packages(targets))
    return {"edgeconv": __version__, "python": platform.python_version(), **tools}


def describe(
    options: ExportOptions,
    source: Source,
    labels: list[str] | None,
    data: Data,
    recipe: Recipe | None,
    *,
    softmax: bool,
    probabilities: bool,
    expected: Expected | None = None,
) -> dict[str, Any]:
    """Return what the file says of itself, the same for every target.

    ``softmax``: the files end in one of ours; ``probabilities``: the net gives them itself.
    Keys: net, precision, preprocessing, warnings where there are any, labels, frozen_inputs, weights, calibration, recipe, versions.
    """
    calibration = data.manifest() if recipe is not None else None
    if (
        recipe is not None
        and calibration
        and expected
        and (left := beyond_ranges(recipe, expected))
    ):
        calibration["beyond"] = left
    how = source.preprocessing
    frozen = {"frozen_inputs": dict(source.frozen)} if source.frozen else {}
    return {
        **frozen,
        "net": dict(source.net),
        "precision": options.precision,
        "softmax": softmax,
        **({"probabilities": True} if probabilities else {}),
        "preprocessing": None if how is None else how.to_json(),
        "preprocessing_better": dict(source.better) or None,
        **({"warnings": list(source.warnings)} if source.warnings else {}),
        "labels": labels,
        "weights": dict(source.weights),
        "calibration": calibration,
        "recipe": None if recipe is None else _recipe(recipe),
        "versions": versions(options.targets),
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    """Return what a file carries of its recipe: not what only a page about recipes draws."""
    notes = {key: value for key, value in recipe.notes.items() if key != "histograms"}
    return {"name": recipe.name, "form": recipe.form, "notes": notes}


def manifest(
    description: Mapping[str, Any],
    target: str,
    name: str,
    digest: str,
    emitted: Emitted,
    evidence: Mapping[str, Any],
    verification: Mapping[str, Any],
    expected: Expected | None,
) -> dict[str, Any]:
    """Return the JSON data of ``NAME.json``."""
    return {
        "edgeconv_manifest": MANIFEST_VERSION,
        "target": target,
        "file": name,
        "sha256": digest,
        "bytes": emitted.size,
        "inputs": [spec_to_json(spec) for spec in emitted.inputs],
        "outputs": [spec_to_json(spec) for spec in emitted.outputs],
        **description,
        "graph": emitted.figures(),
        "verification": dict(verification),
        "cuts": {n: list(places) for n, places in ((expected and expected.cuts) or {}).items()},
        "whole": dict((expected and expected.whole) or {}),
        "evidence": dict(evidence),
    }
