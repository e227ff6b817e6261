"""The engine that --workers and --scheduler ask for."""

from collections.abc import Sequence

from edgeconv.errors import UsageError
from edgeconv.sweep.engine import Engine, Here
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.store import Store


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Raise UsageError where the two options cannot be."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be at least 1, not {workers}")
    if workers is not None and scheduler is not None:
        raise UsageError("--workers starts processes here, --scheduler joins a cluster: give one")


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
