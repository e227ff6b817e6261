"""ncnn: the same outputs as onnxruntime's for every operator that it takes, and one sentence for a damaged pair."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from any_net_kit import hub_of
from click.testing import CliRunner
from draw_models import UnfitError, draw
from draw_operators import STEPS
from graph_kit import run
from onnx import helper, numpy_helper

from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UnsupportedOpError, UsageError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.emit import emit_ncnn
from edgeconv.export.ncnn.ops_transpose import ORDERS
from edgeconv.export.ncnn.table import OPS, stops
from edgeconv.export.ncnn.target import NCNN
from edgeconv.export.op_traits import TRAITS
from edgeconv.files import digest, sha256
from edgeconv.formats.ncnn_file import read_pair
from edgeconv.runtimes.base import open_runner

Array = np.ndarray[Any, Any]
FEW, MANY = 40, 1500
NEAR = 1e-4
"""Of the largest value, where sums are in another order."""


def write(graph: Graph, folder: Path, *, half: bool = False) -> Path:
    made = emit_ncnn(graph, half=half)
    path = folder / "net.param"
    path.write_text(made.param, encoding="utf-8")
    path.with_suffix(".bin").write_bytes(made.weights)
    return path


def outputs_of(graph: Graph, feeds: dict[str, Array], folder: Path, **how: Any) -> list[Array]:
    """Run a graph in ncnn; its outputs have the shapes that the graph gives them."""
    made = emit_ncnn(graph, **how)
    path = write(graph, folder, **how)
    with open_runner(path) as runner:
        fed = zip(made.inputs, graph.inputs, strict=True)
        shapes = {spec.name: spec.shape for spec in runner.inputs}
        got = runner.infer({blob: feeds[name].reshape(shapes[blob]) for blob, name in fed})
    return [
        got[blob].reshape(graph.shape(name))
        for blob, name in zip(made.outputs, graph.outputs, strict=True)
    ]


def model_of(node: onnx.NodeProto, *shape: int, **constants: Any) -> onnx.ModelProto:
    """A model of one node that reads x of ``shape`` and gives y."""
    stored = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", [x], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def compare(model: onnx.ModelProto, folder: Path, near: float = NEAR, **how: Any) -> Graph:
    graph = hub_of(model)
    assert stops(graph) == []
    random = np.random.default_rng(7)
    feeds = {n: random.standard_normal(graph.shape(n)).astype(np.float32) for n in graph.inputs}
    wanted = run(model, feeds)
    for want, got in zip(wanted, outputs_of(graph, feeds, folder, **how), strict=True):
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= near * max(1.0, float(np.abs(want).max()))
    return graph


def test_every_operator_of_the_table_has_its_traits() -> None:
    assert OPS.keys() <= TRAITS.keys()


def test_permute_knows_every_order_of_axes() -> None:
    assert sorted(len(order) for order in ORDERS) == [1, 2, 2, *[3] * 6, *[4] * 24]
    assert (
        ORDERS[1, 2, 0] == 3
    )  # (c, h, w) to (h, w, c), which it calls "c w h", the innermost first


RANDOM = np.random.default_rng(3)


def weights(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32) / 4


def node(op: str, *more: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *more], ["y"], **attributes)


FORMS: dict[str, onnx.ModelProto] = {
    "a convolution of uneven pads": model_of(
        node("Conv", "w", "b", pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2]),
        *(1, 4, 9, 11),
        w=weights(6, 4, 3, 2),
        b=weights(6),
    ),
    "groups": model_of(node("Conv", "w", group=2), 1, 4, 6, 6, w=weights(6, 2, 3, 3)),
    "depthwise": model_of(
        node("Conv", "w", group=8, pads=[1, 1, 1, 1]), 1, 8, 6, 5, w=weights(8, 1, 3, 3)
    ),
    "a line": model_of(node("Conv", "w", pads=[2, 1]), 1, 4, 12, w=weights(5, 4, 3)),
    "a deconvolution of groups": model_of(
        node(
            "ConvTranspose", "w", group=2, strides=[2, 3], output_padding=[1, 0], pads=[1, 0, 1, 2]
        ),
        *(1, 4, 5, 6),
        w=weights(4, 3, 3, 4),
    ),
    "a pool that is rounded up": model_of(
        node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 1, 3, 8, 8
    ),
    "an average that leaves pads out": model_of(
        node("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]), 1, 3, 7, 8
    ),
    "an average that counts pads": model_of(
        node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), 1, 3, 7, 8
    ),
    "maxima of a line, rounded up": model_of(
        node("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=1), 1, 3, 9
    ),
    "averages of a line": model_of(
        node("AveragePool", kernel_shape=[4], strides=[3], pads=[1, 1]), 1, 3, 17
    ),
    "averages of a line that count pads": model_of(
        node("AveragePool", kernel_shape=[3], pads=[1, 1], count_include_pad=1), 1, 3, 8
    ),
    "bilinear": model_of(
        node("Resize", "", "", "s", mode="linear", coordinate_transformation_mode="half_pixel"),
        *(1, 3, 5, 6),
        s=np.array([1, 3, 11, 12]),
    ),
    "bilinear between corners": model_of(
        node("Resize", "", "", "s", mode="linear", coordinate_transformation_mode="align_corners"),
        *(1, 3, 5, 6),
        s=np.array([1, 3, 9, 13]),
    ),
    "bilinear of one pixel": model_of(
        node("Resize", "", "", "s", mode="linear"), 1, 3, 1, 1, s=np.array([1, 3, 4, 5])
    ),
    "cubic": model_of(
        node("Resize", "", "", "s", mode="cubic"), 1, 3, 6, 6, s=np.array([1, 3, 9, 12])
    ),
    "nearest that ncnn rounds otherwise": model_of(
        node("Resize", "", "", "s", nearest_mode="ceil"), 1, 3, 5, 6, s=np.array([1, 3, 8, 9])
    ),
    "a reflected border": model_of(
        node("Pad", "p", mode="reflect"), 1, 3, 5, 6, p=np.array([0, 0, 1, 2, 0, 0, 2, 1])
    ),
    "every second pixel": model_of(
        node("Slice", "a", "b", "i", "s"),
        *(1, 3, 7, 8),
        **{
            "a": np.array([1, 0]),
            "b": np.array([7, 8]),
            "i": np.array([2, 3]),
            "s": np.array([2, 3]),
        },
    ),
    "backwards": model_of(
        node("Slice", "a", "b", "i", "s"),
        *(1, 3, 7, 8),
        **{"a": np.array([-1]), "b": np.array([-9]), "i": np.array([3]), "s": np.array([-2])},
    ),
    "five axes": model_of(node("Transpose", perm=[0, 2, 1, 4, 3]), 1, 3, 4, 5, 2),
    "more axes than four": model_of(node("Transpose", perm=[5, 0, 4, 2, 1, 3]), 2, 3, 4, 5, 2, 3),
    "a batch that is put aside": model_of(node("Transpose", perm=[3, 1, 0, 2]), 2, 3, 4, 5),
    "operands over inner and outer axes": model_of(
        node("Add", "c"), 2, 3, 4, 5, c=weights(2, 1, 4, 1)
    ),
    "a number less x": model_of(
        helper.make_node("Sub", ["c", "x"], ["y"]), 1, 3, 4, 5, c=np.float32(2.5)
    ),
    "a mean over two axes": model_of(
        node("ReduceMean", "a", keepdims=0), 1, 3, 4, 5, a=np.array([1, 3])
    ),
    "the norm of one value": model_of(node("ReduceL2", "a"), 1, 6, a=np.array([0])),
    "softmax over channels": model_of(node("Softmax", axis=1), 1, 6, 4, 5),
    "slopes of their own": model_of(node("PRelu", "s"), 1, 3, 4, 5, s=weights(3, 4, 1)),
    "a product of batches": model_of(
        helper.make_node("MatMul", ["c", "x"], ["y"]), 2, 3, 4, 5, c=weights(6, 4)
    ),
    "channels to pixels": model_of(node("DepthToSpace", blocksize=2, mode="CRD"), 1, 8, 3, 4),
    "pixels to channels": model_of(node("SpaceToDepth", blocksize=2), 1, 3, 4, 6),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_an_operator_gives_what_onnxruntime_gives(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    compare(FORMS[name], tmp_path)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_weights_are_stored_in_either_type(half: bool, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    model = model_of(node("Conv", "w", "b"), 1, 3, 5, 5, w=weights(5, 3, 3, 3), b=weights(5))
    graph = compare(model, tmp_path, 2e-3 if half else NEAR, half=half)
    data = (tmp_path / "net.bin").read_bytes()
    width = 2 if half else 4
    assert len(data) == 4 + -(-135 * width // 4) * 4 + 5 * 4
    stored = np.frombuffer(data[4 : 4 + 135 * width], np.float16 if half else np.float32)
    (wanted,) = (v for v in graph.constants.values() if v.size == 135)
    assert np.array_equal(stored, wanted.ravel().astype(stored.dtype))


def test_a_weight_beyond_float16_is_one_sentence() -> None:
    graph = hub_of(
        model_of(node("Conv", "w"), 1, 3, 5, 5, w=7e4 * np.ones((5, 3, 3, 3), np.float32))
    )
    with pytest.raises(EdgeconvError, match=r"w holds 7e\+04, which float16 has not"):
        emit_ncnn(graph, half=True)


def drawn(seed: int, folder: Path) -> bool:
    """Compare a drawn model; say whether ncnn takes it."""
    try:
        model = draw(seed, STEPS, (13, 17, 18))
    except (UnfitError, IndexError):
        return False
    graph = hub_of(model)
    if stops(graph):
        return False
    random = np.random.default_rng(5)
    feeds = {n: 1.5 * random.standard_normal(graph.shape(n)) for n in graph.inputs}
    real = {name: value.astype(np.float32) for name, value in feeds.items()}
    wanted = run(model, real)
    for name, want, got in zip(graph.outputs, wanted, outputs_of(graph, real, folder), strict=True):
        reach = max(1.0, float(np.abs(want).max(initial=0.0)))
        assert np.abs(got - want).max(initial=0.0) <= NEAR * reach, (seed, name)
    return True


def test_drawn_models_give_what_onnxruntime_gives(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    assert sum(drawn(seed, tmp_path) for seed in range(FEW)) > FEW // 4


@pytest.mark.long
def test_many_drawn_models_do(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    assert sum(drawn(seed, tmp_path) for seed in range(FEW, MANY)) > MANY // 4


@pytest.mark.slow
def test_the_four_nets_are_within_a_hundred_thousandth_of_the_range(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("ncnn")
    from edgeconv.export.hub.ingest import ingest
    from edgeconv.export.hub.onnx_io import from_onnx
    from edgeconv.export.hub.trace import trace_module
    from edgeconv.export.prepare import prepare, simplify_graph
    from edgeconv.models import build
    from edgeconv.models.specs import SPECS

    random = np.random.default_rng(0)
    for name in SPECS:
        module = build(name, classes=10).eval()
        traced = trace_module(module, {"x": (1, 3, 64, 64)}, ["y"], {"x": "float32"})
        graph = prepare(simplify_graph(from_onnx(ingest(traced)[0]))).graph
        value = random.standard_normal((1, 3, 64, 64)).astype(np.float32)
        with torch.no_grad():
            wanted = module(torch.from_numpy(value)).numpy()
        (got,) = outputs_of(graph, {graph.inputs[0]: value}, tmp_path)
        # measured with bundled weights: 6e-7 to 1.2e-6
        assert np.abs(got - wanted).max() < 1e-5 * np.ptp(wanted), name
        assert emit_ncnn(graph).layers["Permute"] == 0


def graph_of(node: Node, *shape: int) -> Graph:
    graph = Graph("g", 18, ["x"], ["y"], [node])
    graph.shapes = {"x": shape, "y": shape}
    graph.dtypes = dict.fromkeys(graph.shapes, np.dtype(np.float32))
    return graph


def test_what_it_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedOpError, match=r"edgeconv has no ncnn form of Einsum \(node mix\)"
    ):
        NCNN.check(graph_of(Node("Einsum", "mix", ["x"], ["y"]), 1, 2))
    pool = Node("GlobalAveragePool", "pool", ["x"], ["y"])
    with pytest.raises(UnsupportedOpError, match="its batch is 4 and ncnn has no axis for one"):
        NCNN.check(graph_of(pool, 4, 3, 1, 1))


def test_int8_is_refused_by_name() -> None:
    alone = CliRunner().invoke(main, ["export", "mobilenet_v1", "--int8", "--target", "ncnn"])
    assert alone.exit_code == 2
    assert "not ncnn: it computes on integers without zero points" in (
        alone.output.replace("\n", " ")
    )


def exported(folder: Path, *more: str) -> Path:
    """Export a small net of one's own as a user does; return the .param."""
    source = folder / "net.py"
    source.write_text(
        "import torch\n"
        "from torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU())\n"
        "        self.one, self.two = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1)\n"
        "        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))\n\n"
        "    def forward(self, x):\n"
        "        x = self.stem(x)\n"
        "        return self.head(x + self.two(torch.relu(self.one(x))))\n\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return Net().eval()\n",
        encoding="utf-8",
    )
    words = ["export", f"{source}:make", "--input-shape", "1,3,32,32", "--target", "ncnn"]
    result = CliRunner().invoke(main, [*words, *more, "--output", str(folder / "out")])
    assert result.exit_code == 0, result.output
    (path,) = (folder / "out").glob("*.param")
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("ncnn")
    return exported(tmp_path_factory.mktemp("ncnn"))


