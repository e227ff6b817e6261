"""ONNX QDQ: writing it, reading what other tools wrote, and what a file holds."""
