"""How a detector's outputs hold its boxes, as far as a file must know it to decode them itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.errors import UsageError
from edgeconv.evaluate.heads import (
    READERS,
    are_logits,
    begin_with_background,
    box_rows,
    candidates,
    find_head,
    on_unit_scale,
)
from edgeconv.evaluate.maps import Array, Size
from edgeconv.evaluate.task import task_of
from edgeconv.export.graph import Graph
from edgeconv.export.kinds import AUTO_HEAD, NMS_HEADS


@dataclass(frozen=True)
class Head:
    """The decoding that belongs in front of NMS; ``size`` is (height, width) of the picture.

    ``pixels``: boxes are in pixels, not on 0..1. ``logits``: scores are no probabilities yet.
    ``background``: class 0 is none.
    """

    name: str
    size: Size
    pixels: bool
    logits: bool
    background: bool


def check_head(graph: Graph, asked: str, classes: int | None) -> str:
    """Return the head that ``asked`` names, or "auto" finds, by the shapes of a net's outputs.

    Raises UsageError where the net is no detector of one picture, or its head is another.
    """
    size = picture_size(graph)
    shapes = [graph.shape(name) for name in graph.outputs]
    if size is None or task_of(shapes) != "boxes":
        said = ", ".join(f"{name} {list(graph.shape(name))}" for name in graph.outputs)
        raise UsageError(
            f"--nms is for detectors, and this net gives no boxes of a picture: {said}"
        )
    if asked != AUTO_HEAD and READERS[asked][0]([shape[1:] for shape in shapes]):
        return asked
    zeros = {name: np.zeros(graph.shape(name), np.float32) for name in graph.outputs}
    try:
        if asked != AUTO_HEAD:
            candidates(zeros, asked, size)  # says how it does not fit
        found = find_head(zeros, size, classes)
    except UsageError as error:
        raise UsageError(str(error).replace("--head", "--nms")) from error
    if found in NMS_HEADS:
        return found
    raise UsageError(
        f"--nms decodes {', '.join(NMS_HEADS)}, and the outputs look like {found}: name the head, or "
        f"leave --nms out{'' if found.endswith('-maps') else ', as its boxes overlap no more'}"
    )


def tell_head(name: str, outputs: Mapping[str, Array], size: Size) -> Head:
    """Return how the float net's ``outputs`` (pictures, ...) hold boxes, by their values."""
    values = list(outputs.values())
    corners, scores = _parts(name, values, size)
    background = name == "ssd" and begin_with_background(scores)
    return Head(name, size, not on_unit_scale(corners), are_logits(scores), background)


def _parts(name: str, values: Sequence[Array], size: Size) -> tuple[Array, Array]:
    """Return sides (pictures, n, 4) and scores (pictures, n, classes)."""
    if len(values) == 2:
        axis = 2 if name == "ssd" else 1
        sides = next(v for v in values if v.shape[axis] == 4)
        scores = next(v for v in values if v is not sides)
        return (sides, scores) if axis == 2 else (sides, scores.transpose(0, 2, 1))
    rows = box_rows(values[0], size)
    return rows[:, :, :4], rows[:, :, 4:]


def picture_size(graph: Graph) -> Size | None:
    """Return (height, width) of a net's one input; None where it takes no single picture."""
    shapes: list[Any] = [graph.shape(name) for name in graph.inputs]
    return (shapes[0][2], shapes[0][3]) if len(shapes) == 1 and len(shapes[0]) == 4 else None
