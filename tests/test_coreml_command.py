"""Core ML as a user asks for it: every option of the export command, on pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from coreml_kit import convolution_net, package_bytes

from edgeconv import export_model
from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.mil import open_program

pytest.importorskip("coremltools")
onnx = pytest.importorskip("onnx")
image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="on a Mac the figures are Core ML's, not the evaluator's"
)
LABELS = ["ant", "bee", "cat", "dog", "eel"]
MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx, sixteen smooth pictures and labels.txt."""
    folder = tmp_path_factory.mktemp("coreml")
    onnx.save(convolution_net(), folder / "net.onnx")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for index in range(16):
        small = image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        large = small.resize((40, 32), image.Resampling.BILINEAR)
        large.save(folder / "pictures" / f"{index:02}.png")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return folder


def export(place: Path, output: Path, *options: str) -> Result:
    arguments = ["export", str(place / "net.onnx"), "--target", "coreml", "--output", str(output)]
    arguments += ["--calib", str(place / "pictures"), "--mean", MEAN, "--std", STD]
    return CliRunner().invoke(main, [*arguments, "--threads", "1", *options])


def package(output: Path) -> Path:
    (found,) = output.glob("*.mlpackage")
    return found


def verified(path: Path) -> dict[str, Any]:
    artifact = load_artifact(path)
    assert artifact is not None
    (figures,) = artifact.manifest["verification"]["figures"].values()
    return dict(figures)


FORMS = {"fp32": ("--fp32",), "fp16": ("--fp16",), "int8": ("--int8", "--recipe", "fast")}


@pytest.mark.parametrize(("uniform", "labels"), [(False, True), (True, False)])
@pytest.mark.parametrize("form", FORMS)
def test_an_image_input_is_the_net_behind_its_own_preprocessing(
    form: str, uniform: bool, labels: bool, place: Path, tmp_path: Path
) -> None:
    options = [*FORMS[form], "--image-input"]
    options += ["--labels", str(place / "labels.txt")] if labels else []
    options += ["--mean", "0.5", "--std", "0.5"] if uniform else []
    result = export(place, tmp_path, *options)
    assert result.exit_code == 0, result.output
    program = open_program(package(tmp_path))
    assert program.parsed.features["x"].kind == "image"
    figures = verified(package(tmp_path))
    assert (
        float(figures["sqnr_db"]) > {"fp32": 90, "fp16": 40, "int8": 12}[form]
    )  # without its preprocessing below 4 dB
    assert figures.get("agreement_top1", 1.0) == 1.0  # none where all pictures are one class
    pixels = np.full((1, 3, 16, 16), 200, np.float32)
    made = program.run({"x": pixels})
    if labels:
        assert made["classLabel"] in LABELS
        probabilities = made["classLabel_probs"]
        assert list(probabilities) == LABELS
        assert sum(probabilities.values()) == pytest.approx(1, abs=2e-3)
    ran = CliRunner().invoke(
        main, ["run", str(package(tmp_path)), str(place / "pictures" / "00.png")]
    )
    assert ran.exit_code == 0, ran.output
    assert "mil-reference" in ran.output
    assert not labels or any(label in ran.output for label in LABELS)


