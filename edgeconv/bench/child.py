"""The parent's side of a worker: start it, ask it, notice when it dies, end it."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from edgeconv.bench.plan import Subject
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.probe import child_failure

TICK_S = 0.2
"""How often the machine's state is looked at while a model runs."""

OPEN_TIMEOUT_S = 300.0


class Worker:
    """A child process that holds ``subject`` open. Every method raises EdgeconvError once it has died."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeconv.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which still wants the figures so far
        )
        self._pending = b""
        self._send({"subject": subject.to_json()})

    def _send(self, data: dict[str, Any]) -> None:
        if self.process.stdin is None:
            raise EdgeconvError(self._ending())
        try:
            self.process.stdin.write(json.dumps(data).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise EdgeconvError(self._ending()) from error

    def ask(
        self, command: dict[str, Any], timeout_s: float, tick: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Send a command and return the answer, calling ``tick`` every 0.2 s meanwhile."""
        self._send(command)
        return self.receive(timeout_s, tick)

    def receive(self, timeout_s: float, tick: Callable[[], None] | None = None) -> dict[str, Any]:
        """Wait for the next answer. Raises EdgeconvError where the child dies, errs or takes too long."""
        if self.process.stdout is None:
            raise EdgeconvError(self._ending())
        end = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if selector.select(TICK_S):
                    piece = os.read(self.process.stdout.fileno(), 1 << 16)
                    if not piece:
                        raise EdgeconvError(self._ending())
                    self._pending += piece
                elif tick is not None:
                    tick()
                if time.monotonic() > end:
                    self.kill()
                    raise EdgeconvError(f"{self.subject.label} did not answer in {timeout_s:g} s")
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EdgeconvError(answer["error"])
        return answer

    def cpu_s(self) -> float:
        """Processor time of the child so far."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ending(self) -> str:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"{self.subject.label} stopped answering"
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")
        return child_failure(self.subject.label, code, log)

    def kill(self) -> None:
        """End the child now."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the child and free what belongs to it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                # it may have died with something unread; what it answered is already known
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()
