"""Where a hop departs: every layer's error, inherited and its own.

Inherited: the artifact runs as it is, with its inner tensors exposed. Own: the artifact is severed
at every tensor that has a counterpart, and each piece is fed the reference's own inputs, so that what
is wrong behind it is its own doing. For INT8 the same severed run of the recipe in float says what a
sound kernel would give; the difference is counted in quanta.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MEAN_QUANTA = 0.75
"""Mean distance from the recipe in float beyond which a layer departs: a zero point that is off by
one gives 1; of the sound kernels, TFLite's builtin MEAN measures most, 0.51 (it rounds down)."""
BEYOND_SHARE = 0.002
"""Share of elements more than one quantum away beyond which it departs."""
PIECE_SHARE = 0.02
"""The same for a piece of several layers, where one rounding inside moves whole sums: sound ones
measure at most 0.006 (ShuffleNetV1's residual chains in mil-reference, half precision)."""
CHANNEL_QUANTA = 2.5
"""Mean distance of one channel beyond which it departs: in a wide layer one wrong channel is a small
share of all. Sound kernels measure at most 1.0 (the four nets in five runtimes)."""
FLOAT_ERROR = {"fp32": 1e-4, "fp16": 2e-2, "lowered": 1e-4}
"""Own error over the tensor's range beyond which a float layer departs."""
ROUNDING = {"fp32": 2.0**-20, "fp16": 2.0**-9, "lowered": 2.0**-20}
"""Own error over the largest value that is rounding all the same: a few units of the last place. A gate
that hardly moves has a range of that size."""


