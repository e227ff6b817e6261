"""How processes of --workers start: as copies of one that has imported what they all need."""

import multiprocessing
import multiprocessing.forkserver
import os
import sys
from typing import Any
from unittest import mock

from edgeconv.system import without_interrupts

PRELOADED = ["distributed", "edgeconv.sweep.part", "edgeconv.sweep.worker", "PIL.Image"]
"""Imported once instead of in each worker, which is most of what starting one takes. What is not installed is left out."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
"""As dask has it for its workers, before numpy is imported."""


def starting() -> dict[str, Any]:
    """Begin the process that workers are copies of; return dask's settings for it, none where workers start by themselves.

    A Mac's own libraries do not outlive a copy, and Windows makes none.
    """
    if sys.platform != "linux":
        return {}
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    with without_interrupts(), mock.patch.dict(os.environ, {**ONE_THREAD, **os.environ}):
        multiprocessing.forkserver.ensure_running()
    return {"distributed.worker.multiprocessing-method": "forkserver"}
