"""The campaigns of planted faults and flags, on one small net each."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime")


def test_planted_faults_are_named_and_the_healthy_file_is_not(tmp_path: Path) -> None:
    import plant_faults
    import planted_nets
    import scene_nets
    import scenes

    for part, seed, count in (("calib", 1, 40), ("verify", 2, 40)):
        np.savez(tmp_path / f"{part}.npz", x=scenes.draw(count, seed).pictures)
    net = planted_nets.Net(
        "twins",
        lambda: scene_nets.trained("twins", 3, tmp_path, steps=20),
        {
            "calib": tmp_path / "calib.npz",
            "verify": tmp_path / "verify.npz",
            "input_shape": (1, 3, 32, 32),
            "preprocessing": "symmetric",
            "recipe": "fast",
        },
    )
    lines = list(plant_faults.cases(net, "int8", ("onnx",), 7, set()))
    healthy = next(line for line in lines if "fault" not in line)
    assert healthy["converted"]
    planted = [line for line in lines if line.get("added", 0.0) >= 2 * plant_faults.SLIGHT]
    assert len(planted) >= 3
    assert [line["case"] for line in planted if line["converted"]] == []


def test_nets_that_a_file_draws_the_inputs_of_are_planted_in(tmp_path: Path) -> None:
    import planted_nets

    file = tmp_path / "own.py"
    file.write_text(
        "import numpy as np\n"
        "def nets():\n"
        "    drawn = {'x': lambda i: np.full((1, 4), i, np.float32), 'on': lambda i: np.ones((1, 2), bool)}\n"
        "    return {'own': (lambda: 'net.onnx', drawn), 'other': (str, {})}\n",
        encoding="utf-8",
    )
    (net,) = planted_nets.drawn_nets(file, ("own",), tmp_path)
    assert (net.name, net.make()) == ("own", "net.onnx")
    assert net.options["input_shapes"] == {"x": (1, 4), "on": (1, 2)}
    assert net.options["input_types"] == {"on": "bool"}
    with np.load(net.options["calib"]) as calib, np.load(net.options["verify"]) as verify:
        assert not set(calib["x"].flat) & set(verify["x"].flat)
        assert verify["x"].shape == (50, 1, 4)


def test_a_call_is_right_where_far_more_samples_say_so(tmp_path: Path) -> None:
    import check_calls
    from click.testing import CliRunner
    from json_lines import Line, read_lines

    file = tmp_path / "own.py"
    file.write_text(
        "import numpy as np\n"
        "import torch\n"
        "def nets():\n"
        "    made = lambda: torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()\n"
        "    draw = lambda i: np.random.default_rng(i).normal(size=(1, 6)).astype(np.float32)\n"
        "    return {'own': (made, {'input': draw})}\n",
        encoding="utf-8",
    )
    about: Line = {"net": "own", "named": True}
    cases = ("own int8 onnx", "own int8 onnx halved_scale", "own fp32 onnx")
    lines = [
        {**about, "case": cases[0], "form": "int8 onnx"},
        {**about, "case": cases[1], "form": "int8 onnx", "fault": "halved_scale"},
        {**about, "case": cases[2], "form": "fp32 onnx", "named": False},
    ]
    (tmp_path / "lines.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    checked = tmp_path / "checked.jsonl"
    files = ("--lines", tmp_path / "lines.jsonl", "--checked", checked, "--work", tmp_path)
    given = ("run", *files, "--drawn", file, "--count", 60)
    for _ in range(2):  # the second finds its line there
        done = CliRunner().invoke(check_calls.main, [str(part) for part in given])
        assert done.exit_code == 0, done.output
    (line,) = read_lines(checked)
    assert (line["case"], line["samples"], line["converted"]) == ("own int8 onnx", 60, True)
    assert line["right"] is False  # a sound recipe: the call was an alarm
    assert set(line["places"]) == set(line["static"])
    said = CliRunner().invoke(check_calls.main, ["table", "--checked", str(checked)]).output
    assert "| own int8 onnx | 60 |" in said
    assert said.endswith("| an alarm |\n0 of 1 calls are right\n")
    low = {"a": {"agreement_top1": 0.96, "sqnr_centred_db": 11.9}, "b": {"sqnr_centred_db": 12.0}}
    assert check_calls.below(low) == ["a"]


def test_faults_of_arithmetic_change_what_a_net_gives() -> None:
    import parity_kit as kit
    from arithmetic_faults import ARITHMETIC_FAULTS
    from planting import Healthy

    from edgeconv.export.prepare import prepare

    graph = prepare(kit.small_net(), int8=False).graph
    inner = [t for t in graph.producers() if t not in graph.outputs]
    seen = kit.pictures(8)
    whole = kit.run_graph(graph, seen, inner)
    ranges = {name: (float(whole[name].min()), float(whole[name].max())) for name in inner}
    planted = 0
    for name, fault in ARITHMETIC_FAULTS.items():
        found = fault(Healthy(graph, None, ranges), np.random.default_rng(0))
        if found is not None:
            made = kit.run_graph(found.graph, seen)["logits"]
            assert not np.allclose(made, whole["logits"], atol=1e-4), name
            planted += 1
    assert planted >= 12


def test_faults_of_nearly_right_files_change_what_a_net_gives() -> None:
    import parity_kit as kit
    from near_faults import NEAR_FAULTS
    from planting import Healthy

    from edgeconv.export.prepare import prepare

    graph = prepare(kit.small_net(), int8=False).graph
    inner = [t for t in graph.producers() if t not in graph.outputs]
    seen = kit.pictures(8)
    whole = kit.run_graph(graph, seen, inner)
    ranges = {name: (float(whole[name].min()), float(whole[name].max())) for name in inner}
    planted = []
    for name, fault in NEAR_FAULTS.items():
        found = fault(Healthy(graph, None, ranges), np.random.default_rng(0))
        if found is not None:
            made = kit.run_graph(found.graph, seen)["logits"]
            assert not np.allclose(made, whole["logits"], atol=1e-4), name
            planted.append(name)
    assert {"shifted_weights", "shifted_inputs", "stale_checkpoint", "half_range"} <= {*planted}


def test_two_rows_of_a_batch_change_places_and_a_ceiling_opens() -> None:
    from near_faults import NEAR_FAULTS
    from planting import Healthy

    from edgeconv.export.graph import Graph, Node
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.runtimes.onnxrt import open_model

    def given(graph: Graph) -> list[list[float]]:
        x = np.array([[-1, 2, 4], [0, 1, 9]], np.float32)
        with open_model(save_model(to_onnx(graph))) as runner:
            made: list[list[float]] = runner.infer({"input": x})["y"].tolist()
        return made

    tensors = ("input", "grown", "bound", "y")
    graph = Graph(
        "twice",
        18,
        ["input"],
        ["y"],
        [
            Node("Mul", "grow", ["input", "two"], ["grown"]),
            Node("Clip", "relu6", ["grown", "zero", "six"], ["bound"]),
            Node("Mul", "last", ["bound", "two"], ["y"]),
        ],
        {k: np.array(v, np.float32) for k, v in (("two", 2), ("zero", 0), ("six", 6))},
        dict.fromkeys(tensors, (2, 3)),
        dict.fromkeys(tensors, np.dtype(np.float32)),
    )
    assert given(graph) == [[0, 8, 12], [0, 4, 12]]
    for name, wanted in (
        ("exchanged_rows", [[0, 4, 12], [0, 8, 12]]),
        ("open_ceiling", [[0, 8, 16], [0, 4, 36]]),
    ):
        found = NEAR_FAULTS[name](Healthy(graph, None, {}), np.random.default_rng(0))
        assert found is not None
        assert given(found.graph) == wanted


def test_outputs_that_a_broken_loop_gives_are_named(tmp_path: Path) -> None:
    import plant_outputs
    from plant_faults import SLIGHT
    from planted_nets import trained_nets

    net = next(iter(trained_nets(("plain",), range(3, 4), tmp_path, 10)))
    lines = list(plant_outputs.cases(net, "fp32 onnx", 8))
    assert lines[-1]["converted"]
    planted = [line for line in lines[:-1] if line["added"] >= SLIGHT]
    assert len(planted) >= 4
    assert [line["case"] for line in planted if not line["named"]] == []


def test_every_change_of_outputs_changes_some(tmp_path: Path) -> None:
    from plant_outputs import CHANGES

    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 4, 6, 6)).astype(np.float32)
    for name, change in CHANGES.items():
        made = change(values.copy(), rng)
        assert made.shape == values.shape, name
        assert not np.array_equal(made, values), name


@pytest.mark.long
def test_wrong_scalings_are_named_and_right_ones_are_not(tmp_path: Path) -> None:
    import plant_flags

    net = next(plant_flags._scenes(tmp_path, ["plain"]))
    assert net.right == "imagenet"
    passed_over = ("BGR", "crop", "unit", "letterbox")
    lines = dict(plant_flags.cases(net, {f"{net.name}: {n}" for n in passed_over}))
    assert lines[f"{net.name}: nearest"]["statistics"] == {}
    assert lines[f"{net.name}: imagenet"]["statistics"] == {}
    negative = lines[f"{net.name}: negative"]
    assert negative["reading"] == plant_flags.wanted(negative)["reading"]
    raw = lines[f"{net.name}: raw"]
    assert raw["statistics"] == plant_flags.wanted(raw) == {"preprocessing": "imagenet"}


def test_a_layers_weights_and_gates_are_taken_for_others() -> None:
    from order_faults import other_gate, other_weights
    from planting import Healthy
    from quant_nets import NetBuilder, pictures

    from edgeconv.export.quant.engine import quantize
    from edgeconv.export.quant.judge import run_recipe

    net = NetBuilder()
    last = net.conv(net.conv(net.conv("input", 6), 6), 6, clamp=None)
    shape = net.graph.shape(last)
    graph = net.head(net.add("Mul", [last, net.add("Sigmoid", [last], shape)], shape))
    feeds = pictures(graph, 8)
    made = quantize(graph, feeds, recipe="fast")
    sound = run_recipe(made.graph, made.recipe, feeds, 1)
    healthy, rng = Healthy(made.graph, made.recipe, {}), np.random.default_rng(0)
    weights, gate = other_weights(healthy, rng), other_gate(healthy, rng)
    assert weights is not None
    assert gate is not None
    assert weights.recipe is not None
    name, other = weights.where.split(", ")
    taken = weights.recipe.weights[name]
    np.testing.assert_array_equal(taken.values, made.recipe.weights[other].values)
    assert name not in weights.recipe.free_bias
    for planted in (weights, gate):
        assert planted.recipe is not None
        faulty = run_recipe(planted.graph, planted.recipe, feeds, 1)
        assert not np.allclose(next(iter(faulty.values())), next(iter(sound.values())))


def test_faults_of_parts_and_rules_change_what_a_net_computes(tmp_path: Path) -> None:
    import plant_faults
    import scene_nets
    import scenes
    from graph_kit import run
    from part_faults import PART_FAULTS
    from planting import Healthy
    from rule_faults import RULE_FAULTS

    from edgeconv.api import make_options
    from edgeconv.arguments import settled
    from edgeconv.export.pipeline import measure

    np.savez(tmp_path / "x.npz", x=scenes.draw(4, 1).pictures)
    planted = set()
    for kind in ("windows", "levels", "super_resolution"):
        options = {"input_shape": (1, 3, 32, 32), "verify": tmp_path / "x.npz", "precision": "fp32"}
        net = scene_nets.seeded(kind, 1).eval()
        work = measure(make_options(net, **settled({**options, "targets": ("onnx",)})))
        ranges, feed = plant_faults.ranges_of(work), work.expected.feeds[0]
        sound = run(work.graph, feed)
        for name, fault in (PART_FAULTS | RULE_FAULTS).items():
            made = fault(Healthy(work.graph, None, ranges), np.random.default_rng(1))
            if made is not None and any(
                not np.allclose(a, b, atol=1e-7)
                for a, b in zip(run(made.graph, feed), sound, strict=True)
            ):
                planted.add(name)
    unseen = {"zero_beside", "padded_by_least", "other_slope"}  # of recipes and other activations
    assert planted >= (PART_FAULTS | RULE_FAULTS).keys() - unseen
