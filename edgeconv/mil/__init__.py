"""A reference evaluator for Core ML packages, for machines without Core ML.

It reads the saved package itself and runs the program in numpy. It is called ``mil-reference``
everywhere: it shows what the program says, never what Apple's kernels do or how fast they are.
"""

from edgeconv.formats.mlpackage import package_sha256
from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.band import accumulation_band
from edgeconv.mil.evaluate import Noise, Program, open_program

__all__ = [
    "CorruptFileError",
    "Noise",
    "Program",
    "accumulation_band",
    "open_program",
    "package_sha256",
]
