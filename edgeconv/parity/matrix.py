"""Run every cell on the same inputs, compare each with the float reference and the hop before it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names
from edgeconv.errors import EdgeconvError
from edgeconv.evaluate.box_parity import BoxParity
from edgeconv.evaluate.held import boxes_held, hardly_any, lost_boxes
from edgeconv.evaluate.hints import truth_hints
from edgeconv.judge.budget import DEFAULTS, Budget, defaults_for, held_in
from edgeconv.judge.labels import Margins
from edgeconv.judge.measures import Figures
from edgeconv.judge.outputs import Outputs
from edgeconv.judge.verdict import Verdict, compare, no_integers
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import Job
from edgeconv.parity.facts import verified_on
from edgeconv.parity.latency import Latency
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.rows import common
from edgeconv.tensors import Layout

Array = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """What every cell is fed: hub input -> (pictures, ...), their names, truth and where from.

    ``skipped`` names pictures that could not be read, each with the reason; ``labels`` the classes;
    ``exported`` is the hash of an export's verification pictures where they are all of those, ``prepared`` how
    pictures became the inputs, ``told`` what said the truth, ``frozen`` what inputs hold that the hub
    has as constants, ``rows`` where they stood among the ``of`` that there were to choose from.
    """

    inputs: Mapping[str, Array]
    names: tuple[str, ...] = ()
    truth: NDArray[np.int64] | None = None
    layout: Layout = "nchw"
    source: str = ""
    skipped: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    exported: str | None = None
    prepared: str | None = None
    told: str | None = None
    frozen: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[int] = ()
    of: int = 0

    @property
    def count(self) -> int:
        """Number of samples."""
        return min((len(array) for array in self.inputs.values()), default=0)


@dataclass(frozen=True)
class Settings:
    """How cells run and are judged. ``class_offset`` and ``file_layout`` hold for foreign files."""

    budgets: Mapping[str, Budget] = field(default_factory=lambda: dict(DEFAULTS))
    threads: int = 1
    class_offset: int = 0
    file_layout: Layout | None = None
    scores: Collection[str] | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Row:
    """One cell's result: outputs and verdicts, or the sentence that says why there are none.

    ``verdict`` is against the reference, ``step`` against ``before``, the hop before; ``boxes`` are a detector's.
    """

    label: str
    stage: str
    title: str
    outputs: Outputs | None = None
    error: str | None = None
    verdict: Verdict | None = None
    before: str | None = None
    step: Verdict | None = None
    layers: LayerReport | None = None
    latency: Latency | None = None
    advice: tuple[str, ...] = ()
    boxes: BoxParity | None = None

    @property
    def integer(self) -> bool:
        """Whether it is about a recipe: two questions are asked of it."""
        return self.stage in ("recipe", "int8")

    @property
    def figures(self) -> Mapping[str, Figures]:
        """Every figure against the reference, by output, whether its budget holds or not."""
        return {} if self.verdict is None else self.verdict.figures

    @property
    def ok(self) -> bool:
        """Whether the cell ran, is within budget against the reference, and no layer departs."""
        sound = self.layers is None or self.layers.first is None
        return self.error is None and bool(self.verdict) and sound

    @property
    def departs(self) -> bool:
        """Whether the cell fails against the hop before it, or one of its layers does."""
        if self.layers is not None and self.layers.first is not None:
            return True
        judged = self.step if self.step is not None else self.verdict
        return self.error is None and judged is not None and not judged


@dataclass(frozen=True)
class Matrix:
    """All rows in hop order. ``latency`` is the reference's, ``failed`` the notes on what was not done."""

    reference: Outputs
    rows: tuple[Row, ...]
    samples: Samples
    notes: tuple[str, ...] = ()
    latency: Latency | None = None
    failed: tuple[str, ...] = ()

    @property
    def first_departure(self) -> Row | None:
        """The first row that departs from the hop before it, where a verdict was missed.

        Where every row is within budget against the reference, no hop is to blame for anything.
        """
        if all(row.ok for row in self.rows if row.error is None):
            return None
        return next((row for row in self.rows if row.departs), None)

    @property
    def exit_code(self) -> int:
        """0 fine; 1 a cell failed, or its layers, or a picture was not read; 3 a budget was missed."""
        if any(row.error is None and not row.ok for row in self.rows):
            return 3
        undone = self.samples.skipped or self.failed
        return 1 if undone or any(row.error for row in self.rows) else 0

    def __bool__(self) -> bool:
        return self.exit_code == 0


def job_for(
    cell: Cell, feeds: Mapping[str, Path], samples: Samples, settings: Settings, out: Path
) -> Job:
    """Return the child's job for one cell."""
    own = cell.artifact if cell.stage in PRECISIONS else None
    foreign = cell.artifact is None and cell.stage in PRECISIONS
    return Job(
        cell.path,
        cell.runtime,
        feeds,
        out,
        cell.options,
        settings.threads,
        samples.layout,
        own.inputs if own else (),
        own.outputs if own else (),
        settings.file_layout if foreign else None,
        _judged_on(cell, samples),
        samples.frozen,
    )


