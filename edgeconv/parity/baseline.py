"""A committed file of figures, and what got worse since."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.files import write_text
from edgeconv.judge import text as words
from edgeconv.judge.measures import MEASURES, show
from edgeconv.parity.matrix import Matrix
from edgeconv.schema import (
    Check,
    anything,
    checked,
    either,
    items,
    mapping,
    maybe,
    number,
    one_of,
    read_json,
    table,
    text,
)

FORMAT = 1

KEPT = (
    "sqnr_db",
    "agreement_top1",
    "equal",
    "agreement_top5",
    "kl",
    "flips_beyond",
    "top1",
    "relative_error",
)
"""Figures of a run that the baseline holds."""

SLACK: dict[str, tuple[float, float]] = {
    "sqnr_db": (0.5, 0.0),
    "agreement_top1": (0.005, 0.0),
    "equal": (0.005, 0.0),
    "agreement_top5": (0.005, 0.0),
    "kl": (1e-6, 0.25),
    "flips_beyond": (0.0, 0.0),
    "top1": (0.005, 0.0),
    "relative_error": (1e-6, 0.5),
    "bytes": (0.0, 0.01),
    "int8_share": (0.0, 0.0),
    "transposes": (0.0, 0.0),
    "fallback_nodes": (0.0, 0.0),
}
"""How much worse is still the same: (absolute, as a share of the old value). Another processor sums
float32 in another order, which can move a weight of a recipe by one step. A baseline's own "slack"
(name: [absolute, share]) goes before: it survives --update-baseline."""

CLEAN_DB = 90.0
"""Above this an SQNR is the order of float32 sums, and no worse than any other."""

FILE_FIGURES = {"bytes": "low", "int8_share": "high", "transposes": "low", "fallback_nodes": "low"}
"""Figures of the file, from its manifest, and which way is better."""

FIGURE = either(one_of("inf", "-inf", "nan"), number(finite=False))


def _figures(names: Collection[str]) -> Check:
    return table({}, dict.fromkeys(names, FIGURE), closed=True)


BASELINE = table(
    {
        "rows": mapping(
            table(
                {},
                {
                    "outputs": mapping(_figures(MEASURES)),
                    "file": _figures(FILE_FIGURES),
                    "error": maybe(text),
                },
            )
        )
    },
    {"slack": table({}, dict.fromkeys(SLACK, items(number(low=0.0), 2, 2)), closed=True)},
)


def worth_keeping(matrix: Matrix) -> dict[str, Any]:
    """Return the figures of a matrix that a baseline holds, by row and output."""
    rows: dict[str, Any] = {}
    for row in matrix.rows:
        if row.verdict is None or row.outputs is None:
            rows[row.label] = {"error": row.error}
            continue
        outputs = {
            output: {name: words.number(figures[name]) for name in KEPT if name in figures}
            for output, figures in row.verdict.figures.items()
        }
        file = row.outputs.about.get("file", {})
        known = {name: file[name] for name in FILE_FIGURES if name in file}
        rows[row.label] = {"outputs": outputs, "file": known}
    return {"edgeconv_baseline": FORMAT, "count": matrix.samples.count, "rows": rows}


def save_baseline(path: Path, data: Mapping[str, Any]) -> None:
    """Write the baseline, one figure a line, so that a review reads as a diff of figures."""
    if path.exists() and (kept := load_baseline(path).get("slack")):
        data = {**data, "slack": kept}
    write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


def load_baseline(path: Path) -> dict[str, Any]:
    """Read a baseline; raises EdgeconvError where it is none."""
    ours = "a baseline that edgeconv wrote"
    source = f"{path} is not {ours}"
    data = read_json(path, ours, "; write it first with --update-baseline")
    versioned = checked(data, table({"edgeconv_baseline": anything}), source)
    if versioned["edgeconv_baseline"] != FORMAT:
        raise EdgeconvError(f"{path} is a baseline of another version: --update-baseline")
    return dict(checked(data, BASELINE, source))


def compare_baseline(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each figure that got worse, and for rows that are gone or now fail."""
    slack = {**SLACK, **old.get("slack", {})}
    for label, row in old["rows"].items():
        now = new["rows"].get(label)
        if now is None:
            yield f"{label} is in the baseline and was not run"
            continue
        if "outputs" not in row:
            continue
        if "outputs" not in now:
            yield f"{label} ran before and now fails: {now.get('error')}"
            continue
        for output, figures in row["outputs"].items():
            fresh = now["outputs"].get(output, {})
            for name, value in figures.items():
                was = show(name, float(value))
                if name not in fresh:
                    yield f"{label}: {output}: {name} was {was} and is no longer measured"
                elif is_worse(name, float(value), float(fresh[name]), slack):
                    got = show(name, float(fresh[name]))
                    yield f"{label}: {output}: {name} was {was} and is {got}"
        for name, value in row.get("file", {}).items():
            known = now.get("file", {}).get(name)
            if known is None:
                yield f"{label}: {name} was {float(value):g} and is no longer known"
            elif is_worse(name, float(value), float(known), slack):
                yield f"{label}: {name} was {float(value):g} and is {float(known):g}"


def is_worse(
    name: str, old: float, new: float, slack: Mapping[str, Sequence[float]] = SLACK
) -> bool:
    """Whether ``new`` is worse than ``old`` by more than the figure's slack.

    >>> is_worse("sqnr_db", 20.0, 19.8), is_worse("sqnr_db", 20.0, 19.0)
    (False, True)
    >>> is_worse("sqnr_db", 131.0, 126.0)
    False
    """
    better = FILE_FIGURES.get(name) or MEASURES[name].better
    absolute, share = slack.get(name, (0.0, 0.0))
    if name == "sqnr_db":
        old, new = min(old, CLEAN_DB), min(new, CLEAN_DB)
    if old == new:
        return False
    room = absolute + share * abs(old) if abs(old) != float("inf") else absolute
    return new < old - room if better == "high" else new > old + room
