"""A board by the system's own OpenSSH (the user's keys, configuration and jump hosts all apply), or by adb."""

import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from edgeconv.device.adb import Phone
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.system import Child, Printed, end_tree, start_apart

CONNECT_S = 15
TICK_S = 0.2
MAX_ANSWER, MAX_LOG = 256 << 20, 1 << 20
"""Bytes that a command there may answer, and that are read of its complaints."""

CONNECTIONS_SAY = (
    ("Host key verification failed", "its host key is unknown or has changed: connect once by hand, ssh {target}, and check the fingerprint"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed: remove the old one with ssh-keygen -R once you know why"),
    ("Permission denied", "it refuses the key: install yours with ssh-copy-id {target}"),
    ("Could not resolve hostname", "there is no host of that name"),
    ("Connection refused", "nothing listens on its SSH port"),
    ("timed out", "it does not answer"),
    ("No route to host", "there is no route to it"),
    ("device unauthorized", "it does not trust this computer: allow USB debugging on its screen"),
    ("device offline", "it is offline: unplug and plug it in, or adb reconnect"),
    ("device '", "adb knows no such device: adb devices lists them"),
)  # fmt: skip
"""What OpenSSH or adb says of the connection -> what it means and what to do."""
COMMANDS_SAY = (
    ("No space left on device", "its disk is full"),
    ("Disk quota exceeded", "its disk is full"),
    ("python3: not found", "it has no python3: sudo apt install python3"),
    ("python3: command not found", "it has no python3: sudo apt install python3"),
    ("python3: inaccessible or not found", "it has no python3: unpack one into /data/local/tmp/python"),
)  # fmt: skip
"""What a command there says -> the same."""
NO_REASON = "tar: Exiting with failure status"
"""A last line that only says that there was another."""


class ConnectionLostError(EdgeconvError):
    """The connection ended; what runs on the board goes on."""


@dataclass(frozen=True)
class Host:
    """Where a board is: ``user`` and ``port`` may be left to ~/.ssh/config."""

    name: str
    user: str | None = None
    port: int | None = None

    @property
    def target(self) -> str:
        """user@host as ssh takes it."""
        return f"{self.user}@{self.name}" if self.user else self.name

    def arguments(self, command: str, options: Sequence[str]) -> list[str]:
        """Return the call of ssh that runs a shell command there. Raises EdgeconvError without ssh."""
        if shutil.which("ssh") is None:
            raise EdgeconvError("--device needs the OpenSSH client: apt install openssh-client")
        arguments = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        arguments += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-T"]
        if self.port is not None:
            arguments += ["-p", str(self.port)]
        return [*arguments, *options, self.target, "--", f"exec sh -c {shlex.quote(command)}"]

    def is_lost(self, code: int, _said: str) -> bool:
        """Whether the connection broke, not the command there."""
        return code == 255  # a command there ends with its own code


def parse_host(text: str, option: str = "--device: ") -> "Reached":
    """Read ssh://[user@]host[:port] or adb://SERIAL. Raises UsageError, with ``option`` in front, for anything else."""
    phone = re.fullmatch(r"adb://([A-Za-z0-9][A-Za-z0-9._:-]*)", text)
    if phone:
        return Phone(phone[1])
    found = re.fullmatch(
        r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9_][A-Za-z0-9._-]*)(?::(\d{1,5}))?/?",
        text,
    )
    # a first character that is a dash would make ssh take it for an option
    if not found or not 0 < int(found[3] or 22) < 1 << 16:
        raise UsageError(
            f"{option}a board is ssh://user@host, ssh://user@host:port or adb://SERIAL, not {text!r}"
        )
    return Host(found[2], found[1], int(found[3]) if found[3] else None)


