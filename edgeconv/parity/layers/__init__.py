"""Layer by layer: a file and its reference opened up, run on the same pictures and compared."""
