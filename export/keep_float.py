"""What --keep-float names: nodes, and with worst:N the N layers that lose most."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeconv.errors import UsageError

RESERVED = "worst:"


@dataclass(frozen=True)
class KeepFloat:
    """Nodes by name, and how many of the layers that add most noise besides."""

    nodes: tuple[str, ...]
    worst: int = 0


def read_keep_float(given: Sequence[str]) -> KeepFloat:
    """Read names and worst:N; a node that is called so is written in double quotes.

    >>> read_keep_float(["conv1", "worst:3"]), read_keep_float(['"worst:3"']).nodes
    (KeepFloat(nodes=('conv1',), worst=3), ('worst:3',))
    """
    nodes, worst = [], 0
    for name in given:
        if len(name) > 2 and name[0] == name[-1] == '"':
            nodes.append(name[1:-1])
        elif name.startswith(RESERVED):
            count = name.removeprefix(RESERVED)
            if not (count.isascii() and count.isdigit() and int(count) > 0):
                raise UsageError(
                    f"--keep-float {name}: N layers, like worst:3; a node of that name goes in double "
                    "quotes"
                )
            worst = max(worst, int(count))
        else:
            nodes.append(name)
    return KeepFloat(tuple(nodes), worst)
