"""A cluster of processes on this machine, for --workers."""

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.files import temporary_folder
from edgeconv.sweep.engine import resource
from edgeconv.sweep.forking import starting
from edgeconv.system import without_interrupts

SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # starting anew is decided here
    # what dask watches itself by, some 4 % of a processor with nothing to do
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
}
"""Of the processes that are started here."""

CLOSE_S = 10.0
"""How long they may take to end."""

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def processes(workers: int, boards: Sequence[str], stack: contextlib.ExitStack) -> Any:
    """Start a scheduler and workers on the loopback; the boards are shared out among them.

    What they write lies in a folder that goes with ``stack``.
    They speak TLS where the user's configuration of dask asks for it.
    """
    config, distributed = require("dask", "sweep").config, require("distributed", "sweep")
    encrypted = config.get("distributed.comm.require-encryption", False)
    own = {"host": "127.0.0.1", "protocol": "tls" if encrypted else "tcp"}
    options: list[dict[str, Any]] = [
        {"nthreads": 1, "silence_logs": 50, "resources": {}, "env": dict(os.environ), **own}
        for _ in range(workers)
    ]
    # two ways to one board are one resource of one worker
    for index, name in enumerate(dict.fromkeys(map(resource, boards))):
        options[index % workers]["resources"][name] = 1
    nanny, scheduler = distributed.Nanny, distributed.Scheduler
    scratch = {"temporary-directory": str(stack.enter_context(temporary_folder()))}
    # Ctrl-C ends the sweep, which ends them
    distributed.utils._forkserver_preload_set = True  # else it imports pandas where that is there
    with config.set({**SETTINGS, **starting(), **scratch}), without_interrupts():
        try:
            cluster = distributed.SpecCluster(
                workers={
                    index: {"cls": nanny, "options": told} for index, told in enumerate(options)
                },
                scheduler={
                    "cls": scheduler,
                    "options": {"port": 0, "dashboard_address": "127.0.0.1:0", **own},
                },
                silence_logs=50,
            )
        except RuntimeError as error:  # dask's own, of a process that died before it answered
            raise EdgeconvError(
                "a process of --workers died while it started: give the same command again, "
                "with fewer of them where memory is short"
            ) from error
    stack.callback(_end, cluster)  # before their folder goes
    return cluster


def _end(cluster: Any) -> None:
    """End the processes; one that takes too long is killed: what it wrote later would stay in the folder."""
    with contextlib.suppress(OSError, TimeoutError):
        cluster.close(timeout=CLOSE_S)
        return
    for nanny in cluster.workers.values():
        if nanny.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(nanny.pid, KILL)
