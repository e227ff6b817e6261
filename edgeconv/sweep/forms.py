"""The forms of a sweep: every combination of its axes, once, and those that cannot be with the reason."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from edgeconv.deps import missing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.targets import TARGETS, lack
from edgeconv.models.specs import SPECS, WEIGHTS_SUFFIXES, find_spec, is_own
from edgeconv.sweep.job import Job

MISSING = "does not exist"
"""How the reason ends where a weights file is not there."""

Unfit = dict[tuple[Any, ...], str | None]
"""Net, its options and its weights -> why they are none for it."""

NET_AXES = ("width", "groups", "ratio", "resolution")


@dataclass(frozen=True)
class Form:
    """One net in one form. None leaves the net's own default; ``weights`` is a word or a file.

    ``called`` is the net's name in tables.
    """

    net: str
    width: float | None
    groups: int | None
    ratio: int | None
    resolution: int | None
    weights: str | None
    precision: str
    recipe: str | None
    target: str
    cpu: str
    io: str | None
    called: str = ""

    @property
    def label(self) -> str:
        """How tables and sentences call it."""
        parts = [self.called or _ends(self.net)[0]]
        parts += [f"{self.width:g}" if self.width is not None else ""]
        parts += [f"g{self.groups}" if self.groups is not None else ""]
        parts += [f"s{self.ratio}" if self.ratio is not None else ""]
        parts += [f"{self.resolution}" if self.resolution is not None else ""]
        parts += [self.precision, self.recipe if self.recipe not in (None, "std") else ""]
        parts += [self.target, self.cpu if self.cpu != "any" else ""]
        parts += [self.io if self.io not in (None, "float") else ""]
        return " ".join(str(part) for part in parts if part)

    def options(self) -> dict[str, Any]:
        """Return the fields that are set, but for the target, as an export's options."""
        given = {k: v for k, v in asdict(self).items() if v is not None}
        del given["target"], given["called"]
        if given["cpu"] == "any":
            del given["cpu"]
        return given

    def without_target(self) -> "Form":
        """Return what the targets of one export share."""
        return replace(self, target="")


@dataclass(frozen=True)
class Impossible:
    """A combination that cannot be, and why; it is listed and does not fail the sweep."""

    form: Form
    reason: str


def expand(job: Job) -> tuple[list[Form], list[Impossible]]:
    """Return the forms of ``job`` in a fixed order, and the combinations that cannot be.

    An axis that a net does not have is left out for that net, so no form comes twice. Raises
    UsageError for an unknown net, for a --weights pattern with an unknown field, and for an axis that
    no form has.
    """
    forms: dict[Form, None] = {}
    impossible: dict[Form, str] = {}
    known: Unfit = {}
    for form in _combinations(job):
        reason = _reason(job, form, known)
        if reason is None:
            forms[form] = None
        else:
            impossible[form] = reason
    _refuse_unused(job, [*forms, *impossible])
    return list(forms), [Impossible(form, reason) for form, reason in impossible.items()]


def _refuse_unused(job: Job, forms: Sequence[Form]) -> None:
    """Raise UsageError naming an axis of nets, or weights, that were asked for and that no form has."""
    if job.weights is not None and all(form.weights is None for form in forms):
        raise UsageError(f"--weights: {', '.join(job.nets)} holds its own weights: leave it out")
    for axis in NET_AXES:
        if getattr(job, axis) and all(getattr(form, axis) is None for form in forms):
            raise UsageError(
                f"--{axis} is an option of some of our own nets, and of none here "
                f"({', '.join(job.nets)}): leave it out"
            )
    for axis, usual in (("recipe", Job.recipe), ("io", Job.io), ("cpu", Job.cpu)):
        if getattr(job, axis) != usual and all(form.precision != "int8" for form in forms):
            raise UsageError(
                f"--{axis} is about INT8 files, and --precision {','.join(job.precision)} makes none: "
                "leave one out"
            )


def names_of(nets: Sequence[str]) -> dict[str, str]:
    """Return how tables call each net: so much of the end of its path as no other one shares.

    >>> names_of(["ghostnet", "a/m.onnx", "b/m.onnx", "n.py:f", "o.py:f", "o.py:g"])
    {'ghostnet': 'ghostnet', 'a/m.onnx': 'a/m', 'b/m.onnx': 'b/m', 'n.py:f': 'n', 'o.py:f': 'o.py:f', 'o.py:g': 'o.py:g'}
    """
    ends = {net: _ends(net) for net in nets}
    counts = Counter(end for found in ends.values() for end in set(found))
    return {net: next((e for e in found if counts[e] == 1), net) for net, found in ends.items()}


def _ends(net: str) -> list[str]:
    """Return the names that a net may have, the shortest first, itself last."""
    path = PurePath(os.path.splitdrive(net)[1].partition(":")[0])
    parts = [*path.parts[:-1], path.stem]
    return [*("/".join(parts[-count:]) for count in range(1, len(parts) + 1)), net]


