"""Sessions, threads, contests and checkpoints: what they are told and what they decide, with stand-ins for what is dear."""

import errno
import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_kit import graph_of
from quant_nets import NetBuilder

from edgeconv import ahead as ahead_of
from edgeconv.artifact import (
    Artifact,
    Preprocessing,
    _changed,
    manifest_path,
    preprocessing_from_json,
    spec_from_json,
    spec_to_json,
)
from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.integer.unrounded import in_float, keeps_unrounded
from edgeconv.export.passes.finite_masks import MASKED
from edgeconv.export.quant import blas, check, explain, finer, float_run, noise, sessions
from edgeconv.export.quant.candidates import CORRECTED, EQUALIZED, PLAIN, RECIPES, Candidate
from edgeconv.export.quant.contest import Contest, _Entry
from edgeconv.export.quant.copies import Chain
from edgeconv.export.quant.gather import Gatherer, TensorStats
from edgeconv.export.quant.judge import Score
from edgeconv.export.quant.observe import Observation, _Peaks
from edgeconv.export.quant.task import Quantized, Task
from edgeconv.files import sha256
from edgeconv.recipe import FROM_FILE, Activation, Recipe, Weights
from edgeconv.tensors import Quantization, TensorSpec

UNIT = Activation(0.5, -28, -50.0, 77.5)
BARE = Recipe("r", "asymmetric", {}, {})


def test_a_session_is_quiet_and_has_the_threads_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Any] = []

    def options() -> Any:
        entries: dict[str, str] = {}
        return SimpleNamespace(entries=entries, add_session_config_entry=entries.__setitem__)

    def start(data: bytes, how: Any, providers: list[str]) -> str:
        opened.append(how)
        if data == b"breaks" and how.graph_optimization_level == "all":
            raise RuntimeError("optimizer")
        if data == b"never":
            raise RuntimeError("never")
        return f"session {providers}"

    level = SimpleNamespace(ORT_ENABLE_ALL="all", ORT_DISABLE_ALL="none")
    runtime = SimpleNamespace(
        SessionOptions=options, GraphOptimizationLevel=level, InferenceSession=start
    )
    monkeypatch.setattr(sessions, "require", lambda *_: runtime)

    def model(data: bytes) -> Any:
        return SimpleNamespace(SerializeToString=lambda: data)

    assert sessions.session(model(b"fine")) == "session ['CPUExecutionProvider']"
    (how,) = opened
    assert (
        how.intra_op_num_threads,
        how.inter_op_num_threads,
        how.log_severity_level,
        how.graph_optimization_level,
    ) == (1, 1, 3, "all")
    assert how.entries == {"session.intra_op.allow_spinning": "0"}
    sessions.session(model(b"fine"), threads=3, optimize=False, integers=False)
    assert (opened[1].intra_op_num_threads, opened[1].graph_optimization_level) == (3, "none")
    assert opened[1].entries == {
        "session.intra_op.allow_spinning": "0",
        "session.disable_quant_qdq": "1",
    }
    sessions.session(model(b"breaks"), threads=2)
    assert [(each.graph_optimization_level, each.intra_op_num_threads) for each in opened[2:]] == [
        ("all", 2),
        ("none", 2),
    ]
    for optimize, tries in ((True, 2), (False, 1)):
        opened.clear()
        with pytest.raises(RuntimeError, match="never"):
            sessions.session(model(b"never"), optimize=optimize)
        assert len(opened) == tries


@pytest.mark.parametrize(
    ("text", "exact"),
    [("flags: avx512_vnni", True), ("Features: asimd", True), ("flags: avx2", False), ("", False)],
)
def test_kernels_that_do_not_saturate_are_known_by_the_processor(
    text: str, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "cpuinfo", lambda: text)
    assert sessions.integer_kernels_are_exact.__wrapped__() is exact


