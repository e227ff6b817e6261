"""Training one of the four nets on a folder of pictures, so that any width has weights of its own."""
