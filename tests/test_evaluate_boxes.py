"""Boxes: every usual head decoded to known ones, their parity, and mAP where the answer is known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.evaluate import HEADS
from edgeconv.evaluate.box_parity import BoxParity, box_parity
from edgeconv.evaluate.boxes import Boxes
from edgeconv.evaluate.classes import Share
from edgeconv.evaluate.coco import coco_truth, read_coco
from edgeconv.evaluate.detect import boxes_held_to
from edgeconv.evaluate.heads import READERS, candidates, find_head, kept
from edgeconv.evaluate.held import boxes_held, hardly_any, lost_boxes
from edgeconv.evaluate.labelled import Labelled, Truth
from edgeconv.evaluate.maps import ANCHORS
from edgeconv.evaluate.precision import average_precision
from edgeconv.evaluate.result import Report
from edgeconv.evaluate.yolo_txt import yolo_truth
from edgeconv.export.report import verdict_text
from edgeconv.export.verify import FileVerdict
from edgeconv.judge.budget import DEFAULTS, parse_budget
from edgeconv.judge.text import judgement
from edgeconv.judge.verdict import Verdict, compare
from edgeconv.samples import Sample

SIZE = (64, 64)
CORNERS = np.array([[8.0, 8, 24, 24], [9, 9, 25, 25], [32, 32, 60, 60]])
SCORES = np.array([[0.9, 0.1], [0.6, 0.2], [0.2, 0.8]])


def logit(share: Any) -> Any:
    return np.log(share / (1 - np.asarray(share)))


def rows(corners: Any) -> Any:
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def joined() -> dict[str, dict[str, Any]]:
    """Outputs that hold the three boxes, the second of which the first covers, by head."""
    padded = np.zeros((40, 6))
    padded[:, :2] = 1.0
    padded[:3] = np.concatenate([rows(CORNERS), SCORES], axis=1)
    v5 = np.insert(padded, 4, 1.0, axis=1)
    v5[3:, 4] = 0.0
    best = np.concatenate([CORNERS, SCORES.max(axis=1)[:, None], SCORES.argmax(axis=1)[:, None]], 1)
    rest = 1.0 - SCORES.sum(axis=1, keepdims=True).clip(0, 1)
    softmax = np.concatenate([np.concatenate([rest, SCORES], 1), np.tile([1.0, 0, 0], (20, 1))])
    far = np.concatenate([CORNERS, np.zeros((20, 4))]) / 64
    four = {
        "boxes": (CORNERS[[0, 2]][:, [1, 0, 3, 2]] / 64)[None],
        "classes": np.array([[0.0, 1.0]]),
        "scores": np.array([[0.9, 0.8]]),
        "count": np.array([2.0]),
    }
    return {
        "yolov8": {"y": padded.T[None]},
        "yolov8 in two": {
            "b": padded[None, :, :4].transpose(0, 2, 1),
            "s": padded[None, :, 4:].transpose(0, 2, 1),
        },
        "yolov5": {"y": v5[None]},
        "end-to-end": {"y": best[[0, 2]][None]},
        "ssd": {"boxes": 64 * far[None], "scores": np.pad(SCORES, ((0, 20), (0, 0)))[None]},
        "ssd with a background": {"scores": softmax[None], "boxes": far[None]},
        "ssd-nms": four,
        "yolov5-maps": {f"m{s}": m for s, m in anchored().items()},
        "yolo26-maps": {f"m{s}": m for s, m in distances(1).items()},
        "yolov8-maps": {f"m{s}": m for s, m in distances(16).items()},
    }


def distances(bins: int) -> dict[int, Any]:
    """Maps of YOLOv8's kind at strides 8 and 16: sides that are whole numbers of a stride from a place."""
    maps = {s: np.full((1, 4 * bins + 2, 64 // s, 64 // s), -9.0) for s in (8, 16)}
    for stride, x, y, sides, scores in (
        (8, 1, 1, (0.5, 0.5, 1.5, 1.5), SCORES[0]),  # 8, 8, 24, 24
        (16, 2, 2, (0.5, 0.5, 1.25, 1.25), SCORES[2]),  # 32, 32, 60, 60
    ):
        for side, far in enumerate(sides):
            spread = np.full(bins, -30.0) if bins > 1 else np.array([far])
            if bins > 1:  # between two whole numbers, by their weights
                low = int(far)
                spread[low : low + 2] = np.log([low + 1 - far, far - low])
            maps[stride][0, side * bins : (side + 1) * bins, y, x] = spread
        maps[stride][0, 4 * bins :, y, x] = logit(scores)
    return maps


def anchored() -> dict[int, Any]:
    """Maps of YOLOv5 at strides 8 and 16, (1, 3, h, w, 7)."""
    maps = {s: np.full((1, 3, 64 // s, 64 // s, 7), -9.0) for s in (8, 16)}
    for stride, anchor, box, scores in (
        (8, 1, CORNERS[0], SCORES[0]),
        (16, 0, CORNERS[2], SCORES[2]),
    ):
        centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        place = (centre / stride).astype(int)
        inside = (centre / stride - place + 0.5) / 2
        sides = np.sqrt(extent / np.array(ANCHORS[stride][anchor])) / 2
        maps[stride][0, anchor, place[1], place[0]] = [
            *logit(inside),
            *logit(sides),
            20.0,
            *logit(scores),
        ]
    return maps


@pytest.mark.parametrize("name", joined())
def test_every_usual_head_gives_the_same_boxes(name: str) -> None:
    arrays = joined()[name]
    head = find_head(arrays, SIZE, classes=2)
    assert head == name.split(" ")[0]
    (found,) = kept(candidates(arrays, head, SIZE), 0.25)
    np.testing.assert_allclose(found.corners, CORNERS[[0, 2]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.9, 0.8], atol=1e-3)
    assert found.classes.tolist() == [0, 1]


def test_maps_with_channels_last_are_read_too() -> None:
    for head, maps in (("yolov8-maps", distances(16)), ("yolo26-maps", distances(1))):
        arrays = {str(s): m.transpose(0, 2, 3, 1) for s, m in maps.items()}
        assert find_head(arrays, SIZE, 2) == head
        (found,) = kept(candidates(arrays, head, SIZE), 0.25)
        np.testing.assert_allclose(found.corners, CORNERS[[0, 2]], atol=1e-3)


def test_every_choice_of_head_has_a_reader() -> None:
    assert set(READERS) == set(HEADS)


def test_a_head_that_cannot_be_told_asks_and_one_that_does_not_fit_is_refused() -> None:
    places = 64 + 16 + 4
    turned = {
        "y": np.zeros((1, places, 7))
    }  # YOLOv8 of 3 classes turned, or 2 classes with objectness
    with pytest.raises(UsageError, match="yolov8 or yolov5: say --head"):
        find_head(turned, SIZE)
    assert find_head(turned, SIZE, classes=3) == "yolov8"
    for shape, classes in (((1, 7, places), 2), ((1, 3 * places, 7), 3)):  # labels of other classes
        with pytest.raises(UsageError, match="yolov8 or yolov5: say --head"):
            find_head({"y": np.zeros(shape)}, SIZE, classes=classes)
    with pytest.raises(UsageError, match=r"\(y \[16, 3\]\) hold no boxes"):
        find_head({"y": np.zeros((16, 3))}, SIZE)
    with pytest.raises(UsageError, match="yolov8-maps or yolo26-maps or yolov5-maps"):
        find_head({"y": np.zeros((1, 255, 8, 8))}, SIZE)
    with pytest.raises(UsageError, match="--head ssd does not fit"):
        candidates(turned, "ssd", SIZE)
    for head, maps, why in (
        ("yolov5-maps", ((64, 8), (64, 4)), "no three anchors"),
        ("yolov5-maps", ((12, 8), (12, 4)), "no three anchors"),
        ("yolov5-maps", ((21, 8), (24, 4)), r"scales hold \[2, 3\] classes"),
        ("yolov8-maps", ((66, 8), (67, 4)), r"scales hold \[2, 3\] classes"),
    ):
        values = {f"m{n}": np.zeros((1, c, n, n)) for c, n in maps}
        with pytest.raises(UsageError, match=why):
            candidates(values, head, SIZE)
    with pytest.raises(UsageError, match="does not fit"):
        candidates({"m": np.zeros((1, 21, 0, 0))}, "yolov5-maps", SIZE)
    with pytest.raises(UsageError, match="no head that is known"):
        find_head({"a": np.zeros((1, 3)), "b": np.zeros((1, 7, 9))}, SIZE)


def boxes(*given: tuple[float, int]) -> Boxes:
    corners = np.array([[x, 0, x + 10, 10] for x, _ in given], float).reshape(-1, 4)
    kinds = np.array([kind for _, kind in given], np.int64)
    return Boxes(corners, np.linspace(1, 0.5, len(given)), kinds)


def test_a_lost_and_an_invented_box_are_counted() -> None:
    wanted = [boxes((0, 0), (20, 1)), boxes((0, 0))]
    got = [boxes((0, 0), (20, 0)), boxes((5, 0))]
    found = box_parity(wanted, got)
    assert (found.matched.right, found.missed, found.invented) == (1, 2, 2)
    assert set(found.worst) == {0, 1}


def labelled(*pictures: Boxes) -> Truth:
    return Truth(tuple(Labelled(b, np.zeros(len(b), bool)) for b in pictures), ("a", "b"))


def test_mean_average_precision_of_known_boxes() -> None:
    pytest.importorskip("pycocotools")
    wanted = [boxes((0, 0), (20, 1)), boxes((0, 0))]
    right = average_precision(labelled(*wanted), wanted)
    assert (right.mean, right.at_half, right.boxes) == pytest.approx((1.0, 1.0, 3))
    # one of class a's two boxes, at every IoU, and none of class b: recalls 0, .01 to .5 of 101
    some = average_precision(labelled(*wanted), [boxes((0, 0)), boxes()])
    assert dict(some.classes) == pytest.approx({"a": 51 / 101, "b": 0.0})
    assert average_precision(labelled(*wanted), [boxes(), boxes()]).mean == 0.0
    # moved by 2 of 10: an IoU of 2/3 counts at 0.5, 0.55, 0.6 and 0.65
    moved = average_precision(labelled(boxes((0, 0))), [boxes((2, 0))])
    assert (moved.mean, moved.at_half) == pytest.approx((0.4, 1.0))


def test_what_is_ignored_is_neither_missed_nor_invented() -> None:
    pytest.importorskip("pycocotools")
    both = boxes((0, 0), (20, 0))
    truth = Truth((Labelled(both, np.array([False, True])),), ("a",))
    assert average_precision(truth, [boxes((20, 0), (0, 0))]).mean == pytest.approx(1.0)
    with pytest.raises(UsageError, match="nothing to find"):
        average_precision(Truth((Labelled(both, np.array([True, True])),), ("a",)), [both])


def test_parity_speaks_of_boxes_only_where_outputs_are_boxes_beyond_doubt() -> None:
    inputs = {"x": np.zeros((1, 3, 64, 64))}
    for name in ("yolov8", "yolov5", "end-to-end", "ssd", "ssd-nms"):
        arrays = joined()[name]
        found = boxes_held(arrays, arrays, inputs)
        assert found is not None, name
        assert (found.matched.right, found.missed, found.invented) == (2, 0, 0)
    whole = joined()["yolov8"]["y"]
    lost = whole.copy()
    lost[:, 4:, 0] = 0.0  # the second box shows behind it, of the same class but elsewhere
    found = boxes_held({"y": whole}, {"other": lost}, inputs)
    assert found is not None
    assert (found.matched.right, found.missed, found.invented) == (1, 1, 1)
    tokens = np.random.default_rng(0).normal(size=(1, 16, 64))
    flags = {"y": np.ones((1, 9, 64), bool)}
    odd = {"a": np.ones((1, 7)), "b": np.ones((1, 5)), "c": np.ones((1, 3, 4)), "d": np.ones(1)}
    read = np.exp(6 * np.random.default_rng(1).normal(size=(1, 40, 64)))
    read /= read.sum(axis=2, keepdims=True)  # which of 64 characters stands in each of 40 places
    for other in (
        {"y": tokens},
        {"y": read},
        flags,
        odd,
        joined()["yolov8-maps"],
        {"y": np.zeros((1, 10))},
    ):
        assert boxes_held(other, other, inputs) is None
    assert boxes_held({"y": whole}, {"y": whole}, {"x": np.zeros((1, 8)), "z": tokens}) is None


def test_a_detector_that_finds_nothing_in_most_pictures_is_told_to_look_at_them() -> None:
    inputs = {"x": np.zeros((1, 3, 64, 64))}
    scores = {"yolov8": (1, slice(4, None)), "yolov5": (2, slice(4, None)), "end-to-end": (2, 4)}
    for name, (axis, where) in scores.items():
        (found,) = joined()[name].values()
        faint = found.copy()
        np.moveaxis(faint, axis, 0)[where] *= 0.2
        both = np.concatenate([found, faint])
        assert hardly_any({"y": both}, inputs) is None, name
        said = hardly_any({"y": np.concatenate([both, faint])}, inputs)
        assert said is not None, name
        assert said.startswith("in 2 of 3 pictures the float model finds no box of score 0.25")
    tokens = np.random.default_rng(0).uniform(0.0, 0.2, size=(3, 40, 64))
    for other in ({"y": tokens}, {"y": np.zeros((3, 10))}, joined()["yolov8-maps"]):
        assert hardly_any(other, inputs) is None


def test_int8_that_keeps_few_of_the_float_models_boxes_is_missed_for_its_recipe() -> None:
    few, int8 = BoxParity(Share(4, 20), 16, 0, ()), DEFAULTS["int8"]
    (finding,) = lost_boxes(int8, few)
    assert (finding.ok, finding.about_recipe) == (False, True)
    verdict = Verdict((finding,))
    assert (verdict.converted, verdict.good_enough) == (True, False)
    said = judgement(verdict, integer=True)
    assert (
        "the recipe is not good enough (it keeps 20.0 % [8.1, 41.6] of the float model's 20" in said
    )
    assert lost_boxes(DEFAULTS["fp32"], few) == lost_boxes(int8, None) == ()
    (held,) = lost_boxes(int8, BoxParity(Share(2, 4), 2, 0, ()))
    assert held.ok
    values = {"y": np.random.default_rng(0).normal(size=(9, 4))}
    assert not compare(values, values, found=[held]).doubts
    found = lost_boxes(int8, BoxParity(Share(1, 4), 3, 0, ()))
    verdict = compare(values, values, found=found)
    assert verdict, "1 of 4 may be chance"
    (doubt,) = verdict.doubts
    assert doubt.startswith("it keeps 25.0 % [4.6, 69.9] of the float model's 4 boxes")
    assert doubt.endswith("too few to tell whether half of them are kept")


def test_a_budget_file_limits_a_detectors_boxes() -> None:
    values = {"y": np.random.default_rng(0).normal(size=(9, 4))}
    budget = parse_budget({"boxes_kept": 0.98, "extend": True}, "b", DEFAULTS["fp16"])
    for right, ok in ((99, True), (97, False)):
        found = lost_boxes(budget, BoxParity(Share(right, 100), 100 - right, 0, ()))
        verdict = compare(values, values, budget=budget, found=found)
        assert bool(verdict) is ok, str(verdict)
        assert ok or "of the float model's 100 boxes (IoU 0.9, same class), fewer than 98 %" in str(
            verdict
        )
    assert "boxes_kept has a limit and was not measured" in str(
        compare(values, values, budget=budget)
    )


def test_the_line_of_a_detectors_file_says_what_boxes_it_keeps() -> None:
    values = {"y": np.random.default_rng(0).normal(size=(9, 4))}
    held = BoxParity(Share(99, 100), 1, 0, ())
    found = FileVerdict("runtime 1", 9, 9, compare(values, values), True, held)
    said = verdict_text(found)
    assert "· 99.0 % [94.6, 99.8] of float's 100 boxes kept · 9 pictures" in said
    assert "within budget" in said


def test_labels_of_other_pictures_of_the_same_names_are_told(tmp_path: Path) -> None:
    truth = tmp_path / "coco.json"
    images = [
        {"id": k, "file_name": f"{k}.png", "width": 40, "height": 30 + 10 * (k == 3)}
        for k in range(4)
    ]
    given = {"images": images, "annotations": [], "categories": [{"id": 1}]}
    truth.write_text(json.dumps(given), encoding="utf-8")
    samples = []
    for k in range(4):
        Image.new("RGB", (40, 30) if k else (30, 40)).save(tmp_path / f"{k}.png")
        samples.append(Sample(f"{k}.png", dict))
    how = Preprocessing((0.0,), (1.0,), 1.0, (64, 64))
    with pytest.raises(UsageError, match=r"3.png has 40x30 pixels, .*says 40x40: the boxes are"):
        coco_truth(truth, read_coco(truth), str(tmp_path), samples, how, 1)
    assert coco_truth(truth, read_coco(truth), str(tmp_path), samples[:3], how, 1)
    pytest.importorskip("pycocotools")
    rng = np.random.default_rng(0)
    found = [some_boxes(rng, 4) for _ in range(12)]
    kept = [replace(one, scores=np.full(4, 0.9)) for one in found]
    own = Truth(tuple(Labelled(one, np.zeros(4, bool)) for one in found), ("a", "b", "c"))
    away = [replace(one, corners=one.corners[:, [1, 0, 3, 2]] * 0.4 + 37) for one in kept]
    for boxes, strange in ((kept, False), (away, True), (away[:1] + [boxes_none()] * 11, False)):
        made = boxes_held_to(own, boxes, "ssd")
        assert made.strange is strange
    report = Report(Path("m"), "r", "p", 12, "t", precision=boxes_held_to(own, away, "ssd"))
    assert "LOOK LIKE THOSE OF OTHER PICTURES" in str(report.hints)


def boxes_none() -> Boxes:
    return Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def some_boxes(rng: np.random.Generator, count: int, noise: float = 0.0) -> Boxes:
    """Return boxes on a grid of 4 x 4 cells of 16 pixels, moved by ``noise``."""
    cells = rng.choice(16, count, replace=False)
    corners = np.stack([cells % 4, cells // 4, cells % 4 + 1, cells // 4 + 1], axis=1) * 16.0
    moved = corners + rng.normal(scale=noise, size=corners.shape) if noise else corners
    return Boxes(moved, rng.uniform(0.1, 1.0, count), rng.integers(0, 3, count))


def test_drawing_every_picture_once_is_what_pycocotools_says() -> None:
    pytest.importorskip("pycocotools")
    from edgeconv.evaluate.labelled import Labelled, Truth
    from edgeconv.evaluate.matches import resampled
    from edgeconv.evaluate.precision import _judged, average_precision

    rng = np.random.default_rng(0)
    labelled = tuple(Labelled(some_boxes(rng, 4), rng.random(4) < 0.2) for _ in range(30))
    found = []
    for one in labelled:
        kept = one.boxes.at(rng.random(4) < 0.8)
        near = kept.corners + rng.normal(scale=1.5, size=kept.corners.shape)
        extra = some_boxes(rng, 2)
        found.append(
            Boxes(
                np.concatenate([near, extra.corners]),
                rng.uniform(0.1, 1.0, len(kept) + 2),
                np.concatenate([kept.classes, extra.classes]),
            )
        )
    judged = _judged(labelled, found, [0, 1, 2])
    once = np.stack([resampled(c, np.ones((1, 30), np.int64))[0] for c in judged.classes], axis=-1)
    assert np.abs(once - judged.accumulated.mean(axis=1)).max() < 1e-9
    # a picture drawn twice counts as two equal pictures do
    drawn = rng.multinomial(30, [1 / 30] * 30, 1)
    places = np.repeat(np.arange(30), drawn[0])
    twice = _judged([labelled[i] for i in places], [found[i] for i in places], [0, 1, 2])
    again = np.stack([resampled(c, drawn)[0] for c in judged.classes], axis=-1)
    assert np.abs(again - twice.accumulated.mean(axis=1)).max() < 0.02
    made = average_precision(Truth(labelled, ("a", "b", "c")), found)
    assert made.interval[0] < made.mean < made.interval[1]
    assert made.half_interval[0] < made.at_half < made.half_interval[1]
    assert made == average_precision(Truth(labelled, ("a", "b", "c")), found)
    alone = average_precision(Truth(labelled[:1], ("a", "b", "c")), found[:1])
    assert alone.interval == (0.0, 1.0)


def test_the_interval_of_miou_holds_what_other_pictures_of_the_kind_give() -> None:
    from edgeconv.evaluate.masks import Masks

    def measured(seed: int, pictures: int) -> Masks:
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, (pictures, 4, 4))
        wrong = rng.random((pictures, 4, 4)) < rng.uniform(0, 0.5, (pictures, 1, 1))
        counted = Masks(2)
        counted.add(np.eye(2)[np.where(wrong, 1 - truth, truth)].transpose(0, 3, 1, 2), truth)
        return counted

    whole = measured(99, 4000).mean
    held = [measured(seed, 40) for seed in range(40)]
    assert sum(m.interval[0] <= whole <= m.interval[1] for m in held) >= 34
    assert held[0].interval == measured(0, 40).interval
    assert measured(0, 1).interval == (0.0, 1.0)


@pytest.mark.parametrize(
    "line", ["1000000000 .5 .5 .2 .2", "1e300 .5 .5 .2 .2", "-1 0 0 1 1", "0 nan 0 1 1"]
)
def test_a_class_that_no_net_has_is_no_box(tmp_path: Path, line: str) -> None:
    """A list of as many names would take all memory."""
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(line)
    how = Preprocessing((0.0,), (1.0,), 1.0, (8, 8))
    with pytest.raises(UsageError, match=r"a\.txt: .* is not 'class x y width height'"):
        yolo_truth(tmp_path, str(tmp_path), [Sample("a.png", dict, None, str)], how, ())
