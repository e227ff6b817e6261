"""What an exported file says of itself: the manifest beside it and the evidence folder.

``NAME.tflite`` has ``NAME.tflite.json`` (the manifest) and shares ``STEM.evidence/`` with the other
files of the same export: raw.onnx, hub.onnx, prepared.onnx, recipe.json (INT8), tensors_<target>.json
(prepared tensor -> ``name`` in the artifact and, for a tensor that holds more channels there,
``channels``: for each of them its place in the prepared tensor, -1 for an added one) and verify.npz.

verify.npz holds ``input:<name>`` (pictures, ...) as the hub graph takes them (NCHW float32, or raw
pixels where preprocessing is embedded), ``output:<name>`` of the float reference, ``names`` of
the pictures, and ``truth`` (int64 class, -1 unknown) where labels are known.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.files import digest, model_files, partner, sha256, write_text
from edgeconv.manifest_schema import MANIFEST
from edgeconv.recipe import FROM_FILE
from edgeconv.schema import checked, read_json, table, whole
from edgeconv.settle import settle_all
from edgeconv.tensors import Quantization, TensorSpec
from edgeconv.verification import read_verification

MANIFEST_VERSION = 1


LETTERBOX: Literal["letterbox"] = "letterbox"
Crop = float | Literal["letterbox"]
"""The part of the resized picture that the centre crop keeps, or the whole of it between grey bars."""
Order = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the tensor: resize so that the centre crop is ``crop`` of it, crop, scale.

    ``mean`` and ``std`` are on the 0..1 scale, one value or one a channel of the tensor:
    x = (p/255 - mean)/std. ``size`` is (height, width) of the tensor. ``embedded``: the model takes
    raw 0..255 pixels and scales them itself. ``order``: how three channels lie in the tensor.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: Crop
    size: tuple[int, int]
    embedded: bool = False
    order: Order = "rgb"

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's form of it, with the fixed parts spelled out."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "crop": self.crop,
            "size": list(self.size),
            "embedded": self.embedded,
            "colour": self.order.upper(),
            "resize": "bilinear, antialiased, "
            + ("longer side, bars of 114" if self.crop == LETTERBOX else "shorter side"),
            "formula": "(pixel / 255 - mean) / std",
        }


def preprocessing_from_json(data: Mapping[str, Any]) -> Preprocessing:
    """Read the manifest's ``preprocessing``."""
    height, width = data["size"]
    order: Order = "bgr" if data.get("colour") == "BGR" else "rgb"
    return Preprocessing(
        tuple(data["mean"]),
        tuple(data["std"]),
        data["crop"],
        (height, width),
        data["embedded"],
        order,
    )


def spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    """Return a TensorSpec as manifest data."""
    q = spec.quantization
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "layout": spec.layout,
        "quantization": None if q is None else dataclasses.asdict(q),
    }


def spec_from_json(data: Mapping[str, Any]) -> TensorSpec:
    """Read a TensorSpec from manifest data."""
    q = data["quantization"]
    return TensorSpec(
        data["name"],
        tuple(data["shape"]),
        data["dtype"],
        data["layout"],
        None if q is None else Quantization(q["scale"], q["zero_point"], q.get("offset", 0.0)),
    )


def manifest_path(artifact: Path) -> Path:
    """Return where the manifest of ``artifact`` lies."""
    return artifact.parent / f"{artifact.name}.json"  # "." has no name that could be another


