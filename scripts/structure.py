"""Figures of the structure: ``python scripts/structure.py [TREE ...]`` prints a column for each checkout.

Circles of imports (lazy ones included), imports of an area from one above it, runtimes named outside
runtimes/, files over 300 lines, lines of shipped code. tests/test_house.py holds this tree to them.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from edgeconv.runtimes.table import RUNTIMES

ROOT = Path(__file__).resolve().parents[1]
TREES = {"edgeconv": "edgeconv", "export": "edgeconv.export", "models": "edgeconv.models"}
LIMIT = 300
"""Lines of a shipped file, at most: a longer one holds two concepts."""

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
    "train": {"bench", "parity", "device", "sweep", "commands"},
    "models": {"runtimes", "bench", "parity", "device", "commands"},
}
"""Area -> areas that nothing of it imports, lazily or not. The top level's light files have no area."""


@dataclass(frozen=True)
class House:
    """The shipped modules of a checkout, and who imports whom."""

    root: Path

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every shipped module by its name."""
        found = {}
        for tree, package in TREES.items():
            for path in sorted((self.root / tree).rglob("*.py")):
                parts = path.relative_to(self.root / tree).with_suffix("").parts
                if tree == "edgeconv" and parts[0] in ("export", "models", "calib_data"):
                    continue  # the links to the other trees
                found[".".join([package, *parts]).removesuffix(".__init__")] = path
        return found

    @cached_property
    def imports(self) -> dict[str, frozenset[str]]:
        """What each module imports of ours, inside functions too, but not for types only."""
        return {name: self._imports(name) for name in self.modules}

    def _imports(self, module: str) -> frozenset[str]:
        found = set()
        for node in _run(ast.parse(self.modules[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in self.modules else node.module)
        # the root package holds the version and the calls: its name is no dependency
        return frozenset(name for name in found - {module, "edgeconv"} if name in self.modules)

    def area(self, module: str) -> str:
        """The folder below edgeconv that a module lives in, "" at the top."""
        parts = module.split(".")
        below = self.root / "edgeconv"
        return parts[1] if len(parts) > 1 and (below / parts[1]).is_dir() else ""

    def circles(self) -> list[list[str]]:
        """Return the circles of imports, each from a module back to itself."""
        state: dict[str, int] = {}
        found: list[list[str]] = []

        def visit(module: str, trail: list[str]) -> None:
            state[module] = 1
            for other in sorted(self.imports[module]):
                if state.get(other) == 1:
                    found.append([*trail[trail.index(other) :], other])
                elif other not in state:
                    visit(other, [*trail, other])
            state[module] = 2

        for module in self.modules:
            if module not in state:
                visit(module, [module])
        return found

    def upward(self) -> list[str]:
        """Return the imports from the device side to what builds on it."""
        return [
            f"{module} imports {other}"
            for module, others in self.imports.items()
            for other in others
            if self.area(other) in NEVER.get(self.area(module), ())
        ]

    def named(self) -> list[str]:
        """Return where a runtime's name stands outside runtimes/, as a constant of any kind."""
        return [
            f"{module}: {node.value}"
            for module, path in self.modules.items()
            if self.area(module) != "runtimes"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and node.value in RUNTIMES
        ]

    @cached_property
    def lines(self) -> dict[str, int]:
        """Return the lines of each shipped file."""
        return {
            str(path.relative_to(self.root)): len(path.read_text(encoding="utf-8").splitlines())
            for path in self.modules.values()
        }

    def long(self) -> list[str]:
        """Return the files over the limit."""
        return [name for name, count in self.lines.items() if count > LIMIT]


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all that is executed at some time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _run(child)


def figures(house: House) -> dict[str, int]:
    """Return the figures by their names."""
    return {
        "circles of imports": len(house.circles()),
        "imports up, against NEVER": len(house.upward()),
        "runtimes named outside runtimes/": len(house.named()),
        "files over 300 lines": len(house.long()),
        "shipped files": len(house.modules),
        "shipped lines": sum(house.lines.values()),
    }


@click.command(help=__doc__)
@click.argument("trees", nargs=-1, type=click.Path(exists=True, path_type=Path))
def main(trees: tuple[Path, ...]) -> None:
    """Print a Markdown table."""
    found = [figures(House(tree.resolve())) for tree in trees or (ROOT,)]
    click.echo(f"| | {' | '.join(str(tree) for tree in trees or ('.',))} |")
    click.echo("|---" * (1 + len(found)) + "|")
    for name in found[0]:
        click.echo(f"| {name} | {' | '.join(str(column[name]) for column in found)} |")


if __name__ == "__main__":
    main()
