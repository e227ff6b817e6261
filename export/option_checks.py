"""Which options cannot be, or would change nothing: checked before any work."""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from edgeconv.accelerator import device
from edgeconv.errors import UsageError
from edgeconv.export.keep_float import read_keep_float
from edgeconv.export.kinds import RECIPES
from edgeconv.export.option import Option, default_of, option_of
from edgeconv.export.targets import TARGETS, lacking, readers, special_fields
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.models.specs import SPECS
from edgeconv.preprocessing import check_wished

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions

MIN_OPSET, MAX_OPSET = 13, 21
"""Per-channel DequantizeLinear starts at 13; onnxruntime 1.18 reads 21."""

INPUT_TYPES = ("float32", "float16", "int32", "int64", "uint8", "int8", "bool")

MAKING = (
    "copies", "minutes", "accelerator", "keep_float", "max_drop", "reduce_range", "allow_poor_calibration",
)  # fmt: skip
"""Options that change how a recipe is made and nothing else."""


def check(options: "ExportOptions") -> None:
    """Raise UsageError naming the first option that cannot be right."""
    _check_choices(options)
    for name in options.targets:
        TARGETS[name].refuse(options)
    formless = lacking(options)
    if len(formless) == len(options.targets):
        raise UsageError("; ".join(formless.values()))
    _check_pictures(options)
    _check_recipe(options)
    _check_nms(options)
    _refuse_pointless(options)
    _check_counts(options)
    _check_shapes(options)


def _given(options: "ExportOptions") -> Iterator[tuple[str, Option, object]]:
    """Yield name, option and value of every field that has another value than its default."""
    for field in fields(options):
        how, value = option_of(field), getattr(options, field.name)
        if how is not None and value != default_of(field):
            yield field.name, how, value


def _check_choices(options: "ExportOptions") -> None:
    if options.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"precision {options.precision} is unknown: {known}")
    for name, how, value in _given(options):
        for one in value if isinstance(value, tuple) else (value,):
            if how.choices and not how.open and one not in how.choices:
                raise UsageError(f"{how.flag_of(name)} {one} is unknown: {', '.join(how.choices)}")


def _check_pictures(options: "ExportOptions") -> None:
    if options.embed_preprocessing and options.io == "int8":
        raise UsageError("--embed-preprocessing takes raw 0..255 pixels: --io uint8 or float")
    check_wished(options)


def _check_recipe(options: "ExportOptions") -> None:
    read_keep_float(options.keep_float)  # refuses a worst:N without a number
    if options.recipe_file is None and options.recipe not in RECIPES:
        raise UsageError(f"--recipe {options.recipe}: {', '.join(RECIPES)} or a .json file")
    if options.max_drop is not None and options.max_drop < 0:
        raise UsageError(f"--max-drop is points of top-1 to lose at most, not {options.max_drop:g}")
    if options.copies is not None and not 0 <= options.copies <= 1:
        raise UsageError(
            f"--copies is a share of the multiply-adds to add, 0 to 1, not {options.copies:g}"
        )
    if options.minutes is not None and not 0 <= options.minutes < float("inf"):
        raise UsageError(f"--minutes is how long to train at most, not {options.minutes:g}")
    if options.accelerator != "cpu":
        if not options.training_minutes:
            raise UsageError(
                f"--accelerator {options.accelerator} is where integers are trained, which recipe "
                f"{options.recipe} does not do: give --recipe best or --minutes"
            )
        device(options.accelerator)


def _check_nms(options: "ExportOptions") -> None:
    if options.nms is not None and options.net in SPECS:
        raise UsageError(f"--nms is for detectors, and {options.net} is a classifier")
    for name, value in (("nms-iou", options.nms_iou), ("nms-score", options.nms_score)):
        if value is None:
            continue
        if options.nms is None:
            raise UsageError(f"--{name} needs --nms")
        if not 0 < value < 1:
            raise UsageError(f"--{name} is between 0 and 1, not {value:g}")


def _refuse_pointless(options: "ExportOptions") -> None:
    """Raise UsageError naming an option that would change nothing."""
    pictures = options.verify or options.calib
    for name, how, value in _given(options):
        flag, only = how.flag_of(name), readers(name) if name in special_fields() else []
        if how.recipe and not options.integer:
            raise UsageError(f"{flag} needs --int8 with a recipe: a float file holds no integers")
        if name == "int8_weights" and options.precision != "int8":
            raise UsageError(f"{flag} needs --int8")
        if name == "int8_weights" and options.io not in (None, "float"):
            raise UsageError(f"{flag} leaves activations in float: leave out --io")
        if name in MAKING and options.recipe_file is not None:
            raise UsageError(
                f"{flag} is about making a recipe: {options.recipe} is one already, leave {flag} out"
            )
        if name == "io" and options.precision != "int8" and value != "float":
            raise UsageError(f"{flag} needs --int8: a float model has float borders")
        if only and not set(options.targets) & set(only):
            raise UsageError(f"{flag} needs --target {' or '.join(only)}")
        if name == "truth" and not pictures:
            raise UsageError(f"{flag} needs the pictures that it is about: --verify or --calib")


def _check_counts(options: "ExportOptions") -> None:
    for name, value in (
        ("calib-count", options.calib_count),
        ("verify-count", options.verify_count),
        ("resolution", options.resolution),
        ("threads", options.threads),
    ):
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")
    if options.opset is not None and not MIN_OPSET <= options.opset <= MAX_OPSET:
        raise UsageError(f"--opset {options.opset} is not supported: {MIN_OPSET} to {MAX_OPSET}")


def _check_shapes(options: "ExportOptions") -> None:
    for shape in options.shapes_given():
        if any(size < 1 for size in shape):
            said = ",".join(map(str, shape))
            raise UsageError(f"--input-shape {said}: every size must be positive")
    for name, kind in options.input_types.items():
        if kind not in INPUT_TYPES:
            raise UsageError(f"--input-shape {name}: {kind} is not one of {', '.join(INPUT_TYPES)}")
