"""What a parity report shows: names as they are, figures whether they pass or not, any width."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from page_kit import look_at

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.judge.outputs import Outputs, save_outputs
from edgeconv.parity.api import check_parity
from edgeconv.parity.matrix import Samples, Settings, judge
from edgeconv.parity.page import to_html
from edgeconv.parity.report import table
from edgeconv.tables import Column, table_lines

NAMES = ("/loc/Reshape_output_0", "/conf [v1]/Reshape_output_0")


def saved_outputs(folder: Path, noise: float, step: float = 0.0) -> Path:
    """Write a reference, a recipe in float and an INT8 file of two outputs; no file is run.

    ``noise`` is that of the file and ``step`` how far it is from the recipe, over a signal of 1.
    """
    rng = np.random.default_rng(0)
    wanted = {name: rng.normal(size=(12, 3, 5)) for name in NAMES}
    errors = {name: rng.normal(size=(12, 3, 5)) for name in NAMES}
    more = {name: rng.normal(size=(12, 3, 5)) for name in NAMES}
    recipe = {name: wanted[name] + noise * errors[name] for name in NAMES}
    file = {name: recipe[name] + step * more[name] for name in NAMES}
    about = {"inputs_sha256": "x", "names": [f"{i}.png" for i in range(12)], "kind": "int8"}
    for label, stage, arrays, before in (
        ("float", "reference", wanted, None),
        ("recipe in float", "recipe", recipe, None),
        ("net [v1].tflite", "int8", file, "recipe in float"),
    ):
        known = {**about, "label": label, "stage": stage, "title": label, "before": before}
        save_outputs(folder / f"{stage}.npz", Outputs(arrays, known))
    return folder


@pytest.mark.parametrize("noise", [0.01, 1.0], ids=["within", "missed"])
def test_names_and_figures_survive_on_every_page(noise: float, tmp_path: Path) -> None:
    folder = saved_outputs(tmp_path / "saved", noise)
    markdown, page = tmp_path / "m.md", tmp_path / "p.html"
    arguments = ["parity", "--load-outputs", str(folder), "--markdown", str(markdown)]
    ran = CliRunner().invoke(main, [*arguments, "--html", str(page)])
    assert ran.exit_code == (3 if noise == 1.0 else 0), ran.output
    sqnr = re.findall(r"\d+\.\d \(floor", ran.output)
    assert len(sqnr) == len(NAMES)
    for name in NAMES:
        assert f"net [v1].tflite [{name}]" in ran.output
        assert f"net [v1].tflite [{name}]" in page.read_text()
        assert f"[{name}]" in markdown.read_text().replace("\\", "")
    assert sqnr[0] in page.read_text()
    assert sqnr[0] in markdown.read_text()
    assert "<h2>Outputs</h2>" in page.read_text()
    assert "<title>net [v1].tflite · edgeconv parity</title>" in page.read_text()


def test_the_page_lists_what_to_try_and_says_what_its_words_mean(tmp_path: Path) -> None:
    matrix = check_parity([], load_outputs=saved_outputs(tmp_path / "saved", 1.0)).matrix
    plain = to_html(matrix)
    assert "What to try" not in plain
    assert "missed: net [v1].tflite: the file" in plain
    assert (
        "signal to quantization noise: the same, mean over the samples removed, dB" in plain
    )  # what sqnr_centred_db is
    advised = tuple(replace(row, advice=("edgeconv export <x>",)) for row in matrix.rows)
    text = to_html(replace(matrix, rows=advised))
    assert text.count("<li>edgeconv export &lt;x&gt;</li>") == 1
    assert "one quantum is its scale" in text


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "width"), [(0.01, 1280), (1.0, 390)], ids=["within", "missed"])
def test_a_browser_shows_the_page_and_finds_it_accessible(
    noise: float, width: int, tmp_path: Path
) -> None:
    folder, page = saved_outputs(tmp_path / "saved", noise), tmp_path / "p.html"
    CliRunner().invoke(main, ["parity", "--load-outputs", str(folder), "--html", str(page)])
    look_at(page, tmp_path, width, dark=width < 600)


def test_a_hop_that_departs_is_a_note_where_the_file_is_within_its_budget(tmp_path: Path) -> None:
    folder = saved_outputs(tmp_path / "saved", noise=0.12, step=0.15)
    ran = CliRunner().invoke(main, ["parity", "--load-outputs", str(folder)])
    assert ran.exit_code == 0, ran.output
    assert "counts for nothing" in ran.output
    assert "first departure" not in ran.output
    assert "DEPARTS" not in ran.output


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_no_width_folds_a_number_or_drops_a_name(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_outputs(tmp_path / "saved", 0.12)
    wide = CliRunner().invoke(main, ["parity", "--load-outputs", str(folder)]).output
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = CliRunner().invoke(main, ["parity", "--load-outputs", str(folder)]).output
    for label in ("recipe in float", "net [v1].tflite"):
        for name in NAMES:
            assert f"{label} [{name}]" in narrow
    # the last line of the block is a sentence, which a terminal folds by itself
    numbers = re.findall(r"\d\.\d\de[-+]\d\d", wide)
    assert numbers
    assert re.findall(r"\d\.\d\de[-+]\d\d", narrow) == numbers


def test_a_block_breaks_between_figures_only() -> None:
    columns = (Column("file"), Column("ms", right=True), Column("ratio"), Column("verdict", named=False))  # fmt: skip
    lines = table_lines(columns, [["net.onnx", "12.3", "1.20x [1.10, 1.30]", "ok"]], 31)
    assert lines == [[], ["net.onnx", "  ms 12.3", "  ratio 1.20x [1.10, 1.30] · ok"]]


def test_saved_outputs_that_name_each_other_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    outputs = {"y": np.random.default_rng(0).normal(size=(4, 5))}
    for label, before in (("reference", None), ("a", "b"), ("b", "a")):
        stage = "reference" if before is None else "int8"
        about = {
            "label": label,
            "stage": stage,
            "kind": "int8",
            "before": before,
            "inputs_sha256": "x",
        }
        save_outputs(tmp_path / f"{label}.npz", Outputs(outputs, about))
    assert check_parity([], load_outputs=tmp_path).matrix.rows


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"doubts": 1}, "doubts is 1, not a list"),
        ({"infer_s": "long"}, 'infer_s is "long", not a number'),
        ({"weights": []}, r"weights is \[\], not a text"),
        ({"names": ["a"]}, "there are 4 outputs, but not as many names"),
        ({"truth": [0] * 5}, "there are 4 outputs, but not as many truth"),
    ],
)
def test_what_saved_outputs_say_of_themselves_is_checked(
    tmp_path: Path, about: dict[str, Any], said: str
) -> None:
    whole = {"label": "reference", "stage": "reference", "inputs_sha256": "x", **about}
    save_outputs(tmp_path / "a.npz", Outputs({"y": np.ones((4, 5))}, whole))
    with pytest.raises(EdgeconvError, match=said):
        check_parity([], load_outputs=tmp_path)


def test_of_several_outputs_those_are_missed_that_missed() -> None:
    rng = np.random.default_rng(0)
    wanted = {name: rng.normal(size=(40, 6)) for name in "ab"}
    got = {"a": wanted["a"] + 1e-9, "b": rng.normal(size=(40, 6))}
    samples = Samples({"x": np.zeros((40, 1))})

    def words(got: Any) -> list[str]:
        found = Outputs(got, {"label": "f"})
        matrix = judge([("f", found, {"stage": "fp32"})], Outputs(wanted), samples, Settings())
        return [line[-1] for line in table(matrix)[1]]

    assert words(got) == ["reference", "ok", "MISSED"]
    assert words({"a": wanted["a"], "b": np.full((40, 6), np.nan)}) == ["reference", "MISSED"]
