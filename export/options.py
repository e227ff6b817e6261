"""What a user can ask of an export: a field each, which the command's options and the library's checks derive from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from edgeconv.accelerator import ACCELERATORS
from edgeconv.artifact import Crop, Order
from edgeconv.deps import installed
from edgeconv.errors import UsageError
from edgeconv.export.kinds import AUTO_HEAD, NMS_HEADS, RECIPES, Cpu, Io, Precision, Prefer
from edgeconv.export.option import names, option
from edgeconv.export.targets import TARGETS
from edgeconv.preprocessing import AUTO, NAMED, ORDERS, numbers, read_crop

if TYPE_CHECKING:
    import torch

COPIES, TINY_COPIES, TINY = {"best": 0.1}, {"best": 0.25}, 50e6
"""Recipe -> share of the multiply-adds that copies of noisy channels may add; of nets with fewer than TINY."""
MINUTES = {"best": 5.0}
"""Recipe -> how long PyTorch may train its integers, where it is installed."""

Shapes = tuple[tuple[int, ...], ...] | Mapping[str, tuple[int, ...]]
"""Of the inputs in the model's order, or by name; () is a scalar's."""

SAMPLES = "DIR|FILE.npz|FILE.npy|file.py:function"
WRITE, NET, PICTURES = "What to write", "The net", "Pictures"
INTEGERS, COREML, OTHER = "INT8", "Core ML", ""
"""Sections of the command's help, in their order; "": its rest."""


