"""ncnn: a prepared graph in float as a .param of layers and the .bin of their weights."""
