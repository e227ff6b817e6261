"""The one protocol that every runtime speaks, and what some of them can do besides."""

import importlib
import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import spec_to_json
from edgeconv.errors import EdgeconvError, reading
from edgeconv.foreign import refuse_missing
from edgeconv.runtimes.choose import choose
from edgeconv.runtimes.probe import probe
from edgeconv.runtimes.table import RUNTIMES
from edgeconv.tensors import TensorSpec

LOG = logging.getLogger(__name__)
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
class Delegation:
    """How much of a graph a delegate took: operators, how many of them, in how many pieces."""

    ops: int
    delegated: int
    partitions: int
    fallback: dict[str, int]
    """Operators left to the builtin kernels: name -> count."""


@runtime_checkable
class Delegates(Protocol):
    """A runner that hands parts of its graph on."""

    def delegation(self) -> Delegation:
        """Count what the delegate took."""
        ...


@runtime_checkable
class Doubts(Protocol):
    """A runner that knows where its runtime computes wrongly."""

    def doubts(self) -> tuple[str, ...]:
        """Say what is known to go wrong with this file on this machine, a sentence each."""
        ...


@runtime_checkable
class Provides(Protocol):
    """A runner whose session chooses among execution providers."""

    def providers(self) -> list[str]:
        """The providers in use, the preferred one first."""
        ...


@runtime_checkable
class Arena(Protocol):
    """A runner that can tell what memory its runtime set aside."""

    def arena_bytes(self, feeds: Feeds) -> int | None:
        """Run on ``feeds`` and return the size; None where nobody can see it."""
        ...


def open_runner(
    path: Path,
    *,
    threads: int = 1,
    runtime: str | None = None,
    isolate: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **options: Any,
) -> Runner:
    """Open ``path`` in the first installed runtime for its suffix, or in ``runtime``.

    ``shapes`` settles dynamic inputs by name; ``options`` are those of the runtime's row (TFLite:
    ``xnnpack=False``; onnxruntime: ``optimize=False``). ``isolate=True`` opens and runs the file in a
    child process first, because a foreign file can crash a runtime, and anyone can lay a manifest
    beside it. Raises UsageError for an unknown suffix, runtime or option, EdgeconvError naming
    the extra to install where no runtime is there, and for a file that the runtime refuses.
    """
    row = choose(path, runtime)
    row.check_options(options)
    refuse_missing(path)
    if isolate:
        probe(path, row.name, threads=threads, shapes=dict(shapes or {}))
    module = row.load()
    LOG.debug("opening %s in %s, threads %d", path, row.name, threads)
    with reading(f"{row.name} cannot open {path}"):
        runner: Runner = module.open(path, threads=threads, shapes=shapes, **options)
    return runner


def serve_once(
    runtime: str, asked: Iterator[Mapping[str, Any]]
) -> Generator[dict[str, Any] | None, None, None]:
    """Import a runtime's package, answer None, then answer each file asked for as ``run_once`` does."""
    with suppress(ImportError):  # whoever opens a file says what to install
        importlib.import_module(RUNTIMES[runtime].imports)
    yield None
    yield from map(run_once, asked)


def run_once(value: Mapping[str, Any]) -> dict[str, Any]:
    """Open a file and run it on zeros in this process: the child's side of ``probe``, and its answer."""
    shapes = {name: tuple(shape) for name, shape in value["shapes"].items()} or None
    with open_runner(
        Path(value["path"]), threads=value["threads"], runtime=value["runtime"], shapes=shapes
    ) as runner:
        runner.infer({spec.name: np.zeros(spec.shape, spec.dtype) for spec in runner.inputs})
        sides = {"inputs": runner.inputs, "outputs": runner.outputs}
        told = {side: [spec_to_json(spec) for spec in specs] for side, specs in sides.items()}
        return {"version": runner.version, **told}
