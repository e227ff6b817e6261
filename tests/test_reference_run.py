"""The float reference: the slow way until a quicker one has been shown to change nothing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeconv import export_model
from edgeconv.errors import EdgeconvError
from edgeconv.export.reference import FIRST, JOINED, SAME, Quick, Reference, open_reference
from edgeconv.parity.matrix import Samples
from edgeconv.parity.net import net_outputs

Feeds = Mapping[str, NDArray[Any]]
MANY = 2 * FIRST + 3
AGAIN = 1  # the first is asked for twice


def reference(quick: Callable[[int], Any], group: int = 1) -> tuple[Reference, list[str]]:
    """Return a reference that always gives 2.0, whose quicker way gives ``quick`` of the how manieth."""
    ways: list[str] = []

    def infer(feed: Feeds) -> dict[str, NDArray[Any]]:
        ways.append("slow")
        return {"y": np.array([2.0])}

    def run(feeds: Sequence[Feeds]) -> list[dict[str, NDArray[Any]]]:
        found = []
        for _ in feeds:
            ways.append("quick")
            found.append({"y": np.asarray(quick(ways.count("quick")))})
        return found

    runner: Any = SimpleNamespace(infer=infer, outputs=(SimpleNamespace(name="y"),))
    return Reference(runner, Quick(run, group), None, softmax=False), ways


def given(made: Reference, count: int) -> list[float]:
    return [float(outputs["y"].flat[0]) for outputs in made.infer([{}] * count)]


@pytest.mark.parametrize("group", [1, JOINED])
def test_the_quicker_way_goes_alone_once_it_gave_the_same_on_the_first(group: int) -> None:
    made, ways = reference(lambda n: [2.0 + SAME], group)
    got = given(made, MANY)
    assert (ways.count("slow"), ways.count("quick")) == (FIRST + AGAIN, MANY)
    assert got == pytest.approx([2.0] * FIRST + [2.0 + SAME] * (MANY - FIRST), abs=SAME / 10)


def fails(_: int) -> Any:
    raise EdgeconvError("takes one sample only")


@pytest.mark.parametrize(
    "quick",
    [
        lambda n: [2.0 if n < FIRST else 2.0 + 3 * SAME],
        lambda n: [[2.0]],
        lambda n: [np.nan],
        fails,
    ],
    ids=["differs a little, at last", "another shape", "not finite", "fails"],
)
def test_a_quicker_way_that_changes_something_is_never_taken(quick: Callable[[int], Any]) -> None:
    made, ways = reference(quick)
    assert given(made, MANY) == [2.0] * MANY
    assert ways.count("slow") == MANY + AGAIN
    assert ways.count("quick") <= FIRST


def test_few_samples_go_the_slow_way() -> None:
    made, ways = reference(lambda n: [2.0])
    assert given(made, 2 * FIRST) == [2.0] * 2 * FIRST
    assert "quick" not in ways


def opened(module: Any, shape: tuple[int, ...], mixed: bool = False) -> Any:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    nodes = [helper.make_node("Exp", ["x"], ["y"])]
    if mixed:
        nodes = [
            helper.make_node("ReduceMax", ["x"], ["most"]),
            helper.make_node("Min", ["x", "most"], ["y"]),
        ]
    graph = helper.make_graph(nodes, "g", [value], [gives])
    raw = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return open_reference(
        module=module,
        raw=raw,
        shapes={"x": shape},
        dtypes={},
        embedded=None,
        softmax=False,
        threads=1,
        count=MANY,
    )


def test_a_file_and_a_small_module_have_a_quicker_way() -> None:
    pytest.importorskip("torch")
    import torch

    class Exp(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def forward(self, x: Any) -> Any:
            self.sizes.append(len(x))
            return x.exp()

    class One(Exp):
        def forward(self, x: Any) -> Any:
            return super().forward(x).reshape(1, -1)[:, :3]

    rows = np.random.default_rng(3).normal(size=(MANY, 1, 3)).astype(np.float32)
    feeds = [{"x": row} for row in rows]
    joined, one = Exp(), One()
    for module in (None, joined, one):
        with opened(module, (1, 3)) as made:
            got = np.stack([outputs[made.runner.outputs[0].name] for outputs in made.infer(feeds)])
        np.testing.assert_allclose(got, np.exp(rows), rtol=1e-5)
    assert joined.sizes.count(JOINED) == MANY // JOINED
    assert set(one.sizes[-MANY + FIRST :]) == {1}
    with opened(Exp(), (1, 1 << 17)) as made:
        assert made.quick is None
    with opened(Exp(), (1, 3), mixed=True) as made:
        assert made.quick is None, "a maximum over all samples may differ on later ones alone"


def test_a_net_that_gives_another_output_each_time_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    import torch

    class Counts(torch.nn.Module):
        def __init__(self, step: float) -> None:
            super().__init__()
            self.layer, self.step, self.calls = torch.nn.Conv2d(3, 4, 3), step, 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return {"plain": self.layer(x), "told": self.layer(x) * (1 + self.step * self.calls)}

    def export(step: float, threads: int) -> Any:
        given: dict[str, Any] = {"input_shape": (1, 3, 8, 8), "targets": ("onnx",)}
        return export_model(Counts(step), output=tmp_path / f"{step}", threads=threads, **given)

    for threads in (1, 2):
        with pytest.raises(
            EdgeconvError, match=r"output told changes when the same sample is run again"
        ):
            export(0.1, threads)
    assert list(tmp_path.iterdir()) == []
    assert export(1e-9, 2)


def test_a_live_reference_that_does_not_repeat_itself_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import torch

    class Remembers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = torch.zeros(1)

        def forward(self, x: Any) -> Any:
            mean, self.before = x.mean() - self.before, x.mean()
            return x.flatten(1)[:, :4] + mean

    rows = np.random.default_rng(3).normal(size=(4, 1, 2, 2)).astype(np.float32)
    with pytest.raises(EdgeconvError, match=r"output output changes when"):
        net_outputs(Remembers(), None, None, Samples({"x": rows}), 1)
