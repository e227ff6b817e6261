"""Arrays and numbers of the core worked out by hand: metrics, half precision, weights, paddings, ranges."""

import math
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeconv import metrics
from edgeconv.adapt import adapt_inputs, adapt_outputs, feeds_for, match_names
from edgeconv.errors import EdgeconvError
from edgeconv.formats.mil_blobs import BlobFile
from edgeconv.formats.mil_types import DTYPES, TensorType
from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.judge.context import Context
from edgeconv.judge.measure import measure
from edgeconv.judge.outputs import Outputs
from edgeconv.judge.parts import find_parts
from edgeconv.judge.run import all_placed, as_rows, batches
from edgeconv.judge.scores import holds_scores
from edgeconv.judge.verdict import compare
from edgeconv.judge.whole import whole_kind
from edgeconv.levels import pack, unpack
from edgeconv.metrics.centred import dead_places, lost_channels, row_sqnr_db, variance_slack_db
from edgeconv.metrics.divergence import are_probabilities, log_softmax
from edgeconv.metrics.information import lost_bits
from edgeconv.metrics.pairs import PIECE, check_finite, pieces
from edgeconv.metrics.shares import lost_labels, lost_samples_low
from edgeconv.mil.half import round_to_half
from edgeconv.parity.facts import file_figures, noise_map
from edgeconv.parity.kept import stored_samples
from edgeconv.parity.rows import pair_of
from edgeconv.recipe import Activation, Weights, bias_integers, choose_scale, quantize_values
from edgeconv.tensors import Quantization, TensorSpec


@pytest.mark.parametrize(
    ("shape", "place", "row"),
    [((4,), 3, 3), ((4, 2), 5, 2), ((2, 3, 2), 11, 1), ((), 0, 0), ((3, PIECE), 2 * PIECE + 7, 2)],
)
@pytest.mark.parametrize(("value", "what"), [(math.nan, "NaN"), (-math.inf, "infinity")])
def test_what_is_not_finite_is_named_with_its_row(
    shape: tuple[int, ...], place: int, row: int, value: float, what: str
) -> None:
    values = np.zeros(shape, np.float32)
    check_finite("y", values)
    values.reshape(-1)[place] = value
    with pytest.raises(EdgeconvError, match=f"^output y holds {what}, first in row {row}$"):
        check_finite("y", values)


def test_pieces_hold_every_value_once() -> None:
    a = np.arange(PIECE + 3, dtype=np.float32).reshape(1, -1)
    got = list(pieces(a, a + 1))
    assert [len(piece) for piece, _ in got] == [PIECE, 3]
    assert np.array_equal(np.concatenate([piece for piece, _ in got]), a[0])
    assert np.array_equal(np.concatenate([other for _, other in got]), a[0] + 1)


def test_a_lost_label_is_one_that_the_promise_keeps() -> None:
    wanted = np.zeros((4, 40), int)
    wanted[:, :5] = 1
    wanted[:, 5:7] = 2  # eight places: too few to count
    gone = np.where(wanted == 1, 0, wanted)
    assert lost_labels(wanted, gone, None) == 1
    assert lost_labels(wanted, gone, gone) == 0
    assert lost_labels(wanted, gone, wanted) == 1
    one = np.zeros((4, 20), int)
    one[0, :12] = 1  # in one sample only
    assert lost_labels(one, np.zeros_like(one), None) == 0
    assert lost_samples_low(wanted, gone, None) == pytest.approx(metrics.wilson_interval(0, 4)[0])
    more = np.where(wanted == 1, 1, wanted)
    more[:, 7:12] = 1
    left = np.where(more == 1, 0, more)
    assert lost_samples_low(more, left, None) == pytest.approx(metrics.wilson_interval(4, 4)[0])
    assert lost_samples_low(more, left, left) == 0.0


def test_a_sum_over_pieces_is_the_sum() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(3, PIECE)) + 5.0
    other = wanted + 0.01 * rng.normal(size=wanted.shape)
    noise = np.square(other - wanted)
    assert row_sqnr_db(wanted, other) == pytest.approx(
        10 * np.log10(np.square(wanted).sum(axis=1) / noise.sum(axis=1))
    )
    signal = np.square(wanted - wanted.mean(axis=0)).sum() * 3 / 2
    assert metrics.sqnr_centred_db(wanted, other) == pytest.approx(
        10 * np.log10(signal / noise.sum())
    )
    assert metrics.sqnr_centred_db(wanted[:1], other[:1]) is None
    assert metrics.sqnr_centred_db(np.ones((5, 2)), np.ones((5, 2))) is None