class Reached(Protocol):
    """How a board is reached: a program here that runs a shell command there."""

    @property
    def target(self) -> str:
        """What messages call it."""
        ...

    def arguments(self, command: str, options: Sequence[str]) -> list[str]:
        """Return the program's call, which hands standard input and output through."""
        ...

    def is_lost(self, code: int, said: str) -> bool:
        """Whether the program's end means a broken connection, by its code and what it said."""
        ...


@dataclass(frozen=True)
class Connection:
    """Runs commands on a board. ``options`` are more arguments for ssh (tests give a configuration)."""

    host: Reached
    options: tuple[str, ...] = ()

    def run(self, command: str, data: bytes = b"", timeout_s: float = 600.0) -> bytes:
        """Run a shell command with ``data`` on its standard input; return its standard output.

        Raises ConnectionLostError where the connection fails or breaks, EdgeconvError with the
        command's last line where it fails.
        """
        end = time.monotonic() + timeout_s
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
            given.write(data)
            given.seek(0)
            child = self._start(command, given, errors)
            try:
                answer = self._answer(child, end, timeout_s)
            finally:
                end_tree(child)
            if child.returncode == 0:
                return answer
            errors.seek(0)
            raise self._failure(child.returncode, errors.read(MAX_LOG).decode(errors="replace"))

    def _start(self, command: str, given: IO[bytes] | int, errors: IO[bytes]) -> Child:
        """Start ssh in a session of its own: Ctrl-C is for us, and its proxy command ends with it."""
        return start_apart(
            self.host.arguments(command, self.options),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

    def _answer(self, child: Child, end: float, timeout_s: float) -> bytes:
        """Return all that a child prints; one that goes on and on is no answer."""
        pieces, size = [], 0
        for piece in _pieces(child, lambda: time.monotonic() > end):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER:
                raise EdgeconvError(
                    f"{self.host.target} answers more than {MAX_ANSWER >> 20} MiB: this is no answer"
                )
        if child.poll() is None:
            raise ConnectionLostError(f"{self.host.target} did not answer within {timeout_s:g} s")
        return b"".join(pieces)

    def follow(
        self,
        command: str,
        tell: Callable[[str], None],
        stopping: threading.Event,
        timeout_s: float,
    ) -> None:
        """Run a shell command and hand over each line it prints, until it ends or ``stopping`` is set.

        Raises as ``run`` does; the command there ends with the connection.
        """
        end = time.monotonic() + timeout_s
        with tempfile.TemporaryFile() as errors:
            child = self._start(command, subprocess.DEVNULL, errors)
            try:
                pending = b""
                for piece in _pieces(child, lambda: stopping.is_set() or time.monotonic() > end):
                    *lines, pending = (pending + piece).split(b"\n")
                    for line in lines:
                        tell(line.decode(errors="replace"))
                    pending = pending[-MAX_LOG:]
                ended = child.poll() is not None
            finally:
                end_tree(child)
            if ended and child.returncode != 0:
                errors.seek(0)
                raise self._failure(child.returncode, errors.read(MAX_LOG).decode(errors="replace"))

    def _failure(self, code: int, said: str) -> EdgeconvError:
        lost = self.host.is_lost(code, said)
        kind = ConnectionLostError if lost else EdgeconvError
        for sign, meaning in CONNECTIONS_SAY if lost else COMMANDS_SAY:
            if sign in said:
                return kind(f"{self.host.target}: {meaning.format(target=self.host.target)}")
        lines = [line for line in said.splitlines() if line.strip() and NO_REASON not in line]
        last = lines[-1].removeprefix("Error: ") if lines else f"exit code {code}"
        return kind(f"{self.host.target}: {last}")


def _pieces(child: Child, enough: Callable[[], bool]) -> Iterator[bytes]:
    """Yield what the child prints until it ends of itself, which is waited for, or it is enough."""
    assert child.stdout is not None
    printed = Printed(child.stdout)
    while not enough():
        piece = printed.piece(TICK_S)
        if piece:
            yield piece
        elif piece is not None:
            child.wait()
            return
