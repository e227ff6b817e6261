"""The kinds an export comes in: precision, borders, preference, processor, and the usual opset."""

from typing import Literal

from edgeconv.manifest_schema import Precision as Precision

Io = Literal["float", "int8", "uint8"]
Prefer = Literal["speed", "size"]
Cpu = Literal["any", "x86", "pi4", "pi5", "arm"]
"""pi4: arm64 without a dot product of bytes, which arm is a word for; pi5: with it, as phones since 2018."""

DEFAULT_OPSET = 18

RECIPES = ("fast", "std", "best")
"""The ways to make a recipe."""

AUTO_HEAD = "auto"
NMS_HEADS = ("yolov8", "yolov5", "ssd")
"""How outputs hold boxes that a file can decode itself (edgeconv/evaluate/heads.py says what each is)."""
FOR_APPS = "_nms"
"""How the name of a file with NMS inside goes on."""
