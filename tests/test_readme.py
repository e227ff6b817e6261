"""Every example of the README runs as it stands, on the inputs that it names."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv import demo_files
from edgeconv.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/, my.pth, net.py and model.onnx, as the README assumes them."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from edgeconv.export.hub.trace import trace_module
    from edgeconv.models import build
    from edgeconv.models.weights import load_weights

    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    pictures = sorted((ROOT / "calib_data" / "test").glob("*.png"))[::40]
    for index, picture in enumerate(pictures):
        name = "0_t-shirt.png" if index == 0 else picture.name
        shutil.copy(picture, folder / "photos" / name)
    torch.manual_seed(0)
    torch.save(build("mobilenet_v2").state_dict(), folder / "my.pth")
    (folder / "net.py").write_text(NET)
    (folder / "edgeconv.toml").write_text("[bench]\nseconds = 0.5\n")  # 5 by default
    trained = load_weights("mobilenet_v1", {}, "bundled").build()
    model = trace_module(trained, {"input": (1, 3, 64, 64)}, ["logits"])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def checkout_of_few_pictures(folder: Path) -> Path:
    """Return a folder that holds what is bundled, with a fiftieth of the test pictures."""
    for name in (
        "models",
        "demo",
        "calib_data/calibration",
        "calib_data/labels.txt",
        "calib_data/manifest.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    (folder / "calib_data" / "test").mkdir()
    for picture in sorted((ROOT / "calib_data" / "test").glob("*.png"))[::50]:
        shutil.copy(picture, folder / "calib_data" / "test")
    return folder


@pytest.mark.slow
def test_every_console_example_runs(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(demo_files, "CHECKOUT", checkout_of_few_pictures(tmp_path))
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert len(lines) > 8
    for line in lines:
        prompt, command, *arguments = shlex.split(line)
        assert (prompt, command) == ("$", "edgeconv"), line
        result = CliRunner().invoke(main, arguments)
        # random weights may miss an accuracy budget; nothing may fail or be misused
        assert result.exit_code in (0, 3), f"{line}\n{result.output}\n{result.exception!r}"


@pytest.mark.slow
def test_the_python_example_runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert re.search(rf"edgeconv {name}\b", README), f"README.md does not show edgeconv {name}"


def test_every_file_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
