"""The TFLite emitter: a prepared graph, and a recipe or none, to a flatbuffer."""
