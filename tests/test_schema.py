"""Foreign data is refused with the file and the field, whatever is wrong with it."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_kit import put, wrongs

from edgeconv import arrays
from edgeconv.arrays import INFLATE_VARIABLE, read_arrays
from edgeconv.artifact import Artifact, load_artifact, manifest_path, spec_to_json
from edgeconv.errors import EdgeconvError
from edgeconv.files import sha256
from edgeconv.judge.budget import load_budgets
from edgeconv.judge.outputs import load_outputs
from edgeconv.parity.baseline import compare_baseline, load_baseline
from edgeconv.parity.promise import FLOAT_OUTPUTS
from edgeconv.pictures import read_picture
from edgeconv.recipe import Activation, Recipe, Weights, load_recipe
from edgeconv.schema import checked, number, parse_json
from edgeconv.tensors import Quantization, TensorSpec

MANIFEST: dict[str, Any] = {
    "edgeconv_manifest": 1,
    "target": "tflite",
    "precision": "int8",
    "softmax": False,
    "inputs": [spec_to_json(TensorSpec("x", (1, 3), "int8", "other", Quantization(0.5, -128)))],
    "outputs": [spec_to_json(TensorSpec("y", (1, 2)))],
    "preprocessing": {"mean": [0.5], "std": [0.5], "crop": 0.9, "size": [8, 8], "embedded": False},
    "labels": ["a", "b"],
    "evidence": {"folder": "net.evidence", "files": {}},
    "verification": {"figures": {"y": {"agreement_top1": 1.0}}, "pictures": 3},
}  # fmt: skip

RECIPE = Recipe(
    "std",
    "asymmetric",
    {"x": Activation(0.1, 0, -1.0, 1.0)},
    {"conv": Weights(np.ones(2, np.int8), np.ones(2, np.float32), np.ones(2, np.int32), np.ones(2, np.float32))},
    notes={"histograms": {"x": {"low": 0.0, "high": 1.0, "counts": [3, 4]}},
           "layers": {"conv": {"clip_rate": 0.0, "weight_error": 0.1, "noise": None, "added": 0.1}},
           "candidates": [{"candidate": "a", "form": "b", "loss": 0.1, "sqnr_db": 9.0, "agreement": None}]},
).to_json()  # fmt: skip

BASELINE: dict[str, Any] = {
    "edgeconv_baseline": 1,
    "rows": {"a": {"outputs": {"y": {"sqnr_db": 20.0, "kl": "inf"}}, "file": {"bytes": 9.0}}},
}


def refused_or_read(read: Any, path: Path) -> bool:
    """Read; True where it was refused with the file's name. Any other exception fails the test."""
    try:
        read()
    except EdgeconvError as error:
        said = str(error)
    else:
        return False
    assert path.name in said
    assert len(said.splitlines()) == 1
    return True


def test_every_field_of_a_manifest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"model")
    manifest = {**MANIFEST, "sha256": sha256(path)}

    def read() -> None:
        found = load_artifact(path)
        assert found is not None
        assert (found.inputs, found.outputs, found.preprocessing, found.labels) is not None

    manifest_path(path).write_text(json.dumps(manifest))
    read()
    refused = 0
    for place, value in wrongs(manifest):
        manifest_path(path).write_text(json.dumps(put(manifest, place, value)))
        refused += refused_or_read(read, path)
    assert refused > 200


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (("preprocessing", "crop"), 0, "preprocessing.crop is 0, not a number from 0.01 to 100"),
        (("preprocessing", "std"), [0], r"preprocessing.std\[0\] is 0"),
        (("preprocessing", "size"), [8], "preprocessing.size has 1 items, not 2"),
        (("inputs", 0, "dtype"), "object", r"inputs\[0\].dtype is \"object\", not one of float32"),
        (("labels",), "ab", 'labels is "ab", not a list'),
        (("evidence", "folder"), "../elsewhere", "evidence.folder is '../elsewhere', not the name"),
        (("outputs", 0, "name"), ..., r"outputs\[0\].name is missing"),
    ],
)
def test_the_field_and_what_it_must_be_are_named(
    tmp_path: Path, field: tuple[Any, ...], value: Any, said: str
) -> None:
    path = tmp_path / "net.tflite"
    manifest = put({**MANIFEST, "sha256": ""}, field, value)
    manifest_path(path).write_text(json.dumps(manifest))
    with pytest.raises(EdgeconvError, match=said):
        load_artifact(path)


