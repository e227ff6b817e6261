"""What operating systems do differently, each asked for in one place. Standard library only.

``edgeconv.settle``, which has to run alone, keeps its file locks to itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import IO

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Child = subprocess.Popen[bytes]

NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""What Windows has in place of a session."""

PR_SET_PDEATHSIG = 1
"""Linux's prctl: the signal that a process gets when its parent ends."""

MEMORY_FACTOR, MEMORY_LEAST = 2, 8 << 30
"""Address space of a child: so many times this machine's memory, for runtimes reserve more than
they use, and so many bytes at least."""

NTSTATUS = {
    0xC0000005: "an access violation",
    0xC0000017: "too little memory",
    0xC000001D: "an illegal instruction",
    0xC00000FD: "a stack overflow",
    0xC0000409: "a failed check of its own",
}
"""Windows' codes of processes that crashed -> what they mean; all of them are errors of severity 3."""


class Printed:
    """What a child prints, as it comes: read by a thread, for Windows waits for no pipe.

    The pipe belongs to the thread, which closes it at its end.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe, contextlib.suppress(OSError):
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._pieces.put(piece)
        self._pieces.put(b"")

    def piece(self, timeout_s: float) -> bytes | None:
        """Return what came next: None for nothing within ``timeout_s``, no bytes once it has ended."""
        if self._ended:
            return b""
        try:
            piece = self._pieces.get(timeout=timeout_s)
        except Empty:
            return None
        self._ended = not piece
        return piece

    def close(self, patience_s: float = 1.0) -> None:
        """Wait for the end of a child that was ended; a grandchild may hold the pipe open for longer."""
        self._thread.join(patience_s)


def start_apart(
    command: Sequence[str],
    *,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    pass_fds: Collection[int] = (),
) -> Child:
    """Start a child in a session of its own: Ctrl-C is for us alone. Raises OSError, ValueError."""
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds,
        start_new_session=True, creationflags=NEW_GROUP,
    )  # fmt: skip


def end_tree(child: Child) -> None:
    """End a child of ``start_apart`` now, and all that it started."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg") and hasattr(signal, "SIGKILL"):
                os.killpg(child.pid, signal.SIGKILL)
            else:
                tree = ["taskkill", "/T", "/F", "/PID", str(child.pid)]
                subprocess.run(tree, capture_output=True, check=False)
        child.kill()
    child.wait()


def crash(returncode: int) -> str | None:
    """Return how a process crashed, by its exit code: a signal's name, Windows' code; None if it did not.

    >>> crash(-11), crash(0xC0000005), crash(3)
    ('SIGSEGV', 'code 0xC0000005, an access violation', None)
    """
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            return f"signal {-returncode}"
        return name + (", most likely for want of memory" if name == "SIGKILL" else "")
    if returncode >> 28 == 0xC:
        known = NTSTATUS.get(returncode)
        return f"code {returncode:#X}".replace("X", "x", 1) + (f", {known}" if known else "")
    return None


def limit_child() -> None:
    """Let this process end with its parent, and ask for no more memory than could be there."""
    if hasattr(signal, "SIGKILL"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    memory = memory_bytes()
    if sys.platform == "win32" or resource is None or memory is None:
        return
    with contextlib.suppress(OSError, ValueError):
        most = MEMORY_FACTOR * memory
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (max(most, MEMORY_LEAST), hard))


def memory_bytes() -> int | None:
    """Return this machine's memory; None where the system does not tell it so."""
    if not hasattr(os, "sysconf"):
        return None
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError):
        return None


def ticks_per_s() -> int:
    """Return the unit in which Linux counts processor time."""
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def load_average() -> float | None:
    """Return the one-minute load average; Windows has none."""
    try:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    except OSError:
        return None


def processors() -> frozenset[int]:
    """Return the processors that this process may use; where it cannot be pinned, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def can_pin() -> bool:
    """Whether ``pin`` does anything here."""
    return hasattr(os, "sched_setaffinity")


def pin(cpus: Collection[int]) -> None:
    """Let this process run on ``cpus`` alone; nothing where ``can_pin`` is false."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def involuntary_switches() -> int:
    """Return how often this process was interrupted for another; 0 where nobody counts."""
    if sys.platform == "win32" or resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process had, as macOS counts; None where nobody does."""
    if sys.platform == "win32" or resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from the threads that are started meanwhile, and from their children; here it waits.

    Nothing on Windows.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
