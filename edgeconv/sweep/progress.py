"""How far a sweep is, in a line at most once a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeconv.sweep.engine import Outcome

Say = Callable[[str], None]


@dataclass
class Progress:
    """Counts tasks and says where the sweep stands, at most once a second."""

    say: Say
    total: int = 0
    done: int = 0
    failed: int = 0
    kept: int = 0
    worked: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _last: float = 0.0

    def added(self, count: int = 1) -> None:
        """More tasks are known."""
        self.total += count

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.started

    def ended(self, outcome: Outcome) -> None:
        """A task ended."""
        self.done += 1
        self.failed += outcome.error is not None
        self.kept += outcome.seconds == 0.0
        self.worked += outcome.seconds
        now = time.monotonic()
        if now - self._last < 1.0 and self.done < self.total:
            return
        self._last = now
        made = self.done - self.kept
        left = (self.total - self.done) * (now - self.started) / made if made else 0.0
        text = f"{self.done} of {self.total} tasks done"
        text += f", {self.failed} failed" if self.failed else ""
        self.say(text + (f", about {left:.0f} s left" if left >= 1 else ""))
