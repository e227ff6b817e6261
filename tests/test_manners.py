"""Wrong usage is one sentence and exit code 2, before any work; help shows what runs."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeconv.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
NET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
"""


def run(line: str) -> tuple[int, str]:
    """Run a command line in process; return its exit code and everything it printed."""
    done = CliRunner().invoke(main, shlex.split(line))
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export mobilenet_v2 --int8 --fp16 --target tflite", "--fp16 and --int8 are two precisions"),
        ("export mobilenet_v2 --fp32 --int8", "--fp32 and --int8 are two precisions"),
        ("export mobilenet_v2 --recipe best", "--recipe needs --int8"),
        ("export mobilenet_v2 --max-drop 1", "--max-drop needs --int8"),
        ("export mobilenet_v2 --calib-count 5", "--calib-count needs --int8"),
        ("export mobilenet_v2 --allow-poor-calibration", "--allow-poor-calibration needs --int8"),
        ("export mobilenet_v2 --io uint8 --target tflite", "--io needs --int8"),
        ("export mobilenet_v2 --target tflite --opset 17", "--opset needs --target onnx"),
        ("export mobilenet_v2 --int8 --truth folders", "--truth needs the pictures"),
        ("export mobilenet_v2 --mean 0.5,3,0.5", "--mean is on the 0..1 scale (divide by 255): 3 is too large"),
        ("export mobilenet_v2 --mean nan", "--mean takes numbers, not nan or inf"),
        ("export mobilenet_v2 --std 0.5,inf,0.5", "--std takes numbers, not nan or inf"),
        ("export mobilenet_v2 -v -q", "-v shows more and -q less"),
        ("export mobilenet_v2 -v --json", "-v shows more and --json less"),
        ("export mobilenet_v2 --int8 --weights random --dry-run", "give --calib"),
        ("exprot mobilenet_v2", "did you mean export?"),
        ("parity nothere.tflite --truth folders", "--truth is about the pictures of --data"),
        ("parity nothere.tflite --mean 0.5", "--mean is about the pictures of --data"),
    ],
)  # fmt: skip
def test_options_that_contradict_or_change_nothing_are_refused(line: str, said: str) -> None:
    code, output = run(line)
    assert code == 2, output
    assert said in output
    assert output.count("\n") == 1 or "--json" in line, output


@pytest.mark.parametrize(
    "line",
    [
        "export gone.onnx",
        "export gone.py:make",
        "export mobilenet_v1 --weights gone.pth",
        "run gone.tflite gone.png",
        "parity gone.tflite",
        "bench gone.tflite",
        "bundle gone.onnx",
        "inspect gone.tflite",
        "summary gone.onnx",
        "quantize gone.onnx --calib gone",
        "recipe show gone.json",
    ],
)
def test_a_file_that_is_not_there_is_wrong_usage(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(line)
    assert code == 2, output
    assert "gone" in output
    assert "Traceback" not in output


def test_an_option_that_is_none_gets_the_nearest() -> None:
    assert run("export mobilenet_v2 --taget onnx")[1].endswith("Did you mean '--target'?\n")


def test_help_and_version_are_also_words() -> None:
    assert run("help") == run("--help")
    assert run("version") == run("--version")
    assert run("help run") == run("run --help")


def commands() -> list[tuple[str, click.Command]]:
    group = main
    context = click.Context(group)
    found = []
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        found.append((name, command))
    return found


def test_every_option_of_a_sectioned_help_is_shown_once() -> None:
    for name, command in commands():
        groups = getattr(command, "groups", {})
        named = [option for names in groups.values() for option in names]
        assert len(named) == len(set(named)), name
        known = {parameter.name for parameter in command.params}
        assert set(named) <= known, f"{name}: {sorted(set(named) - known)}"
        shown = run(f"{name} --help")[1]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert re.search(rf"^ .*{re.escape(parameter.opts[-1])}\b", shown, re.M), name


def examples() -> list[str]:
    """The commands under Examples: in every help, those that make files first."""
    found = [
        line.strip()
        for name, command in commands()
        for line in re.sub(r" \\\n +", " ", command.epilog or "").splitlines()
        if line.strip().startswith("edgeconv ")
    ]
    return sorted(found, key=lambda line: not line.startswith("edgeconv export"))


@pytest.fixture
def small_workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples name, as small as it can be."""
    torch = pytest.importorskip("torch")
    from edgeconv.export.hub.trace import trace_module
    from edgeconv.models.factory import load_factory

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for index, picture in enumerate(sorted((ROOT / "calib_data" / "test").glob("*.png"))[::100]):
        into = Path("photos", str(index % 4))  # a folder for each class of NET
        into.mkdir(exist_ok=True)
        shutil.copy(picture, into)
    shutil.copy(picture, "photo.png")
    Path("net.py").write_text(NET)
    torch.manual_seed(0)
    model = trace_module(load_factory("net.py:make"), {"input": (1, 3, 32, 32)}, ["logits"])
    Path("model.onnx").write_bytes(model.SerializeToString())
    code, said = run(
        "export model.onnx --int8 --calib photos --recipe fast --target tflite --target onnx --output out"
    )
    assert code in (0, 3), said


@pytest.mark.slow
@pytest.mark.usefixtures("small_workplace")
def test_the_examples_of_every_help_run() -> None:
    shown = [line for line in examples() if f"$ {line}\n" not in README]  # a test runs the README's
    # work of minutes: tests/test_train.py and tests/test_rescue.py have short ones
    shown = [line for line in shown if not line.startswith(("edgeconv train ", "edgeconv rescue "))]
    assert len(shown) > 8
    for line in shown:
        code, output = run(line.removeprefix("edgeconv "))
        # random weights may miss an accuracy budget; nothing may fail or be misused
        assert code in (0, 3), f"{line}\n{output}"
