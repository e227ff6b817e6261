"""Where the noise at the outputs comes from, by one backward pass: the noise map.

A random projection of the outputs has a gradient at every tensor; its product with what rounding does to that
tensor, summed over it, is how far the projection moves. The mean square over projections and pictures is the
tensor's noise, as if nothing else were rounded: errors of different tensors hardly know of each other. Those of a
tensor do: small values all become zero, and a mean over pixels does not make that less.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.quant.observe import Feeds
from edgeconv.export.twin.net import Twin
from edgeconv.recipe import Recipe

Shares = dict[str, NDArray[np.float64]]
"""Tensor -> what rounding each of its channels adds, as a share of the outputs' power."""
PROJECTIONS = 4


def noise_map(graph: Graph, recipe: Recipe, feeds: Feeds, *, seed: int = 0) -> Shares:
    """Return the noise of every stored tensor that is rounded; ``feeds`` are one sample each."""
    twin, channels, whole = Twin(graph, recipe), Shares(), dict[str, float]()
    generator = torch.Generator().manual_seed(seed)
    for feed in feeds:
        inputs = {name: torch.from_numpy(np.array(feed[name])) for name in graph.inputs}
        rounded: dict[str, torch.Tensor] = {}

        def keep(
            name: str, value: torch.Tensor, rounded: dict[str, torch.Tensor] = rounded
        ) -> torch.Tensor:
            if twin.rounds(name):
                rounded[name] = value if value.requires_grad else value.detach().requires_grad_()
                return rounded[name]
            return value

        made = twin.run(inputs, integer=False, keep=keep)
        errors = {name: twin.error(name, value) for name, value in rounded.items()}
        outputs = [value / max(_power(value), 1e-30) ** 0.5 for value in made.values()]
        for turn in range(PROJECTIONS):
            projected = torch.zeros(())
            for value in outputs:
                if value.requires_grad:
                    direction = torch.randn(value.shape, generator=generator)
                    projected = projected + (value * direction).sum()
            if not projected.requires_grad:
                continue
            gradients = torch.autograd.grad(
                projected, list(rounded.values()), retain_graph=turn + 1 < PROJECTIONS,
                allow_unused=True,
            )  # fmt: skip
            for (name, error), gradient in zip(errors.items(), gradients, strict=True):
                if gradient is not None:
                    moved = _by_channel(gradient * error)
                    channels[name] = channels.get(name, np.zeros(len(moved))) + moved**2
                    whole[name] = whole.get(name, 0.0) + float(moved.sum()) ** 2
    count = PROJECTIONS * len(feeds) * len(graph.outputs)
    return {
        name: each * (whole[name] / max(float(each.sum()), 1e-30) / count)
        for name, each in channels.items()
    }


def _power(value: torch.Tensor) -> float:
    return float((value.detach().double() ** 2).sum())


def _by_channel(value: torch.Tensor) -> NDArray[np.float64]:
    """Return the sum of each channel, the second axis; of a lower rank of all together."""
    if value.ndim < 2:
        return np.array([float(value.double().sum())])
    found: NDArray[np.float64] = (
        value.double().sum([a for a in range(value.ndim) if a != 1]).numpy()
    )
    return found
