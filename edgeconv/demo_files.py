"""Where the bundled weights and pictures are: beside the code in a checkout, else in edgeconv-demo."""

import importlib.util
from pathlib import Path
from typing import Literal

from edgeconv.deps import MissingDependencyError

Part = Literal["weights", "pictures"]
CHECKOUT = Path(__file__).resolve().parents[1]
KEPT: dict[Part, str] = {"weights": "models/bundled", "pictures": "calib_data"}
"""Where a checkout keeps each part; the package's own folders of these names link there."""


def find_demo(part: Part) -> Path | None:
    """Return the folder of the bundled weights or pictures, None where they are not installed.

    ``weights`` holds bundled.json and its files; ``pictures`` calibration/, test/, manifest.json
    and labels.txt.
    """
    if (CHECKOUT / "demo" / "pyproject.toml").is_file():
        return CHECKOUT / KEPT[part]
    found = importlib.util.find_spec("edgeconv_demo")  # nothing of it is imported
    return None if found is None or found.origin is None else Path(found.origin).parent / part


def demo_folder(part: Part) -> Path:
    """Return ``find_demo``'s folder. Raises MissingDependencyError where there is none."""
    folder = find_demo(part)
    if folder is None:
        raise MissingDependencyError(
            "the bundled weights and pictures are a package of their own: pip install edgeconv-demo, "
            "or give your own (--weights FILE, --calib DIR)"
        )
    return folder
