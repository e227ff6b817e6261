"""A module to a verified INT8 .tflite, as a library: python own_classifier.py PICTURES OUTPUT."""

import sys
from pathlib import Path

from torch import nn

import edgeconv


def make() -> nn.Module:
    """Return the net; load your trained weights here."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1, groups=16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def main(pictures: Path, output: Path) -> None:
    """Export, ask the file itself what it sees, and write its page."""
    report = edgeconv.export_model(
        make(),
        targets=("tflite",),
        precision="int8",
        calib=str(pictures),
        resolution=32,
        mean=(0.5,),
        std=(0.5,),
        recipe="fast",
        output=output,
        force=True,
    )
    file = report.artifacts[0].path
    first = next(path for path in sorted(pictures.rglob("*")) if path.is_file())
    for found in edgeconv.run_model(file, [first], top=3):
        print(found.picture.name, [ranked.name for ranked in found.classes])
    page = file.with_name(file.name + ".html")
    page.write_text(edgeconv.write_report(file), encoding="utf-8")
    print("within budget" if report else "a budget was missed", page)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
