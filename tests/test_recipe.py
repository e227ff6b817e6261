"""A recipe can be shown, compared and checked, and says in words what is wrong with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from page_kit import look_at
from quant_nets import pictures, residual_net

from edgeconv.cli import main
from edgeconv.commands.recipe import command
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.quant.check import check_fits, problems
from edgeconv.export.quant.differences import differences
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.explain import explain, schema, write_page
from edgeconv.recipe import Recipe


@pytest.fixture(scope="module")
def made() -> tuple[Graph, Recipe]:
    graph = residual_net()
    done = quantize(graph, pictures(graph, 10), recipe="fast")
    return graph, done.recipe


def test_show_puts_the_layer_that_adds_most_noise_first(made: tuple[Graph, Recipe]) -> None:
    found = explain(made[1])
    added = [row["added"] for row in found.layers]
    assert added == sorted(added, reverse=True)
    assert {row["name"] for row in found.layers} == made[1].weights.keys()
    assert "held out" in found.text()


def test_show_draws_the_noise_map_the_worst_tensor_first(made: tuple[Graph, Recipe]) -> None:
    rows = {
        "t1": {"share": 0.25, "channels": 8, "worst_channel": 3, "worst_share": 0.2},
        "t0": {"share": 0.75, "channels": 8, "worst_channel": 7, "worst_share": 0.5},
    }
    found = explain(replace(made[1], notes={**made[1].notes, "noise": rows}))
    assert [row["tensor"] for row in found.noise] == ["t0", "t1"]
    lines = [line for line in found.text().splitlines() if "channel " in line]
    assert "75.0%" in lines[0]
    assert "channel 7: 50.0%" in lines[0]
    assert [line.count("#") for line in lines] == [20, 7]
    assert explain(made[1]).noise == ()


def test_equal_recipes_have_no_differences_and_others_are_listed(
    made: tuple[Graph, Recipe],
) -> None:
    graph, recipe = made
    assert differences(recipe, recipe) == []
    wider = [{name: 2 * each for name, each in feed.items()} for feed in pictures(graph, 10)]
    other = quantize(graph, wider, recipe="fast").recipe
    lines = differences(recipe, replace(other, form="asymmetric", float_nodes=("x",)))
    assert any(line.startswith("tensor input: scale") for line in lines)
    assert any(line.startswith("layer Conv_0:") for line in lines)
    assert any(line.startswith("in float") for line in lines)


def test_of_a_tensor_only_what_changed_is_said(made: tuple[Graph, Recipe]) -> None:
    recipe = made[1]
    name, one = next(iter(recipe.activations.items()))

    def beside(**changes: Any) -> list[str]:
        other = {**recipe.activations, name: replace(one, **changes)}
        return differences(recipe, replace(recipe, activations=other))

    moved = one.zero_point + 1
    assert beside(scale=2.0) == [f"tensor {name}: scale {one.scale:.6g} -> 2"]
    assert beside(zero_point=moved) == [f"tensor {name}: zero point {one.zero_point} -> {moved}"]
    close = float(np.nextafter(one.scale, np.inf))
    assert beside(scale=close) == [f"tensor {name}: scale {one.scale!r} -> {close!r}"]


def test_rules_that_are_broken_are_named(made: tuple[Graph, Recipe]) -> None:
    recipe = made[1]
    assert problems(recipe) == []
    activations = dict(recipe.activations)
    activations["input"] = replace(activations["input"], scale=0.0, zero_point=300)
    found = problems(replace(recipe, activations=activations))
    assert any("input has the scale 0.0" in text for text in found)
    assert any("zero point 300, outside of int8" in text for text in found)


def test_a_recipe_that_belongs_to_another_net_is_said_so(made: tuple[Graph, Recipe]) -> None:
    graph, recipe = made
    assert check_fits(recipe, graph) == []
    renamed = replace(recipe, weights={"elsewhere": next(iter(recipe.weights.values()))})
    assert check_fits(renamed, graph) == ["the model has no layer elsewhere"]


def test_the_commands_print_and_set_exit_codes(made: tuple[Graph, Recipe], tmp_path: Path) -> None:
    graph, recipe = made
    path, model = tmp_path / "recipe.json", tmp_path / "net.onnx"
    recipe.save(path)
    model.write_bytes(save_model(to_onnx(graph)))
    run = CliRunner()
    shown = run.invoke(command, ["show", str(path), "--html", str(tmp_path / "page.html")])
    assert shown.exit_code == 0
    assert "weight error" in shown.output
    assert "<table>" in (tmp_path / "page.html").read_text()
    assert run.invoke(command, ["show", str(path), "--json"]).output.startswith("{")
    same = run.invoke(command, ["diff", str(path), str(path)])
    assert same.output == "the recipes hold the same integers and scales\n"
    told = json.loads(run.invoke(command, ["diff", str(path), str(path), "--json"]).output)
    assert told == {"equal": True, "differences": []}
    told = json.loads(run.invoke(command, ["check", str(path), "--json"]).output)
    assert told == {"ok": True, "tensors": len(recipe.activations), "layers": len(recipe.weights)}
    checked = run.invoke(command, ["check", str(path), "--model", str(model)])
    assert (checked.exit_code, checked.output.endswith("within the rules\n")) == (0, True)
    missing = run.invoke(main, ["recipe", "show", str(tmp_path / "none.json")])
    assert missing.exit_code == 2
    assert "none.json does not exist" in missing.output


def test_a_layer_of_one_scale_differs_from_one_of_a_scale_a_channel(
    made: tuple[Graph, Recipe],
) -> None:
    recipe = made[1]
    name, layer = next(iter(recipe.weights.items()))
    single = replace(layer, scales=layer.scales[:1])
    other = replace(recipe, weights={**recipe.weights, name: single})
    assert differences(recipe, other) == [f"layer {name}: {layer.scales.size} -> 1 scales"]


def test_check_takes_the_shape_that_a_file_leaves_open(
    made: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    graph, recipe = made
    path, model = tmp_path / "recipe.json", tmp_path / "net.onnx"
    recipe.save(path)
    opened = to_onnx(graph)
    shape = opened.graph.input[0].type.tensor_type.shape
    sizes = ",".join(str(d.dim_value) for d in shape.dim)
    shape.dim[2].dim_param = shape.dim[3].dim_param = "side"
    model.write_bytes(save_model(opened))
    check = ["recipe", "check", str(path)]
    told = CliRunner().invoke(main, [*check, "--model", str(model), "--input-shape", sizes])
    assert (told.exit_code, told.output.endswith("within the rules\n")) == (0, True)
    alone = CliRunner().invoke(main, [*check, "--model", str(model)])
    assert (alone.exit_code, "--input-shape input=N,C,H,W" in alone.output) == (1, True)
    assert CliRunner().invoke(main, [*check, "--input-shape", sizes]).exit_code == 2


def test_the_schema_names_every_key_of_a_recipe(made: tuple[Graph, Recipe]) -> None:
    described = json.loads(schema())["properties"]
    assert described.keys() == made[1].to_json().keys()
    layer = next(iter(made[1].to_json()["weights"].values()))
    assert described["weights"]["additionalProperties"]["properties"].keys() == layer.keys()


def test_a_narrow_terminal_parts_no_figure_from_its_unit(made: tuple[Graph, Recipe]) -> None:
    row = {"candidate": "a", "form": "b", "loss": 0.1, "sqnr_db": 41.4, "agreement": 100.0}
    noted = replace(made[1], notes={**made[1].notes, "candidates": [row] * 2})
    for width in range(20, 100):
        assert not any(
            line.strip().startswith("%") for line in explain(noted).text(width).splitlines()
        )


def test_a_narrow_terminal_folds_no_figure_of_a_recipe(made: tuple[Graph, Recipe]) -> None:
    shown = explain(made[1])
    narrow = shown.text(40)
    assert max(map(len, narrow.splitlines())) <= 40
    for row in shown.ranges:
        assert f"zero point {row['zero_point']}" in narrow


@pytest.mark.slow
def test_a_browser_shows_the_page_of_a_recipe_and_finds_it_accessible(
    made: tuple[Graph, Recipe], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    write_page(explain(made[1]), page)
    text = page.read_text(encoding="utf-8")
    assert "Noise that each layer adds" in text
    assert text.count("<svg") == len(made[1].notes["histograms"])
    look_at(page, tmp_path, 390, dark=True)
