"""Cut the layer that departs out of its graph, with inputs that show it: a repro for upstream.

The severed run has already found the layer, so nothing has to be searched: what is left is the
piece between its own inputs and its output. The folder holds

- ``piece.onnx``: the layer of an ONNX file itself, or, for another format, of its reference
- ``piece.tflite``: the layer of a .tflite file
- ``inputs.npz``: what the piece is fed, by its own input names (``tflite_inputs.npz`` for the .tflite)
- ``outputs.npz``: ``expected`` and ``observed``, real values in ONNX's layout
- ``README.md``: what differs, in which versions, and how to run it again
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.files import replacing, write_bytes, write_text
from edgeconv.parity.layers.figures import Layer

if TYPE_CHECKING:
    from edgeconv.parity.layers.exposed import Reference
    from edgeconv.parity.layers.opened import Opened

Array = NDArray[Any]


@dataclass(frozen=True)
class Shown:
    """The picture that shows the difference best: real tensors, the file's own inputs, both results."""

    real: Mapping[str, Array]
    pictures: Mapping[str, Array]
    expected: Array
    observed: Array


def write_repro(
    folder: Path,
    layer: Layer,
    shown: Shown,
    opened: "Opened",
    reference: "Reference",
    simulated: tuple[bytes, "Opened"] | None,
    data: bytes,
    what: str,
) -> list[str]:
    """Write the repro of ``layer`` into ``folder`` and return the names of its files.

    ``data`` is the file that departs, ``what`` says in which runtime.
    """
    if opened.kind == "tflite":
        piece, fed = _tflite_piece(data, layer.tensor, opened, shown)
        write_bytes(folder / "piece.tflite", piece)
        _save(folder / "tflite_inputs.npz", fed)
    if opened.kind != "onnx" and simulated is not None:
        onnx_data, source = simulated
        model, onnx_fed = _onnx_piece(onnx_data, layer.tensor, source, shown)
    elif opened.kind != "onnx":
        model, onnx_fed = _reference_piece(reference, layer.tensor, shown)
    else:
        model, onnx_fed = _onnx_piece(data, layer.tensor, opened, shown)
    write_bytes(folder / "piece.onnx", model)
    _save(folder / "inputs.npz", onnx_fed)
    _save(folder / "outputs.npz", {"expected": shown.expected, "observed": shown.observed})
    write_text(folder / "README.md", _readme(layer, shown, what, opened.kind))
    return sorted(path.name for path in folder.iterdir())


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _onnx_piece(
    data: bytes, tensor: str, opened: "Opened", shown: Shown
) -> tuple[bytes, dict[str, Array]]:
    import onnx

    from edgeconv.parity.layers.surgery_onnx import cut

    model = onnx.load_from_string(data)
    out = opened.outs[tensor]
    known = {name: t for t, name in opened.outs.items() if t in opened.codecs and name != out}
    borders = [value.name for value in model.graph.input]
    piece = cut(model, [*known, *borders], [out])
    fed = {}
    for value in piece.graph.input:
        if value.name in known:
            source = known[value.name]
            fed[value.name] = opened.codecs[source].encode(shown.real[source])
        elif value.name in shown.pictures:
            fed[value.name] = shown.pictures[value.name]
        else:
            fed[value.name] = shown.real[value.name]
    return piece.SerializeToString(deterministic=True), fed


def _reference_piece(
    reference: "Reference", tensor: str, shown: Shown
) -> tuple[bytes, dict[str, Array]]:
    from edgeconv.parity.layers.surgery_onnx import cut

    # a clamp belongs to the layer in front of it, so what is between them is no border
    borders = [t for t in shown.real if t != tensor and not t.endswith("_before_clamp")]
    piece = cut(reference.model, borders, [tensor])
    fed = {value.name: shown.real[value.name] for value in piece.graph.input}
    return piece.SerializeToString(deterministic=True), fed


def _tflite_piece(
    data: bytes, tensor: str, opened: "Opened", shown: Shown
) -> tuple[bytes, dict[str, Array]]:
    from edgeconv.parity.layers.surgery_tflite import OUT, read_model, write_model

    model = copy.deepcopy(read_model(data))
    graph = model.subgraphs[0]
    out = int(opened.outs[tensor].removeprefix(OUT))
    known = {int(n.removeprefix(OUT)): t for t, n in opened.outs.items() if t in opened.codecs}
    known.pop(out, None)
    makers = {int(i): op for op in graph.operators for i in op.outputs}
    borders = [int(i) for i in graph.inputs]
    needed, inputs, waiting = [], [], [out]
    while waiting:
        index = waiting.pop()
        if index in known or index in borders:
            inputs.append(index)
        elif index in makers and makers[index] not in needed:
            needed.append(makers[index])
            waiting.extend(int(i) for i in makers[index].inputs if i >= 0)
    graph.operators = [op for op in graph.operators if op in needed]
    graph.inputs, graph.outputs = sorted(set(inputs)), [out]
    model.signatureDefs = None
    _drop_unused(model)
    fed = {}
    for index in graph.inputs:
        name = graph.tensors[index].name.decode()
        if index in known:
            fed[name] = opened.codecs[known[index]].encode(shown.real[known[index]])
        else:
            fed[name] = shown.pictures[name]
    return write_model(model), fed


def _drop_unused(model: Any) -> None:
    """Empty the buffers that no operator of the piece reads."""
    graph = model.subgraphs[0]
    read = {int(i) for op in graph.operators for i in op.inputs if i >= 0}
    kept = {graph.tensors[index].buffer for index in read}
    kept |= {item.buffer for item in model.metadata or []}
    for number, buffer in enumerate(model.buffers):
        if number not in kept:
            buffer.data = None


def _readme(layer: Layer, shown: Shown, what: str, kind: str) -> str:
    worst = float(np.abs(shown.expected.astype(np.float64) - shown.observed).max())
    tflite = kind == "tflite"
    file, module = ("piece.tflite", "litert") if tflite else ("piece.onnx", "onnxrt")
    inputs = "tflite_inputs.npz" if tflite else "inputs.npz"
    shows = "what departs" if kind != "coreml" else "what is expected; the package itself departs"
    return f"""# {layer.op} {layer.node}

{layer}.

Seen in {what}: the largest difference between `expected` and `observed` (outputs.npz) is {worst:.6g}. This runs {shows}:

```python
from pathlib import Path
import numpy as np
from edgeconv.runtimes.{module} import open as open_file

with open_file(Path("{file}")) as runner:
    print(runner.infer(dict(np.load("{inputs}"))))
```
"""
