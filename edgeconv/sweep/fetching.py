"""What became of a task on a cluster that may lose it, and its scheduler, at any moment."""

from concurrent.futures import CancelledError
from typing import Any

LOST = (
    "CommClosedError",
    "ClosedClientError",
    "TimeoutError",
    "CancelledError",
    "FutureCancelledError",
)


def fetched(future: Any) -> tuple[BaseException | None, bool, Any]:
    """Return (the error, whether the task is lost, the result) of a future of dask's that came to its end.

    A task whose scheduler dies after it is done, and before it is fetched, is lost too.
    """
    try:
        error = future.exception() if future.status == "error" else None
        lost = future.status in ("cancelled", "lost") or type(error).__name__ in LOST
        return error, lost, None if lost or error is not None else future.result()
    except (CancelledError, OSError, TimeoutError) as gone:
        return gone, True, None
