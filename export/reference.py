"""The float reference: PyTorch for a module, onnxruntime without optimisation for a file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import numbers
from edgeconv.artifact import Preprocessing
from edgeconv.runtimes.base import Runner

if TYPE_CHECKING:
    import onnx
    import torch

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reference:
    """An open float model that takes what the hub graph takes, and gives its outputs in their order.

    Embedded preprocessing and an appended softmax are done here in numpy, apart from the graph
    passes that do them in the files: they are part of what is verified.
    """

    runner: Runner
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
        made = self.runner.infer(values)
        results = [numbers(np.asarray(made[s.name])) for s in self.runner.outputs]
        if self.softmax:
            shifted = np.exp(results[0] - results[0].max(axis=1, keepdims=True))
            results = [shifted / shifted.sum(axis=1, keepdims=True)]
        return {s.name: value for s, value in zip(self.runner.outputs, results, strict=True)}


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
) -> Iterator[Reference]:
    """Open the reference; ``dtypes`` names the types of inputs that are not float32."""
    if module is not None:
        from edgeconv.runtimes.pytorch import open_module

        names = [value.name for value in raw.graph.output]
        runner: Runner = open_module(
            module,
            list(shapes),
            names,
            list(shapes.values()),
            input_dtypes=[dtypes.get(name, "float32") for name in shapes],
            threads=threads,
        )
    else:
        from edgeconv.runtimes.onnxrt import open_model

        runner = open_model(raw.SerializeToString(), threads=threads, optimize=False)
    with runner:
        yield Reference(runner, embedded, softmax)