@pytest.mark.parametrize(
    ("form", "options", "min_ios"),
    [
        ("float16", ("--fp16", "--coreml-compute", "fp16"), "15"),
        ("float32", ("--int8", "--int8-weights", "--coreml-compute", "fp32"), "16"),
        ("float32", ("--int8", "--recipe", "fast", "--coreml-compute", "fp32"), "17"),
        ("float16", ("--int8", "--recipe", "fast"), "18"),
    ],
)
def test_the_oldest_ios_and_the_arithmetic_are_those_asked_for(
    form: str, options: tuple[str, ...], min_ios: str, place: Path, tmp_path: Path
) -> None:
    result = export(place, tmp_path, *options, "--min-ios", min_ios)
    assert result.exit_code == 0, result.output
    program = open_program(package(tmp_path))
    assert program.parsed.version == int(min_ios) - 9
    types = program.tensors()
    computed = [op for op in program.parsed.operations if op.kind in ("conv", "linear", "add")]
    assert len(computed) >= 4
    assert all(types[op.results[0][0]].startswith(form) for op in computed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fp32", "--coreml-compute", "fp16"), "contradicts --fp32"),
        (("--fp16", "--coreml-compute", "fp32"), "contradicts --fp16"),
        (("--int8-weights",), "needs --int8"),
        (("--int8", "--io", "uint8"), "floats or images"),
        (("--fp16", "--min-ios", "14"), "15, 16, 17, 18"),
        (("--int8", "--min-ios", "15"), "17 or later"),
        (("--int8", "--min-ios", "16"), "17 or later"),
        (("--int8", "--int8-weights", "--min-ios", "15"), "16 or later"),
    ],
)
def test_contradictions_are_refused_before_any_work(
    options: tuple[str, ...], message: str, place: Path, tmp_path: Path
) -> None:
    result = export(place, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert "build" not in result.output
    assert not (tmp_path / "out").exists()


def test_the_package_says_who_made_it_how_and_from_what(place: Path, tmp_path: Path) -> None:
    options = ("--author", "Ann", "--license", "MIT", "--model-version", "1.2")
    result = export(place, tmp_path, "--int8", "--image-input", *options)
    assert result.exit_code == 0, result.output
    held = open_program(package(tmp_path)).parsed.metadata
    assert (held["author"], held["license"], held["version"]) == ("Ann", "MIT", "1.2")
    for part in ("int8", "(pixel / 255 - mean) / std", "0.485"):
        assert part in held["description"]
    own = json.loads(held["edgeconv"])
    assert own["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert own["recipe"]["name"] == "std"
    assert len(own["calibration"]["sha256"]) == 64
    assert "samples" not in own["calibration"]  # the pictures' names stay in the manifest outside
    assert not any("date" in key for key in held)
    assert "A17 Pro" in result.output
    assert "compute plan" in result.output


def test_the_same_command_in_another_process_gives_the_same_package(
    place: Path, tmp_path: Path
) -> None:
    options = ["--int8", "--recipe", "fast", "--image-input", "--labels", str(place / "labels.txt")]
    assert export(place, tmp_path / "here", *options).exit_code == 0
    command = [sys.executable, "-m", "edgeconv", "export", str(place / "net.onnx"), *options]
    command += ["--target", "coreml", "--calib", str(place / "pictures"), "--mean", MEAN]
    command += ["--std", STD, "--output", str(tmp_path / "there"), "--threads", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    here, there = (package_bytes(package(tmp_path / name)) for name in ("here", "there"))
    assert here == there


def test_int8_weights_are_the_recipes_where_pictures_are_given(place: Path, tmp_path: Path) -> None:
    report = export_model(
        str(place / "net.onnx"),
        targets=("coreml",),
        precision="int8",
        int8_weights=True,
        output=tmp_path / "plain",
    )
    assert report
    assert export(place, tmp_path / "recipe", "--int8", "--int8-weights").exit_code == 0
    plain, corrected = (package(tmp_path / name) for name in ("plain", "recipe"))
    evidence = load_artifact(corrected)
    assert evidence is not None
    recipe = json.loads(evidence.evidence("recipe.json").read_text())
    (node,) = (name for name in recipe["weights"] if "Gemm" in name)
    free = recipe.get("free_bias", {})  # Core ML's own, where the recipe has zero points
    wanted = free.get(node, recipe["weights"][node]["float_bias"])
    biases: list[Any] = [
        op.arguments["bias"][0]
        for op in open_program(corrected).parsed.operations
        if op.kind == "linear"
    ]
    assert np.allclose(np.ravel(biases[0]), wanted, rtol=2e-3, atol=1e-4)
    assert not (plain.with_name("net_int8w.evidence") / "recipe.json").exists()
    assert "quantize" not in open_program(corrected).op_types()


@pytest.mark.parametrize("labels", [True, False])
def test_pictures_for_core_ml_and_a_file_for_android_come_from_one_export(
    labels: bool, place: Path, tmp_path: Path
) -> None:
    options = ["--int8", "--recipe", "fast", "--image-input", "--target", "tflite"]
    options += ["--labels", str(place / "labels.txt")] if labels else []
    result = export(place, tmp_path / "both", *options)
    assert result.exit_code in (0, 3), result.output  # the net is untrained
    gives = "0..255 and gives probabilities" if labels else "0..255"
    assert f"--image-input holds for every target: each takes pixels {gives}" in result.output
    assert open_program(package(tmp_path / "both")).parsed.features["x"].kind == "image"
    assert float(verified(package(tmp_path / "both"))["sqnr_db"]) > 12
    file = tmp_path / "both" / "net_int8.tflite"
    tflite = load_artifact(file)
    assert tflite is not None
    assert tflite.inputs[0].dtype == "uint8"
    alone = ["--int8", "--recipe", "fast", "--embed-preprocessing", "--target", "tflite"]
    alone += ["--softmax", *options[-2:]] if labels else []
    words = [
        str(place / "net.onnx"),
        "--calib",
        str(place / "pictures"),
        "--mean",
        MEAN,
        "--std",
        STD,
    ]
    CliRunner().invoke(main, ["export", *words, *alone, "--output", str(tmp_path / "alone")])
    assert verified(file) == verified(tmp_path / "alone" / "net_int8.tflite")


def test_a_softmax_that_was_asked_for_is_a_classifiers_own(place: Path, tmp_path: Path) -> None:
    options = ["--fp32", "--softmax", "--image-input", "--labels", str(place / "labels.txt")]
    result = export(place, tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert float(verified(package(tmp_path))["sqnr_db"]) > 90


def test_a_module_of_ones_own_becomes_a_package(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "mine.py").write_text(
        "import torch\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),\n"
        "        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5))\n"
    )
    report = export_model(
        f"{tmp_path / 'mine.py'}:net",
        targets=("coreml",),
        input_shapes=((1, 3, 16, 16),),
        output=tmp_path / "out",
    )
    assert report
    assert float(verified(package(tmp_path / "out"))["sqnr_db"]) > 90


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_a_net_that_ends_in_a_softmax_gets_no_second_one(
    form: str, place: Path, tmp_path: Path
) -> None:
    model = onnx.load(place / "net.onnx")
    last = model.graph.node[-1]
    output = model.graph.output[0]
    last.output[0] = "scores"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], [output.name], axis=1))
    (tmp_path / "given").mkdir()
    onnx.save(model, tmp_path / "given" / "net.onnx")
    words = ["export", str(tmp_path / "given" / "net.onnx"), "--target", "coreml", *FORMS[form]]
    words += ["--calib", str(place / "pictures"), "--mean", MEAN, "--std", STD, "--threads", "1"]
    words += ["--labels", str(place / "labels.txt"), "--image-input", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (0, 3), result.output
    made = package(tmp_path)
    assert open_program(made).op_types().count("softmax") == 1
    assert float(verified(made)["sqnr_db"]) > (90 if form == "fp32" else 12)
    artifact = load_artifact(made)
    assert artifact is not None
    assert artifact.probabilities
    assert not artifact.manifest["softmax"]
    twice = CliRunner().invoke(main, [*words, "--softmax", "--force"])
    assert twice.exit_code == 2, twice.output
    assert "gives probabilities already: leave it out" in twice.output
