"""The arguments of ``export_model`` as types, and errors in their words instead of the command's flags."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args, get_origin

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.manifest_schema import Precision

if TYPE_CHECKING:
    from edgeconv.export.option import Option


class ExportArguments(TypedDict, total=False):
    """What ``export_model`` takes beside the net; ``edgeconv export --help`` says what each does.

    ``input_shape`` is ``input_shapes`` of a net with one input. A text does for one target, and for
    every path.
    """

    targets: Sequence[str] | str
    precision: Precision
    weights: str | Path | None
    width: float | None
    groups: int | None
    ratio: int | None
    activation: str | None
    resolution: int | None
    input_shape: Sequence[int]
    input_shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]]
    input_types: Mapping[str, str]
    freeze_inputs: Mapping[str, Any]
    classes: int | None
    calib: str | Path | None
    calib_count: int
    verify: str | Path | None
    verify_count: int | None
    mean: Sequence[float] | float | None
    std: Sequence[float] | float | None
    crop: float | Literal["letterbox"] | None
    channel_order: Literal["rgb", "bgr"] | None
    preprocessing: str | None
    embed_preprocessing: bool
    io: Literal["float", "int8", "uint8"] | None
    labels: str | Path | None
    truth: str | Path | None
    softmax: bool
    output: str | Path
    opset: int | None
    seed: int
    recipe: str | Path
    max_drop: float | None
    keep_float: Sequence[str]
    allow_poor_calibration: bool
    copies: float | None
    minutes: float | None
    accelerator: Literal["cpu", "cuda", "mps"]
    prefer: Literal["speed", "size"]
    cpu: Literal["any", "x86", "pi4", "pi5", "arm"]
    reduce_range: bool
    nms: Literal["auto", "yolov8", "yolov5", "ssd"] | None
    nms_iou: float | None
    nms_score: float | None
    threads: int | None
    force: bool
    fresh: bool
    coreml_compute: Literal["fp32", "fp16"] | None
    min_ios: int | None
    image_input: bool
    int8_weights: bool
    avoid_known_issues: bool
    author: str | None
    license: str | None
    model_version: str | None


Named = str | Path
"""A file, as text or as a Path."""


def as_paths(given: Named | Sequence[Named]) -> tuple[Path, ...]:
    """Return one file or several as Paths.

    >>> [path.name for path in as_paths("out/net.tflite")]
    ['net.tflite']
    """
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))


def as_values(given: Sequence[float] | float | None) -> tuple[float, ...] | None:
    """Return one number or several as a tuple, None as it is."""
    if given is None:
        return None
    return (float(given),) if isinstance(given, int | float) else tuple(given)


def settled(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as the fields of ExportOptions: tuples, and paths where they belong.

    >>> settled({"targets": "tflite", "mean": 0.5, "input_shape": [1, 3, 8, 8]})
    {'targets': ('tflite',), 'mean': (0.5,), 'input_shapes': ((1, 3, 8, 8),)}
    """
    found = dict(arguments)
    for name in ("input_shape", "input_shapes"):
        if isinstance(found.get(name), str):
            raise UsageError(f"{name} takes numbers, such as (1, 3, 224, 224), not {found[name]!r}")
    if "input_shape" in found:
        found["input_shapes"] = (found.pop("input_shape"),)
    shapes = found.get("input_shapes")
    if isinstance(shapes, Mapping):
        found["input_shapes"] = {name: tuple(shape) for name, shape in shapes.items()}
    elif shapes is not None:
        found["input_shapes"] = tuple(tuple(shape) for shape in shapes)
    for name, how in options().items():
        value = found.get(name)
        if value is None or name in ("input_shapes", "freeze_inputs"):
            continue
        if how.many or (how.read is not None and how.kind is str):
            found[name] = (value,) if isinstance(value, (str, int, float)) else tuple(value)
        elif how.kind in (Path, str):
            found[name] = how.kind(value)
    return found


FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)( [a-z0-9]+(?=[,;:)]| |$))?")
COMMAND = re.compile("edgeconv [a-z]+ ")
_flags: ContextVar[bool] = ContextVar("_flags", default=False)


def in_arguments(text: str, kind: type = ExportArguments) -> str:
    """Say in the arguments of ``kind``, a TypedDict, what ``text`` says in flags; commands stay as they are.

    >>> in_arguments("--io uint8 needs --int8; --force replaces it")
    'io="uint8" needs precision="int8"; force=True replaces it'
    """
    command = COMMAND.search(text)
    end = len(text) if command is None else command.start()
    arguments = _by_flag(kind)

    def spoken(match: re.Match[str]) -> str:
        flag, value = match[1], (match[2] or "").strip()
        name, hint = arguments.get(flag.removeprefix("no-"), ("", None))
        if flag in choices(arguments.get("precision", ("", None))[1]):
            return f'precision="{flag}"{match[2] or ""}'
        if hint is bool:
            return f"{name}={not flag.startswith('no-')}{match[2] or ''}"
        if not name:
            return match[0]
        return f'{name}="{value}"' if value in choices(hint) else f"{name}{match[2] or ''}"

    return FLAG.sub(spoken, text[:end]) + text[end:]


@cache
def _by_flag(kind: type) -> Mapping[str, tuple[str, Any]]:
    """Return each argument and its type by its flag; one of several values has a flag for each of them."""
    found: dict[str, tuple[str, Any]] = {}
    for name, hint in kind.__annotations__.items():
        one = name.removesuffix("_s").removesuffix("s")
        found[one.replace("_", "-")] = name, hint
        found.setdefault(name.replace("_", "-"), (name, hint))
    return found


def choices(hint: Any) -> tuple[str, ...]:
    """Return the words that a type allows.

    >>> choices(Literal["float", "int8"] | None)
    ('float', 'int8')
    """
    parts = (hint, *get_args(hint))
    return tuple(w for part in parts if get_origin(part) is Literal for w in get_args(part))


@cache
def options() -> "Mapping[str, Option]":
    """Return how every field of ExportOptions is given."""
    from edgeconv.export.option import option_of
    from edgeconv.export.options import ExportOptions

    return {field.name: how for field in fields(ExportOptions) if (how := option_of(field))}


@contextmanager
def speaking_of_flags() -> Iterator[None]:
    """Leave the errors of every call in the block in the words of the command line."""
    token = _flags.set(True)
    try:
        yield
    finally:
        _flags.reset(token)


@contextmanager
def speaking_of_arguments(kind: type = ExportArguments) -> Iterator[None]:
    """Let every error of ours that leaves the block speak of arguments, but where a command called."""
    try:
        yield
    except EdgeconvError as error:
        if not _flags.get():
            error.args = (in_arguments(str(error), kind), *error.args[1:])
        raise
