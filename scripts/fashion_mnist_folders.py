"""Write Fashion-MNIST as folders of pictures: ``python scripts/fashion_mnist_folders.py OUT``.

OUT/train and OUT/test hold one folder a class, 28x28 grey PNG, the first of each class in the data
set's own order. Debian's package dataset-fashion-mnist brings the data (apt install, or apt download
and dpkg -x, which needs no root).
"""

from pathlib import Path

import click
import numpy as np

from edgeconv.deps import require
from edgeconv.models import fashion_mnist


def write_folders(
    out: Path, classes: int | None, train: int | None, test: int | None, data: Path
) -> dict[str, int]:
    """Write the first ``train`` and ``test`` pictures (None: all) of the first ``classes``; count them."""
    image = require("PIL.Image", "images")
    written = {}
    for name, half, most in (("train", "train", train), ("test", "t10k", test)):
        pictures, labels = fashion_mnist.load(half, data)
        written[name] = 0
        for label, title in list(enumerate(fashion_mnist.LABELS))[:classes]:
            folder = out / name / title.lower().replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            for index in np.flatnonzero(labels == label)[:most]:
                image.fromarray(pictures[index]).save(folder / f"{index:05d}.png")
                written[name] += 1
    return written


@click.command(help=__doc__)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--classes", type=int, help="The first so many.  [default: all 10]")
@click.option("--train", type=int, help="At most so many of a class to learn.")
@click.option("--test", type=int, help="At most so many of a class to test.")
@click.option("--data", type=click.Path(path_type=Path), default=fashion_mnist.FOLDER)
def main(out: Path, classes: int | None, train: int | None, test: int | None, data: Path) -> None:
    """Parse, write, say so."""
    written = write_folders(out, classes, train, test, data)
    click.echo(f"{out}: {written['train']} to learn, {written['test']} to test")


if __name__ == "__main__":
    main()
