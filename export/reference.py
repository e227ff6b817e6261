"""The float reference: PyTorch for a module, onnxruntime for a file, one feed at a time and without rewrites.

Where many samples verify there is a quicker way: a file with onnxruntime's rewrites (some 2.5 times as
quick), a module on a few small inputs in one call, if its graph keeps samples apart. The first FIRST
samples go both ways, the others the quicker one where that changed no output by more than SAME of its
largest value: float noise, a tenth of what a float file may depart by.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import numbers
from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.base import Feeds, Outputs, Runner

if TYPE_CHECKING:
    import onnx
    import torch

Arrays = dict[str, NDArray[Any]]
FIRST = 16
SAME = 1e-5
JOINED = 8
"""Samples of one call to a module; FIRST is a multiple."""
SMALL = 1 << 19
"""Bytes of their inputs: beyond, a call costs little of what the module's layers do."""


@dataclass(frozen=True)
class Quick:
    """The quicker way: ``run`` takes ``group`` feeds at once."""

    run: Callable[[Sequence[Feeds]], Sequence[Outputs]]
    group: int


@dataclass(frozen=True)
class Reference:
    """An open float model that takes what the hub graph takes, and gives its outputs in their order.

    Embedded preprocessing and an appended softmax are done here in numpy, apart from the graph
    passes that do them in the files: they are part of what is verified. ``quick`` is a quicker way, if any.
    """

    runner: Runner
    quick: Quick | None
    embedded: Preprocessing | None
    softmax: bool

    def infer(self, feeds: Sequence[Feeds]) -> Iterator[Arrays]:
        """Yield the outputs of each of the feeds, as ``numbers``, by the runner's output names.

        Raises EdgeconvError where the first does not give the same twice.
        """
        quick = self.quick if len(feeds) > 2 * FIRST else None
        size = 1 if quick is None else quick.group
        for start in range(0, len(feeds), size):
            group = [self._pixels(feed) for feed in feeds[start : start + size]]
            if quick is not None and start >= FIRST:
                made = quick.run(group)
            else:
                made = [self.runner.infer(feed) for feed in group]
                if start == 0:
                    refuse_unrepeated(made[0], self.runner.infer(group[0]))
                quick = quick if quick is not None and _same(made, quick, group) else None
            yield from map(self._numbers, made)

    def _pixels(self, feed: Feeds) -> Feeds:
        if self.embedded is None:
            return feed
        name, pixels = next(iter(feed.items()))
        real = np.asarray(pixels, np.float32) / np.float32(255)
        mean = np.asarray(self.embedded.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.embedded.std, np.float32).reshape(-1, 1, 1)
        return {**feed, name: ((real - mean) / std).astype(np.float32)}

    def _numbers(self, made: Outputs) -> Arrays:
        results = [numbers(np.asarray(made[s.name])) for s in self.runner.outputs]
        if self.softmax:
            shifted = np.exp(results[0] - results[0].max(axis=1, keepdims=True))
            results = [shifted / shifted.sum(axis=1, keepdims=True)]
        return {s.name: value for s, value in zip(self.runner.outputs, results, strict=True)}


def refuse_unrepeated(first: Outputs, again: Outputs) -> None:
    """Raise EdgeconvError for an output that two runs on the same sample do not give alike."""
    for name in first:
        value, other = (np.asarray(made[name], np.float64) for made in (first, again))
        if value.shape != other.shape:
            apart = f"once of shape {list(value.shape)}, once of {list(other.shape)}"
        else:
            peak = float(np.abs(value).max(initial=0))
            if np.allclose(other, value, rtol=0.0, atol=SAME * peak, equal_nan=True):
                continue
            apart = f"up to {np.abs(value - other).max():.2g} apart, where the largest value is {peak:.2g}"
        raise EdgeconvError(
            f"the float net's output {name} changes when the same sample is run again ({apart}), so that "
            "nothing can be verified against it: its forward may keep no count, buffer or memory of earlier calls, "
            "draw no random numbers, and not overrule eval()"
        )


def _same(made: Sequence[Outputs], quick: Quick, group: Sequence[Feeds]) -> bool:
    try:
        others = quick.run(group)
    except EdgeconvError:
        return False  # such as a module that takes one sample only
    return all(
        value.shape == other[name].shape
        and np.allclose(
            other[name], value, rtol=0.0, atol=SAME * float(np.abs(value).max(initial=0))
        )
        for own, other in zip(made, others, strict=True)
        for name, value in own.items()
    )


def _keeps_apart(raw: "onnx.ModelProto") -> bool:
    """Whether a net's graph shows that what it gives for a sample does not depend on others beside it."""
    from edgeconv.export.hub.onnx_io import from_onnx
    from edgeconv.export.quant.batching import batched

    try:
        return batched(from_onnx(raw)) is not None
    except EdgeconvError:
        return False  # such as a shape that cannot be inferred before the graph is simplified


@contextmanager
def open_reference(
    *,
    module: "torch.nn.Module | None",
    raw: "onnx.ModelProto",
    shapes: Mapping[str, Sequence[int]],
    dtypes: Mapping[str, str],
    embedded: Preprocessing | None,
    softmax: bool,
    threads: int,
    count: int,
) -> Iterator[Reference]:
    """Open the reference for ``count`` feeds; ``dtypes`` names the types of inputs that are not float32."""
    quick: Quick | None = None
    many = count > 2 * FIRST
    with ExitStack() as opened:
        if module is not None:
            from edgeconv.runtimes.pytorch import open_module

            net = open_module(
                module,
                list(shapes),
                [value.name for value in raw.graph.output],
                list(shapes.values()),
                input_dtypes=[dtypes.get(name, "float32") for name in shapes],
                threads=threads,
            )
            runner: Runner = opened.enter_context(net)
            size = JOINED * sum(4 * math.prod(shape) for shape in shapes.values())
            if many and size <= SMALL and _keeps_apart(raw):
                quick = Quick(net.infer_joined, JOINED)
        else:
            from edgeconv.runtimes.onnxrt import open_model

            model = raw.SerializeToString()
            runner = opened.enter_context(open_model(model, threads=threads, optimize=False))
            if many:
                rewritten = opened.enter_context(open_model(model, threads=threads))
                quick = Quick(lambda group: [rewritten.infer(feed) for feed in group], 1)
        yield Reference(runner, quick, embedded, softmax)
