"""A detector over its pictures: boxes of every picture, against labelled ones and against a reference."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.box_parity import box_parity
from edgeconv.evaluate.boxes import Boxes, best_first
from edgeconv.evaluate.coco import coco_names, coco_truth, read_coco
from edgeconv.evaluate.draw import draw_both, drawings, picture_path
from edgeconv.evaluate.forms import other_forms
from edgeconv.evaluate.hints import unseen
from edgeconv.evaluate.labelled import Truth
from edgeconv.evaluate.part import Found, Measure, Question, asked_of, measure_here, with_head
from edgeconv.evaluate.precision import LEAST, Precision, average_precision, check_installed
from edgeconv.evaluate.result import Report
from edgeconv.evaluate.run import Subject, open_subject
from edgeconv.evaluate.yolo_txt import yolo_truth
from edgeconv.samples import Sample

HARDLY = 0.05
"""Below this precision at IoU 0.5 something is read in another way than it was meant."""
ENOUGH = 20
"""Sure boxes, of which hardly one is labelled: of fewer that may be chance."""
FITS = 0.25
"""What another way comes to, at least, that is meant: NMS took boxes away by the wrong one."""


def detector_report(
    plain: Report,
    subject: Subject,
    samples: Sequence[Sample],
    data: str,
    *,
    truth: Path | None,
    reference: Path | None,
    head: str | None,
    least: float,
    draw: Path | None,
    measure: Measure,
) -> Report:
    """Return ``plain`` with what the file's boxes are worth: mAP with ``truth``, parity with a reference.

    ``truth`` is a COCO file or a folder of YOLO's .txt files; ``least`` the score of boxes that are
    compared. The worst pictures are drawn into ``draw``. Raises UsageError where there is nothing to
    hold the boxes against, and where the outputs hold no boxes.
    """
    labels = plain.labels
    coco = None if truth is None or truth.is_dir() else read_coco(truth)
    if truth is not None:
        check_installed()
    if not labels and coco is not None:
        labels = coco_names(coco)
    lowest = least if truth is None else min(least, LEAST)
    asked = asked_of(subject, "boxes", data, head=head, classes=len(labels) or None, least=lowest)
    asked = with_head(subject, samples, asked)
    found = measure(subject, samples, asked)
    assert isinstance(found, Found)
    report = replace(plain, labels=labels, head=asked.head, names=tuple(s.name for s in samples))
    known = None
    if truth is not None:
        known = (
            yolo_truth(truth, data, samples, subject.how, labels)
            if coco is None
            else coco_truth(truth, coco, data, samples, subject.how, found.count)
        )
        _refuse_unknown(known, found.count, subject.path)
        report = _with_precision(report, known, found.boxes, str(asked.head))
    other = _reference(subject, reference)
    if other is not None:
        # the pictures are those of the file: the reference takes what the file's input takes, NCHW
        held = _held_to(
            subject, replace(asked, least=least, head=head), own_graph=reference is None
        )
        wanted = measure(other, samples, with_head(other, samples, held))
        assert isinstance(wanted, Found)
        if None not in (found.count, wanted.count) and found.count != wanted.count:
            raise UsageError(
                f"{subject.path} has {found.count} classes and the reference {other.path} {wanted.count}: their boxes are no pair"
            )
        shown = [best_first(boxes, held.least) for boxes in found.boxes]
        report = replace(report, parity=box_parity(wanted.boxes, shown))
        report = replace(
            report, unseen=_unseen(wanted.boxes, known, held.least, "the float reference")
        )
        if draw is not None:
            report = _drawn(report, wanted.boxes, shown, subject, data, draw)
    if other is None:
        report = replace(report, unseen=_unseen(found.boxes, known, least, "the file"))
    if truth is None and other is None:
        raise UsageError(
            f"{subject.path} has no boxes to be held against: say --truth COCO.json, --truth DIR of "
            "YOLO's .txt files, or --reference FILE"
        )
    return report


def _unseen(found: Sequence[Boxes], known: Truth | None, least: float, who: str) -> str | None:
    """Return what to look at where hardly a box is found of pictures that are not known to hold none."""
    said = unseen([int((boxes.scores >= least).sum()) for boxes in found], least, who)
    held = None if known is None else [len(one.boxes) for one in known.pictures]
    if said is None or (held is not None and 2 * held.count(0) > len(held)):
        return None
    return f"{said} A lower --min-score finds more"


def _held_to(subject: Subject, asked: Question, *, own_graph: bool) -> Question:
    """Return what is asked of the reference: of a file with NMS inside its score, overlap and number."""
    nms = None if subject.artifact is None else subject.artifact.nms
    if nms is None:
        return asked
    return replace(
        asked,
        head=str(nms["head"]) if own_graph else asked.head,
        least=max(asked.least, float(nms["score"])),
        iou=float(nms["iou"]),
        most=int(nms["most"]),
    )


def _refuse_unknown(known: Truth, count: int | None, path: Path) -> None:
    """Raise UsageError where labelled boxes are of classes that the file has not."""
    most = max(
        (int(one.boxes.classes.max()) for one in known.pictures if len(one.boxes)), default=0
    )
    if count is not None and most >= count:
        raise UsageError(
            f"the truth names class {most}, {path} has {count} classes, counted from 0 (--head says how its outputs are read)"
        )


def _with_precision(report: Report, known: Truth, found: Sequence[Boxes], head: str) -> Report:
    """Add mAP; a detector without names of its own takes the truth's."""
    labels = report.labels if len(report.labels) >= len(known.names) else known.names
    return replace(report, precision=boxes_held_to(known, found, head), labels=labels)


