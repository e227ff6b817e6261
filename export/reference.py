"""The float reference: PyTorch for a module, onnxruntime for a file, whose rewrites are no part of it.

Without rewrites a file takes some two and a half times as long. So where many samples verify, the
first FIRST of them run both ways, and the others with rewrites where these changed no output by more
than SAME of its largest value: float noise, a tenth of what a float file may depart by.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import numbers
from edgeconv.artifact import Preprocessing
from edgeconv.runtimes.base import Feeds, Outputs, Runner

if TYPE_CHECKING:
    import onnx
    import torch

Arrays = dict[str, NDArray[Any]]
FIRST = 16
SAME = 1e-5


@dataclass(frozen=True)
class Reference:
    """An open float model that takes what the hub graph takes, and gives its outputs in their order.

    ``run`` is what runs ``runner``'s model.
    Embedded preprocessing and an appended softmax are done here in numpy, apart from the graph
    passes that do them in the files: they are part of what is verified.
    """

    runner: Runner
    run: Callable[[Feeds], Outputs]
    embedded: Preprocessing | None
    softmax: bool

    def infer(self, feed: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the outputs of one feed, as ``numbers``, by the runner's output names."""
        values = dict(feed)
        if self.embedded is not None:
            name, pixels = next(iter(values.items()))
            mean = np.asarray(self.embedded.mean, np.float32).reshape(-1, 1, 1)
            std = np.asarray(self.embedded.std, np.float32).reshape(-1, 1, 1)
            values[name] = ((pixels / np.float32(255) - mean) / std).astype(np.float32)
        made = self.run(values)
        results = [numbers(np.asarray(made[s.name])) for s in self.runner.outputs]
        if self.softmax:
            shifted = np.exp(results[0] - results[0].max(axis=1, keepdims=True))
            results = [shifted / shifted.sum(axis=1, keepdims=True)]
        return {s.name: value for s, value in zip(self.runner.outputs, results, strict=True)}


class Shown:
    """Runs a file as it is written, and ``rewritten`` once FIRST feeds have shown that it gives the same."""

    def __init__(self, written: Runner, rewritten: Runner) -> None:
        self._written, self._rewritten = written, rewritten
        self._left, self._same = FIRST, True

    def __call__(self, feeds: Feeds) -> Outputs:
        """Return the outputs of one feed."""
        if self._same and self._left == 0:
            return self._rewritten.infer(feeds)
        made = self._written.infer(feeds)
        if self._same:
            self._left -= 1
            self._same = _same(made, self._rewritten.infer(feeds))
        return made


def _same(made: Outputs, other: Outputs) -> bool:
    return all(
        value.shape == other[name].shape
        and np.allclose(
            other[name], value, rtol=0.0, atol=SAME * float(np.abs(value).max(initial=0))
        )
        for name, value in made.items()
    )


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
    with ExitStack() as opened:
        if module is not None:
            from edgeconv.runtimes.pytorch import open_module

            runner: Runner = open_module(
                module,
                list(shapes),
                [value.name for value in raw.graph.output],
                list(shapes.values()),
                input_dtypes=[dtypes.get(name, "float32") for name in shapes],
                threads=threads,
            )
            run = opened.enter_context(runner).infer
        else:
            from edgeconv.runtimes.onnxrt import open_model

            model = raw.SerializeToString()
            runner = opened.enter_context(open_model(model, threads=threads, optimize=False))
            run = runner.infer
            if count > 2 * FIRST:
                run = Shown(runner, opened.enter_context(open_model(model, threads=threads)))
        yield Reference(runner, run, embedded, softmax)
