"""What a file is worth at its own task: classes, masks or boxes, for our files and anyone's."""

HEADS = (
    "yolov8",
    "yolov8-maps",
    "yolo26-maps",
    "yolov5",
    "yolov5-maps",
    "end-to-end",
    "ssd",
    "ssd-nms",
    "coreml-nms",
    "listed",
)
"""How outputs hold boxes, the choices of --head; evaluate/heads.py says what each is."""
MIN_SCORE = 0.25
"""Boxes below this score are not shown and not compared, by default."""
