"""From what the user names to rows: files, nets, and the float reference that ratios refer to."""

import difflib
import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeconv import system
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.bench.plan import Subject
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import digest, model_bytes, refuse_weights_alone
from edgeconv.foreign import refuse_no_model
from edgeconv.memory import missing_mib
from edgeconv.runtimes.checks import check_threads
from edgeconv.runtimes.choose import choose, fitting, named
from edgeconv.runtimes.table import RUNTIMES

SUFFIXES = tuple(dict.fromkeys(s for row in RUNTIMES.values() for s in row.suffixes))


@dataclass(frozen=True)
class Choice:
    """Options that shape the rows. ``net`` holds width, groups, ratio and resolution of a named net."""

    threads: Sequence[int] = (1,)
    runtime: str | None = None
    xnnpack: bool = True
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    affinity: tuple[int, ...] = ()
    net: Mapping[str, Any] = field(default_factory=dict)
    reference: bool = True


@dataclass(frozen=True)
class Lineup:
    """The rows in order, and for each the label of the row that its ratio refers to (None: itself)."""

    subjects: tuple[Subject, ...]
    reference: Mapping[str, str]


def line_up(models: Sequence[str], against: str | None, choice: Choice) -> Lineup:
    """Make a row of every model and thread count, and add the float reference where it is known.

    The reference is ``against`` where given, else the net itself in PyTorch or its hub graph in
    onnxruntime (both from the manifest of our own files), else the first model. Raises UsageError or
    EdgeconvError naming the argument that cannot be right.
    """
    _check(models, choice)
    names = list(dict.fromkeys([*models, *([against] if against else [])]))
    made = {name: _rows(name, choice) for name in names}
    rows = [row for name in names for row in made[name]]
    if against is not None:
        anchors = made[against]
    else:
        anchors, added = _anchors(made, choice)
        rows = [*added, *rows]
    rows, anchors = _short_labels(rows), _short_labels(anchors, rows)
    by_threads = {row.threads: row.label for row in anchors}
    reference = {
        row.label: by_threads[row.threads]
        for row in rows
        if row.threads in by_threads and by_threads[row.threads] != row.label
    }
    return Lineup(_unique(rows), reference)


def _check(models: Sequence[str], choice: Choice) -> None:
    if not models:
        raise UsageError("name at least one model or net to bench")
    if choice.runtime is not None:
        named(choice.runtime, [row.name for row in RUNTIMES.values() if row.timed])
    for threads in choice.threads:
        check_threads(threads)
    known = system.processors()
    for cpu in choice.affinity:
        if not system.can_pin():
            raise UsageError("--affinity: this system keeps no process on given processors")
        if cpu not in known:
            raise UsageError(
                f"--affinity {cpu}: this process may use {','.join(map(str, sorted(known)))}"
            )


def _unique(rows: Iterable[Subject]) -> tuple[Subject, ...]:
    """Drop a row that is already there: the same model, runtime and threads."""
    return tuple({row.label: row for row in rows}.values())


def _short_labels(rows: Sequence[Subject], among: Sequence[Subject] = ()) -> list[Subject]:
    """Call files by their bare names wherever that leaves no two of them alike."""
    names = Counter(_bare(path) for path in {r.path for r in [*rows, *among] if r.path is not None})
    return [
        replace(row, label=row.label.replace(row.path, _bare(row.path), 1))
        if row.path is not None and names[_bare(row.path)] == 1
        else row
        for row in rows
    ]


def _bare(path: str) -> str:
    """Return a file's name, with its folder's where every export has one of that name."""
    file = Path(path)
    return f"{file.parent.name}/{file.name}" if file.parent.suffix == ".evidence" else file.name


def _rows(name: str, choice: Choice) -> list[Subject]:
    path = Path(name)
    if path.suffix.lower() in SUFFIXES:
        return _file_rows(path, choice)
    return net_rows(path.name, {"net": name, **_net_fields(choice)}, choice)


def _file_rows(path: Path, choice: Choice) -> list[Subject]:
    refuse_no_model(path)
    row = choose(path, choice.runtime)
    if not row.timed:
        raise UsageError(f"{row.name} only checks numbers: its time says nothing of {path.name}")
    if not choice.xnnpack and "xnnpack" not in row.options:
        raise UsageError(f"--no-xnnpack is for .tflite, not for {path.name}")
    options = {} if choice.xnnpack else {"xnnpack": False}
    artifact = load_artifact(path)
    about = about_file(path, artifact)
    shapes = dict(choice.shapes)
    if "" in shapes:  # a shape without a name is for the only input, whose name the runtime knows
        shapes = {_only_input(path, artifact): shapes[""]}
    return [
        Subject(
            label=f"{path} ({row.label(options)}, {_threads(n)})",
            runtime=row.name,
            threads=n,
            path=str(path),
            options=options,
            shapes=shapes,
            affinity=choice.affinity,
            about=about,
        )
        for n in choice.threads
    ]


