"""ncnn's pair of files: the .param, which is text, and the .bin of weights. Read without ncnn.

A .param is the number 7767517, how many layers and blobs there are, and a line a layer: kind, name, how
many blobs it reads and gives, their names, parameters as number=value. See ncnn's
docs/developer-guide/param-and-model-file-structure.md and operation-param-weight-table.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.files import partner
from edgeconv.foreign import read_text

MAGIC = 7767517
ARRAY = -23300
"""A parameter that is an array has this less its number."""
SIDES = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
"""Number of axes -> parameter of each axis of a shape, in Input, MemoryData and Reshape."""
MOST_AXES = 4
"""Axes that ncnn's Mat has."""
HALF, INTEGERS, RAW = 0x01306B47, 0x000D4B38, 0x0002C056
"""The word before weights in float16, in int8, and in float32, where 0 is usual. See ncnn's modelbin.cpp."""

Shape = tuple[int, ...]


def own_shape(shape: Sequence[int]) -> Shape:
    """Return the shape that a tensor has in ncnn: without a batch of one; flat where axes are too many.

    >>> own_shape((1, 3, 8, 8)), own_shape((1, 10)), own_shape(()), own_shape((2, 3, 4, 5, 6))
    ((3, 8, 8), (10,), (1,), (720,))
    """
    if not shape:
        return (1,)
    if len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return tuple(shape) if len(shape) <= MOST_AXES else (prod(shape),)


@dataclass(frozen=True)
class NcnnLayer:
    """A line of a .param; ``parameters`` are as they are written, arrays as their values."""

    kind: str
    name: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: dict[int, str]

    def int(self, number: int, default: "int" = 0) -> "int":
        """Return a parameter that is a whole number."""
        return int(self.parameters.get(number, default))


@dataclass(frozen=True)
class NcnnFile:
    """What a .param describes: its layers, its inputs with their shapes (None: open), its outputs."""

    layers: tuple[NcnnLayer, ...]
    inputs: dict[str, Shape | None]
    outputs: tuple[str, ...]


def read_pair(path: Path) -> NcnnFile:
    """Read the .param at ``path`` and hold the .bin beside it against it.

    Raises EdgeconvError naming the file that is missing, cut short or no such file.
    """
    found = _read_param(path)
    weights = partner(path)
    assert weights is not None
    if not weights.is_file():
        raise EdgeconvError(f"{weights} is missing: {path.name} and {weights.name} are one model")
    _check_weights(found, path, weights)
    return found


def _read_param(path: Path) -> NcnnFile:
    bad = f"{path} is no ncnn .param: "
    try:
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise EdgeconvError(f"{bad}it is not text") from error
    if len(lines) < 2 or lines[0] != [str(MAGIC)]:
        raise EdgeconvError(f"{bad}it does not begin with {MAGIC}")
    try:
        count, blobs = map(int, lines[1])
    except ValueError as error:
        raise EdgeconvError(f"{bad}its second line is not two numbers") from error
    if (held := len(lines) - 2) < count:
        raise EdgeconvError(f"{path} is cut short: it has {held} of {count} layers")
    if held > count:
        raise EdgeconvError(f"{bad}it names {count} layers and has {held}")
    layers = tuple(_layer(words, bad) for words in lines[2:])
    given = [name for layer in layers for name in layer.gives]
    read = {name for layer in layers for name in layer.reads}
    if len(given) != blobs or len(set(given)) != blobs or not read <= set(given):
        raise EdgeconvError(f"{bad}its layers do not give the {blobs} blobs that it names")
    inputs = {layer.gives[0]: _shape(layer) for layer in layers if layer.kind == "Input"}
    outputs = tuple(name for name in given if name not in read and name not in inputs)
    if not inputs or not outputs:
        raise EdgeconvError(f"{bad}it has no {'output' if inputs else 'input'}")
    return NcnnFile(layers, inputs, outputs)


def _layer(words: list[str], bad: str) -> NcnnLayer:
    try:
        kind, name, reads, gives = words[0], words[1], int(words[2]), int(words[3])
        names, rest = words[4 : 4 + reads + gives], words[4 + reads + gives :]
        if (
            reads < 0
            or gives < 0
            or len(names) != reads + gives
            or (kind == "Input" and gives != 1)
        ):
            raise ValueError
        parameters = dict(_parameter(word) for word in rest)
        found = NcnnLayer(kind, name, tuple(names[:reads]), tuple(names[reads:]), parameters)
        if kind == "Input":
            _shape(found)
        _check_numbers(found)
        return found
    except (ValueError, IndexError) as error:
        raise EdgeconvError(f"{bad}no layer is: {' '.join(words)[:80]}") from error


def _check_numbers(layer: NcnnLayer) -> None:
    """Raise ValueError where a parameter that is read here is no whole number."""
    for number in (6, 8, 19):
        if layer.kind in WEIGHTS or layer.kind in ("Gemm", "MatMul", "Padding"):
            layer.int(number)
    if layer.kind in WEIGHTS:
        WEIGHTS[layer.kind](layer)


