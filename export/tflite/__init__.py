"""The TFLite emitter: a hub graph, and a recipe or none, to a flatbuffer."""
