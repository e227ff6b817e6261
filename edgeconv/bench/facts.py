"""What a model is made of as it runs: integer, dynamic and float operators, islands, transposes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.files import temporary_folder
from edgeconv.formats.census import COMPUTE, ONNX_DYNAMIC, ONNX_INTEGER
from edgeconv.formats.onnx_file import WireGraph, WireNode, read_onnx
from edgeconv.isolate import call
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.table import RUNTIMES

LIMIT_S = 600.0
"""How long a file may take to open."""

ONNX_COMPUTE = COMPUTE["onnx"] - ONNX_INTEGER - ONNX_DYNAMIC
TFLITE_COMPUTE = COMPUTE["tflite"]
ONNX_BORDER = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"}
SHAPE_ONLY = {
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "ReorderInput",
    "ReorderOutput",
}


@dataclass(frozen=True)
class Island:
    """Operators that compute in float between two integer ones: operator -> count, and one name."""

    ops: Mapping[str, int]
    example: str


@dataclass(frozen=True)
class ModelFacts:
    """A model as its runtime executes it.

    ``compute`` counts convolutions and matrix products; each is ``integer``, ``dynamic`` (weights
    int8, activations quantized anew in every run) or float. ``conversions`` counts quantize and
    dequantize operators.
    """

    form: str
    ops: Mapping[str, int]
    compute: int
    integer: int
    dynamic: int
    conversions: int
    transposes: int
    islands: tuple[Island, ...] = ()
    float_compute: tuple[str, ...] = field(default=())

    @property
    def quantized(self) -> bool:
        """Whether anything in it is integer, or was meant to be."""
        return self.integer > 0 or self.dynamic > 0 or self.conversions > 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


def facts_from_json(data: Mapping[str, Any]) -> ModelFacts:
    """Read what ``ModelFacts.to_json`` wrote."""
    islands = tuple(Island(i["ops"], i["example"]) for i in data["islands"])
    rest = {k: v for k, v in data.items() if k not in ("islands", "float_compute")}
    return ModelFacts(**rest, islands=islands, float_compute=tuple(data["float_compute"]))


def onnx_facts(graph: WireGraph) -> ModelFacts:
    """Facts of an ONNX graph; pass the one that onnxruntime saves after optimising."""
    ops = Counter(node.op for node in graph.nodes)
    float_compute = [n.name or n.op for n in graph.nodes if n.op in ONNX_COMPUTE]
    named = [n.name or next(iter(n.outputs), n.op) for n in graph.nodes]  # a fused one has no name
    edges = [(n.op, name, n.inputs, n.outputs) for n, name in zip(graph.nodes, named, strict=True)]
    producers = {t: n for n in graph.nodes for t in n.outputs}
    is_float = [
        op not in ONNX_BORDER
        and op not in SHAPE_ONLY
        and op != "Transpose"
        and not _integer_onnx(op)
        and _fed_by_float(inputs, graph, producers)
        for op, _, inputs, _ in edges
    ]
    return ModelFacts(
        form="onnx",
        ops=dict(sorted(ops.items())),
        compute=sum(ops[op] for op in ONNX_COMPUTE | ONNX_INTEGER | ONNX_DYNAMIC),
        integer=sum(ops[op] for op in ONNX_INTEGER),
        dynamic=sum(ops[op] for op in ONNX_DYNAMIC),
        conversions=ops["QuantizeLinear"] + ops["DequantizeLinear"] + ops["DynamicQuantizeLinear"],
        transposes=ops["Transpose"],
        islands=_islands(edges, is_float, {"DequantizeLinear"}, {"QuantizeLinear"}),
        float_compute=tuple(float_compute),
    )


def _integer_onnx(op: str) -> bool:
    return op.startswith("QLinear") or op in ONNX_INTEGER or op in ONNX_DYNAMIC


def _fed_by_float(
    inputs: Sequence[str], graph: WireGraph, producers: Mapping[str, WireNode]
) -> bool:
    """Whether the first operand is not itself an integer tensor (the producer decides)."""
    tensor = next((name for name in inputs if name and name not in graph.constants), None)
    seen = 0
    while tensor is not None and seen < len(graph.nodes):
        node = producers.get(tensor)
        if node is None:
            return True
        if node.op == "QuantizeLinear" or _integer_onnx(node.op):
            return False
        if node.op == "DequantizeLinear" or node.op in ONNX_COMPUTE:
            return True
        tensor = next((name for name in node.inputs if name and name not in graph.constants), None)
        seen += 1
    return True


def tflite_facts(
    operators: Sequence[Mapping[str, Any]], tensors: Sequence[Mapping[str, Any]]
) -> ModelFacts:
    """Facts from the interpreter's lists of operators and of tensors.

    Types are the tensors': tflite-runtime's operators do not say any.
    """
    names = {int(d["index"]): str(d["name"]) for d in tensors}
    kinds_of = {int(d["index"]): _kind(d["dtype"]) for d in tensors}
    plain = [op for op in operators if op["op_name"] != "DELEGATE"]
    ops = Counter(op["op_name"] for op in plain)
    integer, dynamic, float_compute = 0, 0, []
    for op in plain:
        if op["op_name"] not in TFLITE_COMPUTE:
            continue
        kinds = [kinds_of.get(int(t), "int") for t in op["inputs"][:2]]
        if kinds[0] != "float":
            integer += 1
        elif len(kinds) > 1 and kinds[1] == "int":
            dynamic += 1
        else:
            float_compute.append(names.get(int(op["outputs"][0]), op["op_name"]))
    edges = [
        (
            op["op_name"],
            names.get(int(op["outputs"][0]), ""),
            [str(int(t)) for t in op["inputs"]],
            [str(int(t)) for t in op["outputs"]],
        )
        for op in plain
    ]
    is_float = [
        op["op_name"] not in ("QUANTIZE", "DEQUANTIZE")
        and kinds_of.get(int(op["outputs"][0])) == "float"
        for op in plain
    ]
    return ModelFacts(
        form="tflite",
        ops=dict(sorted(ops.items())),
        compute=sum(ops[op] for op in TFLITE_COMPUTE),
        integer=integer,
        dynamic=dynamic,
        conversions=ops["QUANTIZE"] + ops["DEQUANTIZE"],
        transposes=ops["TRANSPOSE"],
        islands=_islands(edges, is_float, {"DEQUANTIZE"}, {"QUANTIZE"}),
        float_compute=tuple(float_compute),
    )


def _kind(dtype: Any) -> str:
    name = getattr(dtype, "__name__", str(dtype))
    return "float" if name.startswith(("float", "bfloat")) else "int"


def _islands(
    edges: Sequence[tuple[str, str, Iterable[str], Iterable[str]]],
    is_float: Sequence[bool],
    entries: set[str],
    exits: set[str],
) -> tuple[Island, ...]:
    """Group float operators that touch each other; keep groups entered and left by conversions.

    A float tail (softmax behind the last dequantize) or head is no island: nothing converts back.
    """
    producer = {t: i for i, (_, _, _, outputs) in enumerate(edges) for t in outputs}
    group = list(range(len(edges)))

    def maker(tensor: str) -> int | None:
        """Return who computed a tensor, seen through what only moves it (onnxruntime's reorderings)."""
        for _ in edges:
            place = producer.get(tensor)
            if place is None or edges[place][0] not in (*SHAPE_ONLY, "Transpose"):
                return place
            tensor = next(iter(edges[place][2]), "")
        return None

    def root(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    entered: set[int] = set()
    left: set[int] = set()
    for i, (op, _, inputs, _) in enumerate(edges):
        for tensor in inputs:
            source = maker(tensor)
            if source is None:
                continue
            if is_float[i] and is_float[source]:
                group[root(i)] = root(source)
            elif is_float[i] and edges[source][0] in entries:
                entered.add(i)
            elif op in exits and is_float[source]:
                left.add(source)
    members: dict[int, list[int]] = {}
    for i, inside in enumerate(is_float):
        if inside:
            members.setdefault(root(i), []).append(i)
    return tuple(
        Island(dict(sorted(Counter(edges[i][0] for i in ids).items())), edges[ids[0]][1])
        for ids in members.values()
        if entered & set(ids) and left & set(ids)
    )


def examine(path: Path, runtime: str) -> ModelFacts:
    """Facts of a file as ``runtime`` executes it, found in a child process.

    Raises EdgeconvError where the file cannot be opened, or crashes what opens it.
    """
    asked = {"path": str(path), "runtime": runtime}
    return facts_from_json(
        call("edgeconv.bench.facts:work", asked, f"{runtime} on {path}", timeout_s=LIMIT_S)
    )


def work(asked: Mapping[str, str]) -> dict[str, Any]:
    """Answer ``examine`` in this process, as JSON data."""
    return examine_here(Path(asked["path"]), asked["runtime"]).to_json()


def examine_here(path: Path, runtime: str) -> ModelFacts:
    """Facts of a file as ``runtime`` executes it (onnxruntime: after its optimisations).

    Raises EdgeconvError where the file cannot be opened.
    """
    if path.suffix.lower() == ".tflite":
        with open_runner(path, runtime=runtime, xnnpack=False) as runner:
            interpreter: Any = runner.interpreter  # type: ignore[attr-defined]
            details = interpreter.get_tensor_details()
            return tflite_facts(interpreter._get_ops_details(), details)
    row = RUNTIMES[runtime]
    if "save_optimized" not in row.options:
        return onnx_facts(read_onnx(path.read_bytes(), path.name))
    with temporary_folder() as folder:
        saved = folder / "optimised.onnx"
        with open_runner(path, runtime=runtime, save_optimized=saved):
            return onnx_facts(read_onnx(saved.read_bytes(), path.name))
