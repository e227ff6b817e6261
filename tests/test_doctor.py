"""doctor tells the truth about what is installed, without importing any of it."""

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv import doctor
from edgeconv.cli import main
from edgeconv.machine import describe

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def test_examining_imports_no_heavy_package() -> None:
    code = (
        "import sys; from edgeconv.doctor import examine; examine();"
        "print([m for m in ('torch','onnx','onnxruntime','coremltools','ai_edge_litert',"
        "'tflite_runtime','PIL') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_part_names_an_extra_that_brings_it() -> None:
    if not PYPROJECT.exists():  # an installed copy has no pyproject
        return
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for part in doctor.PARTS:
        assert any(line.startswith(part.name) for line in extras[part.extra]), part.name


def test_every_extra_shows_in_the_report() -> None:
    if not PYPROJECT.exists():
        return
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    shown = {part.name for part in doctor.PARTS}
    for extra, lines in extras.items():
        assert extra == "all" or any(line.startswith(tuple(shown)) for line in lines), extra
    assert {part.extra for part in doctor.PARTS} == extras.keys() - {"all"}
    assert len(shown) == len(doctor.PARTS)


def test_json_says_version_or_the_pip_line_for_each_part() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.output)
    assert {p["name"] for p in data["packages"]} == {part.name for part in doctor.PARTS}
    for package in data["packages"]:
        assert package["version"] is None or package["version"][0].isdigit()
        assert package["pip"].startswith("pip install 'edgeconv[")
    assert Path(data["cache"]).is_absolute()


def test_the_table_shows_processor_cache_and_what_is_missing() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    for word in ("processor", "cache", "onnxruntime", "INT8"):
        assert word in result.output


def test_a_narrow_terminal_cuts_no_line_that_is_to_be_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda name: None)
    monkeypatch.setenv("COLUMNS", "60")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    for part in doctor.PARTS:
        assert f"pip install 'edgeconv[{part.extra}]'" in " ".join(result.output.split())
    assert "…" not in result.output


def test_a_package_that_cannot_work_here_says_why() -> None:
    problem = doctor._problem
    assert "numpy below 2" in str(problem("tflite-runtime", "2.14.0", "2.4.6", (3, 11), "x86_64"))
    assert problem("tflite-runtime", "2.14.0", "1.26.4", (3, 11), "x86_64") is None
    assert "Python 3.11" in str(problem("tflite-runtime", None, "1.26.4", (3, 12), "x86_64"))
    assert "32-bit" in str(problem("onnxruntime", None, "1.24.2", (3, 11), "armv7l"))


def test_the_int8_outlook_follows_the_instructions() -> None:
    machine = replace(describe(), emulated=False)
    assert "dotprod" in doctor.int8_outlook(replace(machine, features=("dotprod", "neon")))
    assert "without dot" in doctor.int8_outlook(replace(machine, features=("neon",)))
    assert "without VNNI" in doctor.int8_outlook(replace(machine, features=("avx2",)))
    assert "emulated" in doctor.int8_outlook(replace(machine, emulated=True))