def _combinations(job: Job) -> Iterator[Form]:
    called = names_of(job.nets)
    for net in job.nets:
        _refuse_weights(net)
        spec = None if net.endswith(".onnx") or is_own(net) else find_spec(net)
        axes: list[tuple[Any, ...]] = []
        for axis in NET_AXES:
            has = spec is not None and (axis == "resolution" or spec.option(axis) is not None)
            axes.append(getattr(job, axis) or (None,) if has else (None,))
        for width, groups, ratio, resolution in itertools.product(*axes):
            values = {"width": width, "groups": groups, "ratio": ratio, "resolution": resolution}
            weights = _weights(job, net, values)
            for precision, target in itertools.product(job.precision, job.target):
                integer = precision == "int8"
                for recipe, cpu, io in itertools.product(
                    job.recipe if integer else (None,),
                    job.cpu if integer and target == "onnx" else ("any",),
                    job.io if integer and _has_borders(target) else (None,),
                ):
                    yield Form(
                        net, width, groups, ratio, resolution, weights, precision, recipe, target, cpu, io,
                        called[net],
                    )  # fmt: skip


def _refuse_weights(net: str) -> None:
    """Raise UsageError where a file that is named as a net holds weights alone."""
    if Path(net).suffix not in WEIGHTS_SUFFIXES or not Path(net).is_file():
        return
    if is_own(net):
        if missing(("torch", "torch")):
            return  # its export says so
        from edgeconv.models.user_net import is_user_net

        if is_user_net(net):
            return
    raise UsageError(f"{net} holds weights, not a net: edgeconv sweep NET --weights {net}")


def _has_borders(target: str) -> bool:
    """Whether a target's INT8 files may have integer borders, so that there is something to choose."""
    return not {"io int8", "io uint8"} <= TARGETS[target].lacks.keys()


def _weights(job: Job, net: str, values: dict[str, Any]) -> str | None:
    pattern = None if net.endswith(".onnx") else job.weights  # it holds its own
    if pattern is None or "{" not in pattern:
        return pattern
    spec = SPECS.get(net)
    defaults: dict[str, Any] = {} if spec is None else dict(spec.defaults())
    defaults["resolution"] = None if spec is None else spec.resolution
    known = {axis: defaults.get(axis) if v is None else v for axis, v in values.items()}
    try:
        return pattern.format(net=net, **known)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        wrong = f"not {error}" if isinstance(error, KeyError) else f"each whole ({error})"
        raise UsageError(
            f"--weights {pattern}: it may hold {{net}}, {{width}}, {{groups}}, {{ratio}} and "
            f"{{resolution}}, {wrong}"
        ) from None


def _reason(job: Job, form: Form, known: Unfit) -> str | None:
    """Say why ``form`` cannot be made, from what is known before any work; None where it can."""
    own = form.net in SPECS
    bundled = own and form.weights in (None, "bundled")
    if own:
        spec = SPECS[form.net]
        for axis in ("width", "groups", "ratio"):
            option, value = spec.option(axis), getattr(form, axis)
            if option is None or value is None:
                continue
            try:
                option.check(form.net, value)
            except UsageError as error:
                return str(error)
            if (bundled or form.weights == "imagenet") and value != option.default:
                return f"there are no {form.weights or 'bundled'} weights of {axis} {value:g}: give --weights"
    if (
        form.weights not in (None, "bundled", "imagenet", "random")
        and not Path(str(form.weights)).is_file()
    ):
        return f"{form.weights} {MISSING}"
    if own and (unfit := _unfit(job, form, known)) is not None:
        return unfit
    forms = [form.precision, *([f"io {form.io}"] if form.io not in (None, "float") else [])]
    if lacks := lack(TARGETS[form.target], forms):
        return lacks
    prescribed = form.recipe is not None and form.recipe.endswith(".json")
    if form.precision == "int8" and not (bundled or job.calib or prescribed):
        return "INT8 calibrates on your own pictures: give --calib"
    return None


def _unfit(job: Job, form: Form, known: Unfit) -> str | None:
    """Say why weights are not of the net, its options or its classes; None where they are, or cannot be read."""
    bundled = form.weights in (None, "bundled")  # of the usual options, which are looked at before
    if form.weights in ("imagenet", "random") or (bundled and job.classes is None):
        return None
    key = (form.net, form.width, form.groups, form.ratio, form.weights)
    if key not in known:
        known[key] = _unloadable(job, form)
    return known[key]


def _unloadable(job: Job, form: Form) -> str | None:
    if missing(("torch", "torch"), ("safetensors", "export")):
        return None  # their export says so
    from edgeconv.models.weights import load_weights

    options = {"width": form.width, "groups": form.groups, "ratio": form.ratio}
    try:
        load_weights(form.net, options, form.weights or "bundled", classes=job.classes)
    except UsageError as error:
        return str(error)
    except EdgeconvError:  # a damaged file is no contradiction: its export fails, and says so
        return None
    return None
