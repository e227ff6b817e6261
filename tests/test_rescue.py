"""Rescue: what is tried in which order, which attempt is taken, and that the printed command runs."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import parity_kit as kit
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.commands.rescue import _command, _remade
from edgeconv.errors import EdgeconvError
from edgeconv.export.options import ExportOptions
from edgeconv.rescue import source
from edgeconv.rescue.attempts import AS_IT_IS, BEST, attempts, keep_worst
from edgeconv.rescue.results import Rescue, Tried

pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    folder = tmp_path_factory.mktemp("net")
    (folder / "net.onnx").write_bytes(save_model(to_onnx(kit.small_net())))
    np.savez(folder / "calib.npz", input=kit.pictures(40))
    return folder / "net.onnx"


def options(net: Path, **more: Any) -> ExportOptions:
    calib = str(net.with_name("calib.npz"))
    return ExportOptions(
        str(net), precision="int8", calib=calib, allow_poor_calibration=True, **more
    )


def test_attempts_come_in_the_order_of_what_is_known(net: Path) -> None:
    known = {"preprocessing_better": {"preprocessing": "unit"}, "calibration": {"count": 30}}
    labels = [a.label for a in attempts(options(net), known, 400, classes=True)]
    assert labels[:4] == [
        "--preprocessing unit", "--calib-count 128", "--keep-float worst:3", "--recipe best",
    ]  # fmt: skip
    assert labels[-1] == "--max-drop 1"
    turned = {"preprocessing_better": {"channel_order": "bgr"}}
    first = attempts(options(net, mean=(0.1, 0.2, 0.3)), turned, 0, classes=True)[0]
    assert first.label == "--channel-order bgr --mean 0.3,0.2,0.1"
    assert first.fields["mean"] == (0.3, 0.2, 0.1)
    for attempt in attempts(options(net, recipe="held.json"), {}, 400, classes=True):
        assert "recipe" in attempt.fields, attempt  # nothing else would change what it holds
    plain = [a.label for a in attempts(options(net, recipe="best"), {}, 0, classes=False)]
    assert plain == ["--keep-float worst:3", "--copies 0.25", "--keep-float worst:8"]
    few = {"graph": {"compute": 8}}
    labels = [a.label for a in attempts(options(net), few, 0, classes=False)]
    assert "--keep-float worst:3" in labels
    assert "--keep-float worst:8" not in labels  # nothing would be left in integers
    assert "--fp16" in [
        a.label for a in attempts(options(net, targets=("tflite",)), {}, 0, classes=True)
    ]


def test_the_printed_line_asks_for_what_the_attempt_did_and_nothing_else(net: Path) -> None:
    typed = {
        "calib": ["--calib", "p"], "recipe": ["--recipe", "fast"], "keep_float": ["--keep-float", "a"],
        "mean": ["--mean", "0"], "verify": ["--verify", "v.npz"], "reduce_range": ["--reduce-range"],
    }  # fmt: skip
    given = options(net, targets=("tflite",), recipe="fast", keep_float=("a",), mean=(0.0,), std=(1.0,),
                    verify="v.npz", reduce_range=True)  # fmt: skip
    known = {"preprocessing_better": {"preprocessing": "unit"}}
    found = {a.label: a for a in attempts(given, known, 0, classes=True)}
    line = "edgeconv export n.onnx --int8 --calib p"
    assert _command("n.onnx", typed, AS_IT_IS) == (
        f"{line} --recipe fast --keep-float a --mean 0 --verify v.npz --reduce-range"
    )
    assert _command("n.onnx", typed, found["--keep-float worst:3"]) == (
        f"{line} --recipe fast --mean 0 --verify v.npz --reduce-range --keep-float worst:3"
    )
    assert _command("n.onnx", typed, found["--preprocessing unit"]) == (
        f"{line} --recipe fast --keep-float a --reduce-range --preprocessing unit"
    )
    half = "edgeconv export n.onnx --calib p --mean 0 --verify v.npz --fp16"
    assert _command("n.onnx", typed, found["--fp16"]) == half
    replace(given, **found["--fp16"].fields).check()  # no option of it needs a recipe


def row(attempt: Any, agreement: float, ms: float, size: int, held: bool = False) -> Tried:
    return Tried(attempt, 1.0, held, "", {"agreement_top1": agreement}, size, 0.0, latency_ms=ms)


def test_the_cheapest_that_holds_is_taken_and_else_the_most_accurate() -> None:
    first, best = row(AS_IT_IS, 0.90, 1.0, 100), row(BEST, 0.97, 1.0, 100, held=True)
    three, eight = row(keep_worst(3), 0.96, 1.5, 110), row(keep_worst(8), 0.99, 2.0, 130, True)
    found = Rescue((first, best, three, eight))
    assert found.taken is best
    assert found.front == (best, eight)  # as it is and worst:3 are beaten by --recipe best
    assert found
    missed = Rescue((first, three))
    assert missed.taken is three
    assert not missed
    first.figures, three.figures = (
        {"agreement_top1": 1.0, "sqnr_centred_db": 9.4},
        {"agreement_top1": 1.0, "sqnr_centred_db": 10.7},
    )
    assert Rescue((first, three)).taken is three  # few pictures agree alike: the noise decides
    same = Rescue((best, row(keep_worst(3), 0.97, 1.0, 100, held=True)))
    assert same.front == (best,)
    quicker = Rescue((best, row(keep_worst(3), 0.97, 0.9, 100, held=True)))
    assert quicker.taken is best, "the same file: what it is quicker by is chance"


def test_what_misses_is_no_match_for_what_holds_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All layers in float: the best figures of all, and no INT8 file."""
    from edgeconv.rescue.text import print_rescue
    from edgeconv.tables import open_console

    first, eight = row(AS_IT_IS, 0.98, 1.0, 100, held=True), row(keep_worst(8), 1.0, 0.9, 90)
    eight.judged = "MISSED: none of its 8 convolutions and products computes in integers"
    found = Rescue((first, eight))
    assert found.front == (first,)
    assert found.taken is first
    for tried in found.tried:
        tried.figures = {**tried.figures, "agreement_top1_low": 0.9, "agreement_top1_high": 1.0}
    print_rescue(found, "edgeconv export x", open_console())
    said = " ".join(capsys.readouterr().out.split())
    assert "--keep-float worst:8: MISSED: none of its 8 convolutions" in said
    assert "MISSED, worth it" not in said


