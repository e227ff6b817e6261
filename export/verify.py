"""Every artifact, re-read from disk, against the float reference; and the stage that departs first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.adapt import match_names
from edgeconv.ahead import Tick
from edgeconv.evaluate.box_parity import BoxParity
from edgeconv.evaluate.held import boxes_held, lost_boxes
from edgeconv.export.feeds import Chosen, Mixed
from edgeconv.export.graph import Graph
from edgeconv.export.hub.decisions import decisions, opened
from edgeconv.export.kinds import Precision
from edgeconv.export.margins import Scores, score_noise
from edgeconv.export.reference import Arrays, Reference
from edgeconv.judge.budget import HALVES, Limits, defaults_for, held_in
from edgeconv.judge.labels import Margins
from edgeconv.judge.measures import Figures
from edgeconv.judge.parts import Cuts
from edgeconv.judge.run import all_placed, as_rows, run_feeds
from edgeconv.judge.text import to_json
from edgeconv.judge.verdict import Verdict, compare, no_integers
from edgeconv.judge.whole import Whole
from edgeconv.recipe import Recipe
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.probe import TIMEOUT_S, EarlyProbe
from edgeconv.samples import Feed, unit_of
from edgeconv.spread import places, spread, spread_rows
from edgeconv.tensors import TensorSpec

MAX_BYTES = 256 << 20  # reference outputs held in memory


@dataclass(frozen=True)
class FileVerdict:
    """What was found for one artifact, on how many pictures of how many (``unit``: if they are any), in which runtime.

    ``explained`` is the widest margin that a sound file may turn, by output of labels; ``steps`` are
    the quanta that the outputs were held to, ``halves`` the limits that half precision sets on this net.
    """

    runtime: str
    pictures: int
    of: int
    verdict: Verdict
    integer: bool = False
    boxes: BoxParity | None = None
    explained: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    unit: str = "picture"
    halves: Mapping[str, Limits] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.verdict)

    @property
    def figures(self) -> Mapping[str, Figures]:
        """Every figure by output."""
        return self.verdict.figures

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's ``verification``."""
        data = {"runtime": self.runtime, "pictures": self.pictures, **to_json(self.verdict)}
        data["steps"] = dict(self.steps)
        if self.explained:
            data["explained"] = dict(self.explained)
        if self.halves:
            data["halves"] = {place: dict(own) for place, own in self.halves.items()}
        return data if self.boxes is None else {**data, "boxes": self.boxes.to_json()}


@dataclass(frozen=True)
class Expected:
    """Verification feeds, the reference's outputs for them, stacked, and the true classes if known.

    ``cuts`` are the parts of the outputs that the graph shows, ``whole`` what it shows of whole numbers;
    ``scores`` are those behind outputs of labels; ``samples`` says of each row which of those to verify on it is.
    """

    feeds: Sequence[Feed]
    outputs: Arrays
    truth: NDArray[np.int64] | None
    cuts: Cuts | None = None
    whole: Mapping[str, Whole] | None = None
    scores: Mapping[str, Scores] = field(default_factory=dict)
    samples: Sequence[int] = ()

    @property
    def count(self) -> int:
        """How many samples there are: rows of the outputs."""
        return len(next(iter(self.outputs.values()), ()))

    def spread(self, count: int) -> "Expected":
        """Return ``count`` feeds with their outputs, evenly spread: pictures may lie sorted by class."""
        outputs = {name: self.rows(a, count) for name, a in self.outputs.items()}
        truth = None if self.truth is None else self.rows(self.truth, count)
        scores = {
            n: Scores(self.rows(s.values, count), self.rows(s.margins, count))
            for n, s in self.scores.items()
        }
        feeds = spread(self.feeds, count)
        return replace(self, feeds=feeds, outputs=outputs, truth=truth, scores=scores)

    def rows(self, array: NDArray[Any], count: int) -> NDArray[Any]:
        """Return what belongs to ``count`` spread feeds of an output of all of them, (rows, ...)."""
        each = len(array) // len(self.feeds)
        chosen: NDArray[Any] = array[spread_rows(len(array), each, count)]
        return chosen


