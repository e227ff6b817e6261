"""The layers of the house: who may import whom, no circle, no file that outgrew its concept."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = {"edgeconv": "edgeconv", "export": "edgeconv.export", "models": "edgeconv.models"}

NEVER = {
    "formats": {"runtimes", "judge", "bench", "parity", "device", "export", "models", "commands"},
    "mil": {"runtimes", "judge", "bench", "parity", "device", "export", "models", "commands"},
    "reports": {"runtimes", "judge", "bench", "parity", "device", "export", "models", "commands"},
    "metrics": {"runtimes", "judge", "bench", "parity", "device", "export", "models", "commands"},
    "runtimes": {"judge", "bench", "parity", "device", "export", "models", "commands"},
    "judge": {"bench", "parity", "device", "export", "models", "commands"},
    "bench": {"parity", "device", "commands"},
    "parity": {"device", "commands"},
    "device": {"export", "models", "commands"},
    "export": {"bench", "parity", "device", "commands"},
    "models": {"runtimes", "bench", "parity", "device", "commands"},
}
"""Area -> areas that nothing of it imports, lazily or not. The top level's light files have no area."""

LOW = ("errors", "tensors", "isolate", "isolated", "environment", "arrays", "artifact", "recipe")
"""Files that everyone may import, so they import no area at all."""

LIMIT = 300
"""Lines of a shipped file, at most: a longer one holds two concepts."""

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file() or not (ROOT / "export").is_dir(),
    reason="an installed copy has no tree",
)


@cache
def modules() -> dict[str, Path]:
    """Every shipped module by its name."""
    found = {}
    for tree, package in TREES.items():
        for path in sorted((ROOT / tree).rglob("*.py")):
            parts = path.relative_to(ROOT / tree).with_suffix("").parts
            if tree == "edgeconv" and parts[0] in ("export", "models"):
                continue  # the links to the other trees
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports of ours, inside functions too, but not for types only."""
    tree = ast.parse(modules()[module].read_text())
    found = set()
    for node in _run(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else node.module)
    # the root package holds the version and the calls: its name is no dependency
    return frozenset(name for name in found - {module, "edgeconv"} if name in modules())


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all that is executed at some time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _run(child)


def area(module: str) -> str:
    """The folder below edgeconv that a module lives in, "" at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "edgeconv" / parts[1]).is_dir() else ""


@pytest.mark.parametrize("name", NEVER)
def test_an_area_imports_nothing_above_it(name: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if area(module) == name
        for other in imports(module)
        if area(other) in NEVER[name]
    ]
    assert not wrong


def test_what_everyone_imports_imports_no_area() -> None:
    known = [f"edgeconv.{name}" for name in LOW if f"edgeconv.{name}" in modules()]
    wrong = [f"{m} imports {other}" for m in known for other in imports(m) if area(other)]
    assert not wrong


def test_only_the_command_line_imports_commands() -> None:
    wrong = [
        module
        for module in modules()
        if area(module) != "commands" and any(area(o) == "commands" for o in imports(module))
    ]
    assert not wrong


def test_no_circle_of_imports_lazy_ones_included() -> None:
    state: dict[str, int] = {}
    circles: list[list[str]] = []

    def visit(module: str, trail: list[str]) -> None:
        state[module] = 1
        for other in sorted(imports(module)):
            if state.get(other) == 1:
                circles.append([*trail[trail.index(other) :], other])
            elif other not in state:
                visit(other, [*trail, other])
        state[module] = 2

    for module in modules():
        if module not in state:
            visit(module, [module])
    assert not circles


def test_runtimes_are_asked_for_facts_not_for_their_names() -> None:
    from edgeconv.runtimes.table import RUNTIMES

    found = [
        f"{module}: {node.value}"
        for module, path in modules().items()
        if area(module) != "runtimes"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in RUNTIMES
    ]
    # what is left: packages that extras and version lists name, which are called as runtimes are
    assert len(found) <= 15, found


def test_no_shipped_file_outgrows_its_concept() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in modules().values()
        if len(path.read_text().splitlines()) > LIMIT
    ]
    assert not long
