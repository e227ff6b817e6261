"""scripts/time_conversion.py: what it measures of a command, and its ratios."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("time_conversion")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_command_is_measured_line_by_line(timing: Any) -> None:
    code = (
        "print('build a'); held = bytearray(b'1') * (64 << 20); print('quantize b'); print('next')"
    )
    found = timing.watched([sys.executable, "-u", "-c", code])
    assert [stage["stage"] for stage in found["stages"]] == ["build", "quantize", "next"]
    assert found["peak"] > 64
    assert found["cpu"] > 0.0
    assert sum(stage["seconds"] for stage in found["stages"]) <= found["seconds"]
    with pytest.raises(Exception, match="no such net"):
        timing.watched([sys.executable, "-c", "print('no such net'); raise SystemExit(2)"])


def test_ratios_are_those_of_the_same_round(timing: Any) -> None:
    def line(tree: str, turn: int, cpu: float) -> dict[str, Any]:
        stages = [
            {"stage": "verify", "seconds": 1.0, "cpu": cpu / 4, "peak": 5.0},
            {"stage": "verify", "seconds": 1.0, "cpu": cpu / 4, "peak": 9.0},
        ]
        figures = {"seconds": 2 * cpu, "cpu": cpu, "peak": 100.0, "stages": stages}
        return {"job": "std", "side": 8, "count": 4, "tree": tree, "round": turn} | figures

    ours = [line("this", 0, 2.0), line("this", 1, 9.0), line("this", 2, 3.0)]
    lines = [*ours, line("other", 0, 4.0), line("other", 1, 10.0)]
    whole = timing.whole_table(lines)[-1]
    assert whole.startswith("| std | 8 | 4 | 6.0 | 3.0 | 100 |")
    assert "| 0.70x (0.50 to 0.90) | 1.00x" in whole
    assert timing.stage_table(lines)[-1] == "| std 8 4 | verify | 2.00, 2.00 | 1.50, 3.50 | 9, 9 |"