def _parameter(word: str) -> tuple[int, str]:
    number, _, value = word.partition("=")
    place = int(number)
    if place <= ARRAY:  # 3,1,2,3: the first is how many follow
        return ARRAY - place, value.partition(",")[2]
    return place, value


def _shape(layer: NcnnLayer) -> Shape | None:
    sizes = [layer.int(number) for number in (2, 11, 1, 0)]
    kept = tuple(size for size in sizes if size)
    return kept if kept and min(kept) > 0 and sizes[3] else None


Parts = list[tuple[int, bool]]
"""How many values a layer's weights have, one after another, and whether a word says their type."""


def _convolution(layer: NcnnLayer) -> Parts:
    return [(layer.int(6), True), *([(layer.int(0), False)] if layer.int(5) else [])]


def _product(layer: NcnnLayer) -> Parts:
    return [(layer.int(2), True), *([(layer.int(0), False)] if layer.int(1) else [])]


def _affine(layer: NcnnLayer) -> Parts:
    return [(layer.int(0), False)] * (2 if layer.int(2, 1) else 0)


def _stored(layer: NcnnLayer) -> Parts:
    size = prod(layer.int(number) or 1 for number in (0, 1, 11, 2))
    return [(size, layer.int(21, 1) == 0)]


WEIGHTS: dict[str, Callable[[NcnnLayer], Parts]] = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise", "Deconvolution"), _convolution),
    **dict.fromkeys(
        ("DeconvolutionDepthWise", "Convolution1D", "ConvolutionDepthWise1D"), _convolution
    ),
    "InnerProduct": _product,
    **dict.fromkeys(("InstanceNorm", "LayerNorm"), _affine),
    "MemoryData": _stored,
    "PReLU": lambda layer: [(layer.int(0), False)],
    "BatchNorm": lambda layer: [(layer.int(0), False)] * 4,
}
"""Layer -> what it takes of the .bin."""
PLAIN = frozenset(
    [
        "BinaryOp",
        "BNLL",
        "CELU",
        "Clip",
        "Concat",
        "Crop",
        "CumulativeSum",
        "Dropout",
        "ELU",
        "Erf",
        "Flatten",
        "Flip",
        "GELU",
        "HardSigmoid",
        "HardSwish",
        "Input",
        "Interp",
        "LRN",
        "MatMul",
        "Mish",
        "Noop",
        "Packing",
        "Padding",
        "Permute",
        "PixelShuffle",
        "Pooling",
        "Reduction",
        "Reorg",
        "ReLU",
        "Reshape",
        "SELU",
        "ShuffleChannel",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Softplus",
        "Split",
        "Squeeze",
        "Swish",
        "TanH",
        "Tile",
        "UnaryOp",
        "ExpandDims",
    ]
)
"""Layers that take nothing of the .bin (a Padding of a value a channel, parameter 6, does)."""
QUANTIZED = {"Convolution": 8, "ConvolutionDepthWise": 8, "InnerProduct": 8}
"""Layer -> the parameter that says that scales of INT8 follow its weights."""


def _check_weights(found: NcnnFile, path: Path, weights: Path) -> None:
    """Raise EdgeconvError for a .bin of another size than the layers take; unknown layers stop the check."""
    at, size = 0, weights.stat().st_size
    with weights.open("rb") as file:
        for layer in found.layers:
            if layer.kind in PLAIN and not (layer.kind == "Padding" and layer.int(6)):
                continue
            scaled = layer.kind in QUANTIZED and layer.int(QUANTIZED[layer.kind])
            if layer.kind not in WEIGHTS or scaled or _dynamic(layer):
                return
            for count, flagged in WEIGHTS[layer.kind](layer):
                width = 4
                if flagged:
                    file.seek(at)
                    word = int.from_bytes(file.read(4), "little")
                    if word == INTEGERS:
                        return
                    if at < size and word not in (0, HALF, RAW):
                        raise EdgeconvError(
                            f"{weights} holds no weights where layer {layer.name} of {path.name} has its own: it "
                            "is damaged, or belongs to another .param"
                        )
                    at, width = at + 4, 2 if word == HALF else 4
                at += -(-count * width // 4) * 4
            if at > size:
                raise EdgeconvError(
                    f"{weights} has {size} bytes and ends in layer {layer.name} of {path.name}: it is cut "
                    "short, or belongs to another .param"
                )
    if at < size:
        raise EdgeconvError(
            f"{weights} has {size} bytes, and the layers of {path.name} take {at}: they are not of one model"
        )


def _dynamic(layer: NcnnLayer) -> bool:
    """Whether the weights of a layer are computed: it takes none of the .bin then."""
    return layer.kind != "InnerProduct" and bool(layer.int(19) and "Deconv" not in layer.kind)