def _judged_on(cell: Cell, samples: Samples) -> int | None:
    """Return on how many of its own pictures an export judged a file; None where they are others, or what runs is no file of it."""
    if cell.artifact is None or cell.stage not in PRECISIONS:
        return None
    if samples.exported is None or verified_on(cell.artifact) != samples.exported:
        return None
    pictures = (cell.artifact.manifest.get("verification") or {}).get("pictures")
    return None if pictures is None else int(pictures)


def judge(
    results: Sequence[tuple[str, Outputs | str, Mapping[str, Any]]],
    reference: Outputs,
    samples: Samples,
    settings: Settings,
    notes: Sequence[str] = (),
) -> Matrix:
    """Compare results, (label, outputs or error, about), with the reference and the hops before.

    Works on stored outputs as well as on fresh ones.
    """
    by_label = {label: found for label, found, _ in results if isinstance(found, Outputs)}
    rows = []
    for label, found, about in results:
        stage, title = str(about.get("stage", "fp32")), str(about.get("title", label))
        before = about.get("before")
        if isinstance(found, str):
            rows.append(Row(label, stage, title, error=found, before=before))
            continue
        floor = _promised(found, by_label) if stage == "int8" else None
        try:
            own = str(about.get("kind") or found.about.get("kind") or "fp32")
            wanted, got = common(reference, found)[1]
            boxes = boxes_held(wanted, got, samples.inputs, samples.layout)
            verdict = _against(reference, found, own, samples, settings, floor, boxes)
            earlier = by_label.get(str(before))
            step = None
            if earlier is not None:
                same = stage == "int8" and earlier.about.get("stage") in ("recipe", "int8")
                kind = "kernels" if same else own  # the same integers in other arithmetic
                step = _against(earlier, found, kind, samples, settings, None)
        except EdgeconvError as error:
            rows.append(Row(label, stage, title, found, str(error), before=before))
            continue
        rows.append(Row(label, stage, title, found, None, verdict, before, step, boxes=boxes))
    doubts = [text for found in by_label.values() for text in found.about.get("doubts", ())]
    said = (*notes, *dict.fromkeys(doubts), *_reference_notes(reference, samples))
    return Matrix(reference, tuple(rows), samples, said)


def _reference_notes(reference: Outputs, samples: Samples) -> list[str]:
    """Return what looks wrong about the pictures and the true classes, by what the reference gives."""
    if reference.about.get("weights") == "random":
        return []
    unseen = hardly_any(reference.arrays, samples.inputs, samples.layout)
    said = truth_hints(reference.arrays, samples.truth, samples.labels)
    return [*filter(None, [unseen]), *said]


def _promised(found: Outputs, by_label: Mapping[str, Outputs]) -> Outputs | None:
    """Return the outputs of the recipe that ``found`` was made from, by the hops before it."""
    before = by_label.get(str(found.about.get("before")))
    for _ in by_label:  # saved outputs may name each other in a circle
        if before is None or before.about.get("stage") == "recipe":
            return before
        before = by_label.get(str(before.about.get("before")))
    return None


def _budget(kind: str, reference: Outputs, other: Outputs, settings: Settings) -> Budget:
    """Return the user's budget, or the default for what the reference's weights are and what ran the other."""
    own = settings.budgets[kind]
    if own is not DEFAULTS[kind]:
        return own
    usual = defaults_for(reference.about.get("weights"))[kind]
    usual = held_in(usual, other.about.get("runtime"), other.about.get("variant", ""))
    return replace(usual, outputs=halves) if (halves := other.about.get("halves")) else usual


def _against(
    reference: Outputs,
    other: Outputs,
    kind: str,
    samples: Samples,
    settings: Settings,
    floor: Outputs | None,
    boxes: BoxParity | None = None,
) -> Verdict:
    offset = settings.class_offset
    names = match_names(list(reference.arrays), list(other.arrays), "output")
    # a file knows a scale by its own output name, an export's manifest by the reference's
    known = {n: (n if n in other.scales else theirs) for n, theirs in names.items()}
    scales = {n: other.scales[own] for n, own in known.items() if own in other.scales}
    floors = () if floor is None else (floor,)
    shared, (expected, got, *promised) = common(reference, other, *floors)
    own = int(other.about.get("class_offset", offset if other.about.get("foreign") else 0))
    base = int(reference.about.get("class_offset", offset if reference.about.get("foreign") else 0))
    wanted = {n: a[:, base:] if base and a.ndim > 1 else a for n, a in expected.items()}
    return compare(
        wanted,
        got,
        budget=(budget := _budget(kind, reference, other, settings)),
        truth=None if samples.truth is None else samples.truth[shared],
        scales=scales,
        floor=promised[0] if promised else None,
        class_offset=own,
        scores=settings.scores,
        cuts=reference.about.get("cuts"),
        whole=reference.about.get("whole"),
        margins={
            n: Margins(reference.margins[n][shared], widest)
            for n, widest in (other.about.get("explained") or {}).items()
            if n in reference.margins
        },
        fed=samples.inputs,
        found=(*no_integers(kind, other.about.get("file") or {}), *lost_boxes(budget, boxes)),
    )
