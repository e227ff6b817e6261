"""A board by the system's own OpenSSH: the user's keys, configuration and jump hosts all apply."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError, UsageError

CONNECT_S = 15

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
        r"ssh://(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9_][A-Za-z0-9._-]*)(?::(\d+))?/?", text
    )
    if not found:
        raise UsageError(f"--device takes ssh://user@host or ssh://user@host:port, not {text!r}")
    return Host(found[2], found[1], int(found[3]) if found[3] else None)


@dataclass(frozen=True)
class Connection:
    """Runs commands on a board. ``options`` are more arguments for ssh (tests give a configuration)."""

    host: Host
    options: tuple[str, ...] = ()

    def run(self, command: str, data: bytes = b"", timeout_s: float = 600.0) -> bytes:
        """Run a shell command with ``data`` on its standard input; return its standard output.

        Raises ConnectionLostError where the connection fails or breaks, EdgeconvError with the
        command's last line where it fails.
        """
        if shutil.which("ssh") is None:
            raise EdgeconvError("--device needs the OpenSSH client: apt install openssh-client")
        arguments = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
        arguments += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-T"]
        if self.host.port is not None:
            arguments += ["-p", str(self.host.port)]
        arguments += [*self.options, self.host.target, "--", f"exec sh -c {shlex.quote(command)}"]
        try:
            done = subprocess.run(arguments, input=data, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ConnectionLostError(
                f"{self.host.target} did not answer within {timeout_s:g} s"
            ) from error
        if done.returncode == 0:
            return done.stdout
        raise self._failure(done.returncode, done.stderr.decode(errors="replace"))

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
