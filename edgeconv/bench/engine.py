"""Models take turns: rounds in a shuffled order, a block of runs each, so that drift hits all alike."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv import sensors
from edgeconv.bench.plan import Plan, Subject
from edgeconv.bench.results import Row
from edgeconv.bench.statistics import summarize
from edgeconv.bench.watch import (
    Spent,
    Watch,
    load_marks,
    machine_marks,
    sample_marks,
    thread_marks,
    threads_ran,
)
from edgeconv.bench.worker import OPEN_TIMEOUT_S, hold
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import Worker
from edgeconv.machine import Machine
from edgeconv.memory import check_fits

HURRIED_S = 0.5
"""What a child's last figures may take after Ctrl-C: one in the middle of a block gives none."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the whole that is done, 0 to 1."""


@dataclass
class Turn:
    """A subject with its child process and what was measured of it so far."""

    subject: Subject
    worker: Worker | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    warm: dict[str, Any] = field(default_factory=dict)
    ending: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0
    runs: int = 0
    blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    error: str | None = None

    def fail(self, error: Exception) -> None:
        """Take this row out; the others go on."""
        self.error = str(error)
        self.close()

    def close(self, patience_s: float = 2.0) -> None:
        """End the child process, which has ``patience_s`` to do so itself."""
        if self.worker is not None:
            self.worker.close(patience_s)
            self.worker = None

    @property
    def times_ms(self) -> list[float]:
        """Every recorded latency in the order taken."""
        return [t / 1e6 for block in self.blocks.values() for t in block["times_ns"]]

    @property
    def round_medians_ms(self) -> dict[int, float]:
        """Round -> median latency."""
        return {n: statistics.median(b["times_ns"]) / 1e6 for n, b in self.blocks.items()}

    @property
    def round_cpu_ms(self) -> dict[int, float]:
        """Round -> mean processor time of a run."""
        spent = {n: 1e3 * b["cpu_s"] / len(b["times_ns"]) for n, b in self.blocks.items()}
        return {n: ms for n, ms in spent.items() if ms > 0}


def measure(
    subjects: Sequence[Subject], plan: Plan, watch: Watch, progress: Progress | None = None
) -> tuple[list[Turn], bool]:
    """Measure every subject; return them in order and whether an interrupt cut it short.

    A subject that cannot be opened, or dies, carries its ``error`` and takes nothing else with it.
    """
    plan.check()
    say = progress or (lambda _text, _share: None)
    turns = [Turn(subject) for subject in subjects]
    partial = False
    try:
        for number, turn in enumerate(turns):
            say(f"opening {turn.subject.label}", 0.1 * number / len(turns))
            _open(turn, plan, watch)
        _rounds(turns, plan, watch, say)
    except KeyboardInterrupt:
        partial = True
    finally:
        for turn in turns:
            _end(turn, hurried=partial)
    return turns, partial


def _open(turn: Turn, plan: Plan, watch: Watch) -> None:
    try:
        if turn.subject.path is not None:
            check_fits(Path(turn.subject.path))
        turn.worker = hold(turn.subject)
        turn.facts = turn.worker.receive(OPEN_TIMEOUT_S, watch.tick)
        turn.warm = turn.worker.ask({"do": "warm", "runs": plan.warmup}, OPEN_TIMEOUT_S, watch.tick)
        latest = turn.warm["warmup_ns"][-20:] or [turn.warm["first_ns"]]
        turn.rounds, turn.runs = plan.blocks(statistics.median(latest) / 1e9)
    except EdgeconvError as error:
        turn.fail(error)


