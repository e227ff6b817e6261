"""The whole command on real input: files, manifests, evidence, verdicts, determinism, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeconv import EdgeconvError, UsageError, export_model, plan_export, run_model
from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.export.kinds import Precision
from edgeconv.export.report import StageLine
from edgeconv.judge.budget import RANDOM, Budget

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnx", reason="needs the export extra")

SMALL: dict[str, Any] = {"weights": "random", "width": 0.25, "resolution": 64, "classes": 10}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen smooth random pictures, as the hub takes them."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(-2, 2, (16, 3, 4, 4)).astype(np.float32)
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, input=coarse.repeat(16, axis=2).repeat(16, axis=3))
    return path


@pytest.fixture(scope="module")
def exported(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV1 0.25 at 64, INT8, both targets."""
    folder = tmp_path_factory.mktemp("exported")
    report = export_model(
        "mobilenet_v1",
        targets=("onnx", "tflite"),
        precision="int8",
        recipe="fast",
        calib=str(samples),
        output=folder,
        **SMALL,
    )
    assert report, report.to_json()
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_size_that_an_onnx_file_does_not_take_is_refused(exported: Path) -> None:
    hub = next(exported.glob("*.evidence/hub.onnx"))
    plan_export(hub, resolution=64)
    with pytest.raises(
        UsageError, match=r"resolution 32 does not fit .*hub\.onnx, which takes .*64"
    ):
        plan_export(hub, resolution=32)


def test_files_are_named_after_net_width_resolution_and_precision(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "mobilenet_v1_0.25_64_int8.evidence",
        "mobilenet_v1_0.25_64_int8.onnx",
        "mobilenet_v1_0.25_64_int8.onnx.json",
        "mobilenet_v1_0.25_64_int8.tflite",
        "mobilenet_v1_0.25_64_int8.tflite.json",
    ]


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_the_manifest_proves_that_the_file_is_int8(exported: Path, target: str) -> None:
    artifact = load_artifact(exported / f"mobilenet_v1_0.25_64_int8.{target}")
    assert artifact is not None
    graph = artifact.manifest["graph"]
    assert graph["int8_compute"] == graph["compute"] == graph["per_channel"] == 28
    assert graph["transposes"] == (4 if target == "onnx" else 0)  # those of the folded pixels
    assert artifact.manifest["calibration"]["count"] == 12
    assert artifact.manifest["weights"]["sha256"]


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_every_evidence_file_is_there_and_hashed(exported: Path, target: str) -> None:
    artifact = load_artifact(exported / f"mobilenet_v1_0.25_64_int8.{target}")
    assert artifact is not None
    for name in ("raw.onnx", "hub.onnx", "prepared.onnx", "recipe.json", f"tensors_{target}.json"):
        artifact.evidence(name)
    arrays = artifact.verification()
    assert arrays["input:input"].shape == (4, 3, 64, 64)
    assert arrays["output:logits"].shape == (4, 10)


def test_both_files_describe_themselves_inside(exported: Path) -> None:
    import onnx

    from edgeconv.export.tflite.inspect import read_tflite

    model = onnx.load(str(exported / "mobilenet_v1_0.25_64_int8.onnx"))
    inside = json.loads({e.key: e.value for e in model.metadata_props}["edgeconv"])
    assert inside["inputs"][0]["shape"] == [1, 3, 64, 64]
    summary = read_tflite((exported / "mobilenet_v1_0.25_64_int8.tflite").read_bytes())
    assert summary.metadata["edgeconv"]


