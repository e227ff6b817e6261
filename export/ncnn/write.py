"""Put the layers of an emission into the two files: forks where a blob is read twice, names, numbers."""

from collections.abc import Iterable, Sequence

from edgeconv.export.ncnn.say import WIDEST, Blob, Emission, Layer, Parameter, plain_name
from edgeconv.formats.ncnn_file import ARRAY, MAGIC


def written(em: Emission) -> tuple[str, bytes, list[str]]:
    """Return the .param's text, the .bin's bytes, and what the outputs are called there.

    Every blob has its name afterwards; inputs and outputs are called as in the graph, as far as a
    .param can say it.
    """
    outputs = {name: Blob() for name in em.graph.outputs}
    layers = _forked(_alive(em), [(em.blobs[name], blob) for name, blob in outputs.items()])
    taken: set[str] = set()
    for name in em.graph.inputs:
        _call(em.blobs[name], name, taken)
    for name, blob in outputs.items():
        _call(blob, name, taken)
    for name, blob in em.blobs.items():
        if not blob.name:
            _call(blob, name, taken)
    for layer in layers:
        for blob in layer.gives:
            if not blob.name:
                _call(blob, layer.name, taken)
    lines = [str(MAGIC), f"{len(layers)} {sum(len(layer.gives) for layer in layers)}"]
    names: set[str] = set()
    lines += [_line(layer, _unique(plain_name(layer.name), names)) for layer in layers]
    ends = [blob.name for blob in outputs.values()]
    return "\n".join(lines) + "\n", b"".join(layer.weights for layer in layers), ends


def _alive(em: Emission) -> list[Layer]:
    """Return the layers that reach an output, and the inputs."""
    wanted = {em.blobs[name] for name in em.graph.outputs}
    kept = []
    for layer in reversed(em.layers):
        if layer.kind == "Input" or wanted & set(layer.gives):
            wanted |= set(layer.reads)
            kept.append(layer)
    return kept[::-1]


def _forked(layers: Iterable[Layer], ends: Sequence[tuple[Blob, Blob]]) -> list[Layer]:
    """Return the layers with a Split after each blob that several read: ncnn gives a blob to one reader.

    ``ends`` are (blob, output): an output is a reader too, and gets a blob of its own.
    """
    layers = list(layers)
    uses: dict[Blob, int] = {}
    for layer in layers:
        for blob in layer.reads:
            uses[blob] = uses.get(blob, 0) + 1
    asked: dict[Blob, list[Blob]] = {}
    for blob, output in ends:
        asked.setdefault(blob, []).append(output)
    made: list[Layer] = []
    branches: dict[Blob, list[Blob]] = {}
    for layer in layers:
        reads = [branches[blob].pop() if blob in branches else blob for blob in layer.reads]
        gives = list(layer.gives)
        layer = Layer(layer.kind, layer.name, reads, gives, layer.parameters, layer.weights)
        made.append(layer)
        for place, blob in enumerate(layer.gives):
            results, readers = asked.get(blob, []), uses.get(blob, 0)
            if results and not readers and len(results) == 1 and layer.kind != "Input":
                gives[place] = results[0]
            elif results or readers > 1:
                forks = [Blob() for _ in range(readers)]
                branches[blob] = list(forks)
                name = f"split_{layer.name}"
                made.append(Layer("Split", name, [blob], [*results, *forks], {}))
    return made


def _call(blob: Blob, name: str, taken: set[str]) -> None:
    blob.name = _unique(plain_name(name), taken)


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _line(layer: Layer, name: str) -> str:
    head = f"{layer.kind:<24} {name:<24} {len(layer.reads)} {len(layer.gives)}"
    blobs = [blob.name for blob in (*layer.reads, *layer.gives)]
    values = [_parameter(number, layer.parameters[number]) for number in layer.parameters]
    return " ".join([head, *blobs, *values])


def _parameter(number: int, value: Parameter) -> str:
    if isinstance(value, (int, float)):
        return f"{number}={_number(value)}"
    return f"{ARRAY - number}={','.join([str(len(value)), *map(_number, value)])}"


def _number(value: float) -> str:
    """Return a number in 15 characters at most, which is what ncnn reads; floats have a point.

    >>> _number(3), _number(0.5), _number(-1 / 3)
    ('3', '5.00000000e-01', '-3.33333333e-01')
    """
    return str(value) if isinstance(value, int) else f"{min(max(value, -WIDEST), WIDEST):.8e}"
