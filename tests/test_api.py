"""The library: any form of a net, typed arguments, errors in their words, every call that README lists."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

import edgeconv
from edgeconv import (
    EdgeconvError,
    UsageError,
    bench_models,
    check_parity,
    export_model,
    plan_export,
    summarize,
    write_report,
    write_snippet,
)
from edgeconv.api import make_options
from edgeconv.arguments import ExportArguments, in_arguments
from edgeconv.cli import main

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def small() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(8, 4, 3)
    )


def one_file(folder: Path, net: Any, **options: Any) -> Any:
    report = export_model(net, output=folder / "out", verify_count=2, **options)
    assert report, report.to_json()
    return report.artifacts[0].path


def outputs(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return found


PIXELS = np.random.default_rng(0).standard_normal((1, 3, 16, 16), np.float32)


def test_a_live_module_is_exported_and_left_in_the_mode_it_was_in(tmp_path: Path) -> None:
    module = small().train()
    module[2].eval()
    path = one_file(tmp_path, module, input_shape=(1, 3, 16, 16))
    assert path.name == "Sequential_fp32.onnx"
    assert [part.training for part in module] == [True, True, False, True, True]
    module.eval()
    wanted = module(torch.from_numpy(PIXELS)).detach().numpy()
    np.testing.assert_allclose(outputs(path, PIXELS), wanted, atol=1e-5)


@pytest.mark.parametrize("width", [torch.float16, torch.float64])
def test_a_module_keeps_its_width(tmp_path: Path, width: Any) -> None:
    module = small().to(width)
    one_file(tmp_path, module, input_shape=(1, 3, 16, 16))
    assert module[0].weight.dtype == width


def test_a_factory_of_an_importable_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "someones_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "small.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = one_file(tmp_path, "someones_nets.small:make", input_shape=(1, 3, 16, 16))
    assert path.name == "small_make_fp32.onnx"
    with pytest.raises(UsageError, match=r"someones_nets.small defines no other"):
        export_model("someones_nets.small:other", output=tmp_path)
    with pytest.raises(EdgeconvError, match="no package no_such_package is installed"):
        export_model("no_such_package:make", output=tmp_path)
    assert "someones_nets" in sys.modules


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", ["pt2", "pt2 of any batch", "pt"])
def test_a_saved_program_and_torchscript_give_what_the_module_gives(
    tmp_path: Path, form: str
) -> None:
    module, example = small().eval(), torch.from_numpy(PIXELS)
    file = tmp_path / f"net.{form.split()[0]}"
    if form == "pt2":
        torch.export.save(torch.export.export(module, (example,)), file)
        path = one_file(tmp_path, file)  # the file itself knows its input
    elif form == "pt2 of any batch":
        two, free = torch.cat([example, example]), ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(module, (two,), dynamic_shapes=free), file)
        path = one_file(tmp_path, file)  # the file itself knows its input
    else:
        torch.jit.trace(module, example).save(str(file))
        path = one_file(tmp_path, file, input_shape=(1, 3, 16, 16))
    assert path.name == "net_fp32.onnx"
    np.testing.assert_allclose(outputs(path, PIXELS), module(example).detach().numpy(), atol=1e-5)
    told = summarize(file, input_shape=(1, 3, 16, 16))
    assert told.parameters == sum(p.numel() for p in module.parameters())


def test_files_that_are_none_of_these_are_refused_in_one_sentence(tmp_path: Path) -> None:
    weights, broken = tmp_path / "w.pt", tmp_path / "b.pt2"
    torch.save(small().state_dict(), weights)
    broken.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="holds weights, not a net"):
        export_model(weights)
    with pytest.raises(EdgeconvError, match="is no saved ExportedProgram"):
        export_model(broken)
    with pytest.raises(UsageError, match="list is no net"):
        export_model([1, 2])  # type: ignore[arg-type]


def test_the_arguments_are_the_fields_of_the_options() -> None:
    from edgeconv.export.options import ExportOptions

    ours = ExportArguments.__annotations__.keys() - {"input_shape"}
    assert ours == {field.name for field in fields(ExportOptions)} - {"net"}, (
        "edgeconv/arguments.py and export/options.py name the same arguments"
    )


def test_every_field_of_the_options_is_an_option_of_the_command() -> None:
    from edgeconv.commands.export import command
    from edgeconv.export.option import option_of
    from edgeconv.export.options import ExportOptions

    given = {parameter.name for parameter in command.params}
    derived = {field.name for field in fields(ExportOptions)} - {"precision", "input_types"}
    assert derived <= given  # the two left out are made of --int8 and --input-shape
    assert [f.name for f in fields(ExportOptions) if option_of(f) is None] == [
        "net",
        "precision",
        "input_types",
    ]


def test_a_value_that_is_no_choice_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"^io int4 is unknown: float, int8, uint8"):
        plan_export("mobilenet_v2", precision="int8", io="int4")  # type: ignore[arg-type]


def test_errors_speak_of_arguments_in_the_library_and_of_flags_at_the_command(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r'^io needs precision="int8"'):
        export_model("mobilenet_v2", io="uint8")
    with pytest.raises(UsageError, match=r"^--io needs --int8"):
        make_options("mobilenet_v2", io="uint8")
    with pytest.raises(UsageError, match="embed_preprocessing=True takes raw"):
        plan_export("mobilenet_v2", precision="int8", io="int8", embed_preprocessing=True)
    assert in_arguments("edgeconv export m.onnx --int8") == "edgeconv export m.onnx --int8"
    for call, says in (
        (lambda: check_parity(tmp_path, truth="folders"), "^truth is about the pictures of data:"),
        (lambda: check_parity([]), "^name at least one exported file, or load_outputs$"),
        (lambda: check_parity([], load_outputs=tmp_path, threads=0), "^threads must be at least 1"),
        (lambda: bench_models("a.onnx", seconds=-1.0), "^seconds must be positive"),
    ):
        with pytest.raises(UsageError, match=says):
            call()
    said = CliRunner().invoke(main, ["parity", str(tmp_path), "--truth", "folders"])
    assert "--truth is about the pictures of --data:" in said.stderr


def test_every_call_that_readme_lists_is_there() -> None:
    table = re.findall(r"^\| `.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    calls = {name for row in table for name in re.findall(r"`edgeconv\.([\w.]+)", row)}
    assert len(calls) >= 8
    assert calls <= set(edgeconv.__all__)
    assert all(getattr(edgeconv, name) is not None for name in edgeconv.__all__)


def test_files_as_text_and_live_modules_are_taken_alike_by_every_call(tmp_path: Path) -> None:
    module = small()
    module.train()
    report = export_model(module, input_shape=(1, 3, 16, 16), output=tmp_path, verify_count=2)
    assert "verdict" in str(report)
    path = str(report.artifacts[0].path)
    np.save(tmp_path / "pixels.npy", PIXELS)
    parity = check_parity(path, reference=module, data=tmp_path / "pixels.npy")
    assert parity, str(parity)
    assert "reference" in str(parity)
    (row,) = bench_models(module, input_shape=(1, 3, 16, 16), runs=2).rows
    assert row.error is None
    assert row.label.startswith("Sequential.pt2 (pytorch")
    assert module.training
    assert summarize(module, input_shape=(1, 3, 16, 16)).inputs == ((1, 3, 16, 16),)
    assert write_snippet(path)[1]
    assert write_report(path)
    manifest = Path(f"{path}.json")
    held = json.loads(manifest.read_text())
    counted = {"ops": 3, "int8_compute": 2}  # of how many it does not say
    manifest.write_text(json.dumps({**held, "graph": counted}))
    assert write_report(path)
    manifest.write_text(json.dumps({k: v for k, v in held.items() if k != "graph"}))
    with pytest.raises(EdgeconvError, match="holds too little for a page: graph is missing"):
        write_report(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_shap": (1, 3, 8, 8)}, "did you mean input_shape"),
        ({"input_shape": "1,3,8,8"}, "input_shape takes numbers"),
        ({"precision": "int4"}, "precision int4 is unknown: fp32, fp16, int8"),
    ],
)
def test_wrong_arguments_are_named_as_arguments(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        export_model(small(), **options)
