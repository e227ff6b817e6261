"""The recipe's net in PyTorch: it computes what the file computes, and training it is kept only where it helps."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from quant_nets import NetBuilder, pictures, residual_net, shuffle_net

from edgeconv.cli import main
from edgeconv.deps import MissingDependencyError
from edgeconv.export.graph import Graph
from edgeconv.export.options import ExportOptions
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.judge import run_recipe, score
from edgeconv.export.quant.noise import noise_notes
from edgeconv.export.quant.observe import observe
from edgeconv.recipe import Recipe, bias_integers

torch = pytest.importorskip("torch")

from edgeconv.export.twin import guarded  # noqa: E402
from edgeconv.export.twin.distil import Trained, _Training, distil  # noqa: E402
from edgeconv.export.twin.net import Twin, why_not  # noqa: E402
from edgeconv.export.twin.noise import noise_map  # noqa: E402
from edgeconv.export.twin.views import views  # noqa: E402


def test_the_twin_computes_what_the_file_computes() -> None:
    for graph in (residual_net(), shuffle_net()):
        feeds = pictures(graph, 12)
        done = quantize(graph, feeds)
        twin = Twin(done.graph, done.recipe)
        inputs = {n: torch.from_numpy(np.concatenate([f[n] for f in feeds])) for n in graph.inputs}
        (name,) = graph.outputs
        with torch.no_grad():
            real, rounded = (twin.run(inputs, integer=i)[name].numpy() for i in (False, True))
        wanted = observe(graph, feeds).outputs[name].reshape(real.shape)
        np.testing.assert_allclose(real, wanted, atol=1e-4)
        file = run_recipe(done.graph, done.recipe, feeds, 1)[name].reshape(real.shape)
        step = done.recipe.activations[name].scale
        # a sum on the edge of a step may fall to either side
        assert np.abs(rounded - file).mean() < 0.2 * step
        assert np.abs(rounded - file).mean() < 0.2 * np.abs(rounded - wanted).mean()


def chained_net() -> Graph:
    """Return convolutions in a chain, of which one tensor is much noisier than the others."""
    net = NetBuilder()
    deep = net.conv(net.conv("input", 8), 8, group=8)
    graph = net.head(net.conv(net.conv(deep, 12, kernel=1), 12, group=12))
    node = graph.nodes[1]
    graph.constants[node.inputs[1]] = np.asarray(graph.constants[node.inputs[1]]) * 8
    return graph


def two_heads() -> Graph:
    """Return a net with two outputs, one of them a picture."""
    net = NetBuilder()
    stem = net.conv("input", 8, stride=2)
    mask = net.conv(net.conv(stem, 6), 2, kernel=1, clamp=None)
    graph = net.head(net.conv(stem, 12, kernel=1))
    return net.finish(*graph.outputs, mask)


@pytest.mark.parametrize("build", [residual_net, shuffle_net, chained_net, two_heads])
def test_the_noise_map_says_what_leaving_all_but_one_tensor_in_float_says(
    build: Callable[[], Graph],
) -> None:
    graph = build()
    feeds = pictures(graph, 24)
    recipe = replace(quantize(graph, feeds, recipe="fast").recipe, float_outputs={})
    shares = noise_map(graph, recipe, feeds)
    real = observe(graph, feeds).outputs
    alone = {}
    for name in shares:
        only = replace(
            recipe,
            activations={name: recipe.activations[name]},
            weights={},
            float_nodes=tuple(node.name for node in graph.nodes),
        )
        got = run_recipe(graph, only, feeds, 1, rounded=True)
        pairs = [(real[n].reshape(24, -1), got[n].reshape(24, -1)) for n in graph.outputs]
        alone[name] = float(
            np.mean([((b - a) ** 2).sum(axis=1) / (a**2).sum(axis=1) for a, b in pairs])
        )
    assert len(alone) >= 4
    noisy = [name for name in alone if alone[name] > 0.1 * max(alone.values())]
    for name in noisy:
        assert 0.5 < shares[name].sum() / alone[name] < 2, name
    assert 0.7 < sum(s.sum() for s in shares.values()) / sum(alone.values()) < 1.5
    notes = noise_notes(shares)
    assert sum(row["share"] for row in notes.values()) == pytest.approx(1)
    ranked = [row["share"] for row in notes.values()]
    assert ranked == sorted(ranked, reverse=True)


def test_training_helps_on_pictures_it_has_not_seen_and_repeats() -> None:
    graph = residual_net()
    feeds, fresh = pictures(graph, 20), pictures(graph, 16, seed=9)
    wanted = observe(graph, fresh).outputs
    plain = quantize(graph, feeds, recipe="fast", reduce_range=True).recipe
    rng = np.random.default_rng(0)
    shifted = {}
    for node in graph.of("Conv"):  # biases that are off by up to two steps of the layer's output
        weights, step = plain.weights[node.name], plain.activations[node.output].scale
        off = rng.uniform(-2, 2, len(weights.bias)).astype(np.float32) * np.float32(step)
        moved = replace(weights, float_bias=weights.float_bias + off)
        source = plain.activations[node.inputs[0]].scale
        shifted[node.name] = replace(moved, bias=bias_integers(moved, source))
    start = replace(plain, weights={**plain.weights, **shifted})
    first, second = (
        distil(graph, start, feeds, minutes=60, limit=63, steps=30).recipe for _ in range(2)
    )
    noise = [score(graph, wanted, run_recipe(graph, r, fresh, 1)).noise for r in (start, first)]
    assert noise[1] < 0.8 * noise[0]
    for name, weights in first.weights.items():
        assert np.array_equal(weights.values, second.weights[name].values)
        assert np.array_equal(weights.bias, second.weights[name].bias)
        assert np.abs(weights.values.astype(int)).max() <= 63
    assert first.activations == second.activations
    assert [a.zero_point for a in first.activations.values()] == [
        a.zero_point for a in plain.activations.values()
    ]


def test_no_minutes_no_change_and_less_time_falls_to_nothing_earlier() -> None:
    graph = residual_net()
    feeds = pictures(graph, 12)
    plain = quantize(graph, feeds, recipe="fast")
    done = distil(graph, plain.recipe, feeds, minutes=1e-9, steps=50)
    assert (done.steps, done.in_time) == (0, False)
    for name, weights in plain.recipe.weights.items():
        assert np.array_equal(done.recipe.weights[name].values, weights.values)


def test_what_is_worse_on_held_out_pictures_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = residual_net()
    feeds = pictures(graph, 20)
    plain = quantize(graph, feeds, recipe="fast")

    def trained(lost: bool) -> None:
        broken = {n: replace(w, values=w.values // 2) for n, w in plain.recipe.weights.items()}
        done = Trained(replace(plain.recipe, weights=broken), 7, True, lost)
        monkeypatch.setattr(guarded, "distil", lambda *_, **__: done)

    for lost, said in ((False, "training brought nothing on 4 pictures"), (True, "came apart")):
        trained(lost)
        kept = quantize(graph, feeds, recipe="fast", minutes=1)
        assert said in kept.recipe.notes["training"]
        for name, weights in plain.recipe.weights.items():
            assert np.array_equal(kept.recipe.weights[name].values, weights.values)


def test_what_came_apart_is_tried_again_in_smaller_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, paces = residual_net(), list[float]()
    feeds = pictures(graph, 20)

    def distils(graph: Graph, recipe: Recipe, *_: object, pace: float, **__: object) -> Trained:
        paces.append(pace)
        better = {n: replace(w, float_bias=w.float_bias + 0) for n, w in recipe.weights.items()}
        return Trained(replace(recipe, weights=better), 5, True, lost=pace == 1)

    monkeypatch.setattr(guarded, "distil", distils)
    kept = quantize(graph, feeds, recipe="fast", minutes=1)
    assert paces == [1.0, 0.1]
    assert "training brought nothing on 4 pictures" in kept.recipe.notes["training"]


@pytest.mark.parametrize(("later", "lost"), [(1.5, False), (3.0, True)])
def test_a_step_of_quiet_views_is_not_what_later_ones_are_held_against(
    later: float, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = residual_net()
    feeds = pictures(graph, 12)
    plain = quantize(graph, feeds, recipe="fast")
    first, made = list[float](), iter([0.1, *[later] * 29])

    def descends(self: _Training, _: object) -> float:
        first.extend([] if first else [self._at_first()])
        return next(made) * first[0]

    monkeypatch.setattr(_Training, "_descend", descends)
    assert distil(graph, plain.recipe, feeds, minutes=10, steps=30, pace=0.0).lost == lost


def test_what_pytorch_is_not_told_is_not_trained() -> None:
    net = NetBuilder()
    deep = net.add("Elu", [net.conv("input", 8)], (1, 8, 16, 16))
    graph = net.head(deep)
    assert "Elu" in (why_not(graph) or "")
    done = quantize(graph, pictures(graph, 12), recipe="fast", minutes=1)
    assert done.recipe.notes["training"].startswith("not trained: ")
    few = quantize(residual_net(), pictures(residual_net(), 3), recipe="fast", minutes=1)
    assert "too few pictures" in few.recipe.notes["training"]


def test_views_are_pixels_of_the_pictures_range_and_repeat() -> None:
    graph = residual_net()
    feeds = pictures(graph, 6)
    first, second = (views(graph, feeds, 32, np.random.default_rng(3)) for _ in range(2))
    places = np.arange(32)
    made, again = first.pick(places)["input"], second.pick(places)["input"]
    assert torch.equal(made, again)
    assert made.shape == (32, *graph.shape("input")[1:])
    whole = np.concatenate([f["input"] for f in feeds])
    for channel in range(whole.shape[1]):
        low, high = whole[:, channel].min(), whole[:, channel].max()
        pixels = (made[:, channel].numpy() - low) / (high - low) * 255
        np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-2)
        assert 0 <= np.rint(pixels).min() <= np.rint(pixels).max() <= 255


def test_best_trains_where_pytorch_is_and_says_so_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def minutes(**given: object) -> float:
        return ExportOptions("net.onnx", precision="int8", **given).training_minutes  # type: ignore[arg-type]

    assert minutes(recipe="best") > 0
    assert minutes(recipe="best", minutes=0.0) == minutes(recipe="std") == 0
    assert minutes(recipe="std", minutes=2.0) == 2.0
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("edgeconv.export.options.find_spec", lambda name: None)
    assert minutes(recipe="best") == 0
    with pytest.raises(MissingDependencyError, match=r"edgeconv\[torch\]"):
        minutes(recipe="best", minutes=2.0)


def test_an_export_trains_an_onnx_file_and_refuses_nonsense(tmp_path: Path) -> None:
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    graph = residual_net()
    (tmp_path / "net.onnx").write_bytes(save_model(to_onnx(graph)))
    np.savez(
        tmp_path / "calib.npz", input=np.concatenate([f["input"] for f in pictures(graph, 20)])
    )
    words = f"export {tmp_path}/net.onnx --calib {tmp_path}/calib.npz --output {tmp_path}/out --allow-poor-calibration"
    run = CliRunner().invoke(
        main, [*words.split(), "--int8", "--recipe", "fast", "--minutes", "0.01"]
    )
    assert "steps" in run.output, run.output
    for more, said in (
        (["--int8", "--minutes", "-1"], "--minutes is how long"),
        (["--minutes", "1"], "needs --int8"),
        (["--int8", "--accelerator", "cuda"], "give --recipe best or --minutes"),
        (["--int8", "--accelerator", "tpu"], "'tpu' is not one of"),
    ):
        refused = CliRunner().invoke(main, [*words.split(), *more])
        assert refused.exit_code == 2
        assert said in refused.output
