"""The engine that --workers and --scheduler ask for."""

from collections.abc import Callable, Sequence

from edgeconv.sweep.address import check_workers
from edgeconv.sweep.engine import Engine, Here
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.store import Store


def open_engine(
    store: Store,
    inputs: Inputs,
    workers: int | None,
    scheduler: str | None,
    boards: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Engine:
    """Return an engine of this process, of ``workers`` processes here, or of the cluster at ``scheduler``.

    ``tell`` is told in a sentence what a cluster waits for.
    """
    check_workers(workers, scheduler)
    if workers is None and scheduler is None:
        return Here(store, inputs)
    from edgeconv.sweep.cluster import Cluster

    return Cluster(store, inputs, workers=workers or 0, address=scheduler, boards=boards, tell=tell)
