"""The page about an exported file: whole, escaped, and honest where the file is not good."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import report_of, row_of
from click.testing import CliRunner
from page_kit import look_at

from edgeconv.cli import main
from edgeconv.commands.output_types import refuse_other_file
from edgeconv.errors import EdgeconvError
from edgeconv.export_page import ROW, _assumed
from edgeconv.files import in_bytes
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.measures import meaning
from edgeconv.judge.text import to_json
from edgeconv.judge.verdict import compare
from edgeconv.schema import Misfit
from edgeconv.templates import render

pytest.importorskip("jinja2")

ROOT = Path(__file__).parents[1]
EVIL = '<script>alert("x")</script>'
NET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
"""


class Reader(HTMLParser):
    """Collects text and tags, and fails where tags do not nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == []
    assert "script" not in reader.seen
    return reader


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small INT8 classifier with a hostile label, and the page that --html wrote beside it."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("report")
    (folder / "net.py").write_text(NET)
    (folder / "names.txt").write_text(f"{EVIL}\nb & c\nplain\n")
    asked = (
        f"export {folder}/net.py:make --int8 --recipe fast --target tflite --resolution 16 --html "
        f"--calib {ROOT}/calib_data/test --calib-count 16 --verify-count 9 --mean 0.5 --std 0.5 "
        f"--labels {folder}/names.txt --output {folder}/out"
    )
    done = CliRunner().invoke(main, asked.split())
    assert done.exit_code in (0, 3), done.output
    assert "page       " in done.output
    return folder / "out" / "net_make_int8.tflite"


@pytest.mark.slow
def test_the_page_says_what_the_manifest_says_and_escapes_it(
    exported: Path, tmp_path: Path
) -> None:
    manifest = json.loads(exported.with_name(exported.name + ".json").read_text())
    page = read(exported.with_name(exported.name + ".html"))
    assert ("not within the budget" not in page.text) == manifest["verification"]["ok"]
    graph = manifest["graph"]  # counted as the export's line counts
    assert (
        f"{graph['int8_operators']} of {graph['operators']}that compute, in integers" in page.text
    )
    assert EVIL in page.text
    assert "16 samples" in page.text
    assert in_bytes(manifest["bytes"]) in page.text
    assert "A program that runs it" in page.text
    assert page.seen.count("img") >= 6
    text = exported.with_name(exported.name + ".html").read_text()
    assert "http" not in text.replace("http-equiv", "")  # nothing is fetched
    look_at(exported.with_name(exported.name + ".html"), tmp_path, 390, dark=True)


def test_a_manifest_that_names_no_colour_order_is_of_rgb() -> None:
    """As for everything else that reads it."""
    how = {"mean": [0.5], "std": [0.5], "crop": 1, "size": [4, 6], "embedded": False}
    about = {
        "preprocessing": how, "calibration": None, "recipe": None, "net": {"source": "a"}, "weights": {"source": "b"},
    }  # fmt: skip
    assert ("picture", "6x4 RGB, crop 1") in _assumed(about)


@pytest.mark.slow
def test_a_file_outside_its_budget_is_not_praised(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.artifact import load_artifact, manifest_path

    def crash(*_: object, **__: object) -> None:
        raise EdgeconvError("ended by SIGSEGV")

    beside = manifest_path(exported)
    whole = beside.read_text()
    data = json.loads(whole)
    data["verification"]["ok"] = False
    missed = compare({"y": np.eye(8)}, {"y": np.zeros((8, 8))}, budget=DEFAULTS["int8"])
    data["verification"] |= {**to_json(missed), "try": ["--recipe best: this one was std"]}
    try:
        beside.write_text(json.dumps(data))
        assert load_artifact(exported) is not None
        asked = ["report", str(exported), "--html", str(tmp_path / "p.html")]
        assert CliRunner().invoke(main, asked).exit_code == 0
        monkeypatch.setattr("edgeconv.runtimes.base.probe", crash)  # a child opens the file first
        assert CliRunner().invoke(main, [*asked[:-1], str(tmp_path / "q.html")]).exit_code == 0
    finally:
        beside.write_text(whole)
    text = read(tmp_path / "p.html").text
    assert "not within the budget" in text
    assert all(str(finding) in text for finding in missed.missed)
    assert all(f"{f} ({meaning(f.metric)})" in text for f in missed.missed)
    assert (
        "It is what it was made from: its precision or its recipe costs the net too much." in text
    )
    assert "'metric'" not in text  # sentences, not data
    assert "--recipe best: this one was std" in text
    assert "Worst pictures" in text
    assert "Worst pictures" not in read(tmp_path / "q.html").text


def test_a_page_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    mine, model, page = tmp_path / "notes.html", tmp_path / "m.tflite", tmp_path / "p.html"
    mine.write_text("<!doctype html>mine", encoding="utf-8")
    model.write_bytes(b"TFL3")
    for other in (mine, model):
        before = other.read_bytes()
        for words in (["report", str(model)], ["parity", str(model)], ["bench", str(model)]):
            told = CliRunner().invoke(main, [*words, "--html", str(other)])
            assert told.exit_code == 2
            assert "is no page of edgeconv's: name another file" in " ".join(told.output.split())
        assert other.read_bytes() == before
    page.write_text(render("pages", "base.html.jinja", title="old"), encoding="utf-8")
    refuse_other_file(page)
    refuse_other_file(tmp_path / "new.html")


@pytest.mark.slow
def test_a_bench_of_another_file_is_refused(exported: Path, tmp_path: Path) -> None:
    other = report_of(row_of("other.tflite", [1.0] * 50, about={"sha256": "0"}))
    (tmp_path / "b.json").write_text(json.dumps(other.to_json()))
    done = CliRunner().invoke(main, ["report", str(exported), "--bench", str(tmp_path / "b.json")])
    assert done.exit_code == 2
    assert "measured other files" in done.output


def test_a_figure_that_is_a_table_is_named() -> None:
    row = {"sqnr_db": 3.0, "sqnr_centred_db": "exact", "top1": None}
    assert ROW(row, "figures.y")
    with pytest.raises(Misfit, match=r"figures\.y\.sqnr_db"):
        ROW({**row, "sqnr_db": {"a": 1}}, "figures.y")
