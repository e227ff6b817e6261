"""One choice of pictures in one place: the same ones for every target, command and number."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.feeds import mixed
from edgeconv.export.reference import Reference
from edgeconv.export.verify import Expected, expect
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import Job, run_pictures
from edgeconv.parity.data import Request, reference_outputs
from edgeconv.parity.matrix import Samples, Settings, job_for, judge
from edgeconv.parity.rows import common, pair_of
from edgeconv.spread import places, spread, spread_rows
from edgeconv.tensors import TensorSpec

VERIFIED = "a" * 64


@pytest.mark.parametrize("batch", [1, 3])
def test_a_file_that_an_export_judged_on_some_pictures_is_run_on_those(batch: int) -> None:
    """The rows of an export's feeds and of parity's child are the same, whatever the batch."""
    rows = np.arange(40 * batch, dtype=np.float32)[:, None]
    feeds = [{"x": rows[i * batch : (i + 1) * batch]} for i in range(40)]
    few = Expected(feeds, {"y": rows}, None).spread(12)
    spec = TensorSpec("x", (batch, 1), "float32", "other")
    gives = TensorSpec("y", (batch, 1), "float32", "other")
    runner = SimpleNamespace(inputs=[spec], outputs=[gives], infer=lambda fed: {"y": fed["x"]})
    job = Job(Path("a.mlpackage"), "mil-reference", {}, Path("out.npz"), count=few.count)
    made, _, chosen = run_pictures(runner, job, {"x": rows})
    assert np.array_equal(made["y"], few.outputs["y"])
    assert chosen == spread_rows(40 * batch, batch, 12).tolist()
    assert [int(feed["x"][0, 0]) // batch for feed in few.feeds] == places(40, 12)


def test_outputs_too_large_to_keep_are_of_pictures_from_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeconv.export.verify.MAX_BYTES", 10 * 4)
    feeds = [{"x": np.full((1, 1), i, np.float32)} for i in range(30)]
    outputs = (TensorSpec("y", (1, 1)),)
    runner = SimpleNamespace(outputs=outputs, infer=lambda feed: {"y": feed["x"]})
    reference = Reference(cast(Any, runner), None, None, softmax=False)
    found = expect(reference, feeds, list(range(30)), lambda _: None)
    assert found.outputs["y"].ravel().tolist() == spread(range(30), 10)
    assert found.truth is not None
    assert found.truth.tolist() == spread(range(30), 10)


def test_a_run_of_some_pictures_is_compared_on_those() -> None:
    """Sorted pictures: on the first ten the file is perfect, over all of them it is not."""
    wanted = np.arange(200, dtype=np.float32).reshape(100, 2)
    reference = Outputs({"y": wanted})
    rows = places(100, 10)
    got = wanted[rows] + np.array(rows, np.float32)[:, None]
    about = {"stage": "fp32", "label": "a", "rows": rows}
    samples = Samples({"x": np.zeros((100, 1))}, tuple(map(str, range(100))))
    matrix = judge([("a", Outputs({"y": got}, about), about)], reference, samples, Settings())
    (row,) = matrix.rows
    assert row.verdict is not None
    assert row.verdict.figures["y"]["max_abs_error"] == 90
    pair = pair_of(reference, Outputs({"y": got}, about))
    assert pair.pictures.tolist() == rows
    assert pair.of(11) is None
    assert pair.of(20) is not None
    other = Outputs({"y": got[::-1]}, {"rows": rows[::-1]})
    shared, (first, second) = common(Outputs({"y": got}, about), other)
    assert shared.tolist() == rows
    assert np.array_equal(first["y"], second["y"])
    with pytest.raises(EdgeconvError, match="names 10 samples, it has 9"):
        common(reference, Outputs({"y": got[:9]}, {"rows": rows}))


@pytest.mark.parametrize(("pictures", "count"), [(VERIFIED, 12), ("b" * 64, None)])
def test_only_an_exports_own_pictures_are_counted_as_it_did(
    pictures: str, count: int | None
) -> None:
    about = {"verification": {"pictures": 12}, "evidence": {"files": {"verify.npz": pictures}}}
    artifact = Artifact(Path("a.onnx"), {**about, "inputs": [], "outputs": []})
    cell = Cell("a", "int8", artifact.path, "onnxruntime", artifact=artifact)
    samples = Samples({"x": np.zeros((40, 1))}, exported=VERIFIED)
    job = job_for(cell, {}, samples, Settings(), Path("out.npz"))
    assert job.count == count


def test_stored_outputs_are_of_the_pictures_that_could_be_read(tmp_path: Path) -> None:
    """Of ten pictures the fourth is damaged: its row of the outputs is left out, not the last."""
    wanted = np.arange(10, dtype=np.float32)[:, None]
    np.savez(tmp_path / "out.npz", y=wanted)
    kept = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    samples = Samples({"x": np.zeros((9, 1))}, source="photos", rows=kept, of=10)
    request = Request(reference=str(tmp_path / "out.npz"))
    found = reference_outputs(request, None, samples)
    assert found.arrays["y"].ravel().tolist() == kept
    np.savez(tmp_path / "out.npz", y=wanted[:7])
    with pytest.raises(EdgeconvError, match="y holds 7 rows, and photos 10 samples"):
        reference_outputs(request, None, samples)


def test_the_samples_of_a_batch_are_different_ones() -> None:
    """A file that swaps its batch, or computes its first sample for all, would give the same for one sample repeated.

    None is twice among the rows: intervals count them.
    """
    feeds = [{"x": np.full((3, 2), i, np.float32), "k": np.array(7, np.float32)} for i in range(8)]
    batch = mixed(feeds)
    assert [feed["x"][:, 0].tolist() for feed in batch] == [[0, 1, 2], [3, 4, 5]]
    assert [feed["x"][:, 0].tolist() for feed in mixed(feeds[:2])] == [[0, 1, 0]]
    assert batch[0]["k"] == 7
    outputs = (TensorSpec("y", (3, 2)),)
    runner = SimpleNamespace(outputs=outputs, infer=lambda feed: {"y": feed["x"]})
    reference = Reference(cast(Any, runner), None, None, softmax=False)
    found = expect(reference, batch, list(range(10, 18)), lambda _: None)
    assert found.truth is not None
    assert np.array_equal(found.truth - 10, found.outputs["y"][:, 0])
    assert list(found.samples) == list(range(6))
    assert mixed(feeds[:1])[0]["x"].tolist() == feeds[0]["x"].tolist()
    whole = [{"x": np.arange(6, dtype=np.float32).reshape(3, 2) + i} for i in range(5)]
    assert mixed(whole) is whole
