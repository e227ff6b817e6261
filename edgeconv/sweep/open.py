"""The engine that --workers and --scheduler ask for."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from edgeconv.errors import UsageError
from edgeconv.sweep.engine import Engine, Here
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.store import Store

PROTOCOLS = ("tcp", "tls", "ws", "wss")
"""Of a scheduler's address."""


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Raise UsageError where the two options cannot be."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be at least 1, not {workers}")
    if workers is not None and scheduler is not None:
        raise UsageError("--workers starts processes here, --scheduler joins a cluster: give one")
    if scheduler is not None and not _is_address(scheduler):
        raise UsageError(f"--scheduler {scheduler}: write tcp://HOST:PORT, or tls://HOST:PORT")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        whole = bool(parts.hostname and parts.port)
    except ValueError:
        return False
    return parts.scheme in PROTOCOLS and whole and not (parts.path or parts.query or parts.fragment)


def open_engine(
    store: Store,
    inputs: Inputs,
    workers: int | None,
    scheduler: str | None,
    boards: Sequence[str] = (),
) -> Engine:
    """Return an engine of this process, of ``workers`` processes here, or of the cluster at ``scheduler``."""
    check_workers(workers, scheduler)
    if workers is None and scheduler is None:
        return Here(store, inputs)
    from edgeconv.sweep.cluster import Cluster

    return Cluster(store, inputs, workers=workers or 0, address=scheduler, boards=boards)
