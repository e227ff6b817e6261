"""edgeconv.toml and [tool.edgeconv] are defaults, never surprises."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import COMMANDS, main
from edgeconv.commands.export import command as export
from edgeconv.defaults import defaults_of
from edgeconv.errors import UsageError

ROOT = Path(__file__).parents[1]


def test_a_table_sets_defaults_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.edgeconv.summary]\nresolution = 64\nwidth = 0.5\n"
    )
    said = CliRunner().invoke(main, ["summary", "mobilenet_v1"]).output
    assert "64" in said.splitlines()[0]
    said = CliRunner().invoke(main, ["summary", "mobilenet_v1", "--resolution", "32"]).output
    assert "32" in said.splitlines()[0]
    assert "defaults" in CliRunner().invoke(main, ["doctor"]).output
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)["defaults"]
    assert told["file"] == "pyproject.toml"
    assert told["options"] == {"summary": {"resolution": 64, "width": 0.5}}


def test_lists_are_what_the_option_takes(tmp_path: Path) -> None:
    (tmp_path / "edgeconv.toml").write_text(
        '[export]\nmean = [0.4, 0.5, 0.6]\ntarget = "tflite"\nint8 = true\n'
    )
    found = defaults_of(export, "export", tmp_path)
    assert found == {"mean": "0.4,0.5,0.6", "targets": ["tflite"], "int8": True}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("calib", '"photos.py:make"', True),
        ("calib", '"./a/photos.py:make"', True),
        ("target", '["tflite", "package.module:make"]', True),
        ("calib", '"photos.py"', False),
        ("calib", '"C:\\\\photos"', False),
        ("mean", '"0.5:0.5"', False),
    ],
)
def test_a_folders_file_sets_options_but_runs_no_code(
    key: str, value: str, code: bool, tmp_path: Path
) -> None:
    (tmp_path / "edgeconv.toml").write_text(f"[export]\n{key} = {value}\n")
    if not code:
        assert defaults_of(export, "export", tmp_path)
        return
    with pytest.raises(UsageError, match=rf"toml: export\.{key} names Python code"):
        defaults_of(export, "export", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[models]\nwith = 1\n",
            "edgeconv models has no option --with: edgeconv models --help lists them",
        ),
        ("[models]\njsn = 1\n", "edgeconv models has no option --jsn: did you mean json?"),
        ("models = 3\n", "models is no table"),
        ("[exprot]\n", "exprot is no command: did you mean export?"),
        ('calib = "photos"\n', "calib is no command: options stand in a table"),
        ("[models", "cannot be read"),
        ("[models]\njson = {}\n", "written as on the command line"),
        ("[models]\njson = [[true]]\n", "written as on the command line"),
        ("[models]\njson = [true]\n", "takes a value, not true"),
        ('[models]\njson = ""\n', "models.json is empty"),
        ("[models]\njson = 3\n", "'3' is not a valid boolean"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edgeconv.toml").write_text(text)
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code in (1, 2)
    assert said in done.output
    assert "edgeconv.toml" in done.output


def test_a_number_is_refused_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edgeconv.toml").write_text("[parity]\ncount = inf\n")
    done = CliRunner().invoke(main, ["parity", "net.onnx"])
    assert done.exit_code == 2
    assert "'inf' is not a valid integer" in done.output
    (tmp_path / "edgeconv.toml").write_text("[parity]\ncount = true\n")
    done = CliRunner().invoke(main, ["parity", "net.onnx"])
    assert done.exit_code == 2
    assert "parity.count takes a value, not true" in done.output


def test_the_skill_file_names_every_command_and_only_options_that_exist() -> None:
    text = (ROOT / "SKILL.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    for name in COMMANDS:
        assert f"edgeconv {name}" in text, name
    for row in rows:
        for words in row.split("`")[1::2]:
            if words.startswith("edgeconv "):
                parts = words.split()[1:]
                depth = 2 if parts[0] in ("recipe", "device") else 1
                known = CliRunner().invoke(main, [*parts[:depth], "--help"]).output
                for option in (part for part in parts if part.startswith("--")):
                    assert option in known, words
