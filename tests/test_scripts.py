"""Every script of scripts/ runs, on something small; what takes minutes does so under --long."""

import gzip
import json
import re
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from conftest import ROOT
from graph_kit import feeds_of, floats, graph_of, run
from quant_nets import residual_net

from edgeconv.deps import version_of

torch = pytest.importorskip("torch")

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
CLASSES = 10


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of noise a split, in Fashion-MNIST's own files."""
    folder, draw = tmp_path_factory.mktemp("fashion"), np.random.default_rng(0)
    for split in ("train", "t10k"):
        labels = (np.arange(20) % CLASSES).astype(np.uint8)
        pictures = draw.integers(0, 256, (20, 28, 28), np.uint8)
        for array, kind in ((pictures, "images-idx3"), (labels, "labels-idx1")):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            packed = gzip.compress(head + array.tobytes())
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(packed)
    return folder


@pytest.fixture
def small_onnx(tmp_path: Path) -> Path:
    """One convolution on a picture of 8x8."""
    body = """(float[1,3,8,8] x) => (float[1,4,4,4] y)
        { y = Conv<strides = [2, 2], pads = [1, 1, 1, 1], kernel_shape = [3, 3]>(x, w) }"""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    path = tmp_path / "small.onnx"
    path.write_bytes(save_model(to_onnx(graph_of(body, w=weights))))
    return path