def test_the_openblas_of_numpys_wheel_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "np", SimpleNamespace(__file__=str(tmp_path / "numpy/__init__.py")))
    found = blas._functions.__wrapped__
    assert found() is None
    libraries: dict[str, Any] = {
        "a_openblas.so": None, "b_openblas.so": SimpleNamespace(openblas_set_num_threads="set alone"),
        "c_openblas.so": SimpleNamespace(openblas_set_num_threads="set", openblas_get_num_threads="get", openblas_set_num_threads64_="s64", openblas_get_num_threads64_="g64"),
        "d_openblas.so": SimpleNamespace(scipy_openblas_set_num_threads64_="last", scipy_openblas_get_num_threads64_="last"),
    }  # fmt: skip

    def load(name: str) -> Any:
        if (library := libraries[Path(name).name]) is None:
            raise OSError
        return library

    monkeypatch.setattr("ctypes.CDLL", load)
    for folder in ("numpy.libs", "numpy/.dylibs"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a_openblas.so", "b_openblas.so"):
        (tmp_path / "numpy.libs" / name).touch()
    assert found() is None
    (tmp_path / "numpy/.dylibs/c_openblas.so").touch()
    assert found() == ("s64", "g64")
    (tmp_path / "numpy.libs/d_openblas.so").touch()
    assert found() == ("last", "last")
    set_to: list[int] = []
    monkeypatch.setattr(blas, "_functions", lambda: (set_to.append, lambda: 7))
    with blas.one_blas_thread():
        assert set_to == [1]
    assert set_to == [1, 7]
    monkeypatch.setattr(blas, "_functions", lambda: None)
    with blas.one_blas_thread():
        pass
    assert set_to == [1, 7]


@pytest.mark.parametrize(
    ("threads", "chunk", "ahead", "asked", "sizes"),
    [(4, 64, 200, (1, 3), [2, 2, 1]), (4, 64, 130, (2, 2), [2, 2, 1]), (1, 64, 9999, (1, 0), [2, 2, 1]), (4, 9999, 9999, (1, 0), [5]), (4, 1, 60, (4, 1), [1] * 5), (4, 64, 1, (4, 0), [2, 2, 1])],
)  # fmt: skip
def test_chunks_of_the_float_run_share_its_threads(
    threads: int,
    chunk: int,
    ahead: int,
    asked: tuple[int, int],
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 32 bytes a picture: so many chunks ahead as fit, and of the threads what each has."""
    graph = graph_of("(float[1,8] x) => (float[1,8] y) { y = Neg(x) }")
    told: list[int] = []
    session, in_order = sessions.session, ahead_of.in_order

    def opened(model: Any, threads: int) -> Any:
        told.append(threads)
        return session(model, threads=threads)

    def ordered(run: Any, parts: Any, count: int) -> Any:
        told.append(count)
        return in_order(run, parts, count)

    for name, value in (
        ("session", opened),
        ("in_order", ordered),
        ("CHUNK_BYTES", chunk),
        ("AHEAD_BYTES", ahead),
    ):
        monkeypatch.setattr(float_run, name, value)
    feeds = [{"x": np.full((1, 8), i, np.float32)} for i in range(5)]
    made = [
        (count, made["y"].copy())
        for count, made in float_run.run_float(graph, ["x"], feeds, threads)
    ]
    assert [count for count, _ in made] == sizes
    assert tuple(told) == asked
    assert np.concatenate([each for _, each in made])[:, 0].tolist() == [0, -1, -2, -3, -4]


def test_chunks_hold_32_pictures_at_most_and_nets_that_mix_them_one() -> None:
    feeds = [{"x": np.full((1, 8), i, np.float32)} for i in range(40)]
    graph = graph_of("(float[1,8] x) => (float[1,8] y) { y = Neg(x) }")
    assert [count for count, _ in float_run.run_float(graph, [], feeds, 1)] == [32, 8]
    mixed = graph_of("(float[1,8] x) => (float[8,1] y) { y = Transpose<perm=[1,0]>(x) }")
    found = list(float_run.run_float(mixed, ["x"], feeds[:2], 1))
    assert [(count, made["y"].shape, made["x"].shape) for count, made in found] == [
        (1, (1, 8, 1), (1, 8))
    ] * 2
    planes = graph_of("(float[1,2,3,3] x) => (float[1,2,3,3] y) { t = Relu(x) y = Neg(t) }")
    other, names = float_run.with_highest(planes, ["t"])
    assert (names, other.outputs, other.shape("t.highest"), planes.outputs) == (
        {"t.highest": "t"},
        ["y", "t.highest"],
        (1, 2, 1, 1),
        ["y"],
    )
    assert (other.nodes[-1].op, other.nodes[-1].inputs) == ("GlobalMaxPool", ["t"])


def test_samples_are_spread_over_a_tensor() -> None:
    one = Gatherer("t", (1, 2, 50), 10, (), 3)
    assert len(one.places) == 10
    assert (one.places >= np.arange(10) * 10).all()
    assert (one.places < np.arange(1, 11) * 10).all()
    assert Gatherer("t", (1, 2, 5), 10, (), 3).places.tolist() == list(range(10))
    assert Gatherer("t", (1, 2, 5), 9, (), 3).places.max() <= 9
    for start in (0, 2, 4):
        one.take(
            np.full((2, 2, 50), start, np.float32) + np.arange(2, dtype=np.float32).reshape(2, 1, 1)
        )
    assert one.high[:, 0].tolist() == [3.0, 4.0, 5.0]  # rows of every third picture
    assert one.low[:, 0].tolist() == [0.0, 1.0, 2.0]
    one.take_extremes(np.full((1, 2, 1), 99, np.float32))
    assert one.high[:, 1].tolist() == [99.0, 4.0, 5.0]
    assert one.stats().channel.tolist() == [0] * 5 + [1] * 5
    assert one.stats().sample.shape == (6, 10)
    summed = Gatherer("t", (1, 2), 10, (5, 2), 9)
    summed.take(np.ones((3, 2), np.float32))
    summed.take(np.ones((4, 2), np.float32))
    assert {count: total.tolist() for count, total in summed.totals.items()} == {
        2: [[2.0, 2.0]],
        5: [[5.0, 5.0]],
    }
    assert summed.total.tolist() == [5.0, 5.0]
    assert list(Gatherer("t", (1, 2), 10, (2, 5), 9)._parts(9)) == [(0, 2), (2, 5)]
    for bad in (np.nan, np.inf):
        with pytest.raises(EdgeconvError, match="a value that is not finite in t"):
            one.take(np.full((1, 2, 50), bad, np.float32))


def test_rows_that_are_masked_throughout_have_no_peak() -> None:
    graph = graph_of("(float[1,2,2] x) => (float[1,2,2] y) { y = Softmax<axis=1>(x) }")
    peaks = _Peaks(graph, ["x"])
    assert peaks.axes == {"x": -2}
    assert _Peaks(graph, []).axes == {}
    low = float(MASKED)
    peaks.take({"x": np.array([[[3.0, 0.75 * low], [1.0, low]]], np.float32)})
    assert peaks.found == {"x": 3.0}
    peaks.take({"x": np.array([[[2.0, 0.25 * low], [1.0, low]]], np.float32)})
    assert peaks.found == {"x": np.float32(0.25 * low)}
    peaks.take({"x": np.array([[[9.0, 9.0], [1.0, low]]], np.float32)})
    assert peaks.found == {"x": np.float32(0.25 * low)}


def deep() -> tuple[Graph, Chain]:
    net = NetBuilder((1, 3, 4, 4))
    graph = net.head(net.conv(net.conv(net.conv("input", 2, kernel=1), 2, group=2), 4, kernel=1))
    first, second, reader = graph.of("Conv")
    return graph, Chain((first, second), reader)


def test_noise_of_a_chain_goes_through_its_layers() -> None:
    graph, chain = deep()
    first, second = chain.makers
    held = {
        first.output: Activation(1.0, 0, -128.0, 127.0),
        second.output: Activation(2.0, 0, -256.0, 254.0),
    }
    places = np.array([0, 0])
    sample = np.array([[0.25, 0.5], [0.25, 1.5]], np.float32)
    ends = np.zeros((1, 2), np.float32)
    seen = Observation(2, {name: TensorStats(ends, ends, sample, places, places) for name in held})
    recipe = replace(BARE, activations=held)
    error = [(0.25**2 * 2 + 0.5**2 * 2) / 4, 0.0]  # the second channel was not sampled
    assert noise.rounding(seen, first.output, held[first.output]).tolist() == pytest.approx(error)
    twice = [(0.25**2 * 2 + 0.5**2 * 2) / 4, 0.0]
    assert noise.rounding(seen, second.output, held[second.output]).tolist() == pytest.approx(twice)
    own = (graph.constants[second.inputs[1]].astype(float) ** 2).reshape(2, -1).sum(axis=1)
    power = (graph.constants[chain.reader.inputs[1]].astype(float) ** 2)[:, :, 0, 0].sum(axis=0)
    assert noise._at_reader(graph, recipe, seen, chain, 0).tolist() == pytest.approx(
        (np.array(error) * own * power).tolist()
    )
    assert noise._at_reader(graph, recipe, seen, chain, 1).tolist() == pytest.approx(
        (np.array(twice) * power).tolist()
    )
    assert noise.noise_notes({}) == {}


def test_noise_of_a_tensor_is_that_of_its_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of("(float[1,2] x) => (float[1,2] y) { t = Relu(x) y = Relu(t) }")
    values = np.array([[3.25, 4.25], [1.25, 2.25]], np.float32)
    recipe = replace(BARE, activations=dict.fromkeys("xty", UNIT))
    feeds = [{"x": row[None]} for row in values]
    found = noise.noise_of(graph, recipe, ["t"], feeds, {"y": values[:, None]}, 1)
    flat = values - values.mean(axis=1, keepdims=True)
    rounded = np.rint(values / 0.5) * 0.5
    shares = ((rounded - rounded.mean(axis=1, keepdims=True) - flat) ** 2).sum(axis=1) / (
        flat**2
    ).sum(axis=1).mean()
    assert found == pytest.approx(np.exp(np.log(np.maximum(shares, 1e-12)).mean()))
    monkeypatch.setattr(noise, "find_spec", lambda name: None)
    assert noise.backward_map(graph, recipe, feeds) is None
    from edgeconv.export.twin import net as twin_net
    from edgeconv.export.twin import noise as twin_noise

    asked: list[Any] = []
    monkeypatch.setattr(noise, "find_spec", lambda name: name)

    def noise_map(one: Graph, other: Recipe, few: Any) -> Any:
        asked.append((one, other, len(few)))
        return {}

    monkeypatch.setattr(twin_noise, "noise_map", noise_map)
    for reason, count in ((None, 1), ("no gradient", 1)):
        monkeypatch.setattr(twin_net, "why_not", lambda graph, reason=reason: reason)
        assert (noise.backward_map(graph, recipe, feeds * 20) is None) is (reason is not None)
        assert len(asked) == count
    assert asked == [(graph, recipe, 24)]

    def mapped(one: Graph, other: Recipe, few: Any) -> Any:
        assert (one, other, few) == (graph, recipe, feeds)
        return {"t": np.ones(2)}

    monkeypatch.setattr(noise, "backward_map", mapped)
    nothing: Any = None
    assert list(noise.noise_shares(graph, recipe, nothing, feeds, {}, 1)) == ["t"]


def test_copies_that_bring_as_little_as_is_worth_nothing_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task: Any = SimpleNamespace(
        pictures=[0] * 3, learnt=1, threads=1, seen=SimpleNamespace(outputs={})
    )
    made: Any = SimpleNamespace(graph="g", recipe=BARE)
    seen: Any = None
    shares = {"t": np.array([0.0, 1.0])}

    def noise_of(graph: Any, recipe: Any, *rest: Any) -> Any:
        assert (graph, recipe) == ("g", BARE)
        return shares

    def plan(graph: Any, recipe: Any, found: Any, share: float) -> Any:
        assert (graph, recipe, found, share) == ("g", BARE, shares, 0.1)
        return {"t": (1, 2)}

    monkeypatch.setattr(finer, "noise_shares", noise_of)
    monkeypatch.setattr(finer, "plan", plan)
    monkeypatch.setattr(finer, "copied", lambda graph, recipe, chosen: ("copied", recipe))
    monkeypatch.setattr(finer, "run_recipe", lambda *_: {})
    monkeypatch.setattr(finer, "score", lambda *_: SimpleNamespace(noise=1.0))
    for gain, kept in ((0.1, False), (0.11, True), (-1.0, False)):
        monkeypatch.setattr(finer, "decibels", lambda before, after, gain=gain: gain)
        found = finer.with_copies(made, seen, task, 0.1)
        assert (found is not made) is kept
    monkeypatch.setattr(finer, "decibels", lambda before, after: 0.25)
    assert finer.with_copies(made, seen, task, 0.1).recipe.notes["copies"] == {
        "count": 1,
        "gain_db": 0.25,
        "said": "1 copies of noisy channels, 0.2 dB less noise",
    }
    monkeypatch.setattr(finer, "plan", lambda *_: {})
    assert finer.with_copies(made, seen, task, 0.1) is made
    real = Quantized(graph_of("(float[1] x) => (float[1] y) { y = Relu(x) }"), BARE)

    def backward(graph: Any, recipe: Any, pictures: Any) -> None:
        assert (graph, recipe, pictures) == (real.graph, BARE, [0] * 3)

    monkeypatch.setattr(finer, "backward_map", backward)
    assert finer.mapped(real, task) is real
    monkeypatch.setattr(finer, "backward_map", lambda *_: {"t": np.array([1.0, 3.0])})
    assert finer.mapped(real, task).recipe.notes["noise"]["t"]["worst_share"] == 0.75


def test_operators_in_float_are_those_without_integers_for_what_they_make() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y) { e = Exp(x) r = Relu(e) g = Gemm<transB=1>(r, w) y = Neg(g) }",
        w=np.ones((2, 2), np.float32),
    )
    exp, relu, gemm, _ = graph.nodes
    one = np.ones(2, np.float32)
    held = replace(
        BARE,
        activations=dict.fromkeys("xerg", UNIT),
        weights={gemm.name: Weights(np.ones((2, 2), np.int8), one, np.ones(2, np.int32), one)},
    )
    assert [in_float(held, node) for node in graph.nodes] == [True, False, False, True]
    assert in_float(replace(held, float_nodes=(relu.name,)), relu)
    assert in_float(replace(held, float_nodes=(gemm.name,)), gemm)
    less = replace(held, activations={"x": UNIT})
    assert [in_float(less, node) for node in (exp, relu, gemm)] == [True, True, False]
    assert keeps_unrounded(held)
    assert not keeps_unrounded(replace(held, name=FROM_FILE))


def contest_of(
    threads: int = 3, candidates: Any = RECIPES["fast"], scores: Any = None
) -> tuple[Contest, list[float]]:
    """Return a contest whose candidates have these scores by name and form."""
    graph = graph_of("(float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    told: list[float] = []
    task = Task(graph, Observation(9), [{}] * 6, 4, {}, {"n": "kept"}, threads, 127)
    contest = Contest(task, candidates, told.append)
    other: Any = contest

    def entry(fit: tuple[Candidate, Any]) -> _Entry:
        candidate, form = fit
        noise_ = scores[("free " if form == "zero-point-free" else "with ") + candidate.name]
        return _Entry(
            candidate,
            Quantized(graph, Recipe(candidate.name, form, {}, {})),
            Score(noise_, 0.5, 9.0, None),
        )

    other._entry = entry
    other._figures = lambda entry, tick: ({"layer": entry.candidate.name}, {"t": 1})
    other._free_bias = lambda entry, tick: {"c": entry.candidate.name}
    other._activations = lambda candidate, form: form
    return contest, told


def test_a_contest_takes_the_form_and_the_candidate_that_pictures_ask_for() -> None:
    scores = {
        "free min/max + bias": 1.0,
        "with min/max + bias": 0.9,
        "with min/max": 0.9,
        "free min/max": 2.0,
    }
    contest, told = contest_of(scores=scores)
    made = contest.run("fast", None)
    assert (made.recipe.form, made.recipe.name) == ("asymmetric", "fast")
    notes = made.recipe.notes
    assert (notes["picked"], notes["form"]) == (
        "min/max + bias",
        "zero points take 0.5 dB of the noise away",
    )
    assert notes["why"] == (
        "nothing came 0.3 dB closer to float, typically, on 6 pictures, 2 of them held out"
    )
    assert notes["pictures"] == {"observed": 9, "learnt": 4, "held_out": 2}
    assert (notes["float"], notes["layers"], notes["histograms"]) == (
        {"n": "kept"},
        {"layer": "min/max + bias"},
        {"t": 1},
    )
    assert [(row["candidate"], row["form"], row["noise"]) for row in notes["candidates"]] == [
        ("min/max + bias", "asymmetric", 0.9),
        ("min/max", "asymmetric", 0.9),
    ]
    assert made.recipe.free_bias == {"c": "min/max + bias"}
    assert [entry.made.recipe.form for entry in contest.free] == ["zero-point-free"]
    assert told[-1] == 1.0
    cheap, _ = contest_of(scores={**scores, "with min/max + bias": 0.99})
    made = cheap.run("fast", None)
    assert (made.recipe.form, made.recipe.notes["form"], cheap.free) == (
        "zero-point-free",
        "zero points are not needed",
        [],
    )
    asked, _ = contest_of(scores=scores)
    assert (asked.run("fast", "zero-point-free").recipe.notes["form"]) == "prescribed"
    same, _ = contest_of(scores=scores)
    alike: Any = same
    alike._activations = lambda candidate, form: "alike"
    assert same._form(None) == ("zero-point-free", "zero points are not needed", [])
    better, _ = contest_of(scores={**scores, "with min/max": 0.5})
    assert better.run("fast", "asymmetric").recipe.notes["picked"] == "min/max"


def test_a_late_candidate_is_tried_where_plain_rounding_comes_near() -> None:
    late = replace(CORRECTED, late=True)
    order = (late, PLAIN)
    contest, _ = contest_of(
        candidates=order, scores={"with min/max": 1.0, "with min/max + bias": 0.5}
    )
    contest.run("std", "asymmetric")
    assert len(contest.entries) == 2
    clip = replace(CORRECTED, name="clip", ranges="mse3")
    for plain, names in (
        (1.2, ["clip", "min/max + bias", "min/max"]),
        (1.3, ["clip", "min/max"]),
    ):  # 0.8 and 1.1 dB
        contest, _ = contest_of(
            candidates=(clip, late, PLAIN),
            scores={"with clip": 1.0, "with min/max": plain, "with min/max + bias": 1.005},
        )
        made = contest.run("std", "asymmetric")
        assert [entry.candidate.name for entry in contest.entries] == names
        assert made.recipe.notes["picked"] == (
            "min/max + bias" if plain == 1.2 else "clip"
        )  # unclipped, and as good


def test_a_contest_shares_its_threads_and_says_how_far_it_is() -> None:
    for threads, workers, each in ((1, 1, 1), (2, 2, 1), (5, 2, 2)):
        contest, _ = contest_of(threads)
        assert (contest._workers, contest._threads, contest._workspaces.qsize()) == (
            workers,
            each,
            workers,
        )
    contest, told = contest_of()
    contest._progress((CORRECTED, "asymmetric"), 0.5)
    contest._progress((PLAIN, "asymmetric"), 1.0)
    contest._progress((CORRECTED, "zero-point-free"), 1.0)
    assert told == [0.25, 0.75, 1.0]
    lone, _ = contest_of(candidates=(EQUALIZED, PLAIN))
    assert list(lone.candidates) == [PLAIN]  # nothing to equalize


def test_the_schema_of_a_recipe_has_the_ends_of_its_numbers() -> None:
    found = json.loads(explain.schema())["properties"]
    activation = found["activations"]["additionalProperties"]["properties"]
    assert found["edgeconv_recipe"] == {"const": 1}
    assert activation["scale"] == {"type": "number", "exclusiveMinimum": 0}
    assert activation["zero_point"] == {"type": "integer", "minimum": -128, "maximum": 127}
    lines = explain.schema().splitlines()
    assert (lines[1][:2], explain.schema()[-1]) == (' "', "\n")


def test_a_foreign_model_is_opened_elsewhere_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    from edgeconv.export.hub import simplify
    from edgeconv.export.hub.onnx_io import to_onnx

    path = tmp_path / "net.onnx"
    onnx.save(to_onnx(graph_of("(float[1,2] x) => (float[1,2] y) { y = Relu(x) }")), path)
    seen: list[Path] = []
    monkeypatch.setattr(simplify, "admit", seen.append)
    assert check.check_against(replace(BARE, activations={"x": UNIT}), path) == []
    assert seen == [path]
    assert check.check_against(replace(BARE, activations={"z": UNIT, "q": UNIT}), path) == [
        "the model has no tensor z",
        "the model has no tensor q",
    ]
    assert check.check_against(replace(BARE, copies={"x": (2,)}), path) == [
        "the recipe copies channels of x, which this net cannot"
    ]


def test_a_recipe_fits_the_model_that_its_export_gave_a_softmax_or_pixels(tmp_path: Path) -> None:
    import onnx

    from edgeconv.export.hub.onnx_io import to_onnx

    path = tmp_path / "net.onnx"
    text = "(float[1,3,4,4] x) => (float[1,48] y) { y = Flatten <axis = 1> (x) }"
    onnx.save(to_onnx(graph_of(text)), path)
    for made in (
        {"y_scores": UNIT},
        {"x_normalized": UNIT, "y": UNIT},
        {"x_normalized": UNIT, "y_scores": UNIT},
    ):
        assert check.check_against(replace(BARE, activations=made), path) == []


def test_weights_are_looked_for_inside_of_eight_dicts() -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.models import checkpoint

    state = {"a": torch.ones(1)}

    def nested(depth: int) -> Any:
        return state if not depth else {"epoch": 3, "model": nested(depth - 1)}

    here = Path("w.pth")
    assert checkpoint._unwrap(state, here) == (state, None)
    assert checkpoint._unwrap(nested(2), here) == (state, "model.model")
    assert checkpoint._unwrap(nested(8), here) == (state, ".".join(["model"] * 8))
    assert checkpoint._unwrap(nested(9), here) == (
        {"epoch": 3, "model": state},
        ".".join(["model"] * 8),
    )
    both = {"state_dict": {"b": torch.ones(2)}, "ema": state}
    assert checkpoint._unwrap(both, here) == (state, "ema")
    assert checkpoint._unwrap({"epoch": 1, 2: 3}, here) == ({"epoch": 1, "2": 3}, None)
    with pytest.raises(EdgeconvError, match=r"w\.pth holds a list, not weights"):
        checkpoint._unwrap([], here)
    one = torch.ones(1)
    assert [
        checkpoint._is_state(each)
        for each in ({"a": one}, {"a": one, "b": 1}, {"a": one, "b": one, "c": 1}, {})
    ] == [True, False, True, False]
    assert checkpoint._strip({"module.net.a": 1, "module.net.b": 2}) == {"a": 1, "b": 2}
    assert checkpoint._strip({"_orig_mod.module.a": 1, "_orig_mod.b": 2}) == {"module.a": 1, "b": 2}
    assert checkpoint._strip({}) == {}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (pickle.UnpicklingError("Weights only load failed: GLOBAL os.system"), "holds more than tensors"), (pickle.UnpicklingError("GLOBAL os.system"), "is truncated"),
        (pickle.UnpicklingError("Weights only load failed"), "is truncated"), (OSError("seek"), "is truncated"), (OSError(errno.EINVAL, "seek"), "is truncated"),
        (OSError(errno.EACCES, "denied"), "cannot read .*: denied"), (RuntimeError("a TorchScript archive"), "is a TorchScript program"), (RuntimeError("other"), "is truncated"),
    ],
)  # fmt: skip
def test_what_torch_cannot_read_is_told_apart(
    raised: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.models import checkpoint

    def load(path: Path, **how: Any) -> Any:
        assert how == {"map_location": "cpu", "weights_only": True}
        raise raised

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(EdgeconvError, match=said):
        checkpoint._read_pickled(Path("w.pth"))


def test_tensors_of_a_checkpoint_are_dense_floats(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.models import checkpoint

    path = tmp_path / "w.pth"
    torch.save(
        {
            "net": {
                "module.a": torch.ones(2, dtype=torch.float16),
                "module.num_batches_tracked": torch.tensor(3),
                "module.b": torch.zeros(3, 2).T,
            }
        },
        path,
    )
    found = checkpoint.read_checkpoint(path)
    assert {name: (each.dtype, each.tolist()) for name, each in found.tensors.items()} == {
        "a": (torch.float32, [1.0, 1.0]), "b": (torch.float32, [[0.0] * 3] * 2),
    }  # fmt: skip
    assert (found.path, found.sha256, found.ordered, found.inside, found.described) == (
        path,
        sha256(path),
        True,
        "net",
        {},
    )
    whole: Any = {"a": torch.ones(4)[:4]}
    assert checkpoint._all_checked(path, whole)["a"].tolist() == [1.0] * 4
    for value, said in (
        (torch.ones(1).expand(9), r"says that it is \[9\], of which the file holds 4 bytes"), (torch.eye(3).to_sparse(), "is sparse_coo, not dense"), (torch.ones(2, device="meta"), "is meta, not dense"),
        (torch.ones(2, dtype=torch.int64), "is torch.int64, not floating point"), (torch.tensor([np.nan, np.inf]), "holds NaN: the training diverged"), (torch.tensor([np.inf]), "holds Inf: the training diverged"),
    ):  # fmt: skip
        with pytest.raises(EdgeconvError, match=said):
            checkpoint._all_checked(path, {"a": value})
    torch.save({"epoch": 3}, path)
    with pytest.raises(EdgeconvError, match=r"holds no tensors: save net\.state_dict\(\)"):
        checkpoint.read_checkpoint(path)


def test_a_safetensors_file_says_what_it_was_trained_as(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    from edgeconv.models.checkpoint import read_checkpoint

    path = tmp_path / "w.safetensors"
    told = {
        "net": {"source": "mobilenet_v2"}, "preprocessing": {"mean": [0.5], "std": [0.5], "crop": 0.9, "size": [8, 8], "embedded": False},
        "labels": ["a", "b"], "accuracy": {"top1": 70.0, "dataset": "d", "source": "s"},
    }  # fmt: skip
    for metadata, described in (
        (None, {}),
        ({"other": "x"}, {}),
        ({"edgeconv": json.dumps(told)}, told),
    ):
        safetensors.save_file({"a": torch.ones(2)}, path, metadata=metadata)
        found = read_checkpoint(path)
        assert (found.ordered, found.inside, found.described) == (False, None, described)
    safetensors.save_file({"a": torch.ones(2)}, path, metadata={"edgeconv": "{}"})
    with pytest.raises(
        EdgeconvError, match=r"what edgeconv says of itself in the file: net is missing"
    ):
        read_checkpoint(path)
    path.write_bytes(b"12345678")
    with pytest.raises(EdgeconvError, match="is truncated or not a safetensors file"):
        read_checkpoint(path)


def test_an_artifact_says_what_its_manifest_does(tmp_path: Path) -> None:
    spec = TensorSpec("x", (1, 8, 8, 3), "int8", "nhwc", Quantization(0.5, -3, 0.25))
    how = Preprocessing((0.5,), (0.25,), "letterbox", (8, 9), True, "bgr")
    manifest: dict[str, Any] = {
        "target": "tflite", "precision": "int8", "inputs": [spec_to_json(spec)], "outputs": [spec_to_json(TensorSpec("y", (1, 2)))],
        "preprocessing": how.to_json(), "labels": ["a"], "frozen_inputs": {"k": 1}, "nms": {"head": "ssd"},
    }  # fmt: skip
    made = Artifact(tmp_path / "a.tflite", manifest)
    assert (
        made.target,
        made.precision,
        made.layout,
        made.labels,
        made.nms,
        made.frozen_inputs,
    ) == ("tflite", "int8", "NHWC", ["a"], {"head": "ssd"}, {"k": 1})
    assert (made.inputs, made.preprocessing, made.real_outputs) == ((spec,), how, True)
    for keys, likely in (
        ({}, False),
        ({"softmax": True}, True),
        ({"probabilities": True}, True),
        ({"softmax": False, "probabilities": False}, False),
    ):
        assert Artifact(made.path, {**manifest, **keys}).probabilities is likely
    bare = Artifact(
        made.path,
        {
            **manifest,
            "preprocessing": None,
            "labels": None,
            "outputs": manifest["inputs"],
            "frozen_inputs": None,
            "nms": None,
        },
    )
    assert (bare.preprocessing, bare.labels, bare.real_outputs, bare.frozen_inputs, bare.nms) == (
        None,
        None,
        False,
        {},
        None,
    )
    data = how.to_json()
    assert (data["colour"], data["resize"], data["embedded"]) == (
        "BGR",
        "bilinear, antialiased, longer side, bars of 114",
        True,
    )
    plain = Preprocessing((0.5,), (0.5,), 0.9, (8, 8))
    assert (plain.embedded, plain.order, plain.to_json()["resize"]) == (
        False,
        "rgb",
        "bilinear, antialiased, shorter side",
    )
    assert preprocessing_from_json({**plain.to_json(), "colour": "RGB"}) == plain
    lean = {
        "name": "x",
        "shape": [1],
        "dtype": "int8",
        "layout": "other",
        "quantization": {"scale": 0.5, "zero_point": 3},
    }
    assert spec_from_json(lean).quantization == Quantization(0.5, 3, 0.0)
    assert manifest_path(Path("a/b.tflite")) == Path("a/b.tflite.json")


def test_the_file_of_a_model_that_has_changed_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "n.ncnn.param", tmp_path / "n.ncnn.bin"
    first.write_text("a")
    assert _changed(first, {}) == f"{first} has changed"
    second.write_text("b")
    sums = {file.name: sha256(file) for file in (first, second)}
    assert (
        _changed(first, {"files": {first.name: "x", second.name: sums[second.name]}})
        == f"{first} has changed"
    )
    assert (
        _changed(first, {"files": dict.fromkeys(sums, "x")}) == f"{first} and {second} have changed"
    )
    assert _changed(first, {}) == f"{first} or {second} has changed, or been renamed,"
    assert (
        _changed(first, {"files": {"other": "x"}})
        == f"{first} or {second} has changed, or been renamed,"
    )
    assert _changed(tmp_path, {}) == f"{tmp_path} has changed"


class Stand:
    """A contest that was held: what it was asked, and a recipe by the task."""

    held: list[Any] = []  # noqa: RUF012 - each test empties it

    def __init__(self, task: Any, candidates: Any, report: Any) -> None:
        self.task, self.report = task, report
        Stand.held.append((task, candidates))

    def run(self, recipe: str, form: Any) -> Quantized:
        Stand.held.append((recipe, form))
        self.report(0.0)
        self.report(1.0)
        return Quantized(PLAIN_NET, replace(BARE, name=str(self.task)))

    def seen(self, made: Quantized) -> str:
        return f"seen of {self.task}"


PLAIN_NET = graph_of("(float[1,2] x) => (float[1,2] y) { y = Relu(x) }")


@pytest.mark.parametrize(
    ("recipe", "after", "options", "picked", "told"),
    [
        ("std", 0.5, {}, "other", [0.3, 1.0]), ("std", 0.64, {}, "task", [0.3, 1.0]), ("best", 0.5, {}, "other", [0.3, 1.0]), ("fast", 0.5, {}, "task", [0.3, 1.0]),
        ("fast", 0.5, {"copies": 0.1}, "task copies of seen of task mapped", [0.3, 1.0]), ("fast", 0.5, {"minutes": 2.0}, "task trained 2.0 cpu mapped", [0.3, 0.5, 0.5, 1.0]),
    ],
)  # fmt: skip
def test_what_a_contest_found_is_made_finer(
    recipe: str,
    after: float,
    options: Any,
    picked: str,
    told: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An island in float has to bring 2 dB; of a noise of 1.0, what 0.63 leaves."""
    from edgeconv.export.quant import engine, islands
    from edgeconv.export.twin import guarded

    def named(made: Quantized, more: str) -> Quantized:
        return replace(made, recipe=replace(made.recipe, name=f"{made.recipe.name} {more}"))

    def train(
        made: Quantized, task: Any, minutes: float, accelerator: str, progress: Any
    ) -> Quantized:
        progress(0.0)
        progress(1.0)
        return named(made, f"trained {minutes} {accelerator}")

    monkeypatch.setattr(engine, "_observe", lambda *_: "task")
    monkeypatch.setattr(engine, "Contest", Stand)
    monkeypatch.setattr(
        islands,
        "noisy_island",
        lambda made, task, taken: ({}, 0.0) if taken else ({"n": "noisy"}, 0.01),
    )
    monkeypatch.setattr(islands, "in_float", lambda task, island, scale: "other")
    monkeypatch.setattr(
        islands,
        "picked_score",
        lambda recipe: {"noise": {"task": 1.0, "other": after}[recipe.name]},
    )
    monkeypatch.setattr(
        engine, "with_copies", lambda made, seen, task, share: named(made, f"copies of {seen}")
    )
    monkeypatch.setattr(engine, "mapped", lambda made, task: named(made, "mapped"))
    monkeypatch.setattr(guarded, "train", train)
    Stand.held.clear()
    parts: list[float] = []
    feeds = [{"x": np.zeros((1, 2), np.float32)}]
    outputs: Any = {"onnx": lambda graph, made: ("y",), "tflite": lambda graph, made: ()}
    made = engine.quantize(
        PLAIN_NET,
        feeds,
        recipe=recipe,
        form="asymmetric",
        progress=parts.append,
        float_outputs=outputs,
        **options,
    )
    assert made.recipe.name == picked
    assert made.recipe.float_outputs == {"onnx": ("y",)}
    assert parts == pytest.approx(told)
    assert Stand.held[:2] == [("task", RECIPES[recipe]), (recipe, "asymmetric")]
    assert Stand.held[2:] == (
        [] if recipe == "fast" else [("other", RECIPES[recipe]), (recipe, "asymmetric")]
    )


def test_a_net_is_observed_by_what_will_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv.export.quant import engine

    net = NetBuilder((1, 3, 4, 4))
    graph = net.head(net.conv("input", 4))
    conv, gemm = graph.of("Conv", "Gemm")
    asked: dict[str, Any] = {}

    def observe(graph: Graph, feeds: Any, **how: Any) -> Observation:
        asked.update(how, feeds=[feed["input"][0, 0, 0, 0] for feed in feeds])
        how["progress"](1.0)
        return Observation(len(feeds))

    monkeypatch.setattr(engine, "observe", observe)
    monkeypatch.setattr(engine, "kept_apart", lambda *_: {"a": "apart", "b": "apart"})
    monkeypatch.setattr(engine, "relative", lambda *_: {"b": "relative", "c": "relative"})
    monkeypatch.setattr(engine, "enclosed", lambda graph, floats: {"d": f"with {len(floats)}"})
    feeds = [{"input": np.full((1, 3, 4, 4), i, np.float32)} for i in range(11)]
    told: list[float] = []
    task = engine._observe(
        graph, feeds, {}, {"c": "kept", gemm.name: "kept"}, 2, 63, RECIPES["fast"], told.append
    )
    assert asked["feeds"] == [0, 1, 2, 3, 5, 6, 7, 8, 10, 4, 9]
    assert (asked["summed"], asked["counts"], asked["whole"], asked["threads"]) == (
        {"input"},
        {9},
        32,
        2,
    )
    assert asked["averaged"] == {"input": 1}
    assert told == [0.3]
    assert (task.learnt, task.threads, task.limit, len(task.pictures)) == (9, 2, 63, 11)
    assert task.floats == {
        "a": "apart",
        "b": "relative",
        "c": "kept",
        gemm.name: "kept",
        "d": "with 4",
    }
    engine._observe(graph, feeds, {}, {}, 2, 63, RECIPES["std"], told.append)
    assert asked["averaged"] == {"input": 1, gemm.inputs[0]: 1, conv.output: 1}
    monkeypatch.setattr(engine, "LIVE_BYTES", 1)
    few = engine._observe(graph, feeds * 9, {}, {}, 2, 63, RECIPES["fast"], told.append)
    assert (few.learnt, asked["whole"], len(few.pictures)) == (12, 32, 99)
    monkeypatch.setattr(engine, "LIVE_BYTES", 1 << 40)
    assert (
        engine._observe(graph, feeds * 12, {}, {}, 2, 63, RECIPES["fast"], told.append).learnt == 80
    )
    many = engine._observe(graph, feeds * 30, {}, {}, 2, 63, RECIPES["fast"], told.append)
    assert (many.learnt, len(many.pictures), len(asked["feeds"])) == (80, 280, 330)


def test_a_contests_parts_take_what_belongs_to_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv.export.quant import contest as contests

    contest, _ = contest_of()
    real: Any = contest
    for name in ("_free_bias", "_figures", "_activations", "_entry"):
        delattr(real, name)
    plain = Quantized(PLAIN_NET, BARE)
    contest._equalized = (PLAIN_NET, Observation(3))
    assert contest.seen(plain) is contest.task.seen
    assert (
        contest.seen(replace(plain, recipe=replace(BARE, equalized={"t": np.ones(1, np.float32)})))
        is contest._equalized[1]
    )
    one = np.ones(1, np.float32)
    own = PLAIN_NET.nodes[0].name
    weights = {own: Weights(np.ones((1, 1), np.int8), one, np.ones(1, np.int32), 3 * one)}
    score = Score(1.0, 0.5, 9.0, None)
    held = replace(BARE, weights=weights, activations={"x": UNIT})
    made = _Entry(CORRECTED, replace(plain, recipe=held), score)
    free = replace(
        BARE, form="zero-point-free", weights={own: replace(weights[own], float_bias=5 * one)}
    )
    assert contest._for_free(replace(made, made=Quantized(PLAIN_NET, free)), lambda _: None) is free
    assert contest._free_bias(replace(made, candidate=PLAIN), lambda _: None) == {}
    contest.free = [_Entry(CORRECTED, Quantized(PLAIN_NET, free), score)]
    assert contest._free_bias(made, lambda _: None)[own].tolist() == [5.0]
    fitted: list[Any] = []

    def run_quantized(
        graph: Graph, recipe: Recipe, learnt: int, layers: Any, workspace: Any, **how: Any
    ) -> Recipe:
        fitted.append((recipe, learnt, layers, how))
        return replace(recipe, weights={own: replace(weights[own], float_bias=7 * one)})

    monkeypatch.setattr(contests, "run_quantized", run_quantized)
    contest.free = [_Entry(PLAIN, Quantized(PLAIN_NET, free), score)]
    assert contest._free_bias(made, lambda _: None)[own].tolist() == [7.0]
    recipe, learnt, layers, how = fitted[-1]
    assert (
        recipe.form,
        recipe.weights,
        learnt,
        layers.rounding,
        layers.held,
        how["refine"],
        how["threads"],
    ) == ("zero-point-free", {}, 4, "nearest", weights, None, 1)
    after = contest._layers(replace(CORRECTED, bias="after"), {}, "gptq", {})
    contest._fit(BARE, after, lambda _: None)
    assert fitted[-1][3]["refine"] == after.refined
    assert (after.limit, after.rounding, after.graph) == (127, "gptq", contest.task.graph)
    assert contest._workspaces.qsize() == 2


def test_held_out_pictures_are_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeconv.export.quant import contest as contests

    contest, _ = contest_of()
    real: Any = contest
    outputs: Any = {"y": np.arange(6.0).reshape(6, 1, 1)}
    pictures: Any = list(range(6))
    real.task = replace(contest.task, seen=Observation(6, outputs=outputs), pictures=pictures)
    ran: list[Any] = []

    def run_recipe(graph: Graph, recipe: Recipe, pictures: Any, threads: int, free: bool) -> str:
        ran.append((pictures, threads))
        return "got"

    monkeypatch.setattr(contests, "run_recipe", run_recipe)
    monkeypatch.setattr(contests, "score", lambda graph, wanted, got: [*wanted["y"].ravel(), got])
    for most, first in ((4, 2), (9, 0)):
        monkeypatch.setattr(contests, "judging", lambda graph, most=most: most)
        made: Any = contest._judged(PLAIN, PLAIN_NET, BARE)
        assert made.score == [*range(first, 6), "got"]
        assert ran[-1] == (list(range(first, 6)), 1)


def test_a_widened_net_gives_the_same() -> None:
    from graph_kit import run

    from edgeconv.export.quant.copies import chain_from, widen

    graph = graph_of(
        "(float[1,2,3,3] x) => (float[1,1,3,3] y) { a = Conv(x, w) y = Conv(a, v) }",
        w=np.array([[1.0, 2.0], [3.0, -1.0]], np.float32).reshape(2, 2, 1, 1), v=np.array([6.0, 3.0], np.float32).reshape(1, 2, 1, 1),
    )  # fmt: skip
    chain = chain_from(graph, "a")
    assert chain is not None
    assert [node.output for node in chain.makers] == ["a"]
    wide = widen(graph, {"a": (3, 2)})
    assert wide.constants[wide.nodes[1].inputs[1]].ravel().tolist() == [2.0, 2.0, 2.0, 1.5, 1.5]
    fed = {"x": np.random.default_rng(0).normal(size=(1, 2, 3, 3)).astype(np.float32)}
    assert run(wide, fed)[0] == pytest.approx(run(graph, fed)[0], abs=1e-4)


def test_an_island_is_tried_below_13_db_for_3_percent_of_the_net_and_a_quarter_of_the_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgeconv.export.quant import islands

    now: dict[str, float] = {}
    made: Any = Quantized(PLAIN_NET, BARE)
    task: Any = SimpleNamespace(
        pictures=[0] * 20, threads=1, seen=SimpleNamespace(outputs={"y": np.arange(20)})
    )

    def noise_of(
        graph: Any, recipe: Any, inner: Any, pictures: Any, wanted: Any, threads: int
    ) -> float:
        assert (graph, recipe, inner, len(pictures)) == (PLAIN_NET, BARE, ("t",), 8)
        assert wanted["y"].tolist() == list(range(12, 20))
        return float(now["noise"])

    def found(graph: Any, recipe: Any) -> Any:
        assert (graph, recipe) == (PLAIN_NET, BARE)
        return [islands.Island(("n",), ("t",), now["share"])]

    monkeypatch.setattr(islands, "noise_of", noise_of)
    monkeypatch.setattr(islands, "islands", found)
    for sqnr, share, heard, others, taken in (
        (12.9, 0.03, 0.25, 0.0, True), (13.0, 0.03, 0.25, 0.0, False), (12.9, 0.031, 0.25, 0.0, False), (12.9, 0.03, 0.249, 0.0, False),
        (13.0, 0.03, 0.25, 0.03, True), (13.0, 0.03, 0.25, 0.031, False),
    ):  # fmt: skip
        now |= {"share": share, "noise": heard}
        monkeypatch.setattr(
            islands, "picked_score", lambda recipe, db=sqnr: {"sqnr_db": db, "noise": 1.0}
        )
        nodes, part = islands.noisy_island(made, task, others)
        assert (list(nodes), part) == ((["n"], share) if taken else ([], 0.0))


def test_of_further_pictures_only_what_can_widen_a_range_is_looked_at() -> None:
    from edgeconv.export.quant import observe

    graph = graph_of(
        "(float[1,2,2,2] x) => (float[1,2,2,2] y) { a = Relu(x) b = Relu(a) c = Relu(b) d = Relu(c) v = GlobalMaxPool(d) y = Add(d, v) }"
    )
    for node, clamp in zip(
        graph.nodes, ((0.0, 6.0), (0.0, 6.0), (-1.0, 6.0), (1.0, 6.0)), strict=False
    ):
        node.clamp = clamp
    gatherers = {
        name: Gatherer(name, graph.shape(name), 9, (), 1) for name in ("x", "a", "b", "c", "d", "y")
    }
    for name, most in (("a", 6.0), ("b", 5.0), ("c", 5.0), ("d", 5.0)):
        gatherers[name].high[:] = most
    others, wider, tops = observe._of_the_others(graph, gatherers, _Peaks(graph, []))
    assert others == ["x", "c", "y"]  # the bound of a was met; c may be below 0
    assert tops == {"b.highest": "b", "d.highest": "d"}
    assert wider.outputs == ["y", "b.highest", "d.highest"]
