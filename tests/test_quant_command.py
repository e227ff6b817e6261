"""``edgeconv quantize`` is the INT8 stage of export as a command of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from quant_nets import residual_net

from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.export import kinds, options
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.quant import candidates


def test_help_names_the_options_of_the_recipe() -> None:
    shown = CliRunner().invoke(main, ["quantize", "--help"])
    assert shown.exit_code == 0
    for option in ("--max-drop", "--keep-float", "--recipe", "--prefer", "--reduce-range"):
        assert option in shown.output


@pytest.mark.slow
def test_a_float_file_becomes_a_verified_int8_file_with_its_recipe(tmp_path: Path) -> None:
    model, samples, output = tmp_path / "net.onnx", tmp_path / "calib.npz", tmp_path / "out"
    model.write_bytes(save_model(to_onnx(residual_net())))
    walk = np.random.default_rng(0).normal(0, 0.2, (24, 3, 16, 16)).cumsum(axis=3)
    np.savez(samples, input=walk.astype(np.float32))
    arguments = ["quantize", str(model), "--calib", str(samples), "--output", str(output)]
    done = CliRunner().invoke(main, [*arguments, "--recipe", "fast"])
    assert done.exit_code == 0, done.output
    assert "7/7 INT8" in done.output
    assert "calibrate too" not in done.output
    arguments = ["export", *arguments[1:], "--int8", "--target", "onnx", "--verify", str(samples)]
    done = CliRunner().invoke(main, [*arguments, "--force", "--recipe", "fast"])
    assert "24 of 24 samples that verify calibrate too, such as calib.npz[0]" in done.output
    assert (output / "net_int8.onnx").is_file()
    (recipe,) = output.glob("*.evidence/recipe.json")
    same = CliRunner().invoke(main, ["recipe", "diff", str(output / "net_int8.onnx"), str(recipe)])
    assert same.output == "the recipes hold the same integers and scales\n"


def test_the_recipes_that_options_name_are_those_of_the_engine() -> None:
    assert set(kinds.RECIPES) == candidates.RECIPES.keys()
    with pytest.raises(UsageError, match="--recipe nope: fast, std, best or a"):
        options.ExportOptions("model.onnx", recipe="nope").check()


@pytest.mark.parametrize(
    "given",
    [{"minutes": 2.0}, {"copies": 0.1}, {"keep_float": ("worst:1",)}, {"max_drop": 1.0}],
)
def test_what_makes_recipes_is_refused_beside_one(given: dict[str, Any]) -> None:
    flag = next(iter(given)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} is about making a recipe: held.json is one"):
        options.ExportOptions("n.onnx", precision="int8", recipe="held.json", **given).check()