@pytest.mark.parametrize(("count", "slack"), [(2, 22.9), (4, 9.3), (9, 4.7), (100, 1.1)])
def test_the_slack_of_few_variances_is_chi_squareds(count: int, slack: float) -> None:
    """Against 10 log10(k / chi2(0.05; k)) of tables, for one degree of freedom the floor of the approximation."""
    tables = {2: None, 4: 0.352, 9: 2.733, 100: 77.046}[count]
    exact = slack if tables is None else 10 * math.log10((count - 1) / tables)
    assert variance_slack_db(count) == pytest.approx(exact, abs=0.35 if count > 2 else 23.0)
    assert variance_slack_db(2) == pytest.approx(-30 * math.log10(0.03))


def test_channels_and_places_that_stand_still_are_counted() -> None:
    rng = np.random.default_rng(1)
    wanted = rng.normal(size=(40, 3, 5))
    still = wanted.copy()
    still[:, 1] = wanted[:, 1].mean(axis=0)
    assert lost_channels(wanted, still) == 1
    assert lost_channels(wanted, still, axis=2) == 0
    assert lost_channels(wanted[:1], still[:1]) == 0
    assert lost_channels(wanted, still, least=100.0) == 0
    place = wanted.copy()
    place[:, :, 2:4] = 0.0
    assert dead_places(wanted, place) == 2
    assert dead_places(wanted[:7], place[:7]) == 0
    assert dead_places(wanted[:, :, :1], place[:, :, :1]) == 0
    half = wanted.copy()
    half[:, 0, 2] = 0.0  # the other channels move there
    assert dead_places(wanted, half) == 0


def test_softmax_and_what_is_one() -> None:
    rows = np.array([[1.0, 3.0, 2.0], [0.0, 1000.0, 0.0]])
    wanted = rows - np.array([[np.log(np.exp(rows[0]).sum())], [1000.0]])
    assert log_softmax(rows) == pytest.approx(wanted)
    assert are_probabilities(np.array([[0.0, 1.0], [0.5, 0.49]]))
    assert not are_probabilities(np.array([[0.0, 1.0], [0.5, 0.47]]))
    assert not are_probabilities(np.array([[-0.1, 1.1]]))
    zero = np.array([[0.5, 0.5, 0.0]])
    other = np.array([[0.25, 0.5, 0.25]])
    assert metrics.kl_softmax(zero, other) == pytest.approx(0.5 * math.log(2), abs=1e-6)


def test_bits_are_those_of_the_values_that_move() -> None:
    levels = np.tile(np.arange(17.0), 4)[:, None]
    levels = np.concatenate([levels, np.zeros((8, 1))])  # the commonest value is left out
    coarse = np.where(levels > 0, np.ceil(levels / 2), 0.0)
    assert lost_bits(levels, coarse) == pytest.approx(1.0)
    assert lost_bits(levels, levels) == 0.0
    assert lost_bits(levels[:30], coarse[:30]) == 0.0
    square = np.tile(np.arange(16.0), (16, 1)).T
    assert lost_bits(square, square // 2) == pytest.approx(np.log2(15) - 3, abs=0.1)


def test_the_two_best_scores_give_the_margin_of_each_picture() -> None:
    scores = np.array([[3.0, 1.0, 2.5, 0.0], [1.0, 1.0, 9.0, 4.0]])
    assert metrics.margins(scores).tolist() == [0.5, 5.0]
    assert metrics.correct(scores, np.array([2, -1])).tolist() == [False]
    assert metrics.correct(scores, np.array([2, 3]), 2).tolist() == [True, True]


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-3, 300.0])
def test_halves_are_numpys(scale: float) -> None:
    rng = np.random.default_rng(3)
    values = (rng.normal(size=(5, 9001)) * scale).astype(np.float32)
    exact = values.astype(np.float16).astype(np.float32)
    assert np.array_equal(round_to_half(values), exact)
    values[0, 0], values[2, 5] = 7e4, -np.inf
    with np.errstate(over="ignore"):
        assert np.array_equal(round_to_half(values), values.astype(np.float16).astype(np.float32))
    assert round_to_half(np.asarray(np.float32(scale))).shape == ()  # a scalar stays one


