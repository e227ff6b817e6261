"""The layers of the house: who may import whom, no circle, no file that outgrew its concept."""

from pathlib import Path

import pytest
from structure import House, figures

ROOT = Path(__file__).resolve().parents[1]
LOW = ("errors", "tensors", "isolate", "isolated", "environment", "arrays", "artifact", "recipe")
"""Files that everyone may import, so they import no area at all."""

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file() or not (ROOT / "export").is_dir(),
    reason="an installed copy has no tree",
)


HOUSE = House(ROOT)
modules, imports, area = HOUSE.modules, HOUSE.imports, HOUSE.area


def test_an_area_imports_nothing_above_it() -> None:
    assert not HOUSE.upward()


def test_what_everyone_imports_imports_no_area() -> None:
    known = [f"edgeconv.{name}" for name in LOW if f"edgeconv.{name}" in modules]
    wrong = [f"{m} imports {other}" for m in known for other in imports[m] if area(other)]
    assert not wrong


def test_only_the_command_line_imports_commands() -> None:
    wrong = [
        module
        for module in modules
        if area(module) != "commands" and any(area(o) == "commands" for o in imports[module])
    ]
    assert not wrong


def test_no_circle_of_imports_lazy_ones_included() -> None:
    assert not HOUSE.circles()


def test_runtimes_are_asked_for_facts_not_for_their_names() -> None:
    # what is left: packages that extras and version lists name, which are called as runtimes are
    assert len(HOUSE.named()) <= 15, HOUSE.named()


def test_no_shipped_file_outgrows_its_concept() -> None:
    assert not HOUSE.long()


def test_the_figures_of_a_house_see_what_is_wrong_with_it(tmp_path: Path) -> None:
    files = {
        "edgeconv/runtimes/a.py": "def f():\n    from edgeconv.bench import b\n",
        "edgeconv/bench/b.py": "import edgeconv.runtimes.a\nNAME = 'onnxruntime'\n" + "#\n" * 300,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    found = figures(House(tmp_path))
    assert list(found.values()) == [1, 1, 1, 1, 2, 304]