def expect(
    reference: Reference,
    feeds: Sequence[Feed],
    truth: Sequence[int | None],
    tick: Tick,
) -> Expected:
    """Run the reference over ``feeds``, as many of them, spread, as MAX_BYTES holds the outputs of.

    Raises EdgeconvError naming an output that is not finite.
    """
    rows: dict[str, list[NDArray[Any]]] = {s.name: [] for s in reference.runner.outputs}
    whole, made = feeds, reference.infer(feeds)
    batch = next((len(value) for value in feeds[0].values() if value.ndim), 1)
    first = next(made)
    most = max(1, MAX_BYTES // max(1, sum(value.nbytes for value in first.values())))
    chosen, made = places(len(whole), most), chain((first,), made)
    if len(chosen) < len(whole):
        feeds = Chosen(whole, chosen)
        made = reference.infer(feeds)
    for index, outputs in enumerate(made, 1):
        for name, value in outputs.items():
            metrics.check_finite(f"{name} of the float reference", value)
            rows[name].append(as_rows(value, batch))
        tick(index / len(feeds))
    stacked = {name: np.concatenate(values) for name, values in rows.items()}
    size = len(next(iter(stacked.values()), ())) // len(feeds)
    samples = [
        s for p in chosen for s in (whole.samples(p) if isinstance(whole, Mixed) else [p] * size)
    ]
    known = [t for t in (truth[sample] for sample in samples) if t is not None]
    classes = np.array(known, np.int64) if len(known) == len(samples) else None
    return Expected(feeds, stacked, classes, samples=samples)


@dataclass(frozen=True)
class Promise:
    """What a recipe gives in float arithmetic, and its steps by output: an INT8 file is held to that.

    ``noise`` is what it adds to the scores behind an output of labels.
    """

    outputs: Arrays
    scales: Mapping[str, float]
    noise: Mapping[str, float] = field(default_factory=dict)


def promised(
    graph: Graph,
    recipe: Recipe,
    expected: Expected,
    threads: int,
    tick: Tick = lambda _: None,
    free: bool = False,
) -> Promise:
    """Run ``recipe`` in float arithmetic over the feeds; ``free``: as a file without zero points rounds."""
    from edgeconv.export.hub.onnx_io import save_model
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.runtimes.onnxrt import open_model

    def feeds() -> Iterator[Feed]:
        for index, feed in enumerate(expected.feeds):
            tick(index / len(expected.feeds))
            yield feed

    decided = decisions(graph) if expected.scores else {}
    whole = opened(graph, decided)
    model = save_model(emit_qdq(whole, recipe, io="float", free=free).model)
    with open_model(model, threads=threads, integers=False) as runner:
        outputs, _ = run_feeds(runner, feeds(), runner.inputs, runner.outputs)
    known = recipe.activations
    scales = {name: float(known[name].scale) for name in graph.outputs if name in known}
    given = {name: outputs[name] for name in graph.outputs}
    return Promise(given, scales, score_noise(outputs, decided, expected.scores))


def verify_file(
    path: Path,
    precision: Precision,
    borders: tuple[Sequence[TensorSpec], Sequence[TensorSpec]],
    expected: Expected,
    threads: int,
    promise: Promise | None = None,
    stats: Mapping[str, Any] | None = None,
    weights: object = None,
    most: int | None = None,
    probe: EarlyProbe | None = None,
    halves: Callable[[Expected], Mapping[str, Limits]] | None = None,
) -> FileVerdict:
    """Open ``path`` in its runtime, run the feeds, ``most`` of them at most, and judge the outputs.

    ``borders`` are the file's inputs and outputs as it was written; ``promise`` is what its
    recipe promises; ``stats`` are what was counted in the file and ``weights`` says what the net's are.
    ``probe`` is a child that opens and runs it first. ``halves`` says what half precision sets of HALVES on this
    net, and is asked where the default limits are missed.
    """
    few = expected if most is None else expected.spread(most)
    if probe is not None:
        probe.result(TIMEOUT_S)
    with open_runner(path, threads=threads) as runner:
        inputs = all_placed(runner.inputs, borders[0])
        outputs = all_placed(runner.outputs, borders[1])
        got, _ = run_feeds(runner, few.feeds, inputs, outputs)
        runtime = f"{runner.name} {runner.version}"
    steps = {s.name: s.quantization.scale for s in outputs if s.quantization is not None}
    names = match_names(list(expected.outputs), list(got), "output")
    steps |= {names[n]: step for n, step in promise.scales.items() if n in names} if promise else {}
    held = {name: steps[own] for name, own in names.items() if own in steps}
    explained = explained_margins(expected, precision, promise)
    floor = None
    if promise is not None:  # of all samples, where a slow runtime ran some
        ran = len(few.feeds)
        floor = {n: expected.rows(a, ran) for n, a in promise.outputs.items() if n in names}
    boxes = boxes_held(few.outputs, got, few.feeds[0] if few.feeds else {})
    budget = held_in(defaults_for(weights)[precision], runner.name)
    judge = partial(
        compare,
        few.outputs,
        got,
        truth=few.truth,
        scales=held,
        floor=floor,
        cuts=expected.cuts,
        whole=expected.whole,
        margins={n: Margins(few.scores[n].margins, widest) for n, widest in explained.items()},
        fed=few.feeds[0],
        found=(*no_integers(precision, stats or {}), *lost_boxes(budget, boxes)),
    )
    verdict = judge(budget=budget)
    own: Mapping[str, Limits] = {}
    if halves is not None and any(finding.metric in HALVES for finding in verdict.missed):
        own = halves(few)
        verdict = judge(budget=replace(budget, outputs=own))
    unit, counts = unit_of(few.feeds[0]), (few.count, expected.count)
    return FileVerdict(
        runtime, *counts, verdict, precision == "int8", boxes, explained, held, unit, own
    )


def explained_margins(
    expected: Expected, precision: Precision, promise: Promise | None
) -> dict[str, float]:
    """Return by output of labels the widest margin that a sound file of ``precision`` may turn."""
    noise = {} if promise is None else promise.noise
    found = {n: s.explained(precision, noise.get(n)) for n, s in expected.scores.items()}
    return {name: widest for name, widest in found.items() if widest is not None}
