"""Which tests run which functions of ours, and how long each test takes: what mutate.py chooses by.

A test file runs once, in a fork, under a trace function that sees calls alone. What a fixture of a
module or of the session calls counts for every test that asks for it.
"""

import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from collected import Collected, used

Place = str
"""``file:line`` of a function's first line, decorators included; the file relative to the checkout."""


@dataclass
class Reach:
    """``tests``: a test that passes -> its seconds; ``places``: a function -> the tests that run it."""

    tests: dict[str, float] = field(default_factory=dict)
    places: dict[Place, list[str]] = field(default_factory=dict)

    def add(self, other: "Reach") -> None:
        """Take in what another test file reaches."""
        self.tests |= other.tests
        for place, tests in other.places.items():
            self.places.setdefault(place, []).extend(tests)

    def of(self, place: Place) -> list[str]:
        """Return the tests that run a function, the quickest first; of a file where no line is given."""
        exact = place.rpartition(":")[2].isdigit()
        found = (
            self.places.get(place, ())
            if exact
            else {t for name, tests in self.places.items() if name.startswith(f"{place}:") for t in tests}
        )  # fmt: skip
        return sorted(found, key=lambda test: (self.tests[test], test))


class Recorder:
    """A plugin of pytest that fills ``reach`` with the functions below ``root`` that each test runs.

    What a shared fixture takes is spread over the tests that ask for it.
    """

    def __init__(self, root: Path) -> None:
        self._relative = cache(lambda name: _below(root, name))
        self.reach = Reach()
        self._fixtures: dict[str, tuple[set[Place], float]] = {}
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        self._setup = 0.0
        self._seen: set[Place] = set()
        self._passed: set[str] = set()

    @contextmanager
    def _recorded(self) -> Iterator[set[Place]]:
        outer, self._seen = self._seen, set()
        sys.settrace(self._called)
        threading.settrace(self._called)
        try:
            yield self._seen
        finally:
            outer |= self._seen
            self._seen = outer

    def _called(self, frame: FrameType, event: str, value: Any) -> None:
        if file := self._relative(frame.f_code.co_filename):
            self._seen.add(f"{file}:{frame.f_code.co_firstlineno}")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Keep what a shared fixture calls, for all tests that ask for it."""
        start = used()
        with self._recorded() as seen:
            result = yield
        known, seconds = self._fixtures.get(fixturedef.argname, (set(), 0.0))
        taken = used() - start
        self._setup += taken
        self._fixtures[fixturedef.argname] = (known | seen, seconds + taken)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what a test calls with its fixtures, and its time without them."""
        start, setup = used(), self._setup
        with self._recorded() as seen:
            result = yield
        fixtures = [n for n in getattr(item, "fixturenames", ()) if n in self._fixtures]
        if item.nodeid in self._passed:
            self.reach.tests[item.nodeid] = used() - start - (self._setup - setup)
            for name in fixtures:
                self._users[name].append(item.nodeid)
            for place in seen.union(*(self._fixtures[name][0] for name in fixtures)):
                self.reach.places.setdefault(place, []).append(item.nodeid)
        return result

    def spread(self) -> None:
        """Spread the fixtures' time."""
        for name, users in self._users.items():
            for test in users:
                self.reach.tests[test] += self._fixtures[name][1] / len(users)
        self.reach.tests = {test: round(taken, 3) for test, taken in self.reach.tests.items()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails or is skipped without a mutant says nothing about one."""
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)
        elif not report.passed:
            self._passed.discard(report.nodeid)


def _below(root: Path, name: str) -> str | None:
    """Return a source file relative to the checkout, whatever link it was imported by; None for others'."""
    if name.startswith("<"):  # made at run time, or frozen into Python
        return None
    path = Path(name).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def known(path: Path) -> dict[str, Reach]:
    """Return what an earlier run found, by test file."""
    if not path.exists():
        return {}
    return {line["file"]: Reach(line["tests"], line["places"]) for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}  # fmt: skip


def noted(path: Path, files: Sequence[str]) -> Reach:
    """Return what these test files reach, of what earlier runs found."""
    found = Reach()
    for file, one in known(path).items():
        if file in files:
            found.add(one)
    return found


def record(collected: Collected, file: str, root: Path, lines: Path) -> int:
    """Run the collected tests of a file of ``root`` in this process and append what they reach."""
    recorder = Recorder(root.resolve())
    collected.record(file, recorder)
    found = {"file": file, "tests": recorder.reach.tests, "places": recorder.reach.places}
    with lines.open("a", encoding="utf-8") as out:
        out.write(json.dumps(found) + "\n")
    return 0
