"""Exact rewrites of a quantized net for the kernels that will run it, one a file."""
