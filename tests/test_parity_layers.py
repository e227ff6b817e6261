"""A planted fault is found and named to its layer, in the right hop; a sound file shows none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import parity_kit as kit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_faults import (
    Edit,
    padded_average,
    swapped_channels,
    wrong_bias,
    wrong_scale,
    wrong_zero_point,
)

from edgeconv.artifact import Artifact, load_artifact, save_manifest
from edgeconv.files import sha256
from edgeconv.parity.api import check_parity
from edgeconv.parity.child import Job
from edgeconv.parity.layers.codec import Codec, fits
from edgeconv.parity.layers.figures import Layer, LayerReport, Tally, layer_from_json
from edgeconv.parity.layers.run import measure_layers
from edgeconv.tensors import Quantization

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
litert = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("ai_edge_litert"),
    reason="ai-edge-litert is not installed",
)
coreml = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("coremltools"),
    reason="coremltools is not installed",
)
TARGETS = ["onnx", pytest.param("tflite", marks=litert)]
EVERY = [*TARGETS, pytest.param("coreml", marks=coreml)]
RUNNERS = {"onnx": "onnxruntime", "tflite": "ai-edge-litert", "coreml": "mil-reference"}


def layers_of(path: Path, pictures: int = 4, **options: Any) -> LayerReport:
    """Compare the layers of an export in this process."""
    artifact = load_artifact(path)
    assert artifact is not None
    source = path.parent / "pictures.npy"
    np.save(source, kit.pictures(pictures))
    job = Job(
        path,
        RUNNERS[artifact.target],
        {"input": source},
        path.parent / "out.npz",
        options,
        input_specs=artifact.inputs,
        output_specs=artifact.outputs,
    )
    return measure_layers(job, artifact.evidence("prepared.onnx"), pictures)


@pytest.mark.parametrize("target", EVERY)
def test_a_sound_int8_file_has_no_layer_that_departs(tmp_path: Path, target: str) -> None:
    report = layers_of(kit.int8_export(tmp_path, target))
    assert report.first is None
    assert report.unmatched == (("sum",) if target == "coreml" else ())
    assert len(report.layers) == (8 if target == "coreml" else 10)
    convolutions = [layer for layer in report.layers if layer.op == "Conv"]
    assert len(convolutions) == 4
    most = 0.02 if target == "coreml" else 0.0  # which adds float biases
    assert all((layer.mean_quanta or 0.0) <= most for layer in convolutions)
    assert all((layer.weight_sqnr_db or 0) > 40 for layer in convolutions)


@litert
def test_the_builtin_kernels_are_sound_too(tmp_path: Path) -> None:
    assert layers_of(kit.int8_export(tmp_path, "tflite"), xnnpack=False).first is None


@coreml
def test_a_core_ml_package_is_held_against_the_form_of_the_recipe_that_it_holds(
    tmp_path: Path,
) -> None:
    """Core ML takes no zero points: the same ranges get other scales there."""
    (tmp_path / "sound").mkdir()
    report = layers_of(kit.int8_export(tmp_path / "sound", "coreml", form="asymmetric"))
    assert report.first is None
    convolutions = [layer for layer in report.layers if layer.op == "Conv"]
    assert all(layer.mean_quanta is not None for layer in convolutions)
    assert all((layer.mean_quanta or 0.0) <= 0.02 for layer in convolutions)
    edit = swapped_channels("depthwise", 1, 5)
    report = layers_of(kit.int8_export(tmp_path, "coreml", edit=edit, form="asymmetric"))
    assert report.first is not None
    assert report.first.node == "depthwise"


@coreml
@pytest.mark.parametrize(
    ("edit", "tensor"),
    [
        (wrong_scale("project.pre", 6.0), "project.pre"),  # there are no zero points to get wrong
        (swapped_channels("depthwise", 1, 5), "depthwise.out"),
        (padded_average, "pooled"),
    ],
    ids=["scale", "channels", "average pool"],
)
def test_faults_of_a_core_ml_package_are_named_to_the_layer(
    tmp_path: Path, edit: Edit, tensor: str
) -> None:
    report = layers_of(kit.int8_export(tmp_path, "coreml", edit=edit))
    assert report.first is not None
    assert tensor in (report.first.tensor, *report.first.together)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("edit", "tensor"),
    [
        (wrong_zero_point("project.pre", 3), "project.pre"),
        (swapped_channels("depthwise", 1, 5), "depthwise.out"),
        (padded_average, "pooled"),
    ],
    ids=["zero point", "channels", "average pool"],
)
def test_three_planted_faults_are_named_to_the_layer(
    tmp_path: Path, target: str, edit: Edit, tensor: str
) -> None:
    report = layers_of(kit.int8_export(tmp_path, target, edit=edit))
    assert report.first is not None
    assert report.first.tensor == tensor
    assert report.ranked(1)[0].departs


def test_the_matrix_names_the_hop_and_the_layer_of_a_fault(tmp_path: Path) -> None:
    path = kit.int8_export(tmp_path, "onnx", edit=swapped_channels("depthwise", 1, 5))
    result = check_parity([path], layers=True)
    departure = result.matrix.first_departure
    assert departure is not None
    assert departure.label == "small_int8.onnx · onnxruntime"
    assert departure.layers is not None
    assert departure.layers.first is not None
    assert (departure.layers.first.node, departure.layers.first.op) == ("depthwise", "Conv")
    assert result.exit_code == 3


CONVOLUTIONS = {"stem": 8, "depthwise": 8, "project": 8, "head": 24, "fc": 10}
MADE = {"stem": "stem.out", "depthwise": "depthwise.out", "project": "project.pre"}
MADE |= {"head": "head.out", "fc": "logits"}


@st.composite
def faults(draw: st.DrawFn) -> tuple[Edit, str]:
    node = draw(st.sampled_from(sorted(CONVOLUTIONS)))
    kind = draw(st.sampled_from(["zero point", "channels", "bias", "pool"]))
    if kind == "zero point":
        by = draw(st.integers(2, 40)) * draw(st.sampled_from([-1, 1]))
        tensor = draw(st.sampled_from(["stem.out", "depthwise.out", "project.pre", "logits"]))
        return wrong_zero_point(tensor, by), tensor
    if kind == "channels":
        pair = draw(
            st.lists(st.integers(0, CONVOLUTIONS[node] - 1), min_size=2, max_size=2, unique=True)
        )
        return swapped_channels(node, *pair), MADE[node]
    if kind == "bias":
        channel = draw(st.integers(0, CONVOLUTIONS[node] - 1))
        return wrong_bias(node, channel, 200_000), MADE[node]
    return padded_average, "pooled"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_random_faults_are_named_to_the_layer(
    tmp_path_factory: pytest.TempPathFactory, target: str
) -> None:
    found: list[str] = []

    @settings(max_examples=30, database=None, derandomize=True)
    @given(faults())
    def check(fault: tuple[Edit, str]) -> None:
        edit, tensor = fault
        path = kit.int8_export(tmp_path_factory.mktemp("fault"), target, edit=edit)
        report = layers_of(path, 2)
        assert report.first is not None, tensor
        assert report.first.tensor == tensor
        found.append(tensor)

    check()
    assert len(found) >= 30


def test_layers_of_two_onnx_files_match_by_name_else_by_position(tmp_path: Path) -> None:
    from edgeconv.export.hub.onnx_io import to_onnx
    from edgeconv.parity.layers.surgery_onnx import match_layers

    first = to_onnx(kit.small_net())
    assert match_layers(first, first)["sum"] == "sum"
    renamed = kit.small_net()
    for number, name in enumerate(
        [n for n in list(renamed.shapes) if n not in ("input", "logits")]
    ):
        renamed.rename(name, f"t{number}")
    pairs = match_layers(first, to_onnx(renamed))
    assert len(pairs) == 12
    assert pairs["logits"] == "logits"


def test_a_foreign_onnx_is_compared_layer_by_layer(tmp_path: Path) -> None:
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    ours, theirs = tmp_path / "ours.onnx", tmp_path / "theirs.onnx"
    ours.write_bytes(save_model(to_onnx(kit.small_net())))
    other = kit.small_net()
    next(other.of("AveragePool")).attrs["count_include_pad"] = 1
    theirs.write_bytes(save_model(to_onnx(other)))
    np.savez(tmp_path / "x.npz", input=kit.pictures(4))
    result = check_parity([theirs], reference=str(ours), data=str(tmp_path / "x.npz"), layers=True)
    row = result.matrix.rows[0]
    assert row.layers is not None
    assert row.layers.first is not None
    assert row.layers.first.node == "pool"
    assert result.exit_code == 3


def test_ambiguous_shapes_keep_both_layouts_open() -> None:
    assert fits((1, 4, 4, 4), (1, 4, 4, 4)) == [True, False]
    assert fits((1, 24, 1, 1), (1, 24)) == [False]
    assert fits((1, 2, 3), (1, 7)) == []


@given(st.floats(0.015625, 1.0, width=32), st.integers(-128, 127))
def test_codecs_round_trip_within_half_a_step(scale: float, zero: int) -> None:
    codec = Codec((1, 3, 4, 5), (1, 4, 5, 3), "int8", Quantization(scale, zero), last=True)
    low, high = scale * (-128 - zero), scale * (127 - zero)
    real = np.linspace(low, high, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    assert np.abs(codec.decode(codec.encode(real)) - real).max() <= scale * 0.5001


def test_a_relu_that_the_grid_implies_is_no_noise_of_the_layer_before_it() -> None:
    tally = Tally()
    real = np.array([-3.0, -1.0, 1.0, 2.0], np.float32)
    stored = np.maximum(real, 0.0)
    tally.add(real, stored, stored, stored, (0.01, 0.0, 2.55))
    layer = tally.layer("t", "n", "Conv", "int8", None)
    assert layer.own_sqnr_db == float("inf")
    assert layer.clipped == 0.0
    assert not layer.departs


def test_layers_round_trip_through_json() -> None:
    layer = Layer("t", "n", "Conv", float("inf"), 20.0, 0.1, 0.01, departs=True)
    assert layer_from_json(json.loads(json.dumps(layer.to_json()))) == layer


def test_evidence_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = kit.int8_export(tmp_path)
    names = tmp_path / "small_int8.evidence" / "tensors_onnx.json"
    before = sha256(names)
    names.write_text("{}")
    assert sha256(names) != before
    result = check_parity([path], layers=True, count=2)
    assert any("is not the file that" in note for note in result.matrix.notes)


def test_padded_channels_are_found_in_the_evidence(tmp_path: Path) -> None:
    from edgeconv.export.emit import Emitted
    from edgeconv.export.hub.onnx_io import save_model
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.export.rewrites.table import ALL
    from edgeconv.parity.layers.evidence import channel_orders, emitted_graph
    from edgeconv.recipe import load_recipe

    path = kit.int8_export(tmp_path)
    artifact = load_artifact(path)
    assert artifact is not None
    assert channel_orders(artifact) == {}
    recipe = load_recipe(artifact.evidence("recipe.json"))
    made = emit_qdq(emitted_graph(artifact), recipe, io="float", rewrites=ALL)
    evidence = {
        name: artifact.evidence(name).read_bytes()
        for name in ("prepared.onnx", "recipe.json", "verify.npz")
    }
    held = Emitted(0, made.names, made.inputs, made.outputs, {}, channels=made.channels)
    evidence["tensors_onnx.json"] = json.dumps(held.tensors()).encode()
    folder = tmp_path / "padded"
    padded = kit.write_export(
        folder,
        "small_int8.onnx",
        save_model(made.model),
        target="onnx",
        precision="int8",
        evidence=evidence,
        inputs=made.inputs,
        outputs=made.outputs,
        graph={"rewrites": [change.to_json() for change in made.changes]},
    )
    artifact = load_artifact(padded)
    assert artifact is not None
    orders = channel_orders(artifact)
    assert list(orders["depthwise.out"][:8]) == list(range(8))
    assert all(len(order) == 16 and (order[8:] == -1).all() for order in orders.values())
    report = layers_of(padded)
    assert report.first is None
    assert {"stem.out", "depthwise.out", "project.pre"} <= {x.tensor for x in report.layers}


def test_evidence_of_an_earlier_form_is_refused_with_how_to_export_again(tmp_path: Path) -> None:
    path = kit.int8_export(tmp_path)
    artifact = load_artifact(path)
    assert artifact is not None
    files = dict(artifact.manifest["evidence"]["files"])
    files["names_onnx.json"] = files.pop("tensors_onnx.json")
    evidence = {**artifact.manifest["evidence"], "files": files}
    save_manifest(Artifact(path, {**artifact.manifest, "evidence": evidence}))
    result = check_parity([path], layers=True, count=2)
    assert any("earlier edgeconv" in n and "--force" in n for n in result.matrix.notes)
