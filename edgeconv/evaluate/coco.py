"""Labelled boxes of a COCO file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.labelled import Row, Truth, labelled, refuse_unlabelled
from edgeconv.pictures import picture_size
from edgeconv.samples import Sample
from edgeconv.schema import checked, items, maybe, number, read_json, table, text, whole

SLACK = 0.01
"""Share of a picture's sides by which a box may reach beyond it, and a pixel."""
MOST_BEYOND = 0.1
"""More boxes than this share reach beyond their pictures where they are corners or of other pictures."""

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
        data = checked(read_json(path, "a COCO file"), COCO, str(path))
    except EdgeconvError as error:
        raise UsageError(
            f"{error}; --truth FILE.json takes COCO's images, annotations, categories"
        ) from error
    for part, key in (("images", "id"), ("images", "file_name"), ("categories", "id")):
        (most, times), *_ = Counter(item[key] for item in data[part]).most_common(1)
        if times > 1:
            raise UsageError(f"{path}: {times} {part} have the {key} {most}")
    _check_boxes(path, data)
    return data


def _check_boxes(path: Path, data: Any) -> None:
    """Raise UsageError where boxes are of no category, or surely not x, y, width and height in pixels."""
    images = {image["id"]: image for image in data["images"]}
    categories = {category["id"] for category in data["categories"]}
    beyond, within, reach = 0, 0, 0.0
    rows = data["annotations"]
    twice = len(rows) - len({(r["image_id"], r["category_id"], *r["bbox"]) for r in rows})
    if twice > MOST_BEYOND * len(rows):
        raise UsageError(
            f"{path}: {twice} of {len(rows)} boxes are there before: each is to be found once"
        )
    for place, item in enumerate(data["annotations"]):
        x, y, width, height = item["bbox"]
        if item["category_id"] not in categories:
            raise UsageError(
                f"{path}: annotations[{place}] is of category {item['category_id']}, which categories lacks"
            )
        if width < 0 or height < 0:
            raise UsageError(f"{path}: annotations[{place}].bbox has a negative width or height")
        if (image := images.get(item["image_id"])) is not None:
            wide, high = (side * (1 + SLACK) + 1 for side in (image["width"], image["height"]))
            beyond += (
                x + width > wide or y + height > high or min(x, y) < -1 - SLACK * max(wide, high)
            )
            within, reach = within + 1, max(reach, x + width, y + height)
    if within and (beyond > MOST_BEYOND * within or reach <= 1):
        what = (
            "all lie within 0 and 1"
            if reach <= 1
            else f"{beyond} of {within} reach beyond their pictures"
        )
        raise UsageError(
            f"{path}: the boxes are not COCO's x, y, width, height in pixels of the picture: {what}"
        )


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
    times = Counter(Path(image["file_name"]).name for image in images.values())
    by_name = {
        Path(i["file_name"]).name: k
        for k, i in images.items()
        if times[Path(i["file_name"]).name] == 1
    }
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
    _check_sizes(
        path, [(Path(folder) / s.name, i) for s, (_, i) in zip(samples, found, strict=True)]
    )
    pictures = tuple(labelled(own, (i["height"], i["width"]), how) for own, i in found)
    names = {kinds[c["id"]]: c.get("name") or f"category {c['id']}" for c in data["categories"]}
    return Truth(pictures, tuple(names.get(k, f"class {k}") for k in range(max(names) + 1)))


def _check_sizes(path: Path, pictures: Sequence[tuple[Path, Any]]) -> None:
    """Raise UsageError where pictures have not the sizes that their labels were drawn in: they have the same names alone."""
    wrong = []
    for picture, image in pictures:
        size = picture_size(picture)
        if set(size) != {image["width"], image["height"]}:  # either way up: EXIF may turn it
            wrong.append((picture, size, image))
    if wrong:
        picture, (wide, high), image = wrong[0]
        more = f" and {len(wrong) - 1} more differ too" if len(wrong) > 1 else ""
        raise UsageError(
            f"{picture} has {wide}x{high} pixels, {path} says {image['width']}x{image['height']}{more}: the boxes are of "
            "pictures of another size, or of others with these names"
        )


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