@pytest.mark.parametrize(("code", "kind"), [
    (1, "bool"), (10, "float16"), (11, "float32"), (12, "float64"), (21, "int8"), (22, "int16"),
    (23, "int32"), (24, "int64"), (31, "uint8"), (32, "uint16"), (33, "uint32"), (34, "uint64"),
])  # fmt: skip
def test_mil_numbers_its_types_so(code: int, kind: str) -> None:
    assert DTYPES[code] == np.dtype(kind)
    assert len(DTYPES) == 12


@pytest.mark.parametrize(("code", "kind"), [
    (1, "float16"), (2, "float32"), (3, "uint8"), (4, "int8"), (6, "int16"), (7, "uint16"), (14, "int32"), (15, "uint32"),
])  # fmt: skip
def test_a_weight_files_blob_is_where_its_record_says(tmp_path: Path, code: int, kind: str) -> None:
    wanted = np.arange(1, 7).astype(kind)
    path = tmp_path / "weight.bin"

    def write(
        version: int = 2, start: int = 128, size: int = wanted.nbytes, more: bytes = b""
    ) -> BlobFile:
        record = struct.pack("<IIQQQ", 0xDEADBEEF, code, size, start, 0).ljust(64, b"\0")
        path.write_bytes(
            struct.pack("<II", 1, version).ljust(64, b"\0") + record + wanted.tobytes() + more
        )
        return BlobFile(path)

    declared = TensorType(np.dtype(kind), (2, 3))
    assert write().read(64, declared, "w").tolist() == [
        [1, 2, 3],
        [4, 5, 6],
    ]  # the last byte is the file's
    with pytest.raises(CorruptFileError, match="version 3"):
        write(version=3)
    for start in (0, 100, 192):
        with pytest.raises(CorruptFileError, match="past the end"):
            write(start=start).read(64, declared, "w")
    for offset in (0, 63, 128):
        with pytest.raises(CorruptFileError, match="points to byte"):
            write().read(offset, declared, "w")
    with pytest.raises(CorruptFileError, match="its blob has"):
        write().read(64, TensorType(np.dtype(kind), (2, 2)), "w")


def test_levels_are_bytes_and_back_and_nothing_else_is() -> None:
    levels = np.stack([np.linspace(-1, 1, 256), np.linspace(0, 255, 256)]).astype(np.float32)
    packed = np.array([[[0, 7, 255], [1, 128, 254]]], np.uint8)
    values = unpack(packed, levels)
    assert values[0].tolist() == [levels[0, [0, 7, 255]].tolist(), [1.0, 128.0, 254.0]]
    found = pack(values, levels)
    assert found is not None
    assert found.tolist() == packed.tolist()
    for wrong in (values + 0.25, values + 300.0, values - 300.0):
        assert pack(wrong, levels) is None


def test_values_are_stored_and_read_by_scale_zero_point_and_offset() -> None:
    spec = TensorSpec("y", (1, 3), "int8", "other", Quantization(0.5, -3, 0.25))
    stored = adapt_inputs(np.array([[0.25, 1.25, 1000.0]], np.float32), "nchw", spec)
    assert stored.tolist() == [[-3, -1, 127]]
    assert adapt_outputs(stored, spec).tolist() == [[0.25, 1.25, 65.25]]
    assert adapt_outputs(np.array([[1.5]], np.float32), spec).tolist() == [[1.5]]
    plain = TensorSpec("y", (1, 3), "int8")
    assert plain.quantization is None
    assert Quantization(0.5, 1).offset == 0.0
    assert adapt_outputs(stored, plain).tolist() == [[-3, -1, 127]]
    fed = feeds_for(
        [TensorSpec("a", (1, 2)), TensorSpec("b", (1, 1))],
        {"q": np.ones((4, 2)), "r": np.zeros((4, 1))},
    )
    assert [(name, array.shape, float(array.max())) for name, array in fed.items()] == [
        ("a", (4, 2), 1.0),
        ("b", (4, 1), 0.0),
    ]
    assert match_names(["a", "b"], ["b", "a", "c"], "input") == {"a": "a", "b": "b"}
    assert match_names(["a", "b"], ["c", "d"], "input") == {"a": "c", "b": "d"}
    with pytest.raises(
        EdgeconvError, match=r"inputs cannot be matched: \['a', 'b'\] on one side, \['c'\]"
    ):
        match_names(["a", "b"], ["c"], "input")


