"""What each task of a sweep is told: JSON in which "@HASH/NAME" stands for a file."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.data import VERIFY_COUNT
from edgeconv.models.specs import SPECS
from edgeconv.samples import MOST_CALIBRATE
from edgeconv.sweep.data import Evaluation
from edgeconv.sweep.forms import Form
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job


def export_spec(job: Job, inputs: Inputs, group: Form, targets: Sequence[str]) -> dict[str, Any]:
    """Return the export of ``group`` to ``targets``."""
    spec: dict[str, Any] = {**group.options(), "targets": sorted(targets)}
    if group.net not in SPECS:
        spec |= inputs.add_net(group.net)
    if group.weights not in (None, "bundled", "imagenet", "random"):
        spec["weights"] = inputs.add(Path(str(group.weights)))
    if group.recipe is not None and group.recipe.endswith(".json"):
        spec["recipe"] = inputs.add(Path(group.recipe))
    if group.precision == "int8" and job.calib is not None:
        calib = inputs.add_spread(job.calib, _calibrating(job))
        spec |= {"calib": calib, "calib_count": job.calib_count}
    if job.data is not None:
        spec["verify"] = inputs.add_spread(job.data, VERIFY_COUNT)
    if job.labels is not None:
        spec["labels"] = inputs.add(Path(job.labels))
    given = {
        "classes": job.classes,
        "input_shapes": [list(job.input_shape)] if job.input_shape else None,
        "preprocessing": job.preprocessing,
        "mean": job.mean and list(job.mean),
        "std": job.std and list(job.std),
        "crop": job.crop,
        "channel_order": job.channel_order,
    }
    return spec | {name: value for name, value in given.items() if value is not None}


def _calibrating(job: Job) -> int:
    """Return how many pictures an export takes of --calib, which it also verifies on where nothing else is given."""
    if job.data is not None:
        return job.calib_count
    return max(job.calib_count + VERIFY_COUNT, math.ceil(job.calib_count / MOST_CALIBRATE))


def shard_specs(
    inputs: Inputs, path: Path, evaluation: Evaluation, edges: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the evaluation of ``path`` on the pictures between each two of ``edges``."""
    hub = "" if evaluation.truth else inputs.add(_hub(path))
    spec = {"file": inputs.add(*with_manifest(path)), "hub": hub}
    artifact = load_artifact(path)
    labels = None if artifact is None else artifact.labels
    return [
        spec | evaluation.part(inputs, start, stop, labels)
        for start, stop in itertools.pairwise(edges)
    ]


def bench_spec(
    inputs: Inputs, path: Path, threads: int, seconds: float, board: str, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the timing of ``path`` on ``board``; where that is "", on this ``machine``."""
    return {
        "file": inputs.add(*with_manifest(path)),
        "threads": threads,
        "seconds": seconds,
        **({"board": board} if board else {"place": machine["processor"]}),
    }


def with_manifest(path: Path) -> tuple[Path, Path]:
    """Return an exported file and what describes it."""
    return path, path.with_name(path.name + ".json")


def _hub(path: Path) -> Path:
    found = sorted(path.parent.glob("*.evidence/hub.onnx"))
    if not found:
        raise EdgeconvError(
            f"{path.parent} holds no hub.onnx any more: --force makes all forms anew"
        )
    return found[0]
