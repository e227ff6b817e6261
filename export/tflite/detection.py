"""TFLite's detection operator at the border: boxes and scores in, the boxes that stay out.

Given:   boxes (1, n, 4): centre y, x and the logarithms of height and width, each class a place below
         the one before (export/nms/tail.py); scores (1, n, classes)
Result:  location (1, most, 4): y1, x1, y2, x2 on 0..1; category, score (1, most); number of detections (1)
"""

import numpy as np

from edgeconv.deps import require
from edgeconv.export.nms.suppression import Suppression
from edgeconv.export.nms.tail import APART
from edgeconv.export.tflite.emission import Emission

OPERATOR = "TFLite_Detection_PostProcess"
DETECTION = LOCATION, CATEGORY, SCORE, NUMBER = (
    "location",
    "category",
    "score",
    "number of detections",
)
"""The outputs in the operator's order, as apps look for them."""


def add_detection(em: Emission, boxes: str, scores: str, limits: Suppression) -> dict[str, int]:
    """Append the operator behind two tensors of the graph; return the file's outputs by name.

    Boxes are the whole picture's, so their anchors lie at 0 and have sides of 1.
    """
    b = em.builder
    _, count, classes = em.graph.shape(scores)
    most = min(limits.most, count)
    shapes = {LOCATION: (1, most, 4), CATEGORY: (1, most), SCORE: (1, most), NUMBER: (1,)}
    inputs = [
        em.read(boxes, "plain"),
        em.read(scores, "plain"),
        b.constant("anchors", np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1))),
    ]
    below = b.tensor("location_by_class", shapes[LOCATION], np.float32)
    category, score, number = (
        b.tensor(name, shapes[name], np.float32) for name in (CATEGORY, SCORE, NUMBER)
    )
    b.custom(OPERATOR, inputs, [below, category, score, number], _options(limits, most, classes))
    shift = np.array([APART, 0, APART, 0], np.float32).reshape(1, 1, 4)
    by_class = [em.reshape(category, (1, most, 1)), b.shared("apart", shift)]
    location = b.tensor(LOCATION, shapes[LOCATION], np.float32)
    moved = em.do("MUL", by_class, "MulOptions")
    b.op("SUB", [below, moved], [location], "SubOptions")
    return dict(zip(DETECTION, (location, category, score, number), strict=True))


def _options(limits: Suppression, most: int, classes: int) -> bytes:
    scales = dict.fromkeys(("y_scale", "x_scale", "h_scale", "w_scale"), 1.0)
    values = {
        "max_detections": most,
        "max_classes_per_detection": 1,
        "detections_per_class": most,
        "use_regular_nms": False,
        "nms_score_threshold": limits.score,
        "nms_iou_threshold": limits.iou,
        "num_classes": classes,
        **scales,
    }
    return bytes(require("flatbuffers.flexbuffers", "export").Dumps(values))