def test_every_field_of_a_recipe_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from edgeconv.export.quant.explain import explain

    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE))
    explain(load_recipe(path)).text()
    refused = 0
    for place, value in wrongs(RECIPE):
        path.write_text(json.dumps(put(RECIPE, place, value)))
        refused += refused_or_read(lambda: explain(load_recipe(path)).text(), path)
    assert refused > 150


def test_every_field_of_a_baseline_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(BASELINE))
    load_baseline(path)
    refused = 0
    for place, value in wrongs(BASELINE):
        path.write_text(json.dumps(put(BASELINE, place, value)))
        refused += refused_or_read(
            lambda: list(compare_baseline(load_baseline(path), BASELINE)), path
        )
    assert refused > 30


def test_a_figure_that_vanished_is_worse() -> None:
    assert list(compare_baseline(BASELINE, BASELINE)) == []
    gone = put(BASELINE, ("rows", "a", "outputs", "y", "sqnr_db"), ...)
    assert list(compare_baseline(BASELINE, gone)) == [
        "a: y: sqnr_db was 20.0 and is no longer measured"
    ]
    unknown = put(BASELINE, ("rows", "a", "file", "bytes"), ...)
    assert list(compare_baseline(BASELINE, unknown)) == ["a: bytes was 9 and is no longer known"]
    failed = {**BASELINE, "rows": {"a": {"error": "crashed"}}}
    assert list(compare_baseline(BASELINE, failed)) == ["a ran before and now fails: crashed"]
    assert list(compare_baseline(failed, BASELINE)) == [], (
        "a row that failed before can only improve"
    )


@pytest.mark.parametrize(
    "about",
    ["{", "[]", "[" * 100_000, '{"kind": "1e308"}', '{"scales": {"y": 0}}', '{"class_offset": -1}',
     '{"truth": ["a"]}', '{"names": 3}', '{"label": []}'],
    ids=range(9),
)  # fmt: skip
def test_saved_outputs_say_what_is_wrong(tmp_path: Path, about: str) -> None:
    path = tmp_path / "outputs.npz"
    arrays: dict[str, Any] = {"output:y": np.ones((2, 3))}
    np.savez(path, about=np.array(about), **arrays)
    with pytest.raises(EdgeconvError, match=r"outputs.npz: about"):
        load_outputs(path)


def test_saved_outputs_of_no_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    np.savez(path, y=np.array(3))
    with pytest.raises(EdgeconvError, match="y holds no rows of numbers"):
        load_outputs(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, b"\xff", "{", "1" * 5000])
def test_what_is_no_json_is_one_sentence(text: str | bytes) -> None:
    with pytest.raises(EdgeconvError, match=r"^it is no JSON: ."):
        parse_json(text, "it is no JSON")


def test_a_budget_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("a=" + "[" * 100_000)
    with pytest.raises(EdgeconvError, match=r"budget.toml is nested too deeply"):
        load_budgets(path)


def test_an_archive_that_inflates_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INFLATE_VARIABLE, "1")
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((5 << 20,), np.uint8))
    with pytest.raises(EdgeconvError, match=r"bomb.npz has .* would grow to 5 MB: --max-inflate 6"):
        read_arrays(path)
    monkeypatch.setenv(INFLATE_VARIABLE, "6")
    assert read_arrays(path)["x"].nbytes == 5 << 20
    monkeypatch.setenv(INFLATE_VARIABLE, "1")
    honest = tmp_path / "honest.npz"
    np.savez(honest, x=np.zeros((3 << 20,), np.uint8))
    assert read_arrays(honest)["x"].nbytes == 3 << 20, "what is not compressed is no bomb"