def command(main: click.Command, *arguments: object) -> str:
    done = CliRunner().invoke(main, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_script_is_run_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    texts = {name: (ROOT / "scripts" / f"{name}.py").read_text() for name in SCRIPTS}

    def run_in(text: str) -> set[str]:
        found = re.findall(r"^ *(?:from|import) (\w+)|(\w+)\.py\b|__import__\(.(\w+)", text, re.M)
        return {name for match in found for name in match} & texts.keys()

    seen, new = set[str](), run_in(tests)
    while new:  # a part of a script that a test runs is run with it
        seen |= new
        new = {part for name in new for part in run_in(texts[name])} - seen
    assert not texts.keys() - seen


def test_faults_are_planted_where_they_change_what_a_net_computes() -> None:
    import plant_faults  # the whole run is long
    from planting import Healthy

    graph = residual_net()
    feeds, taps = (
        feeds_of(graph),
        {name: (-0.1, 0.1) for node in graph.nodes for name in node.outputs},
    )
    before, planted = run(graph, feeds)[0], 0
    for fault in plant_faults.KINDS.values():
        made = fault(Healthy(graph, None, taps), np.random.default_rng(0))
        if made is not None:
            planted += not np.allclose(run(made.graph, feeds)[0], before, atol=1e-6)
    assert planted >= 8
    assert plant_faults.main.commands.keys() == {"run", "table"}


def test_more_workers_help_until_shards_are_handed_out_too_slowly() -> None:
    pytest.importorskip("distributed", reason="needs edgeconv[sweep]")
    import simulate_workers as simulate

    costs = simulate.Costs(listing=0.001, naming=0.0, handing=0.5, opening=1.0, picture=0.01)
    # one worker: shards of 200, 100 and 100, the first handed out after the listing
    assert simulate.simulated(costs, 400, 1) == pytest.approx(0.4 + 0.5 + 3.0 + 2 * 2.0)
    # four are as many as are ever busy: the last shard is handed out after 2.4 s and takes 2
    assert simulate.simulated(costs, 400, 4) == pytest.approx(0.4 + 4 * 0.5 + 2.0)
    assert simulate.simulated(costs, 400, 100) == simulate.simulated(costs, 400, 4)


def test_a_runtime_costs_what_it_and_its_needs_take() -> None:
    from make_runtime_costs import closure, cost, here

    from edgeconv.runtimes.table import RUNTIMES

    assert "numpy" in closure(("onnxruntime",))
    name, extra, version, size, seconds, memory = cost(RUNTIMES["onnxruntime"], repeats=1)
    assert (name, extra, version) == ("onnxruntime", "[onnx]", version_of("onnxruntime"))
    assert 20 < float(size) < 2000
    assert float(seconds) > 0
    assert float(memory) > 10
    assert "onnxruntime-newest" not in [row.name for row in here()]


def test_scenes_and_their_nets_fit_each_other() -> None:
    import scene_heads
    import scene_nets
    import scene_others
    import scenes

    drawn = scenes.draw(4, 0)
    assert drawn.pictures.shape == (4, 3, scenes.SIZE, scenes.SIZE)
    losses = {**scene_heads.LOSSES, **scene_others.LOSSES}
    for kind in ("plain", *losses):
        outputs = scene_nets.seeded(kind, 0).eval()(torch.from_numpy(drawn.pictures))
        loss: scene_heads.Loss = losses.get(kind, scene_nets.loss_by_shapes)
        assert torch.isfinite(loss(outputs, drawn, np.arange(4))), kind


def test_a_turned_choice_costs_what_sets_the_candidates_apart() -> None:
    import perturb_choices

    net = torch.nn.Conv2d(2, 2, 1)
    before = net.weight.detach().clone()
    perturb_choices.perturbed(net, 1)
    moved = (net.weight.detach() / before - 1).abs()
    assert 0 < float(moved.max()) < 1e-5
    lines = [{"candidates": {"a": 1e-3, "b": 2e-3}}, {"candidates": {"a": 1e-3}}]
    assert perturb_choices.turn_db(lines, ["a", "b"]) == pytest.approx(3.01, abs=0.01)
    assert perturb_choices.turn_db(lines, ["a"]) == 0.0


def test_a_net_is_made_hard_and_computes_what_it_did() -> None:
    from hard_nets import noisy, ruined

    from edgeconv.export.prepare import prepare

    body = """(float[1,3,6,6] x) => (float[1,5,6,6] y)
        { a = Conv<kernel_shape = [1, 1]>(x, wa)
          b = Conv<kernel_shape = [1, 1]>(a, wb)
          s = Add(a, b)
          c = Conv<kernel_shape = [1, 1]>(s, wc)
          y = Relu(c) }"""
    shapes = {"wa": (4, 3, 1, 1), "wb": (4, 4, 1, 1), "wc": (5, 4, 1, 1)}
    weights = {name: floats(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}
    graph = prepare(graph_of(body, **weights)).graph
    feeds, hard = feeds_of(graph), ruined(graph)
    before, uneven, moved = (run(net, feeds)[0] for net in (graph, hard, noisy(graph)))
    np.testing.assert_allclose(uneven, before, rtol=1e-4, atol=1e-4)
    first, other = (net.constants[net.nodes[0].inputs[1]] for net in (graph, hard))
    assert not np.allclose(first, other)
    assert 0 < np.abs(moved - before).max() < 0.1 * np.abs(before).max()


def test_tables_of_core_ml_are_made_of_logits() -> None:
    from coreml_tables import PACKAGES, Measured, package_rows, paired_rows, table
    from make_results import Case

    truth = np.arange(60) % CLASSES
    logits = np.eye(CLASSES, dtype=np.float32)[truth]
    keys = ("float", "ort", "ort_plain", "onnx", "int8_grid", "int8_fp32_grid", *PACKAGES)
    made = Measured(
        dict.fromkeys(keys, logits), truth, dict.fromkeys(PACKAGES, 10**6), (60.0, 61.0), {}, ""
    )
    rows = package_rows(Case("a net", "net", {}, 60), made)
    assert [row["MB"] for row in rows] == ["1.00"] * len(PACKAGES)
    assert {row["top-1 %"] for row in rows} == {"100.00"}
    paired = paired_rows(Case("a net", "net", {}, 60), made)
    assert {row["only here / only there"] for row in paired} == {"0 / 0"}
    assert len(table(paired).splitlines()) == 2 + len(paired)


def test_a_row_of_results_shows_what_was_measured() -> None:
    from make_parity_results import table
    from make_results import row

    made = row("net", "INT8 onnx", 2_500_000, {"sqnr_db": 31.26, "agreement_top1": 0.98765}, 7)
    assert (made["MB"], made["SQNR dB"], made["agreement %"], made["top-1 %"]) == (
        "2.50",
        "31.3",
        "98.77",
        "",
    )
    assert table(("a", "b"), [["1", "2"]]).splitlines()[-1] == "| 1 | 2 |"


def test_speed_is_measured_over_all_files_in_turn(small_onnx: Path) -> None:
    from make_speed_results import measure, ratio

    took = measure({"a": small_onnx, "b": small_onnx}, openings=2, rounds=3)
    assert {title: len(times) for title, times in took.items()} == {"a": 6, "b": 6}
    assert ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == 2.0


def test_the_guest_of_emulated_boards_runs_a_file(
    small_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import arm_guest

    arm_guest.main(1, [str(small_onnx), str(small_onnx)])
    first, second = capsys.readouterr().out.split()
    assert first == second


def test_nncf_is_given_pictures_and_a_file_that_it_reads(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def quantize(model: Any, data: Any, subset_size: int) -> Any:
        seen.append((model.ir_version, data, subset_size))
        return model

    monkeypatch.setitem(sys.modules, "nncf", SimpleNamespace(quantize=quantize, Dataset=list))
    sys.modules.pop("quantize_nncf", None)
    import quantize_nncf

    np.savez(tmp_path / "p.npz", x=np.zeros((5, 1, 3, 8, 8), np.float32))
    quantize_nncf.main(str(small_onnx), str(tmp_path / "p.npz"), str(tmp_path / "made.onnx"))
    ((ir_version, feeds, count),) = seen
    assert (ir_version <= quantize_nncf.NEWEST_IR, len(feeds), count) == (True, 5, 5)
    assert onnx.load(tmp_path / "made.onnx").graph.output[0].name == "y"


def test_fashion_mnist_becomes_one_folder_a_class(fashion: Path, tmp_path: Path) -> None:
    import fashion_mnist_folders

    words = (tmp_path / "made", "--classes", 3, "--train", 1, "--data", fashion)
    said = command(fashion_mnist_folders.main, *words)
    assert "3 to learn, 6 to test" in said
    assert len(list((tmp_path / "made" / "train" / "t-shirt").glob("*.png"))) == 1


def test_the_index_of_bundled_weights_measures_the_files_that_are_there(
    fashion: Path, tmp_path: Path
) -> None:
    from index_bundled import index

    from edgeconv.demo_files import demo_folder

    source = demo_folder("weights") / "mobilenet_v1.safetensors"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    (entry,) = index(tmp_path, fashion)["nets"].values()
    assert (entry["file"], entry["test_pictures"]) == (source.name, 20)


def test_trained_weights_become_bundled_ones_in_the_order_of_the_data_set(
    fashion: Path, tmp_path: Path
) -> None:
    import torch
    from index_bundled import take
    from index_bundled import test_pictures as judged

    from edgeconv.models import SPECS, fashion_mnist
    from edgeconv.models.weights import load_weights
    from edgeconv.train.keep import save_weights
    from edgeconv.train.net import head_of

    folders = sorted(label.lower().replace(" ", "-") for label in fashion_mnist.LABELS)
    (tmp_path / "made").mkdir()
    for net in SPECS:
        loaded = load_weights(net, {}, "bundled")
        module = loaded.build()
        with torch.no_grad():
            head_of(module).bias.copy_(torch.arange(10.0))  # the place of each class among folders
        how = loaded.preprocessing.to_json()
        scored = {"top1": 1.0, "dataset": "mine", "source": "me"}
        described = {
            "net": {"source": net},
            "preprocessing": how,
            "labels": folders,
            "accuracy": scored,
        }
        save_weights(module, tmp_path / f"{net}.safetensors", described)
    take(tmp_path, tmp_path / "made", *judged(fashion))
    for net in SPECS:
        taken = load_weights(net, {}, str(tmp_path / "made" / f"{net}.safetensors"))
        assert taken.labels == fashion_mnist.LABELS
        assert head_of(taken.build()).bias.tolist() == [8, 9, 4, 3, 2, 5, 6, 7, 1, 0]


def test_calibration_pictures_are_the_first_of_each_class(fashion: Path, tmp_path: Path) -> None:
    import pick_pictures

    command(pick_pictures.main, tmp_path / "made", "--data", fashion)
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text())
    assert [entry["label"] for entry in manifest["calibration"]] == sorted([*range(CLASSES)] * 2)


def test_the_cost_of_core_ml_is_told_for_a_small_file(
    small_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("coremltools")
    import time_coreml

    time_coreml.lower(small_onnx, "fp32", tmp_path / "a.mlpackage")
    time_coreml.evaluate(tmp_path / "a.mlpackage")
    said = capsys.readouterr().out
    assert "lowered and saved in" in said
    assert "ms a picture" in said


@pytest.mark.long
def test_the_page_of_results_is_made(fashion: Path) -> None:
    import make_results

    said = command(make_results.main, "--fashion-mnist", fashion, "--only", "mobilenet_v1")
    assert {"INT8 onnx", "INT8 tflite", "quantize_static"} <= set(
        re.findall(r"\| ([\w ]+) \|", said)
    )


@pytest.mark.long
def test_the_page_of_core_ml_is_made(fashion: Path) -> None:
    pytest.importorskip("coremltools")
    import make_coreml_results

    options = ("--only", "mobilenet_v1", "--bundled-count", 3)
    said = command(make_coreml_results.main, "--fashion-mnist", fashion, *options)
    assert said.count("mobilenet_v1, bundled") >= 11


@pytest.mark.long
def test_the_page_of_parity_is_made() -> None:
    pytest.importorskip("coremltools")
    import make_parity_results

    options = ("--only", "mobilenet_v1", "--pictures", 6, "--packages", 1)
    said = command(make_parity_results.main, *options)
    assert "rows are within budget" in said
    assert "| Conv |" in said  # compare_kernels opened the layers


@pytest.mark.long
def test_the_table_of_speed_is_made() -> None:
    import make_speed_results

    said = command(
        make_speed_results.main, "--only", "mobilenet_v1", "--openings", 1, "--rounds", 2
    )
    assert "| mobilenet_v1 | onnx INT8 |" in said


def test_what_two_sweeps_keep_is_compared_latencies_apart(tmp_path: Path) -> None:
    import sweep_kills

    from edgeconv.sweep.store import Store

    cell = {"label": "net", "bytes": 3}
    for name, latency, content in (("a", 1.0, b"abc"), ("b", 2.0, b"abc"), ("c", 1.0, b"abd")):
        store = Store(tmp_path / name / "cells")
        store.put("aa11", {"file": "m.onnx"}, {"m.onnx": content})
        store.put("bb22", {"latency_ms": latency}, {})
        table = {"partial": name == "c", "cells": [{**cell, "timing": {"latency_ms": latency}}]}
        (tmp_path / name / "results.json").write_text(json.dumps(table))
    a, b, c = (tmp_path / name for name in "abc")
    Store(b / "cells").put("cc33", {"file": "n.onnx"}, {"n.onnx": b"more"})
    assert sweep_kills.differing(a, b) == []
    assert sweep_kills.differing(b, a) == ["cells/cc/cc33/n.onnx", "cells/cc/cc33/result.json"]
    assert sweep_kills.differing(a, c) == ["cells/aa/aa11/m.onnx"]
    assert (sweep_kills.done(a), sweep_kills.done(c), sweep_kills.done(tmp_path)) == (
        True,
        False,
        False,
    )


def test_a_sweeps_instructions_are_ranked_and_called_a_count(tmp_path: Path) -> None:
    import sweep_instructions as script

    cells = [
        {"label": "a", "file": "cells/a.onnx", "status": "front"},
        {"label": "same file", "file": "cells/a.onnx", "status": "dominated"},
        {"label": "on a Mac", "file": "cells/a.mlpackage", "status": "front"},
        {"label": "unsound", "file": "cells/b.tflite", "status": "missed"},
    ]
    (tmp_path / "results.json").write_text(json.dumps({"cells": cells}))
    assert list(script.files_of(tmp_path)) == ["cells/a.onnx"]
    rows = [
        script.Counted("slow", 0.9, 30),
        script.Counted("even", 0.8, 9),
        script.Counted("fast", 0.8, 5),
    ]
    assert [best and best.label for best in (script.pick(rows, m) for m in (30, 10, 4))] == [
        "slow",
        "fast",
        None,
    ]
    assert script.table(rows, "pi5")[2].startswith("| fast |")


def test_the_engines_own_time_is_that_beside_the_work() -> None:
    pytest.importorskip("distributed", reason="needs edgeconv[sweep]")
    from sweep_overhead import timed

    module = SimpleNamespace(perform=lambda count: sum(range(count)))
    spent = timed(module)
    assert module.perform(300_000) == sum(range(300_000))
    assert spent[0] > 0


def test_the_tables_of_reliability_are_what_its_lines_say() -> None:
    import reliability_tables as tables

    assert tables.main(["--check"]) == 0
    lines = [
        {"seed": 1, "faults": ["hang: over 60 s"], "seconds": 90.0, "peak_mib": 9.6},
        {"seed": 2, "faults": ["traceback: A @ b.py:1", "left behind: x"], "seconds": 30.0},
        {"seed": 3, "faults": ["traceback: A @ b.py:1", "rerun: it fails"], "seconds": 0.0},
    ]
    assert tables.inputs_row(lines) == ["3", "3", "1", "1", "0", "10 MiB", "2.0"]
    assert tables.kills_row(lines) == ["3", "0", "1", "1", "3", "2.0"]
    assert tables.inputs_row([{"faults": []}])[-2:] == ["-", "-"]


def test_walkthroughs_take_commands_and_options_that_exist() -> None:
    from walkthroughs import FIRST, WALKS

    from edgeconv.cli import COMMANDS, main

    for step in (step for walk in (FIRST, *WALKS.values()) for step in walk.steps):
        for words in re.findall(r"\bedgeconv ([a-z]+[^&|]*)", step.command):
            name = words.split()[0]
            assert name in COMMANDS, words
            known = CliRunner().invoke(main, [*words.split()[:1], "--help"]).output
            for option in re.findall(r"(?<= )--[a-z-]+", words):
                assert option in known or name in ("recipe", "device"), words


def test_a_step_of_a_walkthrough_is_shown_as_it_went_and_may_not_fail(tmp_path: Path) -> None:
    from walkthroughs import SHOWN, Step, Walk, paragraphs, refuse_without_pytest, take

    step = Step(f"seq {SHOWN + 3}; echo $PWD; exit 3", (0, 3))
    taken = take(step, tmp_path, None)
    assert (taken.code, taken.printed[-1]) == (3, ".")
    shown = "\n".join(paragraphs(Walk("t", "p", (step,)), [taken]))
    assert "(4 lines before)\n5\n" in shown
    assert "exit code 3" in shown
    with pytest.raises(RuntimeError, match="exit code 1"):
        take(Step("false | cat"), tmp_path, None)  # a pipe hides no failure
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"a step runs pytest, which .* has not"):
        refuse_without_pytest(tmp_path)


@pytest.mark.long
def test_the_things_of_the_walkthroughs_are_made(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from walkthrough_things import make_things

    folder = tmp_path / "things"
    make_things(folder, epochs=1, steps=2, count=32)
    detector = onnx.load(folder / "detector.onnx")
    assert [o.name for o in detector.graph.output] == ["boxes", "scores"]
    assert detector.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    kinds = {node.op_type for node in onnx.load(folder / "qat.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert (folder / "worse.tflite").read_bytes()[4:8] == b"TFL3"
    assert len(list((folder / "photos").glob("*/*.png"))) == 250


def test_an_extra_is_asked_for_with_torch_where_it_brings_it() -> None:
    import try_extras

    assert try_extras.extras()[0] == ""
    assert [e for e in try_extras.extras() if try_extras.needs_torch(e)] == [
        "torch",
        "executorch",
        "all",
    ]
    found = {"name": "onnx", "version": "1.2", "problem": "too old"}
    assert try_extras.told({"packages": [found]}) == ("onnx 1.2", "onnx: too old")


@pytest.mark.long
def test_an_extra_is_installed_and_asked(tmp_path: Path) -> None:
    import try_extras

    row = command(try_extras.main, "--only", "pages").splitlines()[-1]
    assert row.startswith("| edgeconv[pages] |")
    assert "consistent" in row
    assert "jinja2" in row


def test_an_extras_wheels_are_asked_for_by_its_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    import wheels_there

    def newest(package: str, python: str, platform: str) -> tuple[str, ...]:
        return () if (package, python) == ("coremltools", "3.14") else ("99.0", "0.1")

    monkeypatch.setattr(wheels_there, "newest", newest)
    assert wheels_there.cell("coreml", "macOS arm64") == "3.11 to 3.13; 3.14 coremltools: no wheel"
    assert wheels_there.cell("coreml", "Windows x86-64") == "3.11 to 3.14 without coremltools"
    found = wheels_there.requirements("all", "3.12", "Linux x86-64")
    names = {requirement.name for requirement, asked in found if asked}
    assert {"torch", "onnxruntime", "coremltools"} <= names
    assert "tflite-runtime" not in names
    monkeypatch.setattr(wheels_there, "newest", lambda *_: ("0.1",))
    said = command(wheels_there.main, "--only", "images")
    assert "| edgeconv[images] | 3.11 to 3.14 pillow: no wheel |" in said