def test_the_same_command_twice_gives_the_same_bytes(
    exported: Path, samples: Path, tmp_path: Path
) -> None:
    export_model(
        "mobilenet_v1",
        targets=("onnx", "tflite"),
        precision="int8",
        recipe="fast",
        calib=str(samples),
        output=tmp_path,
        **SMALL,
    )
    for path in sorted(p for p in exported.rglob("*") if p.is_file()):
        again = tmp_path / path.relative_to(exported)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_an_existing_file_is_kept_without_force(
    exported: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(
        "edgeconv.export.lower.open_source"
    )  # it is refused before the net is opened
    path = exported / "mobilenet_v1_0.25_64_int8.onnx"
    before = path.read_bytes()
    with pytest.raises(EdgeconvError, match="exists; force=True"):
        export_model("mobilenet_v1", precision="int8", calib=str(samples), output=exported, **SMALL)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("net", "name"), [("net.onnx", "net_fp32.onnx"), ("a/net.py:make", "net_make_fp32.onnx")]
)
def test_the_name_of_a_file_of_ones_own_is_known_before_it_is_opened(
    net: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for file in ("net.onnx", "a/net.py", name):
        Path(file).write_text("nothing that could be opened")
    with pytest.raises(UsageError, match=f"^{name} exists; force=True replaces it$"):
        export_model(net, output=".")


def test_evidence_of_another_export_is_not_overwritten(tmp_path: Path) -> None:
    export_model("mobilenet_v1", output=tmp_path, **SMALL)
    with pytest.raises(EdgeconvError, match="belongs to another export"):
        export_model("mobilenet_v1", output=tmp_path, targets=("tflite",), seed=1, **SMALL)
    assert not list(tmp_path.glob("*.tflite"))
    assert not list(tmp_path.glob(".edgeconv-*"))


def test_json_is_one_object_on_stdout(samples: Path, tmp_path: Path) -> None:
    result = invoke(
        *("export", "mobilenet_v1", "--weights", "random", "--width", "0.25"),
        *("--resolution", "64", "--classes", "10", "--target", "tflite", "--json"),
        *("--calib", str(samples), "--output", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["ok"] is True
    assert data["artifacts"][0]["verification"]["converted"] is True


def test_a_missed_budget_exits_3_and_says_which(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RANDOM, "fp32", Budget({"max_abs_error": 0.0}))
    result = invoke(
        *("export", "mobilenet_v1", "--weights", "random", "--width", "0.25", "--resolution"),
        *("64", "--classes", "10", "--calib", str(samples), "--output", str(tmp_path)),
    )
    assert result.exit_code == 3
    assert "max_abs_error is" in result.output
    assert "a budget was missed" in result.output


def test_a_departing_stage_is_named_first(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that breaks the hub is found in the hub, not blamed on the artifact."""
    from edgeconv.export.graph import Graph
    from edgeconv.export.hub import simplify
    from edgeconv.export.prepare import simplify_graph

    def broken(graph: Graph) -> Graph:
        hub = simplify_graph(graph)
        name = next(n.inputs[1] for n in hub.nodes if n.op == "Gemm")
        hub.constants[name] = hub.constants[name] * 2
        return hub

    monkeypatch.setattr(simplify, "simplify_graph", broken)
    report = export_model("mobilenet_v1", calib=str(samples), output=tmp_path, **SMALL)
    assert not report
    assert report.departure is not None
    assert "stage hub is the first to depart" in report.departure


def test_softmax_and_embedded_pixels_go_into_the_file(tmp_path: Path) -> None:
    report = export_model(
        "mobilenet_v1",
        targets=("onnx", "tflite"),
        softmax=True,
        embed_preprocessing=True,
        output=tmp_path,
        **SMALL,
    )
    assert report, report.to_json()
    artifact = load_artifact(tmp_path / "mobilenet_v1_0.25_64_fp32.onnx")
    assert artifact is not None
    pixels = artifact.verification()["input:input"]
    assert pixels.max() > 2
    np.testing.assert_array_equal(pixels, np.rint(pixels))
    scores = artifact.verification()["output:probabilities"]
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("mean", [(0.5,), (0.0,), (0.485, 0.456, 0.406)])
def test_embedded_int8_takes_raw_uint8_pixels(mean: tuple[float, ...], tmp_path: Path) -> None:
    """Uniform preprocessing is stored exactly; one value a channel becomes a layer."""
    pictures = _pictures(tmp_path / "pictures", 12)
    uniform: dict[tuple[float, ...], tuple[float, ...]] = {(0.5,): (0.5,), (0.0,): (1.0,)}
    std = uniform.get(mean, (0.229, 0.224, 0.225))
    report = export_model(
        "mobilenet_v1",
        targets=("onnx", "tflite"),
        precision="int8",
        recipe="fast",
        embed_preprocessing=True,
        mean=mean,
        std=std,
        calib=str(pictures),
        output=tmp_path / "out",
        **SMALL,
    )
    assert report, report.to_json()
    for target in ("onnx", "tflite"):
        artifact = load_artifact(tmp_path / "out" / f"mobilenet_v1_0.25_64_int8.{target}")
        assert artifact is not None
        assert artifact.inputs[0].dtype == "uint8"


def _pictures(folder: Path, count: int) -> Path:
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(1)
    for index in range(count):
        small = generator.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC).save(
            folder / f"{index:02}.png"
        )
    return folder


def test_run_prints_names_from_any_artifact(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {index}" for index in range(10)) + "\n")
    export_model("mobilenet_v1", targets=("onnx", "tflite"), labels=names, output=tmp_path, **SMALL)
    picture = next(_pictures(tmp_path / "pictures", 1).iterdir())
    orders = []
    for target in ("onnx", "tflite"):
        (found,) = run_model(tmp_path / f"mobilenet_v1_0.25_64_fp32.{target}", [picture])
        assert found.classes[0].name.startswith("thing ")
        orders.append([ranked.index for ranked in found.classes])
    assert orders[0] == orders[1]


def test_names_that_are_not_one_a_class_are_refused_before_any_calibration(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    result = invoke(
        *("export", "mobilenet_v1", "--width", "0.25", "--weights", "random", "--classes", "10"),
        *("--resolution", "64", "--labels", str(names), "--output", str(tmp_path / "out")),
    )
    assert result.exit_code == 2
    assert f"--labels {names} has 2 names for 10 classes" in result.output.replace("\n", " ")
    assert "reference" not in result.output
    assert not list((tmp_path / "out").glob("*"))


MODULE = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, 2, 1)
        self.b = nn.Conv2d(1, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 4, 2, 2)
        self.head = nn.Linear(16, 5)

    def forward(self, x, y):
        z = torch.cat([torch.nn.functional.silu(self.a(x)), torch.relu(self.b(y))], 1)
        return self.up(z), self.head(z.mean((2, 3)))

def make():
    torch.manual_seed(0)
    return Two()

def feeds():
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        yield {
            "x": torch.randn(1, 3, 32, 32, generator=generator).numpy(),
            "y": torch.randn(1, 1, 32, 32, generator=generator).numpy(),
        }
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_users_module_of_two_inputs_and_two_outputs_goes_the_same_way(
    precision: Precision, tmp_path: Path
) -> None:
    script = tmp_path / "net.py"
    script.write_text(MODULE)
    report = export_model(
        f"{script}:make",
        targets=("onnx", "tflite"),
        precision=precision,
        input_shapes=((1, 3, 32, 32), (1, 1, 32, 32)),
        calib=f"{script}:feeds",
        allow_poor_calibration=precision == "int8",  # noise is all that this net ever sees
        output=tmp_path / "out",
    )
    assert report, report.to_json()
    assert list(report.artifacts[0].verdict.figures) == ["output_0", "output_1"]


def test_an_onnx_file_is_exported_without_importing_torch(exported: Path, tmp_path: Path) -> None:
    source = exported / "mobilenet_v1_0.25_64_int8.evidence" / "raw.onnx"
    script = (
        "import sys\n"
        "from edgeconv import export_model\n"
        f"assert export_model({str(source)!r}, targets=('onnx', 'tflite'), output={str(tmp_path)!r})\n"
        "assert 'torch' not in sys.modules\n"
    ).replace(f"output={str(tmp_path)!r}", f"output=__import__('pathlib').Path({str(tmp_path)!r})")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_killed_export_leaves_no_file_under_a_final_name(samples: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "edgeconv", "export", "mobilenet_v1", "--weights", "random"),
        *("--width", "0.25", "--resolution", "64", "--classes", "10", "--int8"),
        *("--calib", str(samples), "--output", str(tmp_path)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("quantize"):
            break
    while not list(tmp_path.glob(".edgeconv-*/*.onnx")) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_dry_run_names_the_files_and_writes_none(tmp_path: Path) -> None:
    result = invoke(
        *("export", "mobilenet_v1", "--weights", "random", "--dry-run"),
        *("--target", "tflite", "--output", str(tmp_path / "out")),
    )
    assert result.exit_code == 0, result.output
    assert "mobilenet_v1_1.0_224_fp32.tflite" in result.output
    assert not (tmp_path / "out").exists()


BAD: list[tuple[list[str], int, str]] = [
    (["mobilnet_v2"], 2, "did you mean mobilenet_v2"),
    (["nothere.onnx"], 2, "nothere.onnx does not exist"),
    (["net.py"], 2, "say which function"),
    (["mobilenet_v2", "--fp16"], 2, "--fp16 is for TFLite"),
    (["mobilenet_v2", "--int8", "--int8-weights"], 2, "real again in every run"),
    (["mobilenet_v2", "--int8-weights", "--target", "tflite"], 2, "--int8-weights needs --int8"),
    (
        ["mobilenet_v2", "--int8", "--int8-weights", "--io", "int8", "--target", "tflite"],
        2,
        "leaves activations in float",
    ),
    (["mobilenet_v2", "--int8", "--weights", "random"], 2, "give --calib"),
    (["mobilenet_v2", "--weights", "random", "--mean", "127"], 2, "on the 0..1 scale"),
    (["mobilenet_v2", "--weights", "random", "--io", "uint8"], 2, "needs --int8"),
    (["mobilenet_v2", "--weights", "random", "--crop", "2"], 2, "fraction in (0, 1]"),
    (["mobilenet_v2", "--weights", "random", "--opset", "9"], 2, "13 to 21"),
    (["mobilenet_v2", "--weights", "random", "--input-shape", "1,4,9,9"], 2, "N,3,H,W"),
    (["mobilenet_v2", "--weights", "random", "--threads", "0"], 2, "--threads must be at least 1"),
    (["mobilenet_v2", "--weights", "nothere.pth"], 2, "nothere.pth"),
    (["weights.pth"], 2, "holds weights, not a net"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_gets_one_sentence(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").touch()
    Path("weights.pth").touch()
    result = invoke("export", *arguments, "--output", str(tmp_path / "out"))
    assert result.exit_code == code, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1, result.output
    assert says in errors[0]
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def _make_model(tmp_path: Path, **changes: Any) -> Path:
    """Write a one-convolution .onnx, changed as the case needs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.ones((4, 3, 3, 3), np.float32)
    if changes.get("nan"):
        weights[0, 0, 0, 0] = np.nan
    node = helper.make_node(changes.get("op", "Conv"), ["x", "w"], ["y"], name="first")
    shape = changes.get("shape", [1, 3, 8, 8])
    result: list[int | str] = ["N", 4, "OH", "OW"] if "shape" in changes else [1, 4, 6, 6]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, str(path))
    return path


def test_nan_weights_are_named(tmp_path: Path) -> None:
    path = _make_model(tmp_path, nan=True)
    with pytest.raises(EdgeconvError, match=r"weight \S+ holds NaN"):
        export_model(str(path), output=tmp_path / "out")


def test_a_dynamic_shape_is_refused_and_settled_by_input_shape(tmp_path: Path) -> None:
    path = _make_model(tmp_path, shape=["N", 3, "H", "W"])
    with pytest.raises(EdgeconvError, match="input_shapes"):
        export_model(str(path), output=tmp_path / "out")
    assert export_model(str(path), input_shapes=((1, 3, 8, 8),), output=tmp_path / "out")


def test_an_empty_calibration_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(EdgeconvError, match="photos holds no picture"):
        export_model(
            "mobilenet_v1",
            precision="int8",
            calib=str(tmp_path / "photos"),
            output=tmp_path / "out",
            **SMALL,
        )


def test_a_calibration_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    folder = _pictures(tmp_path / "photos", 8)
    (folder / "03.png").write_bytes(b"no picture")
    with pytest.raises(EdgeconvError, match=r"03\.png is not a readable picture"):
        export_model(
            "mobilenet_v1", precision="int8", calib=str(folder), output=tmp_path / "out", **SMALL
        )
    assert not (tmp_path / "out").exists()


def test_a_saved_recipe_gives_the_same_integers_again(
    exported: Path, samples: Path, tmp_path: Path
) -> None:
    recipe = exported / "mobilenet_v1_0.25_64_int8.evidence" / "recipe.json"
    report = export_model(
        "mobilenet_v1",
        precision="int8",
        recipe=str(recipe),
        calib=str(samples),
        output=tmp_path,
        **SMALL,
    )
    assert report
    again = tmp_path / "mobilenet_v1_0.25_64_int8.evidence" / "recipe.json"
    assert json.loads(again.read_text())["weights"] == json.loads(recipe.read_text())["weights"]


def test_a_recipe_of_another_net_is_refused(exported: Path, samples: Path, tmp_path: Path) -> None:
    recipe = exported / "mobilenet_v1_0.25_64_int8.evidence" / "recipe.json"
    other: dict[str, Any] = {**SMALL, "width": 0.5}
    lines: list[StageLine] = []
    with pytest.raises(EdgeconvError, match=r"the weights of \S+ are"):
        export_model(
            "mobilenet_v1",
            precision="int8",
            recipe=str(recipe),
            calib=str(samples),
            output=tmp_path,
            on_line=lines.append,
            **other,
        )
    assert "reference" not in {line.stage for line in lines}


@pytest.mark.parametrize("content", [None, '{"format": "edgeconv', '{"weights": {}}'])
def test_a_recipe_that_cannot_be_read_is_refused_before_any_work(
    tmp_path: Path, content: str | None
) -> None:
    recipe = tmp_path / "recipe.json"
    lines: list[StageLine] = []
    if content is not None:
        recipe.write_text(content)
    with pytest.raises(EdgeconvError, match=str(recipe)):
        export_model(
            "mobilenet_v1", precision="int8", recipe=str(recipe), on_line=lines.append, **SMALL
        )
    assert lines == []


def test_a_recipe_for_normalised_pixels_is_refused_for_raw_ones(
    samples: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {**SMALL, "mean": (0.5,), "std": (0.5,), "calib": str(samples)}
    export_model("mobilenet_v1", precision="int8", recipe="fast", output=tmp_path, **options)
    recipe = next(tmp_path.glob("*.evidence")) / "recipe.json"
    with pytest.raises(EdgeconvError, match=r"was made for another form of the pixels in input_"):
        export_model(
            "mobilenet_v1",
            precision="int8",
            recipe=str(recipe),
            embed_preprocessing=True,
            output=tmp_path / "raw",
            **options,
        )


def test_a_node_kept_in_float_is_float_in_every_file(
    exported: Path, samples: Path, tmp_path: Path
) -> None:
    recipe = json.loads(
        (exported / "mobilenet_v1_0.25_64_int8.evidence" / "recipe.json").read_text()
    )
    node = next(iter(recipe["weights"]))
    report = export_model(
        "mobilenet_v1",
        targets=("onnx", "tflite"),
        precision="int8",
        recipe="fast",
        keep_float=(node,),
        calib=str(samples),
        output=tmp_path,
        **SMALL,
    )
    for artifact in report.artifacts:
        assert artifact.stats["compute"] - artifact.stats["int8_compute"] == 1, artifact.target


def test_unknown_library_options_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="colour"):
        export_model("mobilenet_v2", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize("count", [10, None])
def test_verify_count_holds_for_the_bundled_pictures_too(count: int | None) -> None:
    from edgeconv.api import make_options
    from edgeconv.export.data import choose_data
    from edgeconv.export.source import open_source

    options = make_options("mobilenet_v2", precision="int8", verify_count=count)
    data = choose_data(options, open_source(options), None)
    assert len(data.verification) == (count or 1000)
    assert len({sample.truth for sample in data.verification}) == 10
    assert len(data.calibration) == 128


def test_a_runtime_that_crashes_while_verifying_costs_its_own_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quant_nets import residual_net

    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.isolate import Worker
    from edgeconv.runtimes.probe import EarlyProbe

    class Crashing(EarlyProbe):
        def __init__(self, runtime: str) -> None:
            self._runtime, self._child = runtime, Worker("ctypes:string_at", 0, runtime)

    monkeypatch.setattr("edgeconv.export.finish.EarlyProbe", Crashing)
    (tmp_path / "net.onnx").write_bytes(save_model(to_onnx(residual_net())))
    np.save(tmp_path / "calib.npy", np.zeros((2, 3, 16, 16), np.float32))
    done = invoke(
        "export", str(tmp_path / "net.onnx"), "--target", "tflite", "--target", "onnx", "--fresh",
        "--calib", str(tmp_path / "calib.npy"), "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.exit_code == 1
    assert "net_fp32.tflite crashed with SIGSEGV" in done.output
    assert {path.name for path in (tmp_path / "out").glob("*.*")} == {
        "net_fp32.onnx", "net_fp32.onnx.json", "net_fp32.evidence",
    }  # fmt: skip
