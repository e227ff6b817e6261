"""Children forked, not started: what isolate.py runs in a process of its own begins with our code loaded.

A command of ours starts up to four Pythons, which is most of what a case costs. Forked ones are processes
of their own too, with the same streams and limits. A fault that is found so is repeated with ``--cold``
before it counts.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


@contextmanager
def forked_children(wanted: bool = True) -> Iterator[None]:
    """Fork meanwhile, where ``wanted``, what isolate.py would start with this Python; the rest is started as ever."""
    if not wanted:
        yield
        return
    from edgeconv import isolate

    start, ours = vars(subprocess)["_fork_exec"], isolate._command()

    def fork(args: Any, *rest: Any) -> int:
        if list(args) != ours:
            pid: int = start(args, *rest)
            return pid
        streams, session = (rest[5], rest[8], rest[10]), bool(rest[14])
        signal.pthread_sigmask(
            signal.SIG_BLOCK, SIGNALS
        )  # Python drops what is raised around a fork
        if (child := os.fork()) == 0:
            _serve(streams, session)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return child

    vars(subprocess)["_fork_exec"] = fork
    try:
        yield
    finally:
        vars(subprocess)["_fork_exec"] = start


def _serve(streams: tuple[int, ...], session: bool) -> NoReturn:
    """Be isolate.py's other side; ``streams`` are standard input, output and error, -1 for the parent's own."""
    from edgeconv import isolate

    code = 1
    try:
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for number, handle in enumerate(streams):
            if handle >= 0:
                os.dup2(handle, number)
        os.closerange(3, 4096)
        if session:
            os.setsid()
        sys.stdin, sys.stdout, sys.stderr = (open(n, m, closefd=False) for n, m in enumerate("rww"))  # noqa: SIM115
        code = isolate.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
