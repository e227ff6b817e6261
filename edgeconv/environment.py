"""What holds in every process of ours before anything else is imported: whose files run, and no telemetry."""

import itertools
import os
import sys


def _started_as_module() -> bool:
    """Whether this is ``python -m edgeconv`` (not another module that imports us while it starts)."""
    given = sys.orig_argv
    named = [module for option, module in itertools.pairwise(given) if option == "-m"]
    return sys.argv[:1] == ["-m"] and named[:1] != [] and named[0].split(".")[0] == "edgeconv"


if _started_as_module() and not sys.flags.safe_path:
    del sys.path[0]  # the current folder: a json.py or onnx.py there is not ours to run

# onnxruntime sends its telemetry unless this is set before its import; children inherit it
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