def test_an_export_writes_a_verified_pair(pair: Path) -> None:
    artifact = load_artifact(pair)
    assert artifact is not None
    about = artifact.manifest
    assert about["target"] == "ncnn"
    assert about["verification"]["ok"]
    assert about["verification"]["runtime"].startswith("ncnn ")
    assert about["sha256"] == digest(pair)
    assert about["graph"]["histogram"]["Swish"] == 1  # x * sigmoid(x) is one layer
    assert "Reshape" not in about["graph"]["histogram"]
    assert about["graph"]["compute"] == 4
    assert about["bytes"] == sum(os.path.getsize(pair.with_suffix(s)) for s in (".param", ".bin"))
    assert [spec.shape for spec in artifact.inputs] == [(1, 3, 32, 32)]


def test_a_pair_that_is_there_is_not_replaced_without_force(pair: Path) -> None:
    before = pair.stat().st_mtime_ns
    folder = pair.parent.parent
    words = ["export", f"{folder / 'net.py'}:make", "--input-shape", "1,3,32,32"]
    result = CliRunner().invoke(main, [*words, "--target", "ncnn", "--output", str(pair.parent)])
    assert result.exit_code == 2
    assert "--force replaces it" in result.output.replace("\n", " ")
    assert pair.stat().st_mtime_ns == before