@dataclass(frozen=True)
class Layer:
    """Figures of one tensor of the reference graph and the node that makes it.

    SQNRs are in dB against the reference's tensor. ``damage`` is the layer's own noise power over
    the signal's. ``mean_quanta``, ``beyond_share`` (more than one quantum), ``max_quanta`` and
    ``channel_quanta`` (the mean of the worst channel) are the distance from the recipe in float; None
    where there is no recipe. ``rounding_sqnr_db`` is
    what the output's grid alone costs, ``clipped`` the share of elements outside its range,
    ``weight_sqnr_db`` the weights' own. ``together`` are nodes before it that could not be told apart.
    """

    tensor: str
    node: str
    op: str
    inherited_sqnr_db: float
    own_sqnr_db: float
    own_relative_error: float
    damage: float
    mean_quanta: float | None = None
    beyond_share: float | None = None
    max_quanta: float | None = None
    channel_quanta: float | None = None
    rounding_sqnr_db: float | None = None
    clipped: float | None = None
    weight_sqnr_db: float | None = None
    departs: bool = False
    together: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON data; infinite figures as text."""
        return {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }

    def __str__(self) -> str:
        said = f"{self.op} {self.node} (tensor {self.tensor})"
        if self.together:
            said += f", in one piece with {', '.join(self.together)}"
        if self.mean_quanta is not None and self.departs:
            share = 100 * (self.beyond_share or 0.0)
            return (
                f"{said}: {self.mean_quanta:.2f} quanta off the recipe on average, "
                f"{share:.1f} % of elements by more than one, at most {self.max_quanta:.0f}"
            )
        return f"{said}: own error {self.own_relative_error:.2e} of its range, own SQNR {self.own_sqnr_db:.1f} dB"


def layer_from_json(data: Mapping[str, Any]) -> Layer:
    """Read what Layer.to_json wrote."""
    texts = ("tensor", "node", "op")
    data = {**data, "together": tuple(data.get("together", ()))}
    values: dict[str, Any] = {
        key: float(value) if isinstance(value, str) and key not in texts else value
        for key, value in data.items()
    }
    return Layer(**values)


@dataclass(frozen=True)
class LayerReport:
    """The layers of one cell in execution order. ``unmatched`` tensors have no counterpart."""

    label: str
    layers: tuple[Layer, ...]
    pictures: int
    unmatched: tuple[str, ...] = ()

    @property
    def first(self) -> Layer | None:
        """The first layer that departs by its own doing."""
        return next((layer for layer in self.layers if layer.departs), None)

    def ranked(self, count: int = 5) -> list[Layer]:
        """Return the layers that do most damage: departing ones first, then by own noise."""
        order = sorted(self.layers, key=lambda layer: (not layer.departs, -layer.damage))
        return order[:count]

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "label": self.label,
            "pictures": self.pictures,
            "first": None if self.first is None else self.first.tensor,
            "layers": [layer.to_json() for layer in self.layers],
            "unmatched": list(self.unmatched),
        }


class Tally:
    """Sums over pictures for one tensor."""

    def __init__(self) -> None:
        self.signal = self.inherited = self.own = self.rounding = 0.0
        self.low, self.high, self.worst = math.inf, -math.inf, 0.0
        self.steps = self.most = 0.0
        self.by_channel: Array = np.zeros(1)
        self.beyond = self.count = self.clipped = 0
        self.simulated = False
        self.step: float | None = None

    def add(
        self,
        reference: Array,
        inherited: Array,
        own: Array,
        expected: Array | None,
        grid: tuple[float, float, float] | None,
        stored: Array | None = None,
    ) -> None:
        """Take one picture in. ``grid`` is (step, lowest, highest real value) of the tensor.

        ``stored`` is ``own`` on that grid, where the program holds it off the grid.
        """
        wide = reference.astype(np.float64)
        if grid is not None and grid[1] == 0.0:  # an unsigned grid is the ReLU that comes behind
            wide, inherited, own = (np.maximum(side, 0.0) for side in (wide, inherited, own))
        self.signal += float(np.square(wide).sum())
        self.inherited += float(np.square(wide - inherited).sum())
        self.own += float(np.square(wide - own).sum())
        self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))
        self.count += wide.size
        inside, held = wide, own
        if grid is not None:  # what the recipe clips is its choice, no fault of the layer
            inside, held = (np.clip(side, grid[1], grid[2]) for side in (wide, own))
        self.worst = max(self.worst, float(np.abs(inside - held).max()))
        if grid is None:
            return
        step = grid[0]
        self.step = step
        self.clipped += int((np.abs(wide - inside) > step / 2).sum())
        self.rounding += float(np.square(wide - np.rint(inside / step) * step).sum())
        if expected is not None:
            counted = own if stored is None else stored
            steps = np.abs(counted.astype(np.float64) - expected) / step
            self.simulated = True
            self.steps += float(steps.sum())
            self.beyond += int((steps > 1.5).sum())
            self.most = max(self.most, float(steps.max()))
            shape = (*steps.shape[:2], -1) if steps.ndim > 1 else (1, 1, -1)
            self.by_channel = self.by_channel + steps.reshape(shape).sum(axis=(0, 2))

    def layer(
        self,
        tensor: str,
        node: str,
        op: str,
        kind: str,
        weight: float | None,
        together: tuple[str, ...] = (),
    ) -> Layer:
        """Return the figures, and whether the layer departs."""
        spread = self.high - self.low
        relative = self.worst / spread if spread > 0 else (0.0 if self.worst == 0 else math.inf)
        if not math.isfinite(self.own):
            relative = math.inf
        found = Layer(
            tensor,
            node,
            op,
            _db(self.signal, self.inherited),
            _db(self.signal, self.own),
            relative,
            self.own / self.signal if self.signal > 0 else 0.0,
            weight_sqnr_db=weight,
            together=together,
        )
        if self.step is not None:
            found = replace(
                found,
                rounding_sqnr_db=_db(self.signal, self.rounding),
                clipped=self.clipped / self.count,
            )
        if self.simulated:
            mean, share = self.steps / self.count, self.beyond / self.count
            worst = float(self.by_channel.max()) * self.by_channel.size / self.count
            limit = PIECE_SHARE if together else BEYOND_SHARE
            sound = mean <= MEAN_QUANTA and share <= limit and worst <= CHANNEL_QUANTA
            return replace(
                found,
                mean_quanta=mean,
                beyond_share=share,
                max_quanta=self.most,
                channel_quanta=worst,
                departs=not sound,
            )
        least = ROUNDING.get(kind, 0.0) * max(abs(self.low), abs(self.high))
        rounded = math.isfinite(self.own) and self.worst <= least
        return replace(found, departs=not (rounded or relative <= FLOAT_ERROR.get(kind, 0.1)))


def _db(signal: float, noise: float) -> float:
    if math.isnan(noise) or math.isinf(noise):
        return -math.inf
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def weight_sqnr(real: Array, integers: Array, scales: Array, axis: int) -> float:
    """SQNR of dequantized weights against the float ones, in dB."""
    shape = [1] * real.ndim
    shape[axis] = -1
    wide = real.astype(np.float64)
    noise = wide - integers.astype(np.float64) * scales.astype(np.float64).reshape(shape)
    return _db(float(np.square(wide).sum()), float(np.square(noise).sum()))
