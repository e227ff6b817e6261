"""edgeconv: from a PyTorch mobile CNN to a verified INT8 model on a device."""

__version__ = "0.1.0"
