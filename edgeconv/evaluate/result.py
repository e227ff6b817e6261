"""What was measured of one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.evaluate.box_parity import BoxParity
from edgeconv.evaluate.classes import Classes
from edgeconv.evaluate.hints import class_hints, shifted
from edgeconv.evaluate.masks import Masks
from edgeconv.evaluate.precision import Precision


@dataclass(frozen=True)
class Report:
    """What one file did: as a classifier, or as a detector. ``labels`` are the classes' names.

    ``drawn`` are the pictures written, ``names`` those of all pictures. ``unasked`` says which classes have
    no picture among them, ``unseen`` that a detector finds hardly anything.
    """

    path: Path
    runtime: str
    prepared: str
    pictures: int
    truth: str
    labels: tuple[str, ...] = ()
    classes: Classes | None = None
    masks: Masks | None = None
    head: str | None = None
    precision: Precision | None = None
    parity: BoxParity | None = None
    drawn: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    unasked: str | None = None
    unseen: str | None = None

    def label(self, index: int) -> str:
        """Return a class's name, or its number."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"

    @property
    def hints(self) -> list[str]:
        """What looks wrong about the truth, or about how it is read, and what it leaves open."""
        if self.classes is not None:
            beside = [] if self.unasked is None else [self.unasked]
            return class_hints(self.classes, self.label) + beside
        said = [] if self.unseen is None else [self.unseen]
        if self.precision is None:
            return said
        if self.precision.shift:
            return [shifted("boxes", self.precision.shift)]
        if self.precision.strange:
            return [
                "THE LABELS LOOK LIKE THOSE OF OTHER PICTURES: hardly one box that the file is sure of is labelled; are "
                "they of these pictures, and of what it looks for?"
            ]
        form = self.precision.form
        return [f"THE BOXES LOOK READ WRONGLY: most would be right if {form}"] if form else said

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        data: dict[str, Any] = {
            "file": str(self.path),
            "runtime": self.runtime,
            "preprocessing": self.prepared,
            "pictures": self.pictures,
            "truth": self.truth,
            "hints": self.hints,
        }
        if self.classes is not None:
            counted = self.classes
            data |= {
                "top1": counted.top1.to_json(),
                "top5": None if counted.top5 is None else counted.top5.to_json(),
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
                "miou_interval": list(self.masks.interval),
                "iou": {self.label(k): self.masks.of_class(k) for k in range(self.masks.classes)},
            }
        if self.head is not None:
            data["head"] = self.head
        if self.precision is not None:
            data |= {
                "map": self.precision.mean,
                "map_interval": list(self.precision.interval),
                "map50": self.precision.at_half,
                "map50_interval": list(self.precision.half_interval),
                "map_classes": dict(self.precision.classes),
                "labelled_boxes": self.precision.boxes,
            }
        if self.parity is not None:
            data["boxes"] = {
                **self.parity.to_json(),
                "worst": [self.names[i] for i in self.parity.worst],
                "drawn": [str(path) for path in self.drawn],
            }
        return data
