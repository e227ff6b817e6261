"""What a training is asked for, checked before any work."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeconv.accelerator import ACCELERATORS
from edgeconv.errors import UsageError
from edgeconv.models.specs import find_own, resolve_options
from edgeconv.pictures import find_pictures

AUGMENTATIONS = ("none", "crop", "flip", "full")
"""Each does what the one before it does and more: nothing, moved, mirrored, brighter and paler."""

MOST_THREADS = 1024


@dataclass(frozen=True)
class TrainOptions:
    """Every option of ``edgeconv train``.

    ``held_out`` is a share of each class, or a folder of the same classes. ``resolution`` None and
    ``preprocessing`` None leave those of ``weights``; ``weights`` None is bundled where the net has
    its default options, else random. ``rate`` is the highest learning rate. ``patience`` is the
    number of epochs without a better one after which training ends; 0 never ends it early.
    ``qat`` epochs train the integers afterwards; 0 epochs before it leave the weights as they are.
    ``output`` None is NET_WIDTH_RESOLUTION.safetensors.
    """

    net: str
    data: Path
    held_out: float | Path = 0.2
    width: float | None = None
    groups: int | None = None
    ratio: int | None = None
    activation: str | None = None
    resolution: int | None = None
    preprocessing: str | None = None
    weights: str | None = None
    tune: Literal["all", "head"] = "all"
    epochs: int = 20
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    patience: int = 10
    augment: str = "full"
    qat: int = 0
    seed: int = 0
    threads: int | None = None
    accelerator: str = "cpu"
    output: Path | None = None
    force: bool = False

    def net_options(self) -> dict[str, float | int | str | None]:
        """Return the net's own options as they were given."""
        return {
            "width": self.width,
            "groups": self.groups,
            "ratio": self.ratio,
            "activation": self.activation,
        }

    def source(self) -> str:
        """Return where weights come from: what was said, else bundled ones where they fit."""
        if self.weights is not None:
            return self.weights
        resolved = resolve_options(self.net, self.net_options())
        return "bundled" if resolved == resolve_options(self.net, {}) else "random"

    def decisive(self) -> dict[str, Any]:
        """Return what the result depends on: a training goes on only with the same."""
        own = ("data", "held_out", "qat", "threads", "accelerator", "output", "force")
        return {k: v for k, v in asdict(self).items() if k not in own} | {"weights": self.source()}

    def refuse_existing(self, weights: Path) -> None:
        """Raise UsageError where the file of the weights, or of their recipe, is there and is not to be replaced."""
        for path in (weights, *([recipe_path(weights)] if self.qat else ())):
            if path.exists() and not self.force:
                raise UsageError(f"{path} exists: --force replaces it")

    def check(self) -> None:
        """Raise UsageError naming the first option that cannot be right."""
        find_own(self.net)
        resolve_options(self.net, self.net_options())
        if isinstance(self.held_out, float) and not 0 < self.held_out < 1:
            raise UsageError(
                f"--held-out is a share of the pictures, 0 to 1, or a folder, not {self.held_out:g}"
            )
        if self.epochs == 0 and not self.qat:
            raise UsageError("--epochs 0 trains nothing: give --qat N with it, or more epochs")
        for name in ("epochs", "qat"):
            if getattr(self, name) < 0:
                raise UsageError(f"--{name} must be at least 0, not {getattr(self, name)}")
        for name in ("batch", "resolution", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, not {value}")
        if self.resolution is not None and self.resolution < 16:
            raise UsageError(f"--resolution {self.resolution}: the nets need 16 pixels at least")
        if self.batch == 1 and self.tune == "all" and self.epochs:
            raise UsageError("--batch 1: a batch norm learns from 2 pictures a step at least")
        if self.threads is not None and self.threads > MOST_THREADS:
            raise UsageError(f"--threads must be at most {MOST_THREADS}, not {self.threads}")
        for name in ("weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                said = f"--{name.replace('_', '-')}"
                raise UsageError(f"{said} is a share, 0 to 1, not {getattr(self, name):g}")
        if not 0 <= self.seed < 1 << 32:
            raise UsageError(f"--seed is a whole number from 0 to {(1 << 32) - 1}, not {self.seed}")
        if not 0 < self.rate <= 1:
            raise UsageError(f"--rate is a learning rate, above 0 and at most 1, not {self.rate:g}")
        if self.patience < 0:
            raise UsageError(f"--patience counts epochs, 0 for no early end, not {self.patience}")
        choices = {"augment": AUGMENTATIONS, "accelerator": ACCELERATORS, "tune": ("all", "head")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"--{name} {getattr(self, name)} is unknown: {', '.join(known)}")
        if self.source() == "random" and self.tune == "head":
            raise UsageError("--tune head keeps all other layers: give --weights that are trained")
        if self.output is not None and self.output.suffix != ".safetensors":
            raise UsageError(f"--output {self.output}: name a .safetensors file")
        if self.output is not None:
            self.refuse_existing(self.output)
        find_pictures(Path(self.data))


def recipe_path(weights: Path) -> Path:
    """Return where the recipe of trained integers lies."""
    return weights.with_suffix(".recipe.json")
