"""Match a checkpoint to a net by the order and shapes of its layers, where the names are nobody's.

A .pt file keeps the order in which its net was written, a .safetensors file does not: there the
numbers in the names still order blocks, but "dw", "pw" and "bn" inside a block are sorted by name.
So the order of such siblings is searched for, the same for every block of one kind.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeconv.models.key_layouts import Shape, Shapes

MAX_STEPS = 200_000


@dataclass(frozen=True)
class Mismatch:
    """The first layer that does not fit: our layer and theirs, either one absent at an end."""

    ours: str | None
    theirs: str | None


def fits(ours: Mapping[str, Shape], theirs: Mapping[str, Shape], free_rows: bool) -> bool:
    """Tell whether a layer's shapes agree: a 1x1 convolution may stand for a linear layer.

    ``free_rows``: the count of output rows may differ, as in the head of a net for other classes.
    """
    if set(ours) != set(theirs):
        return False
    for name, shape in ours.items():
        other = theirs[name]
        while len(other) > len(shape) and other[-1] == 1:
            other = other[:-1]
        if other[free_rows:] != shape[free_rows:] or len(other) != len(shape):
            return False
    return True


def match_by_order(ours: Shapes, theirs: Shapes) -> dict[str, str] | Mismatch:
    """Return our layer -> their layer for all, or the first that does not fit.

    The last of ``ours`` is the head, whose rows are free. Siblings are tried in the order of
    ``theirs``, except that numbers count up.
    """
    wanted = list(ours.values())
    furthest = Mismatch(next(iter(ours), None), next(iter(theirs), None))
    reached = -1
    stack = [_State((_tree(theirs), None), 0, None, frozenset())]
    for _ in range(MAX_STEPS):
        if not stack:
            break
        state = stack.pop()
        if state.pending is None and state.done == len(wanted):
            return dict(zip(ours, _unlink(state.chosen), strict=True))
        layer = None if state.pending is None else state.pending[0].layer
        if state.pending is not None and layer is None:
            stack += reversed(list(_choices(state)))
        elif layer is not None and _fits_next(state.done, wanted, theirs[layer]):
            stack.append(state.take(layer))
        elif state.done > reached:
            reached = state.done
            furthest = Mismatch([*ours, None][state.done], layer)
    return furthest


@dataclass
class _Node:
    """A level of the names: children by name, or a layer with its full prefix."""

    path: str
    layer: str | None = None
    children: dict[str, "_Node"] = field(default_factory=dict)


Linked = tuple[Any, "Linked"] | None


@dataclass(frozen=True)
class _State:
    """A point of the search: nodes still to visit, layers chosen so far, orders decided so far.

    ``before`` holds (kind of parent, name, name): the first came first in another such parent.
    """

    pending: Linked
    done: int
    chosen: Linked
    before: frozenset[tuple[str, str, str]]

    def take(self, layer: str) -> "_State":
        """Return the state after ``layer``, the first pending node, is matched."""
        assert self.pending is not None
        return _State(self.pending[1], self.done + 1, (layer, self.chosen), self.before)


def _choices(state: _State) -> Iterator[_State]:
    """Yield the states in which each child of the first pending node is visited next."""
    assert state.pending is not None
    node, rest = state.pending
    names = list(node.children)
    numbers = sorted(filter(_is_number, names), key=int)
    for first in [name for name in names if not _is_number(name) or name == numbers[0]]:
        others = {_kind(name) for name in names} - {_kind(first)}
        if any((node.path, other, _kind(first)) in state.before for other in others):
            continue
        claims = {(node.path, _kind(first), other) for other in others}
        left = {name: child for name, child in node.children.items() if name != first}
        pending = (_Node(node.path, None, left), rest) if left else rest
        yield _State(
            (node.children[first], pending), state.done, state.chosen, state.before | claims
        )


def _fits_next(done: int, wanted: list[dict[str, Shape]], theirs: Mapping[str, Shape]) -> bool:
    return done < len(wanted) and fits(wanted[done], theirs, done == len(wanted) - 1)


def _is_number(part: str) -> bool:
    """Whether a part of a name counts: what only looks like digits, or has very many, does not."""
    return part.isascii() and part.isdigit() and len(part) < 10


def _kind(name: str) -> str:
    return "#" if _is_number(name) else name


def _unlink(linked: Linked) -> list[str]:
    names: list[str] = []
    while linked is not None:
        name, linked = linked
        names.append(name)
    return names[::-1]


def _tree(layers: Shapes) -> _Node:
    """Arrange layer prefixes as a tree of their dotted parts, each layer a child named ""."""
    root = _Node("")
    for prefix in layers:
        node = root
        for part in prefix.split("."):
            node = node.children.setdefault(part, _Node(f"{node.path}.{_kind(part)}"))
        node.children[""] = _Node(node.path, prefix)
    return root


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that counts.

    >>> sorted(["block10", "block2"], key=natural)
    ['block2', 'block10']
    """
    return [
        (int(part), "") if _is_number(part) else (-1, part) for part in re.split(r"([0-9]+)", name)
    ]
