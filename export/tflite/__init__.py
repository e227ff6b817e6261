"""The TFLite emitter: a prepared graph, and a recipe or none, to a flatbuffer."""

from edgeconv.export.tflite.emit import EmittedTflite, emit_tflite
from edgeconv.export.tflite.inspect import TfliteSummary, read_tflite, tflite_stats
from edgeconv.export.tflite.table import check_supported

__all__ = [
    "EmittedTflite",
    "TfliteSummary",
    "check_supported",
    "emit_tflite",
    "read_tflite",
    "tflite_stats",
]
