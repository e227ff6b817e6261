"""The classes a file sees in pictures, in whatever runtime is installed."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, adapt_outputs
from edgeconv.artifact import Artifact, Preprocessing, load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import call
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.choose import choose
from edgeconv.samples import picture_feed
from edgeconv.tensors import TensorSpec

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Ranked:
    """One class: index, name ("class 7" where labels are unknown), and softmax probability."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The best classes of one picture, most probable first, and the runtime that said so."""

    picture: Path
    runtime: str
    classes: tuple[Ranked, ...]


def predict(
    path: Path, pictures: list[Path], top: int, threads: int, runtime: str | None
) -> list[Prediction]:
    """Run every picture through the artifact at ``path``; see edgeconv.run_model."""
    artifact = load_artifact(path)
    if artifact is None:
        raise EdgeconvError(
            f"{path} has no manifest beside it ({path.name}.json), which says how pictures are fed; "
            "export it with edgeconv"
        )
    how, spec = artifact.preprocessing, artifact.inputs[0]
    if how is None or len(artifact.inputs) != 1:
        raise EdgeconvError(f"{path} does not take one picture")
    results = []
    with open_runner(path, threads=threads, runtime=runtime) as runner:
        for picture in pictures:
            value = adapt_inputs(_hub_input(picture, spec, how), "nchw", spec)
            stored = runner.infer({runner.inputs[0].name: value})
            output = runner.outputs[0]
            scores = adapt_outputs(stored[output.name], output)
            if scores.ndim != 2:
                raise EdgeconvError(
                    f"{path} is no classifier: {output.name} is {list(scores.shape)}"
                )
            classes = _rank(scores[0], artifact, top)
            results.append(Prediction(picture, f"{runner.name} {runner.version}", classes))
    return results


def predict_isolated(
    path: Path, pictures: list[Path], top: int, threads: int, runtime: str | None
) -> list[Prediction]:
    """Do what ``predict`` does in a child process: a file that crashes its runtime costs a sentence."""
    name = choose(path, runtime).name
    value = {
        "path": str(path),
        "pictures": [str(picture) for picture in pictures],
        "top": top,
        "threads": threads,
        "runtime": runtime,
    }
    function = "edgeconv.predict:predict_here"
    found = call(function, value, f"{name} on {path}", timeout_s=TIMEOUT_S)
    return [
        Prediction(Path(p["picture"]), p["runtime"], tuple(Ranked(**c) for c in p["classes"]))
        for p in found
    ]


def predict_here(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Predict in this process: the child's side of ``predict_isolated``."""
    pictures = [Path(picture) for picture in value["pictures"]]
    found = predict(Path(value["path"]), pictures, value["top"], value["threads"], value["runtime"])
    return [{**dataclasses.asdict(p), "picture": str(p.picture)} for p in found]


def _hub_input(picture: Path, spec: TensorSpec, how: Preprocessing) -> NDArray[Any]:
    """Return the picture as the hub graph takes it, NCHW float32."""
    n, *rest = spec.shape
    shape = (n, rest[2], *rest[:2]) if spec.layout == "nhwc" else spec.shape
    return picture_feed(picture, spec.name, shape, how)[spec.name]


def _rank(scores: NDArray[Any], artifact: Artifact, top: int) -> tuple[Ranked, ...]:
    probabilities = scores.astype(np.float64)
    if not artifact.manifest.get("softmax"):
        probabilities = np.exp(probabilities - probabilities.max())
        probabilities /= probabilities.sum()
    labels = artifact.labels or []
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        Ranked(
            int(index),
            labels[index] if index < len(labels) else f"class {index}",
            float(probabilities[index]),
        )
        for index in best
    )
