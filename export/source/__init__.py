"""NET_OR_FILE to something that can be traced or read: one of ours, a user's module, an .onnx file."""

from edgeconv.export.source.found import Source
from edgeconv.export.source.labels import read_labels
from edgeconv.export.source.open import foretold_stem, open_source

__all__ = ["Source", "foretold_stem", "open_source", "read_labels"]
