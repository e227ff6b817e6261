"""A signal ends a command in one sentence, from the first line of ours to its last."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

EARLY = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # tests in the background inherit them ignored
    signal.signal(number, signal.SIG_DFL)
class Ending:
    def find_spec(self, name, *_):
        if name == "edgeconv.cli":
            assert "click" not in sys.modules and "edgeconv.api" not in sys.modules
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Ending())
from edgeconv.entry import main
main()
"""
AGAIN = """
import os, signal, sys
from edgeconv import guard
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
def work(answer):
    os.kill(os.getpid(), {number})
def say(*_):
    os.kill(os.getpid(), {again})
    print("said")
    return 128 + {number}
guard._say = say
sys.exit(guard.guarded(work, as_json=False, debug=False))
"""
PARTLY = """
import os, signal, sys
from edgeconv import guard
signal.signal(signal.SIGTERM, signal.SIG_DFL)
def work(answer):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        sys.exit(130)
sys.exit(guard.guarded(work, as_json=False, debug=False))
"""

IMPORTED = """
import os, signal, sys, time
sys.path.insert(0, {folder!r})
from edgeconv import guard
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
def work(answer):
    import slow
    print("whole:", slow.whole, flush=True)
    time.sleep(60)
sys.exit(guard.guarded(work, as_json=False, debug=False))
"""


def run(script: str, **numbers: object) -> subprocess.CompletedProcess[str]:
    filled = script.format(**numbers)
    return subprocess.run([sys.executable, "-P", "-c", filled], capture_output=True, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_line_is_imported_is_a_sentence(number: signal.Signals) -> None:
    done = run(EARLY, number=int(number))
    says = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"Error: {says}\n")


@pytest.mark.parametrize(
    ("number", "again", "code"),
    [
        (signal.SIGINT, signal.SIGINT, -signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGTERM, signal.SIGTERM, 128 + signal.SIGTERM),  # one wish, said twice
    ],
)
def test_a_second_signal_while_the_first_is_reported_prints_no_traceback(
    number: signal.Signals, again: signal.Signals, code: int
) -> None:
    done = run(AGAIN, number=int(number), again=int(again))
    assert (done.returncode, done.stderr) == (code, "")


def test_a_command_that_shows_what_it_has_still_ends_by_the_signal_that_came() -> None:
    assert run(PARTLY).returncode == 128 + signal.SIGTERM


ENDING = """
import atexit, sys, types
from edgeconv import entry

class Held:
    def __del__(self):
        print("taken apart")

def command():
    atexit.register(print, "done at the end")
    sys.modules["held"] = Held()
    print("said")
    sys.exit(int(sys.argv[1]))

sys.modules["edgeconv.cli"] = types.SimpleNamespace(main=command)
entry.main()
"""


@pytest.mark.parametrize("code", [0, 3])
def test_what_is_due_at_the_end_is_done_and_no_module_is_taken_apart(code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", ENDING, str(code)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.splitlines()) == (code, ["said", "done at the end"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_library_is_imported_first(number: signal.Signals, tmp_path: Path) -> None:
    body = (
        f"import os\nos.kill(os.getpid(), {int(number)})\nfor _ in range(10**5): pass\nwhole = True"
    )
    (tmp_path / "slow.py").write_text(body)
    done = run(IMPORTED, folder=str(tmp_path))
    assert (done.returncode, done.stdout) == (128 + number, "whole: True\n")
    says = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert done.stderr == f"Error: {says}\n"


def test_an_import_without_end_is_interrupted_all_the_same(tmp_path: Path) -> None:
    body = f"import os\nos.kill(os.getpid(), {int(signal.SIGINT)})\nwhile True: pass"
    (tmp_path / "slow.py").write_text(body)
    script = IMPORTED.replace(
        "def work", "import edgeconv.signals\nedgeconv.signals.PATIENCE_S = 0.1\ndef work"
    )
    assert run(script, folder=str(tmp_path)).stderr == "Error: interrupted\n"
