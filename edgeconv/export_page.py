"""One page about an exported file, to send to somebody who was not there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, adapt_outputs
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.bench.read import report_from_json
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import in_bytes
from edgeconv.foreign import refuse_missing
from edgeconv.judge.missed import missed_sentences, verdict_sentence
from edgeconv.judge.text import equal_text
from edgeconv.reports.parts import Bar, confused, scaled
from edgeconv.reports.png import thumbnail
from edgeconv.schema import (
    anything,
    checked,
    either,
    flag,
    items,
    mapping,
    maybe,
    number,
    read_json,
    table,
    text,
    whole,
)
from edgeconv.spread import places
from edgeconv.templates import render

MEASURED = "sqnr_db", "sqnr_centred_db", "max_abs_error", "relative_error"
SHARES = "agreement_top1", "top1", "reference_top1"
ROW = table(
    {},
    dict.fromkeys(MEASURED, either(number(), text))
    | {f"{name}{end}": maybe(number()) for name in SHARES for end in ("", "_low", "_high")},
)
SHOWN = table(
    {
        "bytes": whole(0),
        "graph": table({"ops": whole(0)}),
        "verification": table(
            {"ok": flag, "pictures": whole(0), "runtime": text, "figures": mapping(ROW)},
            {
                "missed": items(table({"text": text}, {"metric": text})),
                "converted": flag,
                "good_enough": flag,
                "doubts": items(text),
                "parts": mapping(mapping(ROW)),
                "try": items(text),
            },
        ),
        "versions": table({}),
        "net": table({"source": anything}),
        "weights": table({"source": anything}),
        "calibration": maybe(table({"count": anything, "origin": anything})),
        "recipe": maybe(table({"name": anything, "form": anything, "notes": table({})})),
    }
)
"""What a page is made of; a manifest may be sound without it."""

WORST, LAYERS = 6, 10
"""Pictures and layers that are shown."""

LOOKED = 200
"""Pictures that are run again to find the worst."""


def write_report(path: str | Path, bench: str | Path | None = None) -> str:
    """Return the page of the file at ``path``; ``bench`` is what ``edgeconv bench --json`` printed.

    Runs at most 200 of the pictures that verification kept, where a runtime for the file is installed.
    Raises UsageError where there is no such file, EdgeconvError for one without a manifest.
    """
    path, bench = Path(path), None if bench is None else Path(bench)
    refuse_missing(path)
    artifact = load_artifact(path)
    if artifact is None:
        raise EdgeconvError(
            f"{path} has no manifest beside it ({path.name}.json), which a report is made of; "
            "export it with edgeconv"
        )
    about = checked(artifact.manifest, SHOWN, f"{path.name}.json holds too little for a page")
    found = about["verification"]
    warnings = about.get("warnings", ())
    context = {
        "title": f"{path.name} · edgeconv",
        "file": path.name,
        "tone": "bad" if not found["ok"] else "warn" if warnings else "good",
        "verdict": verdict_sentence(found, warned=bool(warnings)),
        "warnings": warnings,
        "sentences": [*missed_sentences(found), *found.get("doubts", ())],
        "steps": found.get("try", ()),
        "tiles": [*_tiles(artifact), *_latency(artifact, bench)],
        "accuracy": _accuracy(found),
        "samples": f"{found['pictures']} samples in {found['runtime']}, read back from disk",
        "assumed": _assumed(about),
        "layers": _layers(artifact),
        "figures": [_figure(place, row) for place, row in _places(found)],
        "commands": _commands(path, artifact.nms),
        "program": _program(path),
        "made": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        **_pictures(artifact),
    }
    return render("pages", "report.html.jinja", **context)


def _places(verified: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the figures of each output and, behind it, of its parts."""
    for output, figures in verified["figures"].items():
        yield output, figures
        for part, own in verified.get("parts", {}).get(output, {}).items():
            yield f"{output}, {part}", own


def _tiles(artifact: Artifact) -> list[tuple[str, str]]:
    about, graph = artifact.manifest, artifact.manifest["graph"]
    tiles = [(in_bytes(about["bytes"]), f"{about['precision'].upper()} {artifact.target}")]
    tiles.append((str(graph["ops"]), "operators"))
    if graph.get("int8_operators") and graph.get("operators"):
        share = f"{graph['int8_operators']} of {graph['operators']}"
        tiles.append((share, "that compute, in integers"))
    return tiles


def _latency(artifact: Artifact, bench: Path | None) -> list[tuple[str, str]]:
    """Return the medians of a bench result that are of this very file."""
    if bench is None:
        return []
    try:
        report = report_from_json(read_json(bench, "what edgeconv bench --json prints"))
    except EdgeconvError as error:
        raise UsageError(f"--bench {bench}: {error}") from error
    found = [
        (f"{row.summary.median:.3g} ms", f"{row.runtime}, {report.machine.processor}")
        for row in report.rows
        if row.summary and row.about.get("sha256") == artifact.manifest["sha256"]
    ]
    if not found:
        raise UsageError(f"--bench {bench} measured other files than {artifact.path.name}")
    return found


def _accuracy(verified: Mapping[str, Any]) -> list[Bar]:
    every = list(verified["figures"].values())
    first: Mapping[str, Any] = next((f for f in every if "agreement_top1" in f), (every or [{}])[0])
    found = []
    for name, key in (
        ("same class as float", "agreement_top1"),
        ("right, this file", "top1"),
        ("right, float", "reference_top1"),
    ):
        if (value := first.get(key)) is None:
            continue
        low, high = first.get(f"{key}_low"), first.get(f"{key}_high")
        interval = None if low is None or high is None else (float(low), float(high))
        within = "" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
        found.append(Bar(name, float(value), f"{100 * value:.1f} %{within}", interval))
    if (boxes := verified.get("boxes")) and "interval" in boxes["matched"]:
        held = boxes["matched"]
        low, high = map(float, held["interval"])
        said = f"{100 * held['share']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        found.append(Bar("boxes as float", float(held["share"]), said, (low, high)))
    return found


