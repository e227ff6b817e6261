"""What MediaPipe makes of our .tflite files: ``python scripts/mediapipe_accepts.py --judge PYTHON NET...``.

A NET is what ``edgeconv export`` takes, a classifier. Each is exported to INT8 in several forms of its
border; MediaPipe's ImageClassifier, in an environment of its own (``pip install mediapipe``), opens
the file as it is and classifies pictures of the input's size. A line a file: whether it is taken,
whether the export said so, and how many pictures have the same five best classes as ``run_model``.

With ``--file FILE`` a finished detector (``export --nms``) or segmenter is asked instead, through
ObjectDetector or ImageSegmenter: boxes to the pixel, and classes of pixels, beside ``edgeconv run``'s.
"""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from edgeconv import export_model, run_model
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.evaluate.look import Looking, Seen, look
from edgeconv.evaluate.run import Asked, open_subject, outputs_of, picture_samples
from edgeconv.evaluate.task import pixel_scores
from edgeconv.pictures import find_pictures, read_picture

HEAD = """
import json, sys
from mediapipe import Image
from mediapipe.tasks.python import BaseOptions, vision
base = BaseOptions(model_asset_path=sys.argv[1])
pictures = [Image.create_from_file(p) for p in sys.argv[2:]]
"""
JUDGE = (
    HEAD
    + """
options = vision.ImageClassifierOptions(base_options=base, max_results=5)
with vision.ImageClassifier.create_from_options(options) as classifier:
    found = [classifier.classify(p) for p in pictures]
print(json.dumps([[c.category_name for c in f.classifications[0].categories] for f in found]))
"""
)
BOXES = (
    HEAD
    + """
options = vision.ObjectDetectorOptions(base_options=base)
with vision.ObjectDetector.create_from_options(options) as detector:
    found = [(p, detector.detect(p).detections) for p in pictures]
def rows(p, d):  # boxes of two classes that are one to the pixel come as one of both
    box = d.bounding_box
    left, top = box.origin_x, box.origin_y
    right, bottom = min(left + box.width, p.width), min(top + box.height, p.height)
    return [[c.category_name or f"class {c.index}", c.score, left, top, right, bottom] for c in d.categories]
print(json.dumps([[row for d in each for row in rows(p, d)] for p, each in found]))
"""
)
MASKS = (
    HEAD
    + """
options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True)
with vision.ImageSegmenter.create_from_options(options) as segmenter:
    found = [segmenter.segment(p).category_mask.numpy_view().copy() for p in pictures]
print(json.dumps([f.reshape(f.shape[0], f.shape[1]).tolist() for f in found]))
"""
)

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
FORMS: dict[str, dict[str, Any]] = {
    "float, one mean and std": {"mean": (0.5,), "std": (0.5,)},
    "float, ImageNet's": IMAGENET,
    "uint8, one mean and std": {"mean": (0.5,), "std": (0.5,), "io": "uint8"},
    "--embed-preprocessing, ImageNet's": {**IMAGENET, "embed_preprocessing": True},
}


@dataclass(frozen=True)
class Taken:
    """What became of a file: ``same`` of ``pictures`` agree; ``said`` is what the export foretold."""

    net: str
    form: str
    taken: bool
    said: bool
    same: int
    pictures: int

    def row(self) -> str:
        """Return the line of the table."""
        words = {True: "taken", False: "refused"}
        same = f"{self.same} of {self.pictures}" if self.taken else "-"
        foretold = "yes" if self.taken == self.said else "**no**"
        return f"| {self.net} | {self.form} | {words[self.taken]} | {foretold} | {same} |"


