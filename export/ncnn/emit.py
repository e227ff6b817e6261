"""Write a prepared float graph as ncnn's two files."""

from collections import Counter
from dataclasses import dataclass

from edgeconv.export.graph import Graph
from edgeconv.export.ncnn.say import Emission
from edgeconv.export.ncnn.table import OPS
from edgeconv.export.ncnn.write import written
from edgeconv.formats.ncnn_file import SIDES

COMPUTE = (
    "Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise", "InnerProduct", "MatMul",
)  # fmt: skip


@dataclass(frozen=True)
class NcnnModel:
    """The text of the .param, the bytes of the .bin, tensor -> blob, and how many layers of a kind.

    ``inputs`` and ``outputs`` are the blobs of the graph's, in order.
    """

    param: str
    weights: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: dict[str, str]
    layers: Counter[str]

    @property
    def compute(self) -> int:
        """How many layers are convolutions or products."""
        return sum(self.layers[kind] for kind in COMPUTE)


def emit_ncnn(graph: Graph, *, half: bool = False) -> NcnnModel:
    """Return ``graph`` as an ncnn model; ``half``: with weights in float16, where ncnn takes them so.

    Raises EdgeconvError for a weight that float16 has not. The graph is one that ``table.stops`` passes.
    """
    em = Emission(graph.clone(), half)
    for name in graph.inputs:
        shape = em.own(name)
        sides = dict(zip(SIDES[len(shape)], shape, strict=True))
        em.blobs[name] = em.layer("Input", name, [], sides)[0]
    for node in em.graph.nodes:
        OPS[node.op].emit(em, node)
    for name in graph.outputs:
        if name in graph.constants:
            em.blobs[name] = em.read(name)
    param, weights, outputs = written(em)
    names = {name: blob.name for name, blob in em.blobs.items()} | dict(
        zip(graph.outputs, outputs, strict=True)
    )
    in_file = {name: blob for name, blob in names.items() if blob in param.split()}
    inputs = tuple(em.blobs[name].name for name in graph.inputs)
    kinds = Counter(line.split()[0] for line in param.splitlines()[2:])
    return NcnnModel(param, weights, inputs, tuple(outputs), in_file, kinds)
