"""What quantization chooses does not hang on the last bit of a float, or costs next to nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quant_nets import pictures, residual_net, shuffle_net

from edgeconv.export.graph import Graph, Node
from edgeconv.export.quant.bias import is_vector, likely, likely_together
from edgeconv.export.quant.contest import Contest
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.fit import LayerFit
from edgeconv.export.quant.judge import Score, best, decibels, form_is_too_dear, run_recipe, score
from edgeconv.export.quant.observe import Observation, observe
from edgeconv.export.quant.workspace import store
from edgeconv.recipe import Activation

COST_DB = 0.2
"""What a turned decision may cost."""


def perturbed(graph: Graph, seed: int) -> Graph:
    """Return the net as another processor might compute it: every weight off by about 1e-6."""
    other, random = graph.clone(), np.random.default_rng(seed)
    for name, value in graph.constants.items():
        if value.dtype == np.float32 and value.size > 1 and seed:
            other.constants[name] = (
                value * (1 + 1e-6 * random.standard_normal(value.shape))
            ).astype(np.float32)
    return other


def chosen(
    graph: Graph, feeds: Any, fresh: Any, recipe: str, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[str, float]:
    """Return what was picked, and how many dB a candidate would have been closer on fresh pictures."""
    entries: list[Any] = []

    def run(self: Contest, name: str, form: Any, real: Any = Contest.run) -> Any:
        made = real(self, name, form)
        entries.extend(self.entries)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Contest, "run", run)
        done = quantize(graph, feeds, recipe=recipe, **more)
    wanted = observe(graph, fresh).outputs

    def noise(made: Any) -> float:
        return score(graph, wanted, run_recipe(made.graph, made.recipe, fresh, 1)).noise

    least = min(noise(entry.made) for entry in entries)
    return str(done.recipe.notes["picked"]), decibels(noise(done), least)


def turned(picks: Sequence[tuple[str, float]]) -> float:
    """Return the most that a pick cost, where the picks differ."""
    return max(cost for _, cost in picks) if len({name for name, _ in picks}) > 1 else 0.0


@pytest.mark.parametrize("recipe", ["fast", "std"])
@pytest.mark.parametrize("make", [residual_net, shuffle_net])
def test_float_noise_turns_no_choice_that_matters(
    make: Any, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make()
    feeds, fresh = pictures(graph, 20), pictures(graph, 24, seed=7)
    picks = [chosen(perturbed(graph, s), feeds, fresh, recipe, monkeypatch) for s in range(3)]
    assert turned(picks) < COST_DB, picks


def entry(noise: float) -> Score:
    return Score(noise, 0.0, 0.0, None)


def test_the_candidate_to_trust_most_wins_what_is_near() -> None:
    assert best([entry(1.06e-3), entry(1e-3)]) == 0
    assert best([entry(1.08e-3), entry(1e-3)]) == 1
    assert best([entry(0.0), entry(0.0)]) == 0
    assert form_is_too_dear(entry(1.04e-3), entry(1e-3)) is None
    assert form_is_too_dear(entry(2e-3), entry(1e-3)) == "zero points take 3.0 dB of the noise away"


def test_clipping_that_brings_nothing_is_left_out() -> None:
    assert best([entry(1e-3), entry(1.005e-3), entry(1e-3)], [1, 2]) == 1
    assert best([entry(1e-3), entry(1.02e-3), entry(1.1e-3)], [1, 2]) == 0
    assert best([entry(float("nan")), entry(1e-3)], [0]) == 1


def test_one_bad_picture_decides_nothing() -> None:
    """The plain mean would say that the second is 20 times worse."""
    graph = residual_net()
    wanted = np.random.default_rng(0).standard_normal((10, 1, 10)).astype(np.float32)
    noise = 0.01 * np.random.default_rng(1).standard_normal(wanted.shape).astype(np.float32)
    first = score(graph, {graph.outputs[0]: wanted}, {graph.outputs[0]: wanted + noise})
    noise[3] *= 10
    second = score(graph, {graph.outputs[0]: wanted}, {graph.outputs[0]: wanted + noise})
    assert abs(decibels(second.noise, first.noise)) < 2.1
    assert second.sqnr_db < first.sqnr_db - 8


def test_a_mean_that_a_few_pictures_carry_moves_a_bias_less() -> None:
    sure = np.full((32, 1), 0.5, np.float32) + np.linspace(-0.01, 0.01, 32)[:, None]
    rare = np.zeros((32, 1), np.float32)
    rare[5] = 16.0
    assert likely(sure.astype(np.float32))[0] == pytest.approx(0.5, rel=1e-3)
    assert likely(rare)[0] == pytest.approx(0.5 / 16.5, rel=0.05)
    exact = np.array([0.7])
    assert likely(sure.astype(np.float32), exact)[0] == pytest.approx(0.7, rel=1e-3)
    assert likely(rare, exact)[0] < 0.1
    together = likely_together(np.concatenate([sure, rare], axis=1).astype(np.float32))
    assert (together == 0.0).all()  # what one picture carries says nothing of its neighbours either
    assert likely_together(sure.astype(np.float32))[0] == pytest.approx(0.5, rel=1e-3)
    assert likely(np.zeros((4, 2), np.float32)).tolist() == [0.0, 0.0]


def test_a_vector_that_one_picture_carries_leaves_the_bias() -> None:
    """Pooled features of 24 pictures, one of which clips: the other 23 are not shifted for it."""
    random = np.random.default_rng(0)
    graph = Graph("pooled", 18, ["x"], ["y"])
    graph.declare("x", (1, 8), np.float32)
    graph.declare("y", (1, 4), np.float32)
    weights = random.normal(size=(4, 8)).astype(np.float32)
    names = [graph.add_constant("w", weights), graph.add_constant("b", np.zeros(4, np.float32))]
    graph.nodes = [Node("Gemm", "fc", ["x", *names], ["y"], {"transB": 1})]
    assert is_vector(graph, graph.nodes[0])
    values = random.uniform(0, 1, (24, 1, 8)).astype(np.float32)
    values[3] *= 100
    clipped = Activation(1 / 255, -128, 0.0, 1.0)
    seen = Observation(24, sums={("x", 24): values.sum(axis=0)}, means={"x": values[:, 0]})
    stored = store(values[:, 0], clipped)
    bias = []
    for means in (seen.means, {}):
        fit = LayerFit(graph, replace(seen, means=means), {"x": clipped}, "nearest", "before")
        bias.append(np.abs(fit(graph.nodes[0], stored).float_bias))
    assert (bias[0] < 0.3 * bias[1]).all(), bias


NETS = ["mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet"]


@pytest.mark.long
@pytest.mark.parametrize("recipe", ["fast", "std"])
@pytest.mark.parametrize("net", NETS)
def test_float_noise_turns_no_choice_of_the_four_nets(
    net: str, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, feeds, fresh, scales = prepared(net, monkeypatch)
    picks = [
        chosen(perturbed(graph, s), feeds, fresh, recipe, monkeypatch, input_scale=scales)
        for s in range(6)
    ]
    print(net, recipe, picks)
    assert turned(picks) < 1.0, picks


def prepared(net: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Graph, Any, Any, Any]:
    """Return a bundled net's prepared graph, its calibration and other pictures, its pixel scales."""
    from edgeconv import export_model
    from edgeconv.errors import EdgeconvError

    pytest.importorskip("torch")
    found: list[Any] = []

    def keep(*arguments: Any, **_: Any) -> None:
        found.extend(arguments)
        raise EdgeconvError("enough")

    with monkeypatch.context() as patch:
        patch.setattr("edgeconv.export.integers.make_integers", keep)
        with pytest.raises(EdgeconvError, match="enough"):
            export_model(net, targets=("onnx",), precision="int8", calib_count=64, verify_count=200)
    _, made, data, _, expected = found[:5]
    feeds = [sample.load() for sample in data.calibration]
    return made.graph, feeds, expected.feeds, made.exact_inputs
