"""A package's program, read and checked: typed operations in single-assignment form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.mil_blobs import BlobFile
from edgeconv.formats.mil_types import DTYPES, STRING, OtherType, TensorType, ValueType, read_type
from edgeconv.formats.mlpackage import Package
from edgeconv.formats.protobuf import CorruptFileError, Message, decode_text

MAX_DEPTH = 16
PIPELINE, ML_PROGRAM, NON_MAXIMUM_SUPPRESSION = (
    202,
    502,
    610,
)  # kinds of models, fields of Model.proto


@dataclass(frozen=True)
class Reference:
    """An argument that is the value of this name."""

    name: str


Constant = NDArray[Any] | str | list[Any]
Argument = Reference | Constant


@dataclass(frozen=True)
class Operation:
    """One operation: its arguments by parameter (``values`` holds a list), its typed results."""

    kind: str
    arguments: dict[str, list[Argument]]
    results: tuple[tuple[str, ValueType], ...]

    @property
    def what(self) -> str:
        """How messages call it."""
        return f"{self.kind} {self.results[0][0] if self.results else ''}".strip()


@dataclass(frozen=True)
class Feature:
    """An input or output as the model description shows it.

    ``kind`` is "array", "image", "string", "dictionary" or "other"; ``colours`` of an image: "L", "RGB"
    or "BGR", the order in which its pixels become channels.
    """

    name: str
    kind: str
    colours: str = ""


@dataclass(frozen=True)
class Parsed:
    """What a specification says: operations, constants by name, borders, metadata.

    ``thinned``: it is a pipeline, whose non-maximum suppression follows; the outputs are those before it.
    """

    version: int
    opset: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: dict[str, Constant]
    types: dict[str, ValueType]
    features: dict[str, Feature]
    metadata: dict[str, str]
    thinned: bool = False


def parse(package: Package, function: str | None = None) -> Parsed:
    """Read the specification of a package and check its program.

    Raises CorruptFileError for a value used before it is made, a name given twice, a constant
    or weight whose size is not the declared one, anything nested or larger than a program is.
    """
    model = Message(memoryview(package.model.read_bytes()))
    whole, pipeline = model.child(2), model.child(PIPELINE)
    thinned = False
    if pipeline is not None:
        steps = list(pipeline.children(1))
        thinned = len(steps) == 2 and steps[1].child(NON_MAXIMUM_SUPPRESSION) is not None
        model = steps[0] if thinned else model
    program, description = model.child(ML_PROGRAM), model.child(2)
    if program is None or description is None:
        raise CorruptFileError(
            f"{package.path} holds no ML Program; other model types are not read"
        )
    functions = program.mapping(2)
    name = function or description.text(21) or "main"
    if name not in functions:
        raise CorruptFileError(f"{package.path} has no function {name}")
    opset = functions[name].text(2)
    blocks = functions[name].mapping(3)
    if opset not in blocks:
        raise CorruptFileError(f"{package.path} has no code for its own opset {opset!r}")
    reader = _Reader(package)
    inputs = [_input(raw) for raw in functions[name].children(1)]
    for port, kind in inputs:
        reader.define(port, kind, "the inputs")
    operations = [reader.operation(raw) for raw in blocks[opset].children(3)]
    outputs = tuple(decode_text(raw) for raw in blocks[opset].all_bytes(2))
    for port in outputs:
        if port not in reader.types:
            raise CorruptFileError(f"the output {port} is made by nothing")
    return Parsed(
        model.number(1),
        opset,
        tuple(inputs),
        outputs,
        tuple(op for op in operations if op is not None),
        reader.constants,
        reader.types,
        _features(description),
        _metadata(whole or description),
        thinned,
    )


def _input(message: Message) -> tuple[str, TensorType]:
    kind = read_type(message.child(2), f"the input {message.text(1)}")
    if not isinstance(kind, TensorType):
        raise CorruptFileError(f"the input {message.text(1)} is no tensor")
    return message.text(1), kind


class _Reader:
    """Reads operations in order, so that a value is known before its readers."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.types: dict[str, ValueType] = {}
        self.constants: dict[str, Constant] = {}
        self.files: dict[str, BlobFile] = {}

    def define(self, name: str, kind: ValueType, by: str) -> None:
        if name in self.types:
            raise CorruptFileError(f"{by} makes {name}, which already exists")
        self.types[name] = kind

    def operation(self, message: Message) -> Operation | None:
        """Return the operation; None for a const, which is kept by name."""
        kind = message.text(1)
        results = tuple(
            (raw.text(1), read_type(raw.child(2), f"{kind} {raw.text(1)}"))
            for raw in message.children(3)
        )
        if not results:
            raise CorruptFileError(f"an operation {kind} makes nothing")
        what = f"{kind} {results[0][0]}"
        attributes = message.mapping(5)
        if kind == "const":
            if "val" not in attributes:
                raise CorruptFileError(f"{what} has no value")
            value = self.value(attributes["val"], what)
            self._check_constant(value, results[0][1], what)
            self.define(results[0][0], results[0][1], what)
            self.constants[results[0][0]] = value
            return None
        if message.all_bytes(4):
            raise CorruptFileError(f"{what} holds blocks of its own, which the evaluator lacks")
        arguments = {
            key: [self.argument(raw, what, key) for raw in argument.children(1)]
            for key, argument in message.mapping(2).items()
        }
        for key, raw in attributes.items():  # before iOS 18 constexpr operands are attributes
            if key != "name" and key not in arguments:
                arguments[key] = [self.value(raw, f"{key} of {what}")]
        for name, result in results:
            self.define(name, result, what)
        return Operation(kind, arguments, results)

    def argument(self, message: Message, what: str, key: str) -> Argument:
        if message.bytes(1) is None:
            value = message.child(2)
            if value is None:
                raise CorruptFileError(f"{what} has an empty argument {key}")
            return self.value(value, f"{key} of {what}")
        name = message.text(1)
        if name not in self.types:
            raise CorruptFileError(f"{what} reads {name}, which nothing before it makes")
        return self.constants.get(name, Reference(name))

    def _check_constant(self, value: Constant, kind: ValueType, what: str) -> None:
        if isinstance(value, np.ndarray) and (
            not isinstance(kind, TensorType)
            or kind.shape != value.shape
            or kind.dtype != value.dtype
        ):
            raise CorruptFileError(f"{what} is declared {kind} and holds {value.dtype.name}")

    def value(self, message: Message, what: str, depth: int = 0) -> Constant:
        """Return a constant: an array, a string, or a list of them."""
        if depth > MAX_DEPTH:
            raise CorruptFileError(f"{what} is nested more than {MAX_DEPTH} deep")
        kind = read_type(message.child(2), what)
        blob = message.child(5)
        if blob is not None:
            if not isinstance(kind, TensorType):
                raise CorruptFileError(f"{what} keeps something that is no tensor in a file")
            name = blob.text(1)
            if name not in self.files:
                self.files[name] = BlobFile(self.package.resolve(name))
            return self.files[name].read(blob.number(2), kind, what)
        immediate = message.child(3)
        if immediate is None:
            raise CorruptFileError(f"{what} has no value")
        items = immediate.child(3)
        if items is not None:
            return [self.value(raw, what, depth + 1) for raw in items.children(1)]
        tensor = immediate.child(1)
        if tensor is None:
            raise CorruptFileError(f"{what} has a value that is neither tensor nor list")
        return _immediate(tensor, kind, what)


