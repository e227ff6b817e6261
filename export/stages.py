"""Time the stages of an export and tell whoever watches."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgeconv.export.options import Progress
from edgeconv.export.report import StageLine

LOG = logging.getLogger(__name__)


def _ignore_progress(stage: str, done: float) -> None:
    """Nobody watches."""


def _ignore_line(line: StageLine) -> None:
    """Nobody reads."""


@dataclass
class Stages:
    """Collects one line a stage; ``progress`` and ``on_line`` see them as they come."""

    progress: Progress = _ignore_progress
    on_line: Callable[[StageLine], None] = _ignore_line
    lines: list[StageLine] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time the block; what it says through the yielded function becomes the stage's line."""
        said: list[str] = []
        start = time.perf_counter()
        self.progress(name, 0.0)
        yield said.append
        line = StageLine(name, " · ".join(said), time.perf_counter() - start)
        self.lines.append(line)
        self.tell(line)

    def tell(self, line: StageLine) -> None:
        """Show a line to whoever watches, and to the log."""
        LOG.info("%s: %s (%.2f s)", line.stage, line.text, line.seconds)
        self.on_line(line)

    def share(self, name: str) -> Callable[[float], None]:
        """Return what a long stage calls with how much of it is done, 0 to 1."""
        return lambda done: self.progress(name, done)
