"""The cells of the matrix: each file in each runtime that is present, in the order of the hops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.deps import MissingDependencyError
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import sha256
from edgeconv.foreign import refuse_missing
from edgeconv.isolate import other_python
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.precision import shown_precision
from edgeconv.parity.promise import evidence_of, promise_of
from edgeconv.parity.simulate import simulated_recipe, whole_border
from edgeconv.runtimes.choose import choose, ways
from edgeconv.runtimes.table import RUNTIMES, Runtime

Stage = Literal["raw", "hub", "prepared", "fp32", "fp16", "recipe", "int8"]

ORDER: tuple[Stage, ...] = ("raw", "hub", "prepared", "fp32", "fp16", "recipe", "int8")
"""Conversion order: a stage departs from the one before it."""

TITLES = {
    "raw": "raw ONNX",
    "hub": "hub ONNX",
    "prepared": "prepared ONNX",
    "recipe": "recipe in float",
}
"""How reports call the stages that are not artifacts of their own."""


@dataclass(frozen=True)
class Cell:
    """One run of the matrix: a file in a runtime.

    ``before`` is the label of the hop before. ``artifact`` is None for files without a manifest.
    ``board``: emulated there. ``lowered``: prepared for INT8, run with the border that exactly stored
    pixels move; ``rounds``: a stage of a model that is quantized already. ``digest`` is the SHA-256 of a stage's file, ``follows`` that of the stage it
    was made from. ``python`` starts the Python that has the runtime where this one has not.
    """

    label: str
    stage: Stage
    path: Path
    runtime: str
    options: Mapping[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None
    target: str = "onnx"
    before: str | None = None
    lowered: bool = False
    rounds: bool = False
    board: str | None = None
    digest: str | None = None
    follows: str | None = None
    python: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The budget against float: fp32, fp16, int8, lowered (prepared for INT8), or kernels (of the same integers)."""
        if self.lowered:
            return "lowered"
        if self.rounds:
            return "kernels"
        return {"fp16": "fp16", "int8": "int8", "recipe": "int8"}.get(self.stage, "fp32")

    @property
    def title(self) -> str:
        """The file's name, or the stage's."""
        return TITLES.get(self.stage, self.path.name)


def plan(
    paths: Sequence[Path],
    *,
    precision: str | None = None,
    scratch: Path | None = None,
    also: Sequence[str] = (),
) -> tuple[list[Cell], list[str]]:
    """Return the cells for artifacts, with the stages that their evidence holds, and notes.

    ``precision`` is that of files without a manifest (default: what they show, which is noted). ``scratch`` is a
    folder for the simulated recipe; without it that cell is left out. ``also`` names runtimes that run only if asked.
    """
    cells: list[Cell] = []
    notes: list[str] = []
    seen: set[str] = set()
    for path in paths:
        refuse_missing(path)
        artifact = load_artifact(path)
        if artifact is not None:
            cells += _stages(artifact, seen, scratch, notes)
        stage = _stage(artifact, precision or (None if artifact else shown_precision(path, notes)))
        notes += [
            f"{path.name} does not run in {name}: it takes {' and '.join(RUNTIMES[name].suffixes)}"
            for name in also
            if path.suffix.lower() not in RUNTIMES[name].suffixes
        ]
        target = "onnx" if path.suffix == ".onnx" else path.suffix.lstrip(".")
        for way in ways(path, also):
            label = f"{path.name} · {way.label}"
            follows = None if artifact is None else evidence_of(artifact).get("prepared.onnx")
            cells.append(
                Cell(
                    label,
                    stage,
                    path,
                    way.runtime.name,
                    way.options,
                    artifact,
                    target,
                    follows=follows,
                    python=other_python(way.python) if way.python else (),
                )
            )
    _distinct(cells)
    return _linked(sorted(cells, key=lambda cell: ORDER.index(cell.stage))), notes


def elsewhere(
    cells: Sequence[Cell],
    board: str,
    runtimes: Sequence[str],
    where: str,
    python: tuple[str, ...] = (),
) -> list[Cell]:
    """Return the artifact cells once more, for a board; the hop before is the native cell.

    ``runtimes`` are those that the board has; TFLite files run in each of them. ``where`` is how
    reports call the board, ``python`` starts its Python where it runs on this machine.
    """
    found = []
    files = dict.fromkeys(c.path for c in cells if c.stage in PRECISIONS)
    for path in files:
        native = [cell for cell in cells if cell.path == path]
        for runtime in runtimes:
            if path.suffix.lower() not in RUNTIMES[runtime].suffixes:
                continue
            same = [c for c in native if c.runtime == runtime and not c.options]
            base = (same or native)[0]
            label = f"{path.name} · {runtime} on {where}"
            found.append(
                replace(
                    base,
                    label=label,
                    runtime=runtime,
                    options={},
                    before=base.label,
                    board=board,
                    python=python,
                )
            )
    return found


