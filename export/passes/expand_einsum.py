"""Write Einsum as the product of two matrices that it is.

Given:   x, z -> Einsum("bhid,bhjd->bhij") -> y
Result:  x, z -> [ReduceSum] -> Transpose -> Reshape -> MatMul -> Reshape -> Transpose -> y, without
         what changes nothing

Axes that both operands have and the result too come first (the batch), then the one operand's own,
then those that are summed over. More than two operands are multiplied one after the other. Of an operand
with a letter twice ("bii") the diagonal is taken first: a Reshape and a Gather.
"""

from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

ELLIPSIS = "ABCDEFGH"
"""The letters that stand for the axes of "...": equations are written in small ones."""


@dataclass(frozen=True)
class _Operand:
    """A tensor and the letter of each of its axes."""

    name: str
    letters: str


def expand_einsum(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Einsum"):
        parsed = _parse(graph, node)
        if parsed is not None:
            _expand(graph, node, *parsed)
            changed = True
    return changed


def _parse(graph: Graph, node: Node) -> tuple[list[_Operand], str] | None:
    """Read the equation; None for broadcast batches and for capital letters."""
    text = node.str("equation", "").replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if any(letter.isupper() for letter in text) or len(terms) != len(node.inputs):
        return None
    operands = []
    for name, term in zip(node.inputs, terms, strict=True):
        hidden = len(graph.shape(name)) - len(term.replace("...", ""))
        letters = term.replace("...", ELLIPSIS[len(ELLIPSIS) - hidden :] if hidden else "")
        if len(letters) != len(graph.shape(name)):
            return None
        operands.append(_Operand(name, letters))
    every = "".join(operand.letters for operand in operands)
    batch = "".join(letter for letter in ELLIPSIS if letter in every)
    if arrow:
        wanted = right.replace("...", batch)
    else:
        single = (a for a in set(every) if every.count(a) == 1 and a not in batch)
        wanted = batch + "".join(sorted(single))
    sizes = _sizes(graph, operands)
    return None if sizes is None or not set(wanted) <= set(every) else (operands, wanted)


def _sizes(graph: Graph, operands: list[_Operand]) -> dict[str, int] | None:
    sizes: dict[str, int] = {}
    for operand in operands:
        for letter, size in zip(operand.letters, graph.shape(operand.name), strict=True):
            if sizes.setdefault(letter, size) != size:
                return None
    return sizes


def _expand(graph: Graph, node: Node, operands: list[_Operand], wanted: str) -> None:
    steps = _Einsum(graph, node, _sizes(graph, operands) or {})
    so_far, *others = map(steps.diagonal, operands)
    while others:
        later = wanted + "".join(operand.letters for operand in others[1:])
        so_far = steps.product(so_far, others.pop(0), later)
    steps.end(steps.summed(so_far, wanted), wanted)


class _Einsum(Steps):
    """The operators of one Einsum; ``sizes`` is how long the axis of each letter is."""

    def __init__(self, graph: Graph, node: Node, sizes: dict[str, int]) -> None:
        super().__init__(graph, node)
        self.sizes = sizes

    def shape(self, letters: str) -> list[int]:
        return [self.sizes[letter] for letter in letters]

    def length(self, letters: str) -> int:
        return int(np.prod(self.shape(letters), dtype=np.int64))

    def diagonal(self, operand: _Operand) -> _Operand:
        """Take the places of equal indices along the axes of each letter that comes more than once."""
        name, letters = operand.name, operand.letters
        for letter in sorted(set(letters)):
            if (count := letters.count(letter)) > 1:
                order = sorted(range(len(letters)), key=lambda i: letters[i] == letter)
                left, size = letters.replace(letter, ""), self.sizes[letter]
                apart = self.shape(left + letter * count)
                turned = self.do("Transpose", name, shape=apart, perm=order)
                flat = [*self.shape(left), size**count]
                line = self.do("Reshape", turned, self.integers(flat), shape=flat)
                places = self.integers(np.arange(size) * sum(size**i for i in range(count)))
                letters = left + letter
                shape = self.shape(letters)
                name = self.do("Gather", line, places, shape=shape, axis=len(left))
        return _Operand(name, letters)

    def summed(self, operand: _Operand, kept: str) -> _Operand:
        """Add up the axes that nobody else has."""
        axes = [i for i, letter in enumerate(operand.letters) if letter not in kept]
        if not axes:
            return operand
        left = "".join(letter for letter in operand.letters if letter in kept)
        which = self.integers(axes)
        made = self.do("ReduceSum", operand.name, which, shape=self.shape(left), keepdims=0)
        return _Operand(made, left)

    def laid(self, operand: _Operand, letters: str, shape: list[int]) -> str:
        """Bring an operand's axes into the order of ``letters`` and merge them to ``shape``."""
        name = operand.name
        if operand.letters != letters:
            perm = [operand.letters.index(letter) for letter in letters]
            name = self.do("Transpose", name, shape=self.shape(letters), perm=perm)
        if self.shape(letters) != shape:
            name = self.do("Reshape", name, self.integers(shape), shape=shape)
        return name

    def product(self, one: _Operand, two: _Operand, later: str) -> _Operand:
        """Multiply two operands; ``later`` holds the letters that are still wanted."""
        one = self.summed(one, two.letters + later)
        two = self.summed(two, one.letters + later)
        batch = "".join(a for a in one.letters if a in two.letters and a in later)
        inner = "".join(a for a in one.letters if a in two.letters and a not in later)
        rows = "".join(a for a in one.letters if a not in two.letters)
        columns = "".join(a for a in two.letters if a not in one.letters)
        lead = [self.length(batch)] if batch else []
        m, k, n = (self.length(part) for part in (rows, inner, columns))
        left = self.laid(one, batch + rows + inner, [*lead, m, k])
        right = self.laid(two, batch + inner + columns, [*lead, k, n])
        made = self.do("MatMul", left, right, shape=[*lead, m, n])
        letters = batch + rows + columns
        if self.shape(letters) != [*lead, m, n]:
            sizes = self.shape(letters)
            made = self.do("Reshape", made, self.integers(sizes), shape=sizes)
        return _Operand(made, letters)

    def end(self, operand: _Operand, wanted: str) -> None:
        perm = [operand.letters.index(letter) for letter in wanted]
        self.finish("Transpose", operand.name, perm=perm)