def test_a_target_that_writes_nothing_asks_for_no_force(tmp_path: Path) -> None:
    """INT8 is not ncnn's: a file of that name is left as it is, and the other targets go on."""
    from edgeconv.export.checks import refuse_existing
    from edgeconv.export.options import ExportOptions

    (tmp_path / "net_int8.param").write_text("mine", encoding="utf-8")
    asked = ExportOptions("net", targets=("ncnn", "onnx"), precision="int8", output=tmp_path)
    refuse_existing(asked, "net_int8")
    (tmp_path / "net_int8.onnx").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"net_int8\.onnx exists"):
        refuse_existing(asked, "net_int8")


def test_the_weights_alone_are_told_which_file_to_name(pair: Path) -> None:
    for words in (["inspect"], ["bench"], ["parity"]):
        told = CliRunner().invoke(main, [*words, str(pair.with_suffix(".bin"))])
        assert told.exit_code == 2
        assert f"the weights of {pair.name}: name that file" in " ".join(told.output.split())


def test_inspect_counts_its_layers_and_both_files(pair: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(pair), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["form"] == "param"
    assert found["histogram"]["Convolution"] == 2
    assert (found["compute"], found["int8_compute"]) == (4, 0)
    assert found["bytes"] == pair.stat().st_size + pair.with_suffix(".bin").stat().st_size
    assert [end["shape"] for end in found["inputs"]] == [[1, 3, 32, 32]]


def test_half_a_model_is_no_c_array(pair: Path, tmp_path: Path) -> None:
    words = ["inspect", str(pair), "--c-array", str(tmp_path / "net.cc")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert f"is a model with {pair.with_suffix('.bin').name}" in result.output.replace("\n", " ")


def test_without_its_manifest_it_has_a_batch_of_one(pair: Path, tmp_path: Path) -> None:
    path = copied(pair, tmp_path)
    with open_runner(path, isolate=True) as mine, open_runner(pair) as ours:
        assert [s.shape for s in mine.inputs] == [(1, 3, 32, 32)]
        assert [s.shape for s in mine.outputs] == [(1, 5)]
        value = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
        (got,) = mine.infer({mine.inputs[0].name: value}).values()
        (wanted,) = ours.infer({ours.inputs[0].name: value}).values()
    assert np.array_equal(got, wanted)


def copied(pair: Path, folder: Path) -> Path:
    path = folder / "copy.param"
    path.write_bytes(pair.read_bytes())
    path.with_suffix(".bin").write_bytes(pair.with_suffix(".bin").read_bytes())
    return path


def short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def test_a_bundle_takes_both_files_and_the_board_gets_what_is_missing(
    pair: Path, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    from edgeconv.device import provision

    target = tmp_path / "b.tar.gz"
    packed = CliRunner().invoke(main, ["bundle", str(pair), "--output", str(target)])
    assert packed.exit_code == 0, packed.output
    with tarfile.open(target) as tar:
        names = {
            name.partition("b/models/")[2] for name in tar.getnames() if "b/models/" in name[:9]
        }
        tar.extractall(tmp_path, filter="data")
    assert names == {pair.name, pair.with_suffix(".bin").name, f"{pair.name}.json"}
    command = [sys.executable, "run.py", "--runs", "10", "--warmup", "1"]
    ran = subprocess.run(command, cwd=tmp_path / "b", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    check = json.loads((tmp_path / "b" / "results.json").read_text())["checks"][pair.name]
    assert check["outputs"]["output"]["max_difference"] == 0

    said: list[str] = []
    connection: Any = SimpleNamespace(
        host=SimpleNamespace(target="pi"), run=lambda command, *_, **__: said.append(command)
    )
    board: Any = SimpleNamespace(there={sha256(pair)})
    there = provision.put_files(connection, board, [pair], "job", said.append)
    assert there == [f"job/{pair.name}"]
    assert f"pi: copying {pair.with_suffix('.bin').name}" in " ".join(said)
    assert f"job/{pair.with_suffix('.bin').name}" in said[-1]


def test_a_damaged_pair_is_one_sentence(pair: Path, tmp_path: Path) -> None:
    param, data = pair.read_text(encoding="utf-8"), pair.with_suffix(".bin").read_bytes()
    lines = param.splitlines()
    cases: list[tuple[str, bytes | None, str]] = [
        (param, None, r"copy\.bin is missing: copy\.param and copy\.bin are one model"),
        (param, short(data), r"copy\.bin has \d+ bytes and ends in layer .* it is cut short"),
        (param, data + b"more", r"and the layers of copy\.param take \d+: they are not of one"),
        (param, b"\x07" * len(data), "holds no weights where layer .* has its own"),
        ("\n".join(lines[:-2]), data, r"copy\.param is cut short: it has \d+ of \d+ layers"),
        ("7767518\n" + param, data, "does not begin with 7767517"),
        ("\x00\n" + param, data, "is no ncnn .param"),
        (param.replace("Pooling ", "Pooling x "), data, "no layer is: Pooling"),
        (param.replace(" 6=", " 6=0x"), data, "no layer is: Convolution"),
        (param.replace("Swish ", "Swash "), data, "ncnn cannot open .*: layer Swash not exists"),
        (param.replace("Input ", "Noop "), data, "it has no input"),
    ]
    path = tmp_path / "copy.param"
    for text, stored, says in cases:
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".bin").unlink(missing_ok=True)
        if stored is not None:
            path.with_suffix(".bin").write_bytes(stored)
        with pytest.raises(EdgeconvError, match=says):
            open_runner(path)


def test_a_bin_of_another_export_is_not_taken_for_ours(pair: Path, tmp_path: Path) -> None:
    path = copied(pair, tmp_path)
    manifest = tmp_path / "copy.param.json"
    manifest.write_bytes(Path(f"{pair}.json").read_bytes())
    data = bytearray(path.with_suffix(".bin").read_bytes())
    data[-1] ^= 1
    path.with_suffix(".bin").write_bytes(data)
    with pytest.raises(EdgeconvError, match=r"copy\.bin has changed, or been renamed, since"):
        open_runner(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(EdgeconvError, match=r"copy\.bin is missing"):
        load_artifact(path)


@pytest.mark.parametrize("changed", [(".param",), (".bin",), (".param", ".bin")])
def test_what_has_changed_of_a_pair_is_named(
    pair: Path, tmp_path: Path, changed: tuple[str, ...]
) -> None:
    for suffix in (".param", ".bin", ".param.json"):
        data = bytearray(pair.with_suffix(suffix).read_bytes())
        data += b" " if suffix in changed else b""
        (tmp_path / f"{pair.stem}{suffix}").write_bytes(data)
    with pytest.raises(EdgeconvError, match="changed since") as said:
        load_artifact(tmp_path / pair.name)
    for suffix in (".param", ".bin"):
        whole = f"{tmp_path / pair.stem}{suffix} "
        assert (whole in f"{said.value} ") == (suffix in changed)


def test_workers_get_both_files_of_a_pair(pair: Path) -> None:
    pytest.importorskip("PIL")
    from edgeconv.evaluate.part import asked_of
    from edgeconv.evaluate.run import Asked, open_subject
    from edgeconv.sweep.inputs import Inputs
    from edgeconv.sweep.part import part_spec

    inputs, subject = Inputs(), open_subject(pair, Asked(preprocessing="unit"))
    spec = part_spec(inputs, subject, [], asked_of(subject, "classes", str(pair.parent)))
    sent = inputs.known[spec["file"][1:].partition("/")[0]]
    assert set(sent.names) == {pair.name, pair.with_suffix(".bin").name, f"{pair.name}.json"}


def test_a_file_that_names_no_shape_takes_one(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    path = tmp_path / "open.param"
    path.write_text("7767517\n2 2\nInput in 0 1 x\nReLU relu 1 1 x y\n", encoding="utf-8")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(EdgeconvError, match="settle it with --shape x=1,3,224,224"):
        open_runner(path)
    with open_runner(path, shapes={"x": (1, 2, 3, 4)}) as runner:
        (made,) = runner.infer({"x": -np.ones((1, 2, 3, 4), np.float32)}).values()
    assert made.shape == (1, 2, 3, 4)
    assert not made.any()


def test_layers_of_other_makers_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "foreign.param"
    path.write_text(
        "7767517\n3 3\nInput in 0 1 x 0=4 1=4 2=3\n"
        "Convolution c 1 1 x h 0=2 1=3 5=1 6=54 -23310=2,0.0,6.0 9=3\nYolo y 1 1 h z 0=7\n",
        encoding="utf-8",
    )
    path.with_suffix(".bin").write_bytes(bytes(100))
    with pytest.raises(EdgeconvError, match="ends in layer c"):
        read_pair(path)
    path.with_suffix(".bin").write_bytes(bytes(4 + 54 * 4 + 8 + 12))
    found = read_pair(path)  # what a Yolo takes is not known
    assert found.inputs == {"x": (3, 4, 4)}
    assert found.outputs == ("z",)
    assert found.layers[1].parameters[10] == "0.0,6.0"