@dataclass(frozen=True)
class Artifact:
    """An exported file together with its manifest (see export/manifest.py for every field)."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def target(self) -> str:
        """onnx, tflite, coreml, executorch or ncnn."""
        return str(self.manifest["target"])

    @property
    def precision(self) -> str:
        """fp32, fp16 or int8."""
        return str(self.manifest["precision"])

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs as the file declares them."""
        return tuple(spec_from_json(item) for item in self.manifest["inputs"])

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs as the file declares them."""
        return tuple(spec_from_json(item) for item in self.manifest["outputs"])

    @property
    def real_outputs(self) -> bool:
        """Whether every output is float32: some of them may then hold no integers of the recipe."""
        return all(spec.dtype == "float32" for spec in self.outputs)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How a picture becomes the input; None for a net that takes no pictures."""
        data = self.manifest["preprocessing"]
        return None if data is None else preprocessing_from_json(data)

    @property
    def frozen_inputs(self) -> Mapping[str, Any]:
        """What inputs of the exported model hold that are constants here: numbers and nested lists."""
        return self.manifest.get("frozen_inputs") or {}

    @property
    def layout(self) -> str:
        """Where the channels of its first input are: NCHW or NHWC."""
        return self.inputs[0].layout.upper()

    @property
    def labels(self) -> list[str] | None:
        """Class names in output order, where known."""
        names = self.manifest["labels"]
        return None if names is None else list(names)

    @property
    def probabilities(self) -> bool:
        """Whether its classes' scores are probabilities, by a softmax of ours or the net's own."""
        return bool(self.manifest.get("softmax") or self.manifest.get("probabilities"))

    @property
    def own_integers(self) -> bool:
        """Whether its integers are those that its model came with: they are what it stands for, no float net."""
        return (self.manifest.get("recipe") or {}).get("name") == FROM_FILE

    @property
    def original(self) -> str:
        """The name of the evidence that it is held against: the hub's float graph, or the quantized model as it came."""
        return "raw.onnx" if self.own_integers else "hub.onnx"

    @property
    def nms(self) -> Mapping[str, Any] | None:
        """What a file with NMS inside says of it: head, final, verified, iou, score, most."""
        found: Mapping[str, Any] | None = self.manifest.get("nms")
        return found

    def evidence(self, name: str) -> Path:
        """Return a checked file of the evidence folder.

        Raises EdgeconvError where the manifest lists no such file, it is gone, or its hash is not
        the one recorded.
        """
        files = self.manifest["evidence"]["files"]
        if name not in files:
            raise EdgeconvError(f"{self.path} was exported without {name}")
        path = self.path.parent / str(self.manifest["evidence"]["folder"]) / name
        if not path.is_file():
            raise EdgeconvError(f"{path} is gone; export {self.path.name} again")
        if sha256(path) != files[name]:
            raise EdgeconvError(f"{path} is not the file that {self.path.name} was exported with")
        return path

    def verification(self) -> dict[str, NDArray[Any]]:
        """Return the pictures and float outputs that the export was verified on, by read_verification."""
        return read_verification(self.evidence("verify.npz"))


def load_artifact(path: Path) -> Artifact | None:
    """Return the artifact at ``path``, or None where it has no manifest beside it.

    Raises EdgeconvError where the manifest is unreadable or belongs to another file.
    """
    settle_all(path.parent)
    beside = manifest_path(path)
    if not beside.is_file():
        return None
    ours = "a manifest that edgeconv wrote"
    versioned = table({"edgeconv_manifest": whole()})
    read = checked(read_json(beside, ours), versioned, f"{beside} is not {ours}")
    if (version := read["edgeconv_manifest"]) != MANIFEST_VERSION:
        raise EdgeconvError(f"{beside} is a manifest of version {version}, not {MANIFEST_VERSION}")
    manifest = checked(read, MANIFEST, f"{beside} is not {ours}")
    other = partner(path)
    if other is not None and path.exists() and not other.exists():
        raise EdgeconvError(f"{other} is missing: {path.name} and {other.name} are one model")
    if path.exists() and digest(path) != manifest["sha256"]:
        raise EdgeconvError(
            f"{_changed(path, manifest)} since {beside.name} was written; export it again"
        )
    return Artifact(path, manifest)


def _changed(path: Path, manifest: Mapping[str, Any]) -> str:
    """Say which of a model's files is not the one that the manifest was written for."""
    files = model_files(path)
    if path.is_dir() or len(files) == 1:
        return f"{path} has changed"
    known: Mapping[str, str] = manifest.get("files") or {}
    if set(known) != {file.name for file in files}:
        return f"{' or '.join(map(str, files))} has changed, or been renamed,"
    other = [str(file) for file in files if sha256(file) != known[file.name]]
    return f"{' and '.join(other)} {'has' if len(other) == 1 else 'have'} changed"


def save_manifest(artifact: Artifact) -> None:
    """Write the manifest beside the artifact."""
    text = json.dumps(dict(artifact.manifest), indent=1) + "\n"
    write_text(manifest_path(artifact.path), text)
