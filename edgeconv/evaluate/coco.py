"""Labelled boxes of a COCO file, as a model's input shows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeconv.artifact import Preprocessing
from edgeconv.evaluate.heads import Boxes
from edgeconv.pictures import placed_box
from edgeconv.samples import Sample
from edgeconv.schema import checked, items, maybe, number, read_json, table, text, whole

COCO = table(
    {
        "images": items(
            table({"id": whole(), "file_name": text, "width": whole(1), "height": whole(1)})
        ),
        "annotations": items(
            table(
                {"image_id": whole(), "category_id": whole(), "bbox": items(number(), 4, 4)},
                {"iscrowd": maybe(whole())},
            )
        ),
        "categories": items(table({"id": whole()}, {"name": maybe(text)}), 1),
    }
)


def read_boxes(path: Path, samples: Sequence[Sample], how: Preprocessing) -> list[Boxes]:
    """Return the boxes of every sample, in the pixels of the model's input; crowds are left out.

    Class k is the k-th category by id. Pictures are found by file name. Raises EdgeconvError where
    the file is no COCO file.
    """
    data = checked(read_json(path, "a COCO file"), COCO, str(path))
    kinds = {c["id"]: k for k, c in enumerate(sorted(data["categories"], key=lambda c: c["id"]))}
    sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
    names = {Path(image["file_name"]).name: image["id"] for image in data["images"]}
    found: dict[int, list[tuple[tuple[float, ...], int]]] = {image: [] for image in sizes}
    for item in data["annotations"]:
        if item.get("iscrowd") or item["image_id"] not in sizes or item["category_id"] not in kinds:
            continue
        x, y, width, height = item["bbox"]
        box = placed_box((x, y, x + width, y + height), sizes[item["image_id"]], how)
        found[item["image_id"]].append((box, kinds[item["category_id"]]))
    return [_boxes(found.get(names.get(Path(sample.name).name, -1), [])) for sample in samples]


def _boxes(own: Sequence[tuple[tuple[float, ...], int]]) -> Boxes:
    corners = np.array([box for box, _ in own], np.float64).reshape(-1, 4)
    return Boxes(corners, np.ones(len(own)), np.array([kind for _, kind in own], np.int64))
