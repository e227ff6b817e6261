"""What all tests share: the --slow and --long switches, golden files, and the data beside the checkout."""

import gc
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tflite_kit import Worker

hypothesis.settings.register_profile("no-clock", deadline=None)
hypothesis.settings.load_profile("no-clock")
for name in ("COLUMNS", "LINES"):  # how wide a page is printed is each test's to say
    os.environ.pop(name, None)
os.environ["EDGECONV_KEPT_MIB"] = "0"  # a test that exports converts

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--long", action="store_true", help="run the tests marked long alone")
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/")


def pytest_configure(config: pytest.Config) -> None:
    """Pass over what torch's tracing says of its own shape arithmetic, where torch is: without, no test would run."""
    if importlib.util.find_spec("torch") is not None:
        config.addinivalue_line("filterwarnings", "ignore::torch.jit.TracerWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--long"))
    items[:] = [item for item in items if ("long" in item.keywords) is wanted]
    slow = Counter(item.path for item in items if "slow" in item.keywords)
    items.sort(key=lambda item: -slow[item.path])  # workers that share files end on quick ones
    if config.getoption("--slow") or wanted:
        return
    skip = pytest.mark.skip(reason="slow: make test runs it, so does pytest --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Let no later collection walk what is loaded: coremltools asks for many (a sixth of its tests' time)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def worker() -> Iterator["Worker"]:
    """A child process that runs .tflite files."""
    from tflite_kit import Worker

    child = Worker()
    yield child
    child.close()


@pytest.fixture(scope="session")
def imagenet() -> Path:
    """The ImageNet weights and pictures beside the checkout."""
    folder = SHARED / "imagenet"
    if not folder.is_dir():
        pytest.skip("needs ../shared/imagenet")
    return folder


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The CIFAR-10 weights and pictures beside the checkout."""
    folder = SHARED / "cifar10"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cifar10")
    return folder


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> "Golden":
    """Compare text with a file of tests/golden/."""
    return Golden(bool(request.config.getoption("--update-golden")))


class Golden:
    """``golden.check(name, text)``: the file must hold the text; --update-golden writes it."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if self.update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"{path.name} is missing: pytest --update-golden writes it"
        assert path.read_text() == text, f"{path.name} differs: pytest --update-golden accepts it"
