"""Mutants: a source file with one place changed, by chance from a seed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Mutant:
    """``source`` is ``file`` with one place changed: at ``line``, in the function that begins at ``inside``.

    ``inside`` is None outside functions; ``what`` says how it differs.
    """

    file: str
    line: int
    inside: int | None
    what: str
    source: str


COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip
COMMUTING = frozenset(["max", "min", "maximum", "minimum", "array_equal"])
"""Functions that give the same whichever argument comes first."""
CHANGED = (
    ast.Compare, ast.BinOp, ast.Constant, ast.If, ast.IfExp, ast.While, ast.BoolOp, ast.Call, ast.UnaryOp,
    ast.Expr, ast.AugAssign,
)  # fmt: skip


def _changes(node: ast.AST) -> Iterator[str]:
    """Change ``node`` in place, one way at a time, and yield how; the caller copies between."""
    match node:
        case ast.Compare(ops=[first, *_]) if type(first) in COMPARED:
            node.ops[0] = COMPARED[type(first)]()
            yield f"{type(first).__name__} to {type(node.ops[0]).__name__}"
        case ast.BinOp(op=op) if type(op) in CALCULATED and not isinstance(node.left, ast.Constant):
            node.op = CALCULATED[type(op)]()
            yield f"{type(op).__name__} to {type(node.op).__name__}"
        case ast.Constant(value=bool()):
            node.value = not node.value
            yield f"{not node.value} to {node.value}"
        case ast.Constant(value=int() as number):
            node.value = number + 1
            yield f"{number} to {number + 1}"
        case ast.Constant(value=float() as real):
            node.value = 2 * real + 1
            yield f"{real} to {node.value}"
        case ast.If() | ast.IfExp() | ast.While():
            node.test = ast.UnaryOp(ast.Not(), node.test)
            yield "condition negated"
        case ast.BoolOp():
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield "and for or"
        case ast.Call(args=[first_arg, second, *rest]) if not (
            isinstance(second, ast.Starred) or _called(node) in COMMUTING
        ):
            node.args = [second, first_arg, *rest]
            yield "arguments swapped"
        case ast.UnaryOp(op=ast.USub()):
            node.op = ast.UAdd()
            yield "sign dropped"


def _called(call: ast.Call) -> str:
    """Return the last part of the name of what is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def mutant_of(file: str, text: str, rng: Random) -> Mutant | None:
    """Return a random mutant of a source file; raises, types, f-strings and imports are left alone."""
    tree = ast.parse(text)
    skipped = _left_alone(tree)
    nodes = list(ast.walk(tree))
    for number in rng.sample(range(len(nodes)), len(nodes)):
        if id(nodes[number]) in skipped or not isinstance(nodes[number], CHANGED):
            continue
        changed = ast.parse(text)
        twin = list(ast.walk(changed))[number]
        what = "statement dropped" if _drop(changed, twin) else next(_changes(twin), None)
        if what is not None:
            source = ast.unparse(ast.fix_missing_locations(changed))
            line = getattr(nodes[number], "lineno", 0)
            return Mutant(file, line, _function(tree, nodes[number]), what, source)
    return None


def _function(tree: ast.Module, node: ast.AST) -> int | None:
    """Return the first line, decorators included, of the innermost function whose body holds ``node``."""
    first = None
    for outer in ast.walk(tree):  # from the outside in
        if isinstance(outer, ast.FunctionDef) and any(
            node is one for part in outer.body for one in ast.walk(part)
        ):
            first = min([outer.lineno, *(d.lineno for d in outer.decorator_list)])
    return first


def _drop(tree: ast.Module, statement: ast.AST) -> bool:
    """Put pass in the place of a call or an addition that stands alone; say whether it was one."""
    value = getattr(statement, "value", None)
    if not isinstance(statement, ast.Expr | ast.AugAssign) or isinstance(
        value, ast.Constant | ast.Yield
    ):
        return False
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            inside = getattr(parent, name, None)
            if isinstance(inside, list) and statement in inside:
                inside[inside.index(statement)] = ast.Pass()
                return True
    return False


def _left_alone(tree: ast.Module) -> set[int]:
    """Return the ids of nodes inside raises, annotations, decorators, f-strings, slots and left-over sizes."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
                parts = [node]
            case ast.FunctionDef():
                parts = [
                    *node.decorator_list,
                    node.returns,
                    *(a.annotation for a in node.args.args),
                ]
            case ast.AnnAssign():
                parts = [node.annotation]
            case ast.Call(args=args) if (
                _called(node) == "reshape"
            ):  # any negative size is what is left over
                parts = [a for a in args if isinstance(a, ast.UnaryOp)]
        for part in parts:
            found |= {id(one) for one in ast.walk(part)} if part is not None else set()
    return found
