"""The weights that are bundled: what their bundled.json says of them. No torch here."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.demo_files import demo_folder
from edgeconv.errors import EdgeconvError, UsageError


@dataclass(frozen=True)
class BundledWeights:
    """One net's entry: its file, how it was trained and fed, and its measured top-1 in percent."""

    path: Path
    sha256: str
    top1: float
    dataset: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    resolution: int
    labels: tuple[str, ...]
    command: str


@functools.cache
def bundled() -> dict[str, BundledWeights]:
    """Return every net's bundled weights by name.

    Raises MissingDependencyError where they are not installed, EdgeconvError where their index is
    missing or damaged.
    """
    folder = demo_folder("weights")
    index = folder / "bundled.json"
    try:
        data: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        return {
            name: BundledWeights(
                folder / entry["file"],
                entry["sha256"],
                entry["top1"],
                data["data"]["name"],
                tuple(data["input"]["mean"]),
                tuple(data["input"]["std"]),
                data["input"]["crop"],
                data["input"]["resolution"],
                tuple(data["labels"]),
                entry["command"],
            )
            for name, entry in data["nets"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgeconvError(
            f"{index} is missing or damaged: install edgeconv-demo again"
        ) from error


def find_bundled(net: str) -> BundledWeights:
    """Return the bundled weights of ``net``. Raises UsageError where it has none."""
    known = bundled()
    if net not in known:
        raise UsageError(
            f"no bundled weights for {net}: give --weights FILE, or random (bundled are "
            f"{', '.join(known)})"
        )
    return known[net]