def test_an_archive_of_many_arrays_is_refused_and_what_numpy_says_of_it_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tmp_path / "many.npz"
    np.savez(many, np.zeros(1), np.zeros(1), np.zeros(1))
    assert len(read_arrays(many)) == 3
    monkeypatch.setattr(arrays, "MOST", 2)
    with pytest.raises(EdgeconvError, match=r"many\.npz holds 3 arrays, more than 2"):
        read_arrays(many)
    odd = tmp_path / "odd.npy"
    header = ("[" * 3000 + "\n").encode()
    odd.write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    with pytest.raises(EdgeconvError, match=r"odd\.npy is not a readable") as told:
        read_arrays(odd)
    assert len(str(told.value)) < 400


def test_an_array_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.npy"
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    path.write_bytes(buffer.getvalue() + b"1234")
    with pytest.raises(EdgeconvError, match=r"claims.npy says that it holds 4398046511104 bytes"):
        read_arrays(path)


def test_members_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(EdgeconvError, match=r"odd.npz"):
        read_arrays(path)


def test_a_picture_of_too_many_pixels_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "large.png"
    image.new("1", (1000, 1000)).save(path)
    monkeypatch.setenv(INFLATE_VARIABLE, "2")
    with pytest.raises(
        EdgeconvError, match=r"large.png has 1000x1000 pixels, 2 MiB: --max-inflate 3"
    ):
        read_picture(path)
    monkeypatch.setenv(INFLATE_VARIABLE, "3")
    assert read_picture(path).shape == (1000, 1000, 3)


def test_a_manifest_is_an_artifacts(tmp_path: Path) -> None:
    """What was checked is what is used: nothing is lost on the way."""
    path = tmp_path / "net.tflite"
    path.write_bytes(b"model")
    manifest = {**MANIFEST, "sha256": sha256(path), "more": {"kept": [1]}}
    manifest_path(path).write_text(json.dumps(manifest))
    assert load_artifact(path) == Artifact(path, manifest)


def test_a_baselines_own_slack_goes_before_ours_and_survives_an_update(tmp_path: Path) -> None:
    from edgeconv.parity.baseline import compare_baseline, load_baseline, save_baseline

    path = tmp_path / "net.baseline.json"

    def figures(sqnr: float) -> dict[str, Any]:
        rows = {"a": {"outputs": {"logits": {"sqnr_db": sqnr}}}}
        return {"edgeconv_baseline": 1, "count": 4, "rows": rows}

    path.write_text(json.dumps({**figures(31.0), "slack": {"sqnr_db": [2.0, 0.0]}}))
    save_baseline(path, figures(30.0))
    kept = load_baseline(path)
    assert not list(compare_baseline(kept, figures(28.5)))
    assert len(list(compare_baseline(kept, figures(27.5)))) == 1
    assert len(list(compare_baseline(figures(30.0), figures(28.5)))) == 1
    path.write_text(json.dumps({**kept, "slack": {"sqnr_db": [-1.0, 0.0]}}))
    with pytest.raises(EdgeconvError, match="slack"):
        load_baseline(path)


def test_bytes_that_are_no_text_are_said_to_be_none() -> None:
    with pytest.raises(EdgeconvError, match=r"a\.tflite is no recipe: it is no text"):
        parse_json(b"\x1c\x00\x00\x00TFL3\xff\xff", "a.tflite is no recipe")


@pytest.mark.parametrize(
    "wrong", [{"float_outputs": "../.."}, {"float_outputs": {"tflite": 3}}, "a"]
)
def test_what_parity_reads_of_a_recipe_is_checked(wrong: Any) -> None:
    with pytest.raises(EdgeconvError, match=r"recipe\.json: "):
        checked(wrong, FLOAT_OUTPUTS, "recipe.json")
    assert checked(
        {"form": "asymmetric", "float_outputs": {"tflite": ["y"]}}, FLOAT_OUTPUTS, "recipe.json"
    )


def test_a_whole_number_that_no_array_holds_is_taken_as_a_float() -> None:
    """Arithmetic with arrays would make objects of it."""
    assert isinstance(checked(10**300, number(), "it"), float)
    assert isinstance(checked(2**53, number(), "it"), int)
    with pytest.raises(EdgeconvError, match="it is 1000"):
        checked(10**400, number(), "it")
