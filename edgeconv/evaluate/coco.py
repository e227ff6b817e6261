"""Labelled boxes of a COCO file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.labelled import Row, Truth, labelled, refuse_unlabelled
from edgeconv.samples import Sample
from edgeconv.schema import checked, items, maybe, number, read_json, table, text, whole

COCO = table(
    {
        "images": items(
            table({"id": whole(), "file_name": text, "width": whole(1), "height": whole(1)}), 1
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


def read_coco(path: Path) -> Any:
    """Return the data of a COCO file of boxes. Raises UsageError naming what it lacks."""
    try:
        return checked(read_json(path, "a COCO file"), COCO, str(path))
    except EdgeconvError as error:
        raise UsageError(
            f"{error}; --truth FILE.json takes COCO's images, annotations, categories"
        ) from error


def coco_names(data: Any) -> tuple[str, ...]:
    """Return the categories' names, by id."""
    ordered = sorted(data["categories"], key=lambda category: category["id"])
    return tuple(c.get("name") or f"category {c['id']}" for c in ordered)


def coco_truth(
    path: Path,
    data: Any,
    folder: str,
    samples: Sequence[Sample],
    how: Preprocessing,
    classes: int | None,
) -> Truth:
    """Return the boxes of every sample, in the pixels of the model's input.

    Pictures are found by their path, or by file name. ``classes`` is how many the model has, where
    that is known: with as many as there are categories class k is the k-th by id, with more the id.
    """
    kinds = _class_of({category["id"] for category in data["categories"]}, classes, path)
    images = {image["id"]: image for image in data["images"]}
    by_name = {Path(image["file_name"]).name: number for number, image in images.items()}
    by_name |= {image["file_name"]: number for number, image in images.items()}
    rows: dict[int, list[Row]] = {number: [] for number in images}
    for item in data["annotations"]:
        if item["image_id"] in images and item["category_id"] in kinds:
            x, y, width, height = item["bbox"]
            corners = (x, y, x + width, y + height)
            kind, crowd = kinds[item["category_id"]], bool(item.get("iscrowd"))
            rows[item["image_id"]].append(Row(corners, kind, crowd))
    places = [by_name.get(s.name, by_name.get(Path(s.name).name)) for s in samples]
    unknown = [s.name for s, place in zip(samples, places, strict=True) if place is None]
    refuse_unlabelled(
        unknown, folder, path, "list them under images (without boxes: nothing there)"
    )
    found = [(rows[k], images[k]) for k in places if k is not None]
    pictures = tuple(labelled(own, (i["height"], i["width"]), how) for own, i in found)
    names = {kinds[c["id"]]: c.get("name") or f"category {c['id']}" for c in data["categories"]}
    return Truth(pictures, tuple(names.get(k, f"class {k}") for k in range(max(names) + 1)))


def _class_of(ids: set[int], classes: int | None, path: Path) -> dict[int, int]:
    """Return the model's class of every category.

    >>> _class_of({1, 3}, 2, Path("x")), _class_of({1, 3}, 4, Path("x")), _class_of({1, 3}, 3, Path("x"))
    ({1: 0, 3: 1}, {1: 1, 3: 3}, {1: 0, 3: 2})
    """
    if classes is not None and classes < len(ids):
        raise UsageError(f"{path} has {len(ids)} categories, the file has {classes} classes")
    if classes is None or classes == len(ids) or classes < max(ids):
        return {number: place for place, number in enumerate(sorted(ids))}
    first = 1 if classes == max(ids) and min(ids) >= 1 else 0
    return {number: number - first for number in ids}
