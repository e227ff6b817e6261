"""Every console example of the documentation runs, page by page, on what a reader would have."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
NETS = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )

class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.boxes, self.scores = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, image):
        found = self.stem(image)
        return self.boxes(found).flatten(2), self.scores(found).flatten(2).sigmoid()
"""
CLASSES = ("bag", "boot", "coat", "dress")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """net.py, model.onnx, detector.onnx, names.txt and photos/ with a folder a class."""
    torch = pytest.importorskip("torch")
    from edgeconv.export.hub.trace import trace_module
    from edgeconv.models.factory import load_factory

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    Path("net.py").write_text(NETS)
    Path("names.txt").write_text("\n".join(CLASSES))
    pictures = sorted((ROOT / "calib_data" / "test").glob("*.png"))
    for number, name in enumerate(CLASSES):
        folder = Path("photos", f"{number}_{name}")
        folder.mkdir(parents=True)
        for index, picture in enumerate(pictures[number::200]):
            shutil.copy(picture, folder / f"{'abcdefgh'[index]}.png")
    shape = {"image": (1, 3, 32, 32)}
    for file, factory, outputs in (
        ("model.onnx", "make", ["logits"]),
        ("detector.onnx", "Detector", ["boxes", "scores"]),
    ):
        made = trace_module(load_factory(f"net.py:{factory}"), shape, outputs)
        Path(file).write_bytes(made.SerializeToString())
    return tmp_path


def examples(page: Path) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


@pytest.mark.slow
@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_in_its_order(page: Path) -> None:
    if page.stem == "coreml":
        pytest.importorskip("coremltools")
    for line in examples(page):
        prompt, command, *arguments = shlex.split(line)
        assert (prompt, command) == ("$", "edgeconv"), line
        done = CliRunner().invoke(main, arguments)
        # untrained weights may miss a budget; nothing may fail or be misused
        assert done.exit_code in (0, 3), f"{line}\n{done.output}\n{done.exception!r}"


def test_shell_examples_name_commands_and_options_that_exist() -> None:
    for page in PAGES:
        for block in re.findall(r"```(?:sh|yaml)\n(.*?)```", page.read_text(), re.DOTALL):
            for words in re.findall(r"\bedgeconv ([a-z]+.*)", block):
                name = words.split()[0]
                assert name in COMMANDS, words
                for option in re.findall(r"(?<= )--[a-z-]+", words):
                    known = CliRunner().invoke(main, [*words.split()[:1], "--help"]).output
                    assert option in known, words


def test_every_page_is_in_the_navigation_and_links_lead_to_files() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    made = {"cli.md", "api.md"}  # by scripts/site_pages.py
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f": {name}\n" in navigation, name
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert target in made or (page.parent / target).exists(), f"{name}: {target}"


def test_what_scrolls_on_the_site_is_reached_by_the_keyboard() -> None:
    from site_pages import on_page_content

    made = on_page_content(
        "<table></table><p><code>a</code></p><pre><span></span><code>b</code></pre>"
    )
    assert made == (
        '<table tabindex="0"></table><p><code>a</code></p>'
        '<pre><span></span><code tabindex="0">b</code></pre>'
    )