def _stage(artifact: Artifact | None, precision: str | None) -> Stage:
    known = precision or ("fp32" if artifact is None else artifact.precision)
    if known not in PRECISIONS:
        raise EdgeconvError(f"{known} is no precision that parity knows: {', '.join(PRECISIONS)}")
    return known


def _distinct(cells: Sequence[Cell]) -> None:
    labels = [cell.label for cell in cells]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two files are called {label.partition(' · ')[0]}: rename one")


def _stages(
    artifact: Artifact, seen: set[str], scratch: Path | None, notes: list[str]
) -> list[Cell]:
    """Return the ONNX stages of one export that no earlier artifact brought."""
    files = evidence_of(artifact)
    found: list[Cell] = []
    before: str | None = None
    try:
        row = choose(Path("hub.onnx"))
    except EdgeconvError as error:
        notes.append(f"raw, hub and prepared ONNX are left out: {error}")
        return found
    for stage in _comparable(artifact):
        name = f"{stage}.onnx"
        if name not in files:
            continue
        path = artifact.evidence(name)
        digest = sha256(path)
        follows, before = before, digest
        if digest in seen:
            continue
        seen.add(digest)
        label = f"{TITLES[stage]} of {path.parent.name}" if TITLES[stage] in seen else TITLES[stage]
        seen.add(TITLES[stage])
        lowered = stage == "prepared" and artifact.precision == "int8"
        if lowered and scratch is not None:
            try:
                path = whole_border(artifact, scratch / f"border_{path.parent.name}.onnx")
            except MissingDependencyError as error:
                notes.append(f"{label} is left out: {error}")
                continue
        found.append(
            Cell(
                label,
                stage,
                path,
                row.name,
                row.as_written,
                lowered=lowered,
                rounds=artifact.own_integers,
                digest=digest,
                follows=follows,
            )
        )
    if artifact.precision == "int8" and "recipe.json" in files and scratch is not None:
        promise = promise_of(artifact)
        if promise not in seen:
            found += _recipe(artifact, row, scratch, notes, "recipe" in seen)
            seen |= {promise, "recipe"}
    return found


def _comparable(artifact: Artifact) -> tuple[Stage, ...]:
    """Return the stages that take the file's samples and give its outputs.

    Neither embedded preprocessing nor a softmax is in the raw graph, and what Core ML does to an image
    before the net is in no graph but the hub's.
    """
    how, images = artifact.preprocessing, (artifact.manifest.get("graph") or {}).get("image_input")
    if artifact.own_integers:  # the others are what the model would be without its rounding
        return () if images else ("raw",)
    if images:
        return ("hub",)
    if artifact.manifest.get("softmax") or (how is not None and how.embedded):
        return ("hub", "prepared")
    return ("raw", "hub", "prepared")


def _recipe(
    artifact: Artifact, row: Runtime, scratch: Path, notes: list[str], again: bool
) -> list[Cell]:
    label = TITLES["recipe"] + (f" of {artifact.path.name}" if again else "")
    try:
        path = simulated_recipe(artifact, scratch / f"recipe_{artifact.path.name}.onnx")
    except (MissingDependencyError, EdgeconvError) as error:
        notes.append(f"the recipe's own noise is not simulated: {error}")
        return []
    follows = evidence_of(artifact).get("prepared.onnx")
    return [Cell(label, "recipe", path, row.name, row.in_float, artifact, follows=follows)]


def _linked(cells: list[Cell]) -> list[Cell]:
    """Give every cell the label of the hop before it."""
    linked: list[Cell] = []
    for cell in cells:
        linked.append(replace(cell, before=_before(cell, linked)))
    return linked


def _before(cell: Cell, earlier: Sequence[Cell]) -> str | None:
    if cell.stage == "int8":
        for other in reversed(earlier):
            if other.stage == "recipe" and _same_recipe(cell, other):
                return other.label
        for other in earlier:  # the same integers in another format come closest
            if other.stage == "int8" and other.target == "onnx" and _same_recipe(cell, other):
                return other.label
    floats = [c for c in earlier if c.stage in ("raw", "hub", "prepared")]
    made_from = next((c for c in floats if c.digest is not None and c.digest == cell.follows), None)
    if made_from is not None:
        return made_from.label
    if cell.stage in ("raw", "hub", "prepared"):
        floats = [c for c in floats if ORDER.index(c.stage) < ORDER.index(cell.stage)]
    return floats[-1].label if floats else None


def _same_recipe(a: Cell, b: Cell) -> bool:
    if a.artifact is None or b.artifact is None:
        return False
    return (promise := promise_of(a.artifact)) != "" and promise == promise_of(b.artifact)
