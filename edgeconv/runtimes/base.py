"""The one protocol that every runtime speaks, and the table of runtimes."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.runtimes.probe import probe
from edgeconv.tensors import TensorSpec

Feeds = Mapping[str, NDArray[np.generic]]
Outputs = dict[str, NDArray[np.generic]]


class Runner(Protocol):
    """A model held open by one runtime, used as a context manager.

    ``name`` is the runtime as figures quote it ("onnxruntime", "ai-edge-litert", "ai-edge-litert/no-xnnpack").
    ``infer`` takes and returns arrays by name, exactly of the shapes and dtypes that ``inputs`` and
    ``outputs`` declare (NHWC for TFLite), and raises EdgeconvError naming a feed that does not fit.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    threads: int

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        ...

    def call(self, feeds: Feeds) -> "PreparedCall":
        """Bind ``feeds`` once and return what runs the model with nothing of ours around it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class PreparedCall(Protocol):
    """The runtime's own call with its inputs already in place: what a benchmark times."""

    def __call__(self) -> object:
        """Run once; the result stays in the runtime."""
        ...


def check_feeds(name: str, specs: tuple[TensorSpec, ...], feeds: Feeds) -> None:
    """Raise EdgeconvError, naming input, wanted and got, unless ``feeds`` fit ``specs``."""
    for spec in specs:
        if spec.name not in feeds:
            raise EdgeconvError(f"{name} got no input {spec.name}; it was given {sorted(feeds)}")
        fed = feeds[spec.name]
        if tuple(fed.shape) != spec.shape:
            raise EdgeconvError(
                f"{name}: input {spec.name} is {list(spec.shape)}, got {list(fed.shape)}"
            )
        if fed.dtype.name != spec.dtype:
            raise EdgeconvError(f"{name}: input {spec.name} is {spec.dtype}, got {fed.dtype.name}")
    if unknown := sorted(feeds.keys() - {spec.name for spec in specs}):
        raise EdgeconvError(f"{name} has no input {unknown[0]}")


@dataclass(frozen=True)
class Runtime:
    """An entry of the table: the name users type, its module here, the package and the extra.

    ``platform`` is the only sys.platform it runs on, "" where it runs on all.
    """

    name: str
    module: str
    package: str
    extra: str
    suffixes: tuple[str, ...]
    adds: str
    platform: str = ""

    def installed(self) -> bool:
        """Whether the package can be imported (without importing it) and runs on this system."""
        if self.platform and self.platform != sys.platform:
            return False
        return importlib.util.find_spec(self.package) is not None


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("onnxruntime", "onnxrt", "onnxruntime", "onnx", (".onnx",), "run and verify .onnx"),
        Runtime(
            "ai-edge-litert",
            "litert",
            "ai_edge_litert",
            "tflite",
            (".tflite",),
            "run and verify .tflite",
        ),
        Runtime(
            "tflite-runtime",
            "tflite_runtime",
            "tflite_runtime",
            "tflite-runtime",
            (".tflite",),
            "run .tflite on older boards (Python 3.11, numpy 1)",
        ),
        Runtime(
            "coreml-runtime",
            "coreml",
            "coremltools",
            "coreml",
            (".mlpackage",),
            "run, verify and bench .mlpackage on a Mac",
            platform="darwin",
        ),
        Runtime(
            "mil-reference",
            "mil_reference",
            "numpy",
            "coreml",
            (".mlpackage",),
            "verify .mlpackage without a Mac",
        ),
    )
}
"""Runtime name -> entry, the preferred one of a suffix first."""


def open_runner(
    path: Path,
    *,
    threads: int = 1,
    runtime: str | None = None,
    isolate: bool = False,
    **options: Any,
) -> Runner:
    """Open ``path`` in the first installed runtime for its suffix, or in ``runtime``.

    ``options`` go to the runtime's own ``open`` (litert: ``xnnpack=False``; onnxruntime:
    ``optimize=False``; all: ``shapes`` for dynamic inputs). ``isolate=True`` opens and runs the file
    in a child process first unless we wrote it (a manifest lies beside it), because a foreign file
    can crash a runtime. Raises UsageError for an unknown suffix or runtime, EdgeconvError naming
    the extra to install where no runtime is there, and for a file that the runtime refuses.
    """
    suffix = path.suffix.lower()
    fitting = [r for r in RUNTIMES.values() if suffix in r.suffixes]
    if not fitting:
        raise UsageError(f"{path}: no runtime here runs {suffix or 'a file without suffix'}")
    if runtime is not None:
        if runtime not in RUNTIMES:
            raise UsageError(f"no runtime is called {runtime}: {', '.join(RUNTIMES)}")
        fitting = [RUNTIMES[runtime]]
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    for entry in fitting:
        if entry.installed():
            if isolate and not path.with_name(path.name + ".json").is_file():
                probe(path, entry.name, threads=threads, shapes=options.get("shapes"))
            module = importlib.import_module(f"edgeconv.runtimes.{entry.module}")
            runner: Runner = module.open(path, threads=threads, **options)
            return runner
    extras = " or ".join(f"pip install 'edgeconv[{r.extra}]'" for r in fitting)
    raise EdgeconvError(f"nothing installed runs {path.name}: {extras}")


def run_once(value: Mapping[str, Any]) -> None:
    """Open a file and run it on zeros in this process: the child's side of ``probe``."""
    shapes = {name: tuple(shape) for name, shape in value["shapes"].items()} or None
    with open_runner(
        Path(value["path"]), threads=value["threads"], runtime=value["runtime"], shapes=shapes
    ) as runner:
        runner.infer({spec.name: np.zeros(spec.shape, spec.dtype) for spec in runner.inputs})