@dataclass(frozen=True)
class ExportOptions:
    """Every option of ``edgeconv export``; see the command's help for each.

    ``mean`` and ``std`` are on the 0..1 scale, one value or one a channel; None takes the weights'
    own. ``opset`` None is 18, or the newest that the file's operators need. ``input_shapes`` holds
    (N, C, H, W) for picture nets; one a positional input, or by name, otherwise. ``input_types`` are
    numpy's names of a module's inputs that are not float32. ``freeze_inputs`` are by name: a number, a
    nest of them, or what the command takes as text.
    ``preprocessing`` names a mean and a std (edgeconv/preprocessing.py), or is "auto".
    ``image_input`` implies ``embed_preprocessing``: an image has no other values than pixels.
    """

    # fmt: off
    net: "str | torch.nn.Module"

    targets: tuple[str, ...] = option(
        ("onnx",), WRITE, "Format to write; several between commas, or repeated.",
        flag="target", choices=tuple(TARGETS), many=True, shown=True,
    )
    precision: Precision = "fp32"
    io: Io | None = option(None, WRITE, "Type of INT8's borders.", choices=get_args(Io))
    output: Path = option(
        Path("exported"), WRITE, "Where files go.", kind=Path, metavar="DIR", shown=True
    )
    opset: int | None = option(
        None, WRITE, "Of the .onnx file. Default: 18, or what it needs.", kind=int
    )
    author: str | None = option(None, WRITE, "Into the file: TFLite, Core ML.")
    license: str | None = option(None, WRITE, "Into the file: TFLite, Core ML.")
    model_version: str | None = option(None, WRITE, "Into the file: TFLite, Core ML.")
    nms: str | None = option(
        None, WRITE, "A detector's file for apps too, with NMS inside: TFLite, Core ML.",
        choices=(AUTO_HEAD, *NMS_HEADS),
    )
    nms_iou: float | None = option(
        None, WRITE, "Overlap at which the weaker box goes. Default: 0.7.", kind=float
    )
    nms_score: float | None = option(
        None, WRITE, "Weaker boxes are none. Default: 0.25.", kind=float
    )
    force: bool = option(False, WRITE, "Replace files that exist.", kind=bool)

    fresh: bool = option(
        False, WRITE, "Convert anew where an equal export is kept.", kind=bool
    )

    weights: str | None = option(
        None, NET, "Default: bundled.", metavar="bundled|imagenet|random|FILE",
        choices=("bundled", "imagenet", "random"), open=True,
    )
    width: float | None = option(None, NET, "Channel multiplier.", kind=float)
    groups: int | None = option(None, NET, "ShuffleNetV1's groups: 1, 2, 3, 4 or 8.", kind=int)
    ratio: int | None = option(None, NET, "GhostNet's ratio s.", kind=int)
    activation: str | None = option(None, NET, "MobileNets.", choices=("relu6", "relu"))
    resolution: int | None = option(
        None, NET, "Height and width of the input.", kind=int, metavar="N"
    )
    input_shapes: Shapes = option(
        (), NET, "Shape of an input; repeat for each.",
        flag="input-shape", metavar="[NAME=]N,C,H,W[:TYPE]", many=True,
    )
    input_types: Mapping[str, str] = field(default_factory=dict)
    freeze_inputs: Mapping[str, Any] = option(
        {}, NET, "Make a constant of an input: number, N,N,..., true, false or FILE.npy; repeat for each.",
        flag="freeze-input", metavar="NAME=VALUE", many=True,
    )
    classes: int | None = option(None, NET, "Classes, for random weights.", kind=int)
    seed: int = option(0, NET, "Of random weights.", kind=int, shown=True)
    softmax: bool = option(False, NET, "Append a softmax.", kind=bool)

    calib: str | None = option(
        None, PICTURES, "Samples that calibrate INT8; some are kept for verification.",
        metavar=SAMPLES,
    )
    calib_count: int = option(
        128, PICTURES, "At most so many.", kind=int, shown=True, recipe=True
    )
    verify: str | None = option(
        None, PICTURES, "Verify on these samples instead of on what calibration left.",
        metavar=SAMPLES,
    )
    verify_count: int | None = option(
        None, PICTURES, "At most so many. Default: 200; of bundled pictures all.", kind=int
    )
    truth: str | None = option(
        None, PICTURES, "What the pictures of --verify (else --calib) show.",
        metavar="FILE.csv|folders",
    )
    labels: Path | None = option(
        None, PICTURES, "Class names, a line each, or those of an exported file.", kind=Path, metavar="NAMES.txt|FILE"
    )
    preprocessing: str | None = option(
        None, PICTURES,
        "Instead of --mean and --std: ImageNet's, 0..1, -1..1, 0..255, or by the first batch norm.",
        choices=(*NAMED, AUTO),
    )
    mean: tuple[float, ...] | None = option(
        None, PICTURES, "On the 0..1 scale, in the tensor's order. Default: the weights' own, else ImageNet's.",
        read=numbers, metavar="M[,M,M]",
    )
    std: tuple[float, ...] | None = option(
        None, PICTURES, "On the 0..1 scale, in the tensor's order. Default: the weights' own, else ImageNet's.",
        read=numbers, metavar="S[,S,S]",
    )
    crop: Crop | None = option(
        None, PICTURES, "Centre crop of the resized picture, or all of it between bars. Default: 0.875.",
        kind=float, read=read_crop, metavar="FRACTION|letterbox",
    )
    channel_order: Order | None = option(
        None, PICTURES, "Of the tensor. Default: the weights' own, else rgb.", choices=ORDERS
    )
    embed_preprocessing: bool = option(
        False, PICTURES, "The model takes raw 0..255 pixels.", kind=bool
    )

    recipe: str = option(
        "std", INTEGERS, "INT8 recipe: fast, std, best or FILE.json.",
        choices=RECIPES, open=True, shown=True, recipe=True,
    )
    max_drop: float | None = option(
        None, INTEGERS, "Keep layers in float to lose no more.",
        kind=float, metavar="POINTS", recipe=True,
    )
    keep_float: tuple[str, ...] = option(
        (), INTEGERS, "Nodes that stay in float; worst:N for the N that lose most.", read=names, metavar="NODE,...", recipe=True
    )
    copies: float | None = option(
        None, INTEGERS, "Multiply-adds to add for noisy channels; best 0.1, of tiny nets 0.25.",
        kind=float, metavar="SHARE", recipe=True,
    )
    minutes: float | None = option(
        None, INTEGERS, "Train the integers with PyTorch for so long at most; best 5, 0 for none.",
        kind=float, recipe=True,
    )
    accelerator: str = option(
        "cpu", INTEGERS, "Where PyTorch trains the integers.",
        choices=ACCELERATORS, shown=True, recipe=True,
    )
    allow_poor_calibration: bool = option(
        False, INTEGERS, "Take pictures that look unfit.", kind=bool, recipe=True
    )
    prefer: Prefer = option(
        "speed", INTEGERS, "Rewrite INT8 files for speed, or keep them small; the same bits.",
        choices=get_args(Prefer), shown=True, recipe=True,
    )
    cpu: Cpu = option(
        "any", INTEGERS, "Processor that INT8 files are rewritten for; the same bits.",
        choices=get_args(Cpu), shown=True, recipe=True,
    )
    reduce_range: bool = option(
        False, INTEGERS, "7-bit weights, for x86 without VNNI.", kind=bool, recipe=True
    )

    image_input: bool = option(
        False, COREML, "Core ML: images in; with --labels, a classifier. Others: pixels.", kind=bool
    )
    coreml_compute: Literal["fp32", "fp16"] | None = option(
        None, COREML, "Core ML arithmetic.", choices=("fp16", "fp32")
    )
    min_ios: int | None = option(
        None, COREML, "Core ML: oldest iOS.", kind=int, metavar="15|16|17|18"
    )
    int8_weights: bool = option(
        False, COREML, "Core ML, TFLite, with --int8: weights only.", kind=bool
    )
    avoid_known_issues: bool = option(
        False, COREML, "Core ML: rewrite reported patterns.", kind=bool
    )

    threads: int | None = option(None, OTHER, "Default: all processors.", kind=int)
    # fmt: on

    def __post_init__(self) -> None:
        if self.image_input:
            object.__setattr__(self, "embed_preprocessing", True)

    def check(self) -> None:
        """Raise UsageError naming the first option that cannot be right."""
        from edgeconv.export.option_checks import check

        check(self)

    def shapes_given(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of ``input_shapes``, named or not, but of inputs that are frozen."""
        given = self.input_shapes
        if not isinstance(given, Mapping):
            return given
        return tuple(shape for name, shape in given.items() if name not in self.freeze_inputs)

    def named_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return what ``input_shapes`` says of the inputs ``names``; it may leave named ones out.

        Shapes without names are those of the inputs that ``freeze_inputs`` leaves open.
        Raises UsageError for a name that no input has, or another number of shapes without names.
        """
        given = self.input_shapes
        if isinstance(given, Mapping):
            known = {*names, *self.freeze_inputs}
            if unknown := sorted((given.keys() | self.input_types.keys()) - known):
                raise UsageError(
                    f"--input-shape {unknown[0]}=: no input is called so; there is {', '.join(names)}"
                )
            return dict(given)
        names = [name for name in names if name not in self.freeze_inputs]
        if given and len(given) != len(names):
            raise UsageError(
                f"the model takes {len(names)} inputs ({', '.join(names)}), "
                f"{len(given)} --input-shape given"
            )
        return dict(zip(names, given, strict=True)) if given else {}

    @property
    def named(self) -> str:
        """The net as the user names it; the class of a live module."""
        return self.net if isinstance(self.net, str) else type(self.net).__name__

    @property
    def recipe_file(self) -> Path | None:
        """The file that ``recipe`` names instead of a way to make one."""
        return Path(self.recipe) if self.recipe.endswith(".json") else None

    def copies_share(self, multiply_adds: float) -> float:
        """Return the share of a net's multiply-adds that copies of noisy channels may add."""
        usual = TINY_COPIES if multiply_adds < TINY else COPIES
        if self.copies is None:
            return 0.0 if self.prefer == "size" else usual.get(self.recipe, 0.0)
        return self.copies

    @property
    def training_minutes(self) -> float:
        """How long PyTorch may train the integers; raises where it is asked for and not installed."""
        if self.minutes:
            installed(("torch", "torch"))
        elif self.minutes is None and find_spec("torch") is None:
            return 0.0
        return MINUTES.get(self.recipe, 0.0) if self.minutes is None else self.minutes

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


Progress = Callable[[str, float], None]
"""Called with a stage's name and how much of it is done, 0 to 1."""