@pytest.mark.parametrize(
    ("low", "high", "form", "scale", "zero"),
    [
        (0.0, 2.55, "asymmetric", 0.01, -128), (-1.275, 1.275, "asymmetric", 0.01, 0), (-2.55, 0.0, "asymmetric", 0.01, 127),
        (-0.635, 1.27, "zero-point-free", 0.01, 0), (-2.54, 1.27, "zero-point-free", 0.02, 0),
        (0.0, 2.55, "zero-point-free", 0.01, -128), (1.0, 2.55, "asymmetric", 0.01, -128), (0.0, 0.0, "asymmetric", 1.0, -128),
    ],
)  # fmt: skip
def test_a_range_has_this_scale_and_zero_point(
    low: float, high: float, form: Any, scale: float, zero: int
) -> None:
    found = choose_scale(low, high, form)
    assert found.scale == pytest.approx(scale)
    assert found.zero_point == zero


def test_integers_saturate_at_their_types_ends() -> None:
    held = Activation(0.5, 3, -1.0, 1.0)
    assert quantize_values(np.array([0.0, 1.0, -1.0, 0.25, 0.75, 999.0, -999.0]), held).tolist() == [
        3, 5, 1, 3, 5, 127, -128
    ]  # fmt: skip
    bias = np.array([1.0, -1.0, 1e9, -1e9], np.float32)
    weights = Weights(
        np.zeros((4, 1), np.int8), np.full(4, 0.25, np.float32), np.zeros(4, np.int32), bias
    )
    assert bias_integers(weights, 0.5).tolist() == [8, -8, 2**31 - 1, -(2**31 - 1)]


def test_samples_are_fed_in_batches_the_last_one_full() -> None:
    feeds = list(batches({"x": np.arange(5)}, 2, 5))
    assert [feed["x"].tolist() for feed in feeds] == [[0, 1], [2, 3], [4, 4]]
    assert as_rows(np.ones((2, 3)), 2).shape == (2, 3)
    assert as_rows(np.ones((3,)), 2).shape == (2, 3)
    assert as_rows(np.array(7.0), 2).tolist() == [7.0, 7.0]
    known = [TensorSpec("a", (1, 3, 8, 8), layout="nhwc")]
    for spec in (
        TensorSpec("a", (1, 3, 8, 4)),
        TensorSpec("a", (1, 3, 8, 8), "int8"),
        TensorSpec("a", (1, 8)),
    ):
        assert all_placed([spec], known) == [spec]


def test_two_runs_are_paired_on_what_both_hold() -> None:
    wanted = Outputs({"y": np.arange(8.0).reshape(4, 2)})
    got = Outputs({"z": np.arange(9.0).reshape(3, 3) * 10}, {"rows": [3, 0, 2]})
    pair = pair_of(wanted, got)
    assert pair.pictures.tolist() == [0, 2, 3]
    assert pair.wanted.tolist() == [[0, 1], [4, 5], [6, 7]]
    assert pair.got.tolist() == [[40, 50], [70, 80], [10, 20]]  # without the leading class
    both = pair.of(2)
    assert both is not None
    assert [side.tolist() for side in both] == [[4, 5], [70, 80]]
    assert pair.of(1) is None
    assert pair.of(4) is None
    told = Outputs(
        {"y": np.zeros((2, 3))},
        {"label": "kept", "names": ["a", "b"], "truth": [0, 1], "source": "here"},
    )
    samples = stored_samples(told)
    assert (samples.count, samples.names, samples.source) == (2, ("a", "b"), "here")
    assert samples.truth is not None
    assert samples.truth.tolist() == [0, 1]
    assert stored_samples(Outputs({"y": np.zeros((2, 3))})).names == ("0", "1")
    for name in ("names", "truth"):
        with pytest.raises(EdgeconvError, match=f"there are 2 outputs, but not as many {name}"):
            stored_samples(Outputs({"y": np.zeros((2, 3))}, {name: [1]}))