def _assumed(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    how, calibration, weights = about["preprocessing"], about["calibration"], about["weights"]
    found = [("net", str(about["net"]["source"])), ("weights", str(weights["source"]))]
    if how is not None:
        mean, std = (" ".join(f"{v:g}" for v in how[key]) for key in ("mean", "std"))
        inside = ", inside the file" if how["embedded"] else ""
        found += [
            (
                "picture",
                f"{how['size'][1]}x{how['size'][0]} {how.get('colour', 'RGB')}, crop {how['crop']}",
            ),
            ("mean, std", f"{mean}; {std} on the 0..1 scale{inside}"),
        ]
    if calibration is not None:
        found.append(("calibration", f"{calibration['count']} samples, {calibration['origin']}"))
    if about["recipe"] is not None:
        recipe = about["recipe"]
        found.append(
            ("recipe", f"{recipe['name']}, {recipe['notes'].get('picked', recipe['form'])}")
        )
    return found


def _layers(artifact: Artifact) -> list[Bar]:
    if "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return []
    from edgeconv.export.quant.explain import explain
    from edgeconv.recipe import load_recipe

    rows = explain(load_recipe(artifact.evidence("recipe.json"))).to_json()["layers"]
    known = [(row["name"], float(row["added"])) for row in rows if row.get("added")][:LAYERS]
    most = max((added for _, added in known), default=0.0)
    return scaled([(name, added, f"{100 * added / most:.0f} %") for name, added in known])


def _figure(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    def shown(key: str, form: str, missing: str) -> str:
        value = found.get(key, missing)
        return value if isinstance(value, str) else format(value, form)

    if "equal" in found:
        return name, f"{equal_text(found)} equal", "-", "-", "-"
    return (
        name,
        shown("sqnr_db", ".1f", "exact"),
        shown("sqnr_centred_db", ".1f", "-"),
        shown("max_abs_error", ".3g", "exact"),
        shown("relative_error", ".2%", "-"),
    )


def _commands(path: Path, nms: Mapping[str, Any] | None) -> list[str]:
    checks = f"parity {path.name}" if nms is None else f"eval {path.name} --data DIR"
    lines = [f"edgeconv {checks}", f"edgeconv snippet {path.name} --output app"]
    if path.suffix != ".mlpackage":
        lines.insert(0, f"edgeconv bench {path.name}")
    return lines


def _program(path: Path) -> str | None:
    from edgeconv.snippet import LANGUAGES, write_snippet

    if path.suffix not in LANGUAGES["python"].suffixes:
        return None
    return write_snippet(path, "python", path.parent)[1]


def _pictures(artifact: Artifact) -> dict[str, Any]:
    """Run kept pictures of a classifier again: the worst, and what is taken for what."""
    nothing: dict[str, Any] = {"worst": [], "confusion": [], "looked": 0}
    files, outputs = artifact.manifest["evidence"]["files"], artifact.outputs
    one_row = len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[0] == 1
    if "verify.npz" not in files or not one_row or len(artifact.inputs) != 1:
        return nothing
    kept = artifact.verification()
    inputs = next(value for key, value in kept.items() if key.startswith("input:"))
    real = next(value for key, value in kept.items() if key.startswith("output:"))
    if inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
        return nothing
    judged = artifact.manifest["verification"]["pictures"]
    chosen = places(len(inputs), min(LOOKED, judged))
    made = _run(artifact, inputs[chosen])
    if made is None or made.size != real[chosen].size:
        return nothing
    reference = real[chosen].reshape(made.shape)
    truth = kept["truth"][chosen] if "truth" in kept else np.full(len(chosen), -1)
    names = [str(name) for name in kept.get("names", np.arange(len(inputs)))[chosen]]
    flipped = made.argmax(1) != reference.argmax(1)
    error = np.sqrt(np.square(made.astype(np.float64) - reference).mean(1))
    order = np.argsort(-(error + flipped * (error.max(initial=0.0) + 1)), kind="stable")[:WORST]
    called = _namer(artifact)
    worst = [
        {
            "name": names[i],
            "image": thumbnail(inputs[chosen[i]]),
            "truth": called(int(truth[i])) if truth[i] >= 0 else "",
            "float": called(int(reference[i].argmax())),
            "file": called(int(made[i].argmax())),
            "flipped": bool(flipped[i]),
        }
        for i in order
    ]
    confusion = confused(truth, made.argmax(1), called)
    return {"worst": worst, "confusion": confusion, "looked": len(chosen)}


def _namer(artifact: Artifact) -> Any:
    labels = artifact.labels or []
    return lambda index: labels[index] if index < len(labels) else f"class {index}"


def _run(artifact: Artifact, inputs: NDArray[Any]) -> NDArray[Any] | None:
    """Return (pictures, classes) of the file, None where nothing here runs it."""
    from edgeconv.runtimes.base import open_runner

    spec, rows = artifact.inputs[0], []
    try:
        with open_runner(artifact.path, isolate=True) as runner:
            if not (runner.inputs and runner.outputs):
                return None
            output = runner.outputs[0]
            for picture in inputs:
                fed = adapt_inputs(picture[None], "nchw", spec)
                stored = runner.infer({runner.inputs[0].name: fed})[output.name]
                rows.append(adapt_outputs(stored, output).reshape(-1))
    except EdgeconvError:
        return None
    return np.stack(rows)
