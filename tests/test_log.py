"""--log-level and EDGECONV_LOG: what is done, on standard error, where it is asked for."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import parity_kit as kit
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.log import LEVELS, muted

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _quiet_after() -> Iterator[None]:
    """Leave logging as it was: it belongs to the whole process."""
    logger = logging.getLogger("edgeconv")
    before, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


def test_nothing_is_logged_where_nobody_asks(tmp_path: Path) -> None:
    path = kit.fp32_export(tmp_path, count=2)
    done = CliRunner().invoke(main, ["parity", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert "debug" not in done.stderr
    assert "opening" not in done.stderr


def test_debug_names_the_files_opened_and_the_processes_and_leaves_stdout_to_json(
    tmp_path: Path,
) -> None:
    path = kit.fp32_export(tmp_path, count=2)
    words = ["--log-level", "debug", "parity", str(path), "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    json.loads(done.stdout)
    assert re.search(r"^debug   isolate: process \d+ begins: \S+:\S+, for ", done.stderr, re.M)
    assert re.search(r"^debug   isolate: process \d+ ended with 0$", done.stderr, re.M)


def test_info_shows_stages_without_what_only_debug_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    model = kit.fp32_export(tmp_path, count=2)
    monkeypatch.setenv("EDGECONV_LOG", "INFO")
    words = ["export", str(model), "--target", "onnx", "--output", str(tmp_path / "out"), "-q"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    for stage in ("simplify", "reference", "onnx", "verify"):
        assert re.search(
            rf"^info    export\.stages: {stage}: .+ \(\d+\.\d\d s\)$", done.stderr, re.M
        )
    assert "debug" not in done.stderr


def test_what_others_log_is_silent_for_a_while_only(caplog: pytest.LogCaptureFixture) -> None:
    """A process that lowered one model logs what it does with the next."""
    with muted(logging.CRITICAL):
        logging.getLogger("another").critical("unheard")
        with muted():
            logging.getLogger("another").warning("unheard")
        logging.getLogger("another").critical("unheard")
    logging.getLogger("another").warning("heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]


def test_a_level_that_is_none_is_wrong_usage_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGECONV_LOG", "loud")
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code == 2
    assert "EDGECONV_LOG" in done.stderr
    assert all(level in done.stderr for level in LEVELS)


def test_every_variable_that_the_code_reads_is_documented() -> None:
    """But click's own, and the one that an emulated board's processes are told by."""
    shipped = [p for f in ("edgeconv", "export", "models") for p in (ROOT / f).rglob("*.py")]
    if not (ROOT / "docs").is_dir():
        pytest.skip("an installed copy has no docs")
    read = {v for p in shipped for v in re.findall(r"EDGECONV_[A-Z_]+", p.read_text("utf-8"))}
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    said = set(re.findall(r"EDGECONV_[A-Z_]+", page))
    assert read - said == {"EDGECONV_EMULATED", "EDGECONV_COMPLETE"}
