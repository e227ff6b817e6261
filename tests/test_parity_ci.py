"""Parity where it gates: the pytest plugin, the GitHub Action, the JSON schema, the page in a browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import parity_kit as kit
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.testing import assert_parity, read_case

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.int8_export(tmp_path_factory.mktemp("ci"), count=6)


def test_assert_parity_returns_the_result_or_fails_with_the_table(exported: Path) -> None:
    assert assert_parity(exported).matrix.samples.count == 6
    with pytest.raises(AssertionError, match="wanted at least 99") as failed:
        assert_parity(exported, budget={"int8": {"sqnr_db": 99}})
    assert "| recipe in float |" in str(failed.value)


def test_a_parity_case_is_collected_and_gates(exported: Path) -> None:
    folder = exported.parent
    (folder / "good.parity.toml").write_text(f'artifacts = ["{exported.name}"]\ncount = 3\n')
    bad = f'artifacts = ["{exported.name}"]\ncount = 3\n[budget.int8]\nsqnr_db = 99\n'
    (folder / "bad.parity.toml").write_text(bad)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "wanted at least 99.0" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_a_parity_case_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    case = tmp_path / "x.parity.toml"
    case.write_text('artifacts = ["a.onnx"]\nbudgets = 3\n')
    with pytest.raises(UsageError, match="sets budgets"):
        read_case(case)
    case.write_text("count = 3\n")
    with pytest.raises(UsageError, match="names no artifacts"):
        read_case(case)


def test_the_json_is_what_the_schema_says(exported: Path) -> None:
    ran = CliRunner().invoke(main, ["parity", str(exported), "--layers", "--json"])
    assert ran.exit_code == 0, ran.output
    schema = json.loads((ROOT / "edgeconv" / "parity" / "schema.json").read_text())
    check_schema(json.loads(ran.stdout), schema, "report")


KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def check_schema(value: Any, schema: dict[str, Any], where: str) -> None:
    """Check the part of JSON Schema that ours uses."""
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(is_kind(value, kind) for kind in kinds), f"{where} is {value!r}, not {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], where
    if isinstance(value, dict):
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= value.keys(), where
        for key, item in value.items():
            further = schema.get("additionalProperties", True)
            assert key in known or further is not False, f"{where}.{key} is not in the schema"
            inner = known.get(key, further if isinstance(further, dict) else {})
            check_schema(item, inner, f"{where}.{key}")
    if isinstance(value, list):
        for number, item in enumerate(value):
            check_schema(item, schema.get("items", {}), f"{where}[{number}]")


def is_kind(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        wanted: Any = int if kind == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, KINDS[kind])


def action_script() -> str:
    """Return the shell of the action's last step."""
    text = (ROOT / "action.yml").read_text()
    lines = text[text.rindex("run: |") :].splitlines()[1:]
    return "\n".join(line[8:] for line in lines)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_action_compares_and_passes_the_exit_code_on(exported: Path, tmp_path: Path) -> None:
    tight = tmp_path / "tight.toml"
    tight.write_text("[int8]\nsqnr_db = 99\n")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "edgeconv").write_text(f'#!/bin/sh\nexec {sys.executable} -m edgeconv "$@"\n')
    (commands / "edgeconv").chmod(0o755)
    for budget, wanted in (("", 0), (str(tight), 3)):
        environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "ARTIFACTS": str(exported),
            "ARGUMENTS": "--count 2",
            "BUDGET": budget,
            "BASELINE": "",
            "HTML": "parity.html",
            "JUNIT": "parity.xml",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }
        ran = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", action_script()],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == wanted, ran.stdout + ran.stderr
    assert "| recipe in float |" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "parity.html").read_text().startswith("<!doctype html>")


def browser() -> str | None:
    """Return a headless browser's path, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.mark.slow
@pytest.mark.skipif(browser() is None, reason="no Chromium is installed: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_in_a_browser_without_error_or_request(
    exported: Path, tmp_path: Path, width: int
) -> None:
    page = tmp_path / "page.html"
    assert (
        CliRunner()
        .invoke(main, ["parity", str(exported), "--layers", "--html", str(page)])
        .exit_code
        == 0
    )
    log = tmp_path / "net.json"
    probe = (
        "<script>addEventListener('load',()=>{document.title='overflow:'+"
        "(document.documentElement.scrollWidth-document.documentElement.clientWidth)"
        "+' requests:'+performance.getEntriesByType('resource').filter("
        "e=>!e.name.startsWith('data:')).length})</script>"
    )
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", probe + "</body>"))
    ran = subprocess.run(
        [
            str(browser()),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}",
            f"--window-size={max(width, 500)},900",
            "--dump-dom",
            f"file://{probed}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "CONSOLE" not in ran.stderr
    assert "requests:0" in ran.stdout
    assert "overflow:0" in ran.stdout
    assert "<script" not in page.read_text()
    assert "http://" not in page.read_text()
    assert "https://" not in page.read_text()
