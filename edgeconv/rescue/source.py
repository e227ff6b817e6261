"""An exported file as what it was exported from: its evidence holds the float net and the samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.artifact import Artifact
from edgeconv.demo_files import demo_folder
from edgeconv.errors import UsageError, reading
from edgeconv.export.targets import TARGETS
from edgeconv.foreign import refuse_no_model
from edgeconv.formats.onnx_file import read_onnx
from edgeconv.inspection import inspect_file
from edgeconv.rescue.attempts import Attempt

INTEGERS = frozenset(
    {"QuantizeLinear", "QGemm", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)
"""Operators of .onnx files that are quantized, beside QLinear..."""


def options_of(artifact: Artifact, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ExportOptions that make ``artifact`` again, under what is ``given``.

    The float net is the evidence's raw.onnx, and its verify.npz has the samples, where no others are given and no
    truth of pictures is. Raises UsageError where nothing says what to calibrate on.
    """
    if artifact.precision != "int8":
        raise UsageError(f"{artifact.path} is {artifact.precision}: there is no recipe to mend")
    if artifact.own_integers:
        raise UsageError(
            f"{artifact.path} has the integers that its model came with, which no attempt changes: export the float "
            "model with --int8 --calib, and rescue that file"
        )
    own: dict[str, Any] = {"net": str(artifact.evidence("raw.onnx"))}
    how = artifact.preprocessing
    if how is not None and not given.get("preprocessing"):
        own |= {"mean": how.mean, "std": how.std}
    if how is not None:
        own["crop"] = how.crop
    if how is not None and how.order != "rgb":
        own["channel_order"] = how.order
    own["embed_preprocessing"] = how is not None and how.embedded
    if artifact.labels is not None:
        own["labels"] = artifact.path
    own["softmax"] = bool(artifact.manifest.get("softmax"))
    kinds = {spec.dtype for spec in (*artifact.inputs, *artifact.outputs)}
    own["io"] = next((kind for kind in ("int8", "uint8") if kind in kinds), None)
    own["targets"] = (artifact.target,)
    own["calib"] = given.get("calib") or _calibration(artifact)
    recipe = (artifact.manifest.get("recipe") or {}).get("name")
    if recipe in ("fast", "std", "best"):
        own["recipe"] = recipe
    own |= {key: value for key, value in given.items() if value not in (None, (), False)}
    if own["calib"] is None:
        raise UsageError(f"say what {artifact.path} is calibrated on: --calib DIR or FILE.npz")
    told = given.get("truth") is not None  # of pictures, which the evidence has no more
    if given.get("verify") is None and not told and not _leaves_them(artifact, Path(own["calib"])):
        own["verify"] = str(artifact.evidence("verify.npz"))
    return own


def refuse_not_ours(net: str) -> None:
    """Raise where ``net`` is a file that holds no float net: one of a target, or an .onnx that is quantized.

    Raises EdgeconvError for one that is damaged, else UsageError.
    """
    path = Path(net)
    if path.suffix.lower() not in {row.suffix for row in TARGETS.values()}:
        return
    refuse_no_model(path)
    if path.suffix.lower() == ".onnx":
        with reading(f"{path} cannot be read"):
            nodes = read_onnx(path.read_bytes(), net).nodes
        if any(node.op in INTEGERS or node.op.startswith("QLinear") for node in nodes):
            raise UsageError(
                f"{path} is quantized, and no attempt changes the integers that it came with: export the float model "
                "with --int8 --calib, and rescue that file"
            )
        return
    inspect_file(path)  # says what is wrong with one that is damaged
    raise UsageError(
        f"{path} has no manifest beside it ({path.name}.json), which says what float net it was made of: rescue a "
        "file where edgeconv exported it, or name the float net"
    )


def other_pictures(artifact: Artifact, given: Mapping[str, Any]) -> Attempt | None:
    """Return ``--calib`` as the attempt that it is where the file was calibrated on others, which are there still.

    None too where the truth of the pictures that verify is of those.
    """
    calib, own = given.get("calib"), _calibration(artifact)
    if calib is None or own is None or Path(calib).resolve() == Path(own).resolve():
        return None
    if given.get("truth") is not None and given.get("verify") is None:
        return None
    fields = {"calib": calib}
    return Attempt(("--calib", str(calib)), fields, "other pictures than it was calibrated on")


def as_calibrated(artifact: Artifact, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is ``given`` with the file's own calibration, and the samples that verified it where no others are."""
    verify = given.get("verify") or str(artifact.evidence("verify.npz"))
    return {**given, "calib": _calibration(artifact), "verify": verify}


def _calibration(artifact: Artifact) -> str | None:
    """Return where the calibration samples lay, if they still do."""
    if (artifact.manifest.get("weights") or {}).get("source") == "bundled":
        return str(demo_folder("pictures") / "calibration")
    origin = str((artifact.manifest.get("calibration") or {}).get("origin", ""))
    return origin if origin and Path(origin).exists() else None


def _leaves_them(artifact: Artifact, calib: Path) -> bool:
    """Whether calibrating on ``calib`` leaves the pictures that verified again, which it must not learn from."""
    arrays = artifact.verification()
    origin = (artifact.manifest.get("calibration") or {}).get("origin")
    if (
        str(calib) != origin
        or not calib.is_dir()
        or any(known >= 0 for known in arrays.get("truth", ()))
    ):
        return False  # what they show is in the evidence alone
    return all((calib / str(name)).is_file() for name in arrays.get("names", ()))
