"""Raw ONNX to the hub graph: onnxsim in a child process, then our own passes."""

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.prepare import simplify_graph
from edgeconv.export.trace import HUB_OPSET

if TYPE_CHECKING:
    import onnx

TIMEOUT_S = 600


@dataclass(frozen=True)
class Simplified:
    """The hub graph, and a warning where onnxsim could not help."""

    hub: Graph
    warning: str | None


def simplify(model: "onnx.ModelProto") -> Simplified:
    """Return the hub graph of ``model``.

    Where onnxsim crashes or gives up, our passes go on from what it was given, and the
    result says so. Raises EdgeconvError where the model has dynamic shapes or its opset cannot
    be converted.
    """
    import onnx

    from edgeconv.export.onnx_io import from_onnx

    reason, result = _in_child(model)
    if reason is None:
        return Simplified(simplify_graph(from_onnx(result)), None)
    opset = next((o.version for o in result.opset_import if o.domain in ("", "ai.onnx")), 1)
    if opset < HUB_OPSET:
        raise EdgeconvError(f"the model's opset {opset} cannot be brought to {HUB_OPSET}: {reason}")
    assert isinstance(result, onnx.ModelProto)
    warning = f"onnxsim failed ({reason}); edgeconv's own passes went on without it"
    return Simplified(simplify_graph(from_onnx(result)), warning)


def _in_child(model: "onnx.ModelProto") -> tuple[str | None, "onnx.ModelProto"]:
    """Return (None, simplified model), or (reason, the model as far as it came)."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        source, target = Path(folder, "raw.onnx"), Path(folder, "simple.onnx")
        onnx.save(model, str(source))
        command = [sys.executable, "-m", "edgeconv.export.simplify_child"]
        try:
            done = subprocess.run(
                [*command, str(source), str(target), str(HUB_OPSET)],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            reason = _failure(done)
        except subprocess.TimeoutExpired:
            reason = f"it took more than {TIMEOUT_S} s"
        # what a dying child left is whole: the model at the hub's opset, perhaps simplified
        return reason, onnx.load(str(target)) if target.is_file() else model


def _failure(done: "subprocess.CompletedProcess[str]") -> str | None:
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"killed by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
