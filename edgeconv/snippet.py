"""A small program for one exported file: its preprocessing, scales and labels, written out."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.task import are_whole
from edgeconv.foreign import refuse_missing
from edgeconv.pictures import BARS
from edgeconv.templates import render
from edgeconv.tensors import TensorSpec


@dataclass(frozen=True)
class Language:
    """A template, what it is written to, and the kinds of file it runs.

    ``pictures``: it feeds one picture and nothing else.
    """

    template: str
    program: str
    suffixes: tuple[str, ...]
    pictures: bool = True


LANGUAGES = {
    "python": Language("run.py.jinja", "run_{stem}.py", (".tflite", ".onnx"), pictures=False),
    "cpp": Language("run.cpp.jinja", "run_{stem}.cpp", (".tflite", ".onnx")),
    "c": Language("border.c.jinja", "{stem}_border.c", (".tflite", ".onnx")),
    "kotlin": Language("Classifier.kt.jinja", "{camel}.kt", (".tflite",)),
    "swift": Language("Classifier.swift.jinja", "{camel}.swift", (".mlpackage",)),
}
NO_PROGRAM = "none is written for such a file: export the net as .tflite, .onnx or .mlpackage"


def write_snippet(
    path: str | Path, language: str = "python", folder: str | Path = Path()
) -> tuple[str, str]:
    """Return (file name, text) of a program in ``language`` that runs the file at ``path``.

    The program finds the model from ``folder``, where it is meant to lie. Raises UsageError where the
    language does not run such a file, EdgeconvError for a file without a manifest.
    """
    path = Path(path)
    if language not in LANGUAGES:
        raise UsageError(f"--lang {language} is unknown: {', '.join(LANGUAGES)}")
    chosen, suffix = LANGUAGES[language], path.suffix.lower()
    refuse_missing(path)
    if suffix not in chosen.suffixes:
        fitting = [name for name, other in LANGUAGES.items() if suffix in other.suffixes]
        hint = f"take --lang {' or '.join(fitting)}" if fitting else NO_PROGRAM
        kinds = " and ".join(chosen.suffixes)
        raise UsageError(f"--lang {language} writes programs for {kinds}, not for {path}: {hint}")
    artifact = load_artifact(path)
    if artifact is None:
        raise EdgeconvError(
            f"{path} has no manifest beside it ({path.name}.json), which says how it is fed; "
            "export it with edgeconv"
        )
    about = facts(artifact)
    if chosen.pictures and not about["picture"]:
        raise UsageError(f"{path} does not take one picture: --lang python feeds it arrays")
    stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in path.stem)
    camel = "".join(part.capitalize() for part in stem.split("_")) or "Model"
    program = chosen.program.format(stem=stem, camel=camel if camel[0].isalpha() else f"Net{camel}")
    where = Path(os.path.relpath(path, folder)).as_posix()
    text = render("snippets", chosen.template, **about, model=where, program=program)
    return program, text


def facts(artifact: Artifact) -> dict[str, Any]:
    """Return what the templates are filled with."""
    how, first = artifact.preprocessing, artifact.inputs[0]
    picture = how is not None and len(artifact.inputs) == 1 and len(first.shape) == 4
    channels = first.shape[3 if first.layout == "nhwc" else 1] if picture else 0
    outputs = artifact.outputs
    rows = [spec for spec in outputs if len(spec.shape) == 2 and spec.shape[0] == 1]
    return {
        "suffix": artifact.path.suffix.lower(),
        "inputs": [_tensor(spec) for spec in artifact.inputs],
        "outputs": [_tensor(spec) for spec in outputs],
        "picture": picture,
        "channels": channels,
        "how": how,
        "bgr": how is not None and how.order == "bgr" and channels == 3,
        "bars": BARS,
        "image_input": bool((artifact.manifest.get("graph") or {}).get("image_input")),
        "classifier": picture and len(outputs) == len(rows) == 1,
        "label": picture
        and len(outputs) == 1
        and are_whole(outputs)[0]
        and _count(outputs[0]) == 1,
        "mask": _mask(outputs) if picture else None,
        "detector": picture and (artifact.nms or {}).get("final") == "ssd-nms",
        "probabilities": artifact.probabilities,
        "labels": artifact.labels or [],
    }


def _count(spec: TensorSpec) -> int:
    return math.prod(spec.shape)


def _mask(outputs: Sequence[TensorSpec]) -> dict[str, int] | None:
    """Return where a segmenter's one map, (1, classes, height, width) or the last of them first, has its classes.

    ``axis`` is that of one picture; None is no such map.
    """
    if len(outputs) != 1 or len(outputs[0].shape) != 4 or outputs[0].shape[0] != 1:
        return None
    spec = outputs[0]
    axis = 2 if spec.layout == "nhwc" else 0
    count = spec.shape[axis + 1]
    pixels = _count(spec) // max(1, count)
    return {"axis": axis, "count": count, "pixels": pixels} if count > 1 and pixels > 1 else None


RANGES: Mapping[str, tuple[int, int]] = {"int8": (-128, 127), "uint8": (0, 255)}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    low, high = RANGES.get(spec.dtype, (0, 0))
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "count": _count(spec),
        "width": np.dtype(spec.dtype).itemsize,
        "dtype": spec.dtype,
        "layout": spec.layout,
        "integer": spec.dtype in RANGES,
        "low": low,
        "high": high,
        "q": spec.quantization,
    }
