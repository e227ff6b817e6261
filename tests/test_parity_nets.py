"""Our own CI uses parity on the four nets: cases, baselines, the action's files, two boards."""

import json
import os
import platform
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from parity_faults import Edit, reordered, swapped_channels, wrong_bias, wrong_zero_point

from edgeconv.artifact import Artifact, load_artifact, save_manifest
from edgeconv.cli import main
from edgeconv.device import emulate
from edgeconv.device.places import board_places
from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.files import sha256
from edgeconv.parity.api import check_parity
from edgeconv.parity.child import Job
from edgeconv.parity.layers.evidence import emitted_graph
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.layers.run import measure_layers
from edgeconv.recipe import Recipe, load_recipe

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")
ROOT = Path(__file__).parents[1]
CASES = ROOT / ".ci" / "parity"
STEMS = {
    "mobilenet_v1": "mobilenet_v1_1.0_64_int8",
    "mobilenet_v2": "mobilenet_v2_1.0_64_int8",
    "shufflenet_v1": "shufflenet_v1_g3_1.0_64_int8",
    "ghostnet": "ghostnet_1.0_64_int8",
}
RUNTIMES = {".onnx": "onnxruntime", ".tflite": "ai-edge-litert"}
QUICK = "mobilenet_v2", ".tflite"
"""What `make test` runs on emulated boards; `make test-long` runs the rest."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="needs the repository's .ci/parity"),
]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four nets as CI exports them, with the committed cases and baselines beside them."""
    folder = tmp_path_factory.mktemp("nets")
    script = str(ROOT / ".ci" / "export_nets.py")
    ran = subprocess.run([sys.executable, script, str(folder)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for path in CASES.iterdir():
        shutil.copy(path, folder)
    return folder


def files(folder: Path, net: str) -> list[Path]:
    return [folder / f"{STEMS[net]}{suffix}" for suffix in (".onnx", ".tflite")]


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != name}


def test_the_four_nets_are_within_their_committed_baselines(
    nets: Path, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        for net in STEMS:
            path = CASES / f"{net}.baseline.json"
            check_parity(files(nets, net), count=200, baseline=path, update_baseline=True)
            shutil.copy(path, nets)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(nets)],
        capture_output=True,
        text=True,
        cwd=nets,
        env=without("EDGECONV_TFLITE_RUNTIME_PYTHON"),
    )
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "net",
    [pytest.param(net, marks=() if net == "ghostnet" else pytest.mark.long) for net in STEMS],
)
def test_a_regression_of_one_of_the_four_nets_exits_3_and_names_the_layer(
    nets: Path, tmp_path: Path, net: str
) -> None:
    """Channels of a layer in the middle are turned around in the file that is shipped."""
    sound = artifact_of(nets, net)
    graph = emitted_graph(sound)
    dense = [
        n
        for n in graph.nodes  # of a map: gates of channels say little
        if n.op == "Conv" and n.int("group", 1) == 1 and graph.shape(n.output)[2] > 1
    ]
    node = dense[len(dense) // 2]
    used = busiest(sound, node.output)

    def turned(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        order = np.arange(len(recipe.weights[node.name].values))
        order[used] = order[used[::-1]]
        return graph, reordered(recipe, node.name, order)

    path = faulty(sound, tmp_path, turned)
    baseline = str(CASES / f"{net}.baseline.json")
    found = departure(path, node.name, "--count", "40", "--baseline", baseline)
    assert any(f"{path.name} · ai-edge-litert: logits: sqnr_db was" in s for s in found["worse"])


def test_a_wrong_zero_point_in_one_layer_of_mobilenet_v2_is_named(
    nets: Path, tmp_path: Path
) -> None:
    sound = artifact_of(nets, "mobilenet_v2")
    dense = [n for n in emitted_graph(sound).nodes if n.op == "Conv" and n.int("group", 1) == 1]
    node = dense[len(dense) // 2]
    departure(faulty(sound, tmp_path, wrong_zero_point(node.output, 12)), node.name, "--count", "4")


def test_two_swapped_channels_of_one_convolution_of_mobilenet_v1_are_named(
    nets: Path, tmp_path: Path
) -> None:
    sound = artifact_of(nets, "mobilenet_v1")
    node = next(n for n in emitted_graph(sound).nodes if n.op == "Conv" and n.int("group", 1) > 8)
    first, second = busiest(sound, node.output)[:2]
    departure(
        faulty(sound, tmp_path, swapped_channels(node.name, first, second)),
        node.name,
        "--count",
        "4",
    )


@pytest.mark.long
def test_an_average_pool_of_shufflenet_that_does_not_count_padding_is_named(
    nets: Path, tmp_path: Path
) -> None:
    """PyTorch's counts it; TFLite's AVERAGE_POOL_2D never does."""
    sound = artifact_of(nets, "shufflenet_v1")
    pools = [n.name for n in emitted_graph(sound).nodes if n.name.endswith("AveragePool")]
    assert len(pools) == 3

    departure(faulty(sound, tmp_path, unpadded_average(pools[1])), pools[1], "--count", "4")


def unpadded_average(name: str) -> Edit:
    """Make an average pool, prepared as a depthwise convolution, one that leaves padding out."""

    def edit(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        other = graph.clone()
        node = next(n for n in other.nodes if n.name == name)
        kept = {k: node.attrs[k] for k in ("kernel_shape", "pads", "strides")}
        node.op, node.inputs = "AveragePool", node.inputs[:1]
        node.attrs = {**kept, "count_include_pad": 0, "ceil_mode": 0}
        return other, recipe

    return edit


@pytest.mark.parametrize(
    "net",
    [pytest.param(net, marks=() if net == "ghostnet" else pytest.mark.long) for net in STEMS],
)
def test_random_faults_of_the_four_nets_are_named_to_the_layer(
    nets: Path, tmp_path: Path, net: str
) -> None:
    sound = artifact_of(nets, net)
    graph, rng = emitted_graph(sound), random.Random(net)
    for number in range(3):
        kind = rng.choice(["zero point", "channels", "bias", "pool"])
        pools = [n for n in graph.nodes if n.name.endswith("/AveragePool")]
        convolutions = [n for n in graph.nodes if n.op == "Conv" and n not in pools]
        node = rng.choice(pools if kind == "pool" and pools else convolutions)
        first, second = rng.sample([int(c) for c in busiest(sound, node.output)[:8]], 2)
        edit = wrong_bias(node.name, first, -quanta(sound, node, first, 40))
        if kind == "zero point":
            edit = wrong_zero_point(node.output, rng.randint(4, 40))
        elif kind == "channels":
            edit = swapped_channels(node.name, first, second)
        elif node in pools:
            edit = unpadded_average(node.name)
        folder = tmp_path / str(number)
        folder.mkdir()
        found = layers_of(faulty(sound, folder, edit)).first
        assert found is not None, (kind, node.name)
        assert node.name in (found.node, *found.together), kind


def quanta(artifact: Artifact, node: Node, channel: int, count: int) -> int:
    """Return ``count`` quanta of a convolution's output as steps of one channel's bias."""
    recipe = load_recipe(artifact.evidence("recipe.json"))
    source, made = (recipe.activations[t].scale for t in (node.inputs[0], node.output))
    return round(count * made / (source * float(recipe.weights[node.name].scales[channel])))


def layers_of(path: Path) -> LayerReport:
    """Compare the layers of a TFLite file on two of its pictures, in this process."""
    artifact = load_artifact(path)
    assert artifact is not None
    source = path.parent / "pictures.npy"
    np.save(source, artifact.verification()["input:input"][:2])
    job = Job(
        path,
        "ai-edge-litert",
        {"input": source},
        path.parent / "out.npz",
        input_specs=artifact.inputs,
        output_specs=artifact.outputs,
    )
    return measure_layers(job, artifact.evidence("prepared.onnx"), 2)


def artifact_of(nets: Path, net: str) -> Artifact:
    """Return the net's sound TFLite file."""
    artifact = load_artifact(files(nets, net)[1])
    assert artifact is not None
    return artifact


def departure(path: Path, node: str, *more: str) -> dict[str, Any]:
    """Check that parity finds the fault of ``node`` in the file's hop; return the JSON."""
    ran = CliRunner().invoke(main, ["parity", str(path), "--layers", "--json", *more])
    assert ran.exit_code == 3, ran.output
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found["first_departure"] == f"{path.name} · ai-edge-litert"
    row = next(r for r in found["rows"] if r["label"] == found["first_departure"])
    first = next(layer for layer in row["layers"]["layers"] if layer["departs"])
    assert node == first["node"] or node in first["together"]
    return found


def faulty(sound: Artifact, folder: Path, edit: Edit) -> Path:
    """Write the net's TFLite file once more with a fault; the evidence stays that of the sound one."""
    from edgeconv.export.tflite.emit import emit_tflite

    graph, recipe = edit(emitted_graph(sound), load_recipe(sound.evidence("recipe.json")))
    made = emit_tflite(graph, recipe, precision="int8", metadata={})
    path = folder / sound.path.name
    path.write_bytes(made.data)
    shutil.copytree(sound.evidence("recipe.json").parent, folder / f"{path.stem}.evidence")
    tensors = folder / f"{path.stem}.evidence" / "tensors_tflite.json"
    tensors.write_text(json.dumps({t: {"name": n} for t, n in made.names.items()}))
    manifest = {**sound.manifest, "sha256": sha256(path), "bytes": len(made.data)}
    kept = dict(manifest["evidence"]["files"])
    kept["tensors_tflite.json"] = sha256(tensors)
    manifest["evidence"] = {**manifest["evidence"], "files": kept}
    save_manifest(Artifact(path, manifest))
    return path


def busiest(artifact: Artifact, tensor: str) -> np.ndarray:
    """Return the channels of ``tensor`` that are largest on the first picture."""
    from edgeconv.parity.layers.exposed import Reference

    arrays = artifact.verification()
    values = Reference(artifact.evidence("prepared.onnx"), 1).run(
        {"input": arrays["input:input"]}, 0
    )[tensor]
    return np.argsort(-np.abs(values).mean(axis=(0, 2, 3)))[:16]


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("apt-get") is None,
    reason="needs x86-64 Debian or Ubuntu",
)
@pytest.mark.parametrize(
    ("net", "suffix"),
    [
        pytest.param(net, suffix, marks=() if (net, suffix) == QUICK else pytest.mark.long)
        for net in STEMS
        for suffix in RUNTIMES
    ],
)
def test_a_net_runs_on_pi4_and_pi5_alike_and_shows_no_latency(
    nets: Path, monkeypatch: pytest.MonkeyPatch, net: str, suffix: str
) -> None:
    boards = ("pi4", "pi5")
    for name in boards:
        board = replace(emulate.BOARDS[name], runtimes=(RUNTIMES[suffix],))
        monkeypatch.setitem(emulate.BOARDS, name, board)
        try:
            emulate.prepare_board(name)
        except EdgeconvError as error:
            pytest.skip(f"the tree cannot be built here: {error}")
    outputs = {}
    path = nets / f"{STEMS[net]}{suffix}"
    result = check_parity([path], places=board_places(boards), count=2)
    rows = [row for row in result.matrix.rows if "(emulated)" in row.label]
    assert len(rows) == 2
    for row in rows:
        assert row.error is None
        assert row.step
        assert row.outputs is not None
        assert row.latency is None
        assert not any(key.endswith("_s") for key in row.outputs.about)
        runtime, _, where = row.label.partition(" on ")
        outputs[where.partition(" ")[0]] = next(iter(row.outputs.arrays.values()))
        assert RUNTIMES[suffix] in runtime
    np.testing.assert_array_equal(outputs["pi4"], outputs["pi5"])
