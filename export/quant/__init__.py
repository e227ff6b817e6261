"""The engine that makes an INT8 recipe: numpy and onnxruntime, no torch."""