def _strings(raw: Message) -> list[str]:
    return [decode_text(item) for item in raw.all_bytes(1)]


NUMBERS: dict[int, Callable[[Message], NDArray[Any]]] = {
    1: lambda raw: raw.packed(1, "<f4"),
    2: lambda raw: np.array(raw.numbers(1), np.int64),
    3: lambda raw: np.array(raw.numbers(1), np.int64),
    5: lambda raw: np.array(raw.numbers(1), np.int64),
    6: lambda raw: raw.packed(1, "<f8"),
}


def _immediate(message: Message, kind: ValueType, what: str) -> Constant:
    strings = message.child(4)
    if strings is not None:
        found = _strings(strings)
        if kind == OtherType("string"):
            if len(found) != 1:
                raise CorruptFileError(f"{what} is one string and holds {len(found)}")
            return found[0]
        return list(found)
    if not isinstance(kind, TensorType):
        raise CorruptFileError(f"{what} is declared {kind} and holds numbers")
    raw = message.child(7)
    if raw is not None:
        data = raw.bytes(1) or memoryview(b"")
        if len(data) % kind.dtype.itemsize:
            raise CorruptFileError(f"{what} is cut in the middle of a number")
        values: NDArray[Any] = np.frombuffer(data, kind.dtype)
    else:
        number = next((n for n in NUMBERS if n in message.fields), None)
        child = None if number is None else message.child(number)
        values = np.zeros(0) if number is None or child is None else NUMBERS[number](child)
        try:
            values = values.astype(kind.dtype)
        except OverflowError as error:
            raise CorruptFileError(f"{what} holds numbers too large for {kind}") from error
    if values.size != int(np.prod(kind.shape, dtype=np.int64)):
        raise CorruptFileError(f"{what} is declared {kind} and holds {values.size} values")
    return values.reshape(kind.shape)


FEATURES = {3: "string", 4: "image", 5: "array", 6: "dictionary"}
COLOURS = {10: "L", 20: "RGB", 30: "BGR", 40: "L"}


def _features(description: Message) -> dict[str, Feature]:
    found = {}
    groups = [description]
    default = description.text(21)
    groups += [f for f in description.children(20) if f.text(1) == default]
    for group, fields in zip(groups, ((1, 10), (2, 3)), strict=False):
        for field in fields:
            for raw in group.children(field):
                kind = raw.child(3) or Message(memoryview(b""))
                label = next((name for n, name in FEATURES.items() if n in kind.fields), "other")
                image = kind.child(4)
                colours = "" if image is None else COLOURS.get(image.number(3), "")
                found[raw.text(1)] = Feature(raw.text(1), label, colours)
    return found


def _metadata(description: Message) -> dict[str, str]:
    raw = description.child(100)
    if raw is None:
        return {}
    names = {1: "description", 2: "version", 3: "author", 4: "license"}
    found = {name: raw.text(number) for number, name in names.items() if raw.text(number)}
    found |= {entry.text(1): entry.text(2) for entry in raw.children(100)}
    return found


__all__ = ["DTYPES", "STRING", "Feature", "Operation", "Parsed", "Reference", "parse"]
