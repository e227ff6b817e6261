"""A manifest round-trips, and a file that is not its manifest's is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.artifact import (
    Artifact,
    Preprocessing,
    load_artifact,
    manifest_path,
    preprocessing_from_json,
    save_manifest,
    spec_from_json,
    spec_to_json,
)
from edgeconv.errors import EdgeconvError
from edgeconv.files import sha256
from edgeconv.tensors import Quantization, TensorSpec
from edgeconv.verification import read_verification

real = st.floats(allow_nan=False, allow_infinity=False)
quantizations = st.builds(Quantization, real, st.integers(-128, 255), real)
specs = st.builds(
    TensorSpec,
    st.text(),
    st.lists(st.integers(0, 9)).map(tuple),
    st.sampled_from(["float32", "int8", "uint8"]),
    st.sampled_from(["nchw", "nhwc", "other"]),
    st.none() | quantizations,
)


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


@given(specs)
def test_a_tensor_spec_round_trips(spec: TensorSpec) -> None:
    assert spec_from_json(through_json(spec_to_json(spec))) == spec


values = st.lists(real, min_size=1, max_size=3).map(tuple)
sizes = st.tuples(st.integers(1, 999), st.integers(1, 999))


@given(st.builds(Preprocessing, values, values, real, sizes, st.booleans()))
def test_preprocessing_round_trips(how: Preprocessing) -> None:
    assert preprocessing_from_json(through_json(how.to_json())) == how


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A small artifact on disk, with evidence."""
    path = tmp_path / "net_int8.tflite"
    path.write_bytes(b"model")
    folder = tmp_path / "net_int8.evidence"
    folder.mkdir()
    arrays: dict[str, Any] = {"input:x": np.ones((2, 3)), "output:y": np.ones((2, 2))}
    np.savez(folder / "verify.npz", **arrays)
    manifest = {
        "edgeconv_manifest": 1,
        "target": "tflite",
        "precision": "int8",
        "sha256": sha256(path),
        "inputs": [spec_to_json(TensorSpec("x", (1, 3), "int8", "other", Quantization(0.5, -128)))],
        "outputs": [spec_to_json(TensorSpec("y", (1, 2)))],
        "preprocessing": None,
        "labels": ["ä", "b"],
        "evidence": {
            "folder": folder.name,
            "files": {"verify.npz": sha256(folder / "verify.npz")},
        },
    }
    made = Artifact(path, manifest)
    save_manifest(made)
    return made


def test_an_artifact_comes_back_as_it_was_saved(artifact: Artifact) -> None:
    found = load_artifact(artifact.path)
    assert found == artifact
    assert found is not None
    assert (found.target, found.precision, found.labels) == ("tflite", "int8", ["ä", "b"])
    assert found.inputs[0].quantization == Quantization(0.5, -128)
    assert found.outputs[0].shape == (1, 2)
    assert found.preprocessing is None
    assert (found.verification()["input:x"] == 1).all()


def test_the_manifest_lies_beside_the_file(artifact: Artifact) -> None:
    assert manifest_path(artifact.path).name == "net_int8.tflite.json"
    assert manifest_path(artifact.path).is_file()


def test_a_file_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert load_artifact(tmp_path / "x.onnx") is None


def test_a_changed_file_is_refused(artifact: Artifact) -> None:
    artifact.path.write_bytes(b"other")
    with pytest.raises(EdgeconvError, match=r"net_int8\.tflite has changed since"):
        load_artifact(artifact.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '{"sha256": 1}', "\udcff"])
def test_what_is_no_manifest_is_refused(artifact: Artifact, text: str) -> None:
    manifest_path(artifact.path).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(EdgeconvError, match=r"json is not a manifest that edgeconv wrote"):
        load_artifact(artifact.path)


def test_a_manifest_of_another_version_is_refused(artifact: Artifact) -> None:
    save_manifest(Artifact(artifact.path, {**artifact.manifest, "edgeconv_manifest": 2}))
    with pytest.raises(EdgeconvError, match="manifest of version 2, not 1"):
        load_artifact(artifact.path)


def test_evidence_that_was_never_kept_is_named(artifact: Artifact) -> None:
    with pytest.raises(EdgeconvError, match=r"was exported without recipe\.json"):
        artifact.evidence("recipe.json")


def test_evidence_that_is_gone_or_changed_is_named(artifact: Artifact) -> None:
    path = artifact.evidence("verify.npz")
    path.write_bytes(b"other")
    with pytest.raises(EdgeconvError, match=r"verify\.npz is not the file that net_int8\.tflite"):
        artifact.verification()
    path.unlink()
    with pytest.raises(EdgeconvError, match=r"verify\.npz is gone; export net_int8\.tflite again"):
        artifact.verification()


def test_a_manifest_has_the_same_bytes_every_time(artifact: Artifact) -> None:
    first = manifest_path(artifact.path).read_bytes()
    save_manifest(artifact)
    assert manifest_path(artifact.path).read_bytes() == first


KEPT: dict[str, Any] = {
    "input:x": np.zeros((3, 1, 2, 2), np.float32),
    "output:y": np.ones((3, 4), np.float32),
    "names": np.array(["a", "b", "c"]),
    "truth": np.array([0, 1, -1]),
}


def test_what_was_verified_on_is_read_with_packed_pictures_unpacked(tmp_path: Path) -> None:
    levels = np.linspace(-1, 1, 256, dtype=np.float32)[None]
    packed = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2)
    kept = {**KEPT, "packed:x": packed, "levels:x": levels}
    del kept["input:x"]
    np.savez(tmp_path / "verify.npz", **kept)
    found = read_verification(tmp_path / "verify.npz")
    assert found.keys() == KEPT.keys()
    assert np.array_equal(found["input:x"], levels[0][packed])


def test_pictures_and_float_outputs_on_them_belong_to_what_is_kept(tmp_path: Path) -> None:
    for gone in ("input:x", "output:y"):
        np.savez(tmp_path / "verify.npz", **{k: v for k, v in KEPT.items() if k != gone})
        with pytest.raises(EdgeconvError, match="holds no verification pictures"):
            read_verification(tmp_path / "verify.npz")


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("truth", np.array(3), "truth holds nothing for a picture"),
        ("truth", np.array([0.5, 1, 2]), "truth holds nothing"),
        ("names", np.array(["a"]), "different numbers of pictures: input:x 3, output:y 3, names 1"),
        ("names", np.arange(3), "names holds nothing"),
        ("output:y", np.ones((2, 4)), "output:y 2"),
        ("input:x", np.array(["a"] * 3), "input:x holds nothing"),
        ("packed:x", np.zeros((3, 1, 2, 2), np.uint8), "packed:x and its levels"),
    ],
)
def test_what_does_not_belong_to_the_other_pictures_is_named(
    tmp_path: Path, name: str, array: Any, said: str
) -> None:
    np.savez(tmp_path / "verify.npz", **{**KEPT, name: array})
    with pytest.raises(EdgeconvError, match=said):
        read_verification(tmp_path / "verify.npz")


def test_the_current_folder_has_no_manifest() -> None:
    assert not manifest_path(Path()).exists()
