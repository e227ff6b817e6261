"""The Core ML target: precision, borders, metadata, bytes, INT8 and the known reports."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coreml_kit import (
    convolution_net,
    expected,
    feeds_for,
    onnx_model,
    package_bytes,
    prepared,
    simple_recipe,
    sqnr_db,
)
from coreml_layers import teacher_forced
from graph_kit import floats, graph_of, run

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.coreml.integers import stored_form
from edgeconv.export.coreml.known_issues import Target, avoid, known_issues
from edgeconv.export.coreml.wide import coarse_outputs
from edgeconv.export.graph import Graph
from edgeconv.export.integer.weights_alone import round_weights
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.quant.engine import quantize
from edgeconv.mil import Program, open_program
from edgeconv.recipe import Activation, Recipe
from edgeconv.runtimes.base import open_runner

pytest.importorskip("coremltools")

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875, (16, 16))


@pytest.fixture(scope="module")
def net() -> Any:
    return convolution_net()


@pytest.fixture(scope="module")
def graph(net: Any) -> Graph:
    return prepared(net)


@pytest.fixture(scope="module")
def integer(net: Any) -> tuple[Graph, Recipe]:
    """The net prepared for INT8 with a zero-point-free recipe."""
    ready = prepared(net, int8=True)
    feeds = [feeds_for(ready, seed) for seed in range(8)]
    return ready, simple_recipe(ready, feeds)


def constants_of(program: Program, kind: str, key: str) -> list[Any]:
    return [op.arguments[key][0] for op in program.parsed.operations if op.kind == kind]


@pytest.mark.parametrize("min_ios", [15, 16, 17, 18])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_oldest_ios_gives_a_package_that_computes_the_net(
    precision: Any, min_ios: int, net: Any, graph: Graph, tmp_path: Path
) -> None:
    emitted = emit_coreml(
        graph, path=tmp_path / "a.mlpackage", precision=precision, min_ios=min_ios
    )
    feeds = feeds_for(graph)
    made = open_program(emitted.path).run(feeds)["logits"]
    assert sqnr_db(expected(net, feeds)[0], made) > (90 if precision == "fp32" else 45)
    assert [spec.dtype for spec in (*emitted.inputs, *emitted.outputs)] == ["float32", "float32"]
    assert open_program(emitted.path).parsed.version == min_ios - 9


def test_the_same_command_twice_gives_the_same_bytes_and_leaves_nothing_in_tmpdir(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def emit(name: str) -> dict[str, bytes]:
        path = tmp_path / name / "a.mlpackage"
        metadata = {"author": "A", "zebra": "1", "edgeconv": "{}"}
        emit_coreml(graph, path=path, precision="fp16", metadata=metadata)
        return package_bytes(path)

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert emit("one") == emit("two")
    assert not list((tmp_path / "tmp").iterdir())


def test_an_older_package_is_replaced_and_anything_else_is_left_alone(
    graph: Graph, tmp_path: Path
) -> None:
    path = tmp_path / "a.mlpackage"
    emit_coreml(graph, path=path)
    (path / "stale").write_text("")
    emit_coreml(graph, path=path)
    assert not (path / "stale").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mlpackage"]
    other = tmp_path / "b.mlpackage"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(EdgeconvError, match=r"no \.mlpackage"):
        emit_coreml(graph, path=other)
    assert (other / "notes.txt").read_text() == "mine"


def test_metadata_is_in_the_package_and_no_date_is(graph: Graph, tmp_path: Path) -> None:
    wanted = {"author": "A", "license": "L", "version": "3", "description": "D", "edgeconv": "{}"}
    emitted = emit_coreml(graph, path=tmp_path / "a.mlpackage", metadata=wanted)
    held = open_program(emitted.path).parsed.metadata
    assert wanted.items() <= held.items()
    assert not any("date" in key for key in held)


def test_names_lead_to_the_tensors_of_the_package(graph: Graph, tmp_path: Path) -> None:
    emitted = emit_coreml(graph, path=tmp_path / "a.mlpackage", precision="fp16")
    seen: dict[str, Any] = {}
    program = open_program(emitted.path)
    program.run(feeds_for(graph), watch=lambda name, value: seen.update({name: value}))
    for tensor in (node.output for node in graph.nodes):
        assert seen[emitted.names[tensor]].shape == graph.shape(tensor)


def test_an_image_input_takes_pixels_and_preprocesses_each_channel(
    net: Any, graph: Graph, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, 16, 16)).astype(np.float32)
    mean = np.array(IMAGENET.mean, np.float32).reshape(1, 3, 1, 1)
    std = np.array(IMAGENET.std, np.float32).reshape(1, 3, 1, 1)
    emitted = emit_coreml(graph, path=tmp_path / "a.mlpackage", image_input=IMAGENET)
    program = open_program(emitted.path)
    feature = program.parsed.features["x"]
    assert (feature.kind, feature.colours) == ("image", "RGB")
    blue_first = replace(IMAGENET, order="bgr")
    turned = emit_coreml(graph, path=tmp_path / "b.mlpackage", image_input=blue_first)
    assert open_program(turned.path).parsed.features["x"].colours == "BGR"
    wanted = expected(net, {"x": (pixels / 255 - mean) / std})[0]
    assert sqnr_db(wanted, program.run({"x": pixels})["logits"]) > 90


def test_a_classifier_gives_probabilities_that_are_probabilities(
    net: Any, graph: Graph, tmp_path: Path
) -> None:
    labels = ["ant", "bee", "cat", "dog", "eel"]
    emitted = emit_coreml(graph, path=tmp_path / "a.mlpackage", labels=labels)
    feeds = feeds_for(graph)
    logits = expected(net, feeds)[0][0].astype(np.float64)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    made = open_program(emitted.path).run(feeds)
    assert made["classLabel"] == labels[int(logits.argmax())]
    with open_runner(emitted.path, runtime="mil-reference") as runner:
        (spec,) = runner.outputs
        assert spec.shape == (1, 5)
        assert np.allclose(runner.infer(feeds)[spec.name][0], wanted, atol=1e-5)


def test_classes_that_share_a_name_are_told(graph: Graph, tmp_path: Path) -> None:
    named = emit_coreml(graph, path=tmp_path / "a.mlpackage", labels=["a", "b", "a", "c", "d"])
    assert any(note.startswith("classes 0, 2 share the name 'a'") for note in named.notes)
    apart = emit_coreml(graph, path=tmp_path / "b.mlpackage", labels=list("abcde"))
    assert not any("share the name" in note for note in apart.notes)


def test_labels_that_do_not_fit_are_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 labels"):
        emit_coreml(graph, path=tmp_path / "a.mlpackage", labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp32", "compute": "fp16"}, "contradicts"),
        ({"precision": "fp16", "compute": "fp32"}, "contradicts"),
        ({"precision": "int8"}, "recipe"),
        ({"precision": "int8", "weights_only": True, "min_ios": 15}, "16 or later"),
        ({"min_ios": 14}, "15, 16, 17, 18"),
    ],
)
def test_options_that_contradict_are_refused(
    options: dict[str, Any], message: str, graph: Graph, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        emit_coreml(graph, path=tmp_path / "a.mlpackage", **options)


def test_int8_activations_need_ios_17(integer: tuple[Graph, Recipe], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="17 or later"):
        emit_coreml(*integer, path=tmp_path / "a.mlpackage", precision="int8", min_ios=16)


@pytest.mark.parametrize("min_ios", [17, 18])
def test_int8_has_the_recipes_integers_in_the_form_of_apples_tool(
    min_ios: int, integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    graph, recipe = integer
    path = tmp_path / "a.mlpackage"
    emitted = emit_coreml(graph, recipe, path=path, precision="int8", min_ios=min_ios)
    program = open_program(emitted.path)
    kind, key = {
        17: ("constexpr_affine_dequantize", "quantized_data"),
        18: ("constexpr_blockwise_shift_scale", "data"),
    }[min_ios]
    held = constants_of(program, kind, key)
    assert len(held) == len(recipe.weights)
    for node in graph.of("Conv", "Gemm"):
        values = recipe.weights[node.name].values
        assert any(v.dtype == np.int8 and np.array_equal(v, values) for v in held), node.name
    quantizers = [op for op in program.parsed.operations if op.kind == "quantize"]
    assert not any("zero_point" in op.arguments for op in quantizers)
    types = program.tensors()
    stored = {types[op.results[0][0]].partition(" ")[0] for op in quantizers}
    assert stored == {"uint8", "int8"}
    readers = {"conv", "linear", "add"}
    for op in program.parsed.operations:
        if op.kind == "dequantize":
            users = [o.kind for o in program.parsed.operations if reads(o, op.results[0][0])]
            assert set(users) <= readers
    assert any("A17 Pro" in note and "compute plan" in note for note in emitted.notes)


def reads(operation: Any, name: str) -> bool:
    return any(
        getattr(item, "name", None) == name
        for items in operation.arguments.values()
        for item in items
    )


@pytest.mark.parametrize(("compute", "quanta"), [("fp32", 1), ("fp16", 2)])
def test_int8_layers_fed_the_reference_integers_stay_within_the_promise(
    compute: Any, quanta: int, integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    graph, recipe = integer
    emitted = emit_coreml(
        graph, recipe, path=tmp_path / "a.mlpackage", precision="int8", compute=compute
    )
    found = teacher_forced(graph, recipe, emitted, [feeds_for(graph, 99)])
    assert found.worst <= quanta
    assert len(found.layers) >= len(graph.nodes) - 2


def test_an_asymmetric_recipe_is_emitted_without_zero_points(
    integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    graph, recipe = integer
    inputs = {node.name: node.inputs[0] for node in graph.of("Conv", "Gemm")}
    path = tmp_path / "a.mlpackage"
    emit_coreml(graph, recipe.with_form("asymmetric", inputs), path=path, precision="int8")
    operations = open_program(path).parsed.operations
    assert not any("zero_point" in op.arguments for op in operations if op.kind == "quantize")


def test_a_prescribed_zero_point_is_kept_and_said(
    integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    from dataclasses import replace

    graph, recipe = integer
    tensor = graph.inputs[0]
    fixed = Activation(0.02, -14, -2.3, 2.8, fixed=True)
    changed = replace(recipe, activations={**recipe.activations, tensor: fixed})
    emitted = emit_coreml(graph, changed, path=tmp_path / "a.mlpackage", precision="int8")
    assert stored_form(fixed) == ("int8", -14)
    assert any("a zero point (" in note and tensor in note for note in emitted.notes)


def test_scales_that_half_precision_cannot_hold_are_named(
    integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    from dataclasses import replace

    graph, recipe = integer
    tensor = graph.inputs[0]
    faint = Activation(1e-7, 0, -1e-5, 1e-5)
    changed = replace(recipe, activations={**recipe.activations, tensor: faint})
    options: Any = {"path": tmp_path / "a.mlpackage", "precision": "int8"}
    cases: list[tuple[Recipe, Any, bool]] = [
        (changed, "fp16", True),
        (changed, "fp32", True),
        (recipe, "fp16", False),
    ]
    for which, compute, said in cases:
        emitted = emit_coreml(graph, which, compute=compute, **options)
        assert any(tensor in n and "too small for half" in n for n in emitted.notes) is said
        assert (tensor in emitted.integers) is not said


def test_layers_of_tiny_weights_keep_their_meaning_in_half_precision(tmp_path: Path) -> None:
    """LayerScale's factors begin at 1e-6: of such scales half precision keeps no digit."""
    graph = simplify_graph(
        graph_of(
            """(float[1,4,6,6] x) => (float[1,4,6,6] y) {
 a = Conv(x, w, b)
 c = Relu(a)
 y = Mul(c, m) }""",
            w=np.float32(1e-6) * floats(4, 4, 1, 1, seed=1),
            b=np.float32(1e-6) * floats(4, seed=2),
            m=np.float32(1e6) * np.ones((1, 4, 1, 1), np.float32),
        )
    )
    for node in graph.of("Conv"):  # as it is where an Add is between: the factor is not folded back
        assert np.abs(graph.constants[node.inputs[1]]).max() < 1e-5
    feeds = [{"x": floats(1, 4, 6, 6, seed=seed)} for seed in range(12)]
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    path = tmp_path / "a.mlpackage"
    emitted = emit_coreml(made.graph, made.recipe, path=path, precision="int8")
    assert emitted.integers
    wanted = run(graph, feeds[0])[0]
    with open_runner(path) as runner:
        got = runner.infer({runner.inputs[0].name: feeds[0]["x"]})
    error = np.abs(np.asarray(next(iter(got.values())), np.float32) - wanted).max()
    assert error < 0.03 * np.abs(wanted).max()


