"""scripts/mutate.py: the same mutants for a seed, each a program, and it says whether a test noticed."""

import ast
import os
from pathlib import Path
from random import Random

import mutate
import pytest

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
    found = [mutate.mutant_of("a.py", SOURCE, Random(seed)) for seed in range(40)]
    assert {m.what for m in found if m} >= {"Lt to LtE", "condition negated", "3 to 4", "0 to 1"}
    healthy = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in filter(None, found):
        ast.parse(mutant.source)
        changed = mutant.source.splitlines()
        assert sum(a != b for a, b in zip(healthy, changed, strict=True)) == 1


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
        return mutate.run_tests([f"test_{name}.py" for name in names], tmp_path, slow=False)

    assert died("passes") is None
    assert died("passes", "asserts") == "assertion in test_asserts.py"
    assert died("crashes", "asserts") == "crash in test_crashes.py"


def test_the_figures_name_the_survivors() -> None:
    lines = [
        {"file": "a.py", "line": 3, "what": "3 to 4", "killed": None},
        {"file": "b.py", "line": 4, "what": "0 to 1", "killed": "crash in tests/test_b.py"},
    ]
    said = mutate.summary(lines).splitlines()
    assert said[0].startswith("2 mutants, 50.0 % killed")
    assert said[1:] == ["  a.py:3 3 to 4"]
