"""Parity of real small files in this process: what is planned, run, compared, drawn and written, by value."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import parity_kit as kit
import pytest

from edgeconv.artifact import Artifact, load_artifact, save_manifest
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import sha256
from edgeconv.judge.outputs import Outputs, inputs_hash, load_outputs
from edgeconv.judge.verdict import Verdict
from edgeconv.parity import api, cells, child, data, latency, matrix, page, precision
from edgeconv.parity.api import check_parity
from edgeconv.parity.data import Request
from edgeconv.parity.facts import file_figures, noise_map
from edgeconv.parity.layers import run as layer_run
from edgeconv.parity.layers.figures import Layer, LayerReport
from edgeconv.parity.matrix import Matrix, Row, Samples, Settings
from edgeconv.tensors import TensorSpec

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("exports")
    path = kit.fp32_export(folder / "f")
    table = path.with_name("small_fp32.evidence") / "tensors_onnx.json"
    names = ("stem.out", "depthwise.out", "project.pre", "sum", "head.out", "logits")
    table.write_text(json.dumps({name: {"name": name} for name in names}), encoding="utf-8")
    found = known(path)
    files = {**found.manifest["evidence"]["files"], table.name: sha256(table)}
    evidence = {**found.manifest["evidence"], "files": files}
    save_manifest(replace(found, manifest={**found.manifest, "evidence": evidence}))
    return path, kit.int8_export(folder / "q")


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let children work in this process, and return what they were called."""
    asked: list[str] = []

    def call(
        function: str,
        value: Any,
        what: str,
        *,
        timeout_s: float | None = None,
        python: Sequence[str] = (),
    ) -> Any:
        asked.append(what)
        work = {
            "edgeconv.parity.child:work": child.work,
            "edgeconv.parity.layers.run:work": layer_run.work,
        }[function]
        return json.loads(json.dumps(work(json.loads(json.dumps(value)))))

    monkeypatch.setattr(child, "call", call)
    monkeypatch.setattr(layer_run, "call", call)
    return asked


def known(path: Path) -> Artifact:
    found = load_artifact(path)
    assert found is not None
    return found


def test_cells_are_the_stages_and_files_in_the_order_of_the_hops(
    exports: tuple[Path, Path], tmp_path: Path
) -> None:
    found, notes = cells.plan(exports, scratch=tmp_path)
    native = "small_int8.onnx · onnxruntime"
    lines = [(c.label, c.stage, c.kind, c.before, c.lowered, c.target) for c in found]
    prepared = sha256(known(exports[1]).evidence("prepared.onnx"))
    assert lines == [
        ("raw ONNX", "raw", "fp32", None, False, "onnx"), ("prepared ONNX", "prepared", "fp32", "raw ONNX", False, "onnx"),
        ("small_fp32.onnx · onnxruntime", "fp32", "fp32", "prepared ONNX", False, "onnx"),
        ("recipe in float", "recipe", "int8", "prepared ONNX", False, "onnx"), (native, "int8", "int8", "recipe in float", False, "onnx"),
    ]  # fmt: skip
    own = {c.label: c for c in found}
    assert own[native].follows == own["recipe in float"].follows == prepared
    assert own["recipe in float"].path == tmp_path / "recipe_small_int8.onnx.onnx"
    assert own[native].runtime == own["raw ONNX"].runtime == "onnxruntime"
    assert notes == []
    bare, _ = cells.plan([exports[1]])
    assert "recipe in float" not in [c.label for c in bare]
    assert [(c.lowered, c.kind) for c in bare] == [
        (False, "fp32"),
        (True, "lowered"),
        (False, "int8"),
    ]
    assert next(c for c in bare if c.stage == "int8").before == "prepared ONNX"
    again, _ = cells.plan([exports[1]], precision="fp16", scratch=tmp_path)
    assert next(c for c in again if c.label == native).stage == "fp16"
    _, said = cells.plan([exports[0]], also=["tflite-micro"])
    assert said == ["small_fp32.onnx does not run in tflite-micro: it takes .tflite"]