def test_a_file_that_misses_is_not_what_to_take(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeconv.rescue.text import print_rescue
    from edgeconv.tables import open_console

    first, more = row(AS_IT_IS, 0.96, 1.0, 100), row(BEST, 0.95, 1.0, 99)
    for tried in (first, more):
        tried.figures = {**tried.figures, "agreement_top1_low": 0.9, "agreement_top1_high": 1.0}
    print_rescue(Rescue((first, more)), "edgeconv export x", open_console())
    said = " ".join(capsys.readouterr().out.split())
    assert "or comes closer than the file as it is" in said
    assert "worth it" not in said
    assert "take:" not in said


def test_halves_that_differ_are_told_from_those_that_do_not() -> None:
    from edgeconv.export.halves import differ

    rng = np.random.default_rng(0)
    noise = rng.lognormal(size=60)
    gap, surely = differ(noise * 1.5, noise)
    assert surely
    assert gap == pytest.approx(1.76, abs=0.01)
    assert not differ(noise, rng.permutation(noise))[1]


@pytest.mark.slow
def test_worst_takes_layers_to_float_and_the_printed_command_makes_the_file(
    net: Path, tmp_path: Path
) -> None:
    calib = str(net.with_name("calib.npz"))
    export = ["export", str(net), "--int8", "--calib", calib, "--allow-poor-calibration"]
    export += ["--recipe", "fast"]
    ran = CliRunner().invoke(
        main, [*export, "--keep-float", "worst:2", "--output", str(tmp_path / "w")]
    )
    assert ran.exit_code in (0, 3), ran.output
    recipe = json.loads((tmp_path / "w" / "net_int8.evidence" / "recipe.json").read_text())
    assert len(set(recipe["float_nodes"]) & {"stem", "depthwise", "project", "head", "fc"}) == 2
    file = str(tmp_path / "w" / "net_int8.onnx")
    rescue = ["rescue", file, "--calib", calib, "--allow-poor-calibration", "--minutes", "0.001"]
    ran = CliRunner().invoke(main, [*rescue, "--json"])
    assert ran.exit_code in (0, 3), ran.output
    said = json.loads(ran.stdout)
    assert [tried["flags"] for tried in said["tried"]] == [[]]
    assert ["--keep-float", "worst:3"] in said["left"]
    again = shlex.split(said["command"])
    assert again[:2] == ["edgeconv", "export"]
    assert again[again.index("--verify") + 1] == file.replace(".onnx", ".evidence/verify.npz")
    made = CliRunner().invoke(main, [*again[1:], "--output", str(tmp_path / "again")])
    assert made.exit_code in (0, 3), made.output
    assert list((tmp_path / "again").glob("*_int8.onnx"))
    (judged,) = (json.loads(p.read_text()) for p in (tmp_path / "again").glob("*_int8.onnx.json"))
    kept = json.loads((tmp_path / "w/net_int8.onnx.json").read_text())["verification"]
    assert judged["verification"]["pictures"] == kept["pictures"], "judged on the same samples"


@pytest.mark.parametrize("given", ["worst:", "worst:x", "worst:0"])
def test_worst_needs_a_number(net: Path, given: str) -> None:
    ran = CliRunner().invoke(
        main, ["export", str(net), "--int8", "--calib", "x", "--keep-float", given]
    )
    assert ran.exit_code == 2
    assert "like worst:3" in ran.output


def test_an_attempt_is_stopped_when_the_time_is_up_and_none_is_begun_that_would_not_end(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is told to the tries: the first took 10 s of 60, the second does not end."""
    from edgeconv.rescue import run

    clock = [0.0]
    given: list[float | None] = []
    figures = {"agreement_top1": 0.9}

    def call(function: str, value: Any, what: str, timeout_s: float | None = None) -> Any:
        given.append(timeout_s)
        if timeout_s is None:
            clock[0] += 10.0
            return {"held": False, "judged": "", "figures": figures, "bytes": 1,
                    "float_share": 0.0, "path": "x"}  # fmt: skip
        clock[0] += timeout_s
        raise EdgeconvError(f"{what} did not end within {timeout_s:g} s")

    monkeypatch.setattr(run, "call", call)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(run, "_manifest", lambda tried: SimpleNamespace(manifest={}, outputs=()))
    monkeypatch.setattr(run, "_halves", lambda options, end: ())
    found = run.rescue(options(net), 1.0)
    assert [t.error for t in found.tried] == [None, "stopped after 41 s: the time was up"]
    assert given == [None, pytest.approx(41.0), pytest.approx(9.0)]  # of timing, the last
    assert len(found.left) >= 3
    assert clock[0] == pytest.approx(60.0)
    assert found.notes == (run.UNTIMED,)


def test_what_is_given_to_calibrate_on_needs_no_bundled_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(source, "demo_folder", lambda part: pytest.fail(f"asked for {part}"))
    manifest = {"weights": {"source": "bundled"}}
    exported: Any = SimpleNamespace(
        precision="int8", path="m.tflite", target="tflite", preprocessing=None, manifest=manifest,
        inputs=(), outputs=(), labels=None, evidence=lambda name: tmp_path / name, verification=dict, own_integers=False,
    )  # fmt: skip
    assert source.options_of(exported, {"calib": "photos"})["calib"] == "photos"


def test_an_exported_file_is_made_again_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    how = SimpleNamespace(mean=(0.5,), std=(0.5,), crop=1.0, order="rgb", embedded=True)
    arrays = {
        "names": np.array(["a.png"]),
        "truth": np.array([-1]),
        "input:x": np.zeros((1, 3, 4, 4)),
    }
    pixels, scores = SimpleNamespace(dtype="uint8"), SimpleNamespace(dtype="float32")
    exported: Any = SimpleNamespace(
        precision="int8", path=Path("m.tflite"), target="tflite", preprocessing=how, inputs=(pixels,), outputs=(scores,),
        labels=("cat", "dog"),
        manifest={"softmax": True, "calibration": {"origin": "photos"}},
        evidence=lambda name: tmp_path / name, verification=lambda: arrays, own_integers=False,
    )  # fmt: skip
    made = source.options_of(exported, {"calib": "photos", "softmax": False})
    assert (made["embed_preprocessing"], made["softmax"], made["io"]) == (True, True, "uint8")
    assert "verify" not in made, (
        "calibration leaves the same pictures, and learns from none of them"
    )
    arrays["truth"] = np.array([1])
    assert source.options_of(exported, {})["verify"].endswith("verify.npz")
    assert "verify" not in source.options_of(exported, {"truth": "folders"})
    fields = source.options_of(exported, {})
    assert _remade(fields, {})["labels"] == ["--labels", "m.tflite"]


def test_other_pictures_are_an_attempt_of_their_own_and_the_file_as_it_is_keeps_its_own(
    net: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was typed is a try; as it is the file is calibrated as it was, and all verify on the same samples."""
    from edgeconv.rescue import run

    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
    dark, light = str(tmp_path / "dark"), str(tmp_path / "light")
    exported: Any = SimpleNamespace(
        manifest={"calibration": {"origin": dark}}, evidence=lambda name: tmp_path / name
    )
    assert source.other_pictures(exported, {"calib": dark}) is None
    assert source.other_pictures(exported, {}) is None
    assert source.other_pictures(exported, {"calib": light, "truth": "folders"}) is None
    other = source.other_pictures(exported, {"calib": light})
    assert other is not None
    own = source.as_calibrated(exported, {"calib": light})
    assert (own["calib"], own["verify"]) == (dark, str(tmp_path / "verify.npz"))

    seen: list[Any] = []

    def call(function: str, value: Any, what: str, timeout_s: float | None = None) -> Any:
        if not function.endswith("export_here"):
            return None
        seen.append(value["calib"])
        return {"held": value["calib"] == light, "judged": "", "figures": {"sqnr_db": 1.0}, "bytes": 1,
                "float_share": 0.0, "path": "x"}  # fmt: skip

    monkeypatch.setattr(run, "call", call)
    monkeypatch.setattr("edgeconv.export.checks.check_first", lambda options: None)
    monkeypatch.setattr(run, "_manifest", lambda tried: SimpleNamespace(manifest={"calibration": {"count": 60}}, outputs=()))  # fmt: skip
    monkeypatch.setattr(run, "available_samples", lambda calib: 300 if calib == light else 60)
    found = run.rescue(ExportOptions(str(net), precision="int8", calib=dark, verify="v.npz"), 9.0, other=other)  # fmt: skip
    assert seen[:2] == [dark, light]
    assert set(seen[1:]) == {light}
    assert not found.tried[0].held
    assert found.taken is found.tried[1]
    assert found.tried[1].attempt.label == f"--calib {light}"
    assert "there were 128" in found.tried[2].attempt.why  # of these pictures


@pytest.mark.parametrize("name", ["gone.tflite", "torn.tflite", "alone.onnx"])
def test_what_holds_no_float_net_is_refused_with_what_is_wrong(
    net: Path, name: str, tmp_path: Path
) -> None:
    import onnx

    wrong = {"gone": "does not exist", "torn": "torn.tflite", "alone": "is quantized, and no"}
    path = tmp_path / name
    if path.stem == "torn":
        path.write_bytes(b"\x24\0\0\0TFL3" + bytes(30))
    if path.stem == "alone":
        node = onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
        graph = onnx.helper.make_graph([node], "g", [], [])
        path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    ran = CliRunner().invoke(
        main, ["rescue", str(path), "--calib", str(net.with_name("calib.npz"))]
    )
    assert ran.exit_code in (1, 2)
    assert wrong[path.stem] in ran.output
    assert "factory" not in ran.output
    source.refuse_not_ours(str(net))  # of float


def test_labels_are_taken_of_an_exported_file(net: Path, tmp_path: Path) -> None:
    from edgeconv import export_model
    from edgeconv.export.source import read_labels

    names = [f"kind {k}" for k in range(10)]
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    for labels in ("names.txt", None):
        given: Any = {} if labels is None else {"labels": tmp_path / labels}
        made = export_model(net, targets=("onnx",), output=tmp_path / f"out_{labels}", **given)
        path = made.artifacts[0].path
        if labels is None:
            with pytest.raises(EdgeconvError, match="without class names"):
                read_labels(path)
        else:
            assert read_labels(path) == names


def test_options_reach_the_child_as_they_are(net: Path) -> None:
    from edgeconv.arguments import settled
    from edgeconv.rescue.child import as_data

    given = options(
        net, mean=(0.1, 0.2, 0.3), keep_float=("a", "worst:2"), crop="letterbox",
        input_shapes={"x": (1, 3, 8, 8)}, targets=("tflite",), output=Path("here"),
    )  # fmt: skip
    assert ExportOptions(**settled(json.loads(json.dumps(as_data(given))))) == given
