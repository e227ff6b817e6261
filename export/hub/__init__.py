"""From a module or a file to the hub graph: trace, simplify, read and write ONNX."""
