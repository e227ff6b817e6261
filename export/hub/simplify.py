"""Raw ONNX to the hub graph: onnxsim in a child process, then our own passes."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.trace import HUB_OPSET
from edgeconv.export.prepare import simplify_graph

if TYPE_CHECKING:
    import onnx

TIMEOUT_S = 600
COMMAND = ("-m", "edgeconv.export.hub.simplify_child")


@dataclass(frozen=True)
class Simplified:
    """The hub graph, and a warning where onnxsim could not help."""

    hub: Graph
    warning: str | None


class Simplifier:
    """A child process that imports onnxsim while its parent does something else.

    It serves once; later calls, and those it failed before converting, start a child of their own.
    """

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._child: subprocess.Popen[str] | None = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=pipe,
            stdout=subprocess.DEVNULL,
            stderr=pipe,
            text=True,
        )

    def close(self) -> None:
        """Stop a child that nobody needed."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def simplify(self, model: "onnx.ModelProto") -> Simplified:
        """Return the hub graph of ``model``; see the function of this name."""
        child, self._child = self._child, None
        return _simplify(model, child)


@contextmanager
def early_simplifier() -> Iterator[Simplifier]:
    """Start a Simplifier; nothing of it is left at the end."""
    simplifier = Simplifier()
    try:
        yield simplifier
    finally:
        simplifier.close()


def simplify(model: "onnx.ModelProto") -> Simplified:
    """Return the hub graph of ``model``.

    Where onnxsim crashes or gives up, our passes go on from what it was given, and the
    result says so. Raises EdgeconvError where the model has dynamic shapes or its opset cannot
    be converted.
    """
    return _simplify(model, None)


def _simplify(model: "onnx.ModelProto", child: "subprocess.Popen[str] | None") -> Simplified:
    import onnx

    from edgeconv.export.hub.onnx_io import from_onnx

    reason, result = _in_child(model, child)
    if reason is None:
        return Simplified(simplify_graph(from_onnx(result)), None)
    opset = next((o.version for o in result.opset_import if o.domain in ("", "ai.onnx")), 1)
    if opset < HUB_OPSET:
        raise EdgeconvError(f"the model's opset {opset} cannot be brought to {HUB_OPSET}: {reason}")
    assert isinstance(result, onnx.ModelProto)
    warning = f"onnxsim failed ({reason}); edgeconv's own passes went on without it"
    return Simplified(simplify_graph(from_onnx(result)), warning)


def _in_child(
    model: "onnx.ModelProto", child: "subprocess.Popen[str] | None"
) -> tuple[str | None, "onnx.ModelProto"]:
    """Return (None, simplified model), or (reason, the model as far as it came)."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        source, target = Path(folder, "raw.onnx"), Path(folder, "simple.onnx")
        onnx.save(model, str(source))
        arguments = [str(source), str(target), str(HUB_OPSET)]
        reason = None
        if child is not None:
            reason = _wait(child, json.dumps(arguments) + "\n")
        if child is None or not target.is_file():
            command = [sys.executable, *COMMAND, *arguments]
            pipe = subprocess.PIPE
            own = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
            reason = _wait(own, None)
        # what a dying child left is whole: the model at the hub's opset, perhaps simplified
        return reason, onnx.load(str(target)) if target.is_file() else model


def _wait(child: "subprocess.Popen[str]", line: str | None) -> str | None:
    """Return why the child failed; None where it did not."""
    try:
        _, said = child.communicate(line, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"it took more than {TIMEOUT_S} s"
    except BaseException:
        child.kill()
        raise
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return f"killed by {signal.Signals(-child.returncode).name}"
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"exit code {child.returncode}"
