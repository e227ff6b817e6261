"""Calibration pictures are looked at before they are trusted."""

from typing import Any

import numpy as np
import pytest
from quant_nets import pictures, residual_net, shuffle_net

from edgeconv.errors import BudgetMissedError, EdgeconvError
from edgeconv.export.quant.budget import agreement_drop, meet_budget
from edgeconv.export.quant.calibration import check_pictures, clip_rates, stability
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.observe import observe


def photographs(count: int = 6, size: int = 16, scale: float = 1.0) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, size)
    found = []
    for _ in range(count):
        waves = [
            np.sin(6 * ramp[:, None] * a + 4 * ramp[None] * b) for a, b in random.random((3, 2))
        ]
        found.append({"input": (scale * (np.stack(waves)[None] + 1) / 2).astype(np.float32)})
    return found


def test_photographs_pass_without_a_word() -> None:
    assert check_pictures(photographs(), expected={"input": (0.0, 1.0)}).warnings == ()


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        (photographs(1), "one picture cannot calibrate"),
        ([{"input": np.full((1, 3, 16, 16), v, np.float32)} for v in (0, 1, 2)], "constant"),
        ([photographs(1)[0]] * 4, "all the same"),
        (
            [
                {"input": np.random.default_rng(i).normal(size=(1, 3, 16, 16)).astype(np.float32)}
                for i in range(4)
            ],
            "look random",
        ),
    ],
)
def test_poor_pictures_are_refused_unless_allowed(feeds: list[Any], words: str) -> None:
    with pytest.raises(EdgeconvError, match=words) as caught:
        check_pictures(feeds)
    assert "--allow-poor-calibration" in str(caught.value)
    assert any(words in text for text in check_pictures(feeds, allow_poor=True).warnings)


@pytest.mark.parametrize(
    ("scale", "expected", "words"),
    [
        (255.0, (0.0, 1.0), "0..255 fed where 0..1 is expected"),
        (255.0, (-1.0, 1.0), "0..255 fed where -1..1 is expected"),
        (1.0, (-1.0, 1.0), "0..1 fed where -1..1 is expected"),
        (1.5, (0.0, 1.0), "outside of what the preprocessing can give"),
        (0.01, (0.0, 1.0), "little of the expected range"),
    ],
)
def test_a_range_that_does_not_fit_is_said_in_plain_words(
    scale: float, expected: tuple[float, float], words: str
) -> None:
    (warning,) = check_pictures(photographs(scale=scale), expected={"input": expected}).warnings
    assert words in warning


def test_values_below_zero_are_no_pixels() -> None:
    feeds = [{"input": feed["input"] - 25} for feed in photographs(scale=50.0)]
    (warning,) = check_pictures(feeds, expected={"input": (-3.0, 3.0)}).warnings
    assert warning.startswith("values outside of what the preprocessing can give")


def test_stability_and_clipping_are_measured() -> None:
    graph = residual_net()
    feeds = pictures(graph, 10)
    seen = observe(graph, feeds)
    assert 1.0 <= stability(seen)["median_ratio"] <= stability(seen)["worst_ratio"]
    recipe = quantize(graph, feeds, recipe="fast").recipe
    assert max(clip_rates(seen, recipe.activations).values()) == 0.0
    assert recipe.notes["stability"]["worst_tensor"] in recipe.activations
    assert recipe.notes["layers"].keys() == recipe.weights.keys()


def test_what_a_relu_behind_a_concat_takes_away_is_neither_clipped_nor_noise() -> None:
    graph = shuffle_net()
    layers = quantize(graph, pictures(graph, 10), recipe="fast").recipe.notes["layers"]
    assert max(layer["clip_rate"] for layer in layers.values()) < 0.01
    assert max(layer["added"] for layer in layers.values()) < 0.02


def test_agreement_drop_counts_points_of_top1_where_the_truth_is_known() -> None:
    wanted = np.eye(4, dtype=np.float32)
    got = wanted[[0, 1, 2, 2]]
    assert agreement_drop(wanted, got) == 25.0
    assert agreement_drop(wanted, got, [0, 1, 2, 3]) == 25.0
    assert agreement_drop(wanted, got, [0, 1, 2, 2]) == -25.0


def test_a_budget_that_is_met_keeps_every_layer_in_int8_and_one_that_cannot_be_met_says_so() -> (
    None
):
    graph = residual_net()
    feeds = pictures(graph, 12)
    done = quantize(graph, feeds, recipe="fast")
    wanted = observe(graph, feeds).outputs
    met = meet_budget(done.graph, done.recipe, feeds, wanted, max_drop=100.0)
    assert met.float_nodes == ()
    assert met.notes["budget"]["steps"] == []
    with pytest.raises(BudgetMissedError, match="layer kept in float"):
        meet_budget(done.graph, done.recipe, feeds, wanted, max_drop=-1.0)