def _rounds(turns: Sequence[Turn], plan: Plan, watch: Watch, say: Progress) -> None:
    order = random.Random(plan.seed)
    rounds = max((turn.rounds for turn in turns if turn.worker), default=0)
    alone = sum(turn.worker is not None for turn in turns) == 1
    for number in range(rounds):
        playing = [t for t in turns if t.worker is not None and number < t.rounds]
        for turn in order.sample(playing, len(playing)):
            say(turn.subject.label, 0.1 + 0.9 * number / rounds)
            # the turns of others have emptied the caches; nobody's latency is theirs to pay
            _block(turn, number, 0 if alone else max(1, min(3, turn.runs // 4)), plan, watch)


def _block(turn: Turn, number: int, settle: int, plan: Plan, watch: Watch) -> None:
    if turn.worker is None:
        return
    runs = turn.runs
    if plan.runs is not None and plan.seconds is None:  # exactly as many as asked for
        runs = min(runs, plan.runs - len(turn.times_ms))
        if runs < 1:
            return
    watch.tick()
    pid = turn.worker.process.pid
    before, start, own = sensors.ticks(), time.perf_counter(), sensors.process_time_s(pid)
    try:
        command = {"do": "block", "runs": runs, "settle": settle}
        block = turn.worker.ask(command, OPEN_TIMEOUT_S + plan_limit_s(plan), watch.tick)
    except EdgeconvError as error:
        turn.fail(error)
        return
    after, spent = sensors.ticks(), turn.spent
    spent.wall_s += time.perf_counter() - start
    spent.own_s += sensors.process_time_s(pid) - own
    spent.involuntary += block["involuntary"]
    if before is not None and after is not None:
        spent.busy_s += after.busy_s - before.busy_s
        spent.stolen_s += after.stolen_s - before.stolen_s
    turn.blocks[number] = block


def plan_limit_s(plan: Plan) -> float:
    """A generous limit for one block, in seconds."""
    return 10 * (plan.seconds or 60.0)


def _end(turn: Turn, *, hurried: bool) -> None:
    """Ask for a child's last figures and end it; ``hurried``: who pressed Ctrl-C waits for none at work."""
    if turn.worker is not None:
        try:
            turn.ending = turn.worker.ask({"do": "end"}, HURRIED_S if hurried else 10.0)
        except EdgeconvError as error:
            if not turn.blocks and not hurried:
                turn.error = str(error)
    turn.close(0.0 if hurried else 2.0)


def to_row(turn: Turn, watch: Watch, machine: Machine) -> Row:
    """Turn what was measured into a row, marked with every reason not to trust it."""
    subject, facts = turn.subject, turn.facts
    times = turn.times_ms
    medians = turn.round_medians_ms
    blocks = list(turn.blocks.values())
    summary = summarize(times) if times else None
    ran = threads_ran(turn.ending.get("thread_cpu_s", []))
    marks = []
    if summary is not None:
        end = blocks[-1]["started"] + blocks[-1]["wall_s"]
        samples = watch.between(blocks[0]["started"] - 1, end + 1)
        limits = [c.max_mhz for c in sensors.clocks() if c.max_mhz is not None]
        marks = [
            *machine_marks(samples, max(limits) if limits else None),
            *load_marks(turn.spent, len(times), machine.cpus_usable),
            *thread_marks(subject.threads, ran, machine.cpus_usable),
            *sample_marks(summary, list(medians.values())),
        ]
    return Row(
        label=subject.label,
        runtime=facts.get("runtime", subject.runtime),
        version=facts.get("version", ""),
        threads=subject.threads,
        summary=summary,
        threads_ran=ran,
        latencies_ms=tuple(times),
        rounds_ms=tuple(medians.values()),
        starts_s=tuple(block["started"] for block in blocks),
        import_ms=_ms(facts.get("import_s")),
        load_ms=_ms(facts.get("load_s")),
        first_ms=turn.warm["first_ns"] / 1e6 if turn.warm else None,
        warmup_runs=len(turn.warm.get("warmup_ns", [])),
        cpu_ms=1000 * sum(b["cpu_s"] for b in blocks) / len(times) if times else None,
        peak_mib=turn.ending.get("peak_mib"),
        base_mib=facts.get("base_mib"),
        delegation=facts.get("delegation"),
        providers=facts.get("providers"),
        inputs=facts.get("inputs", ()),
        about=subject.about,
        marks=tuple(marks),
        error=turn.error or (None if times else "nothing was measured before the interruption"),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
