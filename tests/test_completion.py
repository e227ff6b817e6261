"""Shell completion offers what click's users expect: commands, options, our nets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def completions(words: str, home: Path) -> list[str]:
    """Return what bash would be offered for the last word."""
    done = subprocess.run(
        [sys.executable, "-c", "from edgeconv.cli import main; main(prog_name='edgeconv')"],
        env={
            **os.environ,
            "HOME": str(home),
            "_EDGECONV_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("edgeconv ex", "export"),
        ("edgeconv export mob", "mobilenet_v2"),
        ("edgeconv export mobilenet_v2 --int", "--int8"),
        ("edgeconv export mobilenet_v2 --target tf", "tflite"),
        ("edgeconv export mobilenet_v2 --recipe be", "best"),
        ("edgeconv summary ghost", "ghostnet"),
        ("edgeconv device info ssh://p", "ssh://pi5"),
        ("edgeconv export model.onnx --calib ph", "ph"),  # a file: the shell looks for it
    ],
)
def test_the_last_word_is_completed(words: str, offered: str, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *.local !x\n  User a\nhost pi5 pi4\n")
    assert offered in completions(words, tmp_path)
