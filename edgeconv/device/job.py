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

PARTIAL_S = 30.0
"""How long an interrupted run may take to write its figures so far."""

WATCH = """cd {folder} || exit 3
alive() {{ p=$(cat "$1" 2>/dev/null) && kill -0 "$p" 2>/dev/null && ! grep -q ') Z ' "/proc/$p/stat" 2>/dev/null; }}
seen=; [ "$(cat /proc/sys/kernel/random/boot_id)" = "$(cat boot)" ] || exit 4
while :; do
 line=$(tail -n 1 log 2>/dev/null); [ "$line" = "$seen" ] || printf '%s\\n' "$line"; seen=$line
 [ -f rc ] && exit 0
 alive session || alive pid || [ -f rc ] || {{ sleep 1; [ -f rc ] || exit 4; }}
 sleep 1
done"""
"""Shows the log's last line as it changes, in one login: a login a second would disturb the figures.

Exit 4: the command is gone and has left no result (a power cut, or the kernel ended it), and so is the
shell that starts it and writes down how it ended, which a busy board may keep waiting for seconds."""


@dataclass(frozen=True)
class Job:
    """A command that runs in its own folder and session there."""

    connection: Connection
    folder: str
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self, python_path: str, arguments: Sequence[str]) -> None:
        """Start ``python3 -P -m ARGUMENTS`` there; paths among them may use BASE."""
        # Debian's sh ignores SIGINT in what it starts with &, but not SIGTERM
        script = (
            f"cd {self.folder}; PYTHONPATH={python_path} python3 -P -m {' '.join(arguments)}"
            " > out 2> log & echo $! > pid; wait $!; echo $? > rc.part; mv rc.part rc"
        )
        self.connection.run(
            f"set -e; mkdir -p {self.folder}; cd {self.folder};"
            " cat /proc/sys/kernel/random/boot_id > boot; echo $$ > pid;"
            f" setsid sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 & echo $! > {self.folder}/session",
            timeout_s=60.0,
        )

    def wait(self, say: Say, timeout_s: float) -> dict[str, Any]:
        """Watch until it ends; return its JSON. A lost connection is picked up again.

        Once ``stopping`` is set the command is told to end, and what it still writes is returned.
        Raises ConnectionLostError, with where its result will be, where the board stays away.
        """
        end, lost = time.monotonic() + timeout_s, 0
        target = self.connection.host.target
        watch = WATCH.format(folder=self.folder)

        def show(line: str) -> None:
            nonlocal lost
            lost = 0
            if line.strip():
                say(f"{target}: {line.strip()}")

        while time.monotonic() < end and not self.stopping.is_set():
            try:
                self.connection.follow(watch, show, self.stopping, end - time.monotonic())
                if not self.stopping.is_set():
                    return self._result()
            except ConnectionLostError as error:
                lost += 1
                if lost > RETRIES:
                    raise ConnectionLostError(
                        f"{error}; the run there may go on: its result will be in {self.folder}/out,"
                        " for a day at least"
                    ) from error
                say(f"{target}: connection lost, trying again ({lost})")
                self.stopping.wait(PAUSE_S)
            except EdgeconvError as error:
                if str(error).endswith("exit code 4"):
                    raise EdgeconvError(self._gone()) from error
                raise
        if self.stopping.is_set():
            return self._interrupted()
        raise EdgeconvError(f"{target} did not finish within {timeout_s:g} s")

    def _gone(self) -> str:
        log = self.connection.run(f"tail -n 1 {self.folder}/log 2>/dev/null; true", timeout_s=60.0)
        last = log.decode(errors="replace").strip()
        text = f"{self.connection.host.target}: the run there ended without a result (a power cut,"
        return text + f" or the kernel ended it); its last word: {last or 'none'}; start it again"

    def _interrupted(self) -> dict[str, Any]:
        """Tell the command to end and wait for what it has so far."""
        wait = f"for i in $(seq {PARTIAL_S:.0f}); do [ -f rc ] && exit 0; sleep 1; done; exit 1"
        try:
            self.connection.run(
                f"cd {self.folder} && kill $(cat pid) && {wait}", timeout_s=PARTIAL_S + 60.0
            )
            return self._result()
        except EdgeconvError as error:
            raise EdgeconvError(f"{self.connection.host.target}: interrupted") from error

    def _result(self) -> dict[str, Any]:
        out = self.connection.run(f"cat {self.folder}/out", timeout_s=300.0)
        # a shell's greeting stands before it
        begin = 0 if out.startswith(b"{") else out.find(b"\n{") + 1
        try:
            data = json.loads(out[begin:])
            if not isinstance(data, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            raise EdgeconvError(self._why()) from error
        return data

    def _why(self) -> str:
        """Say why the command there left no result: its own error, else how it ended and after what."""
        asked = f"cd {self.folder} && cat rc && tail -n 3 log"
        said = self.connection.run(asked, timeout_s=60.0).decode(errors="replace")
        code, *lines = [line.strip() for line in said.splitlines() if line.strip()] or ["?"]
        last = lines[-1] if lines else "nothing"
        why = f"no result, exit code {code}; its last word: {last}"
        if last.startswith("Error: "):
            why = last.removeprefix("Error: ")
        return f"{self.connection.host.target}: {why}"

    def stop(self) -> None:
        """End what this job started there, and nothing else: it has a session of its own."""
        self.connection.run(
            f"p=$(cat {self.folder}/session 2>/dev/null) && kill -- -$p 2>/dev/null; true",
            timeout_s=60.0,
        )

    def clean(self) -> None:
        """Remove the job's folder there."""
        self.connection.run(f"rm -rf {self.folder}", timeout_s=60.0)


def new_job(connection: Connection, stopping: threading.Event | None = None) -> Job:
    """A job with a folder that no other has; it ends once ``stopping`` is set."""
    folder = f"{BASE}/jobs/{secrets.token_hex(6)}"
    return Job(connection, folder, stopping or threading.Event())