def _only_input(path: Path, artifact: Artifact | None) -> str:
    if artifact is not None and len(artifact.inputs) == 1:
        return artifact.inputs[0].name
    if path.suffix.lower() == ".onnx":
        from edgeconv.formats.onnx_file import read_onnx

        graph = read_onnx(path.read_bytes(), str(path))
        inputs = [name for name in graph.inputs if name not in graph.constants]
        if len(inputs) == 1:
            return inputs[0]
    raise UsageError(f"--shape: say which input of {path.name} it is for, NAME=1,3,224,224")


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def about_file(path: Path, artifact: Artifact | None) -> dict[str, Any]:
    """What is known of a file without running it: size, hash, and what our manifest says."""
    if path.is_dir():
        about: dict[str, Any] = {"bytes": model_bytes(path), "sha256": None}
    else:
        # a file that no memory holds is refused when it is opened: reading it here takes minutes
        hashed = None if missing_mib(path) else digest(path)
        about = {"bytes": model_bytes(path), "sha256": hashed}
    if artifact is None:
        return about
    manifest = artifact.manifest
    about["precision"] = artifact.precision
    about["net"] = dict(manifest.get("net") or {})
    verification = manifest.get("verification") or {}
    outputs = list((verification.get("figures") or {}).values()) or [{}]
    names = {"agreement": "agreement_top1", "top1": "top1", "top1_float": "reference_top1"}
    figures = {key: outputs[0][name] for key, name in names.items() if name in outputs[0]}
    if boxes := verification.get("boxes"):
        figures["boxes"] = boxes["matched"]["share"]
    if figures:
        about["accuracy"] = {**figures, "pictures": verification.get("pictures")}
    return about


def _net_fields(choice: Choice) -> dict[str, Any]:
    fields: dict[str, Any] = {key: v for key, v in choice.net.items() if v is not None}
    if "" in choice.shapes:
        fields["input_shapes"] = [list(choice.shapes[""])]
    return fields


def net_rows(label: str, net: Mapping[str, Any], choice: Choice) -> list[Subject]:
    """Rows of a net itself in PyTorch. Raises UsageError for a name that is no net of ours."""
    fields = dict(net)
    from edgeconv.models.specs import SPECS, is_own

    if not is_own(fields["net"]):
        if fields["net"] not in SPECS:
            refuse_weights_alone(Path(str(fields["net"])))
            near = difflib.get_close_matches(str(fields["net"]), SPECS, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(
                f"{fields['net']} is neither a file ({', '.join(SUFFIXES)}) nor a net"
                f" ({', '.join(SPECS)}){hint}"
            )
        fields.setdefault("weights", "random")
        fields.setdefault("classes", 1000)
    return [
        Subject(
            label=f"{label} (pytorch, {_threads(n)})",
            runtime="pytorch",
            threads=n,
            net=fields,
            affinity=choice.affinity,
            about={"precision": "fp32", "net": fields["net"]},
        )
        for n in choice.threads
    ]


def _anchors(
    made: Mapping[str, Sequence[Subject]], choice: Choice
) -> tuple[list[Subject], list[Subject]]:
    """Return (the rows that ratios refer to, those of them that have to be added to the table)."""
    rows = [row for group in made.values() for row in group]
    modules = [row for row in rows if row.runtime == "pytorch"]
    if modules:
        return [row for row in modules if row.net == modules[0].net], []
    artifacts = [(Path(name), load_artifact(Path(name))) for name in made]
    for path, artifact in artifacts:
        if artifact is None or not choice.reference:
            continue
        added = reference_rows(path, artifact, choice)
        if added:
            return added, added
    floats = [row for row in rows if row.about.get("precision") == "fp32"]
    first = floats[0] if floats else rows[0]
    return [row for row in rows if row.path == first.path], []


def reference_rows(path: Path, artifact: Artifact, choice: Choice) -> list[Subject]:
    """The float reference of one of our files: its module in PyTorch, else its hub graph."""
    accuracy = (about_file(path, artifact).get("accuracy") or {}).get("top1_float")
    about = {} if accuracy is None else {"accuracy": {"top1": accuracy}}
    net = dict(artifact.manifest.get("net") or {})
    source = str(net.get("source", ""))
    shape = _module_shape(artifact)
    from edgeconv.models.specs import SPECS

    # a manifest may come from anyone: the Python file that it names is not run
    if importlib.util.find_spec("torch") and shape is not None and source in SPECS:
        known = ("width", "groups", "ratio", "activation", "classes")
        fields: dict[str, Any] = {"net": source, "input_shapes": [list(shape)]}
        fields.update({k: net[k] for k in known if net.get(k) is not None}, weights="random")
        rows = net_rows(source, fields, replace(choice, shapes={}))
        return [replace(row, about={**row.about, **about}) for row in rows]
    return _hub_rows(artifact, about, choice)


def _module_shape(artifact: Artifact) -> tuple[int, ...] | None:
    """The module's own (NCHW) shape of a net with one picture as input, else None."""
    if len(artifact.inputs) != 1 or len(artifact.inputs[0].shape) != 4:
        return None
    spec = artifact.inputs[0]
    n, a, b, c = spec.shape
    return (n, c, a, b) if spec.layout == "nhwc" else spec.shape


def _hub_rows(artifact: Artifact, about: Mapping[str, Any], choice: Choice) -> list[Subject]:
    if not fitting(Path("hub.onnx"))[0].installed():
        return []
    try:
        hub = artifact.evidence("hub.onnx")
    except EdgeconvError:
        return []  # exported elsewhere and copied without its evidence: there is no reference
    rows = _file_rows(hub, replace(choice, runtime=None, xnnpack=True, shapes={}))
    return [replace(row, about={**row.about, **about, "precision": "fp32"}) for row in rows]
