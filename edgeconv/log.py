"""What edgeconv does beside what it says: Python's logging, on standard error where a level is asked for.

Every module logs under its own name, all of them below "edgeconv", so that a program that uses the
Python interface configures them as any library's. Records are for who looks for a fault: nothing
that a user must know is told here alone.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgeconv.terminal import echo

LEVELS = ("debug", "info", "warning", "error")
"""Words of ``--log-level`` and EDGECONV_LOG: a level shows itself and all behind it."""


class _OnStandardError(logging.Handler):
    """Prints a record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``."""
        name = record.name.removeprefix("edgeconv.")
        echo(f"{record.levelname.lower():8}{name}: {record.getMessage()}", err=True)


def shown() -> bool:
    """Whether records are printed: a progress bar would stand in the middle of them."""
    handlers = logging.getLogger("edgeconv").handlers
    return any(isinstance(handler, _OnStandardError) for handler in handlers)


def show(level: str) -> None:
    """Print what edgeconv logs at ``level`` (one of LEVELS) and above, from now on."""
    logger = logging.getLogger("edgeconv")
    logger.setLevel(level.upper())
    if not shown():
        logger.addHandler(_OnStandardError())


@contextmanager
def muted(level: int = logging.WARNING) -> Iterator[None]:
    """Silence what other libraries log, up to ``level``, and warn: what matters of a failure, they raise."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
