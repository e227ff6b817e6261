"""Parity in a user's own tests: a function, and a pytest plugin that collects ``*.parity.toml``.

In Python::

    from edgeconv.testing import assert_parity

    def test_the_file_we_ship():
        assert_parity("exported/mobilenet_v2_1.0_224_int8.tflite", budget={"int8": {"sqnr_db": 18}})

As data, next to the tests, in a file that pytest finds by itself (``shipped.parity.toml``)::

    artifacts = ["exported/mobilenet_v2_1.0_224_int8.tflite"]
    count = 50

    [budget.int8]
    agreement_top1 = 0.97

Paths are relative to the file. Every option of ``edgeconv parity`` is a key.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder

if TYPE_CHECKING:
    import pytest

    from edgeconv.parity.api import ParityResult

SUFFIX = ".parity.toml"
PATHS = ("bisect", "baseline", "save_outputs", "load_outputs", "markdown", "junit", "html")
TEXTS = ("reference", "data", "truth", "weights")


def assert_parity(
    artifacts: str | Path | Sequence[str | Path],
    *,
    budget: Mapping[str, Mapping[str, Any]] | Path | str | None = None,
    **options: Any,
) -> "ParityResult":
    """Fail the test, with the table, unless every cell of ``artifacts`` is within budget.

    ``budget`` is a table as in a budget file, or the path of one. ``options`` are those of
    check_parity, and ``emulate`` and ``devices`` as for the command. Returns the result for further assertions.
    """
    from edgeconv.device.places import board_places
    from edgeconv.parity.api import check_parity
    from edgeconv.parity.report import to_markdown

    paths = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    with temporary_folder() as folder:
        if isinstance(budget, Mapping):
            file = folder / "budget.json"
            file.write_text(json.dumps(budget), encoding="utf-8")
            budget = file
        limits = None if budget is None else Path(budget)
        places = board_places(options.pop("emulate", ()), options.pop("devices", ()))
        result = check_parity([Path(p) for p in paths], places=places, budget=limits, **options)
    if not result:
        worse = "".join(f"\nworse than the baseline: {sentence}" for sentence in result.worse)
        raise AssertionError(f"parity failed\n\n{to_markdown(result.matrix)}{worse}")
    return result


def read_case(path: Path) -> dict[str, Any]:
    """Read a ``*.parity.toml`` into the arguments of assert_parity; paths become absolute.

    Raises UsageError naming a key that check_parity does not have.
    """
    from edgeconv.judge.budget import read_data
    from edgeconv.parity.options import ParityOptions

    data = read_data(path)
    known = {"artifacts", "emulate", "devices", *ParityOptions.__annotations__}
    if unknown := sorted(data.keys() - known):
        raise UsageError(f"{path} sets {unknown[0]}; a parity case has {', '.join(sorted(known))}")
    if not data.get("artifacts"):
        raise UsageError(f"{path} names no artifacts")
    data["artifacts"] = [path.parent / name for name in data["artifacts"]]
    for key in PATHS:
        if key in data:
            data[key] = path.parent / data[key]
    for key in TEXTS:
        if key in data and (path.parent / data[key]).exists():
            data[key] = str(path.parent / data[key])
    if isinstance(data.get("budget"), str):
        data["budget"] = path.parent / data["budget"]
    for key in ("mean", "std"):
        if key in data:
            data[key] = tuple(data[key] if isinstance(data[key], list) else [data[key]])
    return data


def pytest_collect_file(parent: "pytest.Collector", file_path: Path) -> "pytest.Collector | None":
    """Collect ``*.parity.toml`` (pytest's hook)."""
    if not file_path.name.endswith(SUFFIX):
        return None
    import pytest

    class ParityItem(pytest.Item):
        """One parity case."""

        def runtest(self) -> None:
            assert_parity(**read_case(self.path))

        def repr_failure(
            self, excinfo: "pytest.ExceptionInfo[BaseException]", style: Any = None
        ) -> Any:
            if isinstance(excinfo.value, AssertionError | EdgeconvError):
                return str(excinfo.value)
            return super().repr_failure(excinfo, style)

        def reportinfo(self) -> tuple[Path, int, str]:
            return self.path, 0, f"parity: {self.name}"

    class ParityFile(pytest.File):
        """A file that is one case."""

        def collect(self) -> Iterable[pytest.Item] | Iterator[pytest.Item]:
            name = self.path.name.removesuffix(SUFFIX)
            yield ParityItem.from_parent(self, name=name)

    return ParityFile.from_parent(parent, path=file_path)
