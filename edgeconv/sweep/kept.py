"""Whether a result on disk is one that its task could have left: who changed the folder is not known."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.schema import (
    Check,
    anything,
    as_long,
    checked,
    either,
    flag,
    items,
    mapping,
    maybe,
    number,
    one_of,
    table,
    text,
    whole,
)

VERIFIED = table({"missed": items(table({"text": text}))})
ARTIFACT = table({"file": text, "bytes": whole(0), "verification": VERIFIED})
NO_CLASSES = table({"classifier": one_of(False)})
CLASSES = as_long(
    table({"classifier": one_of(True), "predicted": items(whole()), "wanted": items(whole())}),
    "predicted",
    "wanted",
)
TIMED = table(
    {
        "latency_ms": maybe(number(low=0.0)),
        "interval_ms": maybe(items(number(), 2, 2)),
        "arena_mib": maybe(number(low=0.0)),
        "peak_mib": maybe(number(low=0.0)),
        "busy": flag,
        "emulated": flag,
    }
)
FORMS: Mapping[str, Check] = {
    "export": table(
        {"artifacts": mapping(ARTIFACT), "refused": mapping(text), "assumed": maybe(text)}
    ),
    "evaluate": either(NO_CLASSES, CLASSES),
    "bench": TIMED,
}
"""By kind of task; others keep nothing that is read by name here."""


def sound(kind: str, result: Mapping[str, Any], place: Path) -> bool:
    """Whether ``result`` and the files in ``place`` have the form that a task of ``kind`` leaves."""
    try:
        checked(result, FORMS.get(kind, anything), kind)
        json.dumps(result, allow_nan=False)  # it is printed again
    except (EdgeconvError, ValueError):
        return False
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) for path in place.rglob("*")):
        return False
    names = [artifact["file"] for artifact in result.get("artifacts", {}).values()]
    try:
        return all(Path(name).name == name and _whole(place / name) for name in names)
    except (EdgeconvError, OSError):  # a manifest says that its file has changed
        return False


def _whole(path: Path) -> bool:
    """Whether the exported file at ``path`` is there; EdgeconvError where its manifest is of another."""
    load_artifact(path)
    return path.exists()
