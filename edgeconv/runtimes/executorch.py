"""ExecuTorch's Python runtime with its XNNPACK backend, for .pte files. It imports torch."""

import importlib
import importlib.metadata
import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.formats.pte_file import SCALAR_TYPES, check_whole, read_program
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    check_readable,
    check_shapes,
    check_threads,
    first_line,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import TensorSpec

BINDINGS = ("_C", "_portable_lib")
"""Where ExecuTorch 1.5 and later ones, and those before, have their runtime."""


def open(path: Path, *, threads: int = 1, shapes: Shapes | None = None) -> "ExecutorchRunner":
    """Open a .pte file's method ``forward``.

    Raises EdgeconvError for a file of another format version and one that ExecuTorch refuses.
    """
    check_threads(threads)
    check_readable(path)
    check_whole(path)
    torch = require("torch", "executorch")
    problem: Exception | None = None
    # its libraries complain of what they do not need
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = _bindings()
        read_program(path)  # at damaged tables ExecuTorch ends the process
        try:
            library._unsafe_reset_threadpool(threads)
            program = library._load_program(str(path))
            method = program.load_method("forward")
        except Exception as error:  # RuntimeError, whatever is wrong with the file
            problem = error
    if problem is not None or method is None:
        why = "it has no method forward" if problem is None else why_refused(str(problem))
        raise unreadable(path, "executorch", why) from problem
    runner = ExecutorchRunner(torch, program, method, path, threads)
    check_shapes(path.name, runner.inputs, shapes)
    return runner


REFUSALS = {
    0x14: "it needs an operator that this ExecuTorch's Python runtime has not",
    0x20: "it needs a backend or data that this ExecuTorch's Python runtime has not",
    0x21: "its memory cannot be had",
    0x30: "its delegate was made for another version of XNNPACK's backend: export it again",
    0x31: "the memory of its delegate cannot be had",
}
"""Codes of ``executorch/runtime/core/error.h`` that a load ends with -> what they mean of a file."""


def why_refused(text: str) -> str:
    """Return what the code at the end of ExecuTorch's message means; the message where there is none."""
    found = re.search(r"error: 0x:?([0-9a-f]+)", text)
    if found is None:
        return first_line(text)
    code = int(found[1], 16)
    known = REFUSALS.get(code, "it is damaged, or a program of another version")
    return f"{known} (ExecuTorch's error 0x{code:02x})"


def _bindings() -> Any:
    """Import the runtime alone: ``executorch.runtime`` would import the exporter with it."""
    require("executorch", "executorch")
    package = "executorch.extension.pybindings"
    found = [name for name in BINDINGS if importlib.util.find_spec(f"{package}.{name}")]
    if not found:
        version = importlib.metadata.version("executorch")
        raise EdgeconvError(
            f"executorch {version} has no Python runtime that is known here: pip install "
            "'edgeconv[executorch]'"
        )
    return importlib.import_module(f"{package}.{found[0]}")


class ExecutorchRunner(Closing):
    """A loaded method. Rank-4 tensors are NCHW; names are those of the manifest beside the file."""

    name = "executorch"

    def __init__(self, torch: Any, program: Any, method: Any, path: Path, threads: int) -> None:
        self.version = importlib.metadata.version("executorch")
        self.threads = threads
        self._torch, self._program, self._method, self._model = torch, program, method, path.name
        self.inputs, self.outputs = _borders(method.method_meta(), load_artifact(path), path.name)

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        call = self.call(feeds)
        try:
            made: Any = call()
        except Exception as error:  # RuntimeError, by what fails
            raise EdgeconvError(
                f"executorch failed on {self._model}: {first_line(error)}"
            ) from error
        return {s.name: np.array(v.numpy()) for s, v in zip(self.outputs, made, strict=True)}

    def call(self, feeds: Feeds) -> PreparedCall:
        """Wrap the inputs once; the call is the method's own."""
        check_feeds(self._model, self.inputs, feeds)
        fed = [self._torch.from_numpy(np.array(feeds[s.name], order="C")) for s in self.inputs]
        # numpy's strides of no values are 0, at which ExecuTorch ends the process
        fed = [x if x.numel() else self._torch.zeros(x.shape, dtype=x.dtype) for x in fed]
        return lambda: self._method(fed)

    def close(self) -> None:
        """Let go of the model."""
        self._method = self._program = None


def _borders(
    meta: Any, artifact: Artifact | None, model: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs: the manifest's where there is one and it agrees, else by number."""
    counts = (meta.num_inputs(), meta.num_outputs())
    ask = (meta.input_tensor_meta, meta.output_tensor_meta)
    found = tuple(
        tuple(_spec(f"{word}_{i}", about(i)) for i in range(count))
        for word, count, about in zip(("input", "output"), counts, ask, strict=True)
    )
    if artifact is None:
        return found[0], found[1]
    named = (artifact.inputs, artifact.outputs)
    for mine, said in zip(found, named, strict=True):
        if [(s.shape, s.dtype) for s in mine] != [(s.shape, s.dtype) for s in said]:
            raise EdgeconvError(
                f"{model} is not the file that its manifest describes: export it again"
            )
    return named


def _spec(name: str, about: Any) -> TensorSpec:
    shape, kind = tuple(int(size) for size in about.sizes()), int(about.dtype())
    if kind not in SCALAR_TYPES:
        raise EdgeconvError(f"{name} is of PyTorch's type {kind}, which edgeconv does not feed")
    return TensorSpec(name, shape, SCALAR_TYPES[kind], picture_layout(shape, "nchw"))
