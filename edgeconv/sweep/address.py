"""What --workers and --scheduler take."""

from urllib.parse import urlsplit

from edgeconv.errors import UsageError

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
