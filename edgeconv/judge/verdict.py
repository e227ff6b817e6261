"""Compare two sets of outputs and say what was found: the verdict."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names
from edgeconv.errors import EdgeconvError
from edgeconv.judge.budget import DEFAULTS, Budget
from edgeconv.judge.measures import MEASURES, Context, Figures, measure, show

Array = NDArray[Any]


@dataclass(frozen=True)
class Finding:
    """One figure of one output against its limit. ``got`` is NaN where a value was not finite."""

    output: str
    metric: str
    got: float
    wanted: float
    ok: bool
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return self.why
        bound = "at least" if MEASURES[self.metric].better == "high" else "at most"
        got, wanted = show(self.metric, self.got), show(self.metric, self.wanted)
        return f"{self.output}: {self.metric} is {got}, wanted {bound} {wanted}"


@dataclass(frozen=True)
class Verdict:
    """Truthy where every limit holds; prints what missed; ``figures`` has everything measured."""

    findings: tuple[Finding, ...]
    figures: Mapping[str, Figures] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def missed(self) -> tuple[Finding, ...]:
        """The findings that do not hold."""
        return tuple(finding for finding in self.findings if not finding.ok)

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
) -> Verdict:
    """Compare outputs, name -> (pictures, ...) real values, with the float reference's.

    Outputs are matched by name, else by position. ``budget`` defaults to that of fp32. ``scales``
    are quantization steps by output; ``floor`` are the outputs of the recipe simulated in float;
    ``class_offset`` drops that many leading classes of ``other`` (1 where class 0 is
    "background"); ``scores`` names the outputs that hold class scores (None: decided by shape).

    A value that is not finite makes a failed verdict. Raises EdgeconvError where outputs or their
    shapes cannot be matched.

    >>> x = {"y": np.array([[1.0, 2.0]])}
    >>> bool(compare(x, x))
    True
    >>> print(compare(x, {"y": np.array([[1.0, 2.5]])}))
    y: relative_error is 5.00e-01, wanted at most 1.00e-04
    """
    budget = DEFAULTS["fp32"] if budget is None else budget
    names = match_names(list(reference), list(other), "output")
    findings: list[Finding] = []
    figures: dict[str, Figures] = {}
    notes: list[str] = []
    for name, theirs in names.items():
        wanted, got = reference[name], other[theirs]
        if class_offset:
            got = got[:, class_offset:]
        _check_classes(name, wanted, got, class_offset)
        if broken := _not_finite(name, wanted, got):
            findings.append(broken)
            continue
        context = Context(
            scale=(scales or {}).get(name),
            floor=None if floor is None else floor.get(name),
            truth=truth,
            scores=None if scores is None else name in scores,
        )
        figures[name], said = measure(name, wanted, got, context)
        notes.extend(said)
        findings.extend(_judge(name, figures[name], budget))
    return Verdict(tuple(findings), figures, tuple(notes))


def _check_classes(name: str, reference: Array, other: Array, offset: int) -> None:
    if reference.ndim != 2 or other.ndim != 2 or reference.shape[1] == other.shape[1]:
        return
    if len(reference) != len(other):
        raise EdgeconvError(f"output {name}: {len(other)} pictures against {len(reference)}")
    extra = other.shape[1] - reference.shape[1]
    hint = ""
    if extra == 1:
        hint = f": if its first class is background, say --class-offset {offset + 1}"
    raise EdgeconvError(
        f"output {name} has {other.shape[1]} classes and the reference {reference.shape[1]}{hint}"
    )


def _not_finite(name: str, reference: Array, other: Array) -> Finding | None:
    for side, values in (("the reference", reference), ("this file", other)):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            rows = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
            why = f"{name}: {side} holds NaN or infinity in {len(rows)} pictures, first {rows[0]}"
            return Finding(name, "max_abs_error", np.nan, 0.0, False, why)
    return None


def _judge(name: str, figures: Figures, budget: Budget) -> list[Finding]:
    found = []
    for metric, limit in budget.of(name).items():
        if metric not in figures:
            continue  # e.g. top-1 without truth: what cannot be measured cannot be missed
        got = figures[metric]
        ok = got >= limit if MEASURES[metric].better == "high" else got <= limit
        found.append(Finding(name, metric, got, limit, ok))
    return found
