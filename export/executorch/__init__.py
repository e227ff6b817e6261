"""ExecuTorch: the prepared graph and its recipe as a .pte for the XNNPACK backend."""
