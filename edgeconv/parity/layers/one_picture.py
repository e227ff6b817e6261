"""One picture through reference, file and simulated recipe, and what each layer made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, match_names
from edgeconv.judge.run import placed
from edgeconv.parity.child import Job
from edgeconv.parity.layers.exposed import Reference
from edgeconv.parity.layers.figures import Tally
from edgeconv.parity.layers.opened import PROPORTIONAL, Infers, Opened
from edgeconv.tensors import Quantization

Array = NDArray[Any]


@dataclass(frozen=True)
class Run:
    """What one comparison of layers works with."""

    job: Job
    reference: Reference
    opened: Opened
    simulated: tuple[bytes, Opened] | None
    grids: Mapping[str, Quantization]
    hub: Mapping[str, Array]
    count: int


@dataclass(frozen=True)
class Pass:
    """One picture: real tensors, the file's own inputs, and the stored results of each run."""

    real: Mapping[str, Array]
    pictures: Mapping[str, Array]
    inherited: Mapping[str, Array]
    own: Mapping[str, Array]
    expected: Mapping[str, Array] | None

    def wanted(self, tensor: str, run: Run) -> Array | None:
        """Real values that the simulated recipe gives for ``tensor``, where it has one."""
        if run.simulated is None or self.expected is None:
            return None
        source = run.simulated[1]
        if tensor not in source.codecs:
            return None
        return source.codecs[tensor].decode(self.expected[source.outs[tensor]])


def one_pass(run: Run, picture: int) -> Pass:
    """Run reference, file and simulated recipe on one picture."""
    opened = run.opened
    real = run.reference.run(run.hub, picture)
    assert opened.exposed is not None
    pictures = border(opened.exposed, run.job, run.hub, picture)
    inherited = opened.exposed.infer(pictures)
    if picture == 0:
        opened.settle(real, inherited)
    own = opened.severed.infer({**pictures, **opened.feeds(real)})
    expected = None
    if run.simulated is not None:
        source = run.simulated[1]
        plain = {
            spec.name: np.asarray(real[spec.name], spec.dtype)
            for spec in source.severed.inputs
            if spec.name in real and spec.name not in source.feds.values()
        }
        expected = source.severed.infer({**plain, **source.feeds(real)})
    return Pass(real, pictures, inherited, own, expected)


def border(runner: Infers, job: Job, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
    """Return the file's own inputs for one picture."""
    specs = [placed(spec, job.input_specs, job.file_layout) for spec in runner.inputs]
    known = list(job.input_specs)
    if len(known) == len(specs):  # a rewired TFLite model has lost its signature's names
        specs = [replace(k, name=s.name) for k, s in zip(known, specs, strict=True)]
    names = match_names([spec.name for spec in specs], list(hub), "input")
    return {
        spec.name: adapt_inputs(
            np.asarray(hub[names[spec.name]][picture : picture + 1]), job.layout, spec
        )
        for spec in specs
    }


def rescale(run: Run) -> None:
    """Take equalised channels for what they are: the prepared INT8 graph holds them in other units."""
    for tolerance, own in zip(PROPORTIONAL, (False, True), strict=True):
        passes = [one_pass(run, picture) for picture in range(run.count)]
        seen = [(found.real, found.own if own else found.inherited) for found in passes]
        run.opened.rescale(seen, tolerance)


def tally_picture(run: Run, picture: int, tallies: Mapping[str, Tally]) -> None:
    """Add what one picture shows of every layer to ``tallies``, by reference tensor."""
    found = one_pass(run, picture)
    for tensor, codec in run.opened.codecs.items():
        out, grid = run.opened.outs[tensor], run.grids.get(tensor)
        limits = None
        if grid is not None:
            low, high = (grid.scale * (end - grid.zero_point) for end in (-128, 127))
            limits = (grid.scale, low, high)
        inherited, own = codec.decode(found.inherited[out]), codec.decode(found.own[out])
        wanted = found.wanted(tensor, run)
        tallies[tensor].add(found.real[tensor], inherited, own, wanted, limits, codec.snapped(own))
