"""Takes away what Windows lacks, from every Python that has this folder on its path: a rehearsal, no Windows.

The standard library keeps its own view, for on this system it needs what it finds.
"""

import os
import pathlib
import selectors
import signal
import subprocess
import sys
import types
import warnings
from typing import Any

MODULES = "fcntl grp pty pwd readline resource syslog termios tty".split()  # noqa: SIM905 - read as a list of words
FUNCTIONS = """
    chown fchmod fork forkpty getegid geteuid getgid getloadavg getpgid getpriority getuid killpg
    lchown mkfifo nice openpty pread sched_getaffinity sched_setaffinity setpgid setsid statvfs sync
    sysconf wait3 wait4 WNOHANG WIFSIGNALED O_NOFOLLOW O_NONBLOCK O_DIRECTORY
""".split()  # noqa: SIM905
SIGNALS = """
    SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 alarm pthread_sigmask setitimer
""".split()  # noqa: SIM905


def no_links(*_given: Any, **_named: Any) -> None:
    """Refuse, as without the developer mode."""
    raise OSError(22, "A required privilege is not held by the client")


def no_folders(path: Any, flags: int, *rest: Any, **named: Any) -> int:
    """Open a file alone."""
    if not named and isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return open_there(path, flags, *rest, **named)


def rename(source: Any, target: Any) -> None:
    """Rename to a name that is free alone."""
    if os.path.lexists(target):
        raise FileExistsError(17, "Cannot create a file when that file already exists", target)
    os.replace(source, target)


class NoPipes(selectors.SelectSelector):
    """Windows selects among sockets alone."""

    def register(self, *_given: Any, **_named: Any) -> selectors.SelectorKey:
        """Refuse."""
        raise OSError(10038, "An operation was attempted on something that is not a socket")


open_there = os.open


def take_away() -> None:
    """Change this process for good."""
    for library, name in ((subprocess, "os"), (pathlib, "os"), (subprocess, "signal")):
        setattr(library, name, types.SimpleNamespace(**vars(getattr(library, name))))
    for name in MODULES:
        sys.modules.update({name: None})  # type: ignore[dict-item]
    for where, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            if hasattr(where, name):
                delattr(where, name)
    changed: tuple[tuple[Any, str, Any], ...] = (
        (selectors, "DefaultSelector", NoPipes),
        (os, "open", no_folders),
        (os, "rename", rename),
        (os, "symlink", no_links),
        (pathlib.Path, "symlink_to", no_links),
        (pathlib.Path, "rename", rename),
    )
    for place, name, made in changed:
        setattr(place, name, made)
    warnings.filterwarnings("error", category=EncodingWarning, module="edgeconv")


if __name__ == "sitecustomize":  # a test run that collects every module only reads it
    take_away()
