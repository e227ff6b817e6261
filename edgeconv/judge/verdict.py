"""Compare two sets of outputs and say what was found: the verdict."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names
from edgeconv.judge.budget import DEFAULTS, Budget
from edgeconv.judge.classes import OF_CLASSES, check_classes, refuse_truth
from edgeconv.judge.context import Context
from edgeconv.judge.doubts import doubts_of, is_open
from edgeconv.judge.labels import Margins
from edgeconv.judge.measure import measure
from edgeconv.judge.measures import MEASURES, PART_MEASURES, Figures, show
from edgeconv.judge.parts import Cuts, Part, find_parts
from edgeconv.judge.scores import holds_scores, unread
from edgeconv.judge.whole import MANY, Whole, whole_kind
from edgeconv.terminal import unlike

Array = NDArray[Any]
NO_INTEGERS, BOXES = "int8_compute", ("boxes_kept", "boxes_kept_high")
"""What findings are about that no output's figure tells: an INT8 file that computes in float, or loses a detector's boxes."""


@dataclass(frozen=True)
class Finding:
    """One figure of one output, or of a ``part`` of it, against its limit.

    ``got`` is NaN where a value was not finite.
    """

    output: str
    metric: str
    got: float
    wanted: float
    ok: bool
    why: str = ""
    part: str = ""

    @property
    def place(self) -> str:
        """The output, and its part where it is about one."""
        return f"{self.output}, {self.part}" if self.part else self.output

    @property
    def about_recipe(self) -> bool:
        """Whether it asks if the recipe is good enough, not if the file is what it promises."""
        return self.metric in MEASURES and MEASURES[self.metric].asks == "recipe"

    def __str__(self) -> str:
        if self.why:
            return self.why
        bound = "at least" if MEASURES[self.metric].better == "high" else "at most"
        got, wanted = show(self.metric, self.got), show(self.metric, self.wanted)
        if got == wanted and not self.ok:
            got = unlike(self.got, float(wanted), MEASURES[self.metric].form)
        return f"{self.place}: {self.metric} is {got}, wanted {bound} {wanted}"


@dataclass(frozen=True)
class Verdict:
    """Truthy where every limit holds; prints what missed; ``figures`` has everything measured.

    ``parts`` are the figures of parts, by output and part; ``doubts`` say what too few samples leave
    open.
    """

    findings: tuple[Finding, ...]
    figures: Mapping[str, Figures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def missed(self) -> tuple[Finding, ...]:
        """The findings that do not hold."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def converted(self) -> bool:
        """Whether the file is what its recipe (or its float graph) promises."""
        return all(finding.ok for finding in self.findings if not finding.about_recipe)

    @property
    def good_enough(self) -> bool:
        """Whether what the recipe costs the net is within its limits."""
        return all(finding.ok for finding in self.findings if finding.about_recipe)

    @property
    def blames_recipe(self) -> bool:
        """Whether the recipe itself is too coarse, not a file that departs from one which would do."""
        if self.converted:
            return not self.good_enough
        return any(
            finding.got + self.places[finding.output, finding.part].get("below_floor_db", 0.0)
            < finding.wanted
            for finding in self.missed
            if finding.metric in ("sqnr_db", "sqnr_centred_db")
        )

    @property
    def places(self) -> Mapping[tuple[str, str], Figures]:
        """Figures by (output, part), those of whole outputs with the part ``""``."""
        found: dict[tuple[str, str], Figures] = {}
        for output, figures in self.figures.items():
            found[output, ""] = figures
            found |= {(output, part): f for part, f in self.parts.get(output, {}).items()}
        return found

    def __str__(self) -> str:
        if self:
            return f"within budget ({len(self.findings)} limits)"
        return "; ".join(str(finding) for finding in self.missed)


