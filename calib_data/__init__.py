"""Calibration and test pictures, as package data (README.md says where they come from)."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def manifest() -> dict[str, Any]:
    """Return manifest.json: origin, licence, labels, and each picture's file, label and SHA-256."""
    data: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    return data


def truth() -> dict[str, int]:
    """Return file name -> class of the pictures in test/."""
    return {entry["file"]: entry["label"] for entry in manifest()["test"]}
