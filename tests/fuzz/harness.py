"""One case: a command of ours on a mutated file, in a process of its own, and what was wrong with it."""

import ast
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from fuzz.kind import Kind
from fuzz.partly import partly_refused

MEMORY = 8 << 30
LARGEST = 2 << 30
"""What one file of a case may take: beyond it comes a signal, before the disk is full."""
LIMIT_S = 60.0
"""What a case may take on an idle machine; so many times as long where more processes run than processors."""

OFFLINE = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "PIP_NO_INDEX": "1",
}
"""Nothing is fetched, whatever options a case makes up."""

KEPT = (".cache", "__", ".tmp/torchinductor_")
"""What may stay: caches, torch's own in TMPDIR among them."""


@dataclass
class Result:
    """What became of a case. ``faults`` is empty where the command did as it should."""

    seed: int
    kind: str
    command: list[str]
    code: int | None
    seconds: float
    peak_mib: float
    said: str = ""
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))


def run_case(seed: int, base: Path, work: Path, kinds: Sequence[Kind]) -> Result:
    """Make case ``seed`` of one of ``kinds`` from the files of ``base`` in ``work``, run and judge it."""
    rng = Random(seed)
    kind = rng.choice(kinds)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = kind.prepare(rng, base, work)
    before = listing(work)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(lambda: kind.run(command), work)
    code, peak = wait(pid, start + limit_s())
    result = Result(seed, kind.name, command, code, round(time.monotonic() - start, 2), peak)
    result.faults = judge(result, work, before)
    return result


def limit_s() -> float:
    """Return what a case may take now: as many times ``LIMIT_S`` as processes run on each processor."""
    return LIMIT_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def listing(work: Path) -> set[str]:
    """Return every name below ``work``, links not followed."""
    return {
        os.path.relpath(os.path.join(folder, name), work)
        for folder, folders, files in os.walk(work)
        for name in [*folders, *files]
    }


def child(run: Callable[[], int], work: Path) -> NoReturn:
    """Let ``run`` give the exit code of this process, in ``work``; its output goes to .out and .err there."""
    code = 70
    begun = False
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an OSError of it
        os.chdir(work)
        os.environ.update(
            TMPDIR=str(work / ".tmp"),
            EDGECONV_CACHE=str(work / ".cache"),
            HOME=str(work),
            **OFFLINE,
        )
        tempfile.tempdir = None  # it may be known from before the fork
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(
                1
            )  # a fork has none of the threads that its parent's pool counts on
        (work / ".tmp").mkdir(exist_ok=True)
        for number, name in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.stdin = open(os.devnull)  # noqa: SIM115
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # a shell mutes it in the background
        begun = True
        code = run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        if begun or not isinstance(error, KeyboardInterrupt):  # before, it is none of the command's
            traceback.print_exc()
        code = 71
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def wait(pid: int, end: float) -> tuple[int | None, float]:
    """Return the exit code (negative: the signal; None: it had to be killed) and the peak in MiB."""
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            return code, round(used.ru_maxrss / 1024, 1)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            _, _, used = os.wait4(pid, 0)
            return None, round(used.ru_maxrss / 1024, 1)
        time.sleep(0.002)


def judge(result: Result, work: Path, before: set[str]) -> list[str]:
    """Return what was wrong: how it ended, what it printed, what it left behind."""
    err = _read(work / ".err")
    result.said = (err.strip().splitlines() or [""])[-1][:300]
    faults = []
    if result.code is None:
        return [f"hang: over {LIMIT_S:g} s"]
    if result.code < 0:
        faults.append(f"signal: {signal.Signals(-result.code).name}")
    elif "Traceback" in err or "internal error" in err or result.code not in (0, 1, 2, 3):
        faults.append(f"traceback: {_where(err)}")
    if "\x1b" in err or "\u202e" in err:
        faults.append("terminal: a control character")
    out = _read(work / ".out")
    told = result.code == 0 and out.startswith(("Usage:", "edgeconv, version"))
    if "--json" in result.command and not told and not _is_json(out):
        faults.append("json: standard output is no JSON")
    left = listing(work) - before - {".out", ".err", ".tmp", ".cache"}
    hidden = [name for name in left if "/." in f"/{name}" and not name.startswith(KEPT)]
    if hidden:
        faults.append(f"left behind: {sorted(hidden)[0]}")
    pages = [_read(path) for path in work.glob("*.html") if not path.is_symlink()]
    if any("<img src=x>" in page for page in pages):
        faults.append("page: foreign markup")
    if any("\x1b" in page or "\u202e" in page for page in pages):
        faults.append("page: a control character")
    if any(not _parses(_read(path)) for path in work.glob("app/*.py")):
        faults.append("snippet: no Python")
    made = [name for name in left if name.startswith("out/")]
    meant = "cannot be reported" in err or (result.code == 1 and partly_refused(out, made))
    if result.code in (1, 2) and made and not meant:
        faults.append(f"final name: {sorted(made)[0]}")
    if (work / "PWNED").exists():
        faults.append("code: a file of the input ran")
    return faults


def _where(err: str) -> str:
    """Return exception and line: of an internal error, or of a traceback's innermost frame of ours."""
    if found := re.search(r"internal error: (\w+).*\(([\w.]+:\d+)\)", err):
        return f"{found[1]} @ {found[2]}"
    frames = re.findall(r'File "[^"]*/(?:edgeconv|export|models)/([^"]+)", line (\d+)', err)
    last = (err.strip().splitlines() or ["?"])[-1]
    place = f"{frames[-1][0]}:{frames[-1][1]}" if frames else "?"
    return f"{last.partition(':')[0][:60]} @ {place}"


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _parses(program: str) -> bool:
    try:
        ast.parse(program)
    except (SyntaxError, ValueError):
        return False
    return True


def _is_json(text: str) -> bool:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True
