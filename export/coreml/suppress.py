"""Core ML's non-maximum suppression behind a detector: a pipeline of the ML program and Apple's own NMS model.

Given:   an ML program that gives raw_coordinates (n, 4), centre and size on 0..1, and raw_confidence (n, classes)
Result:  pictures in, ``coordinates`` (k, 4) and ``confidence`` (k, classes) out, as Vision expects them
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeconv.deps import require
from edgeconv.export.graph import Graph
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.nms.tail import Tail

OUTPUTS = COORDINATES, CONFIDENCE = "raw_coordinates", "raw_confidence"
GIVEN = {COORDINATES: "coordinates", CONFIDENCE: "confidence"}
LIMITS = {
    "iouThreshold": "overlap above which the weaker box goes",
    "confidenceThreshold": "least score",
}
"""Inputs that an app may leave out."""


def for_coreml(graph: Graph) -> Graph:
    """Return a decoded net without the axis of pictures at its outputs, which are named as NMS reads them."""
    tail = Tail(graph.clone())
    flat = [
        tail.do("Reshape", name, np.array(shape, np.int64), shape=shape)
        for name in graph.outputs
        for shape in [tail.graph.shape(name)[1:]]
    ]
    for old, new in zip(flat, OUTPUTS, strict=True):
        tail.graph.rename(old, new)
    tail.graph.outputs = list(OUTPUTS)
    return tail.graph


def with_suppression(program: Any, limits: Suppression, labels: Sequence[str] | None) -> Any:
    """Return the pipeline's specification around ``program``'s; its metadata moves to the front."""
    protos = require("coremltools.proto.Model_pb2", "coreml")
    whole = protos.Model()
    whole.specificationVersion = program.specificationVersion
    whole.description.input.extend(program.description.input)
    for name, says in LIMITS.items():
        feature = whole.description.input.add()
        feature.name, feature.shortDescription = name, f"{says}; optional"
        feature.type.doubleType.SetInParent()
        feature.type.isOptional = True
    thinning = _thinning(program, limits, labels)
    whole.description.output.extend(thinning.description.output)
    whole.description.metadata.CopyFrom(program.description.metadata)
    program.description.metadata.Clear()
    whole.pipeline.models.extend([program, thinning])
    whole.pipeline.names.extend(["detector", "nms"])
    return whole


def _thinning(program: Any, limits: Suppression, labels: Sequence[str] | None) -> Any:
    """Return Apple's NMS as a model; classes without names are called by their numbers."""
    made = require("coremltools.proto.Model_pb2", "coreml").Model()
    made.specificationVersion = program.specificationVersion
    nms = made.nonMaximumSuppression
    classes = 0
    for feature in program.description.output:
        made.description.input.add().CopyFrom(feature)
        given = made.description.output.add()
        given.CopyFrom(feature)
        given.name = GIVEN[feature.name]
        shape = given.type.multiArrayType
        width = shape.shape[-1]
        classes = width if feature.name == CONFIDENCE else classes
        del shape.shape[:]
        for low, high in ((0, -1), (width, width)):  # any number of boxes
            shape.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    names = list(labels) if labels and len(labels) == classes else map(str, range(classes))
    nms.stringClassLabels.vector.extend(names)
    nms.pickTop.perClass = True
    nms.iouThreshold, nms.confidenceThreshold = limits.iou, limits.score
    nms.coordinatesInputFeatureName, nms.confidenceInputFeatureName = OUTPUTS
    nms.coordinatesOutputFeatureName = GIVEN[COORDINATES]
    nms.confidenceOutputFeatureName = GIVEN[CONFIDENCE]
    nms.iouThresholdInputFeatureName, nms.confidenceThresholdInputFeatureName = LIMITS
    return made