def test_nodes_that_the_recipe_leaves_in_float_compute_in_float(
    integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    from dataclasses import replace

    graph, recipe = integer
    first = next(graph.of("Conv"))
    kept = replace(recipe, float_nodes=(first.name,))
    path = tmp_path / "a.mlpackage"
    emit_coreml(graph, kept, path=path, precision="int8")
    program = open_program(path)
    weights = constants_of(program, "constexpr_affine_dequantize", "quantized_data")
    assert len(weights) == len(recipe.weights) - 1
    assert not any(np.array_equal(w, recipe.weights[first.name].values) for w in weights)


@pytest.mark.parametrize("min_ios", [16, 18])
def test_weight_only_int8_needs_no_pictures_and_is_written_safely(
    min_ios: int, net: Any, graph: Graph, tmp_path: Path
) -> None:
    path = tmp_path / "a.mlpackage"
    emitted = emit_coreml(graph, path=path, precision="int8", weights_only=True, min_ios=min_ios)
    program = open_program(path)
    assert "quantize" not in emitted.census.ops
    if min_ios == 16:  # unsigned: signed ones were reported wrong on GPU and Neural Engine
        held = constants_of(program, "constexpr_affine_dequantize", "quantized_data")
        assert {v.dtype.name for v in held} == {"uint8"}
        signed = [v.astype(int) - 128 for v in held]
    else:
        signed = constants_of(program, "constexpr_blockwise_shift_scale", "data")
    rounded = round_weights(graph).weights
    assert len(signed) == len(rounded) == 3
    for weights in rounded.values():
        assert any(np.array_equal(v, weights.values) for v in signed)
    feeds = feeds_for(graph)
    assert sqnr_db(expected(net, feeds)[0], program.run(feeds)["logits"]) > 30


# Known reports


SHUFFLE = {"s": np.array([1, 2, 4, 8, 8]), "s2": np.array([1, 8, 8, 8])}


def shuffled_net() -> Any:
    rng = np.random.default_rng(2)
    weights = {
        "w": rng.standard_normal((8, 4, 1, 1)).astype(np.float32),
        "v": rng.standard_normal((8, 1, 2, 2)).astype(np.float32),
    }
    return onnx_model(
        [
            ("Conv", ["x", "w"], ["c"], {"kernel_shape": [1, 1], "group": 2}),
            ("Relu", ["c"], ["r"], {}),
            ("Reshape", ["r", "s"], ["a"], {}),
            ("Transpose", ["a"], ["b"], {"perm": [0, 2, 1, 3, 4]}),
            ("Reshape", ["b", "s2"], ["d"], {}),
            (
                "Conv",
                ["d", "v"],
                ["e"],
                {"kernel_shape": [2, 2], "group": 8, "strides": [2, 2], "pads": [1, 0, 1, 0]},
            ),
            (
                "AveragePool",
                ["e"],
                ["y"],
                {"kernel_shape": [5, 3], "pads": [2, 1, 2, 1], "count_include_pad": 1},
            ),
        ],
        {"x": (1, 8, 8, 8)},
        ["y"],
        {**weights, **SHUFFLE},
    )


def test_matching_reports_are_named_with_their_links() -> None:
    graph = prepared(shuffled_net())
    found = {w.issue.key: w for w in known_issues(graph, Target("fp32", False, 16))}
    assert found.keys() == {"grouped-conv-activation", "even-kernel-stride", "wide-average-pool"}
    for warned in found.values():
        assert str(warned).startswith("verify on device: ")
        assert "https://" in str(warned)
        assert warned.nodes


def test_avoiding_reports_leaves_no_pattern_and_the_same_numbers(tmp_path: Path) -> None:
    model = shuffled_net()
    graph = prepared(model)
    changed, _ = avoid(graph)
    assert known_issues(changed, Target("fp32", False, 16)) == []
    assert known_issues(graph, Target("fp32", False, 16)) != []
    path = tmp_path / "a.mlpackage"
    emitted = emit_coreml(graph, path=path, avoid_known_issues=True)
    feeds = feeds_for(graph)
    assert sqnr_db(expected(model, feeds)[0], open_program(path).run(feeds)["y"]) > 90
    kinds = open_program(path).op_types()
    assert kinds.index("relu") > kinds.index("transpose")
    assert not any("verify on device" in note for note in emitted.notes)


def test_avoiding_reports_writes_int8_weights_unsigned_without_changing_a_number(
    integer: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    feeds = feeds_for(integer[0])
    results = []
    for avoiding in (False, True):
        path = tmp_path / f"{avoiding}.mlpackage"
        emit_coreml(*integer, path=path, precision="int8", avoid_known_issues=avoiding)
        program = open_program(path)
        held = constants_of(program, "constexpr_affine_dequantize", "quantized_data")
        assert {v.dtype.name for v in held} == {"uint8" if avoiding else "int8"}
        results.append(program.run(feeds)["logits"])
    assert np.array_equal(*results)


def test_importing_the_target_loads_no_coremltools() -> None:
    import subprocess

    code = (
        "import sys, edgeconv.export.coreml;"
        "sys.exit(1 if 'coremltools' in sys.modules or 'torch' in sys.modules else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_command_imports_nothing_that_coremltools_has_for_other_converters(
    tmp_path: Path,
) -> None:
    """torch, scikit-learn and more: seven of nine seconds, in which Ctrl-C has to wait."""
    import subprocess

    import onnx

    onnx.save(convolution_net(), tmp_path / "net.onnx")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgeconv import deps, export_model\n"
        "deps.SHARED = False\n"  # as the command's entry point says
        f"assert export_model({str(tmp_path / 'net.onnx')!r}, targets=('coreml',), output=Path({str(tmp_path / 'out')!r}))\n"
        "assert 'coremltools' in sys.modules\n"
        "print([name for name in ('torch', 'sklearn', 'torchao') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_half_precision_keeps_the_digits_of_a_figure_around_500(precision: Any) -> None:
    """A half has steps of a quarter there; the last layer computes in float32 where that is told."""
    model = convolution_net(offset=500.0)
    ready = prepared(model, int8=precision == "int8")
    feeds = [feeds_for(ready, seed) for seed in range(8)]
    recipe = simple_recipe(ready, feeds) if precision == "int8" else None
    wanted = np.concatenate([expected(model, feed)[0] for feed in feeds])
    output = ready.outputs[0]
    kept = []
    for coarse in ((), coarse_outputs({output: wanted})):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.mlpackage"
            emit_coreml(ready, recipe, path=path, precision=precision, coarse=coarse)
            program = open_program(path)
            got = np.concatenate(
                [program.run(feed)[program.output_specs()[0].name] for feed in feeds]
            )
        kept.append(sqnr_db(wanted - wanted.mean(axis=0), got - wanted.mean(axis=0)))
    assert kept[0] < 20
    assert kept[1] > kept[0] + 10


def test_only_figures_far_from_zero_are_called_coarse() -> None:
    spread = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    outputs = {"near": spread, "far": spread + 500, "still": np.full((20, 4), 500.0, np.float32)}
    assert coarse_outputs(outputs) == ("far",)
