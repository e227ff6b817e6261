"""How far a sweep is, in a line at most once a second."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edgeconv.sweep.engine import Engine, Outcome, Task
from edgeconv.terminal import counted

Say = Callable[[str], None]


@dataclass
class Progress:
    """Counts cells, and says where the sweep stands, at most once a second.

    A cell is done when nothing more comes of it; the tasks that it takes are counted for the time left alone.
    ``cells`` are all there are; ``stage`` says what is at work; ``running`` says how many tasks the engine runs now, ``here`` is how many run
    beside it; ``guess`` how many seconds a task of each kind takes, for the time before one has ended.
    """

    say: Say
    cells: int
    running: Callable[[], int]
    guess: Mapping[str, float]
    done: int = 0
    failed: int = 0
    here: int = 0
    stage: str = ""
    kept: int = 0
    worked: float = 0.0
    settled: set[int] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)
    _expected: Counter[str] = field(default_factory=Counter)
    _ended: Counter[str] = field(default_factory=Counter)
    _seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _last: float = float("-inf")

    def expect(self, **more: int) -> None:
        """So many more tasks of each kind are still to come, besides those that ended."""
        for kind, count in more.items():
            self._expected[kind] = self._ended[kind] + count

    def watch(self, engine: Engine, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Run ``tasks`` on ``engine`` and yield each as it ends."""
        for task in tasks:
            engine.submit(task)
        self._show(due=False)
        for outcome in engine.outcomes():
            self.ended(outcome)
            yield outcome

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.started

    def ended(self, outcome: Outcome) -> None:
        """A task ended."""
        kind = outcome.task.kind
        self.done += 1
        self._ended[kind] += 1
        self.kept += outcome.seconds == 0.0
        self.worked += outcome.seconds
        self._seconds[kind] += outcome.seconds
        self._show(due=False)

    def finish(self) -> None:
        """Say where the sweep ended."""
        self._show(due=True)

    def settle(self, cell: int, failed: bool = False) -> None:
        """Nothing more comes of the cell of this id."""
        self.failed += failed and cell not in self.settled
        self.settled.add(cell)

    def left(self) -> float:
        """Return the seconds that what is expected takes: of each kind as long as those so far, else as guessed."""
        if not self.worked:
            return 0.0
        work = sum(
            (count - self._ended[kind])
            * (self._seconds[kind] / self._ended[kind] if self._ended[kind] else self.guess[kind])
            for kind, count in self._expected.items()
        )
        return work * self.seconds / self.worked

    def _show(self, due: bool) -> None:
        now = time.monotonic()
        if now - self._last < 1.0 and not due:
            return
        self._last = now
        running = self.running() + self.here
        text = f"{self.stage}{len(self.settled)} of {counted(self.cells, 'cell')} done, {running} running"
        text += f", {self.failed} failed" if self.failed else ""
        left = self.left()
        self.say(text + (f", about {duration(left)} left" if left >= 1 else ""))


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(95), duration(4000)
    ('95 s', '67 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
