"""Who asks for the end while libraries are imported is heard, though they take every exception for a missing package."""

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv import deps, signals
from edgeconv.signals import Stops

SLOW = "import signal\nsignal.raise_signal(signal.SIGINT)\nDONE = True\n"
"""A module during whose import somebody asks for the end."""
SWALLOWS = "try:\n    import slowly_imported\nexcept:\n    pass\n"


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal gives it: a shell mutes it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    for name in ("swallows_all", "slowly_imported"):
        sys.modules.pop(name, None)


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the modules into ``folder`` and let them be found; nothing is waited for."""
    folder.mkdir()
    (folder / "slowly_imported.py").write_text(SLOW, encoding="utf-8")
    (folder / "swallows_all.py").write_text(SWALLOWS, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(signals, "PATIENCE_S", 0.0)


def imported_then_waiting() -> None:
    importlib.import_module("swallows_all")
    threading.Event().wait(60)


@pytest.mark.parametrize("folder", signals.LIBRARIES)
def test_an_interrupt_that_a_library_would_swallow_is_raised_after_its_import(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the import takes: what was half imported crashes when it is imported again."""
    written(tmp_path / folder, monkeypatch)
    with pytest.raises(KeyboardInterrupt), Stops():
        imported_then_waiting()
    assert sys.modules["slowly_imported"].DONE


def test_a_users_own_module_is_ended_in_its_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may never come to an end by itself."""
    written(tmp_path / "mine", monkeypatch)
    with pytest.raises(KeyboardInterrupt), Stops():
        importlib.import_module("slowly_imported")
    assert "slowly_imported" not in sys.modules


def test_what_is_unseen_is_found_missing_by_a_command_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program that calls edgeconv may use the library too, which remembers what it found."""
    (tmp_path / "slowly_imported.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deps, "SHARED", False)
    with deps.unseen("slowly_imported", "sys"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("slowly_imported")
    monkeypatch.setattr(deps, "SHARED", True)
    with deps.unseen("slowly_imported"):
        importlib.import_module("slowly_imported")
    assert sys.modules["sys"] is sys