def compare(
    reference: Mapping[str, Array],
    other: Mapping[str, Array],
    *,
    budget: Budget | None = None,
    truth: NDArray[np.integer[Any]] | None = None,
    scales: Mapping[str, float] | None = None,
    floor: Mapping[str, Array] | None = None,
    class_offset: int = 0,
    scores: Collection[str] | None = None,
    cuts: Cuts | None = None,
    whole: Mapping[str, Whole] | None = None,
    margins: Mapping[str, Margins] | None = None,
    fed: Mapping[str, Array] | None = None,
    found: Sequence[Finding] = (),
) -> Verdict:
    """Compare outputs, name -> (pictures, ...) real values, with the float reference's.

    Outputs are matched by name, else by position. ``budget`` defaults to that of fp32. ``scales``
    are quantization steps by output; ``floor`` are the outputs of the recipe simulated in float;
    ``class_offset`` drops that many leading classes of ``other`` (1 where class 0 is
    "background"); ``scores`` names the outputs that hold class scores (None: judge/scores.py decides);
    ``cuts`` are the parts of outputs that the graph shows, ``whole`` what it decides of
    them, ``margins`` how sure labels are; ``fed`` are the inputs, name -> (samples, ...);
    ``found`` is what is known already; what of it holds and says why is a doubt.

    A value that is not finite makes a failed verdict. Raises EdgeconvError where outputs or their
    shapes cannot be matched.

    >>> x = {"y": np.array([[1.0, 2.0]])}
    >>> bool(compare(x, x))
    True
    >>> print(compare(x, {"y": np.array([[1.0, 2.5]])}))
    y: float_error is 5.00e-01, wanted at most 1.00e-04
    """
    budget = DEFAULTS["fp32"] if budget is None else budget
    names = match_names(list(reference), list(other), "output")
    refuse_truth(reference, truth)
    findings = list(found)
    figures: dict[str, Figures] = {}
    parts: dict[str, dict[str, Figures]] = {}
    notes: list[str] = []
    for name, theirs in names.items():
        wanted, got = reference[name], other[theirs]
        if got.shape == (*wanted.shape, 1) and wanted.ndim == 1:
            got = got[:, 0]  # a number, which Core ML hands out with an axis
        got = got[:, class_offset:] if class_offset else got
        check_classes(name, wanted, got, class_offset)
        if broken := _not_finite(name, wanted, got):
            findings.append(broken)
            continue
        told = (whole or {}).get(name)
        kind = whole_kind(wanted, got, told)
        pieces = () if kind else find_parts(name, wanted, cuts)
        context = Context(
            scale=(scales or {}).get(name),
            floor=None if floor is None else floor.get(name),
            truth=truth,
            scores=not kind
            and (
                told != "signal" and holds_scores(name, wanted, pieces, truth, fed or {})
                if scores is None
                else name in scores
            ),
            whole=kind,
            margins=(margins or {}).get(name),
            alone=len(names) == 1,
            kept=told == "kept" and floor is None,
            asked=budget.asks(OF_CLASSES, name),
        )
        figures[name], said, judged = _measured(name, wanted, got, context, budget)
        known = scores is not None or bool(kind) or context.scores or told == "signal"
        notes += [*said, *([] if known else unread(name, wanted, fed or {}))]
        findings.extend(judged)
        for piece in pieces:
            if wanted.shape == got.shape:
                parts.setdefault(name, {})[str(piece)] = _part(name, piece, wanted, got, context)
        for piece_name, own in parts.get(name, {}).items():
            findings.extend(_judge(name, own, budget, len(wanted), piece_name))
    findings.extend(_unmeasured(figures, budget, found) if figures else ())
    made = Verdict(tuple(findings), figures, tuple(notes), parts)
    doubts = [
        doubt
        for (output, part), own in made.places.items()
        for doubt in doubts_of(output, part, own, budget, len(reference[output]))
    ]
    doubts += [finding.why for finding in found if finding.ok and finding.why]
    return replace(made, doubts=(*doubts, budget.open) if budget.open else tuple(doubts))


def _measured(
    name: str, wanted: Array, got: Array, context: Context, budget: Budget
) -> tuple[Figures, tuple[str, ...], list[Finding]]:
    """Measure and judge one output: amounts of few values that miss as such may hold as labels."""
    figures, said = measure(name, wanted, got, context)
    judged = _judge(name, figures, budget, len(wanted))
    few = len(np.unique(wanted)) < MANY if context.whole == "amounts" else False
    held = all(finding.ok for finding in judged)
    if few and not (held and not doubts_of(name, "", figures, budget, len(wanted))):
        equal, more = measure(name, wanted, got, replace(context, whole="labels"))
        found = _judge(name, equal, budget, len(wanted))
        if all(finding.ok for finding in found):
            return equal, more, found
    return figures, said, judged


def no_integers(kind: str, stats: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return the finding that an INT8 file computes nothing in integers, though its net could; ``stats`` are its counts."""
    compute = int(stats.get("compute") or 0)
    if kind != "int8" or not compute or stats.get("int8_compute"):
        return ()
    if not stats.get("integer_layers", 1):
        return ()
    why = f"none of its {compute} convolutions and products computes in integers: this is no INT8 file"
    return (Finding("", NO_INTEGERS, 0.0, 1.0, False, why),)


def _part(name: str, piece: Part, reference: Array, other: Array, context: Context) -> Figures:
    floor = None if context.floor is None else piece.of(context.floor)
    own = Context(scale=context.scale, floor=floor, scores=False, kept=context.kept)
    found, _ = measure(name, piece.of(reference), piece.of(other), own)
    return {key: value for key, value in found.items() if key in PART_MEASURES}


def _not_finite(name: str, reference: Array, other: Array) -> Finding | None:
    for side, values in (("the reference", reference), ("this file", other)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            rows = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
            why = f"{name}: {side} holds NaN or infinity in {len(rows)} samples, first {rows[0]}"
            return Finding(name, "max_abs_error", np.nan, 0.0, False, why)
    return None


def _unmeasured(
    figures: Mapping[str, Figures], budget: Budget, found: Sequence[Finding]
) -> list[Finding]:
    """Return a finding for each limit that a person set and no output has the figure of.

    A figure that is not there has not passed: top-1 without truth, or one that a change took away.
    """
    known = {finding.metric for finding in found}.union(*figures.values())
    missing = [("", m) for m in sorted(budget.asked) if m not in known]
    missing += [
        (o, m) for o, own in figures.items() for m in budget.outputs.get(o, ()) if m not in own
    ]
    return [
        Finding(output, metric, math.nan, budget.of(output)[metric], False, why)
        for output, metric in missing
        for why in (f"{output}{': ' if output else ''}{metric} has a limit and was not measured",)
    ]


def _judge(
    name: str, figures: Figures, budget: Budget, samples: int, part: str = ""
) -> list[Finding]:
    found = []
    for metric, limit in budget.of(name, part).items():
        if metric not in figures:
            continue  # e.g. agreement of an output without classes; _unmeasured looks at them all
        if is_open(metric, name, figures, budget, samples):
            continue  # a doubt says so
        got = figures[metric]
        ok = got >= limit if MEASURES[metric].better == "high" else got <= limit
        found.append(Finding(name, metric, got, limit, ok, part=part))
    return found
