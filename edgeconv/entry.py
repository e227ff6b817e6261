"""Where the command line begins and ends: signals end it in one sentence, and nothing keeps it when all is said."""

import atexit
import contextlib
import os
import signal
import sys

from edgeconv.signals import ASKED, end_early


def main() -> None:
    """Run the command that the words of this process ask for, and exit."""
    for number in ASKED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & leave them
            signal.signal(number, end_early)
    codes: list[int] = []
    atexit.register(_leave, codes)  # what comes first is called last
    from edgeconv import deps
    from edgeconv.cli import main as command

    deps.SHARED = False
    try:
        command()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            codes.append(ended.code)
        raise


def _leave(codes: list[int]) -> None:
    """End with the command's exit code, without taking its modules apart: for PyTorch's that takes 0.3 to 0.6 s.

    What else is to be done at the end has been done before. Without a code, the interpreter ends as ever.
    """
    if codes:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(codes[0])
