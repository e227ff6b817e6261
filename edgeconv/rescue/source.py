"""An exported file as what it was exported from: its evidence holds the float net and the samples."""

from pathlib import Path
from typing import Any

from edgeconv.artifact import Artifact
from edgeconv.demo_files import demo_folder
from edgeconv.errors import UsageError


def options_of(artifact: Artifact, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ExportOptions that make ``artifact`` again, under what is ``given``.

    The float net is the evidence's raw.onnx, and its verify.npz has the samples, where no others are given. Raises UsageError where nothing says what to calibrate on.
    """
    if artifact.precision != "int8":
        raise UsageError(f"{artifact.path} is {artifact.precision}: there is no recipe to mend")
    own: dict[str, Any] = {"net": str(artifact.evidence("raw.onnx"))}
    how = artifact.preprocessing
    if how is not None and not given.get("preprocessing"):
        own |= {"mean": how.mean, "std": how.std}
    if how is not None:
        own["crop"] = how.crop
    if how is not None and how.order != "rgb":
        own["channel_order"] = how.order
    own["targets"] = (artifact.target,)
    own["calib"] = given.get("calib") or _calibration(artifact)
    recipe = (artifact.manifest.get("recipe") or {}).get("name")
    if recipe in ("fast", "std", "best"):
        own["recipe"] = recipe
    own |= {key: value for key, value in given.items() if value not in (None, ())}
    if own["calib"] is None:
        raise UsageError(f"say what {artifact.path} is calibrated on: --calib DIR or FILE.npz")
    if given.get("verify") is None and not (how is not None and how.embedded):
        own["verify"] = str(artifact.evidence("verify.npz"))
    return own


def _calibration(artifact: Artifact) -> str | None:
    """Return where the calibration samples lay, if they still do."""
    if (artifact.manifest.get("weights") or {}).get("source") == "bundled":
        return str(demo_folder("pictures") / "calibration")
    origin = str((artifact.manifest.get("calibration") or {}).get("origin", ""))
    return origin if origin and Path(origin).exists() else None