def test_figures_of_the_file_are_its_manifests(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"1234567")
    graph = {"compute": 8, "int8_compute": 6, "transposes": 2}
    known: Any = SimpleNamespace(manifest={"graph": graph, "evidence": {"files": {}}})
    assert file_figures(path, None) == {"bytes": 7.0}
    assert file_figures(path, known) == {
        "bytes": 7.0, "int8_share": 0.75, "compute": 8.0, "int8_compute": 6.0, "transposes": 2.0
    }  # fmt: skip
    assert noise_map(None) == noise_map(known) == {}


def test_runs_of_channels_begin_where_their_ranges_change() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 9, 30)) * np.array([1.0] * 3 + [50.0] * 4 + [1.0] * 2)[:, None]
    assert [str(part) for part in find_parts("y", values, None)] == [
        "channels 0 to 2", "channels 3 to 6", "channels 7 to 8"
    ]  # fmt: skip
    assert [str(part) for part in find_parts("y", values, {"y": (1, 0, 1)})] == [
        "channel 0",
        "channels 1 to 8",
    ]
    assert find_parts("y", values, {"y": (1, 0)}) == find_parts("y", values, None)
    assert find_parts("y", values[:, :3], None) == ()


def test_scores_have_either_sign_and_no_length_of_one() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, 8))
    truth = np.zeros(64, int)
    unit = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    for name, values in (("image_embeds", logits), ("y", np.abs(logits) * 3), ("y", unit)):
        assert not holds_scores(name, values, (), None)
        assert holds_scores(name, values, (), truth)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for values in (logits, softmax, 3.0 * unit, np.abs(logits[:20]) * 3):
        assert holds_scores("y", values, (), None)


@pytest.mark.parametrize(("step", "kind"), [(1, "amounts"), (5, "labels")])
def test_whole_numbers_that_are_near_are_amounts(step: int, kind: str) -> None:
    """Two columns whose values spread by 57.7 each: a twentieth of it is 2.9."""
    values = np.arange(200).reshape(200, 1).repeat(2, 1)
    assert whole_kind(values, values + step) == kind
    assert whole_kind(values, values) == "labels"
    assert whole_kind(values.astype(float), values) is None
    assert whole_kind(values % 30, values % 30 + 1) == "labels"


def test_a_net_that_gives_probabilities_is_not_measured_by_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 5))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    figures, notes = measure("y", softmax, logits, Context(scores=True))
    assert figures["agreement_top1"] == 1.0
    assert "kl" not in figures
    assert "sqnr_db" not in figures
    assert len(notes) == 1
    whole, none = measure("y", logits, logits, Context(scores=True, truth=logits.argmax(axis=1)))
    assert none == ()
    assert (whole["kl"], whole["flips"], whole["top1"], whole["top1_drop"]) == (0.0, 0.0, 1.0, 0.0)
    with pytest.raises(EdgeconvError, match="15 classes of truth for 16 samples"):
        measure("y", logits, logits, Context(scores=True, truth=np.zeros(15, int)))
    worse = np.roll(logits, 1, axis=0)
    truth = logits.argmax(axis=1)
    right = float((worse.argmax(axis=1) == truth).mean())
    figures, _ = measure("y", logits, worse, Context(scores=True, truth=truth))
    assert (figures["top1"], figures["reference_top1"]) == (right, 1.0)
    assert figures["top1_drop"] == pytest.approx(1.0 - right)


def test_outputs_of_other_names_are_compared_by_position() -> None:
    wanted = {"a": np.eye(3), "b": np.ones((3, 2))}
    got = {"q": np.eye(3), "r": np.ones((3, 2)) + 1}
    verdict = compare(wanted, got)
    assert verdict.figures["a"]["max_abs_error"] == 0.0
    assert verdict.figures["b"]["max_abs_error"] == 1.0
    assert [finding.output for finding in verdict.missed] == ["b"]


def test_a_class_of_two_that_leaves_a_map_is_lost() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(12, 2, 6, 6))
    got = wanted.copy()
    got[:, 1] -= 100.0
    figures, _ = measure("y", wanted, got, Context(floor=wanted, scores=False))
    assert figures["lost_classes"] == 1.0
    assert measure("y", wanted, wanted, Context(scores=False))[0]["lost_classes"] == 0.0
    for shape in ((12, 1, 6, 6), (12, 2, 6, 1), (12, 2, 36)):
        cut = rng.normal(size=shape)
        assert "lost_classes" not in measure("y", cut, cut, Context(scores=False))[0]
