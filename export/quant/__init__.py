"""The INT8 recipe and the engine that makes it: numpy and onnxruntime, no torch."""
