"""PyTorch itself: the float reference, and a row of every table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, an
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import check_threads, first_line, picture_layout
from edgeconv.tensors import TensorSpec

if TYPE_CHECKING:
    import torch


def open_module(
    module: "torch.nn.Module",
    input_names: Sequence[str],
    output_names: Sequence[str],
    input_shapes: Sequence[Sequence[int]],
    *,
    input_dtypes: Sequence[str] | None = None,
    threads: int = 1,
    name: str = "pytorch",
) -> "TorchRunner":
    """Hold ``module`` open in eval mode; inputs go to ``forward`` in the order of ``input_names``.

    The module is run once on zeros to learn its outputs' shapes. It may return a tensor, a
    sequence or a mapping of tensors. ``threads`` is PyTorch's global setting while the runner is
    open. Raises EdgeconvError where the module fails or returns another number of outputs.
    """
    torch = require("torch", "torch")
    check_threads(threads)
    dtypes = input_dtypes or ["float32"] * len(input_names)
    inputs = tuple(
        TensorSpec(n, tuple(s), d, picture_layout(s, "nchw"))
        for n, s, d in zip(input_names, input_shapes, dtypes, strict=True)
    )
    return TorchRunner(torch, module, inputs, tuple(output_names), threads, name)


class TorchRunner(Closing):
    """A module in eval mode, without gradients. Rank-4 tensors are NCHW."""

    def __init__(
        self,
        torch: Any,
        module: "torch.nn.Module",
        inputs: tuple[TensorSpec, ...],
        output_names: tuple[str, ...],
        threads: int,
        name: str,
    ) -> None:
        self.name = name
        self.version: str = torch.__version__
        self.threads = threads
        self.inputs = inputs
        self._torch = torch
        self._model = type(module).__name__
        self._module: Any = module
        self._was_training = module.training
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(threads)
        module.eval()
        try:
            zeros = {s.name: np.zeros(s.shape, s.dtype) for s in inputs}
            results = self._arrays(zeros)
            if len(results) != len(output_names):
                raise EdgeconvError(
                    f"{self._model} returns {len(results)} outputs, not the"
                    f" {len(output_names)} named: {', '.join(output_names)}"
                )
        except BaseException:
            self.close()
            raise
        self.outputs = tuple(
            TensorSpec(n, a.shape, a.dtype.name, picture_layout(a.shape, "nchw"))
            for n, a in zip(output_names, results, strict=True)
        )

    def _arrays(self, feeds: Feeds) -> list[Any]:
        tensors = [self._torch.from_numpy(np.array(feeds[s.name])) for s in self.inputs]
        try:
            with self._torch.no_grad():
                result = self._module(*tensors)
        except Exception as error:  # a user's forward may raise anything
            held = _indices(feeds) if isinstance(error, IndexError) else ""
            raise EdgeconvError(f"{self._model} failed: {first_line(error)}{held}") from error
        return [tensor.detach().cpu().numpy() for _, tensor in named_tensors(self._model, result)]

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the module once."""
        check_feeds(self._model, self.inputs, feeds)
        names = (spec.name for spec in self.outputs)
        # a module may return its input or a view of a buffer; the result must outlive the next run
        return {n: np.array(a) for n, a in zip(names, self._arrays(feeds), strict=True)}

    def infer_joined(self, group: Sequence[Feeds]) -> list[Outputs]:
        """Run the module once on feeds joined along their first axis; return what it gives for each.

        Raises EdgeconvError where it fails, or its outputs are not as many times what one feed's are.
        """
        joined = {s.name: np.concatenate([feed[s.name] for feed in group]) for s in self.inputs}
        results = self._arrays(joined)
        if [a.shape for a in results] != [_times(len(group), s.shape) for s in self.outputs]:
            raise EdgeconvError(f"{self._model} does not give its outputs for each of a batch")
        names = [spec.name for spec in self.outputs]
        rows = zip(*(np.split(np.array(a), len(group)) for a in results), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def call(self, feeds: Feeds) -> PreparedCall:
        """Make tensors once; the call is the module's own."""
        check_feeds(self._model, self.inputs, feeds)
        tensors = [self._torch.from_numpy(np.array(feeds[s.name])) for s in self.inputs]
        module = self._module
        no_grad = self._torch.no_grad

        def run() -> object:
            with no_grad():
                return module(*tensors)

        return run

    def close(self) -> None:
        """Give the module its mode back, and PyTorch its threads."""
        if self._module is not None:
            self._torch.set_num_threads(self._threads_before)
            self._module.train(self._was_training)
            self._module = None


def _times(count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(count * size if axis == 0 else size for axis, size in enumerate(shape))


def named_tensors(model: str, result: Any) -> list[tuple[str, Any]]:
    """Return the tensors of what a module returned, nested or not, by name; None is left out.

    A tensor is "output", elements of a sequence get _0, _1 behind, those of a mapping their key.
    Raises EdgeconvError for anything else inside.
    """
    if hasattr(result, "detach"):
        return [("output", result)]
    if isinstance(result, (list, tuple)) and len(result) == 1:
        return named_tensors(model, result[0])
    found: list[tuple[str, Any]] = []
    for path, value in _leaves(result, ()):
        if not hasattr(value, "detach"):
            raise EdgeconvError(f"{model} returns {an(type(value).__name__)}, not tensors only")
        stem = () if isinstance(path[0], str) else ("output",)
        found.append(("_".join(map(str, (*stem, *path))), value))
    if not found:
        raise EdgeconvError(f"{model} returns no tensor")
    return found


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif value is not None:
        yield path or (0,), value


def _indices(feeds: Feeds) -> str:
    """Return what whole-number inputs hold, where an index of theirs may be beyond a table."""
    held = [
        f"input {name} holds {value.min()} to {value.max()}"
        for name, value in ((name, np.asarray(value)) for name, value in feeds.items())
        if value.dtype.kind in "iu" and value.size
    ]
    return f" ({', '.join(held)}; a table of n rows takes 0 to n - 1)" if held else ""
