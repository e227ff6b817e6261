"""A command on a board that outlives its connection: started apart, watched, picked up again, cleaned."""

import json
import secrets
import shlex
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeconv.device.board import BASE, Say
from edgeconv.device.ssh import Connection, ConnectionLostError
from edgeconv.errors import EdgeconvError

RETRIES, PAUSE_S = 20, 3.0
"""How often and after how long a lost connection is tried again: a minute in all."""


@dataclass(frozen=True)
class Job:
    """A command that runs in its own folder and session there."""

    connection: Connection
    folder: str
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self, python_path: str, arguments: Sequence[str]) -> None:
        """Start ``python3 -m edgeconv ARGUMENTS`` there; paths among them may use BASE."""
        command = " ".join(arguments)
        script = (
            f"cd {self.folder} && PYTHONPATH={python_path} python3 -m edgeconv {command}"
            " > out 2> log; echo $? > rc.part; mv rc.part rc"
        )
        self.connection.run(
            f"set -e; mkdir -p {self.folder}; cd {self.folder};"
            f" setsid sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 & echo $! > {self.folder}/pid",
            timeout_s=60.0,
        )

    def wait(self, say: Say, timeout_s: float) -> dict[str, Any]:
        """Watch until it ends; return its JSON. A lost connection is picked up again.

        Raises ConnectionLostError, with how to fetch the result later, where the board stays away.
        """
        end, lost, shown = time.monotonic() + timeout_s, 0, ""
        look = f"cd {self.folder} && cat rc 2>/dev/null; echo; tail -n 1 log 2>/dev/null"
        while time.monotonic() < end:
            if self.stopping.is_set():
                raise EdgeconvError(f"{self.connection.host.target}: interrupted")
            try:
                code, _, line = self.connection.run(look, timeout_s=60.0).decode().partition("\n")
                lost = 0
            except ConnectionLostError as error:
                lost += 1
                if lost > RETRIES:
                    raise ConnectionLostError(
                        f"{error}; the run there may go on: its result will be in {self.folder}/out"
                    ) from error
                say(f"{self.connection.host.target}: connection lost, trying again ({lost})")
                time.sleep(PAUSE_S)
                continue
            if line.strip() and line.strip() != shown:
                shown = line.strip()
                say(f"{self.connection.host.target}: {shown}")
            if code.strip():
                return self._result(int(code))
            time.sleep(1.0)
        self.stop()
        raise EdgeconvError(f"{self.connection.host.target} did not finish within {timeout_s:g} s")

    def _result(self, code: int) -> dict[str, Any]:
        out = self.connection.run(f"cat {self.folder}/out", timeout_s=300.0).decode()
        try:
            data: dict[str, Any] = json.loads(out)
        except ValueError as error:
            log = self.connection.run(f"tail -n 3 {self.folder}/log", timeout_s=60.0).decode()
            lines = [line for line in log.splitlines() if line.strip()]
            last = lines[-1].removeprefix("Error: ") if lines else f"exit code {code}"
            raise EdgeconvError(f"{self.connection.host.target}: {last}") from error
        return data

    def stop(self) -> None:
        """End what this job started there, and nothing else: it has a session of its own."""
        self.connection.run(
            f"p=$(cat {self.folder}/pid 2>/dev/null) && kill -- -$p 2>/dev/null; true",
            timeout_s=60.0,
        )

    def clean(self) -> None:
        """Remove the job's folder there."""
        self.connection.run(f"rm -rf {self.folder}", timeout_s=60.0)


def new_job(connection: Connection, stopping: threading.Event | None = None) -> Job:
    """A job with a folder that no other has; it ends once ``stopping`` is set."""
    folder = f"{BASE}/jobs/{secrets.token_hex(6)}"
    return Job(connection, folder, stopping or threading.Event())