def test_a_foreign_file_is_what_it_shows(
    exports: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.deps import MissingDependencyError

    path = tmp_path / "other.onnx"
    path.write_bytes(exports[1].read_bytes())

    def shown(path: Path) -> Any:
        if "damaged" in path.name:
            raise EdgeconvError("what it is nobody knows")
        types = ("uint16", "int8", "int32") if "wide" in path.name else ()
        return SimpleNamespace(
            int8_compute=4 if path.name == "other.onnx" else 0,
            compute=5,
            quantization=[SimpleNamespace(dtype=dtype) for dtype in types],
        )

    monkeypatch.setattr(precision, "inspect_file", shown)
    found, notes = cells.plan([path])
    assert {(c.label, c.stage, c.artifact, c.follows) for c in found} == {
        ("other.onnx · onnxruntime", "int8", None, None)
    }
    assert notes == [
        "other.onnx has no manifest, and 4 of its 5 convolutions and products compute in integers: it is judged as int8 "
        "(--precision says otherwise)"
    ]
    assert cells.plan([path], precision="fp32")[1] == []
    said: list[str] = []
    assert precision.shown_precision(Path("float.onnx"), said) is None
    assert precision.shown_precision(Path("damaged.onnx"), said) is None
    assert said == []
    assert precision.shown_precision(Path("wide.onnx"), said) == "int8"
    assert said == [
        "wide.onnx has no manifest; it rounds to int8, uint16, and none of its 5 convolutions and products "
        "computes in integers: it is judged by the limits of int8 (--precision says otherwise)"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            cells, "simulated_recipe", lambda *a: (_ for _ in ()).throw(EdgeconvError("why"))
        )
        patch.setattr(
            cells, "whole_border", lambda *a: (_ for _ in ()).throw(MissingDependencyError("how"))
        )
        left, notes = cells.plan([exports[1]], scratch=tmp_path)
        assert [c.stage for c in left if c.stage in ("prepared", "recipe")] == []
        assert notes[0].startswith("prepared ONNX is left out: ")
        assert notes[1] == "the recipe's own noise is not simulated: why"
        patch.setattr(cells, "choose", lambda path: (_ for _ in ()).throw(EdgeconvError("none")))
        only, notes = cells.plan([exports[1]], scratch=tmp_path)
        assert [c.stage for c in only] == ["int8"]
        assert notes == ["raw, hub and prepared ONNX are left out: none"]


def test_a_child_says_what_ran_and_how(
    exports: tuple[Path, Path], tmp_path: Path, inside: list[str]
) -> None:
    path = exports[1]
    feeds = child.save_feeds({"input": kit.pictures(3)}, tmp_path)
    job = child.Job(
        path,
        "onnxruntime",
        feeds,
        tmp_path / "o.npz",
        threads=2,
        input_specs=known(path).inputs,
        output_specs=known(path).outputs,
        count=2,
    )
    found = child.run_cell(job)
    assert inside == ["onnxruntime on small_int8.onnx"]
    assert {k: found.about[k] for k in ("runtime", "threads", "rows", "scales", "delegation", "doubts", "integer")} == {
        "runtime": "onnxruntime", "threads": 2, "rows": [0, 1], "scales": {}, "delegation": {}, "doubts": [], "integer": False,
    }  # fmt: skip
    assert found.arrays["logits"].shape == (2, 10)
    assert 0.0 <= found.about["infer_s"] <= found.about["loop_s"] < 60.0
    assert 0.0 <= found.about["load_s"] < 60.0
    assert found.about["version"]
    wanted = kit.verification  # the float net's logits are near
    assert wanted is not None
    hub = child.run_cell(replace(job, path=known(path).evidence("hub.onnx"), count=None))
    assert float(np.abs(hub.arrays["logits"][:2] - found.arrays["logits"]).max()) < 0.5
    assert hub.about["rows"] is None


def test_a_run_compares_draws_and_writes_everything(
    exports: tuple[Path, Path], tmp_path: Path, inside: list[str]
) -> None:
    pytest.importorskip("jinja2")
    names = {
        "save_outputs": "s",
        "markdown": "m.md",
        "junit": "j.xml",
        "html": "p.html",
        "baseline": "b.json",
    }
    written: Any = {option: tmp_path / name for option, name in names.items()}
    result = check_parity(
        list(exports), count=6, layers=True, bisect=tmp_path / "r", update_baseline=True, **written
    )
    rows = {row.label: row for row in result.matrix.rows}
    assert list(rows) == [
        "raw ONNX", "prepared ONNX", "small_fp32.onnx · onnxruntime", "recipe in float",
        "small_int8.onnx · onnxruntime",
    ]  # fmt: skip
    assert (result.matrix.failed, [row.error for row in rows.values()]) == ((), [None] * 5)
    assert result.exit_code == 0
    assert [row.ok for row in rows.values()] == [True] * 5
    int8 = rows["small_int8.onnx · onnxruntime"]
    assert int8.figures["logits"]["agreement_top1"] == 1.0
    assert int8.figures["logits"]["top1"] == int8.figures["logits"]["reference_top1"] == 1.0
    assert 25.0 < int8.figures["logits"]["sqnr_db"] < 50.0
    assert int8.before == "recipe in float"
    assert int8.step is not None
    assert int8.outputs is not None
    assert int8.outputs.about["file"]["int8_share"] == 1.0
    assert {label for label, row in rows.items() if row.layers is not None} == {
        "prepared ONNX", "small_fp32.onnx · onnxruntime", "small_int8.onnx · onnxruntime"
    }  # fmt: skip
    assert "no single layer departs, so there is no repro to write" in result.matrix.notes
    assert result.said == (f"baseline written: {written['baseline']}",)
    assert len(inside) == 5 + 3
    pictures = result.matrix.samples
    assert (pictures.count, pictures.exported, pictures.of) == (6, None, 24)
    held = json.loads(written["baseline"].read_text(encoding="utf-8"))
    assert (held["count"], set(held["rows"])) == (6, set(rows))
    assert held["rows"]["raw ONNX"]["outputs"]["logits"]["agreement_top1"] == 1.0
    text = written["html"].read_text(encoding="utf-8")
    for shown in ("5 of 5 cells within budget", "6 pictures", "small_fp32.onnx, small_int8.onnx · edgeconv parity", "Same class as the reference",
                  "picture0.png", "own error", "data:image/png"):  # fmt: skip
        assert shown in text, shown
    assert written["markdown"].read_text(encoding="utf-8") == str(result)
    assert ElementTree.parse(written["junit"]).getroot().get("tests") == "5"
    assert len(list(written["save_outputs"].glob("*.npz"))) == 6
    again = check_parity(list(exports), count=6, baseline=written["baseline"])
    assert (again.exit_code, again.worse) == (0, ())
    held["rows"]["small_int8.onnx · onnxruntime"]["outputs"]["logits"]["sqnr_db"] = 89.0
    written["baseline"].write_text(json.dumps(held), encoding="utf-8")
    worse = check_parity(list(exports), count=6, baseline=written["baseline"])
    assert worse.exit_code == 3
    assert worse.worse[0].startswith(
        "small_int8.onnx · onnxruntime: logits: sqnr_db was 89.0 and is "
    )
    joined = check_parity([exports[0]], count=6, load_outputs=written["save_outputs"])
    assert sum(" · saved on " in row.label for row in joined.matrix.rows) == 5
    assert joined.exit_code == 0
    stored = check_parity([], load_outputs=written["save_outputs"])
    assert [row.title for row in stored.matrix.rows] == [
        "raw ONNX",
        "prepared ONNX",
        "small_fp32.onnx",
        "recipe in float",
        "small_int8.onnx",
    ]
    with pytest.raises(EdgeconvError, match="come from other inputs"):
        check_parity([exports[0]], count=5, load_outputs=written["save_outputs"])


def test_what_no_run_would_help_is_refused_first(
    exports: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(EdgeconvError, match="does not exist"):
        check_parity([tmp_path / "none.onnx"])
    (tmp_path / "a.txt").write_bytes(b"1")
    with pytest.raises(EdgeconvError, match=r"a\.txt"):
        check_parity([tmp_path / "a.txt"])
    ends: Any = SimpleNamespace(nms={"verified": "plain.tflite"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "load_artifact", lambda path: ends)
        with pytest.raises(
            UsageError, match=r"ends in NMS, and parity compares tensors: give it .*plain\.tflite"
        ):
            api._refuse_thinned(exports[0])
        patch.setattr(api, "load_artifact", lambda path: SimpleNamespace(nms=None))
        api._refuse_thinned(exports[0])
    damaged = tmp_path / "d.onnx"
    damaged.write_bytes(b"nothing")
    with pytest.raises(EdgeconvError, match=r"d\.onnx") as refused:
        data.gather([damaged], Request())
    assert "none of these files" not in str(refused.value)
    with pytest.raises(EdgeconvError, match="baseline"):
        check_parity([exports[0]], baseline=tmp_path / "gone.json")


def test_samples_and_reference_are_of_the_first_export_that_has_some(
    exports: tuple[Path, Path], tmp_path: Path, inside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.runtimes import probe

    monkeypatch.setattr(probe, "probe", lambda path, runtime: None)  # it starts a process
    foreign = tmp_path / "a.onnx"
    foreign.write_bytes(exports[0].read_bytes())
    samples, reference = data.gather([foreign, exports[0]], Request(count=3))
    assert (samples.count, samples.labels, dict(samples.frozen)) == (3, None, {})
    assert samples.names == ("picture0.png", "picture8.png", "picture16.png")
    assert inside == []
    hub = known(exports[0]).evidence("hub.onnx")
    asked, own = data.gather([exports[0]], Request(count=3, reference=str(hub), threads=2))
    assert inside == ["onnxruntime on hub.onnx"]
    assert own.arrays["logits"] == pytest.approx(reference.arrays["logits"], abs=1e-5)
    assert {k: own.about[k] for k in ("label", "stage", "title", "threads", "inputs_sha256", "weights")} == {
        "label": "reference", "stage": "reference", "title": "hub.onnx", "threads": 2, "inputs_sha256": inputs_hash(asked.inputs), "weights": None
    }  # fmt: skip
    np.savez(tmp_path / "d.npz", input=kit.pictures(5))
    given, there = data.gather([exports[0]], Request(data=str(tmp_path / "d.npz"), count=2))
    assert (given.count, given.of, list(given.rows)) == (2, 5, [0, 2])
    assert there.arrays["logits"].shape == (2, 10)
    alone, _ = data.gather([foreign], Request(data=str(tmp_path / "d.npz"), reference=str(hub)))
    assert (alone.count, alone.labels) == (5, None)
    specs = data.reference_inputs(Request(reference=str(hub)), None)
    assert [(s.name, s.shape) for s in specs] == [("input", (1, 3, 16, 16))]
    assert data.reference_inputs(Request(reference="r.npz"), known(exports[0])) == specs
    frozen: Any = SimpleNamespace(
        frozen_inputs={"input": 1.0}, evidence=lambda name: hub, labels=["a"], original="hub.onnx"
    )
    assert data.reference_inputs(Request(), frozen) == ()
    assert data._frozen(frozen) == {"input": 1.0}
    labelled = replace(
        known(exports[0]), manifest={**known(exports[0]).manifest, "labels": ["a", "b"]}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_artifact", lambda path: labelled)
        assert data.gather([exports[0]], Request(count=1))[0].labels == ("a", "b")


@pytest.mark.parametrize(("classes", "kept"), [(10, False), (2, True)])
def test_folders_that_are_no_classes_of_the_net_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, kept: bool
) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        image.fromarray(np.full((8, 6, 3), 9, np.uint8)).save(tmp_path / name / "0.png")
    monkeypatch.setattr(
        data, "reference_inputs", lambda *a: (TensorSpec("x", (1, 3, 8, 6), layout="nchw"),)
    )
    monkeypatch.setattr(
        data, "reference_outputs", lambda *a: Outputs({"y": np.zeros((2, classes))})
    )
    request = Request(data=str(tmp_path), preprocessing="unit", reference="r.onnx")
    samples, _ = data.gather([], request)
    assert (samples.truth is not None, samples.told is not None) == (kept, kept)
    told = tmp_path / "t.csv"
    told.write_text("cat/0.png,1\ndog/0.png,0\n", encoding="utf-8")
    said, _ = data.gather([], replace(request, truth=str(told)))
    assert said.truth is not None
    assert said.truth.tolist() == [1, 0]


def test_files_show_their_share_of_integers_and_where_noise_comes_from(
    exports: tuple[Path, Path], tmp_path: Path
) -> None:
    path = exports[1]
    assert file_figures(path, known(path)) == {
        "bytes": float(path.stat().st_size), "int8_share": 1.0, "compute": 5.0, "int8_compute": 5.0, "transposes": 0.0
    }  # fmt: skip
    bare: Any = SimpleNamespace(manifest={"graph": {"compute": 4, "transposes": 3}})
    assert file_figures(path, bare) == {
        "bytes": float(path.stat().st_size), "int8_share": 0.0, "compute": 4.0, "int8_compute": 0.0, "transposes": 3.0
    }  # fmt: skip
    text = json.loads(known(path).evidence("recipe.json").read_text(encoding="utf-8"))
    text.setdefault("notes", {})["noise"] = {
        name: {"share": share, "channels": 1, "worst_channel": 0, "worst_share": share}
        for name, share in (("a", 0.25), ("b", 0.5), ("c", 0.125))
    }
    (tmp_path / "recipe.json").write_text(json.dumps(text), encoding="utf-8")
    noisy: Any = SimpleNamespace(
        manifest=known(path).manifest, evidence=lambda name: tmp_path / name
    )
    assert list(noise_map(noisy).items()) == [("b", 0.5), ("a", 0.25), ("c", 0.125)]
    assert noise_map(known(path)) == {}


def test_what_looks_wrong_about_the_truth_is_noted() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    scores = np.eye(3)[classes] * 5 + 0.1 * rng.normal(size=(60, 3))
    shifted = (classes + 1) % 3
    samples = Samples({"x": np.zeros((60, 1))}, truth=shifted, labels=("cat", "dog"))
    reference = Outputs(
        {"y": scores, "z": scores, "boxes": np.zeros((60, 2, 4)), "few": scores[:9]}
    )
    notes = matrix._reference_notes(reference, samples)
    assert len(notes) == len(set(notes)) > 0
    assert notes[0].startswith("THE LABELS LOOK SHIFTED")
    turned = np.array([1, 0, 2])[classes]
    said = matrix._reference_notes(reference, replace(samples, truth=turned))
    assert (
        said
        == [
            "THE CLASSES LOOK NUMBERED OTHERWISE by the file: cat is its class 1, dog is its class 0; does the truth name its classes, or "
            "their numbers?"
        ]
        or said == []
    )
    right = replace(samples, truth=classes)
    assert matrix._reference_notes(reference, right) == []
    assert matrix._reference_notes(reference, replace(samples, truth=None)) == []
    assert matrix._reference_notes(reference, replace(samples, truth=shifted + 1)) == []
    assert matrix._reference_notes(Outputs({"few": scores[:9]}), samples) == []


def judged(label: str, got: Any, **figures: float) -> Row:
    return Row(
        label,
        "int8",
        "a",
        Outputs({"y": np.asarray(got)}),
        verdict=Verdict((), {"y": {"agreement_top1": 0.5, **figures}}),
    )


def test_a_card_shows_the_picture_its_classes_and_who_agrees() -> None:
    pixels = np.random.default_rng(0).uniform(size=(2, 3, 4, 5)).astype(np.float32)
    scores = np.array([[5.0, 1.0, 0.0], [0.0, 4.0, 3.0]])
    samples = Samples({"x": pixels}, ("a",), np.array([0, -1]), labels=("cat",))
    made = Matrix(
        Outputs({"y": scores}),
        (judged("p", scores + 1), judged("q", scores[:, ::-1]), judged("r", scores)),
        samples,
    )
    rows = page._classified(made)
    pairs = [page._pair(made, row) for row in rows]
    card = page._card(made, 0, rows, pairs)
    assert (card["name"], card["truth"], card["same"]) == ("a", "cat", "p, r")
    assert card["lists"] == [
        ("reference", ["cat 5", "class 1 1", "class 2 0"]),
        ("q", ["class 2 5", "class 1 1", "cat 0"]),
    ]
    other = page._card(made, 1, rows, pairs)
    assert (other["name"], other["truth"]) == ("1", "")
    image = page._image(made, 0)
    assert image.startswith("data:image/png")
    last = replace(
        made, samples=replace(samples, inputs={"x": np.moveaxis(pixels, 1, -1)}, layout="nhwc")
    )
    assert page._image(last, 0) == image
    assert page._image(made, 1) != image
    gray = replace(made, samples=replace(samples, inputs={"x": pixels[:, :1]}))
    assert page._image(gray, 0)
    for wrong in (pixels[:, :2], pixels[:, 0]):
        assert page._image(replace(made, samples=replace(samples, inputs={"x": wrong})), 0) == ""


def test_the_page_has_its_rows_words_and_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(
        page, "render", lambda folder, name, **more: given.update(more) or f"{folder}/{name}"
    )
    from edgeconv.judge.verdict import Finding

    scores = np.array([[5.0, 1.0, 0.0], [0.0, 4.0, 3.0]])
    bad = Verdict(
        (Finding("y", "kl", 3.0, 1.0, False),),
        {
            "y": {
                "sqnr_db": 30.0,
                "agreement_top1": 0.5,
                "agreement_top1_low": 0.1,
                "agreement_top1_high": 0.9,
            }
        },
    )
    rows = (Row("a · x", "int8", "a", Outputs({"y": scores}), verdict=bad, advice=("s: why", "t: why")), Row("a · y", "int8", "a", error="e"),
            Row("hub", "hub", "hub", Outputs({"y": scores}), verdict=Verdict((), {"y": {"sqnr_db": 30.0}})))  # fmt: skip
    made = Matrix(
        Outputs({"y": scores}, {"title": "net"}),
        rows,
        Samples({"x": np.zeros((2, 1))}, source="here", skipped=("s.png",)),
        ("n",),
    )
    assert page.to_html(made) == "pages/parity.html.jinja"
    assert (given["title"], given["names"], given["ok"]) == ("a · edgeconv parity", ["a"], False)
    assert (given["within"], given["pictures"]) == (
        "1 of 3 cells within budget",
        "2 samples · here",
    )
    assert list(given["steps"]) == ["s: why"]
    assert [kind for kind, _ in given["sentences"]] == ["bad", "bad", "dim", "bad"]
    assert not any(said.startswith(("try:", "1 of 3")) for _, said in given["sentences"])
    assert given["header"] == ["hop", "verdict", "SQNR dB", "agree", "against hop before"]
    assert given["lines"][0] == ("net", "dim", "reference", ["", "", ""])
    assert given["lines"][1] == ("a · x", "bad", "MISSED", ["30.0", "50.0 [10.0, 90.0]", ""])
    words = [word for word, _ in given["words"]]
    assert words == ["SQNR dB", "floor", "agree", "against hop before", "quanta", "kl"]
    assert [bar.name for bar in given["hops"]] == ["a · x"]
    assert (given["layers"], given["noise"], given["confusion"]) == ([], [], [])
    assert given["scatter"]["key"] == ["a · x"]
    assert [name for name, _ in given["environment"]][:2] == ["edgeconv", "Python"]
    assert [name for name, _ in given["environment"]][-2:] == ["machine", "system"]
    page.to_html(replace(made, rows=(replace(rows[0], verdict=replace(bad, findings=())),)))
    assert given["ok"] is True
    page.to_html(replace(made, rows=()))
    assert given["title"] == "nothing · edgeconv parity"
    noisy = Layer("t", "n", "Conv", 40.0, 30.0, 0.5, 0.1)
    page.to_html(
        replace(made, rows=(replace(rows[0], layers=LayerReport("a", (noisy, noisy), 1)),))
    )
    assert not any("layers of" in said for _, said in given["sentences"])
    assert [one["label"] for one in given["layers"]] == ["a"]
    layered = LayerReport("a", (), 1)
    assert page._worth(layered) is False


def test_a_net_in_pytorch_runs_picture_by_picture(exports: tuple[Path, Path]) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.export import source
    from edgeconv.parity.net import net_outputs

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    opened: list[Any] = []
    samples = Samples({"x": np.random.default_rng(0).normal(size=(3, 3, 2, 2)).astype(np.float32)})
    with pytest.MonkeyPatch.context() as patch:

        def open_source(options: Any) -> Any:
            opened.append(options)
            return SimpleNamespace(module=net, output_names=("y",))

        patch.setattr(source, "open_source", open_source)
        found = net_outputs(net, "w", None, samples, 1)
        with torch.no_grad():
            wanted = net(torch.from_numpy(samples.inputs["x"])).numpy()
        assert found.arrays["y"] == pytest.approx(wanted, abs=1e-6)
        assert {k: found.about[k] for k in ("label", "stage", "title", "threads", "inputs_sha256")} == {
            "label": "reference", "stage": "reference", "title": "Sequential", "threads": 1, "inputs_sha256": inputs_hash(samples.inputs)
        }  # fmt: skip
        assert found.about["runtime"]
        assert (opened[0].weights, opened[0].input_shapes, opened[0].net) == (
            "w",
            ((1, 3, 2, 2),),
            net,
        )
        own: Any = SimpleNamespace(
            manifest={"net": {"width": 0.5, "groups": None, "other": 1}},
            preprocessing=None,
            outputs=[TensorSpec("z", (1, 2))],
        )
        assert list(net_outputs("mobilenet_v2", None, own, samples, 1).arrays) == ["z"]
        assert (opened[1].width, opened[1].net) == (0.5, "mobilenet_v2")
        patch.setattr(
            source, "open_source", lambda options: SimpleNamespace(module=net, output_names=None)
        )
        named = net_outputs("mobilenet_v2", None, None, samples, 1)
        assert (list(named.arrays), named.about["title"]) == (["output"], "mobilenet_v2")


def test_latencies_leave_out_what_cannot_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv import machine
    from edgeconv.bench import engine, subjects

    emulated: Any = SimpleNamespace(emulated=True)
    monkeypatch.setattr(machine, "describe", lambda: emulated)
    assert latency.measure_latencies([], 1) == (
        {},
        ["this machine is emulated: no latency is shown"],
    )
    monkeypatch.setattr(machine, "describe", lambda: SimpleNamespace(emulated=False))
    own: Any = SimpleNamespace(path=Path("a.onnx"))
    given = [
        cells.Cell("a", "int8", Path("a.onnx"), "onnxruntime", {"o": 1}, own), cells.Cell("hub", "hub", Path("h.onnx"), "onnxruntime"),
        cells.Cell("far", "int8", Path("f.onnx"), "onnxruntime", python=("py",)), cells.Cell("mil", "int8", Path("m.mlpackage"), "mil-reference"),
        cells.Cell("broken", "fp32", Path("b.onnx"), "onnxruntime"),
    ]  # fmt: skip
    planned: list[Any] = []

    def measure(asked: Sequence[Any], plan: Any, watch: Any) -> Any:
        planned.append((list(asked), plan))
        times = {"r": {1: 4.0, 2: 4.0}, "a": {1: 1.0, 2: 4.0}, "broken": {}}
        return [SimpleNamespace(subject=s, round_medians_ms=times[s.label]) for s in asked], True

    def to_row(turn: Any, watch: Any, machine: Any) -> Any:
        if turn.subject.label == "broken":
            return SimpleNamespace(error="it broke", summary=None, marks=[])
        marks = [SimpleNamespace(reason=f"{turn.subject.label} busy")]
        return SimpleNamespace(
            error=None,
            summary=SimpleNamespace(median=float(len(turn.subject.label)) + 2),
            marks=marks,
        )

    from edgeconv.bench.plan import Subject

    reference = Subject("r", "pytorch", 2, "a.onnx")
    chosen: list[Any] = []

    def reference_rows(path: Path, artifact: Any, choice: Any) -> Any:
        chosen.append((path, artifact, choice.threads))
        return [reference, reference]

    monkeypatch.setattr(engine, "measure", measure)
    monkeypatch.setattr(engine, "to_row", to_row)
    monkeypatch.setattr(subjects, "reference_rows", reference_rows)
    found, notes = latency.measure_latencies(given, 2, 0.5)
    asked, plan = planned[0]
    assert [
        (s.label, s.runtime, s.threads, s.model if hasattr(s, "model") else "", dict(s.options))
        for s in asked
    ][1:] == [
        ("a", "onnxruntime", 2, "a.onnx" if hasattr(reference, "model") else "", {"o": 1}),
        ("broken", "onnxruntime", 2, "b.onnx" if hasattr(reference, "model") else "", {}),
    ]
    assert asked[0] is reference
    assert len(asked) == 3
    assert plan.seconds == 0.5
    assert chosen == [(Path("a.onnx"), own, (2,))]
    assert notes == ["the latency measurement was interrupted", "latency of broken: it broke"]
    assert set(found) == {"reference", "a"}
    assert found["reference"] == latency.Latency(3.0, None, None, None, "r", ("r busy",))
    assert (found["a"].median_ms, found["a"].reference) == (3.0, "r")
    assert found["a"].ratio == pytest.approx(0.5)
    assert found["a"].marks == ("a busy",)

    def none(*asked: Any) -> Any:
        raise EdgeconvError("no torch")

    monkeypatch.setattr(subjects, "reference_rows", none)
    alone, notes = latency.measure_latencies(given[:1], 2)
    assert notes[0] == "no float reference to compare latency with: no torch"
    assert (alone["a"].ratio, alone["a"].reference) == (None, None)
    foreign, notes = latency.measure_latencies(given[-1:], 2)
    assert (foreign, notes) == (
        {},
        ["the latency measurement was interrupted", "latency of broken: it broke"],
    )
    assert planned[-1][1].seconds == 2.0


def test_saved_outputs_are_of_the_run_that_saved_them(
    exports: tuple[Path, Path], tmp_path: Path, inside: list[str]
) -> None:
    check_parity([exports[1]], count=2, save_outputs=tmp_path / "s", timeout=50.0, threads=2)
    found = load_outputs(tmp_path / "s" / "reference.npz")
    assert found.about["names"] == ["picture0.png", "picture12.png"]
    assert len(found.about["truth"]) == 2
    assert found.about["source"] == "verification samples of small_int8.onnx"
    every = [load_outputs(path) for path in sorted((tmp_path / "s").glob("0*.npz"))]
    assert [one.about["stage"] for one in every] == ["raw", "prepared", "recipe", "int8"]
    assert all(one.about["threads"] == 2 for one in every)
    recipe = every[2].about
    assert set(recipe["scales"]) == {"logits"}
    assert math.isfinite(recipe["scales"]["logits"])
    assert recipe["file"]["bytes"] > 0


def test_a_figure_that_was_kept_asks_the_settings_of_the_run(exports: tuple[Path, Path]) -> None:
    own = known(exports[1])
    verified = replace(own, manifest={**own.manifest, "verification": {"pictures": 4}})
    cell = cells.Cell("a", "int8", exports[1], "onnxruntime", artifact=verified)
    exported = own.manifest["evidence"]["files"]["verify.npz"]
    job = matrix.job_for(cell, {}, Samples({}, exported=exported), Settings(), Path("o"))
    assert (job.count, job.threads) == (4, 1)
    mapping: Mapping[str, Any] = job.frozen
    assert mapping == {}


def test_files_that_are_missing_or_share_a_name_are_no_plan(
    exports: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.onnx does not exist"):
        cells.plan([tmp_path / "gone.onnx"], precision="fp32")
    twin = tmp_path / exports[0].name
    twin.write_bytes(exports[0].read_bytes())
    with pytest.raises(UsageError, match=r"two files are called small_fp32\.onnx: rename one"):
        cells.plan([exports[0], twin], precision="fp32")


def test_a_place_runs_what_it_can_and_the_rest_is_noted(
    exports: tuple[Path, Path], tmp_path: Path, inside: list[str]
) -> None:
    foreign = tmp_path / "other.onnx"
    foreign.write_bytes(exports[1].read_bytes())
    folders: list[Path] = []

    class Board:
        def run(
            self, cells: Sequence[Any], samples: Samples, settings: Settings, scratch: Path
        ) -> Any:
            folders.append(scratch)
            assert scratch.is_dir()
            assert list(scratch.iterdir()) == []
            own = next(cell for cell in cells if cell.path == exports[1])
            there = replace(own, label="there", board="pi5", before=own.label)
            return [(there, Outputs({"logits": np.zeros((2, 10))}, {"stage": "int8"}))]

    result = check_parity([exports[1], foreign], precision="int8", count=2, places=[Board()])
    assert result.matrix.rows[-1].label == "there"
    assert result.matrix.rows[-1].before == "small_int8.onnx · onnxruntime"
    assert "other.onnx does not run on pi5, which has no runtime for it" in result.matrix.notes
    assert [folder.name for folder in folders] == ["place1"]
    assert result.exit_code == 3


def test_saved_outputs_of_other_pictures_are_not_joined() -> None:
    def saved(label: str, digest: str, **more: Any) -> Outputs:
        return Outputs({"y": np.ones((1, 2))}, {"label": label, "inputs_sha256": digest, **more})

    reference = saved("reference", "1" * 64, stage="reference")
    same = api._judge_stored([saved("a", "1" * 64), reference], Request(), Settings())
    assert [row.label for row in same.rows] == ["a"]
    with pytest.raises(EdgeconvError, match="the outputs of b come from other inputs"):
        api._judge_stored([reference, saved("b", "2" * 64)], Request(), Settings())


def test_recipes_that_differ_are_cells_of_their_own(
    exports: tuple[Path, Path], tmp_path: Path
) -> None:
    same = kit.int8_export(tmp_path / "same", "tflite")
    other = kit.int8_export(tmp_path / "other", "tflite", seed=1)
    for second, labels in (
        (same, ["recipe in float"]),
        (other, ["recipe in float", "recipe in float of small_int8.tflite"]),
    ):
        found, _ = cells.plan([exports[1], second], scratch=tmp_path)
        assert [c.label for c in found if c.stage == "recipe"] == labels
        lite = next(c for c in found if c.target == "tflite")
        assert lite.before == labels[-1]


def test_latencies_are_asked_of_the_cells_and_shown_beside_them(
    exports: tuple[Path, Path], inside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    label = "small_int8.onnx · onnxruntime"
    own = latency.Latency(2.0, 0.5, 0.4, 0.6, "r")

    def measured(given: Sequence[Any], threads: int) -> Any:
        asked.append(([one.label for one in given], threads))
        return {label: own, "reference": replace(own, median_ms=4.0)}, ["a note on time"]

    monkeypatch.setattr(api, "measure_latencies", measured)
    result = check_parity([exports[1]], count=1, latency=True, threads=3)
    assert asked == [([row.label for row in result.matrix.rows], 3)]
    assert {row.label: row.latency for row in result.matrix.rows if row.latency} == {label: own}
    assert result.matrix.latency == replace(own, median_ms=4.0)
    assert "a note on time" in result.matrix.notes


def test_a_flip_is_shown_before_what_is_farther_off() -> None:
    wanted = np.array([[5.0, 0.0], [1.0, 0.9], [5.0, 0.0]])
    got = np.array([[6.0, 0.0], [0.9, 1.0], [5.0, 0.1]])
    samples = Samples({"x": np.zeros((3, 1))}, tuple("abc"))
    cards = page._worst(Matrix(Outputs({"y": wanted}), (judged("p", got),), samples))
    assert [card["name"] for card in cards] == ["b", "a", "c"]


def test_what_the_reference_reads_is_asked_for_first(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"none\.onnx does not exist"):
        data.reference_file(Request(reference=str(tmp_path / "none.onnx")), None)
    samples = Samples({"x": np.zeros((1, 1), np.float32)}, rows=[0], of=1)
    saved = tmp_path / "r.npz"
    about = np.array(json.dumps({"inputs_sha256": "1" * 64}))
    held: dict[str, Any] = {"about": about, "output:y": np.zeros((1, 2))}
    np.savez(saved, **held)
    with pytest.raises(EdgeconvError, match="come from other inputs"):
        data.reference_outputs(Request(reference=str(saved)), None, samples)
