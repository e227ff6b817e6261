"""Verdicts, budgets and the matrix over all hops."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import parity_kit as kit
import pytest
from click.testing import CliRunner

from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.judge.outputs import load_outputs, save_outputs
from edgeconv.parity import Outputs
from edgeconv.parity.api import check_parity
from edgeconv.parity.child import Job, run_cell

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    kit.fp32_export(folder)
    kit.int8_export(folder)
    return folder


def test_outputs_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    wanted = Outputs({"a/b": np.arange(6.0).reshape(2, 3)}, {"label": "x", "scales": {"a/b": 0.5}})
    save_outputs(path, wanted)
    found = load_outputs(path)
    assert found.about == {**wanted.about, "edgeconv_outputs": 1}
    assert (found.arrays["a/b"] == wanted.arrays["a/b"]).all()
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(EdgeconvError, match=r"x\.npz"):
        load_outputs(path)


def test_the_matrix_covers_every_hop_in_order(exports: Path) -> None:
    result = check_parity([exports / "small_fp32.onnx", exports / "small_int8.onnx"])
    labels = [row.label for row in result.matrix.rows]
    assert labels[0] == "raw ONNX"
    assert labels[-2:] == ["recipe in float", "small_int8.onnx · onnxruntime"]
    assert result.exit_code == 0
    last = result.matrix.rows[-1]
    assert last.before == "recipe in float"
    assert last.verdict is not None
    assert last.verdict.figures["logits"]["floor_sqnr_db"] > 20
    assert last.verdict.figures["logits"]["quanta_max"] >= 0


def test_parity_has_a_cell_for_each_stage_and_file(exports: Path, tmp_path: Path) -> None:
    from edgeconv.artifact import load_artifact
    from edgeconv.parity.cells import _comparable, elsewhere, plan

    path, other = exports / "small_fp32.onnx", exports / "small_int8.onnx"
    found, notes = plan([path, other], scratch=tmp_path)
    assert notes == []
    shown = [(c.label, c.stage, c.kind, c.before, c.lowered) for c in found]
    runs = " · onnxruntime"
    assert shown == [
        ("raw ONNX", "raw", "fp32", None, False),
        ("prepared ONNX", "prepared", "fp32", "raw ONNX", False),
        (f"small_fp32.onnx{runs}", "fp32", "fp32", "prepared ONNX", False),
        ("recipe in float", "recipe", "int8", "prepared ONNX", False),
        (f"small_int8.onnx{runs}", "int8", "int8", "recipe in float", False),
    ]
    again = elsewhere(found, "pi5", ["onnxruntime"], "a Pi")
    assert [(c.label, c.before, c.board) for c in again] == [
        (f"{name}{runs} on a Pi", f"{name}{runs}", "pi5")
        for name in ("small_fp32.onnx", "small_int8.onnx")
    ]
    artifact = load_artifact(path)
    assert artifact is not None
    assert _comparable(artifact) == ("raw", "hub", "prepared")
    for more, stages in (
        ({"softmax": True}, ("hub", "prepared")),
        ({"graph": {"image_input": True}}, ("hub",)),
    ):
        assert _comparable(replace(artifact, manifest={**artifact.manifest, **more})) == stages


def test_a_changed_float_file_is_the_first_departure(tmp_path: Path) -> None:
    path = kit.fp32_export(tmp_path)
    model = onnx.load(path)
    weight = next(i for i in model.graph.initializer if i.name == "head.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3] *= 1.01
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    artifact = json.loads((tmp_path / "small_fp32.onnx.json").read_text())
    from edgeconv.files import sha256

    artifact["sha256"] = sha256(path)
    (tmp_path / "small_fp32.onnx.json").write_text(json.dumps(artifact))
    result = check_parity([path])
    departure = result.matrix.first_departure
    assert departure is not None
    assert departure.label == "small_fp32.onnx · onnxruntime"
    assert result.exit_code == 3


def test_a_missed_budget_exits_3_and_names_it(exports: Path, tmp_path: Path) -> None:
    budget = tmp_path / "tight.json"
    budget.write_text('{"int8": {"sqnr_db": 99}}')
    ran = CliRunner().invoke(
        main, ["parity", str(exports / "small_int8.onnx"), "--budget", str(budget)]
    )
    assert ran.exit_code == 3
    assert "sqnr_db is" in ran.output
    assert "wanted at least 99.0" in ran.output


def test_reports_agree_with_the_matrix(exports: Path, tmp_path: Path) -> None:
    junit, markdown = tmp_path / "j.xml", tmp_path / "m.md"
    arguments = [str(exports / "small_int8.onnx"), "--json", "--junit", str(junit)]
    ran = CliRunner().invoke(main, ["parity", *arguments, "--markdown", str(markdown)])
    assert ran.exit_code == 0, ran.output
    data = json.loads(ran.stdout)
    assert data["edgeconv_parity"] == 1
    assert data["first_departure"] is None
    suite = ElementTree.parse(junit).getroot()
    assert int(suite.attrib["tests"]) == len(data["rows"]) == len(suite)
    assert "| recipe in float |" in markdown.read_text()


def test_saved_outputs_compare_without_running_anything(exports: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    first = check_parity([exports / "small_int8.onnx"], save_outputs=saved)
    again = check_parity([], load_outputs=saved)
    assert [r.label for r in again.matrix.rows] == [r.label for r in first.matrix.rows]
    figures = [r.verdict.figures for r in again.matrix.rows if r.verdict]
    assert figures == [r.verdict.figures for r in first.matrix.rows if r.verdict]


def test_saved_outputs_join_a_run_on_the_same_pictures_only(exports: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    check_parity([exports / "small_int8.onnx"], save_outputs=saved)
    joined = check_parity([exports / "small_fp32.onnx"], load_outputs=saved)
    assert any("saved on" in row.label for row in joined.matrix.rows)
    with pytest.raises(EdgeconvError, match="other inputs"):
        check_parity([exports / "small_fp32.onnx"], load_outputs=saved, count=5)


def test_a_worse_figure_than_the_baseline_exits_3(exports: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    path = exports / "small_int8.onnx"
    assert check_parity([path], baseline=baseline, update_baseline=True).exit_code == 0
    assert check_parity([path], baseline=baseline).exit_code == 0
    data = json.loads(baseline.read_text())
    row = data["rows"]["small_int8.onnx · onnxruntime"]
    row["outputs"]["logits"]["sqnr_db"] = 60.0
    row["file"]["bytes"] = 100.0
    baseline.write_text(json.dumps(data))
    result = check_parity([path], baseline=baseline)
    assert result.exit_code == 3
    assert any("sqnr_db was 60.0" in sentence for sentence in result.worse)
    assert any("bytes was 100" in sentence for sentence in result.worse)


def test_a_foreign_onnx_needs_a_reference_and_data_that_are_asked_for(tmp_path: Path) -> None:
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = kit.small_net()
    theirs, ours = tmp_path / "theirs.onnx", tmp_path / "ours.onnx"
    theirs.write_bytes(save_model(to_onnx(graph)))
    ours.write_bytes(save_model(to_onnx(graph)))
    with pytest.raises(UsageError, match="compare on with data"):
        check_parity([theirs])
    data = tmp_path / "x.npz"
    np.savez(data, input=kit.pictures(4))
    with pytest.raises(UsageError, match="say with reference"):
        check_parity([theirs], data=str(data))
    result = check_parity([theirs], data=str(data), reference=str(ours))
    assert result.exit_code == 0
    assert result.matrix.samples.count == 4


def test_a_file_of_integers_without_a_manifest_is_judged_as_such(
    exports: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.onnx"
    shutil.copy(exports / "small_int8.onnx", theirs)
    data = tmp_path / "x.npz"
    np.savez(data, input=kit.pictures(64))
    given: dict[str, Any] = {"data": str(data), "reference": str(exports / "small_fp32.onnx")}
    result = check_parity([theirs], **given)
    assert any("theirs.onnx has no manifest, and" in note for note in result.matrix.notes)
    assert result.exit_code == 0
    float_budget = check_parity([theirs], precision="fp32", **given)
    assert float_budget.exit_code == 3
    steps = [step for row in float_budget.matrix.rows for step in row.advice]
    assert not any("rescue" in step for step in steps)  # which takes files that edgeconv made


def test_outputs_as_reference_must_come_from_the_same_inputs(exports: Path, tmp_path: Path) -> None:
    path = exports / "small_int8.onnx"
    artifact = load_artifact(path)
    assert artifact is not None
    logits = artifact.verification()["output:logits"]
    plain = tmp_path / "plain.npz"
    np.savez(plain, logits=logits)
    assert check_parity([path], reference=str(plain)).exit_code == 0


def test_a_crashing_runtime_is_a_failed_cell_with_its_signal(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    crash = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (package / "interpreter.py").write_text(crash)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "any.tflite"
    path.write_bytes(b"\0\0\0\0TFL3" + bytes(64))
    result = check_parity([exports / "small_int8.onnx", path], data=None, count=4, precision="int8")
    errors = {row.label: row.error for row in result.matrix.rows if row.error}
    assert "SIGSEGV" in str(errors["any.tflite · ai-edge-litert"])
    assert any(row.ok for row in result.matrix.rows)
    assert result.exit_code == 1


def test_a_child_that_hangs_is_ended_and_named(tmp_path: Path) -> None:
    job = Job(Path("x.onnx"), "onnxruntime", {}, tmp_path / "o.npz")
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    sleeper.chmod(0o755)
    with pytest.raises(EdgeconvError, match=r"did not end within 0\.5 s"):
        run_cell(job, python=[str(sleeper)], timeout_s=0.5)


def test_a_signal_is_named(tmp_path: Path) -> None:
    job = Job(Path("x.onnx"), "onnxruntime", {}, tmp_path / "o.npz")
    crash = tmp_path / "crash"
    code = f"import os\nos.kill(os.getpid(), {int(signal.SIGABRT)})\n"
    crash.write_text(f"#!{sys.executable}\n{code}")
    crash.chmod(0o755)
    with pytest.raises(EdgeconvError, match=r"onnxruntime on x\.onnx crashed with SIGABRT"):
        run_cell(job, python=[str(crash)])


def test_the_command_refuses_nothing_and_a_baseline_without_a_file() -> None:
    assert CliRunner().invoke(main, ["parity"]).exit_code == 2
    assert CliRunner().invoke(main, ["parity", "x.onnx", "--update-baseline"]).exit_code == 2
    missing = CliRunner().invoke(main, ["parity", "no_such.onnx"])
    assert missing.exit_code == 2
    assert "no_such.onnx" in missing.output


def test_a_wrong_option_or_file_is_refused_in_a_sentence_before_anything_runs(
    exports: Path, tmp_path: Path
) -> None:
    sound, text = str(exports / "small_int8.onnx"), tmp_path / "notes.txt"
    text.write_text("no model")
    (tmp_path / "empty").mkdir()
    normal = ["--mean", "0.5", "--std", "0.5"]
    cases = [
        ([sound, "--threads", "0"], 2, "--threads must be at least 1, not 0"),
        ([str(text)], 2, "notes.txt: no runtime here runs .txt"),
        ([sound, "--baseline", "no_such.json"], 2, "write it first with --update-baseline"),
        ([sound, "--data", str(tmp_path / "empty"), *normal], 2, "holds no picture"),
    ]
    for arguments, code, said in cases:
        ran = CliRunner().invoke(main, ["parity", *arguments])
        assert ran.exit_code == code, ran.output
        assert said in ran.output
        assert len(ran.output.splitlines()) == 1


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_a_truncated_file_is_a_failed_row_that_says_so(
    exports: Path, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert")
    whole = (
        exports / "small_int8.onnx" if suffix == ".onnx" else kit.int8_export(tmp_path, "tflite")
    )
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:2000])
    hub = exports / "small_int8.evidence" / "hub.onnx"
    np.savez(tmp_path / "x.npz", input=kit.pictures(2))
    arguments = [str(cut), "--reference", str(hub), "--data", str(tmp_path / "x.npz")]
    ran = CliRunner().invoke(main, ["parity", *arguments])
    assert ran.exit_code == 1, ran.output
    lines = ran.output.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(cut.name))
    row = " ".join(lines[at : at + 3])  # in a narrow console the figures stand below the name
    assert "failed: " in row
    assert "is damaged or cut short" in row


def test_nothing_is_left_in_the_temporary_folder(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other runs use /tmp at the same time
    check_parity([exports / "small_fp32.onnx"], count=2)
    assert not list(tmp_path.iterdir())


def test_count_spreads_the_pictures_of_the_evidence(exports: Path) -> None:
    """The evidence is in the order of its classes: the first few are all of one."""
    result = check_parity([exports / "small_fp32.onnx"], count=4)
    assert result.matrix.samples.names == tuple(f"picture{i}.png" for i in (0, 6, 12, 18))


def test_files_of_different_models_are_not_compared(exports: Path, tmp_path: Path) -> None:
    other = kit.fp32_export(tmp_path, seed=1)
    other = other.rename(tmp_path / "other.onnx")
    other.with_name("small_fp32.onnx.json").rename(tmp_path / "other.onnx.json")
    with pytest.raises(UsageError, match="different models or weights"):
        check_parity([exports / "small_fp32.onnx", other])


def test_each_precision_departs_from_the_stage_that_its_own_export_made(exports: Path) -> None:
    result = check_parity([exports / "small_fp32.onnx", exports / "small_int8.onnx"], count=4)
    before = {row.label: row.before for row in result.matrix.rows}
    assert before["small_fp32.onnx · onnxruntime"] == "prepared ONNX"
    assert before["recipe in float"] == before["small_fp32.onnx · onnxruntime"]
    assert before["small_int8.onnx · onnxruntime"] == "recipe in float"


def test_tflite_runtime_of_another_python_joins_the_matrix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgeconv.parity.cells import plan
    from edgeconv.runtimes.table import RUNTIMES

    if RUNTIMES["tflite-runtime"].installed():
        pytest.skip("tflite-runtime is installed in this Python")
    path = tmp_path / "any.tflite"
    path.write_bytes(b"\0\0\0\0TFL3")
    monkeypatch.setenv(RUNTIMES["tflite-runtime"].other_python, sys.executable)
    (cell,) = [c for c in plan([path])[0] if c.runtime == "tflite-runtime"]
    assert cell.python[-1] == sys.executable
    assert "PYTHONPATH" in cell.python  # unset: numpy there is another


def test_the_table_starts_with_what_made_the_reference(exports: Path) -> None:
    from edgeconv.parity.report import table

    _, lines = table(check_parity([exports / "small_fp32.onnx"], count=4).matrix)
    assert lines[0][-1] == "reference"
    assert "kept by the export" in lines[0][0]


def test_bisect_is_an_option_of_the_command(exports: Path, tmp_path: Path) -> None:
    repro = tmp_path / "repro"
    arguments = [str(exports / "small_int8.onnx"), "--bisect", str(repro)]
    ran = CliRunner().invoke(main, ["parity", *arguments])
    assert ran.exit_code == 0, ran.output
    assert "no single layer departs" in ran.output


def test_a_place_adds_its_own_rows_after_those_of_this_machine(exports: Path) -> None:
    from edgeconv.judge.outputs import Outputs
    from edgeconv.parity.cells import Cell, elsewhere
    from edgeconv.parity.matrix import Samples, Settings
    from edgeconv.parity.places import Found, Here

    class Attic:
        """A board that has one runtime, and loses the second file."""

        def run(
            self, cells: Sequence[Cell], samples: Samples, settings: Settings, scratch: Path
        ) -> Found:
            (mine,) = elsewhere(cells, "attic", ["onnxruntime"], "the attic")
            ((_, outputs),) = Here().run([replace(mine, board=None)], samples, settings, scratch)
            assert isinstance(outputs, Outputs)
            return [(mine, outputs), (replace(mine, label="lost"), "the attic is dark")]

    result = check_parity([exports / "small_fp32.onnx"], places=[Attic()], count=4)
    *_, there, lost = result.matrix.rows
    assert there.label == "small_fp32.onnx · onnxruntime on the attic"
    assert there.before == "small_fp32.onnx · onnxruntime"
    assert there.ok
    assert lost.error == "the attic is dark"
    assert result.exit_code == 1


def test_layers_whose_process_dies_end_with_exit_1(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("import os\nos.kill(os.getpid(), 11)\n")  # for children only
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = check_parity([exports / "small_fp32.onnx"], count=4, layers=True)
    assert all(row.error is None for row in result.matrix.rows)
    assert any("crashed with SIGSEGV" in sentence for sentence in result.matrix.notes)
    assert result.exit_code == 1


def test_an_option_that_parity_lacks_is_refused_with_the_nearest(exports: Path) -> None:
    options: Any = {"cuont": 4}
    with pytest.raises(UsageError, match=r"no option cuont: did you mean count\?"):
        check_parity([exports / "small_fp32.onnx"], **options)


def test_the_package_exports_what_it_says() -> None:
    import edgeconv.parity

    for name in edgeconv.parity.__all__:
        assert getattr(edgeconv.parity, name) is not None
    with pytest.raises(AttributeError):
        _ = edgeconv.parity.no_such_thing
