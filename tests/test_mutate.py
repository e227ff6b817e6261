"""scripts/mutate.py: the same mutants for a seed, each a program, and it says whether a test noticed."""

import ast
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import mutate
import pytest
import reach
from collected import Collected
from mutants import Mutant, mutant_of

SOURCE = '''
"""A module."""
LIMIT = 3


def clipped(value: int, low: int = 0) -> int:
    """Return value between low and LIMIT."""
    if value < low:
        return low
    raise_ = min(value, LIMIT)
    return raise_ - 0
'''


def test_a_mutant_differs_in_one_place_and_can_be_read() -> None:
    found = [mutant_of("a.py", SOURCE, Random(seed)) for seed in range(40)]
    assert {m.what for m in found if m} >= {"Lt to LtE", "condition negated", "3 to 4", "0 to 1"}
    healthy = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in filter(None, found):
        ast.parse(mutant.source)
        changed = mutant.source.splitlines()
        assert sum(a != b for a, b in zip(healthy, changed, strict=True)) == 1


def test_what_would_compute_the_same_is_no_mutant() -> None:
    for source in ("x = max(a, b)", "x = np.minimum(a, b)", "x = a.reshape(-1)"):
        assert all(mutant_of("a.py", source, Random(seed)) is None for seed in range(5)), source
    assert mutant_of("a.py", "x = pow(a, b)", Random(0)) is not None


def test_a_seed_chooses_the_same_mutants_and_every_file_has_tests() -> None:
    first = mutate.chosen(5, 3)
    assert first == mutate.chosen(5, 3)
    assert [number for number, _ in first] == [5_000_000, 5_000_001, 5_000_002]
    assert all(mutate._tests(mutant.file) for _, mutant in first)
    assert all((mutate.ROOT / f"tests/test_{n}.py").exists() for _, names in mutate.AREAS for n in names.split())  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="tests run in forks")
def test_it_says_how_a_mutant_died(tmp_path: Path) -> None:
    for name, body in {"passes": "pass", "asserts": "assert 1 == 2", "crashes": "{}['x']"}.items():
        (tmp_path / f"test_{name}.py").write_text(f"def test_it():\n    {body}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def died(*names: str) -> str | None:
        return mutate.run_tests(
            [f"test_{name}.py::test_it" for name in names], tmp_path, slow=False
        )

    assert died("passes") is None
    assert died("passes", "asserts") == "assertion in test_asserts.py::test_it"
    assert died("crashes", "asserts") == "crash in test_crashes.py::test_it"


def test_the_figures_name_the_survivors() -> None:
    lines = [
        {"file": "a.py", "line": 3, "what": "3 to 4", "killed": None},
        {"file": "b.py", "line": 4, "what": "0 to 1", "killed": "crash in tests/test_b.py"},
    ]
    said = mutate.summary(lines).splitlines()
    assert said[0].startswith("2 mutants, 50.0 % killed")
    assert said[1:] == ["  a.py:3 3 to 4"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="tests run in forks")
def test_a_mutant_meets_the_tests_that_run_its_function(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(
        "# Three numbers.\n\nLIMIT = 1\ndef shared():\n    return 1\ndef alone():\n    return 2\ndef nobody():\n    return 3\n"
        "def making():\n    def made():\n        return 6\n    return made\nMADE = making()\n"
    )
    (tmp_path / "test_ours.py").write_text(
        "import ours, pytest\n"
        "@pytest.fixture(scope='module')\ndef made():\n    return ours.shared()\n"
        "def test_one(made):\n    assert made == 1\n"
        "def test_two(made):\n    assert ours.alone() == 2\n"
        "def test_fails():\n    assert ours.nobody() == 0\n"
        "def test_all_of_it():\n    assert ours.alone() + ours.LIMIT == 3\n"
        "def test_made():\n    assert ours.MADE() == 6\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        "import gc\ndef pytest_collection_finish():\n    gc.collect()\n    gc.freeze()\n"
    )
    kept = tmp_path / "kept.reach"
    files = ["test_ours.py"]

    def in_fork(work: Callable[[Collected], None], *modules: str) -> None:
        """Collect the tests in a fork and go to work there."""
        if (pid := os.fork()) == 0:
            os.chdir(tmp_path)
            code = 1
            try:
                code = mutate.collect(files, tmp_path, False, modules, work)
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0

    def note(live: Collected) -> None:
        mutate.reach_of(live, files, tmp_path, kept)

    in_fork(note)
    found = reach.noted(kept, files)
    names = {"one", "two", "all_of_it", "made"}
    assert found.tests.keys() == {f"test_ours.py::test_{name}" for name in names}
    assert set(found.of("ours.py:4")) == {"test_ours.py::test_one", "test_ours.py::test_two"}
    assert set(found.of("ours.py:6")) == {"test_ours.py::test_two", "test_ours.py::test_all_of_it"}
    assert len(found.of("ours.py")) == 4
    assert found.of("ours.py:8") == []

    def died(inside: int | None, healthy: str, wrong: str) -> str | None:
        """Return how a mutant dies by tests that are collected anew; by those collected before alike."""
        text = (tmp_path / "ours.py").read_text()
        mutant = Mutant(
            "ours.py", 0, inside, wrong, ast.unparse(ast.parse(text.replace(healthy, wrong)))
        )
        said = tmp_path / "said"

        def again(live: Collected) -> None:
            said.write_text(str(mutate.tried(mutant, tmp_path, found, False, live=live)))

        with mutate.changed(tmp_path / "ours.py", mutant.source):
            fresh = mutate.tried(mutant, tmp_path, found, slow=False)
        if inside is not None:
            in_fork(again, "ours.py")
            assert said.read_text() == str(fresh)
        return fresh

    assert died(6, "return 2", "return 5") in {
        f"assertion in test_ours.py::test_{name}" for name in ("two", "all_of_it")
    }
    assert died(None, "LIMIT = 1", "LIMIT = 0") == "assertion in test_ours.py::test_all_of_it"
    assert died(8, "return 3", "return 4") is None
    assert died(11, "return 6", "return 7") == "assertion in test_ours.py::test_made"
    assert "return 3" in (tmp_path / "ours.py").read_text()
