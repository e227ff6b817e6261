"""The first batch norm of a net: the statistics that it stored, and what reaches it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.pictures import to_input

if TYPE_CHECKING:
    import onnx
    import torch

Array = NDArray[Any]


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each channel of the first batch norm's input."""

    mean: Array
    variance: Array

    def divergence(self, stored: "Moments") -> float:
        """Return the Kullback-Leibler divergence from the ``stored`` normal distributions.

        In nats, the median over channels: a channel that died in training has no statistics.

        >>> here = Moments(np.array([0.0]), np.array([1.0]))
        >>> here.divergence(here), round(Moments(np.array([1.0]), np.array([1.0])).divergence(here), 3)
        (0.0, 0.5)
        """
        return float(np.median(self.divergences(stored)))

    def divergences(self, stored: "Moments") -> Array:
        """Return the divergence of each channel, in nats."""
        spread = (self.variance + 1e-12) / (stored.variance + 1e-12)
        shift = np.square(self.mean - stored.mean) / (stored.variance + 1e-12)
        found: Array = 0.5 * (spread + shift - 1.0 - np.log(spread))
        return found


@dataclass(frozen=True)
class FirstNorm:
    """Stored statistics, ``run`` from one input (1, ``channels``, H, W) to what the norm is fed."""

    stored: Moments
    run: Callable[[Array], Array]
    channels: int

    def sums(self, pixels: Sequence[Array], how: Preprocessing) -> Array:
        """Return mean and mean square of each channel at the norm, (pictures, 2, channels).

        ``pixels`` are (H, W, 3), prepared by ``how``.
        """
        rows = []
        for picture in pixels:
            seen = self.run(to_input(picture, how, self.channels))
            flat = np.moveaxis(seen, 1, 0).reshape(seen.shape[1], -1).astype(np.float64)
            rows.append(np.stack([flat.mean(axis=1), np.square(flat).mean(axis=1)]))
        return np.stack(rows)


def moments(sums: Array) -> Moments:
    """Return the moments over all pictures of FirstNorm.sums."""
    mean, square = sums.mean(axis=0)
    return Moments(mean, np.maximum(square - np.square(mean), 0.0))


FAR = 0.05
"""Divergence in nats a channel up to which statistics fit: what a net was trained with is 0.03 off at most, over the
same kind of pictures, and 0.04 in the mean over channels where they are of some of its classes alone."""
NEAR, BY_FAR = 3 * FAR, 20.0
"""So far off may be what is claimed to be better where what is done is so many times farther: pictures of other things
than those that a net was trained on come near to a wrong scaling, or a wrong order, but not by as much."""


def surely_better(present: float, other: float, times: float) -> bool:
    """Whether statistics ``other`` nats off fit, and those ``present`` nats off do not and are ``times`` as far.

    >>> surely_better(0.4, 0.01, 4.0), surely_better(0.04, 0.001, 4.0), surely_better(0.6, 0.1, 4.0)
    (True, False, False)
    """
    fits = other <= FAR or (other <= NEAR and present >= BY_FAR * other)
    return fits and present > max(FAR, times * other)


class _Reached(Exception):  # noqa: N818 - it is no error: the rest of the net is not needed
    """Carries what reached the first batch norm."""


def module_norm(module: "torch.nn.Module") -> FirstNorm | None:
    """Return the batch norm that a module runs first; None where it has none, or none is reached."""
    import torch

    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    first = next((m for m in module.modules() if isinstance(m, torch.nn.Conv2d)), None)
    if not norms or first is None or first.in_channels not in (1, 3):
        return None

    def stop(norm: Any, given: Any) -> None:
        raise _Reached(norm, given[0].detach().numpy())

    def reach(value: Array) -> tuple[Any, Array]:
        handles = [norm.register_forward_pre_hook(stop) for norm in norms]
        try:
            with torch.no_grad():
                module(torch.from_numpy(value))
        except _Reached as reached:
            norm, seen = reached.args
            return norm, seen
        finally:
            for handle in handles:
                handle.remove()
        return None, np.zeros((0, 0), np.float32)

    norm, _ = reach(np.zeros((1, first.in_channels, 64, 64), np.float32))
    if norm is None or norm.running_mean is None:
        return None
    stored = Moments(norm.running_mean.double().numpy(), norm.running_var.double().numpy())
    return FirstNorm(stored, lambda value: reach(value)[1], first.in_channels)


def onnx_norm(model: "onnx.ModelProto | None") -> FirstNorm | None:
    """Return the first BatchNormalization of an .onnx model whose statistics are constants."""
    if model is None or len(model.graph.input) == 0:
        return None
    import onnx
    from onnx import numpy_helper

    from edgeconv.runtimes.onnxrt import open_model

    constants = {item.name: item for item in model.graph.initializer}
    node = next((n for n in model.graph.node if n.op_type == "BatchNormalization"), None)
    fed = [value.name for value in model.graph.input if value.name not in constants]
    if node is None or len(fed) != 1 or any(name not in constants for name in node.input[3:5]):
        return None
    stored = Moments(
        *(numpy_helper.to_array(constants[n]).astype(np.float64) for n in node.input[3:5])
    )
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    del cut.graph.output[:]
    cut.graph.output.add().name = node.input[0]
    last = list(model.graph.node).index(node)
    del cut.graph.node[last:]
    runner = open_model(cut.SerializeToString(), optimize=False)
    spec = runner.inputs[0]
    if len(spec.shape) != 4 or spec.shape[1] not in (1, 3) or spec.shape[0] != 1:
        return None

    def run(value: Array) -> Array:
        return runner.infer({spec.name: value.astype(spec.dtype)})[node.input[0]]

    return FirstNorm(stored, run, spec.shape[1])
