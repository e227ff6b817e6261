"""Where two kernel sets part: the same INT8 recipe in onnxruntime and in XNNPACK, layer by layer.

Each layer of both files is fed the same integers, those of onnxruntime's own run, so that a difference
is the layer's doing. The recipe's float run says what was rounded: how far from a tie, in quanta.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.parity.child import Job
from edgeconv.parity.layers.evidence import channel_orders, grids_of, held_tensors
from edgeconv.parity.layers.exposed import Reference
from edgeconv.parity.layers.one_picture import border
from edgeconv.parity.layers.opened import Opened
from edgeconv.parity.layers.openers import open_onnx, open_tflite
from edgeconv.parity.layers.surgery_onnx import made_by, rewire
from edgeconv.parity.simulate import simulated_model
from edgeconv.runtimes import litert
from edgeconv.runtimes.onnxrt import open_model

Array = NDArray[Any]


@dataclass
class Kernels:
    """Elements by operator: how many, how many differ, by how much, and how far from a tie they were."""

    elements: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    from_tie: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, Counter[str]] = field(default_factory=dict)

    def row(self, op: str) -> list[str]:
        """Return a table row of one operator; the last cell says in which nodes it differs most."""
        tie = f"{self.from_tie[op]:.1e}" if op in self.from_tie else ""
        worst = self.nodes.get(op, Counter()).most_common(3)
        where = ", ".join(f"{node}: {count}" for node, count in worst)
        return [op, str(self.elements[op]), str(self.differ[op]), str(self.most[op]), tie, where]

    @property
    def cause(self) -> str:
        """The operators that differ on the same inputs, the most elements first."""
        return ", ".join(op for op, count in self.differ.most_common() if count)


class Unrounded:
    """The recipe in float, each layer fed the same integers: values before their rounding."""

    def __init__(self, artifact: Artifact, tensors: list[str], opened: Opened) -> None:
        data, names = simulated_model(artifact)
        model = onnx.load_from_string(data)
        makers = made_by(model)
        self.before = {
            t: makers[names[t]].input[0]
            for t in tensors
            if t in names and names[t] in makers and makers[names[t]].op_type == "QuantizeLinear"
        }
        changed = rewire(model, [names[t] for t in tensors if t in names], sever=True)
        for name in self.before.values():
            changed.graph.output.append(onnx.ValueInfoProto(name=name))
        self.runner = open_model(changed.SerializeToString(), threads=1, optimize=False)
        self.names, self.codecs = names, opened.codecs

    def values(self, real: dict[str, Array]) -> dict[str, Array]:
        """Return each layer's real output before it is rounded to its grid."""
        fed = {n + "__fed": t for t, n in self.names.items()}
        feeds: dict[str, Array] = {}
        for spec in self.runner.inputs:
            tensor = fed.get(spec.name, spec.name)
            value = real[tensor]
            if spec.dtype == "uint8":
                grid = self.grids[tensor]
                steps = np.rint(value / np.float32(grid.scale)) + grid.zero_point + 128
                value = np.clip(steps, 0, 255)
            feeds[spec.name] = value.astype(spec.dtype)
        made = self.runner.infer(feeds)
        return {t: made[name] for t, name in self.before.items()}

    grids: dict[str, Any]


def compare_kernels(onnx_file: Path, tflite_file: Path, pictures: list[int]) -> Kernels:
    """Feed both files' layers the same integers on ``pictures`` and count what differs."""
    first, second = load_artifact(onnx_file), load_artifact(tflite_file)
    assert first is not None
    assert second is not None
    reference = Reference(first.evidence("prepared.onnx"), 1)
    grids = grids_of(first)
    a, b, both = opened_alike(first, second, reference)
    for side in (a, b):
        side.plan_codecs(reference.shapes, grids)
    unrounded = Unrounded(first, [t for t in both if t in grids], a)
    unrounded.grids = grids
    arrays = first.verification()
    hub = {k.removeprefix("input:"): v for k, v in arrays.items() if k.startswith("input:")}
    found = Kernels()
    for number, picture in enumerate(pictures):
        real = reference.run(hub, picture)
        borders, seen = [], []
        for side, artifact in ((a, first), (b, second)):
            assert side.exposed is not None
            job = Job(artifact.path, "", {}, Path(), input_specs=artifact.inputs)
            borders.append(border(side.exposed, job, hub, picture))
            seen.append(side.exposed.infer(borders[-1]))
            if number == 0:
                side.settle(real, seen[-1])
        real |= {t: a.codecs[t].decode(seen[0][a.outs[t]]) for t in both if t in grids}
        own = [
            side.severed.infer({**fed, **side.feeds(real)})
            for side, fed in zip((a, b), borders, strict=True)
        ]
        plain = unrounded.values(real)
        for tensor in both:
            if tensor in grids:
                pair = [
                    s.codecs[tensor].decode(o[s.outs[tensor]])
                    for s, o in zip((a, b), own, strict=True)
                ]
                tally(found, tensor, reference, grids[tensor].scale, pair, plain.get(tensor))
    return found


def tally(
    found: Kernels,
    tensor: str,
    reference: Reference,
    scale: float,
    pair: list[Array],
    plain: Array | None,
) -> None:
    """Count one layer on one picture."""
    node, op = reference.nodes[tensor]
    steps = np.abs(np.rint((pair[0] - pair[1]) / scale))
    apart = steps > 0
    found.elements[op] += steps.size
    if not apart.any():
        return
    found.nodes.setdefault(op, Counter())[node] += int(apart.sum())
    found.differ[op] += int(apart.sum())
    found.most[op] = max(found.most[op], int(steps.max()))
    if plain is not None and plain.shape == apart.shape:
        real = plain[apart].astype(np.float64) / scale
        away = np.abs(np.abs(real - np.floor(real)) - 0.5).max()
        found.from_tie[op] = max(found.from_tie.get(op, 0.0), float(away))


def opened_alike(
    first: Artifact, second: Artifact, reference: Reference
) -> tuple[Opened, Opened, list[str]]:
    """Open both files at the tensors that both hold."""
    order = [*reference.shapes.keys() - set(reference.tensors), *reference.tensors]
    maps = []
    for artifact in (first, second):
        held = held_tensors(artifact)
        maps.append({t: held[t]["name"] for t in order if t in held})
    shapes, orders = reference.shapes, channel_orders(first)
    data = first.path.read_bytes()

    def as_onnx(names: dict[str, str]) -> Opened:
        return open_onnx(data, names, shapes, open_model, orders=orders)

    wanted = {t: maps[1][t] for t in as_onnx(maps[0]).outs if t in maps[1]}
    b = open_tflite(second.path.read_bytes(), wanted, shapes, litert.open_model)
    a = as_onnx({t: maps[0][t] for t in b.outs})
    return a, b, [t for t in a.outs if t in b.outs]
