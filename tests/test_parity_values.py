"""Parity's parts by value: what is asked, fed, planned, joined, kept and said, without a run of any file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeconv.artifact import Artifact, Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.judge.budget import DEFAULTS, EXACT, ONCE, RANDOM, Budget
from edgeconv.judge.outputs import Outputs, inputs_hash, load_folder, load_outputs
from edgeconv.judge.verdict import Finding, Verdict
from edgeconv.parity import (
    api,
    cells,
    child,
    data,
    facts,
    kept,
    latency,
    matrix,
    page,
    places,
    report,
)
from edgeconv.parity.baseline import load_baseline
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import Job, job_from_json, run_pictures, save_feeds
from edgeconv.parity.data import Request
from edgeconv.parity.junit import to_junit
from edgeconv.parity.latency import Latency
from edgeconv.parity.layers.figures import Layer, LayerReport
from edgeconv.parity.matrix import Matrix, Row, Samples, Settings, judge
from edgeconv.parity.options import settle
from edgeconv.parity.promise import promise_of
from edgeconv.tensors import Quantization, TensorSpec
from edgeconv.truth import BY_FOLDERS

HOW = Preprocessing((0.5,), (0.25,), 0.9, (8, 8))


def artifact(path: str = "a.tflite", **more: Any) -> Artifact:
    """Return an artifact whose manifest says no more than is asked here."""
    manifest: dict[str, Any] = {"target": "tflite", "precision": "int8", "preprocessing": None, "labels": None, "inputs": [], "outputs": [],
                "evidence": {"folder": "e", "files": {}}}  # fmt: skip
    return Artifact(Path(path), {**manifest, **more})


def files(**digests: str) -> dict[str, Any]:
    return {
        "evidence": {"folder": "e", "files": {k.replace("_", "."): v for k, v in digests.items()}}
    }


# --- options and requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "net"),
    [
        (None, False), ("a.onnx", False), ("A.ONNX", False), ("a.tflite", False), ("a.npz", False), ("mobilenet_v2", True),
        ("a.py:Net", True), (object(), True),
    ],
)  # fmt: skip
def test_a_reference_is_a_net_where_it_is_no_file(reference: Any, net: bool) -> None:
    assert Request(reference=reference).is_net is net


def test_options_reach_the_group_that_reads_them() -> None:
    asked = settle({
        "reference": Path("a.onnx"), "data": Path("d"), "count": 3, "mean": 0.5, "std": (0.25, 0.25, 0.25), "threads": 2,
        "class_offset": 1, "input_layout": "nhwc", "scores": "y", "timeout": 9.0, "layers": True, "bisect": "b", "also": "litert",
        "latency": True, "baseline": "c.json", "update_baseline": True, "html": Path("p.html"), "precision": "fp16",
        "save_outputs": "s", "load_outputs": "l", "markdown": "m.md", "junit": "j.xml", "truth": Path("t.csv"),
    })  # fmt: skip
    request = asked.request
    assert (request.reference, request.data, request.count, request.threads) == (
        "a.onnx",
        "d",
        3,
        2,
    )
    assert (request.mean, request.std, request.truth) == ((0.5,), (0.25, 0.25, 0.25), "t.csv")
    held = asked.settings
    assert (held.threads, held.class_offset, held.file_layout) == (2, 1, "nhwc")
    assert (held.scores, held.timeout_s, held.budgets) == (("y",), 9.0, DEFAULTS)
    assert (asked.extras.layers, asked.extras.latency, asked.extras.bisect) == (
        True,
        True,
        Path("b"),
    )
    assert (asked.extras.also, asked.precision) == (("litert",), "fp16")
    kept_in = asked.files
    assert (kept_in.baseline, kept_in.update_baseline, kept_in.html) == (
        Path("c.json"),
        True,
        Path("p.html"),
    )
    assert (kept_in.save_outputs, kept_in.load_outputs) == (Path("s"), Path("l"))
    assert (kept_in.markdown, kept_in.junit) == (Path("m.md"), Path("j.xml"))
    bare = settle({})
    assert (bare.settings.threads, bare.settings.class_offset, bare.settings.scores) == (1, 0, None)
    assert (bare.extras.layers, bare.extras.latency, bare.extras.bisect, bare.extras.also) == (
        False,
        False,
        None,
        (),
    )
    assert (bare.files.update_baseline, bare.files.baseline, bare.request.count) == (
        False,
        None,
        None,
    )
    assert settle({"scores": ["a", "b"]}).settings.scores == ("a", "b")
    assert settle({"count": 1}).request.count == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "--count must be at least 1"),
        ({"class_offset": -1}, "--class-offset at least 0"),
        ({"threads": 0}, "--threads must be at least 1, not 0"),
        ({"mean": 0.5, "std": 0.5}, "--mean is about the pictures of --data: name them too"),
        ({"channel_order": "bgr"}, "--channel-order is about the pictures of --data"),
        ({"weights": "w", "reference": "a.onnx"}, "--weights are those of a net as --reference"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settle(options)
    settle({"weights": "w", "reference": "mobilenet_v2"})


# --- data ----------------------------------------------------------------------------------------------------

IMAGE = TensorSpec("x", (1, 3, 8, 6), layout="nchw")


def test_pictures_are_prepared_as_asked_else_as_the_manifest_says() -> None:
    asked = Request(data="d", preprocessing="unit", crop=0.5)
    how = data.preprocessing(asked, [IMAGE], None)
    assert how is not None
    assert (how.mean, how.std, how.crop, how.size) == ((0.0,), (1.0,), 0.5, (8, 6))
    last = data.preprocessing(asked, [TensorSpec("x", (1, 8, 6, 3), layout="nhwc")], None)
    assert last == how
    own = data.preprocessing(Request(data="d"), [IMAGE], artifact(preprocessing=how_json()))
    assert own is not None
    assert (own.mean, own.std, own.crop, own.size) == (HOW.mean, HOW.std, HOW.crop, (8, 6))
    plain = data.preprocessing(Request(data="d", mean=(0.1,), std=(0.2,)), [IMAGE], None)
    assert plain is not None
    assert (plain.mean, plain.std, plain.crop) == ((0.1,), (0.2,), 0.875)
    for name in ("d.npz", "d.npy", "d.py:pictures"):
        assert data.preprocessing(Request(data=name), [IMAGE], None) is None
    for request in (
        Request(data="d"),
        Request(data="d", mean=(0.5,)),
        Request(data="d", std=(0.5,)),
    ):
        with pytest.raises(UsageError, match=r"pictures need --preprocessing imagenet\|unit"):
            data.preprocessing(request, [IMAGE], None)
    for specs in ([TensorSpec("x", (1, 9))], [IMAGE, IMAGE]):
        with pytest.raises(UsageError, match=r"d: the model takes x .*: give an \.npz"):
            data.preprocessing(asked, specs, None)


def how_json() -> dict[str, Any]:
    return {"mean": HOW.mean, "std": HOW.std, "crop": HOW.crop, "size": HOW.size, "embedded": False}


def test_arrays_are_data_as_they_lie(tmp_path: Path) -> None:
    values = np.arange(9 * 4, dtype=np.float32).reshape(9, 4)
    np.savez(tmp_path / "d.npz", x=values)
    found = data.load_data(
        Request(data=str(tmp_path / "d.npz"), count=3),
        [TensorSpec("x", (1, 4), layout="other")],
        None,
    )
    assert found.inputs["x"].tolist() == values[[0, 3, 6]].tolist()
    assert (found.layout, found.truth, found.prepared, found.told) == ("nchw", None, None, None)
    assert (list(found.rows), found.of, found.skipped, found.count) == ([0, 3, 6], 9, (), 3)
    image = TensorSpec("x", (1, 2, 2, 1), layout="nhwc")
    np.savez(tmp_path / "n.npz", x=values.reshape(9, 2, 2, 1))
    whole = data.load_data(Request(data=str(tmp_path / "n.npz")), [image], None)
    assert (whole.layout, whole.count, whole.source) == ("nhwc", 9, str(tmp_path / "n.npz"))


def test_pictures_have_the_classes_of_their_folders(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for k in range(2):
            image.fromarray(np.full((8, 6, 3), 40 * number + k, np.uint8)).save(
                tmp_path / name / f"{k}.png"
            )
    request = Request(
        data=str(tmp_path), mean=(0.0,), std=(1 / 255,), crop=1.0, channel_order="rgb"
    )
    found = data.load_data(request, [IMAGE], None)
    assert found.truth is not None
    assert found.truth.tolist() == [0, 0, 1, 1]
    assert found.told == BY_FOLDERS
    assert [round(float(v)) for v in found.inputs["x"][:, 0, 0, 0]] == [0, 1, 40, 41]
    assert found.inputs["x"].shape == (4, 3, 8, 6)
    assert found.prepared is not None
    assert "NCHW" in found.prepared
    turned = data.load_data(request, [TensorSpec("x", (1, 8, 6, 3), layout="nhwc")], None)
    assert turned.layout == "nchw"
    assert turned.inputs["x"].tolist() == found.inputs["x"].tolist()
    assert turned.prepared == found.prepared.replace("NCHW", "NHWC")
    spread = data.load_data(replace(request, count=2), [IMAGE], None)
    assert (list(spread.rows), spread.of) == ([0, 2], 4)
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"none")
    with pytest.raises(EdgeconvError, match="holds no readable picture"):
        data.load_data(request, [IMAGE], None)


def scores(count: int) -> Outputs:
    return Outputs({"boxes": np.zeros((4, 3, 4)), "y": np.zeros((4, count))})


@pytest.mark.parametrize(
    ("count", "labels", "named"), [(2, None, True), (3, None, False), (2, ["cat", "dog"], True)]
)
def test_folders_are_classes_where_an_output_has_as_many(
    tmp_path: Path, count: int, labels: list[str] | None, named: bool
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    own = None if labels is None else artifact(labels=labels)
    assert data._names_classes(Request(data=str(tmp_path)), own, scores(count)) is named


def test_the_reference_is_the_file_that_is_named_else_the_hub(tmp_path: Path) -> None:
    path = tmp_path / "r.onnx"
    path.write_bytes(b"")
    assert data.reference_file(Request(reference=str(path)), None) == path
    assert data.reference_file(Request(reference="r.npz"), None) is None
    with pytest.raises(UsageError, match="say with --reference what the float model is"):
        data.reference_file(Request(), None)
    with pytest.raises(UsageError, match="mobilenet_v2 is a net: files without a manifest are"):
        data.reference_file(Request(reference="mobilenet_v2"), None)
    with pytest.raises(UsageError, match="outputs as --reference need an artifact"):
        data.reference_inputs(Request(reference="r.npz"), None)
    with pytest.raises(EdgeconvError, match=r"exported without hub\.onnx"):
        data.reference_file(Request(), artifact())


def test_files_of_one_model_have_one_reference() -> None:
    same = [artifact(name, **files(hub_onnx="1")) for name in ("a.tflite", "b.tflite")]
    data.check_same_model(same)
    data.check_same_model(same[:1])
    with pytest.raises(
        UsageError, match=r"a\.tflite and c\.tflite were exported from different models"
    ):
        data.check_same_model([*same, artifact("c.tflite", **files(hub_onnx="2"))])
    with pytest.raises(UsageError, match="none of these files has a manifest"):
        data.gather([], Request())


def test_stored_rows_are_those_of_the_samples() -> None:
    samples = Samples({"x": np.zeros((2, 1))}, rows=[1, 3], of=4, source="d")
    two, four = np.arange(2), np.arange(4) * 10
    assert data._rows_of("y", two, samples, "f").tolist() == [0, 1]
    assert data._rows_of("y", four, samples, "f").tolist() == [10, 30]
    with pytest.raises(
        EdgeconvError, match="f: y holds 3 rows, and d 4 samples, of which 2 are taken"
    ):
        data._rows_of("y", np.arange(3), samples, "f")


def test_stored_outputs_are_a_reference(tmp_path: Path) -> None:
    samples = Samples({"x": np.zeros((2, 1), np.float32)}, rows=[1, 3], of=4, source="d")
    np.savez(tmp_path / "r.npz", y=np.arange(4.0)[:, None])
    found = data.reference_outputs(Request(reference=str(tmp_path / "r.npz")), None, samples)
    assert found.arrays["y"].tolist() == [[1.0], [3.0]]
    assert found.label == "reference"


# --- what is kept --------------------------------------------------------------------------------------------


def evidence(**more: Any) -> Any:
    arrays = {
        "input:x": np.arange(4.0)[:, None], "output:y": np.arange(4.0)[:, None] * 2, "margin:y": np.arange(4.0)[:, None] / 2,
        "names": np.array(list("abcd")), "truth": np.array([0, -1, 2, 1]),
    }  # fmt: skip
    made = artifact(
        versions={"torch": "2.9", "onnxruntime": "1.30"}, net={"source": "mobilenet_v1"}, weights={"source": "file"},
        cuts={"y": [1, 0, 2]}, whole=None, **files(verify_npz="v" * 8),
    )  # fmt: skip
    return SimpleNamespace(
        verification=lambda: {**arrays, **more},
        path=made.path,
        manifest=made.manifest,
        preprocessing=HOW,
        layout="NCHW",
    )


def test_pictures_of_the_evidence_are_spread_with_all_that_is_known_of_them() -> None:
    samples, outputs = kept.from_evidence(evidence(), 2)
    assert samples.inputs["x"].tolist() == [[0.0], [2.0]]
    assert outputs.arrays["y"].tolist() == [[0.0], [4.0]]
    assert outputs.margins["y"].tolist() == [[0.0], [1.0]]
    assert (samples.names, list(samples.rows), samples.of) == (("a", "c"), [0, 2], 4)
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 2]
    assert (samples.exported, samples.source) == (None, "verification samples of a.tflite")
    assert samples.prepared is not None
    assert "manifest" in samples.prepared
    assert outputs.about == {
        "label": "reference", "stage": "reference", "title": "PyTorch 2.9, kept by the export", "cuts": {"y": [1, 0, 2]},
        "whole": None, "weights": "file", "inputs_sha256": inputs_hash(samples.inputs),
    }  # fmt: skip
    everything, _ = kept.from_evidence(evidence(), None)
    assert (everything.count, everything.exported) == (4, "v" * 8)
    none, _ = kept.from_evidence(evidence(truth=np.full(4, -1)), None)
    assert none.truth is None


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"versions": {"torch": "2.9"}, "net": {"source": "a.onnx"}}, "onnxruntime on a.onnx, kept by the export"),
        ({"versions": {"torch": None, "onnxruntime": "1.30"}, "net": {"source": "n"}}, "onnxruntime 1.30 on n, kept by the export"),
        ({"versions": {"torch": "2.9"}}, "PyTorch 2.9, kept by the export"),
        ({}, "onnxruntime on , kept by the export"),
    ],
)  # fmt: skip
def test_what_computed_the_reference_is_said(manifest: dict[str, Any], said: str) -> None:
    assert kept._exported_by(artifact(**manifest)) == said


def test_outputs_of_other_inputs_are_refused() -> None:
    for told in ({}, {"inputs_sha256": None}, {"inputs_sha256": "f" * 64}):
        kept.check_same_inputs(Outputs({}, told), "f" * 64)
    with pytest.raises(
        EdgeconvError,
        match=rf"of q come from other inputs \(sha256 {'e' * 12}…, here {'f' * 12}…\)",
    ):
        kept.check_same_inputs(Outputs({}, {"label": "q", "inputs_sha256": "e" * 64}), "f" * 64)


# --- cells ---------------------------------------------------------------------------------------------------


def cell(label: str, stage: Any, **more: Any) -> Cell:
    return Cell(label, stage, Path(label), **{"runtime": "onnxruntime", **more})


def test_each_stage_has_its_budget_and_its_title() -> None:
    kinds = {stage: cell("f", stage).kind for stage in cells.ORDER}
    assert kinds == {"raw": "fp32", "hub": "fp32", "prepared": "fp32", "fp32": "fp32", "fp16": "fp16", "recipe": "int8",
                     "int8": "int8"}  # fmt: skip
    assert cell("f", "prepared", lowered=True).kind == "lowered"
    titles = [cell("f.onnx", stage).title for stage in cells.ORDER]
    assert titles == [
        "raw ONNX",
        "hub ONNX",
        "prepared ONNX",
        "f.onnx",
        "f.onnx",
        "recipe in float",
        "f.onnx",
    ]


def linked(*given: Cell) -> dict[str, str | None]:
    return {one.label: one.before for one in cells._linked(list(given))}


def test_a_hop_comes_after_what_it_was_made_from() -> None:
    stages = [
        cell("raw", "raw", digest="1"),
        cell("hub", "hub", digest="2", follows="1"),
        cell("pre", "prepared", digest="3", follows="2"),
    ]
    assert linked(*stages, cell("a", "fp32", follows="3"), cell("b", "fp16", follows="2"), cell("c", "fp32")) == {
        "raw": None, "hub": "raw", "pre": "hub", "a": "pre", "b": "hub", "c": "pre"
    }  # fmt: skip
    other = [
        cell("hub2", "hub", digest="5", follows="9"),
        cell("pre2", "prepared", digest="6", follows="8"),
    ]
    assert linked(stages[0], *other) == {"raw": None, "hub2": "raw", "pre2": "hub2"}
    assert linked(cell("hub", "hub"), cell("hub2", "hub")) == {"hub": None, "hub2": None}
    assert linked(cell("a", "fp32"), cell("b", "fp16")) == {"a": None, "b": None}


def test_a_file_of_integers_comes_after_its_recipe_else_after_the_same_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cells, "promise_of", lambda artifact: artifact.manifest["promise"])
    p, q, none = (artifact(promise=text) for text in ("p", "q", ""))
    recipe, second = cell("r", "recipe", artifact=p), cell("s", "recipe", artifact=p)
    assert linked(recipe, second, cell("a", "int8", artifact=p, target="tflite"))["a"] == "s"
    assert linked(recipe, cell("a", "int8", artifact=q, target="tflite"))["a"] is None
    assert linked(cell("hub", "hub"), cell("a", "int8", artifact=none))["a"] == "hub"
    same = cell("o", "int8", artifact=q, target="onnx")
    assert linked(recipe, same, cell("a", "int8", artifact=q, target="tflite"))["a"] == "o"
    assert (
        linked(replace(same, target="tflite"), cell("a", "int8", artifact=q, target="onnx"))["a"]
        is None
    )
    assert linked(replace(same, artifact=None), cell("a", "int8", artifact=q))["a"] is None
    assert not cells._same_recipe(same, replace(same, artifact=None))
    assert not cells._same_recipe(replace(same, artifact=none), replace(same, artifact=none))


def test_two_files_of_one_name_are_refused() -> None:
    cells._distinct([cell("a · x", "int8"), cell("a · y", "int8")])
    with pytest.raises(UsageError, match="two files are called a: rename one"):
        cells._distinct([cell("b · x", "int8"), cell("a · x", "int8"), cell("a · x", "int8")])


def test_a_board_runs_each_file_after_the_same_run_here() -> None:
    native = [
        cell("hub.onnx", "hub"),
        cell("a.tflite", "int8", runtime="ai-edge-litert", options={"xnnpack": False}),
        replace(cell("a.tflite", "int8", runtime="ai-edge-litert"), label="plain"),
        cell("b.onnx", "int8"),
    ]
    found = cells.elsewhere(native, "pi5", ["ai-edge-litert", "onnxruntime"], "a Pi", ("py",))
    assert [(c.label, c.runtime, c.before, c.board, dict(c.options), c.python) for c in found] == [
        ("a.tflite · ai-edge-litert on a Pi", "ai-edge-litert", "plain", "pi5", {}, ("py",)),
        ("b.onnx · onnxruntime on a Pi", "onnxruntime", "b.onnx", "pi5", {}, ("py",)),
    ]
    only = cells.elsewhere(native[1:2], "pi5", ["ai-edge-litert"], "a Pi")
    assert [(c.before, dict(c.options), c.python) for c in only] == [("a.tflite", {}, ())]


@pytest.mark.parametrize(
    ("manifest", "stages"),
    [
        ({}, ("raw", "hub", "prepared")), ({"softmax": True}, ("hub", "prepared")), ({"graph": {"image_input": True}}, ("hub",)),
        ({"graph": None}, ("raw", "hub", "prepared")),
    ],
)  # fmt: skip
def test_stages_are_those_that_take_the_files_samples(
    manifest: Any, stages: tuple[str, ...]
) -> None:
    assert cells._comparable(artifact(**manifest)) == stages
    own = {**how_json(), "embedded": True}
    assert cells._comparable(artifact(preprocessing=own)) == ("hub", "prepared")
    assert cells._comparable(artifact(preprocessing=how_json())) == ("raw", "hub", "prepared")


def test_a_precision_is_said_else_the_manifests() -> None:
    assert cells._stage(None, None) == "fp32"
    assert cells._stage(artifact(), None) == "int8"
    assert cells._stage(artifact(), "fp16") == "fp16"
    with pytest.raises(
        EdgeconvError, match="int4 is no precision that parity knows: fp32, fp16, int8"
    ):
        cells._stage(None, "int4")


def stored_evidence(folder: Path, **texts: str) -> dict[str, Any]:
    """Write evidence files and return what a manifest says of them."""
    from edgeconv.files import sha256

    (folder / "e").mkdir(exist_ok=True)
    known = {}
    for name, text in texts.items():
        path = folder / "e" / name.replace("_", ".", 1)
        path.write_text(text, encoding="utf-8")
        known[path.name] = sha256(path)
    return {"evidence": {"folder": "e", "files": known}}


def test_stages_of_exports_are_run_once_and_told_apart(tmp_path: Path) -> None:
    first = artifact(
        str(tmp_path / "a.tflite"),
        precision="fp32",
        **stored_evidence(tmp_path, raw_onnx="1", hub_onnx="2", prepared_onnx="3"),
    )
    (tmp_path / "q").mkdir()
    other = artifact(
        str(tmp_path / "q" / "b.tflite"),
        precision="int8",
        **stored_evidence(tmp_path / "q", raw_onnx="1", hub_onnx="5", prepared_onnx="6"),
    )
    seen: set[str] = set()
    notes: list[str] = []
    found = cells._stages(first, seen, None, notes) + cells._stages(other, seen, None, notes)
    digests = [
        *first.manifest["evidence"]["files"].values(),
        *other.manifest["evidence"]["files"].values(),
    ]
    assert [(c.label, c.stage, c.lowered, c.follows) for c in found] == [
        ("raw ONNX", "raw", False, None), ("hub ONNX", "hub", False, digests[0]), ("prepared ONNX", "prepared", False, digests[1]),
        ("hub ONNX of e", "hub", False, digests[3]), ("prepared ONNX of e", "prepared", True, digests[4]),
    ]  # fmt: skip
    assert [c.digest for c in found] == [*digests[:3], *digests[4:]]
    assert notes == []


def test_recipes_are_told_apart_by_form_target_and_real_outputs(tmp_path: Path) -> None:
    recipe = json.dumps({"form": "asymmetric", "float_outputs": {"tflite": ["y", "z"]}})
    own = stored_evidence(tmp_path, recipe_json=recipe)
    digest = own["evidence"]["files"]["recipe.json"]

    def promise(target: str, dtype: str = "float32") -> str:
        outputs = [
            {"name": "y", "shape": [1, 2], "dtype": dtype, "layout": "other", "quantization": None}
        ]
        return promise_of(
            artifact(str(tmp_path / "a.tflite"), target=target, outputs=outputs, **own)
        )

    assert promise("tflite") == f"{digest} asymmetric False y z"
    assert promise("tflite", "int8") == f"{digest} asymmetric False"
    assert promise("onnx") == f"{digest} asymmetric False"
    assert promise("coreml") == f"{digest} zero-point-free True"
    assert promise_of(artifact()) == ""


# --- children ------------------------------------------------------------------------------------------------


def test_a_job_reads_back_as_it_was() -> None:
    spec = TensorSpec("x", (1, 3), "int8", "other", Quantization(0.5, 3))
    job = Job(Path("a.tflite"), "litert", {"x": Path("x.npy")}, Path("o.npz"), {"xnnpack": False}, 2, "nhwc", [spec], [spec, spec],
              "nchw", 7, {"z": [1.0]})  # fmt: skip
    assert job_from_json(json.loads(json.dumps(job.to_json()))) == job
    plain = Job(Path("a"), "r", {}, Path("o"))
    assert (plain.threads, plain.layout, plain.file_layout, plain.count) == (1, "nchw", None, None)


class Doubled:
    """A runner that gives twice its input, and what else it was fed."""

    def __init__(self, batch: int, frozen: bool = False) -> None:
        more = (TensorSpec("z", (2,)),) if frozen else ()
        self.inputs = (TensorSpec("x", (batch, 2), layout="other"), *more)
        self.outputs = (TensorSpec("y", (batch, 2), layout="other"),)
        self.fed: list[Mapping[str, Any]] = []

    def infer(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self.fed.append(feeds)
        return {"y": 2 * feeds["x"]}


@pytest.mark.parametrize(
    ("batch", "count", "rows"),
    [(1, None, None), (1, 3, [0, 1, 3]), (1, 5, None), (1, 9, None), (2, 2, [0, 1]), (2, 4, None), (2, 5, None), (3, 3, None)],
)  # fmt: skip
def test_pictures_run_in_whole_feeds_spread_evenly(
    batch: int, count: int | None, rows: list[int] | None
) -> None:
    hub = {"x": np.arange(10, dtype=np.float32).reshape(5, 2)}
    runner = Doubled(batch)
    arrays, seconds, ran = run_pictures(
        runner, Job(Path("a"), "r", {}, Path("o"), count=count), hub
    )
    assert ran == rows
    assert arrays["y"].tolist() == (2 * hub["x"][list(range(5)) if rows is None else rows]).tolist()
    assert len(runner.fed) == math.ceil((5 if rows is None else len(rows)) / batch)
    assert seconds >= 0.0


def test_constants_of_the_hub_are_fed_to_each_batch() -> None:
    runner = Doubled(1, frozen=True)
    hub = {"x": np.ones((2, 2), np.float32)}
    run_pictures(
        runner, Job(Path("a"), "r", {}, Path("o"), frozen={"z": [3.0, 4.0], "q": 1.0}), hub
    )
    assert [feed["z"].tolist() for feed in runner.fed] == [[3.0, 4.0]] * 2
    assert all(set(feed) == {"x", "z"} for feed in runner.fed)


def test_feeds_are_files_by_input(tmp_path: Path) -> None:
    found = save_feeds({"x": np.ones(2), "a/b": np.zeros(3)}, tmp_path)
    assert {name: (path.name, np.load(path).tolist()) for name, path in found.items()} == {
        "x": ("input0.npy", [1.0, 1.0]), "a/b": ("input1.npy", [0.0] * 3)
    }  # fmt: skip


def test_what_xnnpack_left_is_counted_where_it_was_asked() -> None:
    class Delegating:
        def delegation(self) -> Any:
            return SimpleNamespace(ops=7, delegated=5)

    runner: Any = Delegating()
    job = Job(Path("a"), "litert", {}, Path("o"))
    assert child.delegation(runner, job) == {"fallback_nodes": 2.0}
    assert child.delegation(runner, replace(job, options={"xnnpack": True})) == {
        "fallback_nodes": 2.0
    }
    assert child.delegation(runner, replace(job, options={"xnnpack": False})) == {}
    assert child.delegation(SimpleNamespace(), job) == {}


# --- facts ---------------------------------------------------------------------------------------------------


def test_outputs_carry_all_that_reports_say_of_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"12345")
    own = artifact(
        str(path),
        verification={"explained": {"y": 0.5}, "steps": {"y": 0.25}},
        graph={"compute": 4, "int8_compute": 1},
    )
    ran = Outputs(
        {"y": np.zeros(1)},
        {
            "delegation": {"fallback_nodes": 2.0},
            "infer_s": 1.0,
            "scales": {"q": 1.0},
            "runtime": "litert",
        },
    )
    made = cell(str(path), "int8", artifact=own, before="b", board="pi5")
    about = dict(facts.described(made, ran, "d" * 8, False).about)
    assert about["file"] == {
        "bytes": 5.0,
        "int8_share": 0.25,
        "compute": 4.0,
        "int8_compute": 1.0,
        "fallback_nodes": 2.0,
    }
    assert about["scales"] == {"q": 1.0, "y": 0.25}
    assert {key: about[key] for key in (
        "label", "stage", "title", "before", "kind", "emulated", "foreign", "inputs_sha256", "explained", "infer_s", "runtime"
    )} == {
        "label": str(path), "stage": "int8", "title": "a.tflite", "before": "b", "kind": "int8", "emulated": None, "foreign": False,
        "inputs_sha256": "d" * 8, "explained": {"y": 0.5}, "infer_s": 1.0, "runtime": "litert",
    }  # fmt: skip
    far = facts.described(made, ran, "d", True).about
    assert far["emulated"] == "pi5"
    assert "infer_s" not in far
    foreign = facts.described(replace(made, artifact=None), ran, "d", False).about
    assert foreign["foreign"] is True
    assert foreign["scales"] == {"q": 1.0}
    assert "explained" not in foreign
    hub = facts.described(replace(made, artifact=None, stage="hub"), ran, "d", False).about
    assert hub["foreign"] is False
    written = facts.described(replace(made, stage="recipe"), ran, "d", False).about
    assert written["file"] == {"bytes": 5.0, "fallback_nodes": 2.0}
    assert written["noise"] == {}
    assert "noise" not in about
    assert facts._steps(replace(made, stage="fp32")) == {}
    assert facts._steps(replace(made, artifact=artifact())) == {}
    assert facts.verified_on(artifact(**files(verify_npz="v"))) == "v"
    assert facts.verified_on(artifact()) is None


# --- latency -------------------------------------------------------------------------------------------------


def test_a_latency_says_its_share_of_the_floats_and_whether_to_trust_it() -> None:
    whole = Latency(1.234, 0.5, 0.4, 0.6, "r", ("busy",))
    assert str(whole) == "1.23 ms (0.50x float) *"
    assert str(replace(whole, ratio=None, marks=())) == "1.23 ms"
    assert whole.to_json() == {
        "median_ms": 1.234,
        "ratio": 0.5,
        "ratio_interval": [0.4, 0.6],
        "reference": "r",
        "marks": ["busy"],
    }
    assert replace(whole, low=None).to_json()["ratio_interval"] is None


def test_a_ratio_is_of_the_rounds_that_both_ran() -> None:
    few = latency._ratio({1: 1.0, 2: 4.0, 9: 100.0}, {1: 2.0, 2: 2.0, 3: 50.0})
    assert few[0] == pytest.approx(1.0)
    assert few[1:] == (None, None)
    assert (
        latency._ratio({1: 1.0}, {2: 1.0})
        == latency._ratio({1: 1.0}, None)
        == latency._ratio({1: 1.0}, {})
        == (None,) * 3
    )
    value, low, high = latency._ratio(
        {k: 1.0 + k % 2 for k in range(8)}, dict.fromkeys(range(8), 2.0)
    )
    assert value is not None
    assert low is not None
    assert high is not None
    assert value == pytest.approx(math.sqrt(0.5))
    assert low < value < high


# --- matrix --------------------------------------------------------------------------------------------------

GOOD, BAD = Verdict(()), Verdict((Finding("y", "sqnr_db", 3.0, 10.0, False),))
ONE = Samples({"x": np.zeros((1, 1))})
DEPARTING = LayerReport("a", (Layer("t", "n", "Conv", 1.0, 1.0, 1.0, 1.0, departs=True),), 1)
SOUND = LayerReport("a", (Layer("t", "n", "Conv", 1.0, 1.0, 1.0, 1.0),), 1)


@pytest.mark.parametrize(
    ("row", "ok", "departs"),
    [
        (Row("a", "int8", "a", verdict=GOOD), True, False),
        (Row("a", "int8", "a", verdict=BAD), False, True),
        (Row("a", "int8", "a", verdict=BAD, step=GOOD), False, False),
        (Row("a", "int8", "a", verdict=GOOD, step=BAD), True, True),
        (Row("a", "int8", "a", verdict=GOOD, layers=DEPARTING), False, True),
        (Row("a", "int8", "a", verdict=GOOD, layers=SOUND), True, False),
        (Row("a", "int8", "a", error="e"), False, False),
        (Row("a", "int8", "a", error="e", verdict=BAD), False, False),
        (Row("a", "int8", "a", error="e", layers=DEPARTING), False, True),
        (Row("a", "int8", "a"), False, False),
    ],
)  # fmt: skip
def test_a_row_is_good_by_its_verdict_and_departs_by_its_step(
    row: Row, ok: bool, departs: bool
) -> None:
    assert (row.ok, row.departs) == (ok, departs)
    assert Row("a", "recipe", "a").integer
    assert not Row("a", "fp16", "a").integer


def of_rows(*rows: Row, **more: Any) -> Matrix:
    return Matrix(Outputs({}), rows, more.pop("samples", ONE), **more)


def test_the_exit_code_is_the_worst_that_happened() -> None:
    good, bad, failed = (
        Row("g", "int8", "g", verdict=GOOD),
        Row("b", "int8", "b", verdict=BAD),
        Row("f", "int8", "f", error="e"),
    )
    skipped = replace(ONE, skipped=("s",))
    assert [m.exit_code for m in (
        of_rows(), of_rows(good), of_rows(good, bad), of_rows(good, failed), of_rows(failed, bad), of_rows(good, samples=skipped),
        of_rows(good, failed=("l",)), of_rows(bad, samples=skipped),
    )] == [0, 0, 3, 1, 3, 1, 1, 3]  # fmt: skip
    assert bool(of_rows(good)) is True
    assert bool(of_rows(bad)) is False
    step = replace(good, step=BAD, label="s")
    assert of_rows(step, good).first_departure is None
    assert of_rows(step, bad).first_departure == step
    assert of_rows(good, bad, failed).first_departure == bad
    assert of_rows(failed).first_departure is None
    assert Samples({}).count == 0
    assert Samples({"x": np.zeros((3, 1)), "z": np.zeros((2, 1))}).count == 2


def test_a_job_is_what_its_cell_samples_and_settings_say() -> None:
    spec = {
        "name": "x",
        "shape": [1, 2],
        "dtype": "float32",
        "layout": "nhwc",
        "quantization": None,
    }
    own = artifact(
        inputs=[spec],
        outputs=[{**spec, "name": "y"}],
        verification={"pictures": 5},
        **files(verify_npz="v"),
    )
    samples = Samples({"x": np.zeros((1, 1))}, layout="nhwc", exported="v", frozen={"z": 1.0})
    settings = Settings(threads=3, file_layout="nhwc")
    made = cell("a.tflite", "int8", artifact=own, options={"o": 1})
    job = matrix.job_for(made, {"x": Path("x.npy")}, samples, settings, Path("o"))
    assert (job.path, job.runtime, job.inputs, job.out) == (
        Path("a.tflite"),
        "onnxruntime",
        {"x": Path("x.npy")},
        Path("o"),
    )
    assert (job.options, job.threads, job.layout, job.frozen) == ({"o": 1}, 3, "nhwc", {"z": 1.0})
    assert ([s.name for s in job.input_specs], [s.name for s in job.output_specs]) == (["x"], ["y"])
    assert (job.file_layout, job.count) == (None, 5)
    other = matrix.job_for(replace(made, artifact=None), {}, samples, settings, Path("o"))
    assert (other.file_layout, other.count, list(other.input_specs)) == ("nhwc", None, [])
    hub = matrix.job_for(replace(made, stage="recipe"), {}, samples, settings, Path("o"))
    assert (hub.file_layout, hub.count, list(hub.input_specs)) == (None, None, [])
    for exported in (None, "w"):
        assert matrix._judged_on(made, replace(samples, exported=exported)) is None
    none = replace(made, artifact=artifact(verification=None, **files(verify_npz="v")))
    assert matrix._judged_on(none, samples) is None
    assert (
        matrix._judged_on(replace(made, artifact=artifact()), replace(samples, exported=None))
        is None
    )


def test_a_budget_is_the_users_else_what_weights_and_runtime_ask() -> None:
    plain, random = Outputs({}), Outputs({}, {"weights": "random"})
    mil = Outputs({}, {"runtime": "mil-reference"})
    settings = Settings()
    assert matrix._budget("int8", plain, plain, settings) is DEFAULTS["int8"]
    assert matrix._budget("int8", random, plain, settings) is RANDOM["int8"]
    assert dict(matrix._budget("int8", plain, mil, settings).limits) == {
        **DEFAULTS["int8"].limits,
        **EXACT,
        **ONCE,
    }
    own = Budget({"kl": 1.0})
    assert matrix._budget("int8", random, mil, Settings({**DEFAULTS, "int8": own})) is own


def outputs(values: Any, **about: Any) -> Outputs:
    return Outputs({"y": np.asarray(values, np.float64)}, about)


WANTED = [[1.0, 9.0, 0.0], [5.0, 0.0, 1.0], [0.0, 1.0, 7.0]]


def test_every_result_is_held_against_the_reference_and_the_hop_before() -> None:
    rows = np.array(WANTED)
    reference = outputs(rows, stage="reference")
    results: list[tuple[str, Outputs | str, Mapping[str, Any]]] = [
        ("hub", outputs(rows), {"stage": "hub", "title": "hub ONNX"}),
        (
            "r",
            outputs(rows + 0.25, stage="recipe"),
            {"stage": "recipe", "kind": "int8", "before": "hub"},
        ),
        (
            "a",
            outputs(rows + 0.25, before="r", scales={"y": 0.5}, doubts=["doubt"], stage="int8"),
            {"stage": "int8", "kind": "int8", "before": "r"},
        ),
        (
            "b",
            outputs(rows + 0.25, before="a", stage="int8"),
            {"stage": "int8", "kind": "int8", "before": "a"},
        ),
        ("c", "it crashed", {"stage": "fp16", "before": "hub"}),
        ("d", outputs(rows[:, :2]), {"stage": "fp32"}),
    ]
    found = judge(
        results, reference, replace(ONE, inputs={"x": np.zeros((3, 1))}), Settings(), ("note",)
    )
    by_label = {row.label: row for row in found.rows}
    assert found.notes == ("note", "doubt")
    assert [(r.stage, r.title, r.before) for r in found.rows] == [
        ("hub", "hub ONNX", None), ("recipe", "r", "hub"), ("int8", "a", "r"), ("int8", "b", "a"), ("fp16", "c", "hub"), ("fp32", "d", None)
    ]  # fmt: skip
    assert by_label["hub"].step is None
    assert by_label["hub"].figures["y"]["max_abs_error"] == 0.0
    assert by_label["a"].figures["y"]["quanta_max"] == 0.5
    assert by_label["a"].figures["y"]["floor_sqnr_db"] == by_label["a"].figures["y"]["sqnr_db"]
    assert by_label["b"].figures["y"]["beyond_promise_db"] == 0.0
    assert "floor_sqnr_db" not in by_label["r"].figures["y"]
    step = by_label["a"].step
    assert step is not None
    assert step.figures["y"]["max_abs_error"] == 0.0
    assert {f.metric for f in step.findings} <= set(DEFAULTS["kernels"].limits)
    first = by_label["r"].step
    assert first is not None
    assert "sqnr_centred_db" in {f.metric for f in first.findings}
    assert by_label["c"].error == "it crashed"
    assert "2 classes and the reference 3" in str(by_label["d"].error)


def test_leading_classes_are_dropped_of_files_that_have_them() -> None:
    rows = np.array(WANTED)
    wide = np.concatenate([np.full((3, 1), 99.0), rows], axis=1)
    settings = Settings(class_offset=1)
    for reference, other in (
        (outputs(rows), outputs(wide, foreign=True)), (outputs(rows), outputs(wide, class_offset=1)),
        (outputs(wide, foreign=True), outputs(rows)), (outputs(wide, foreign=True), outputs(wide, foreign=True)),
        (outputs(wide, class_offset=1), outputs(rows)),
    ):  # fmt: skip
        verdict = matrix._against(reference, other, "fp32", ONE, settings, None)
        assert verdict.figures["y"]["max_abs_error"] == 0.0
    line = matrix._against(
        outputs([1.0, 2.0], foreign=True), outputs([1.0, 2.0]), "fp32", ONE, settings, None
    )
    assert line.figures["y"]["max_abs_error"] == 0.0
    empty = {"compute": 3, "int8_compute": 0}
    bare = matrix._against(outputs(rows), outputs(rows, file=empty), "int8", ONE, settings, None)
    assert bare.findings[0].metric == "int8_compute"


def test_truth_scales_and_margins_follow_the_pictures_that_ran() -> None:
    rows = np.array(WANTED)
    samples = Samples({"x": np.zeros((3, 1))}, truth=np.array([1, 0, 0]))
    reference = Outputs({"y": rows}, {}, {})
    other = Outputs({"q": rows[[0, 2]]}, {"rows": [0, 2], "scales": {"q": 0.5}})
    verdict = matrix._against(reference, other, "fp32", samples, Settings(), None)
    assert verdict.figures["y"]["top1"] == 0.5
    assert verdict.figures["y"]["quanta_max"] == 0.0
    own = Outputs({"q": rows[[0, 2]] + 1}, {"rows": [0, 2], "scales": {"q": 0.5, "y": 0.25}})
    assert (
        matrix._against(reference, own, "fp32", samples, Settings(), None).figures["y"][
            "quanta_max"
        ]
        == 4.0
    )
    labels = Outputs(
        {"y": np.array([[0, 1], [1, 1], [1, 0]])},
        {},
        {"y": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])},
    )
    turned = Outputs(
        {"y": np.array([[0, 1], [0, 0]])}, {"rows": [0, 2], "explained": {"y": 1.5, "z": 1.0}}
    )
    figures = matrix._against(labels, turned, "int8", samples, Settings(), None).figures["y"]
    assert (figures["widest_flip"], figures["margin_explained"]) == (5.0, 1.5)
    assert (
        "top1" not in matrix._against(reference, other, "fp32", ONE, Settings(), None).figures["y"]
    )


def test_a_recipe_is_found_behind_other_runs_of_its_integers() -> None:
    recipe, first = outputs([1.0], stage="recipe"), outputs([1.0], stage="int8", before="r")
    second = outputs([1.0], stage="int8", before="f")
    known = {"r": recipe, "f": first, "s": second}
    assert matrix._promised(first, known) is recipe
    assert matrix._promised(second, known) is recipe
    assert matrix._promised(outputs([1.0], before="gone"), known) is None
    circle = {"a": outputs([1.0], before="b"), "b": outputs([1.0], before="a")}
    assert matrix._promised(circle["a"], circle) is None


# --- places --------------------------------------------------------------------------------------------------


def test_a_board_says_which_files_it_has_no_runtime_for() -> None:
    ran: Any = [
        (cell("a.tflite", "int8", board="pi5"), outputs([1.0])), (cell("b.onnx", "int8", board="pi4"), "no answer"),
        (cell("c.onnx", "int8"), outputs([1.0])),
    ]  # fmt: skip
    paths = [Path("a.tflite"), Path("b.onnx")]
    assert places.left_out(paths, ran) == [
        "b.onnx does not run on pi5, which has no runtime for it"
    ]
    assert places.left_out(paths, ran[1:]) == []


def test_cells_run_here_one_by_one_and_a_failure_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def run_cell(job: Job, python: Sequence[str], timeout_s: float | None) -> Outputs:
        asked.append((job.path.name, job.out.name, tuple(python), timeout_s, sorted(job.inputs)))
        if job.path.name == "b":
            raise EdgeconvError("it broke")
        return outputs([1.0], infer_s=1.0)

    monkeypatch.setattr(places, "run_cell", run_cell)
    for name in "abc":
        (tmp_path / name).write_bytes(b"")
    given = [
        replace(cell(str(tmp_path / n), "fp32"), python=("py",), board=b)
        for n, b in (("a", None), ("b", None), ("c", "pi5"))
    ]
    done = places.Here().run(given, ONE, Settings(timeout_s=4.0), tmp_path)
    assert asked == [(name, f"cell{k}.npz", ("py",), 4.0, ["x"]) for k, name in enumerate("abc")]
    assert [found if isinstance(found, str) else found.about["emulated"] for _, found in done] == [
        None,
        "it broke",
        "pi5",
    ]
    here = done[0][1]
    assert isinstance(here, Outputs)
    assert here.about["inputs_sha256"] == inputs_hash(ONE.inputs)
    with pytest.raises(EdgeconvError, match="there is no sample to compare on"):
        places.Here().run(given, Samples({}), Settings(), tmp_path)


# --- the call ------------------------------------------------------------------------------------------------


def test_a_worse_figure_than_the_baseline_is_exit_3() -> None:
    missed = of_rows(Row("f", "int8", "f", error="e"))
    assert api.ParityResult(missed).exit_code == 1
    assert not api.ParityResult(missed)
    assert api.ParityResult(of_rows(), ("w",)).exit_code == 3
    assert bool(api.ParityResult(of_rows())) is True
    assert str(api.ParityResult(of_rows())) == report.to_markdown(of_rows())


def test_a_baseline_is_written_once_and_then_held_against(tmp_path: Path) -> None:
    made = of_rows(
        Row("a", "int8", "a", outputs([1.0]), verdict=Verdict((), {"y": {"sqnr_db": 20.0}}))
    )
    path = tmp_path / "b.json"
    assert api._with_baseline(made, None, None) == api.ParityResult(made)
    written = api._with_baseline(made, path, None)
    assert written.said == (f"baseline written: {path}",)
    committed = load_baseline(path)
    assert api._with_baseline(made, path, committed) == api.ParityResult(
        made, (), (), {"worse": []}
    )
    worse = of_rows(replace(made.rows[0], verdict=Verdict((), {"y": {"sqnr_db": 10.0}})))
    found = api._with_baseline(worse, path, committed)
    sentence = "a: y: sqnr_db was 20.0 and is 10.0"
    assert (found.worse, found.said, found.extra) == (
        (sentence,),
        (f"worse than b.json: {sentence}",),
        {"worse": [sentence]},
    )


def test_outputs_are_saved_with_who_ran_them(tmp_path: Path) -> None:
    samples = Samples({"x": np.zeros((2, 1))}, ("a", "b"), np.array([1, -1]), source="here")
    rows = (Row("a b/c · x", "int8", "a", outputs([1.0, 2.0], stage="int8")), Row("f", "int8", "f", error="e"),
            Row("g-1", "int8", "g", outputs([3.0, 4.0])))  # fmt: skip
    made = Matrix(outputs([5.0, 6.0], title="net"), rows, samples)
    api._save(tmp_path, made)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00_a_b_c___x.npz",
        "02_g-1.npz",
        "reference.npz",
    ]
    reference = load_outputs(tmp_path / "reference.npz")
    assert {k: reference.about[k] for k in ("stage", "names", "truth", "source", "title")} == {
        "stage": "reference", "names": ["a", "b"], "truth": [1, -1], "source": "here", "title": "net"
    }  # fmt: skip
    assert reference.arrays["y"].tolist() == [5.0, 6.0]
    assert load_outputs(tmp_path / "02_g-1.npz").about["machine"]
    again = api._judge_stored(load_folder(tmp_path), Request(), Settings())
    assert [row.label for row in again.rows] == ["outputs", "outputs"]
    assert again.samples.truth is not None
    named = api._judge_stored(
        load_folder(tmp_path), Request(reference=str(tmp_path / "02_g-1.npz")), Settings()
    )
    assert named.reference.arrays["y"].tolist() == [3.0, 4.0]
    with pytest.raises(UsageError, match="without files needs --reference OUTPUTS"):
        api._judge_stored([], Request(reference="a.onnx"), Settings())
    with pytest.raises(EdgeconvError, match="the saved outputs hold no reference"):
        api._judge_stored([outputs([1.0])], Request(), Settings())


@pytest.mark.parametrize(
    ("row", "known", "told"),
    [
        (Row("a", "int8", "a", verdict=BAD), True, True), (Row("a", "int8", "a", verdict=BAD), False, True), (Row("a", "int8", "a"), True, False),
        (Row("a", "recipe", "a", verdict=BAD), True, False), (Row("a", "int8", "a", verdict=GOOD), True, False),
    ],
)  # fmt: skip
def test_what_to_try_is_asked_of_files_that_missed(row: Row, known: bool, told: bool) -> None:
    own = artifact("a.tflite") if known else None
    said = api._advice(row, [cell("a.tflite", "int8", artifact=own)])
    assert bool(said) is told
    assert api._advice(row, []) == ()
    assert any("--recipe" in step or "--keep-float" in step for step in said) is (told and known)
    assert any("edgeconv export --int8" in step for step in said) is (told and not known)
    shown = api._advice(replace(row, layers=SOUND), [cell("a.tflite", "int8", artifact=own)])
    assert any("--layers" in step for step in shown) is False
    none = api._advice(row, [cell("a.ncnn", "int8", artifact=artifact(target="nothing"))])
    assert any("half the size" in step for step in none) is (told)


# --- tables and pages ----------------------------------------------------------------------------------------


def judged(**figures: float) -> Row:
    return Row("a", "int8", "a", outputs([1.0]), verdict=Verdict((), {"y": figures}))


def test_a_row_of_several_outputs_has_a_line_for_each_and_its_parts() -> None:
    verdict = Verdict((), {"y": {"sqnr_db": 30.0, "floor_sqnr_db": 31.0}, "z": {"equal": 0.5, "equal_low": 0.25, "equal_high": 0.75}},
                      parts={"y": {"channel 0": {"sqnr_db": 20.0}}})  # fmt: skip
    step = Verdict((), {"q": {"relative_error": 0.25}, "z": {"quanta_max": 2.0}})
    row = Row(
        "a",
        "int8",
        "a",
        outputs([1.0]),
        verdict=verdict,
        step=step,
        latency=Latency(1.0, None, None, None, None),
    )
    header, lines = report.table(
        of_rows(
            row,
            Row("f", "int8", "f", error="e"),
            Row("n", "int8", "n"),
            latency=Latency(2.0, None, None, None, None),
        )
    )
    assert header == ["hop", "SQNR dB", "equal", "against hop before", "latency", "verdict"]
    assert lines == [
        ["outputs", "", "", "", "2.00 ms", "reference"],
        ["a [y]", "30.0 (floor 31.0)", "", "rel 2.50e-01", "1.00 ms", "ok"],
        ["a [y, channel 0]", "20.0", "", "", "1.00 ms", "ok"],
        ["a [z]", "", "50.0 % [25.0, 75.0]", "max 2.0 quanta", "1.00 ms", "ok"],
        ["f", "", "", "", "", "failed: e"],
        ["n", "", "", "", "", "MISSED"],
    ]


def test_marks_boxes_and_hops_that_count_for_nothing_are_said() -> None:
    held: Any = "boxes held"
    marked = replace(judged(sqnr_db=30.0), latency=Latency(1.0, None, None, None, None, ("busy", "hot")), boxes=held,
                     before="hub", step=BAD, advice=("s",))  # fmt: skip
    samples = replace(
        ONE, prepared="so", told="the folders", source="d", skipped=("e is no picture",)
    )
    said = report.summary(
        of_rows(
            marked,
            Row("b", "int8", "b", verdict=BAD, step=GOOD, error=None),
            samples=samples,
            latency=Latency(1.0, None, None, None, None, ("hot",)),
        )
    )
    assert said == [
        "first departure: a, against hub: y: sqnr_db is 3.0, wanted at least 10.0",
        "* latency of the reference: hot",
        "* latency of a: busy; hot",
        "missed: b: the recipe is not good enough (y: sqnr_db is 3.0, wanted at least 10.0)",
        "boxes: a: boxes held",
        "note: a departs from hub (y: sqnr_db is 3.0, wanted at least 10.0) and counts for nothing: it is within its budget against "
        "the reference",
        "skipped: e is no picture",
        "pictures: so",
        "truth: the folders",
        "try: s",
        "1 of 2 cells within budget, 0 failed to run, 1 sample (d), 1 more could not be read",
    ]


def test_layers_without_noise_or_counterpart_are_said_so() -> None:
    quiet = replace(SOUND.layers[0], damage=0.0)
    made = LayerReport("a", (quiet, replace(quiet, damage=0.5, clipped=0.0)), 2, tuple("abcdefg"))
    assert report._layer_lines(made, "sample") == [
        "layers of a (2, 2 samples): no layer departs by itself",
        "  most noise of its own: Conv n: own SQNR 1.0 dB, inherited 1.0 dB",
        "  without counterpart: a, b, c, d, e",
    ]
    assert (
        len(
            report._layer_lines(
                replace(made, layers=(replace(quiet, damage=0.5),) * 5, unmatched=()), "sample"
            )
        )
        == 4
    )


def test_junit_says_what_failed_first() -> None:
    text = to_junit(
        of_rows(
            Row("a", "int8", "a", verdict=GOOD, layers=DEPARTING),
            Row("b", "fp32", "b", verdict=BAD),
        )
    )
    assert 'name="edgeconv parity" tests="2" failures="2" errors="0"' in text
    assert "layer Conv n (tensor t)" in text
    assert 'message="y: sqnr_db is 3.0, wanted at least 10.0"' in text
    assert 'time="0.000"' in text


def test_a_page_draws_what_is_worth_its_place() -> None:
    clean = LayerReport(
        "a", tuple(replace(SOUND.layers[0], inherited_sqnr_db=v) for v in (95.0, 90.1)), 1
    )
    assert page._layers(clean) == {
        "label": "a", "said": "no layer departs by itself; every layer is above 90 dB", "chart": None
    }  # fmt: skip
    noisy = replace(clean, layers=(*clean.layers, replace(SOUND.layers[0], inherited_sqnr_db=90.0)))
    assert page._layers(noisy)["key"] == ["own error", "inherited"]
    first = replace(clean, layers=(DEPARTING.layers[0], *clean.layers))
    assert page._layers(replace(first, layers=first.layers * 4))["kinds"] == ["bad"] * 4 + [""] * 4
    assert [page._drawn(v) for v in (math.inf, -math.inf, math.nan, 50.0)] == [
        120.0,
        -20.0,
        -20.0,
        50.0,
    ]
    assert [page._worth(v) for v in (None, SOUND, clean)] == [False, False, True]
    assert [
        page._kind(v) for v in ("missed: a", "first departure: a", "skipped: a", "note: a")
    ] == ["bad"] * 3 + ["dim"]
    assert [page._verdict_kind(v) for v in ("ok", "reference", "MISSED", "failed: e")] == [
        "good",
        "dim",
        "bad",
        "bad",
    ]
    named = page._named(
        of_rows(
            Row("b", "int8", "b", verdict=BAD),
            Row("c", "int8", "c"),
            Row("d", "int8", "d", verdict=BAD),
        )
    )
    assert named == [("sqnr_db", "signal to quantization noise, dB")]
    files_of = [
        judged(sqnr_db=1.0),
        replace(judged(sqnr_db=1.0), stage="hub"),
        Row("f", "int8", "f", error="e"),
    ]
    assert page._shown(of_rows(*files_of)) == files_of[:1]
    assert page._shown(of_rows(*files_of[1:])) == files_of[1:2]
    assert page._classified(of_rows(*files_of)) == []
    assert page._shown(of_rows(Row("a", "int8", "a", outputs([1.0])))) == []


def test_a_scatter_holds_evenly_spread_values_of_both() -> None:
    values = np.arange(1000.0).reshape(1, 1000)
    row = Row("a", "int8", "a", outputs(values + 1), verdict=Verdict((), {"y": {"sqnr_db": 1.0}}))
    drawn = page._scatter(Matrix(outputs(values), (row,), ONE))
    assert drawn is not None
    assert drawn["key"] == ["a"]
    assert drawn["chart"].count("<circle") + drawn["chart"].count("<use") in (0, 400, 401)
    assert page._scatter(Matrix(outputs(values), (replace(row, verdict=GOOD),), ONE)) is None


def test_noise_is_that_of_the_first_recipe_and_a_dozen_tensors() -> None:
    many = {f"t{k}": 1 / (k + 1) for k in range(20)}
    bars = page._noise(
        of_rows(
            Row("a", "int8", "a"), Row("r", "recipe", "r", outputs([1.0], noise=many)), judged()
        )
    )
    assert [bar.name for bar in bars] == [f"t{k}" for k in range(12)]
    assert [bar.said for bar in bars[:2]] == ["100.0%", "50.0%"]
    assert page._noise(of_rows(judged())) == []


def test_pictures_are_shown_by_how_far_off_they_are_and_flips_first() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(9, 3)) * 0.1 + np.eye(3)[np.arange(9) % 3] * 4
    got = wanted.copy()
    got[2] += 3.0  # far off, and the same class
    got[5] = wanted[5][[2, 0, 1]]  # another class
    got[7] += 0.5
    samples = Samples(
        {"x": np.zeros((9, 3, 4, 4))},
        tuple("abcdefghi"),
        np.array([0, -1, 2] * 3),
        labels=("cat", "dog"),
    )
    row = Row("a", "int8", "a", outputs(got), verdict=Verdict((), {"y": {"agreement_top1": 0.9}}))
    cards = page._worst(Matrix(outputs(wanted), (row,), samples))
    assert [card["name"] for card in cards][:3] == ["f", "c", "h"]
    assert len(cards) == 6
    assert cards[0]["truth"] == "class 2"
    confused = page._confusion(Matrix(outputs(wanted), (row,), samples))
    assert confused[0][0] == "a"
    assert page._confusion(Matrix(outputs(wanted), (row,), replace(samples, truth=None))) == []
    assert page._worst(Matrix(outputs(wanted), (judged(sqnr_db=1.0),), samples)) == []
    assert page._best(np.array([1.0, 5.0, 5.0, 0.0, 2.0, 3.0])).tolist() == [1, 2, 5, 4, 0]
    assert page._top5(Matrix(outputs(wanted), (), samples), np.array([0.125, 2.0, 1.0])) == [
        "dog 2",
        "class 2 1",
        "cat 0.125",
    ]