def judged(python: str, file: Path, pictures: Sequence[str], task: str = JUDGE) -> Any:
    """Return what MediaPipe sees in each picture, by default five classes; None where it refuses the file."""
    asked = [python, "-c", task, str(file), *pictures]
    done = subprocess.run(asked, capture_output=True, check=False, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def agreeing(file: Path, pictures: Sequence[str], theirs: Sequence[Sequence[str]]) -> int:
    """Count the pictures whose five best classes are ours; equal integers have no order."""
    count = 0
    for names, mine in zip(theirs, run_model(file, pictures, top=10_000), strict=True):
        score = {ranked.name: ranked.probability for ranked in mine.classes}
        count += [score[name] for name in names] == [r.probability for r in mine.classes[:5]]
    return count


def boxes_agreeing(theirs: Sequence[Sequence[Any]], ours: Sequence[Seen]) -> int:
    """Count the pictures with the same boxes: class, score, and corners cut to whole pixels, in any order.

    MediaPipe moves a box that begins outside the picture to its border, and leaves its width: of such
    an axis nothing is asked.
    """

    def same(one: Sequence[Any], other: dict[str, Any]) -> bool:
        ours = other["box"]
        near = all(
            ours[axis] == 0
            or (abs(one[2 + axis] - ours[axis]) <= 2 and abs(one[4 + axis] - ours[2 + axis]) <= 2)
            for axis in (0, 1)
        )
        return near and one[0] == other["name"] and abs(one[1] - other["score"]) < 1e-3

    return sum(
        len(found) == len(seen.rows) and all(any(same(b, r) for r in seen.rows) for b in found)
        for found, seen in zip(theirs, ours, strict=True)
    )


def pixels_agreeing(theirs: Sequence[Any], ours: Sequence[Any]) -> float:
    """Return the share of pixels with the same class, over all pictures."""
    return float(np.mean([np.mean(np.array(a) == b) for a, b in zip(theirs, ours, strict=True)]))


def ask(judge: str, file: Path, photos: Path, count: int, folder: Path) -> str:
    """Return the line about a finished detector or segmenter."""
    subject = open_subject(file, Asked())
    assert subject.artifact is not None
    pictures = of_input_size(find_pictures(photos)[:count], subject.artifact, folder / "pictures")
    boxes = subject.head is not None
    theirs = judged(judge, file, pictures, BOXES if boxes else MASKS)
    if theirs is None:
        return f"| {file.name} | refused | - |"
    if boxes:
        ours = look(subject, [Path(p) for p in pictures], Looking())
        said = f"{boxes_agreeing(theirs, ours)} of {len(pictures)} pictures, boxes in all "
        return f"| {file.name} | taken | {said}{sum(map(len, theirs))} |"
    samples = picture_samples(subject, [Path(p) for p in pictures])
    masks = [
        mask
        for _, arrays in outputs_of(subject, samples)
        for mask in pixel_scores(arrays, file).argmax(axis=1)
    ]
    return f"| {file.name} | taken | {100 * pixels_agreeing(theirs, masks):.2f} % of pixels |"


def of_input_size(sources: Sequence[Path], artifact: Artifact, folder: Path) -> list[str]:
    """Write pictures of the input's size: how others resize is not the question."""
    how = artifact.preprocessing
    assert how is not None
    folder.mkdir()
    made = []
    for number, source in enumerate(sources):
        made.append(str(folder / f"{number}.png"))
        Image.fromarray(read_picture(source)).resize((how.size[1], how.size[0])).save(made[-1])
    return made


def examine(
    net: str,
    form: str,
    judge: str,
    photos: Path,
    count: int,
    folder: Path,
    shape: str | None = None,
) -> Taken:
    """Export ``net`` in a form, and see whether MediaPipe takes the file and what it says.

    ``shape`` (N,C,H,W) is that of a ``file.py:function``.
    """
    own: dict[str, Any] = (
        {"weights": "bundled"} if not net.endswith(".onnx") and ":" not in net else {}
    )
    if ":" in net:
        own["input_shape"] = tuple(map(int, (shape or "").split(",")))
    options: dict[str, Any] = {**own, **FORMS[form], "crop": 1.0, "calib_count": 32}
    first = export_model(
        net, targets="tflite", output=folder / "first", verify_count=1, crop=1.0, **own
    )
    classes = next(iter(first.artifacts[0].verdict.figures))
    scores = next(s.shape for s in _artifact(first).outputs if s.name == classes)
    labels = folder / "labels.txt"
    labels.write_text(
        "".join(f"class {number}\n" for number in range(scores[-1])), encoding="utf-8"
    )
    report = export_model(
        net, targets="tflite", precision="int8", recipe="fast", calib=photos, verify_count=4,
        labels=labels, output=folder / "int8", **options,
    )  # fmt: skip
    said = not any("apps that read TFLite Metadata" in note for note in report.notes)
    file = report.artifacts[0].path
    pictures = of_input_size(find_pictures(photos)[:count], _artifact(report), folder / "pictures")
    theirs = judged(judge, file, pictures)
    same = 0 if theirs is None else agreeing(file, pictures, theirs)
    return Taken(
        Path(net.rpartition(":")[2]).stem, form, theirs is not None, said, same, len(pictures)
    )


def _artifact(report: Any) -> Artifact:
    found = load_artifact(report.artifacts[0].path)
    assert found is not None
    return found


@click.command(help=__doc__)
@click.argument("nets", nargs=-1)
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path))
@click.option("--judge", required=True, help="A Python that has mediapipe.")
@click.option("--photos", type=click.Path(path_type=Path), required=True, help="Any pictures.")
@click.option(
    "--input-shape", "shape", metavar="N,C,H,W", help="Of a NET that is file.py:function."
)
@click.option("--count", default=20, show_default=True, help="Pictures to classify.")
def main(
    nets: tuple[str, ...],
    files: tuple[Path, ...],
    judge: str,
    photos: Path,
    shape: str | None,
    count: int,
) -> None:
    """Print the table."""
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            click.echo(ask(judge, file, photos, count, Path(folder)))
    if not nets:
        return
    click.echo(
        "| net | border | MediaPipe | as the export says | same top-5 |\n|---|---|---|---|---|"
    )
    for net in nets:
        for form in FORMS:
            with tempfile.TemporaryDirectory() as folder:
                click.echo(examine(net, form, judge, photos, count, Path(folder), shape).row())


if __name__ == "__main__":
    main()
