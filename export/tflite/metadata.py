"""TFLite Metadata: what Android Studio, MediaPipe Tasks and the Task Library read of a file.

A flatbuffer of its own (metadata_schema.fbs, identifier M001) is the model's metadata entry
TFLITE_METADATA; the files that it names follow the model as an uncompressed zip. The field numbers
below are those of the public schema.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeconv.artifact import Preprocessing
from edgeconv.deps import require
from edgeconv.export.tflite.detection import CATEGORY, DETECTION, LOCATION
from edgeconv.tensors import TensorSpec

ENTRY = "TFLITE_METADATA"
LABELS = "labels.txt"
IDENTIFIER = b"M001"

MODEL_NAME, MODEL_DESCRIPTION, MODEL_VERSION, MODEL_SUBGRAPHS = 0, 1, 2, 3
MODEL_AUTHOR, MODEL_LICENSE, MODEL_PARSER = 4, 5, 7
SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, SUBGRAPH_GROUPS, SUBGRAPH_CUSTOM = 2, 3, 8, 9
TENSOR_NAME, TENSOR_DESCRIPTION, TENSOR_CONTENT, TENSOR_UNITS, TENSOR_FILES = 0, 1, 3, 4, 6
CONTENT_KIND, CONTENT, CONTENT_RANGE = 0, 1, 2
FEATURE, IMAGE, BOX = 1, 2, 3  # ContentProperties
BOX_INDEX, BOX_TYPE, BOUNDARIES = 0, 1, 1
RANGE_MIN, RANGE_MAX = 0, 1
GROUP_NAME, GROUP_TENSORS = 0, 1
CUSTOM_NAME, CUSTOM_DATA = 0, 1
IMAGE_COLOUR, UNKNOWN, RGB, GRAYSCALE = 0, 0, 1, 2
UNIT_KIND, UNIT, NORMALIZATION = 0, 1, 1
NORMALIZATION_MEAN, NORMALIZATION_STD = 0, 1
FILE_NAME, FILE_DESCRIPTION, FILE_KIND, AXIS_LABELS, VALUE_LABELS = 0, 1, 2, 2, 3
SEGMENTER, SEGMENTER_IDENTIFIER, ACTIVATION = "SEGMENTER_METADATA", b"V001", 0
NO_ACTIVATION, SIGMOID, SOFTMAX = 0, 1, 2
PARSER = "1.0.0"  # the first version of the format has all of these fields


@dataclass(frozen=True)
class App:
    """What an app is told of a model besides its tensors; empty texts are left out.

    ``how`` is None where no picture goes in. ``labels`` name the last axis of the first output
    that is as long, or what the detection operator calls a category. ``activation`` is what makes
    a segmenter's map probabilities; None for other nets.
    """

    name: str
    description: str
    how: Preprocessing | None = None
    labels: Sequence[str] | None = None
    version: str = ""
    author: str = ""
    license: str = ""
    activation: int | None = None


@dataclass(frozen=True)
class Table:
    """A flatbuffer table: field number -> str, bytes, int, Byte, Table, or a list of one kind of those, floats too."""

    fields: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Byte:
    """A field of one byte: an enumeration or the kind of a union."""

    value: int


def app_metadata(app: App, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
    """Return the metadata flatbuffer of a model with these borders, in the file's order.

    Shapes are as stored: pictures (N, H, W, C).
    """
    labelled = labelled_output(app, outputs)
    graph = Table(
        {
            SUBGRAPH_INPUTS: [_input(spec, app.how) for spec in inputs],
            SUBGRAPH_OUTPUTS: [_output(spec, spec is labelled) for spec in outputs],
            SUBGRAPH_GROUPS: _groups(outputs),
            SUBGRAPH_CUSTOM: [] if app.activation is None else [_segmenter(app.activation)],
        }
    )
    model = {
        MODEL_NAME: app.name,
        MODEL_DESCRIPTION: app.description,
        MODEL_VERSION: app.version,
        MODEL_SUBGRAPHS: [graph],
        MODEL_AUTHOR: app.author,
        MODEL_LICENSE: app.license,
        MODEL_PARSER: PARSER,
    }
    return _finished(Table(model), IDENTIFIER)


def _finished(table: Table, identifier: bytes) -> bytes:
    builder = require("flatbuffers", "export").Builder(1024)
    builder.Finish(_write(builder, table), identifier)
    return bytes(builder.Output())


def labelled_output(app: App, outputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """Return the output whose last axis, or whose values, the labels name, if any."""
    if is_detection(outputs):
        return outputs[1] if app.labels else None
    fitting = (s for s in outputs if app.labels and s.shape and s.shape[-1] == len(app.labels))
    return next(fitting, None)


def is_detection(outputs: Sequence[TensorSpec]) -> bool:
    """Whether a file ends in the detection operator."""
    return [spec.name for spec in outputs] == list(DETECTION)


def pack_labels(data: bytes, labels: Sequence[str]) -> bytes:
    """Return the model with its labels file appended, as zip readers find it from the end."""
    whole = io.BytesIO()
    whole.write(data)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        member = zipfile.ZipInfo(LABELS)  # 1980-01-01: the same bytes every day
        member.create_system = 3
        archive.writestr(member, "".join(f"{one_line(label)}\n" for label in labels))
    return whole.getvalue()


def one_line(label: str) -> str:
    """Return a label that fills one line, because lines are counted.

    >>> one_line("a\\nb")
    'a b'
    """
    return " ".join(label.split())


def refused_by_apps(app: App, inputs: Sequence[TensorSpec]) -> str | None:
    """Return why MediaPipe and the Task Library would refuse a picture model or feed it wrongly."""
    if app.how is None or len(inputs) != 1:
        return None
    spec, how = inputs[0], app.how
    if spec.dtype == "int8":
        return "apps that read TFLite Metadata feed float and uint8 borders: --io float or uint8"
    if how.order == "bgr":
        return "apps that read TFLite Metadata feed RGB pixels, and this net takes BGR"
    if how.embedded or (spec.dtype == "float32" and len({*how.mean}) == len({*how.std}) == 1):
        return None
    if spec.dtype == "uint8" and _takes_pixels(spec, how):
        return None
    return (
        "apps that read TFLite Metadata take one mean and std for all channels: "
        "with --embed-preprocessing the file takes pixels, and they take it"
    )


def _takes_pixels(spec: TensorSpec, how: Preprocessing) -> bool:
    """Whether the stored uint8 of every channel is the pixel itself, to half a quantum."""
    q = spec.quantization
    return q is not None and all(
        abs(q.scale * (pixel - q.zero_point) + q.offset - (pixel / 255 - mean) / std) <= q.scale / 2
        for pixel in (0, 255)
        for mean in how.mean
        for std in how.std
    )


def _input(spec: TensorSpec, how: Preprocessing | None) -> Table:
    if how is None or len(spec.shape) != 4 or spec.shape[3] not in (1, 3):
        return Table({TENSOR_NAME: spec.name, TENSOR_CONTENT: _content(FEATURE, Table())})
    colour = GRAYSCALE if spec.shape[3] == 1 else UNKNOWN if how.order == "bgr" else RGB
    about = {
        TENSOR_NAME: spec.name,
        TENSOR_DESCRIPTION: f"a picture of {spec.shape[2]}x{spec.shape[1]} pixels",
        TENSOR_CONTENT: _content(IMAGE, Table({IMAGE_COLOUR: Byte(colour)})),
    }
    if spec.dtype == "float32":
        mean, std = ([0.0], [1.0]) if how.embedded else (how.mean, how.std)
        scale = 1.0 if how.embedded else 255.0  # the reader starts from 0..255
        options = Table(
            {
                NORMALIZATION_MEAN: [scale * value for value in mean],
                NORMALIZATION_STD: [scale * value for value in std],
            }
        )
        about[TENSOR_UNITS] = [Table({UNIT_KIND: Byte(NORMALIZATION), UNIT: options})]
    return Table(about)


def _output(spec: TensorSpec, labelled: bool) -> Table:
    content = _content(FEATURE, Table())
    if spec.name == LOCATION:  # where left, top, right and bottom are: the operator says y first
        sides = Table({BOX_INDEX: [1, 0, 3, 2], BOX_TYPE: Byte(BOUNDARIES)})
        content = _content(BOX, sides, Table({RANGE_MIN: 2, RANGE_MAX: 2}))
    about = {TENSOR_NAME: spec.name, TENSOR_CONTENT: content}
    if labelled:
        names = {
            FILE_NAME: LABELS,
            FILE_DESCRIPTION: "a class a line",
            FILE_KIND: Byte(VALUE_LABELS if spec.name == CATEGORY else AXIS_LABELS),
        }
        about[TENSOR_FILES] = [Table(names)]
    return Table(about)


def _content(kind: int, properties: Table, places: Table | None = None) -> Table:
    about: dict[int, Any] = {CONTENT_KIND: Byte(kind), CONTENT: properties}
    return Table(about if places is None else {**about, CONTENT_RANGE: places})


def _groups(outputs: Sequence[TensorSpec]) -> list[Table]:
    if not is_detection(outputs):
        return []
    return [Table({GROUP_NAME: "detection_result", GROUP_TENSORS: list(DETECTION[:3])})]


def _segmenter(activation: int) -> Table:
    options = _finished(Table({ACTIVATION: Byte(activation)}), SEGMENTER_IDENTIFIER)
    return Table({CUSTOM_NAME: SEGMENTER, CUSTOM_DATA: options})


def _write(builder: Any, table: Table) -> int:
    """Write ``table`` and all below it; return where it starts. Offsets come before their table."""
    given = {slot: value for slot, value in table.fields.items() if value not in ("", [])}
    offsets = {
        slot: _place(builder, value)
        for slot, value in given.items()
        if not isinstance(value, Byte | int)
    }
    builder.StartObject(max(given, default=-1) + 1)
    for slot, value in given.items():
        if isinstance(value, Byte):
            builder.PrependByteSlot(slot, value.value, 0)
        elif isinstance(value, int):
            builder.PrependInt32Slot(slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return int(builder.EndObject())


def _place(builder: Any, value: str | bytes | Table | list[Any]) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        return int(builder.CreateByteVector(value))
    if isinstance(value, Table):
        return _write(builder, value)
    plain = {float: builder.PrependFloat32, int: builder.PrependUint32}.get(type(value[0]))
    items = value if plain else [_place(builder, item) for item in value]
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        (plain or builder.PrependUOffsetTRelative)(item)
    return int(builder.EndVector())
