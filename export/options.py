"""What a user can ask of an export, checked before any work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edgeconv.errors import UsageError
from edgeconv.export.kinds import Cpu, Io, Precision, Prefer
from edgeconv.export.targets import TARGETS, readers, special_fields
from edgeconv.preprocessing import AUTO, NAMED

if TYPE_CHECKING:
    import torch

RECIPES = ("fast", "std", "best")
COPIES = {"best": 0.1}
"""Recipe -> share of the multiply-adds that copies of noisy channels may add."""
INTEGER_ONLY = (
    "recipe",
    "max_drop",
    "keep_float",
    "copies",
    "calib_count",
    "allow_poor_calibration",
    "reduce_range",
    "prefer",
    "cpu",
)
"""Fields that say something about a recipe, or about what is made from one."""

MIN_OPSET, MAX_OPSET = (
    13,
    21,
)  # per-channel DequantizeLinear starts at 13; onnxruntime 1.18 reads 21


Shapes = tuple[tuple[int, ...], ...] | Mapping[str, tuple[int, ...]]
"""Of the inputs in the model's order, or by name; () is a scalar's."""
INPUT_TYPES = ("float32", "float16", "int32", "int64", "uint8", "int8", "bool")


@dataclass(frozen=True)
class ExportOptions:
    """Every option of ``edgeconv export``; see the command's help for each.

    ``mean`` and ``std`` are on the 0..1 scale, one value or one a channel; None takes the weights'
    own. ``opset`` None is 18, or the newest that the file's operators need. ``input_shapes`` holds
    (N, C, H, W) for picture nets; one a positional input, or by name, otherwise. ``input_types`` are
    numpy's names of a module's inputs that are not float32.
    ``preprocessing`` names a mean and a std (edgeconv/preprocessing.py), or is "auto".
    ``image_input`` implies ``embed_preprocessing``: an image has no other values than pixels.
    """

    net: "str | torch.nn.Module"
    targets: tuple[str, ...] = ("onnx",)
    precision: Precision = "fp32"
    weights: str | None = None
    width: float | None = None
    groups: int | None = None
    ratio: int | None = None
    activation: str | None = None
    resolution: int | None = None
    input_shapes: Shapes = ()
    input_types: Mapping[str, str] = field(default_factory=dict)
    classes: int | None = None
    calib: str | None = None
    calib_count: int = 128
    verify: str | None = None
    verify_count: int | None = None  # 200 of the user's own, every bundled one
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: float | None = None
    preprocessing: str | None = None
    embed_preprocessing: bool = False
    io: Io | None = None
    labels: Path | None = None
    truth: str | None = None
    softmax: bool = False
    output: Path = Path("exported")
    opset: int | None = None
    seed: int = 0
    recipe: str = "std"
    max_drop: float | None = None
    copies: float | None = None  # a share of the multiply-adds; None: the recipe's own
    keep_float: tuple[str, ...] = ()
    allow_poor_calibration: bool = False
    prefer: Prefer = "speed"
    cpu: Cpu = "any"
    reduce_range: bool = False
    threads: int | None = None
    force: bool = False
    coreml_compute: Literal["fp32", "fp16"] | None = None
    min_ios: int | None = None
    image_input: bool = False
    int8_weights: bool = False
    avoid_known_issues: bool = False
    author: str | None = None
    license: str | None = None
    model_version: str | None = None

    def __post_init__(self) -> None:
        if self.image_input:
            object.__setattr__(self, "embed_preprocessing", True)

    def check(self) -> None:
        """Raise UsageError naming the first option that cannot be right."""
        for target in self.targets:
            if target not in TARGETS:
                raise UsageError(f"--target {target} is unknown: {' or '.join(TARGETS)}")
        self._check_rewrites()
        self._check_targets()
        if self.embed_preprocessing and self.io == "int8":
            raise UsageError("--embed-preprocessing takes raw 0..255 pixels: --io uint8 or float")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise UsageError(f"--crop is a fraction in (0, 1], not {self.crop:g}")
        if self.preprocessing not in (None, AUTO, *NAMED):
            known = ", ".join((*NAMED, AUTO))
            raise UsageError(f"--preprocessing {self.preprocessing} is unknown: {known}")
        if self.preprocessing is not None and (self.mean or self.std):
            raise UsageError("--preprocessing names a mean and a std: leave --mean and --std out")
        if self.std is not None and any(value <= 0 for value in self.std):
            raise UsageError("--std must be positive, on the 0..1 scale")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, 3):
                raise UsageError(f"--{name} takes one value or three, not {len(values)}")
            if values is not None and any(value > 2 for value in values):
                raise UsageError(
                    f"--{name} is on the 0..1 scale (divide by 255): {values[0]:g} is too large"
                )
        if self.recipe_file is None and self.recipe not in RECIPES:
            raise UsageError(f"--recipe {self.recipe}: {', '.join(RECIPES)} or a .json file")
        if self.max_drop is not None and self.max_drop < 0:
            raise UsageError(
                f"--max-drop is points of top-1 to lose at most, not {self.max_drop:g}"
            )
        if self.copies is not None and not 0 <= self.copies <= 1:
            raise UsageError(
                f"--copies is a share of the multiply-adds to add, 0 to 1, not {self.copies:g}"
            )
        self._refuse_pointless()
        if self.calib_count < 1:
            raise UsageError(f"--calib-count must be at least 1, not {self.calib_count}")
        if self.verify_count is not None and self.verify_count < 1:
            raise UsageError(f"--verify-count must be at least 1, not {self.verify_count}")
        if self.opset is not None and not MIN_OPSET <= self.opset <= MAX_OPSET:
            raise UsageError(f"--opset {self.opset} is not supported: {MIN_OPSET} to {MAX_OPSET}")
        if self.resolution is not None and self.resolution < 1:
            raise UsageError(f"--resolution must be positive, not {self.resolution}")
        for shape in self.shapes_given():
            if any(size < 1 for size in shape):
                raise UsageError(
                    f"--input-shape {','.join(map(str, shape))}: every size must be positive"
                )
        for name, kind in self.input_types.items():
            if kind not in INPUT_TYPES:
                raise UsageError(
                    f"--input-shape {name}: {kind} is not one of {', '.join(INPUT_TYPES)}"
                )

    def shapes_given(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of ``input_shapes``, named or not."""
        given = self.input_shapes
        return tuple(given.values()) if isinstance(given, Mapping) else given

    def named_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return what ``input_shapes`` says of the inputs ``names``; it may leave named ones out.

        Raises UsageError for a name that no input has, or another number of shapes without names.
        """
        given = self.input_shapes
        if isinstance(given, Mapping):
            if unknown := sorted((given.keys() | self.input_types.keys()) - set(names)):
                raise UsageError(
                    f"--input-shape {unknown[0]}=: no input is called so; there is {', '.join(names)}"
                )
            return dict(given)
        if given and len(given) != len(names):
            raise UsageError(
                f"the model takes {len(names)} inputs ({', '.join(names)}), "
                f"{len(given)} --input-shape given"
            )
        return dict(zip(names, given, strict=True)) if given else {}

    def _refuse_pointless(self) -> None:
        """Raise UsageError naming an option that would change nothing."""
        usual = {field.name: field.default for field in fields(self)}
        for names, used, reason in (
            (INTEGER_ONLY, self.integer, "--int8 with a recipe: a float file holds no integers"),
            (("io",), self.precision == "int8", "--int8: a float model has float borders"),
            *(
                ((name,), set(self.targets) & set(readers(name)), _any_target(readers(name)))
                for name in special_fields()
            ),
            (
                ("truth",),
                self.verify or self.calib,
                "the pictures that it is about: --verify or --calib",
            ),
        ):
            for name in names:
                if not used and getattr(self, name) not in (usual[name], "float"):
                    raise UsageError(f"--{name.replace('_', '-')} needs {reason}")

    def _check_rewrites(self) -> None:
        for name, value, known in (
            ("prefer", self.prefer, get_args(Prefer)),
            ("cpu", self.cpu, get_args(Cpu)),
        ):
            if value not in known:
                raise UsageError(f"--{name} {value} is unknown: {', '.join(known)}")

    def _check_targets(self) -> None:
        for name in self.targets:
            for own in TARGETS[name].alone:
                if getattr(self, own) and len(self.targets) > 1:
                    raise UsageError(f"--{own.replace('_', '-')} is for --target {name} alone")
            TARGETS[name].refuse(self)

    @property
    def named(self) -> str:
        """The net as the user names it; the class of a live module."""
        return self.net if isinstance(self.net, str) else type(self.net).__name__

    @property
    def recipe_file(self) -> Path | None:
        """The file that ``recipe`` names instead of a way to make one."""
        return Path(self.recipe) if self.recipe.endswith(".json") else None

    @property
    def copies_share(self) -> float:
        """The share of multiply-adds that copies of noisy channels may add."""
        if self.copies is None:
            return 0.0 if self.prefer == "size" else COPIES.get(self.recipe, 0.0)
        return self.copies

    @property
    def integer(self) -> bool:
        """Whether there is a recipe, which needs calibration.

        INT8 weights alone do without one, and are corrected by one where --calib or a recipe's file
        is given: 28.6 instead of 20.8 dB on MobileNetV1 0.25.
        """
        given = self.calib is not None or self.recipe_file is not None
        return self.precision == "int8" and (given or not self.int8_weights)

    @property
    def suffix(self) -> str:
        """How file names say the precision."""
        return "int8w" if self.int8_weights else self.precision


def _any_target(names: list[str]) -> str:
    return f"--target {' or '.join(names)}"


Progress = Callable[[str, float], None]
"""Called with a stage's name and how much of it is done, 0 to 1."""
