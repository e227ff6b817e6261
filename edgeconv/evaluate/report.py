"""The task's own measure of files over a folder of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.classes import Classes
from edgeconv.evaluate.detect import detector_report
from edgeconv.evaluate.masks import Masks
from edgeconv.evaluate.part import Measure, asked_of, measure_here
from edgeconv.evaluate.result import Report
from edgeconv.evaluate.run import Asked, Subject, open_subject, pictures
from edgeconv.evaluate.task import scores_count
from edgeconv.evaluate.yolo_txt import is_yolo_folder
from edgeconv.pictures import picture_names
from edgeconv.truth import BY_FOLDERS, astray, class_folders, folder_name, read_truth, unasked


@dataclass(frozen=True)
class Wish:
    """What files are held against: labels, a float file, and how boxes are read and drawn."""

    truth: str | None = None
    reference: Path | None = None
    count: int | None = None
    head: str | None = None
    min_score: float = MIN_SCORE
    draw: Path | None = None


def evaluate(
    paths: Sequence[Path],
    data: str,
    wish: Wish | None = None,
    asked: Asked | None = None,
    measure: Measure = measure_here,
) -> list[Report]:
    """Run every file over the pictures of ``data`` and measure it at its own task.

    ``truth`` is a CSV, a COCO file, a folder of masks or of YOLO's .txt files, or "folders"; folders of
    classes are recognised where it is None. Boxes are held against those of ``reference``, by default
    the float graph that an export kept. ``measure`` runs the pictures.
    """
    wish, asked = wish or Wish(), asked or Asked()
    if wish.draw is not None and len({path.name for path in paths}) < len(paths):
        raise UsageError("--draw names drawings after the files: two of them have one name")
    picture_names(Path(data))  # refuses a folder without any before a file is opened
    return [_one(open_subject(path, asked), data, wish, measure) for path in paths]


def _one(subject: Subject, data: str, wish: Wish, measure: Measure) -> Report:
    truth = wish.truth
    plain = Report(
        subject.path, subject.runtime, subject.prepared, 0, truth or "none", subject.labels
    )
    place = None if truth in (None, "folders") else Path(truth or "")
    of_boxes = place is not None and (place.suffix == ".json" or is_yolo_folder(place))
    task = "boxes" if wish.head or subject.head or of_boxes else subject.task
    if task == "boxes":
        if place is not None and not of_boxes:
            raise UsageError(
                f"--truth {truth} labels no boxes: {subject.path} takes COCO.json or a folder of "
                "YOLO's .txt files"
            )
        samples = pictures(subject, data, None, wish.count)
        return detector_report(
            replace(plain, pictures=len(samples)),
            subject,
            samples,
            data,
            truth=place,
            reference=wish.reference,
            head=wish.head,
            least=wish.min_score,
            draw=wish.draw,
            measure=measure,
        )
    if wish.draw is not None or wish.reference is not None:
        option = "--reference" if wish.draw is None else "--draw"
        raise UsageError(
            f"{option} is for detectors: {subject.path} is none (or say with --head how its outputs hold boxes)"
        )
    if place is not None and place.is_dir():
        samples = pictures(subject, data, None, wish.count)
        counted = measure(subject, samples, asked_of(subject, "masks", data, folder=place))
        assert isinstance(counted, Masks)
        if counted.says_nothing:
            raise UsageError(
                f"the masks of {place} hold nothing but 0 and 255, and 255 is a pixel without a class: write the classes' "
                "numbers"
            )
        plain = replace(plain, truth=f"masks of {place}")
        return replace(plain, pictures=len(samples), masks=counted)
    return _classified(plain, subject, data, wish, measure)


def _classified(plain: Report, subject: Subject, data: str, wish: Wish, measure: Measure) -> Report:
    truth = wish.truth
    if truth is None and Path(data).is_dir() and class_folders(Path(data)):
        truth = "folders"
        plain = replace(plain, truth=BY_FOLDERS)
    if truth is None:
        raise UsageError(
            f"{subject.path} is no detector: say with --truth what the pictures of {data} show "
            "(folders, a CSV of file and class, or a folder of masks), or sort them into folders by "
            f"class{f': {lost} lies in none' if (lost := astray(Path(data))) else ''}"
        )
    classes = scores_count([spec.shape for spec in subject.outputs])
    known = read_truth(truth, Path(data), list(plain.labels) or None, classes)
    labels = plain.labels
    if not labels and truth == "folders":
        names = picture_names(Path(data))
        labels = tuple(sorted({folder_name(name, Path(data)) for name in names}))
    samples = pictures(subject, data, known, wish.count)
    counted = measure(subject, samples, asked_of(subject, "classes", data))
    assert isinstance(counted, Classes)
    if not counted.confusion.any():
        raise EdgeconvError(f"--truth {truth} names none of the pictures of {data}")
    left = unasked(Path(data), [s.name for s in samples]) if truth == "folders" else None
    return replace(plain, pictures=len(samples), labels=labels, classes=counted, unasked=left)
