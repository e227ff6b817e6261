"""A board by the system's own OpenSSH: the user's keys, configuration and jump hosts all apply."""

import os
import re
import selectors
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError, UsageError

CONNECT_S = 15
TICK_S = 0.2

REASONS = (
    ("Host key verification failed", "its host key is unknown or has changed: connect once by hand, ssh {target}, and check the fingerprint"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed: remove the old one with ssh-keygen -R once you know why"),
    ("Permission denied", "it refuses the key: install yours with ssh-copy-id {target}"),
    ("Could not resolve hostname", "there is no host of that name"),
    ("Connection refused", "nothing listens on its SSH port"),
    ("timed out", "it does not answer"),
    ("No route to host", "there is no route to it"),
    ("No space left on device", "its disk is full"),
    ("Disk quota exceeded", "its disk is full"),
    ("python3: not found", "it has no python3: sudo apt install python3"),
    ("python3: command not found", "it has no python3: sudo apt install python3"),
)  # fmt: skip
"""What OpenSSH or a command there says -> what it means and what to do."""


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


def parse_host(text: str) -> Host:
    """Read ssh://[user@]host[:port]. Raises UsageError for anything else."""
    found = re.fullmatch(
        r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9_][A-Za-z0-9._-]*)(?::(\d{1,5}))?/?",
        text,
    )
    # a first character that is a dash would make ssh take it for an option
    if not found or not 0 < int(found[3] or 22) < 1 << 16:
        raise UsageError(f"--device takes ssh://user@host or ssh://user@host:port, not {text!r}")
    return Host(found[2], found[1], int(found[3]) if found[3] else None)


@dataclass(frozen=True)
class Connection:
    """Runs commands on a board. ``options`` are more arguments for ssh (tests give a configuration)."""

    host: Host
    options: tuple[str, ...] = ()

    def _arguments(self, command: str) -> list[str]:
        if shutil.which("ssh") is None:
            raise EdgeconvError("--device needs the OpenSSH client: apt install openssh-client")
        arguments = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        arguments += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-T"]
        if self.host.port is not None:
            arguments += ["-p", str(self.host.port)]
        return [*arguments, *self.options, self.host.target, "--", f"exec sh -c {shlex.quote(command)}"]  # fmt: skip

    def run(self, command: str, data: bytes = b"", timeout_s: float = 600.0) -> bytes:
        """Run a shell command with ``data`` on its standard input; return its standard output.

        Raises ConnectionLostError where the connection fails or breaks, EdgeconvError with the
        command's last line where it fails.
        """
        arguments = self._arguments(command)
        try:
            done = subprocess.run(arguments, input=data, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ConnectionLostError(
                f"{self.host.target} did not answer within {timeout_s:g} s"
            ) from error
        if done.returncode == 0:
            return done.stdout
        raise self._failure(done.returncode, done.stderr.decode(errors="replace"))

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
            child = subprocess.Popen(
                self._arguments(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us: the board still has figures to bring back
            )
            try:
                ended = _lines(child, tell, lambda: stopping.is_set() or time.monotonic() > end)
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
                if child.stdout is not None:
                    child.stdout.close()
            if ended and child.returncode != 0:
                errors.seek(0)
                raise self._failure(child.returncode, errors.read().decode(errors="replace"))

    def _failure(self, code: int, said: str) -> EdgeconvError:
        for sign, meaning in REASONS:
            if sign in said:
                text = f"{self.host.target}: {meaning.format(target=self.host.target)}"
                return ConnectionLostError(text) if code == 255 else EdgeconvError(text)
        lines = [line for line in said.splitlines() if line.strip()]
        last = lines[-1].removeprefix("Error: ") if lines else f"exit code {code}"
        if code == 255:
            return ConnectionLostError(f"{self.host.target}: {last}")
        return EdgeconvError(f"{self.host.target}: {last}")


def _lines(
    child: "subprocess.Popen[bytes]", tell: Callable[[str], None], enough: Callable[[], bool]
) -> bool:
    """Hand over the child's lines; return whether it ended of itself."""
    if child.stdout is None:
        return False
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while not enough():
            if not selector.select(TICK_S):
                continue
            piece = os.read(child.stdout.fileno(), 1 << 16)
            if not piece:
                child.wait()
                return True
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                tell(line.decode(errors="replace"))
    return False
