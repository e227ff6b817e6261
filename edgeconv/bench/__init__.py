"""The benchmark: latency with an interval, the state of the machine beside it, and why INT8 did not pay."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeconv.bench.api import bench_models

__all__ = ["bench_models"]


def __getattr__(name: str) -> Any:
    """Import the call itself when it is asked for: every child process imports this package."""
    if name != "bench_models":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edgeconv.bench.api import bench_models

    return bench_models
