"""The workflows say what is there: no runner has to tell us of a missing file, extra, input or job."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml")

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = set(PROJECT["project"]["optional-dependencies"])
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an installed copy has no workflows")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # "on" is no truth value
    return found


ACTION = read(ROOT / "action.yml")


def steps(workflow: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            yield job, step


def test_every_extra_is_installed_by_itself() -> None:
    job = read(FOLDER / "ci.yml")["jobs"]["extras"]
    assert set(job["strategy"]["matrix"]["extra"]) == EXTRAS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_all_that_it_names(path: Path) -> None:
    workflow = read(path)
    assert {"name", "on", "permissions", "jobs"} <= workflow.keys()
    for job in workflow["jobs"].values():
        assert "runs-on" in job
        assert set(
            [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", ())
        ) <= (workflow["jobs"].keys())
    for job, step in steps(workflow):
        assert len({"run", "uses"} & step.keys()) == 1, step
        matrix = job.get("strategy", {}).get("matrix", {})
        known = set(matrix) | {key for row in matrix.get("include", ()) for key in row}
        for expression in EXPRESSION.findall(str(step)):
            for name in re.findall(r"matrix\.(\w+)", expression):
                assert name in known, expression
        if "uses" in step:
            check_use(step)
        else:
            check_run(step["run"])


def check_use(step: dict[str, Any]) -> None:
    if step["uses"] != "./":
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@\S+", step["uses"])
        return
    assert step["with"].keys() <= ACTION["inputs"].keys()
    needed = {name for name, about in ACTION["inputs"].items() if about.get("required") == "true"}
    assert needed <= step["with"].keys()


def check_run(script: str) -> None:
    plain = EXPRESSION.sub("value", script)
    done = subprocess.run(["bash", "-n"], input=plain, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"(?<![\w/$}\"])(?:tests|scripts|\.ci)/[\w./-]+", plain):
        assert (ROOT / name).exists(), name
    for extras in re.findall(r"\.\[([\w,-]+)\]", plain):
        assert set(extras.split(",")) <= EXTRAS
    for target in re.findall(r"\bmake (\w[\w-]*)", plain):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_every_extra_and_every_python_is_in_the_matrix() -> None:
    jobs = read(FOLDER / "ci.yml")["jobs"]
    assert set(jobs["extras"]["strategy"]["matrix"]["extra"]) <= EXTRAS
    pythons = jobs["elsewhere"]["strategy"]["matrix"]["python"]
    named = {
        line.rpartition(" ")[2]
        for line in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    }
    assert named <= set(pythons)


def test_the_action_reads_every_input_by_the_environment() -> None:
    install, compare = ACTION["runs"]["steps"]
    assert set(ACTION["inputs"]["install"]["default"].split(",")) <= EXTRAS
    for step in (install, compare):
        check_run(step["run"])
        assert not EXPRESSION.search(step["run"])
        for name in step["env"]:
            assert f"${name}" in step["run"]
    used = {name for step in (install, compare) for name in EXPRESSION.findall(str(step["env"]))}
    assert {name.strip() for name in used} == {f"inputs.{name}" for name in ACTION["inputs"]}


def test_the_tutorials_workflow_is_one() -> None:
    text = (ROOT / "docs" / "tutorials" / "ci.md").read_text()
    workflow = yaml.load(text.split("```yaml\n")[1].split("```")[0], yaml.BaseLoader)
    assert {"name", "on", "permissions", "jobs"} <= workflow.keys()
    for _, step in steps(workflow):
        check_run(step["run"]) if "run" in step else check_use(step)


def test_no_warning_filter_names_what_an_environment_of_the_matrix_lacks() -> None:
    """pytest ends before its first test where the module of a filter's category is not there."""
    for line in PROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"]:
        category = [*line.split(":"), "", "", ""][2]
        assert "." not in category, line
