"""The task's own measure of files over a folder of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.boxes import BoxParity, box_parity, mean_average_precision
from edgeconv.evaluate.classes import Classes
from edgeconv.evaluate.coco import read_boxes
from edgeconv.evaluate.heads import Boxes, Head, decode, find_head
from edgeconv.evaluate.masks import Masks, read_mask
from edgeconv.evaluate.run import (
    Asked,
    Subject,
    open_subject,
    outputs_of,
    pictures,
    scores_output,
)
from edgeconv.pictures import find_pictures
from edgeconv.samples import Sample
from edgeconv.truth import read_truth

Array = NDArray[Any]


@dataclass(frozen=True)
class Report:
    """What one file did: as a classifier, or as a detector. ``labels`` are the classes' names."""

    path: Path
    runtime: str
    prepared: str
    pictures: int
    truth: str
    labels: tuple[str, ...] = ()
    classes: Classes | None = None
    masks: Masks | None = None
    precision: tuple[float, float] | None = None
    parity: BoxParity | None = None
    boxes: int | None = None
    names: tuple[str, ...] = field(default=())

    def label(self, index: int) -> str:
        """Return a class's name, or its number."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        data: dict[str, Any] = {
            "file": str(self.path),
            "runtime": self.runtime,
            "preprocessing": self.prepared,
            "pictures": self.pictures,
            "truth": self.truth,
        }
        if self.classes is not None:
            counted = self.classes
            data |= {
                "top1": counted.top1.to_json(),
                "top5": counted.top5.to_json(),
                "classes": {
                    self.label(k): counted.of_class(k).to_json()
                    for k in range(counted.classes)
                    if counted.confusion[k].any()
                },
                "confusion": counted.confusion.tolist(),
            }
        if self.masks is not None:
            data |= {
                "miou": self.masks.mean,
                "iou": {self.label(k): self.masks.of_class(k) for k in range(self.masks.classes)},
            }
        if self.precision is not None:
            data |= {"map": self.precision[0], "map50": self.precision[1]}
        if self.parity is not None:
            data["boxes"] = {
                "matched": self.parity.matched.to_json(),
                "missed": self.parity.missed,
                "invented": self.parity.invented,
                "worst": [self.names[i] for i in self.parity.worst],
            }
        return data


def evaluate(
    paths: Sequence[Path],
    data: str,
    *,
    truth: str | None = None,
    reference: Path | None = None,
    count: int | None = None,
    head: Head | None = None,
    asked: Asked | None = None,
) -> list[Report]:
    """Run every file over the pictures of ``data`` and measure it at its own task.

    ``truth`` is a CSV, a COCO file, a folder of masks or "folders"; folders of classes are recognised where it is None.
    Boxes are held against those of ``reference``, by default the float graph that an export kept.
    """
    asked = asked or Asked()
    return [_one(open_subject(path, asked), data, truth, reference, count, head) for path in paths]


def class_folders(data: str) -> bool:
    """Whether every picture of ``data`` lies in a folder of its own class: one level, two or more."""
    root = Path(data)
    if not root.is_dir():
        return False
    parents = {path.parent for path in find_pictures(root)}
    return len(parents) > 1 and all(parent.parent == root for parent in parents)


def _one(
    subject: Subject,
    data: str,
    truth: str | None,
    reference: Path | None,
    count: int | None,
    head: Head | None,
) -> Report:
    if truth is not None and truth != "folders" and Path(truth).is_dir():
        return _segmented(subject, data, Path(truth), count)
    coco = truth is not None and truth.endswith(".json")
    said = truth or "none"
    if truth is None and class_folders(data):
        truth, said = "folders", "folders (the pictures lie in folders of their classes)"
    labels = None if subject.artifact is None else subject.artifact.labels
    known = None if truth is None or coco else read_truth(truth, Path(data), labels)
    if labels is None and truth == "folders":
        labels = sorted({path.parent.name for path in find_pictures(Path(data))})
    samples = pictures(subject, data, known, count)
    kept: list[dict[str, Array]] = []
    counted: Classes | None = None
    for some, arrays in outputs_of(subject, samples):
        scores = None if head or coco else scores_output(subject, arrays)
        if scores is None:
            kept.append(arrays)
            continue
        if known is None:
            raise UsageError(
                f"{subject.path} is a classifier: say with --truth what the pictures of {data} show "
                "(folders, or a CSV of file and class), or sort them into folders by class"
            )
        counted = counted or Classes(scores.shape[1])
        counted.add(scores, np.array([-1 if s.truth is None else s.truth for s in some], np.int64))
    plain = Report(
        subject.path, subject.runtime, subject.prepared, len(samples), said, tuple(labels or ())
    )
    if counted is not None:
        if not counted.confusion.any():
            raise EdgeconvError(f"--truth {said} names none of the pictures of {data}")
        return Report(**{**plain.__dict__, "classes": counted})
    return _detector(plain, subject, samples, kept, truth if coco else None, reference, head)


def _segmented(subject: Subject, data: str, folder: Path, count: int | None) -> Report:
    """Measure a file whose first output of rank 4 is classes by pixel, against a folder of masks."""
    samples = pictures(subject, data, None, count)
    counted: Masks | None = None
    for some, arrays in outputs_of(subject, samples):
        maps = next((a for a in arrays.values() if a.ndim == 4 and a.shape[1] > 1), None)
        if maps is None:
            raise UsageError(
                f"{subject.path} has no output of classes by pixel, (N, classes, H, W)"
            )
        counted = counted or Masks(maps.shape[1])
        how, size = subject.how, (maps.shape[2], maps.shape[3])
        masks = [read_mask(folder, sample.name, how.crop, size) for sample in some]
        counted.add(maps, np.stack(masks))
    labels = () if subject.artifact is None else tuple(subject.artifact.labels or ())
    truth = f"masks of {folder}"
    plain = (subject.path, subject.runtime, subject.prepared, len(samples), truth, labels)
    return Report(*plain, masks=counted)


def _detector(
    plain: Report,
    subject: Subject,
    samples: Sequence[Sample],
    kept: Sequence[dict[str, Array]],
    coco: str | None,
    reference: Path | None,
    head: Head | None,
) -> Report:
    whole = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    head = head or find_head(whole)
    more: dict[str, Any] = {"names": tuple(sample.name for sample in samples)}
    found = decode(whole, head, subject.how.size)
    more["boxes"] = sum(map(len, found))
    if coco is not None:
        every = decode(whole, head, subject.how.size, 0.001)
        more["precision"] = mean_average_precision(
            read_boxes(Path(coco), samples, subject.how), every
        )
    other = _reference_boxes(subject, samples, reference, head)
    if other is not None:
        more["parity"] = box_parity(other, found)
    if coco is None and other is None:
        raise UsageError(
            f"{subject.path} has no boxes to be held against: say --truth COCO.json or --reference FILE"
        )
    return Report(**{**plain.__dict__, **more})


def _reference_boxes(
    subject: Subject, samples: Sequence[Sample], reference: Path | None, head: Head
) -> list[Boxes] | None:
    own = subject.artifact
    if reference is None and (own is None or "hub.onnx" not in own.manifest["evidence"]["files"]):
        return None
    path = reference or (own.evidence("hub.onnx") if own is not None else None)
    if path is None:
        return None
    float_file = open_subject(path, subject.asked)
    # the pictures are those of the file: the reference takes what the file's input takes, NCHW
    parts = [arrays for _, arrays in outputs_of(float_file, samples)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return decode(whole, head, subject.how.size)