def boxes_held_to(known: Truth, found: Sequence[Boxes], head: str) -> Precision:
    """Return what boxes are worth, and what looks wrong about classes or form where hardly one is right."""
    own = average_precision(known, found)
    if own.at_half >= HARDLY:
        return own
    shift = _shift(known, found)
    form = "" if shift else _form(known, found, head)
    sure = sum(int((boxes.scores >= MIN_SCORE).sum()) for boxes in found)
    return replace(own, shift=shift, form=form, strange=not (shift or form) and sure >= ENOUGH)


def _shift(known: Truth, found: Sequence[Boxes]) -> int:
    """Return the offset of classes under which most boxes are right, 0 where none is."""
    for offset in (1, -1):
        moved = [replace(boxes, classes=boxes.classes + offset) for boxes in found]
        if average_precision(known, moved).at_half > 0.5:
            return offset
    return 0


def _form(known: Truth, found: Sequence[Boxes], head: str) -> str:
    """Return the form under which boxes are right; "" where nothing fits."""
    fits = [
        (average_precision(truth, boxes).at_half, said)
        for said, truth, boxes in other_forms(known, found, head)
    ]
    best, said = max(fits)
    return said if best >= FITS else ""


def boxes_of(
    subject: Subject, samples: Sequence[Sample], head: str | None, least: float
) -> list[Boxes]:
    """Return every picture's boxes with a score of at least ``least``, in the input's pixels."""
    labels = () if subject.artifact is None else subject.artifact.labels or ()
    asked = asked_of(subject, "boxes", "", head=head, classes=len(labels) or None, least=least)
    found = measure_here(subject, samples, with_head(subject, samples, asked))
    assert isinstance(found, Found)
    return list(found.boxes)


def _reference(subject: Subject, given: Path | None) -> Subject | None:
    """Open the float file: the one given, or the graph that an export kept."""
    own = subject.artifact
    if given is not None:
        return open_subject(given, replace(subject.asked, runtime=None))
    if own is None or own.original not in own.manifest["evidence"]["files"]:
        return None
    return open_subject(own.evidence(own.original), replace(subject.asked, runtime=None))


def _drawn(
    report: Report,
    wanted: Sequence[Boxes],
    found: Sequence[Boxes],
    subject: Subject,
    data: str,
    folder: Path,
) -> Report:
    """Draw the worst pictures, both sets of boxes on each."""
    paths = []
    files = drawings([f"{subject.path.name}_{name}" for name in report.names])
    for place in () if report.parity is None else report.parity.worst:
        name, path = report.names[place], folder / files[place]
        draw_both(picture_path(Path(data), name), wanted[place], found[place], subject.how, path)
        paths.append(path)
    return replace(report, drawn=tuple(paths))
