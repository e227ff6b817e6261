"""Tests that are collected once and run in forks, with the code of one function replaced: for mutate.py.

pytest reads all test files, and so imports all of ours, once; a fork of that process needs neither. A
mutant inside a function is that function with other code, and what it returned when modules were imported (the
emitters of an operator table, say) with theirs. What was made when modules were imported or
is kept between calls is the healthy code's: a mutant that only shows there lives.
"""

import gc
import importlib
import inspect
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from mutants import Mutant

DEAR_S, FILE_S = 12.0, 60.0
"""Processor time, ended children's included, after which a test, and the rest of a file, is given up when what it
reaches is noted."""


class TooDear(BaseException):
    """A test took more than DEAR_S."""


class Collected:
    """A plugin of pytest that gives what was collected to ``work`` instead of running it."""

    def __init__(
        self, place: Path, files: Sequence[str], work: "Callable[[Collected], None]"
    ) -> None:
        self._place, self._work = place, work
        self._functions: defaultdict[tuple[str, int], list[FunctionType]] = defaultdict(list)
        self._sources = {file: (place / file).read_text(encoding="utf-8") for file in files}
        self.items: dict[str, pytest.Item] = {}
        self.config: pytest.Config | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Load our modules, note their functions, and go to work."""
        self.config = session.config
        self.items = {item.nodeid: item for item in session.items}
        for file in self._sources:
            importlib.import_module(module_of(file))
        gc.unfreeze()  # tests/conftest.py froze them, and what is frozen is not listed
        for one in gc.get_objects():
            if type(one) is FunctionType:  # isinstance asks objects that warn
                name = one.__code__.co_filename
                self._functions[name, one.__code__.co_firstlineno].append(one)
        gc.freeze()  # coremltools collects at every conversion: half of its time with all of these in it
        self._work(self)
        return True

    def replace(self, mutant: Mutant) -> bool:
        """Give the live functions the mutant's code; say whether there were any."""
        if mutant.inside is None:
            return False
        path = self._place / mutant.file
        healthy = list(functions_of(compile(self._sources[mutant.file], str(path), "exec")))
        changed = functions_of(compile(mutant.source, str(path), "exec"))
        pairs = [
            (old, new)
            for old, new in zip(healthy, changed, strict=True)
            if old.co_firstlineno <= mutant.inside
        ]
        old, new = max(pairs, key=lambda pair: pair[0].co_firstlineno)
        done = [self._become(*pair, path) for pair in _with_inner(old, new)]
        return any(done)

    def _become(self, old: CodeType, new: CodeType, path: Path) -> bool:
        """Give what lives of a function, each closure of it too, its changed code; say whether anything does."""
        found = [
            function
            for (name, line), functions in self._functions.items()
            if line == old.co_firstlineno and Path(name).resolve() == path
            for function in functions
            if function.__code__.co_qualname == old.co_qualname
            and len(old.co_freevars) == len(new.co_freevars)
        ]
        for function in found:
            function.__code__ = new
        return bool(found)

    def run(self, names: Sequence[str]) -> str | None:
        """Run tests in this process up to the first that fails; return how it did, None where none does."""
        assert self.config is not None
        failures = _First()
        self.config.pluginmanager.register(failures)
        items = [self.items[name] for name in names]
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
            if failures.said:
                return failures.said
        return None

    def record(self, file: str, recorder: Any) -> None:
        """Run the tests of a file in this process under a plugin; those over DEAR_S are given up."""
        assert self.config is not None
        self.config.pluginmanager.register(recorder)
        items = [item for name, item in self.items.items() if name.split("::")[0] == file]
        end = used() + FILE_S
        self.config.pluginmanager.register(_Limited())
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
            if used() > end:
                break
        recorder.spread()


class _Limited:
    """Ends what a test asks for and does, and nothing of pytest's own, after DEAR_S."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        with _limited():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        with _limited():
            return (yield)


@contextmanager
def _limited() -> Iterator[None]:
    end = used() + DEAR_S

    def look(number: int, frame: FrameType | None) -> None:
        if used() > end:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TooDear

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _First:
    def __init__(self) -> None:
        self.said: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.said is None:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message if crash is not None else str(report.longrepr)
            asserted = said.startswith(("AssertionError", "assert", "Failed"))
            self.said = f"{'assertion' if asserted else 'crash'} in {report.nodeid}"


def used() -> float:
    """Return the processor time of this process and of the children that have ended."""
    return sum(os.times()[:4])


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of the functions of a module and of its classes, in order, not of those inside them."""
    for inner in filter(inspect.iscode, code.co_consts):
        if inner.co_name.startswith("<"):  # a lambda, a comprehension
            continue
        if inner.co_flags & inspect.CO_OPTIMIZED:
            yield inner
        else:
            yield from functions_of(inner)


def _with_inner(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """Yield a function's healthy and changed code and those of the functions inside it, as far as they answer each other."""
    yield old, new
    inner = [list(filter(inspect.iscode, code.co_consts)) for code in (old, new)]
    for before, after in zip(*inner, strict=False):
        if before.co_name != after.co_name:
            return
        yield from _with_inner(before, after)


def module_of(file: str) -> str:
    """Return the name that a source file is imported by.

    >>> module_of("export/quant/fit.py"), module_of("edgeconv/judge/__init__.py")
    ('edgeconv.export.quant.fit', 'edgeconv.judge')
    """
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"edgeconv.{name}" if name.startswith(("export.", "models.")) else name
