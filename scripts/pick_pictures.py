"""Write calib_data/'s pictures and manifest: ``python scripts/pick_pictures.py OUT``.

The first pictures of each class in Fashion-MNIST's own order: 256 training pictures, so that 26 or
25 a class, and 1000 test pictures, 100 a class. The same bytes on every run of one Pillow version.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgeconv.deps import require
from edgeconv.files import sha256, write_bytes, write_text
from edgeconv.models import fashion_mnist

SETS = (("calibration", "train", 256), ("test", "t10k", 1000))


def pick(labels: fashion_mnist.Pictures, count: int) -> list[int]:
    """Return the indices of ``count`` pictures, the first of each class, in order of class.

    >>> pick(np.array([1, 0, 1, 0, 0], np.uint8), 2)
    [1, 0]
    """
    classes = np.unique(labels)
    share, extra = divmod(count, len(classes))
    return [
        int(index)
        for rank, label in enumerate(classes)
        for index in np.flatnonzero(labels == label)[: share + (rank < extra)]
    ]


def write_pictures(out: Path, data: Path = fashion_mnist.FOLDER) -> dict[str, Any]:
    """Write calibration/ and test/ as 28x28 grey PNG, labels.txt and manifest.json; return it."""
    manifest: dict[str, Any] = {
        "data": "Fashion-MNIST",
        "origin": "https://github.com/zalandoresearch/fashion-mnist",
        "package": "dataset-fashion-mnist (Debian)",
        "licence": "MIT, copyright 2017 Zalando SE",
        "picked_by": "python scripts/pick_pictures.py OUT",
        "labels": list(fashion_mnist.LABELS),
    }
    for folder, split, count in SETS:
        manifest[folder] = list(_write_set(out / folder, split, count, data))
    write_text(out / "labels.txt", "\n".join(fashion_mnist.LABELS) + "\n")
    write_text(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def _write_set(folder: Path, split: str, count: int, data: Path) -> Iterator[dict[str, Any]]:
    """Write the pictures of one folder; yield each one's manifest entry."""
    image = require("PIL.Image", "images")
    pictures, labels = fashion_mnist.load(split, data)
    for index in pick(labels, count):
        label = int(labels[index])
        name = fashion_mnist.LABELS[label].lower().replace(" ", "-")
        path = folder / f"{label}_{name}_{index:05d}.png"
        png = io.BytesIO()
        image.fromarray(pictures[index]).save(png, "PNG", optimize=True)
        write_bytes(path, png.getvalue())
        yield {"file": path.name, "label": label, "sha256": sha256(path)}


@click.command(help=__doc__)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), default=fashion_mnist.FOLDER)
def main(out: Path, data: Path) -> None:
    """Parse, write, say so."""
    manifest = write_pictures(out, data)
    click.echo(f"{out}: " + ", ".join(f"{len(manifest[name])} {name}" for name, _, _ in SETS))


if __name__ == "__main__":
    main()
